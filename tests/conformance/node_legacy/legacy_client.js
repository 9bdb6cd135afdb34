// Submits and evaluates with fabric-network 2.2, which knows one peer and discovers the rest.
// Argument: JSON with endpoint, tlsRoot, certificate, key, mspId, channel, chaincode and value.
const { readFileSync } = require('node:fs');
const { Gateway, Wallets } = require('fabric-network');

async function main() {
  const given = JSON.parse(process.argv[2]);
  const wallet = await Wallets.newInMemoryWallet();
  await wallet.put('user', {
    type: 'X.509',
    mspId: given.mspId,
    credentials: {
      certificate: readFileSync(given.certificate, 'utf8'),
      privateKey: readFileSync(given.key, 'utf8'),
    },
  });
  const profile = {
    name: 'ours',
    version: '1.0.0',
    client: { organization: 'org' },
    organizations: { org: { mspid: given.mspId, peers: ['peer'] } },
    peers: {
      peer: {
        url: `grpcs://${given.endpoint}`,
        tlsCACerts: { pem: readFileSync(given.tlsRoot, 'utf8') },
      },
    },
  };
  const gateway = new Gateway();
  await gateway.connect(profile, {
    wallet,
    identity: 'user',
    discovery: { enabled: true, asLocalhost: false },
  });
  try {
    const network = await gateway.getNetwork(given.channel);
    const contract = network.getContract(given.chaincode);
    const transaction = contract.createTransaction('put');
    await transaction.submit('legacy', given.value);
    const evaluated = await contract.evaluateTransaction('get', 'legacy');
    const channel = network.getChannel();
    console.log(
      JSON.stringify({
        transactionId: transaction.getTransactionId(),
        evaluated: evaluated.toString(),
        endorsers: channel.getEndorsers().map((one) => one.endpoint.addr).sort(),
        committers: channel.getCommitters().map((one) => one.endpoint.addr),
      }),
    );
  } finally {
    gateway.disconnect();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
