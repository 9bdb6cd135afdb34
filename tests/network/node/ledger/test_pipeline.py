"""Blocks checked ahead and committed together: the same ledger, in the same order, or none of it.

The vectors are chains of a real peer: codes, commit hashes and stored bytes must come out the same
however the blocks arrive.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fabric_protos.common import common_pb2

from network.node.ledger import channel as channels
from network.node.ledger.block_commit import CommittedBlock
from network.node.ledger.channel import PeerChannel
from network.node.ledger.ledger import Ledger
from network.node.ledger.store import StoreError
from network.rules.blocks.block import InvalidBlock
from network.rules.validation.commit_hash import get_commit_hash
from tests.network.differential.naive_peer import NaivePeer
from tests.network.differential.wild_transactions import WildBlocks
from tests.network.node.ledger.test_faults import CONSORTIUM, SmallDisk
from tests.network.node.ledger.test_ledger_replay import VECTORS, as_ordered, read_ledger
from tests.network.rules.vectors import read_chain

CHAINS = sorted(path.name for path in VECTORS.iterdir() if path.is_dir())


class LostStream(Exception):
    pass


async def stream(blocks: list[Any], pause: float | None = None) -> AsyncIterator[Any]:
    for block in blocks:
        if pause is not None:
            await asyncio.sleep(pause)
        yield as_ordered(block)
    raise LostStream


async def open_channel(folder: Path, genesis: Any) -> tuple[PeerChannel, list[CommittedBlock]]:
    channel = await PeerChannel.create(folder, genesis, b"")
    seen: list[CommittedBlock] = []
    channel.add_listener(seen.append)
    return channel, seen


async def assert_stored(channel: PeerChannel, blocks: list[Any]) -> None:
    assert channel.height == len(blocks)
    assert channel.ledger.commit_hash == get_commit_hash(blocks[-1])
    for block in blocks[1:]:
        assert await channel.get_block(block.header.number) == block.SerializeToString()


@pytest.mark.parametrize("pause", [None, 0.0, 0.01])
@pytest.mark.parametrize("name", [*CHAINS, ""])
async def test_a_real_peers_chain_in_one_go(tmp_path: Path, name: str, pause: float | None) -> None:
    blocks = read_ledger(name) if name else read_chain("peer")
    channel, seen = await open_channel(tmp_path, blocks[0])
    with pytest.raises(LostStream):
        await channel.commit_all(stream(blocks[1:], pause))
    await assert_stored(channel, blocks)
    assert [one.number for one in seen] == list(range(1, len(blocks)))
    await channel.close()


async def test_blocks_that_wait_share_a_transaction(tmp_path: Path) -> None:
    blocks = read_ledger("behaviour")
    channel, seen = await open_channel(tmp_path, blocks[0])
    statements: list[str] = []
    channel.ledger._store._connection.set_trace_callback(statements.append)
    with pytest.raises(LostStream):
        await channel.commit_all(stream(blocks[1:]))
    assert len(seen) == len(blocks) - 1
    assert statements.count("COMMIT") < len(seen)
    await channel.close()


async def test_what_stands_before_a_bad_block_is_committed(tmp_path: Path) -> None:
    blocks = read_ledger("behaviour")
    forged = common_pb2.Block.FromString(blocks[6].SerializeToString())
    forged.data.data.append(forged.data.data[0])
    channel, seen = await open_channel(tmp_path, blocks[0])
    with pytest.raises(InvalidBlock, match="DataHash"):
        await channel.commit_all(stream([*blocks[1:6], forged, *blocks[7:]]))
    assert [one.number for one in seen] == [1, 2, 3, 4, 5]
    with pytest.raises(LostStream):
        await channel.commit_all(stream(blocks[6:]))
    await assert_stored(channel, blocks)
    await channel.close()


async def test_a_gap_is_no_block_of_this_chain(tmp_path: Path) -> None:
    blocks = read_ledger("behaviour")
    channel, _ = await open_channel(tmp_path, blocks[0])
    with pytest.raises(InvalidBlock, match="expected block number"):
        await channel.commit_all(stream([*blocks[1:3], *blocks[4:]]))
    assert channel.height == 3
    await channel.close()


async def test_it_reads_no_further_than_it_checks_ahead(tmp_path: Path) -> None:
    blocks = read_ledger("behaviour")
    channel, _ = await open_channel(tmp_path, blocks[0])
    given = 0

    async def count() -> AsyncIterator[Any]:
        nonlocal given
        for block in blocks[1:]:
            given += 1
            yield as_ordered(block)

    async with channel.ledger._commit_lock:  # as if the disk were slow
        committing = asyncio.create_task(channel.commit_all(count()))
        await asyncio.sleep(0.5)
        assert given <= 2 * channels.AHEAD + 2
    await committing
    await assert_stored(channel, blocks)
    await channel.close()


async def test_cancelling_leaves_whole_blocks(tmp_path: Path) -> None:
    blocks = read_ledger("behaviour")
    channel, seen = await open_channel(tmp_path, blocks[0])
    committing = asyncio.create_task(channel.commit_all(stream(blocks[1:])))
    while not seen:
        await asyncio.sleep(0)
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
    await channel.close()
    again = await PeerChannel.open(tmp_path, b"")
    with pytest.raises(LostStream):
        await again.commit_all(stream(blocks[again.height :]))
    await assert_stored(again, blocks)
    await again.close()


async def test_a_full_disk_takes_none_of_them(tmp_path: Path) -> None:
    wild = WildBlocks(CONSORTIUM, 5)
    naive = NaivePeer(wild.genesis)
    ledger = await Ledger.create(tmp_path / "one", wild.genesis, identity=b"")
    twin = await Ledger.create(tmp_path / "two", wild.genesis, identity=b"")
    blocks = [wild.setup()]
    naive.commit(blocks[0])
    for _ in range(5):
        blocks.append(wild.next_block(naive.state, 20))
        naive.commit(blocks[-1])
    disk = SmallDisk(ledger._store._connection)
    checked = [await ledger.check(block) for block in blocks]
    told: list[CommittedBlock] = []
    ledger.add_listener(told.append)
    disk.fill()
    with pytest.raises(StoreError, match="full"):
        await ledger.commit_together(checked)
    assert ledger.height == 1
    assert told == []
    disk.free()
    while checked:
        checked = checked[len(await ledger.commit_together(checked)) :]
    for block in blocks:
        await twin.commit(block)
    assert ledger.commit_hash == twin.commit_hash
    assert [one.number for one in told] == [block.header.number for block in blocks]
    for block in blocks:
        number = block.header.number
        assert await ledger.get_block(number) == await twin.get_block(number)
    await ledger.close()
    await twin.close()
