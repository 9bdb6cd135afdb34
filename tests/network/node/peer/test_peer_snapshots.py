"""Snapshots as an administrator has them: asked for at one peer, joined by at another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from fabric_protos.common import common_pb2, ledger_pb2
from fabric_protos.peer import query_pb2, snapshot_pb2, snapshot_pb2_grpc, transaction_pb2

from network.rules.lifecycle.states import implicit_collection
from tests.network.node.peer.test_peer_consortium import deliver
from tests.simulator import CHANNEL, Client, Collection, Definition, Network, running_network

pytestmark = [pytest.mark.network, pytest.mark.asyncio(loop_scope="module")]

FIRST = "peer0.alpha.example"
NEW = "peer1.alpha.example"
POLICY = "OR('AlphaMSP.peer','BetaMSP.peer')"
COLLECTIONS = [Collection("pair", ["Alpha", "Beta"]), Collection("beta", ["Beta"])]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    folder = tmp_path_factory.mktemp("network")
    async with running_network(
        folder,
        {"Alpha": 2, "Beta": 1},
        elsewhere=[NEW],
        CORE_PEER_GOSSIP_PVTDATA_RECONCILESLEEPINTERVAL="200ms",
    ) as running:
        await running.deploy(Definition(policy=POLICY, collections=COLLECTIONS))
        await fill(running)
        yield running


async def fill(network: Network) -> None:
    """Private data of every kind, some of it overwritten."""
    client = network.client("Alpha")
    for key, value in (("a", b"old"), ("a", b"new"), ("b", b"kept")):
        await client.submit("private_put", "pair", key, transient={"value": value})
    mine = implicit_collection("AlphaMSP")
    await client.submit("private_put", mine, "i", transient={"value": b"mine"}, orgs=["AlphaMSP"])
    beta = network.client("Beta")
    await beta.submit("private_put", "beta", "x", transient={"value": b"theirs"}, orgs=["BetaMSP"])
    await client.submit("put", "fruit", "pear")
    await network.settle()


def root(network: Network, fqdn: str = FIRST) -> Path:
    return network.folder / "data" / fqdn / "snapshots"


async def ask(
    client: Client, method: str, block: int = 0, channel: str = CHANNEL, **changes: Any
) -> Any:
    """One call of protos.Snapshot; the error is (code, text)."""
    kind: Any = snapshot_pb2.SnapshotRequest
    if method == "QueryPendings":
        request: Any = snapshot_pb2.SnapshotQuery(channel_id=channel)
    else:
        request = kind(channel_id=channel, block_number=block)
    if changes.get("header", True):
        request.signature_header.creator = client.signer.creator
        request.signature_header.nonce = b"nonce"
    raw = changes.get("raw", request.SerializeToString())
    signed = snapshot_pb2.SignedSnapshotRequest(
        request=raw, signature=changes.get("signature", client.signer.sign(raw))
    )
    stub = snapshot_pb2_grpc.SnapshotStub(client.channel)
    try:
        return await getattr(stub, method)(signed)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.02)


async def take_snapshot(network: Network, fqdn: str = FIRST) -> Path:
    """The folder of a snapshot at the peer's last block."""
    client, channel = network.admin(fqdn), network.peers[fqdn].channels.joined[0]
    await ask(client, "Generate")
    await until(lambda: channel.ledger.snapshots.pending == [])
    return root(network, fqdn) / "completed" / CHANNEL / str(channel.height - 1)


async def call(network: Network, fqdn: str, *args: str | bytes, chaincode: str = "cscc") -> Any:
    reply = await network.admin(fqdn).process(*args, chaincode=chaincode, channel_id="")
    return reply.response


async def joined(network: Network, fqdn: str, snapshot: Path) -> None:
    """The peer has joined by the snapshot."""
    response = await call(network, fqdn, "JoinChainBySnapshot", str(snapshot))
    assert response.status == 200, response.message
    await until(lambda: network.peers[fqdn].channels.joining_snapshot is None)


@pytest.mark.parametrize("method", ["Generate", "Cancel", "QueryPendings"])
async def test_only_administrators_may_ask(network: Network, method: str) -> None:
    code, text = await ask(network.client("Alpha"), method)
    assert code == grpc.StatusCode.UNKNOWN
    assert text.startswith(
        "failed verifying that the signed data identity satisfies local MSP principal during"
        " channelless check policy with policy [Admins]: ["
    )
    code, text = await ask(network.client("Beta", "Admin", FIRST), method)
    assert text.startswith(
        "failed deserializing signed data identity during channelless check policy with policy"
        " [Admins]: ["
    )


