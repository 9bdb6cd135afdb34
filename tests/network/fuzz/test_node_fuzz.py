"""Mutants of good messages on every gRPC entry of a peer and an orderer.

Whatever comes, a call ends with a status of the protocol, no handler fails, no mutant of what was
signed is taken for the original, and the network works as before. FUZZ_EXAMPLES mutants an entry.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
import pytest_asyncio
from fabric_protos.common import common_pb2, configtx_pb2
from fabric_protos.discovery import protocol_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import (
    events_pb2,
    proposal_pb2,
    proposal_response_pb2,
    snapshot_pb2,
    transaction_pb2,
)
from google.protobuf.message import DecodeError

from network.rules.envelope import build_envelope, open_envelope
from network.rules.identity.ecdsa import MalformedSignature, open_signature
from network.rules.identity.identity import Signer
from network.topology.mspfolder import load_signer
from protos import membership_pb2, private_data_pb2
from tests.network.consortium import build_message
from tests.network.fuzz.mutation import EXAMPLES, SEED, mutate
from tests.network.node.probes import build_seek, newest, oldest
from tests.simulator import CHANNEL, Client, Collection, Definition, Network, running_network

pytestmark = [pytest.mark.network, pytest.mark.asyncio(loop_scope="module")]

ALPHA, BETA = "peer0.alpha.example", "peer0.beta.example"
SILENCE = 0.3
"""Seconds after which an open stream counts as accepted: it waits for more."""
LONGEST = 30.0


@dataclass
class Site:
    """The network, and one good message for each entry."""

    network: Network
    client: Client
    orderer: Any
    good: dict[str, bytes]

    async def endorse(self) -> common_pb2.Envelope:
        envelope, _ = await self.client.endorse("put", secrets.token_hex(4), "1")
        return envelope

    def channel(self, entry: str) -> Any:
        return self.orderer if entry.startswith("/orderer") else self.client.channel


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_network(
        tmp_path_factory.mktemp("fuzz"), CORE_CHAINCODE_EXECUTETIMEOUT="2s"
    ) as network:
        await network.deploy(Definition(collections=[Collection("shared", ["Alpha", "Beta"])]))
        client = network.client("Alpha")
        node = next(one for one in network.topology.nodes() if one.kind.value == "orderer")
        roots = (network.folders.node_tls(node) / "ca.crt").read_bytes()
        credentials = grpc.ssl_channel_credentials(roots)
        async with grpc.aio.secure_channel(f"127.0.0.1:{node.port}", credentials) as orderer:
            running = Site(network, client, orderer, {})
            running.good = await build_good(running)
            yield running


async def build_good(site: Site) -> dict[str, bytes]:
    client, network = site.client, site.network
    signed, tx_id = client.propose("put", "k", "v")
    envelope = await site.endorse()
    seek = build_seek(client.signer, oldest(), newest(), channel_id=CHANNEL)
    status = gateway_pb2.CommitStatusRequest(
        channel_id=CHANNEL, transaction_id=tx_id, identity=client.signer.creator
    ).SerializeToString()
    told = await client.submit("emit", "event", "payload")
    from_there = ab_pb2.SeekPosition(specified=ab_pb2.SeekSpecified(number=told.block_number))
    events = gateway_pb2.ChaincodeEventsRequest(
        channel_id=CHANNEL,
        chaincode_id="demo",
        identity=client.signer.creator,
        start_position=from_there,
    ).SerializeToString()
    membership = network.peers[BETA].membership
    channel = network.peers[BETA].channels.joined[0]
    snapshot = build_snapshot_request(network.admin(ALPHA))
    sign = client.signer.sign
    messages = {
        "/protos.Endorser/ProcessProposal": signed,
        "/gateway.Gateway/Evaluate": gateway_pb2.EvaluateRequest(
            transaction_id=tx_id, channel_id=CHANNEL, proposed_transaction=signed
        ),
        "/gateway.Gateway/Endorse": gateway_pb2.EndorseRequest(
            transaction_id=tx_id, channel_id=CHANNEL, proposed_transaction=signed
        ),
        "/gateway.Gateway/Submit": gateway_pb2.SubmitRequest(
            transaction_id=tx_id, channel_id=CHANNEL, prepared_transaction=envelope
        ),
        "/gateway.Gateway/CommitStatus": gateway_pb2.SignedCommitStatusRequest(
            request=status, signature=sign(status)
        ),
        "/gateway.Gateway/ChaincodeEvents": gateway_pb2.SignedChaincodeEventsRequest(
            request=events, signature=sign(events)
        ),
        "/discovery.Discovery/Discover": build_discovery_request(client),
        "/protos.Snapshot/QueryPendings": snapshot,
        "/protos.Snapshot/Generate": snapshot,
        "/protos.Snapshot/Cancel": snapshot,
        "/medfabric.membership.Membership/Exchange": membership_pb2.ExchangeRequest(
            announcements=[membership._sign(channel)]
        ),
        "/medfabric.privatedata.PrivateData/Push": build_private_request(
            network,
            private_data_pb2.PushRequest(tx_id=tx_id, endorsed_at=3, private_rwset=b"\x08\x00"),
        ),
        "/medfabric.privatedata.PrivateData/Pull": build_private_request(
            network,
            private_data_pb2.PullRequest(
                digests=[
                    private_data_pb2.Digest(
                        namespace="demo", collection="shared", tx_id=tx_id, rwset_hash=bytes(32)
                    )
                ]
            ),
        ),
    }
    found = {entry: message.SerializeToString() for entry, message in messages.items()}
    for method in ("Deliver", "DeliverFiltered", "DeliverWithPrivateData"):
        found[f"/protos.Deliver/{method}"] = seek
    found["/orderer.AtomicBroadcast/Deliver"] = seek
    found["/orderer.AtomicBroadcast/Broadcast"] = envelope.SerializeToString()
    return found


def build_private_request(network: Network, request: Any) -> Any:
    """What Beta's peer asks of Alpha's."""
    signer = load_signer(network.folders.node_msp(network.node(BETA)), "BetaMSP")
    request.header.channel_id = CHANNEL
    request.header.identity = signer.creator
    request.header.recipient = f"127.0.0.1:{network.node(ALPHA).port}"
    request.header.timestamp.FromDatetime(datetime.now(UTC))
    raw = request.SerializeToString()
    return private_data_pb2.SignedRequest(request=raw, signature=signer.sign(raw))


def build_discovery_request(client: Client) -> Any:
    peers = protocol_pb2.Query(channel=CHANNEL, peer_query=protocol_pb2.PeerMembershipQuery())
    config = protocol_pb2.Query(channel=CHANNEL, config_query=protocol_pb2.ConfigQuery())
    request = protocol_pb2.Request(
        authentication=protocol_pb2.AuthInfo(client_identity=client.signer.creator),
        queries=[peers, config],
    )
    raw = request.SerializeToString()
    return protocol_pb2.SignedRequest(payload=raw, signature=client.signer.sign(raw))


def build_snapshot_request(admin: Client) -> Any:
    header = common_pb2.SignatureHeader(creator=admin.signer.creator, nonce=b"n" * 24)
    request = snapshot_pb2.SnapshotRequest(
        signature_header=header, channel_id=CHANNEL, block_number=10**6
    ).SerializeToString()
    return snapshot_pb2.SignedSnapshotRequest(request=request, signature=admin.signer.sign(request))


UNARY = [
    "/protos.Endorser/ProcessProposal",
    "/gateway.Gateway/Evaluate",
    "/gateway.Gateway/Endorse",
    "/gateway.Gateway/Submit",
    "/gateway.Gateway/CommitStatus",
    "/discovery.Discovery/Discover",
    "/protos.Snapshot/QueryPendings",
    "/protos.Snapshot/Generate",
    "/protos.Snapshot/Cancel",
    "/medfabric.membership.Membership/Exchange",
    "/medfabric.privatedata.PrivateData/Push",
    "/medfabric.privatedata.PrivateData/Pull",
]
STREAMS = [
    "/gateway.Gateway/ChaincodeEvents",
    "/protos.Deliver/Deliver",
    "/protos.Deliver/DeliverFiltered",
    "/protos.Deliver/DeliverWithPrivateData",
    "/orderer.AtomicBroadcast/Deliver",
    "/orderer.AtomicBroadcast/Broadcast",
]


async def send_unary(site: Site, entry: str, raw: bytes) -> tuple[grpc.StatusCode, str, bytes]:
    """Status, details and answer of a call."""
    call = site.channel(entry).unary_unary(entry)
    patience = SILENCE if "CommitStatus" in entry else LONGEST
    try:
        return grpc.StatusCode.OK, "", await call(raw, timeout=patience)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or "", b""


async def send_stream(
    site: Site, entry: str, raw: bytes, silence: float = SILENCE
) -> tuple[grpc.StatusCode, str, bytes]:
    """Status, details and first answer of a stream that is opened with one message."""
    channel = site.channel(entry)
    if "ChaincodeEvents" in entry:
        call = channel.unary_stream(entry)(raw)
    else:
        call = channel.stream_stream(entry)()
    answer = b""
    try:
        async with asyncio.timeout(silence if "Broadcast" not in entry else LONGEST):
            if "ChaincodeEvents" not in entry:
                await call.write(raw)
            found = await call.read()
            answer = b"" if found is grpc.aio.EOF else found
    except TimeoutError:
        return grpc.StatusCode.OK, "open", b""
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return await call.code(), await call.details() or "", b""
    finally:
        call.cancel()
    return grpc.StatusCode.OK, "", answer


def validate(entry: str, code: grpc.StatusCode, details: str) -> None:
    """No handler has failed."""
    # As grpcio and grpc-go say it of bytes that are no message of the method's type.
    unparsed = details == "Exception deserializing request!"
    assert code is not grpc.StatusCode.INTERNAL or unparsed, (entry, details)
    assert "Unexpected <class" not in details, (entry, details)
    assert "Traceback" not in details, (entry, details)
    hung = code is grpc.StatusCode.DEADLINE_EXCEEDED and "CommitStatus" not in entry
    assert not hung, (entry, details)


@pytest.mark.parametrize(
    "entry",
    [one for one in [*UNARY, *STREAMS] if "Snapshot" not in one and "CommitStatus" not in one],
)
async def test_what_the_mutants_are_made_of_is_taken(site: Site, entry: str) -> None:
    """Otherwise that no mutant is taken would show nothing."""
    if entry in UNARY:
        code, details, answer = await send_unary(site, entry, site.good[entry])
    else:
        code, details, answer = await send_stream(site, entry, site.good[entry], LONGEST)
    assert code is grpc.StatusCode.OK, details
    assert is_taken(entry, answer)


@pytest.mark.parametrize("entry", [*UNARY, *STREAMS])
async def test_mutants_are_refused_and_nothing_fails(
    site: Site, entry: str, caplog: pytest.LogCaptureFixture
) -> None:
    chance = Random(f"{SEED} {entry}")
    good = site.good[entry]
    send = send_unary if entry in UNARY else send_stream
    told: Counter[str] = Counter()
    for _ in range(EXAMPLES):
        raw = mutate(good, chance)
        code, details, answer = await send(site, entry, raw)
        validate(entry, code, details)
        told[code.name] += 1
        if code is grpc.StatusCode.OK and is_taken(entry, answer):
            assert is_same(entry, raw, good), f"{entry} took {raw.hex()}"
    assert "Traceback" not in caplog.text, caplog.text[-3000:]
    await still_works(site)


def is_taken(entry: str, answer: bytes) -> bool:
    """Whether an answer means that the request was believed."""
    if entry.endswith("ProcessProposal"):
        reply = proposal_response_pb2.ProposalResponse.FromString(answer)
        return bool(reply.endorsement.signature)
    if entry.endswith("/Broadcast"):
        return bool(ab_pb2.BroadcastResponse.FromString(answer).status == common_pb2.SUCCESS)
    if entry.endswith("AtomicBroadcast/Deliver"):
        return bool(ab_pb2.DeliverResponse.FromString(answer).WhichOneof("Type") == "block")
    if entry.startswith("/protos.Deliver"):
        kind = events_pb2.DeliverResponse.FromString(answer).WhichOneof("Type")
        return kind not in (None, "status")
    if entry.endswith("ChaincodeEvents"):
        return bool(answer)
    if entry.endswith("Discover"):
        results = protocol_pb2.Response.FromString(answer).results
        return any(one.WhichOneof("result") != "error" for one in results)
    return True


def signed_as(signature: bytes) -> Any:
    """What a signature says: Fabric, too, takes no notice of bytes behind it."""
    try:
        return open_signature(signature)
    except MalformedSignature:
        return signature


def signed_in(name: str) -> Callable[[Any], Any]:
    """Reads what a message's signature is over, and the signature."""
    return lambda message: (getattr(message, name), signed_as(message.signature))


