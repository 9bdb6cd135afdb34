"""The ledger's file: snapshots stand still, crashes lose nothing acknowledged, damage is told."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest
from fabric_protos.common import common_pb2

from network.node.ledger import sqlite_store
from network.node.ledger.ledger import Ledger
from network.node.ledger.sqlite_store import LEDGER_FILE, SqliteStore
from network.node.ledger.store import (
    BlockCommit,
    IndexedTransaction,
    PrivateUpdate,
    StoreError,
)
from network.node.ledger.transient_store import TransientStore
from network.rules.state.snapshot import Version
from network.rules.validation.commit_hash import get_commit_hash
from network.rules.validation.mvcc import Update, UpdateBatch
from tests.network.node.ledger.test_ledger_replay import as_ordered, read_ledger


def block_of(number: int, writes: dict[str, bytes | None]) -> BlockCommit:
    updates = UpdateBatch()
    for index, (key, value) in enumerate(writes.items()):
        updates.put_public("cc", key, Update(value, b"", Version(number, index)))
    return BlockCommit(
        number=number,
        block_hash=number.to_bytes(32, "big"),
        raw=b"block",
        transactions=[IndexedTransaction(f"tx{number}", 0, b"")],
        updates=updates,
    )


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore.create(tmp_path, "ch")


def test_snapshot_stands_still_while_blocks_are_committed(store: SqliteStore) -> None:
    store.commit(block_of(0, {"a": b"1", "b": b"1"}))
    before = store.snapshot()
    rows = before.range("cc", "", "")
    assert next(rows)[0] == "a"
    store.commit(block_of(1, {"a": b"2", "b": None, "c": b"2"}))
    after = store.snapshot()
    assert [key for key, _ in rows] == ["b"]
    assert (before.height, after.height) == (1, 2)
    assert before.get_state("cc", "a") == (b"1", Version(0, 0), b"")
    assert [(key, found.value) for key, found in after.range("cc", "", "")] == [
        ("a", b"2"),
        ("c", b"2"),
    ]
    before.close()
    before.close()
    with pytest.raises(sqlite3.ProgrammingError):
        before.get_state("cc", "a")
    assert after.get_state("cc", "c") is not None
    after.close()
    store.close()


def test_ranges_are_in_byte_order_across_batches(store: SqliteStore) -> None:
    keys = [f"k{index:03}" for index in range(300)] + ["z", "é", "\U0010ffff", "￿", ""]
    store.commit(block_of(0, dict.fromkeys(keys, b"v")))
    with store.snapshot() as snapshot:
        found = [key for key, _ in snapshot.range("cc", "", "")]
        assert found == sorted(keys, key=str.encode)
        assert [k for k, _ in snapshot.range("cc", "k100", "k103")] == ["k100", "k101", "k102"]
        assert list(snapshot.range("cc", "k5", "k2")) == []


def test_every_hot_statement_uses_an_index(store: SqliteStore) -> None:
    connection = sqlite3.connect(store.path)
    for statement in (
        "SELECT value FROM state WHERE namespace = ? AND key >= ? AND key < ? ORDER BY key",
        "SELECT value FROM private WHERE namespace = ? AND collection = ? AND key > ? ORDER BY key",
        "SELECT 1 FROM transactions WHERE tx_id = ? LIMIT 1",
        "SELECT t.tx_id FROM history h JOIN transactions t ON t.block = h.block AND t.tx = h.tx"
        " WHERE h.namespace = ? AND h.key = ? ORDER BY h.block DESC, h.tx DESC",
        "DELETE FROM private WHERE (namespace, collection, key_hash) = (?, ?, ?)",
    ):
        holes = ("",) * statement.count("?")
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", holes).fetchall()
        assert all("SEARCH" in row[3] for row in plan), (statement, plan)
    connection.close()


def test_write_ahead_log_is_emptied_between_snapshots(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "LOG_LIMIT", 200_000)
    log = store.path.with_name("ledger.db-wal")
    held = None
    for number in range(60):
        store.commit(block_of(number, {f"k{number}-{index}": b"v" * 500 for index in range(20)}))
        with store.snapshot() as snapshot:
            assert snapshot.height == number + 1
        if number == 20:
            held = store.snapshot()
        if number == 40:
            assert log.stat().st_size > 400_000
            assert held is not None
            held.close()
    assert log.stat().st_size < 400_000


def test_block_out_of_turn_is_refused(store: SqliteStore) -> None:
    with pytest.raises(StoreError, match="block 3 does not follow height 0"):
        store.commit(block_of(3, {}))


def test_failed_commit_leaves_nothing(store: SqliteStore) -> None:
    store.commit(block_of(0, {"a": b"1"}))
    broken = block_of(1, {"a": b"2"})
    broken.updates.public["cc"]["b"] = Update(object(), b"", Version(1, 1))  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        store.commit(broken)
    assert store.height == 1
    with store.snapshot() as snapshot:
        assert snapshot.get_state("cc", "a") == (b"1", Version(0, 0), b"")
        assert not snapshot.has_transaction("tx1")
    store.commit(block_of(1, {"a": b"3"}))


@pytest.mark.parametrize("keep", [0, 50, 4096, 30000])
def test_truncated_file_is_told(tmp_path: Path, keep: int) -> None:
    store = SqliteStore.create(tmp_path, "ch")
    for number in range(20):
        store.commit(block_of(number, {f"k{i}": b"v" * 100 for i in range(20)}))
    store.close()
    path = tmp_path / LEDGER_FILE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"ledger\.db"):
        SqliteStore.open(tmp_path)


def test_no_ledger_a_second_one_and_a_newer_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no ledger here"):
        SqliteStore.open(tmp_path)
    SqliteStore.create(tmp_path, "ch").close()
    with pytest.raises(StoreError, match="already"):
        SqliteStore.create(tmp_path, "ch")
    connection = sqlite3.connect(tmp_path / LEDGER_FILE)
    connection.execute("UPDATE facts SET value = 99 WHERE name = 'schema'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="version 99"):
        SqliteStore.open(tmp_path)


CRASHER = """
import asyncio, sys
from pathlib import Path
from network.node.ledger import sqlite_store
from network.node.ledger.ledger import Ledger
from tests.network.node.ledger.test_ledger_replay import as_ordered, read_ledger

