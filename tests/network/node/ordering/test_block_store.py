"""An orderer's blocks on disk: durable, in order, whole after a crash."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from network.node.ordering.block_store import BlockStore, StoreError, list_channels
from network.rules.blocks.block import build_block, build_last_config, header_hash, open_block

CHANNEL = "care"


def make_block(number: int, previous: Any | None = None, size: int = 10) -> tuple[Any, bytes]:
    block = build_block(number, header_hash(previous.header) if previous else b"", [bytes(size)])
    block.metadata.metadata[1] = build_last_config(0)
    return block, block.SerializeToString()


async def make_store(location: Path, blocks: int = 1) -> BlockStore:
    store = await BlockStore.create(location, CHANNEL, make_block(0)[1])
    for number in range(1, blocks):
        await store.append(*make_block(number))
    return store


async def test_blocks_come_back_after_reopening(tmp_path: Path) -> None:
    store = await make_store(tmp_path, 3)
    written = [await store.get_block(number) for number in range(3)]
    await store.close()
    again = await BlockStore.open(tmp_path, CHANNEL)
    assert again.height == 3
    assert [await again.get_block(number) for number in range(3)] == written
    assert [open_block(raw).header.number for raw in written] == [0, 1, 2]
    await again.close()


async def test_only_the_next_block_is_taken(tmp_path: Path) -> None:
    store = await make_store(tmp_path)
    for number in (0, 2):
        with pytest.raises(StoreError, match=f"block {number} offered at height 1"):
            await store.append(*make_block(number))
    assert store.height == 1
    await store.close()


async def test_a_block_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    store = await make_store(tmp_path)
    with pytest.raises(StoreError, match="block 1 is missing"):
        await store.get_block(1)
    await store.close()


async def test_readers_wake_when_their_block_comes(tmp_path: Path) -> None:
    store = await make_store(tmp_path)
    waiting = [asyncio.create_task(store.wait_for(number)) for number in (1, 1, 2)]
    await asyncio.sleep(0)
    await store.append(*make_block(1))
    await asyncio.wait_for(asyncio.gather(*waiting[:2]), 60)
    assert not waiting[2].done()
    store.fail("the disk is full")
    await asyncio.wait_for(waiting[2], 60)
    await store.close()


async def test_a_full_disk_leaves_the_chain_as_it_was(tmp_path: Path) -> None:
    store = await make_store(tmp_path, 2)
    await store._run(store._connection.execute, "PRAGMA max_page_count = 1")
    with pytest.raises(StoreError, match="database or disk is full"):
        await store.append(*make_block(2, size=1_000_000))
    assert store.height == 2
    await store.close()
    again = await BlockStore.open(tmp_path, CHANNEL)
    assert again.height == 2
    await again.append(*make_block(2))
    await again.close()


async def test_missing_blocks_are_noticed(tmp_path: Path) -> None:
    file = tmp_path / "channels" / CHANNEL / "blocks.db"
    await (await make_store(tmp_path, 4)).close()
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM block WHERE number = 2")
    store = await BlockStore.open(tmp_path, CHANNEL)
    with pytest.raises(StoreError, match="block 2 is missing"):
        await store.get_block(2)
    await store.close()
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM block WHERE number = 0")
    with pytest.raises(StoreError, match="the oldest block is number 1"):
        await BlockStore.open(tmp_path, CHANNEL)


async def test_a_truncated_database_is_noticed(tmp_path: Path) -> None:
    await (await make_store(tmp_path, 50)).close()
    file = tmp_path / "channels" / CHANNEL / "blocks.db"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(StoreError, match=str(file)):
        await BlockStore.open(tmp_path, CHANNEL)


async def test_what_was_half_made_is_swept(tmp_path: Path) -> None:
    await (await make_store(tmp_path)).close()
    for leftover in (".joining-other", ".removing-gone"):
        (tmp_path / "channels" / leftover).mkdir()
    assert list_channels(tmp_path) == [CHANNEL]
    assert [path.name for path in (tmp_path / "channels").iterdir()] == [CHANNEL]


async def test_a_removed_channel_is_gone_and_may_be_joined_again(tmp_path: Path) -> None:
    await (await make_store(tmp_path, 3)).remove()
    assert list_channels(tmp_path) == []
    again = await make_store(tmp_path)
    assert again.height == 1
    await again.close()


async def test_a_channel_is_not_created_twice(tmp_path: Path) -> None:
    store = await make_store(tmp_path)
    with pytest.raises(StoreError, match="already exists"):
        await make_store(tmp_path)
    await store.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from tests.network.node.ordering.test_block_store import make_block, make_store
async def main():
    store = await make_store(Path(sys.argv[1]))
    while True:
        await store.append(*make_block(store.height))
        print(store.height, flush=True)
asyncio.run(main())
"""


def test_no_block_is_lost_that_was_reported_before_a_kill(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    reported = 0
    for line in writer.stdout:
        reported = int(line)
        if reported >= 40:
            break
    writer.send_signal(signal.SIGKILL)
    reported = max([reported, *(int(line) for line in writer.stdout.read().split())])
    writer.wait()
    assert asyncio.run(get_height(tmp_path)) >= reported


async def get_height(location: Path) -> int:
    store = await BlockStore.open(location, CHANNEL)
    await store.close()
    return store.height