async def test_requests_that_are_not_right(network: Network) -> None:
    admin = network.admin(FIRST)
    for changes, expected in [
        ({"header": False}, "missing signature header"),
        ({"channel": ""}, "missing channel ID"),
        ({"channel": "none"}, "cannot find ledger for channel none"),
        ({"raw": b"\xff"}, "failed to unmarshal snapshot request: proto:"),
        ({"signature": b"no"}, ""),
    ]:
        code, text = await ask(admin, "Generate", **changes)  # type: ignore[arg-type]
        assert code == grpc.StatusCode.UNKNOWN
        assert text.startswith(expected)
    assert await ask(admin, "QueryPendings") == snapshot_pb2.QueryPendingSnapshotsResponse()


async def test_a_request_is_listed_cancelled_and_survives_a_restart(network: Network) -> None:
    admin = network.admin(FIRST)
    for block in (1000, 900):
        await ask(admin, "Generate", block)
    assert list((await ask(admin, "QueryPendings")).block_numbers) == [900, 1000]
    await network.stop_peer(FIRST)
    await network.start_peer(FIRST)
    admin = network.admin(FIRST)
    assert list((await ask(admin, "QueryPendings")).block_numbers) == [900, 1000]
    for block in (900, 1000):
        await ask(admin, "Cancel", block)
    assert await ask(admin, "Cancel", 900) == (
        grpc.StatusCode.UNKNOWN,
        "no snapshot request exists for block number 900",
    )
    await network.settle()


async def test_all_peers_make_the_same_snapshot(network: Network) -> None:
    await network.settle()
    one, other = [await take_snapshot(network, fqdn) for fqdn in (FIRST, "peer0.beta.example")]
    assert {file.name: file.read_bytes() for file in one.iterdir()} == {
        file.name: file.read_bytes() for file in other.iterdir()
    }


async def test_joining_by_what_is_no_snapshot(network: Network, tmp_path: Path) -> None:
    peer = await network.start_peer(NEW)
    for folder, text in [
        ("", "Cannot join the channel, no snapshot directory provided"),
        (
            str(tmp_path / "none"),
            f"cannot create ledger from snapshot {tmp_path}/none: error opening dir"
            f" [{tmp_path}/none]: open {tmp_path}/none: no such file or directory",
        ),
        (
            str(tmp_path),
            f"cannot create ledger from snapshot {tmp_path}: snapshot dir {tmp_path} is empty",
        ),
    ]:
        response = await call(network, NEW, "JoinChainBySnapshot", folder)
        assert (response.status, response.message) == (500, text)
    (tmp_path / "file").touch()
    await joined(network, NEW, tmp_path)
    assert peer.channels.joined == ()
    denied = await network.client("Alpha", peer=NEW).process(
        "JoinChainBySnapshot", str(tmp_path), chaincode="cscc", channel_id=""
    )
    assert denied.response.message.startswith("access denied for [JoinChainBySnapshot]: [Failed")


async def test_a_peer_joins_by_snapshot_and_goes_on(network: Network) -> None:
    snapshot = await take_snapshot(network)
    await joined(network, NEW, snapshot)
    status = query_pb2.JoinBySnapshotStatus.FromString(
        (await call(network, NEW, "JoinBySnapshotStatus")).payload
    )
    assert status == query_pb2.JoinBySnapshotStatus()
    at = network.client("Alpha", peer=NEW)
    await network.install(NEW)
    await network.settle()
    assert (await at.process("get", "fruit")).response.payload == b"pear"
    written = await at.submit("put", "fruit", "plum")
    assert (await at.process("get", "fruit")).response.payload == b"plum"
    await network.settle()
    hashes = {peer.channels.joined[0].ledger.commit_hash for peer in network.peers.values()}
    assert len(hashes) == 1
    assert written.block_number >= network.peers[NEW].channels.joined[0].ledger.origin.first_block


async def test_private_data_comes_from_the_members_that_have_it(network: Network) -> None:
    ledger = network.peers[NEW].channels.joined[0].ledger
    at = network.client("Alpha", peer=NEW)

    async def read(collection: str, key: str) -> bytes:
        return bytes((await at.process("private_get", collection, key)).response.payload)

    await until(lambda: not ledger.get_missing())
    assert await read("pair", "a") == b"new"
    assert await read("pair", "b") == b"kept"
    assert await read(implicit_collection("AlphaMSP"), "i") == b"mine"
    assert (await at.process("private_get", "beta", "x")).response.status == 500
    hashed = (await at.process("private_hash", "beta", "x")).response.payload
    assert hashed == sha256(b"theirs").digest()


