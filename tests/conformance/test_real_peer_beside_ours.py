"""A real Fabric peer and ours endorse the same proposals: the endorsed bytes must be the same.

Both peers sit on one channel of our orderer and run the same chaincode. Needs Fabric's `peer` and
its sample core.yaml (see `real_fabric.find_config`); skips elsewhere.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
import yaml
from fabric_protos.common import common_pb2
from fabric_protos.peer import proposal_pb2, transaction_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2
from fabric_protos.peer.proposal_response_pb2 import ProposalResponse

from network.rules.policy.dsl import parse_policy
from network.rules.transaction import build_transaction_payload
from tests.conformance.real_fabric import (
    _BUILD,
    _DETECT,
    _RELEASE,
    choose_capabilities,
    find_binaries,
    find_config,
    read_version,
)
from tests.ports import free_ports
from tests.simulator import (
    CHANNEL,
    Client,
    Collection,
    Definition,
    Network,
    running_network,
)

pytestmark = [pytest.mark.network, pytest.mark.asyncio(loop_scope="module")]

REAL = "peer0.beta.example"
OURS = "peer0.alpha.example"
COLLECTIONS = [Collection("shared", ["Alpha", "Beta"]), Collection("alpha", ["Alpha"])]


@asynccontextmanager
async def real_peer(network: Network, folder: Path) -> AsyncIterator[None]:
    """Fabric's peer runs as Beta's."""
    binaries = find_binaries()
    core = yaml.safe_load((find_config(binaries) / "core.yaml").read_text())
    builder = folder / "builder" / "bin"
    builder.mkdir(parents=True)
    for name, text in (("detect", _DETECT), ("build", _BUILD), ("release", _RELEASE)):
        (builder / name).write_text(text)
        (builder / name).chmod(0o755)
    core["chaincode"]["externalBuilders"] = [{"name": "ccaas", "path": str(builder.parent)}]
    core["vm"]["endpoint"] = ""
    (folder / "core.yaml").write_text(yaml.safe_dump(core))
    node = network.node(REAL)
    msp, tls = network.folders.node_msp(node), network.folders.node_tls(node)
    address = f"127.0.0.1:{node.port}"
    chaincode, operations = free_ports(2)
    environment = {
        "PATH": os.environ["PATH"],
        "FABRIC_CFG_PATH": str(folder),
        "FABRIC_LOGGING_SPEC": "info:grpc=error",
        "CORE_PEER_ID": REAL,
        "CORE_PEER_ADDRESS": address,
        "CORE_PEER_LISTENADDRESS": address,
        "CORE_PEER_CHAINCODELISTENADDRESS": f"127.0.0.1:{chaincode}",
        "CORE_PEER_GOSSIP_BOOTSTRAP": address,
        "CORE_PEER_GOSSIP_ENDPOINT": address,
        "CORE_PEER_GOSSIP_EXTERNALENDPOINT": address,
        "CORE_PEER_GOSSIP_PVTDATA_PULLRETRYTHRESHOLD": "100ms",
        "CORE_PEER_LOCALMSPID": "BetaMSP",
        "CORE_PEER_MSPCONFIGPATH": str(msp),
        "CORE_PEER_FILESYSTEMPATH": str(folder / "data"),
        "CORE_LEDGER_SNAPSHOTS_ROOTDIR": str(folder / "snapshots"),
        "CORE_PEER_TLS_ENABLED": "true",
        "CORE_PEER_TLS_CERT_FILE": str(tls / "server.crt"),
        "CORE_PEER_TLS_KEY_FILE": str(tls / "server.key"),
        "CORE_PEER_TLS_ROOTCERT_FILE": str(tls / "ca.crt"),
        "CORE_OPERATIONS_LISTENADDRESS": f"127.0.0.1:{operations}",
    }
    log = folder / "peer.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            str(binaries / "peer"), "node", "start", env=environment, stdout=output, stderr=output
        )
        try:
            async with asyncio.timeout(60):
                while "Started peer with ID" not in log.read_text():
                    assert process.returncode is None, log.read_text()
                    await asyncio.sleep(0.1)
            yield
        finally:
            process.terminate()
            await process.wait()


@dataclass
class Pair:
    """The two peers, asked by the same user."""

    network: Network
    ours: Client
    real: Client

    async def ask(
        self, signed: proposal_pb2.SignedProposal
    ) -> list[ProposalResponse | tuple[grpc.StatusCode, str]]:
        """Both answers; what may differ is taken out."""
        answers: list[ProposalResponse | tuple[grpc.StatusCode, str]] = []
        for client in (self.ours, self.real):
            try:
                reply = await client.endorser.ProcessProposal(signed)
            except grpc.aio.AioRpcError as error:
                answers.append((error.code(), error.details()))
                continue
            calls = sorted(reply.interest.chaincodes, key=lambda call: call.SerializeToString())
            del reply.interest.chaincodes[:]
            reply.interest.chaincodes.extend(calls)
            if reply.HasField("endorsement"):
                reply.endorsement.Clear()
                reply.endorsement.SetInParent()
            answers.append(reply)
        return answers

    async def submit(self, *args: str | bytes, user: Client | None = None, **options: Any) -> int:
        """A transaction that both peers have endorsed; returns its code."""
        client = user or self.ours
        signed, tx_id = client.propose(*args, **options)
        replies = [await peer.endorser.ProcessProposal(signed) for peer in (self.ours, self.real)]
        assert replies[0].response.status == 200, replies[0].response.message
        assert replies[0].payload == replies[1].payload
        payload = build_transaction_payload(
            signed.proposal_bytes, replies[0].payload, [reply.endorsement for reply in replies]
        )
        envelope = common_pb2.Envelope(payload=payload, signature=client.signer.sign(payload))
        await client.send(envelope, tx_id)
        code = (await client.status(tx_id)).result
        await self.settle()
        return int(code)

    async def settle(self) -> None:
        """The real peer is as far as ours."""
        height = self.network.peers[OURS].channels.joined[0].height
        async with asyncio.timeout(20):
            while True:
                args = ("GetBlockByNumber", CHANNEL, str(height - 1))
                reply = await self.real.process(*args, chaincode="qscc")
                if reply.response.status == 200:
                    return
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    find_config(find_binaries())
    folder = tmp_path_factory.mktemp("beside")
    async with running_network(
        folder / "network", elsewhere=[REAL], fabric_version=choose_capabilities(find_binaries())
    ) as network:
        (folder / "real").mkdir()
        async with real_peer(network, folder / "real"):
            pair = Pair(network, network.client("Alpha"), network.client("Alpha", peer=REAL))
            await network.join(REAL)
            await network.install(OURS, REAL)
            await deploy(pair)
            yield pair


async def deploy(pair: Pair) -> None:
    """Each organisation approves at its own peer; both endorse the commit."""
    network = pair.network
    fields = network._build_fields(Definition(collections=COLLECTIONS))
    approval = lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs(**fields)
    approval.source.local_package.package_id = network.package_id
    raw = approval.SerializeToString()
    for fqdn, msp_id in ((OURS, "AlphaMSP"), (REAL, "BetaMSP")):
        await network.admin(fqdn).submit(
            "ApproveChaincodeDefinitionForMyOrg", raw, chaincode="_lifecycle", orgs=[msp_id]
        )
        await pair.settle()
    commit = lifecycle_pb2.CommitChaincodeDefinitionArgs(**fields).SerializeToString()
    admin = network.admin(OURS)
    async with asyncio.timeout(20):
        await network.peers[OURS].channels.joined[0].wait_for(2)
    code = await pair.submit(
        "CommitChaincodeDefinition", commit, chaincode="_lifecycle", user=admin
    )
    assert code == transaction_pb2.VALID
    assert await pair.submit("put", "b", "2") == transaction_pb2.VALID


POLICY = parse_policy("AND('AlphaMSP.peer','BetaMSP.peer')").SerializeToString()
SECRET = {"value": b"secret"}
HOUR = timedelta(hours=1)
CALLS: list[tuple[tuple[str | bytes, ...], dict[str, Any]]] = [
    (("put", "k", "v"), {}),
    (("put", "k", ""), {}),
    (("get", "b"), {}),
    (("get", "none"), {}),
    (("batch", "x", "1", "y", "", "z", "3"), {}),
    (("get_many", "a", "b", "c"), {}),
    (("scan", "a", "z"), {}),
    (("scan", "", ""), {}),
    (("page", "a", "z", "1", ""), {}),
    (("history", "b"), {}),
    (("key_policy", "b", POLICY), {}),
    (("emit", "event", "payload"), {}),
    (("fail", "404", "not found"), {}),
    (("fail", "500", "broken"), {}),
    (("fail", "300", "odd"), {}),
    (("broken",), {}),
    ((), {}),
    (("private_put", "shared", "k"), {"transient": SECRET}),
    (("private_put", "alpha", "k"), {"transient": SECRET}),
    (("private_put", "nothing", "k"), {"transient": SECRET}),
    (("private_put", "_implicit_org_AlphaMSP", "k"), {"transient": SECRET}),
    (("private_get", "shared", "k"), {}),
    (("private_get", "nothing", "k"), {}),
    (("private_hash", "alpha", "k"), {}),
    (("private_hash", "nothing", "k"), {}),
    (("call", "demo", "get", "b"), {}),
    (("call", "qscc", "GetChainInfo", CHANNEL), {}),
    (("call", "missing", "get", "b"), {}),
    (("call", "demo/elsewhere", "get", "b"), {}),
    (("nothing",), {"is_init": True}),
    (("get", "b"), {"chaincode": "missing"}),
    (("get", "b"), {"channel_id": "elsewhere"}),
    (("GetChainInfo", CHANNEL), {"chaincode": "qscc"}),
    (("GetBlockByNumber", CHANNEL, "1"), {"chaincode": "qscc"}),
    (("GetBlockByNumber", CHANNEL, "abc"), {"chaincode": "qscc"}),
    (("GetBlockByNumber", CHANNEL, "999"), {"chaincode": "qscc"}),
    (("GetBlockByTxID", CHANNEL, "00"), {"chaincode": "qscc"}),
    (("Nothing", CHANNEL, "x"), {"chaincode": "qscc"}),
    (("GetChainInfo",), {"chaincode": "qscc"}),
    (("GetConfigBlock", CHANNEL), {"chaincode": "cscc"}),
    (("GetConfigBlock", "elsewhere"), {"chaincode": "cscc"}),
    (("JoinChain", b""), {"chaincode": "cscc"}),
    (("Nothing", "x"), {"chaincode": "cscc"}),
    (("one",), {"chaincode": "_lifecycle"}),
    (("Nothing", b""), {"chaincode": "_lifecycle"}),
    (("QueryChaincodeDefinitions", b""), {"chaincode": "_lifecycle"}),
    (("QueryChaincodeDefinition", b"\n\x07nothing"), {"chaincode": "_lifecycle"}),
    (("CheckCommitReadiness", b""), {"chaincode": "_lifecycle"}),
]


@pytest.mark.parametrize(("args", "options"), CALLS, ids=lambda value: str(value)[:60])
async def test_both_answer_the_same(
    pair: Pair, args: tuple[str | bytes, ...], options: dict[str, Any]
) -> None:
    if args[:1] in (("batch",), ("get_many",)) and read_version(find_binaries()) < (3, 1):
        pytest.skip("Fabric before 3.1 offers chaincodes no batches of writes and reads")
    signed, _ = pair.ours.propose(*args, **options)
    ours, real = await pair.ask(signed)
    assert ours == real


@pytest.mark.parametrize("offset", [-HOUR, HOUR])
async def test_both_refuse_other_clocks(pair: Pair, offset: timedelta) -> None:
    if read_version(find_binaries()) < (3, 0):
        pytest.skip("Fabric 2.5 does not look at a proposal's time")
    signed, _ = pair.ours.propose("get", "b", timestamp=datetime.now(UTC) + offset)
    ours, real = await pair.ask(signed)
    assert isinstance(ours, tuple)
    assert isinstance(real, tuple)
    head = "request unauthorized due to incorrect timestamp"
    assert ours[0] == real[0]
    assert ours[1].startswith(head)
    assert real[1].startswith(head)


@pytest.mark.parametrize("cut", [b"", b"x", None])
async def test_both_refuse_bad_signatures(pair: Pair, cut: bytes | None) -> None:
    signed, _ = pair.ours.propose("get", "b")
    signature = signed.signature[:-1] if cut is None else cut
    bad = proposal_pb2.SignedProposal(proposal_bytes=signed.proposal_bytes, signature=signature)
    ours, real = await pair.ask(bad)
    assert isinstance(ours, tuple)
    assert ours == real


async def test_what_both_endorsed_commits_to_the_same_block(pair: Pair) -> None:
    for args, options in [(("put", "both", "1"), {}), (("private_put", "shared", "s"), SECRET)]:
        code = await pair.submit(*args, transient=options)
        assert code == transaction_pb2.VALID
    height = pair.network.peers[OURS].channels.joined[0].height
    blocks = [
        (
            await client.process("GetBlockByNumber", CHANNEL, str(height - 1), chaincode="qscc")
        ).response.payload
        for client in (pair.ours, pair.real)
    ]
    assert blocks[0] == blocks[1]  # codes and commit hash included
