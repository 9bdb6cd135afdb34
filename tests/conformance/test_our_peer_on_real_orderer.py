"""Our peer joins a channel of a real Fabric orderer, beside a real peer: one ledger, two minds.

Org1's peer is Fabric's, Org2's is ours, started by the same files and variables; both have to
endorse. The blocks of both, with codes and commit hashes, must be the same bytes.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import events_pb2, peer_pb2_grpc, proposal_pb2, transaction_pb2

from network.rules.proposal import build_proposal
from network.rules.transaction import build_transaction_payload
from network.rules.validation.commit_hash import get_commit_hash, get_validation_codes
from tests.conformance.real_fabric import FabricCommandError, RealFabric
from tests.conformance.served import Served
from tests.network.node.probes import at, build_seek
from tests.ports import free_ports

BOTH = "AND('Org1MSP.peer','Org2MSP.peer')"
OURS, REAL = "Org2", "Org1"
KEYS = 6
PATIENCE = 60.0


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFabric]:
    with RealFabric.start(tmp_path_factory.mktemp("mixed"), ours=frozenset({OURS})) as network:
        package = network.package("stub", f"127.0.0.1:{free_ports(1)[0]}")
        served = Served(package, network.folder)
        try:
            network.deploy(package, policy=BOTH)
            yield network
        finally:
            served.stop()


def test_the_peer_program_deploys_and_invokes_on_both(fabric: RealFabric) -> None:
    fabric.invoke("stub", ["stub:Put", "first", "one"])
    fabric.invoke("stub", ["stub:Put", "second", "two"], organization=1)
    for number in range(2):
        assert fabric.query("stub", ["stub:Get", "second"], organization=number) == "two"
    # One endorsement is too few, and both peers know.
    with pytest.raises(FabricCommandError, match="ENDORSEMENT_POLICY_FAILURE"):
        fabric.invoke("stub", ["stub:Put", "third", "no"], endorsers=[0])
    with pytest.raises(FabricCommandError, match="ENDORSEMENT_POLICY_FAILURE"):
        fabric.invoke("stub", ["stub:Put", "third", "no"], organization=1, endorsers=[1])
    compare(fabric)


def test_both_judge_a_load_full_of_conflicts_alike(fabric: RealFabric) -> None:
    codes = asyncio.run(run_load(fabric, 150))
    assert codes["VALID"] >= KEYS
    assert codes["MVCC_READ_CONFLICT"] > 0
    assert codes["DUPLICATE_TXID"] > 0


def test_the_orderer_goes_and_comes_back(fabric: RealFabric) -> None:
    fabric.stop_process("orderer")
    with pytest.raises(FabricCommandError):
        fabric.invoke("stub", ["stub:Put", "away", "1"])
    assert fabric.query("stub", ["stub:Get", "first"], organization=1) == "one"
    fabric.start_orderer()
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fabric.invoke("stub", ["stub:Put", "back", "1"])
            break
        except FabricCommandError:
            assert time.monotonic() < end
            time.sleep(0.5)
    compare(fabric)


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_our_peer_goes_and_comes_back(fabric: RealFabric, kill: bool) -> None:
    fabric.stop_process(f"peer-{OURS}", kill=kill)
    before = height(fabric, 0)
    # Orders without our peer; endorsed by one, so invalid, but in a block.
    with pytest.raises(FabricCommandError, match="ENDORSEMENT_POLICY_FAILURE"):
        fabric.invoke("stub", ["stub:Put", "missed", "1"], endorsers=[0])
    assert height(fabric, 0) > before
    fabric.start_peer(fabric.organizations[1])
    compare(fabric)
    fabric.invoke("stub", ["stub:Put", f"again-{kill}", "1"], organization=1)
    asyncio.run(run_load(fabric, 30))


async def run_load(fabric: RealFabric, count: int) -> Counter[str]:
    """Transactions on few keys, at once, some sent twice; the codes that both peers gave."""
    before = height(fabric, 0)
    async with fabric.endorser_channel(0) as first, fabric.endorser_channel(1) as second:
        stubs = [peer_pb2_grpc.EndorserStub(one) for one in (first, second)]
        load = Load(fabric, stubs)
        gate = asyncio.Semaphore(16)

        async def one(number: int) -> bytes:
            async with gate:
                return await load.endorse(number)

        envelopes = await asyncio.gather(*map(one, range(count)))
    envelopes += envelopes[:: max(1, count // 5)]
    await broadcast(fabric, envelopes)
    blocks = compare(fabric)
    end = time.monotonic() + PATIENCE
    while sum(len(block.data.data) for block in blocks[before:]) < len(envelopes):
        assert time.monotonic() < end
        await asyncio.sleep(0.3)
        blocks = compare(fabric)
    found = [code for block in blocks[before:] for code in get_validation_codes(block)]
    return Counter(transaction_pb2.TxValidationCode.Name(code) for code in found)


@dataclass
class Load:
    """Transactions that both peers endorse."""

    fabric: RealFabric
    stubs: list[Any]

    async def endorse(self, number: int) -> bytes:
        signer = self.fabric.organizations[number % 2].signer()
        args = [b"stub:Count", f"n{number % KEYS}".encode(), json.dumps([]).encode()]
        proposal = build_proposal(
            channel_id=self.fabric.channel,
            chaincode="stub",
            args=args,
            creator=signer.creator,
            nonce=secrets.token_bytes(24),
            timestamp=datetime.now(UTC),
        )
        signed = proposal_pb2.SignedProposal(
            proposal_bytes=proposal.raw, signature=signer.sign(proposal.raw)
        )
        while True:
            replies = await asyncio.gather(*(stub.ProcessProposal(signed) for stub in self.stubs))
            assert [reply.response.status for reply in replies] == [200, 200], replies
            if replies[0].payload == replies[1].payload:
                break
            # One peer had a block that the other had not yet; the same proposal asks again.
            await asyncio.sleep(0.1)
        payload = build_transaction_payload(
            proposal.raw, replies[0].payload, [reply.endorsement for reply in replies]
        )
        envelope = common_pb2.Envelope(payload=payload, signature=signer.sign(payload))
        return bytes(envelope.SerializeToString())


async def broadcast(fabric: RealFabric, envelopes: list[bytes]) -> None:
    home = fabric.folder / "crypto/ordererOrganizations/example.com/orderers/orderer.example.com"
    credentials = grpc.ssl_channel_credentials((home / "tls/ca.crt").read_bytes())
    async with grpc.aio.secure_channel(f"127.0.0.1:{fabric.orderer_port}", credentials) as channel:
        stream = channel.stream_stream("/orderer.AtomicBroadcast/Broadcast")(timeout=PATIENCE)
        for raw in envelopes:
            await stream.write(raw)
            answer = ab_pb2.BroadcastResponse.FromString(await stream.read())
            assert answer.status == common_pb2.SUCCESS, answer.info
        await stream.done_writing()


def height(fabric: RealFabric, organization: int) -> int:
    """What `peer channel getinfo` says."""
    found = fabric.organizations[organization]
    printed = fabric.peer(found, "channel", "getinfo", "-c", fabric.channel)
    return int(json.loads(printed[printed.index("{") :].splitlines()[0])["height"])


def compare(fabric: RealFabric) -> list[Any]:
    """Both peers have the same blocks, codes and commit hashes included; returns them."""
    wanted = height(fabric, 0)
    end = time.monotonic() + PATIENCE
    while height(fabric, 1) < wanted:
        assert time.monotonic() < end, f"our peer has not {wanted} blocks"
        time.sleep(0.3)
    real, ours = (fetch(fabric, number, wanted) for number in range(2))
    for one, other in zip(real, ours, strict=True):
        where = f"block {one.header.number}"
        assert get_validation_codes(one) == get_validation_codes(other), where
        assert get_commit_hash(one) == get_commit_hash(other), where
        assert one == other, where
    return real


def fetch(fabric: RealFabric, organization: int, count: int) -> list[Any]:
    """The blocks that a peer delivers, with what it recorded in them."""
    found = fabric.organizations[organization]
    credentials = grpc.ssl_channel_credentials(found.tls_root.read_bytes())
    options = [
        ("grpc.ssl_target_name_override", found.peer_host),
        ("grpc.max_receive_message_length", -1),
    ]
    seek = build_seek(found.signer(), at(0), at(count - 1), channel_id=fabric.channel)
    blocks = []
    with grpc.secure_channel(found.peer_address, credentials, options) as channel:
        call = channel.stream_stream("/protos.Deliver/Deliver")
        for raw in call(iter([seek]), timeout=PATIENCE):
            answer = events_pb2.DeliverResponse.FromString(raw)
            if answer.WhichOneof("Type") == "status":
                assert answer.status == common_pb2.SUCCESS
                break
            blocks.append(answer.block)
    return blocks
