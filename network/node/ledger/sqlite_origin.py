"""Where a ledger begins: at its genesis block, or after the last block of a snapshot.

One that begins with a snapshot has no blocks before it. What the snapshot tells of them is kept in
tables of its own: the former collection configurations, and for private data that is still to come
the hashes of the keys that it must bring. In other ledgers these tables are empty.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from network.rules.snapshots.form import CollectionsEntry
from network.rules.state.snapshot import Version

_TABLES = """
CREATE TABLE IF NOT EXISTS former_collections (
    chaincode TEXT NOT NULL, block INTEGER NOT NULL, package BLOB NOT NULL,
    PRIMARY KEY (chaincode, block)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS expected_hashes (
    block INTEGER NOT NULL, tx INTEGER NOT NULL, namespace TEXT NOT NULL,
    collection TEXT NOT NULL, key_hash BLOB NOT NULL, value_hash BLOB NOT NULL, expires INTEGER,
    PRIMARY KEY (block, tx, namespace, collection, key_hash)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS expected_hashes_by_key
    ON expected_hashes (namespace, collection, key_hash);
CREATE INDEX IF NOT EXISTS expected_hashes_by_expiry
    ON expected_hashes (expires) WHERE expires IS NOT NULL;
"""

_FACTS = ("snapshot_block", "snapshot_hash", "snapshot_previous_hash")


@dataclass(frozen=True, slots=True)
class Origin:
    """The block before the first that is kept, with its header hash and the one before that."""

    last_block: int = -1
    last_hash: bytes = b""
    previous_hash: bytes = b""

    @property
    def first_block(self) -> int:
        """The number of the first block kept; 0 unless the ledger begins with a snapshot."""
        return self.last_block + 1


GENESIS = Origin()


def create_origin_tables(connection: sqlite3.Connection) -> None:
    """The tables are there, empty in a ledger made before there were snapshots."""
    connection.executescript(_TABLES)


def read_origin(connection: sqlite3.Connection) -> Origin:
    """Where the ledger begins."""
    found = dict(
        connection.execute("SELECT name, value FROM facts WHERE name IN (?, ?, ?)", _FACTS)
    )
    return Origin(*(found[name] for name in _FACTS)) if found else GENESIS


def write_origin(connection: sqlite3.Connection, origin: Origin) -> None:
    """The ledger begins after a snapshot."""
    values = (origin.last_block, origin.last_hash, origin.previous_hash)
    connection.executemany("INSERT INTO facts VALUES (?, ?)", zip(_FACTS, values, strict=True))


def list_former_collections(connection: sqlite3.Connection) -> list[CollectionsEntry]:
    """The collection configurations from before the snapshot, by chaincode and block."""
    rows = connection.execute(
        "SELECT chaincode, block, package FROM former_collections ORDER BY chaincode, block"
    )
    return [CollectionsEntry(*row) for row in rows]


def get_expected_hashes(
    connection: sqlite3.Connection, place: tuple[int, int, str, str]
) -> dict[bytes, bytes]:
    """Key hash → value hash of what a transaction before the snapshot left in a collection.

    `place` is block, transaction, namespace and collection.
    """
    return dict(
        connection.execute(
            "SELECT key_hash, value_hash FROM expected_hashes"
            " WHERE (block, tx, namespace, collection) = (?, ?, ?, ?)",
            place,
        )
    )


def forget_purged(
    connection: sqlite3.Connection, purged: Iterable[tuple[tuple[str, str, bytes], Version]]
) -> None:
    """Purged keys are no longer expected from before their purge."""
    rows: list[tuple[Any, ...]] = [(*at, *version) for at, version in purged]
    if rows:
        connection.executemany(
            "DELETE FROM expected_hashes"
            " WHERE (namespace, collection, key_hash) = (?, ?, ?) AND (block, tx) < (?, ?)",
            rows,
        )


def forget_expired(connection: sqlite3.Connection, block: int) -> None:
    """What has lived its blocks when `block` is committed is no longer expected."""
    connection.execute("DELETE FROM expected_hashes WHERE expires <= ?", (block,))