proposed = signed_in("proposal_bytes")
PARTS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "ProcessProposal": (proposal_pb2.SignedProposal, signed_in("proposal_bytes")),
    "Evaluate": (gateway_pb2.EvaluateRequest, lambda m: proposed(m.proposed_transaction)),
    "Endorse": (gateway_pb2.EndorseRequest, lambda m: proposed(m.proposed_transaction)),
    "Submit": (gateway_pb2.SubmitRequest, lambda m: signed_in("payload")(m.prepared_transaction)),
    "CommitStatus": (gateway_pb2.SignedCommitStatusRequest, signed_in("request")),
    "ChaincodeEvents": (gateway_pb2.SignedChaincodeEventsRequest, signed_in("request")),
    "Discover": (protocol_pb2.SignedRequest, signed_in("payload")),
    "QueryPendings": (snapshot_pb2.SignedSnapshotRequest, signed_in("request")),
    "Generate": (snapshot_pb2.SignedSnapshotRequest, signed_in("request")),
    "Cancel": (snapshot_pb2.SignedSnapshotRequest, signed_in("request")),
    "Exchange": (
        membership_pb2.ExchangeRequest,
        lambda m: signed_in("announcement")(m.announcements[0]),
    ),
    "Push": (private_data_pb2.SignedRequest, signed_in("request")),
    "Pull": (private_data_pb2.SignedRequest, signed_in("request")),
}