async def test_what_was_before_the_snapshot_is_refused_in_fabrics_words(network: Network) -> None:
    channel = network.peers[NEW].channels.joined[0]
    first = channel.ledger.origin.first_block
    ends = f"ootstrapped from a snapshot. First available block = [{first}]"
    at = network.admin(NEW)
    old = network.peers[FIRST].channels.joined[0]
    with old.snapshot() as snapshot:
        tx_id = snapshot.select("SELECT tx_id FROM transactions WHERE block = 3", ())[0][0]
    for args, text in [
        (
            ("GetBlockByNumber", "3"),
            "Failed to get block number 3, error cannot serve block [3]. The ledger is b" + ends,
        ),
        (
            ("GetBlockByTxID", tx_id),
            f"Failed to get block for txID {tx_id}, error details for the TXID [{tx_id}] not"
            " available. Ledger b" + ends,
        ),
        (
            ("GetTransactionByID", tx_id),
            f"Failed to get transaction with id {tx_id}, error details for the TXID [{tx_id}] not"
            " available. Ledger b" + ends,
        ),
    ]:
        reply = await at.process(args[0], CHANNEL, args[1], chaincode="qscc")
        assert (reply.response.status, reply.response.message) == (500, text)
    reply = await at.process("GetConfigBlock", CHANNEL, chaincode="cscc")
    assert reply.response.message == "cannot serve block [0]. The ledger is b" + ends
    reply = await at.process("GetChainInfo", CHANNEL, chaincode="qscc")
    info = ledger_pb2.BlockchainInfo.FromString(reply.response.payload)
    assert info.bootstrappingSnapshotInfo.lastBlockInSnapshot == first - 1
    assert info.height == channel.height


async def test_old_blocks_events_and_statuses(network: Network) -> None:
    channel = network.peers[NEW].channels.joined[0]
    at = network.client("Alpha", peer=NEW)
    first = channel.ledger.origin.first_block
    found = await deliver(at, "Deliver", 0, 3)
    assert [response.status for response in found] == [common_pb2.NOT_FOUND]
    kept = await deliver(at, "Deliver", first, first)
    assert kept[0].block.header.number == first
    with pytest.raises(grpc.aio.AioRpcError) as error:
        async for _ in at.events(start=1):
            pass
    assert error.value.code() == grpc.StatusCode.ABORTED
    assert (error.value.details() or "").startswith("cannot serve block [1]. The ledger is boots")
    with network.peers[FIRST].channels.joined[0].snapshot() as snapshot:
        tx_id = snapshot.select("SELECT tx_id FROM transactions WHERE block = 3", ())[0][0]
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await at.status(tx_id, timeout=0.5)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_replay_from_before_the_snapshot_stays_a_replay(network: Network) -> None:
    client = network.client("Alpha")
    with network.peers[FIRST].channels.joined[0].snapshot() as snapshot:
        (raw,) = snapshot.select("SELECT raw FROM blocks WHERE number = 6", ())[0]
        (tx_id,) = snapshot.select("SELECT tx_id FROM transactions WHERE block = 6", ())[0]
    block = common_pb2.Block.FromString(raw)
    height = network.peers[NEW].channels.joined[0].height
    await client.send(common_pb2.Envelope.FromString(block.data.data[0]), tx_id)
    await until(lambda: network.peers[NEW].channels.joined[0].height > height)
    await network.settle()
    ledgers = [peer.channels.joined[0].ledger for peer in network.peers.values()]
    blocks = [common_pb2.Block.FromString(await one.get_block(height)) for one in ledgers]
    codes = {one.metadata.metadata[common_pb2.TRANSACTIONS_FILTER] for one in blocks}
    assert codes == {bytes([transaction_pb2.DUPLICATE_TXID])}


async def test_its_own_snapshot_is_that_of_the_others(network: Network) -> None:
    await network.settle()
    one, other = [await take_snapshot(network, fqdn) for fqdn in (FIRST, NEW)]
    assert {file.name: file.read_bytes() for file in one.iterdir()} == {
        file.name: file.read_bytes() for file in other.iterdir()
    }


async def test_it_is_as_it_was_after_a_restart(network: Network) -> None:
    before = network.peers[NEW].channels.joined[0].ledger.origin
    await network.stop_peer(NEW)
    peer = await network.start_peer(NEW)
    assert peer.channels.joined[0].ledger.origin == before
    await network.settle()
    client = network.client("Alpha", peer=NEW)
    await client.submit("put", "fruit", "fig")
    assert (await client.process("private_get", "pair", "a")).response.payload == b"new"


async def test_a_channel_is_not_joined_twice(network: Network) -> None:
    snapshot = await take_snapshot(network)
    before = network.peers[NEW].channels.joined
    await joined(network, NEW, snapshot)
    assert network.peers[NEW].channels.joined == before