async def main():
    ledger = await Ledger.open(Path(sys.argv[1]), identity=b"")
    for block in read_ledger("behaviour")[ledger.height:]:
        await ledger.commit(as_ordered(block))
        print(block.header.number, flush=True)

asyncio.run(main())
"""


async def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    blocks = read_ledger("behaviour")
    folder = tmp_path / "ledger"
    ledger = await Ledger.create(folder, blocks[0], identity=b"")
    await ledger.close()
    acknowledged = 0
    for wait in (0.0, 0.02, 0.05, 0.01):
        acknowledged = max(acknowledged, await asyncio.to_thread(crash, folder, wait))
        again = await Ledger.open(folder, identity=b"")
        assert again.height >= acknowledged + 1
        assert again.commit_hash == get_commit_hash(blocks[again.height - 1])
        await again.close()
    last = await Ledger.open(folder, identity=b"")
    for block in blocks[last.height :]:
        await last.commit(as_ordered(block))
    assert last.commit_hash == get_commit_hash(blocks[-1])
    await last.close()


def crash(folder: Path, wait: float) -> int:
    """Commit in another process and kill it soon after its first block; return the last number."""
    with subprocess.Popen(
        [sys.executable, "-c", CRASHER, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(wait)
        process.kill()
        numbers = [line for line in (first + process.stdout.read()).split("\n") if line]
    return int(numbers[-1]) if numbers else 0


async def test_waiting_for_blocks_and_transactions(tmp_path: Path) -> None:
    blocks = read_ledger("behaviour")
    ledger = await Ledger.create(tmp_path / "ledger", blocks[0], identity=b"")
    seen: list[int] = []
    stop = ledger.add_listener(lambda committed: seen.append(committed.number))
    payload = common_pb2.Envelope.FromString(blocks[2].data.data[0]).payload
    header = common_pb2.Payload.FromString(payload).header.channel_header
    tx_id = common_pb2.ChannelHeader.FromString(header).tx_id
    status = asyncio.create_task(ledger.wait_for_tx(tx_id))
    grown = asyncio.create_task(ledger.wait_for(2))
    for block in blocks[1:3]:
        assert not status.done()
        assert not grown.done()
        await ledger.commit(as_ordered(block))
    assert (await status).block == 2
    assert (await ledger.wait_for_tx(tx_id)).code == 0
    await grown
    stop()
    await ledger.commit(as_ordered(blocks[3]))
    assert seen == [1, 2]
    late = asyncio.create_task(ledger.wait_for(99))
    await asyncio.sleep(0)
    await ledger.close()
    await late
    assert ledger.failure


async def test_private_data_that_came_late_is_filled_in(tmp_path: Path) -> None:
    from tests.network.node.endorsing.test_endorsement_replay import find_peer_identity, simulate

    blocks = read_ledger("behaviour")[:27]
    identity = find_peer_identity(blocks, "Org1MSP")
    whole = await Ledger.create(tmp_path / "whole", blocks[0], identity=identity)
    late = await Ledger.create(tmp_path / "late", blocks[0], identity=identity)
    for block in blocks[1:]:
        private = {}
        if block.header.number == 26:
            private = {0: simulate(whole, block.data.data[0])[0].private}
        await whole.commit(as_ordered(block), private)
        await late.commit(as_ordered(block))
    missing = [entry for entry in late.get_missing() if entry.collection == "both"]
    assert [(entry.block, entry.tx) for entry in missing] == [(26, 0)]
    held = {entry: part.raw for entry in missing for part in whole._store.get_private_sets(26)[0]}
    assert await late.add_missing(dict.fromkeys(held, b"forged")) == 0
    assert await late.add_missing(held) == 1
    assert [entry for entry in late.get_missing() if entry.collection == "both"] == []
    for ledger in (whole, late):
        with ledger.snapshot() as snapshot:
            found = snapshot.get_private("maj", "both", "pk")
            assert found is not None
            assert (found.value, found.version) == (b"pv", Version(26, 0))
        assert set(ledger.get_private_sets(26)) == {0}
        await ledger.close()


def test_no_byte_of_what_was_purged_is_left_in_the_files(store: SqliteStore) -> None:
    secret = b"a value that was to be forgotten"
    version, key_hash = Version(0, 0), sha256(b"k").digest()
    kept = PrivateUpdate("cc", "secret", "k", secret, version)
    others = [PrivateUpdate("cc", "secret", f"k{at}", b"v" * 90, version) for at in range(200)]
    store.commit(BlockCommit(0, bytes(32), b"", [], UpdateBatch(), private=[kept, *others]))
    assert _find_in_files(store.path.parent, secret)
    updates = UpdateBatch()
    updates.purged["cc", "secret", key_hash] = Version(1, 0)
    with store.snapshot():
        store.commit(BlockCommit(1, b"\x01" * 32, b"", [], updates))
    store.commit(BlockCommit(2, b"\x02" * 32, b"", [], UpdateBatch()))
    assert not _find_in_files(store.path.parent, secret)


def test_no_byte_of_what_was_in_flight_is_left_in_the_files(tmp_path: Path) -> None:
    secret = b"a write set that was on its way"
    transient = TransientStore(tmp_path)
    for number in range(50):
        transient.put(f"tx{number}", 1, secret + str(number).encode())
    assert _find_in_files(tmp_path, secret)
    transient.purge(f"tx{number}" for number in range(20))
    transient.purge_below(2)
    assert not _find_in_files(tmp_path, secret)
    transient.close()


def _find_in_files(folder: Path, content: bytes) -> list[str]:
    return [path.name for path in folder.iterdir() if content in path.read_bytes()]