def is_same(entry: str, raw: bytes, good: bytes) -> bool:
    """Whether the mutant says the same as the original where it was signed."""
    method = entry.rpartition("/")[2]
    kind, read = PARTS.get(method, (common_pb2.Envelope, signed_in("payload")))
    try:
        return bool(read(kind.FromString(raw)) == read(kind.FromString(good)))
    except DecodeError:
        return False


async def still_works(site: Site) -> None:
    """Both peers and the orderer do what they did."""
    await site.client.submit("put", secrets.token_hex(4), "1")
    await site.network.settle()
    assert len({p.channels.joined[0].ledger.commit_hash for p in site.network.peers.values()}) == 1
    for peer in site.network.peers.values():
        assert peer.channels.check_health() == ""


# --- mutants that were signed again: what a member of the consortium could send -------------------


async def test_a_members_own_mutants_get_codes_and_stop_no_peer(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Transactions changed inside and signed again are ordered; no peer may stumble on them."""
    chance = Random(f"{SEED} transactions")
    envelope = await site.endorse()
    chain = site.network.orderer.registrar.get(CHANNEL)  # type: ignore[union-attr]
    before = chain.height  # type: ignore[union-attr]
    mutants: set[bytes] = set()
    for _ in range(EXAMPLES * 4):
        payload = mutate(envelope.payload, chance)
        raw = build_envelope(payload, site.client.signer.sign(payload))
        code, details, answer = await send_stream(site, "/orderer.AtomicBroadcast/Broadcast", raw)
        validate("Broadcast", code, details)
        if answer and is_taken("/Broadcast", answer) and payload != envelope.payload:
            mutants.add(payload)
    assert mutants
    await still_works(site)
    for number in range(before, chain.height):  # type: ignore[union-attr]
        raws = [await p.channels.joined[0].get_block(number) for p in site.network.peers.values()]
        assert len(set(raws)) == 1
        block = common_pb2.Block.FromString(raws[0])
        codes = block.metadata.metadata[common_pb2.TRANSACTIONS_FILTER]
        for raw, verdict in zip(block.data.data, codes, strict=True):
            payload = common_pb2.Envelope.FromString(raw).payload
            assert (
                payload not in mutants
                or verdict != transaction_pb2.VALID
                or is_harmless(payload, envelope.payload)
            ), payload.hex()
    assert "Traceback" not in caplog.text, caplog.text[-3000:]


def is_harmless(payload: bytes, good: bytes) -> bool:
    """Whether what the peers endorsed is untouched: the response and the proposal it answers."""
    try:
        told = [_open_endorsed(one) for one in (payload, good)]
    except (DecodeError, IndexError):
        return False
    return told[0] == told[1]


def _open_endorsed(raw: bytes) -> tuple[bytes, ...]:
    payload = common_pb2.Payload.FromString(raw)
    transaction = transaction_pb2.Transaction.FromString(payload.data)
    action = transaction_pb2.ChaincodeActionPayload.FromString(transaction.actions[0].payload)
    return (
        payload.header.channel_header,
        transaction.actions[0].header,
        action.chaincode_proposal_payload,
        action.action.proposal_response_payload,
    )


async def test_a_members_own_proposals_are_answered(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    chance = Random(f"{SEED} proposals")
    for _ in range(EXAMPLES * 2):
        signed, _ = site.client.propose("put", "k", "v")
        raw = mutate(signed.proposal_bytes, chance)
        again = proposal_pb2.SignedProposal(
            proposal_bytes=raw, signature=site.client.signer.sign(raw)
        )
        requests = {
            "/protos.Endorser/ProcessProposal": again,
            "/gateway.Gateway/Endorse": gateway_pb2.EndorseRequest(proposed_transaction=again),
        }
        for entry, request in requests.items():
            code, details, _answer = await send_unary(site, entry, request.SerializeToString())
            validate(entry, code, details)
    assert "Traceback" not in caplog.text, caplog.text[-3000:]
    await still_works(site)


async def test_a_members_own_requests_are_answered(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests whose inside is changed and signed again: seeks, status, events, discovery."""
    chance, sign = Random(f"{SEED} requests"), site.client.signer.sign
    seek = open_envelope(site.good["/protos.Deliver/Deliver"]).payload
    wraps: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
        entry: (seek, lambda raw: common_pb2.Envelope(payload=raw, signature=sign(raw)))
        for entry in STREAMS
        if "Deliver" in entry
    }
    for entry, kind, name in (
        ("/gateway.Gateway/CommitStatus", gateway_pb2.SignedCommitStatusRequest, "request"),
        ("/gateway.Gateway/ChaincodeEvents", gateway_pb2.SignedChaincodeEventsRequest, "request"),
        ("/discovery.Discovery/Discover", protocol_pb2.SignedRequest, "payload"),
        ("/protos.Snapshot/QueryPendings", snapshot_pb2.SignedSnapshotRequest, "request"),
        ("/protos.Snapshot/Generate", snapshot_pb2.SignedSnapshotRequest, "request"),
        ("/protos.Snapshot/Cancel", snapshot_pb2.SignedSnapshotRequest, "request"),
        ("/medfabric.privatedata.PrivateData/Push", private_data_pb2.SignedRequest, "request"),
        ("/medfabric.privatedata.PrivateData/Pull", private_data_pb2.SignedRequest, "request"),
    ):
        inner = getattr(kind.FromString(site.good[entry]), name)
        signer = site.client.signer
        if "Snapshot" in entry:
            signer = site.network.admin(ALPHA).signer
        elif "PrivateData" in entry:
            signer = load_signer(site.network.folders.node_msp(site.network.node(BETA)), "BetaMSP")
        wraps[entry] = (inner, build_wrap(kind, name, signer))
    for entry, (inner, wrap) in wraps.items():
        send = send_unary if entry in UNARY else send_stream
        for _ in range(max(8, EXAMPLES // 2)):
            raw = wrap(mutate(inner, chance)).SerializeToString()
            code, details, _answer = await send(site, entry, raw)
            validate(entry, code, details)
    assert "Traceback" not in caplog.text, caplog.text[-3000:]
    await still_works(site)


def build_wrap(kind: Any, name: str, signer: Signer) -> Callable[[bytes], Any]:
    return lambda raw: kind(**{name: raw, "signature": signer.sign(raw)})


async def test_an_administrators_own_config_updates_change_nothing_unsigned(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The update's envelope is a member's, its inside is changed: only its signers may decide."""
    chance = Random(f"{SEED} config")
    chain = site.network.orderer.registrar.get(CHANNEL)  # type: ignore[union-attr]
    sequence = chain.config.sequence  # type: ignore[union-attr]
    update = configtx_pb2.ConfigUpdate(channel_id=CHANNEL)
    group = chain.config.config.channel_group  # type: ignore[union-attr]
    update.read_set.CopyFrom(group)
    update.write_set.CopyFrom(group)
    value = update.write_set.groups["Application"].values["Capabilities"]
    value.version += 1
    admin = site.network.admin(ALPHA).signer
    for _ in range(EXAMPLES):
        raw = mutate(update.SerializeToString(), chance)
        header = common_pb2.SignatureHeader(creator=admin.creator, nonce=b"n").SerializeToString()
        signature = configtx_pb2.ConfigSignature(
            signature_header=header, signature=admin.sign(header + raw)
        )
        data = configtx_pb2.ConfigUpdateEnvelope(
            config_update=raw, signatures=[signature]
        ).SerializeToString()
        if chance.random() < 0.5:
            data = mutate(data, chance)
        envelope = build_message(
            admin, data, channel_id=CHANNEL, type=common_pb2.CONFIG_UPDATE, moment=datetime.now(UTC)
        )
        entry = "/orderer.AtomicBroadcast/Broadcast"
        code, details, answer = await send_stream(site, entry, envelope)
        validate(entry, code, details)
        assert not answer or not is_taken(entry, answer), raw.hex()
    assert chain.config.sequence == sequence  # type: ignore[union-attr]
    assert "Traceback" not in caplog.text, caplog.text[-3000:]
    await still_works(site)


# --- bytes that are no gRPC at all ----------------------------------------------------------------


async def test_bytes_after_the_handshake_stop_nobody(site: Site) -> None:
    chance = Random(f"{SEED} bytes")
    node = site.network.node(ALPHA)
    context = ssl.create_default_context(
        cafile=str(Path(site.network.folders.node_tls(node)) / "ca.crt")
    )
    context.set_alpn_protocols(["h2"])
    context.check_hostname = False
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    for _ in range(EXAMPLES):
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port, ssl=context)
        try:
            if chance.random() < 0.8:
                writer.write(preface + settings)
            for _ in range(chance.randint(1, 5)):
                body = chance.randbytes(chance.choice([0, 1, 8, 200]))
                head = len(body).to_bytes(3, "big") + bytes(
                    [chance.randint(0, 10), chance.choice([0, 1, 4, 5, 255])]
                )
                writer.write(head + chance.choice([0, 1, 2, 3, 2**31]).to_bytes(4, "big") + body)
            await writer.drain()
            async with asyncio.timeout(SILENCE / 10):
                await reader.read(4096)
        except (TimeoutError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()
    await still_works(site)
