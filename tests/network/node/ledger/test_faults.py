"""A disk that fails under a ledger: nothing half done, one line that says so, and on it goes."""

import sqlite3
from pathlib import Path

import pytest

from network.node.ledger.ledger import Ledger
from network.node.ledger.sqlite_store import LEDGER_FILE, SqliteStore
from network.node.ledger.store import BlockCommit, StoreError
from network.node.ledger.transient_store import TransientStore
from network.rules.state.snapshot import Version
from network.rules.validation.mvcc import Update, UpdateBatch
from tests.network.consortium import Consortium
from tests.network.differential.naive_peer import NaivePeer
from tests.network.differential.wild_transactions import WildBlocks

CONSORTIUM = Consortium()


class SmallDisk:
    """A database that may not grow: SQLite answers SQLITE_FULL, as on a disk without room."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def fill(self, room: int = 0) -> None:
        """So many pages are left."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        self._connection.execute(f"PRAGMA max_page_count = {pages + room}")

    def free(self) -> None:
        self._connection.execute(f"PRAGMA max_page_count = {2**31}")


async def test_a_full_disk_halts_and_room_resumes(tmp_path: Path) -> None:
    wild = WildBlocks(CONSORTIUM, 11)
    naive = NaivePeer(wild.genesis)
    ledger = await Ledger.create(tmp_path, wild.genesis, identity=b"")
    disk = SmallDisk(ledger._store._connection)
    block = wild.setup()
    refusals: list[str] = []
    for _ in range(8):
        naive.commit(block)
        disk.fill()
        for _ in range(2):
            try:
                await ledger.commit(block)
                break
            except StoreError as error:
                refusals.append(str(error))
            assert ledger.height == block.header.number, "nothing of the block is there"
        disk.free()
        if ledger.height == block.header.number:
            await ledger.commit(block)
        assert ledger.height == block.header.number + 1
        block = wild.next_block(naive.state, 20)
    assert len(refusals) > 4
    assert all("database or disk is full. Free space on the disk" in one for one in refusals)
    assert all("\n" not in one for one in refusals)
    with ledger.snapshot() as snapshot:
        found = {
            (name, "", key): value.version
            for name in ("maj", "any")
            for key, value in snapshot.range(name, "", "")
        }
    wanted = {at: one.version for at, one in naive.state.items() if at[0] in ("maj", "any")}
    assert found == {at: version for at, version in wanted.items() if at[1] == ""}
    await ledger.close()


def put(number: int, size: int) -> BlockCommit:
    updates = UpdateBatch()
    updates.put_public("cc", f"k{number}", Update(bytes(size), b"", Version(number, 0)))
    return BlockCommit(number, number.to_bytes(32, "big"), b"raw", [], updates)


def test_a_commit_that_fails_at_its_last_step_leaves_no_transaction_open(tmp_path: Path) -> None:
    store = SqliteStore.create(tmp_path, "care")
    store.commit(put(0, 10))
    disk = SmallDisk(store._connection)
    disk.fill()
    for _ in range(3):
        with pytest.raises(StoreError, match=r"full\. Free space"):
            store.commit(put(1, 100_000))
        assert not store._connection.in_transaction
    disk.free()
    store.commit(put(1, 100_000))
    assert store.height == 2
    store.close()


def test_private_data_in_flight_survives_a_full_disk(tmp_path: Path) -> None:
    transient = TransientStore(tmp_path)
    transient.put("early", 1, b"value")
    disk = SmallDisk(transient._connection)
    disk.fill()
    with pytest.raises(StoreError, match=r"full\. Free space"):
        transient.put("late", 1, bytes(100_000))
    assert transient.get("early") == [b"value"]
    disk.free()
    transient.put("late", 1, bytes(100_000))
    assert transient.get("late") == [bytes(100_000)]
    transient.close()


async def test_a_block_is_told_of_although_what_was_in_flight_cannot_be_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wild = WildBlocks(CONSORTIUM, 12)
    ledger = await Ledger.create(tmp_path, wild.genesis, identity=b"")

    def refuse(tx_ids: object) -> None:
        raise StoreError("database or disk is full")

    monkeypatch.setattr(ledger.transient, "purge", refuse)
    monkeypatch.setattr(ledger.transient, "purge_below", refuse)
    monkeypatch.setattr("network.node.ledger.ledger.RETENTION", -1)
    for _ in range(101):
        block = wild.order([]) if ledger.height else wild.setup()
        await ledger.commit(block)
    assert ledger.height == 102
    assert "Private data in flight is kept: database or disk is full" in caplog.text
    await ledger.close()


@pytest.mark.parametrize("left", [0, 100, 4096, 20_000])
async def test_a_truncated_database_is_refused_in_one_line(tmp_path: Path, left: int) -> None:
    ledger = await Ledger.create(tmp_path, CONSORTIUM.build_genesis(), identity=b"")
    await ledger.close()
    file = tmp_path / LEDGER_FILE
    with file.open("r+b") as database:
        database.truncate(left)
    with pytest.raises(StoreError) as refused:
        await Ledger.open(tmp_path, identity=b"")
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)
