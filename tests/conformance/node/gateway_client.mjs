// The whole surface that an application uses of the official Node client, against one peer.
// Arguments: a JSON object {endpoint, hostAlias, tlsRoot, certificate, key, mspId, channel,
// chaincode, handle}; prints one JSON object of what it saw.

import { readFileSync } from 'node:fs';
import { createPrivateKey } from 'node:crypto';
import * as grpc from '@grpc/grpc-js';
import { connect, signers, EndorseError, GatewayError } from '@hyperledger/fabric-gateway';

const given = JSON.parse(process.argv[2]);
const seen = {};
const utf8 = new TextDecoder();

const client = new grpc.Client(
    given.endpoint,
    grpc.credentials.createSsl(readFileSync(given.tlsRoot)),
    { 'grpc.ssl_target_name_override': given.hostAlias },
);
const gateway = connect({
    client,
    identity: { mspId: given.mspId, credentials: readFileSync(given.certificate) },
    signer: signers.newPrivateKeySigner(createPrivateKey(readFileSync(given.key))),
    evaluateOptions: () => ({ deadline: Date.now() + 10000 }),
    endorseOptions: () => ({ deadline: Date.now() + 15000 }),
    submitOptions: () => ({ deadline: Date.now() + 10000 }),
    commitStatusOptions: () => ({ deadline: Date.now() + 30000 }),
});

function describe(error) {
    return {
        type: error.constructor.name,
        isGatewayError: error instanceof GatewayError,
        isEndorseError: error instanceof EndorseError,
        code: grpc.status[error.code] ?? error.code,
        message: error.message,
        details: (error.details ?? []).map(({ address, mspId, message }) => ({ address, mspId, message })),
    };
}

try {
    const network = gateway.getNetwork(given.channel);
    const directory = network.getContract(given.chaincode, 'directory');

    const chaincodeEvents = await network.getChaincodeEvents(given.chaincode);
    const blockEvents = await network.getBlockEvents();
    const filteredEvents = await network.getFilteredBlockEvents();

    // Every stage on its own, with offline-signable bytes in between.
    const proposal = directory.newProposal('RegisterPatient', {
        arguments: [JSON.stringify({ handle: given.handle })],
    });
    const endorsed = await proposal.endorse();
    const commit = await endorsed.submit();
    const status = await commit.getStatus();
    seen.submitted = {
        transactionId: commit.getTransactionId(),
        result: JSON.parse(utf8.decode(commit.getResult())),
        successful: status.successful,
        code: status.code,
        blockNumber: Number(status.blockNumber),
    };

    seen.evaluated = JSON.parse(utf8.decode(await directory.evaluateTransaction('GetPatient', given.handle)));

    for await (const event of chaincodeEvents) {
        seen.chaincodeEvent = {
            name: event.eventName,
            transactionId: event.transactionId,
            chaincode: event.chaincodeName,
            blockNumber: Number(event.blockNumber),
            payload: JSON.parse(utf8.decode(event.payload)),
        };
        break;
    }
    chaincodeEvents.close();

    for await (const block of blockEvents) {
        seen.block = {
            number: Number(block.getHeader().getNumber()),
            transactions: block.getData().getDataList().length,
            flags: Array.from(block.getMetadata().getMetadataList_asU8()[2]),
        };
        break;
    }
    blockEvents.close();

    for await (const block of filteredEvents) {
        seen.filtered = {
            number: Number(block.getNumber()),
            transactionIds: block.getFilteredTransactionsList().map((each) => each.getTxid()),
        };
        break;
    }
    filteredEvents.close();

    // Replay from the block before, as an application with a checkpoint does.
    const replay = await network.getChaincodeEvents(given.chaincode, {
        startBlock: BigInt(seen.submitted.blockNumber),
    });
    for await (const event of replay) {
        seen.replayed = event.transactionId;
        break;
    }
    replay.close();

    seen.evaluateError = await directory
        .evaluateTransaction('GetPatient', 'f'.repeat(32))
        .then(() => null, describe);
    seen.endorseError = await directory
        .submitTransaction('RegisterPatient', JSON.stringify({ handle: given.handle }))
        .then(() => null, describe);
    seen.unknownFunction = await directory.evaluateTransaction('GetPatients').then(() => null, describe);
    seen.unknownChaincode = await network
        .getContract('nothing')
        .evaluateTransaction('x')
        .then(() => null, describe);
    seen.unknownChannel = await gateway
        .getNetwork('nowhere')
        .getContract(given.chaincode, 'directory')
        .evaluateTransaction('GetPatient', given.handle)
        .then(() => null, describe);
} finally {
    gateway.close();
    client.close();
}
console.log(JSON.stringify(seen));
