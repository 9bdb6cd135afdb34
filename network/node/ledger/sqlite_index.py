"""The indexes that chaincode packages bring, kept beside the state in a ledger's database.

An entry holds the index's columns of one document as a sort key (`query.collation`), so that plain
byte order is CouchDB's order. Entries change in the transaction that changes the state; triggers
drop those of deleted keys, so that purged private data leaves no trace here either. Everything can
be rebuilt from the state.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping
from functools import lru_cache

from network.rules.query.couch_errors import InvalidQuery
from network.rules.query.documents import open_document
from network.rules.query.plan import IndexDefinition, parse_index

logger = logging.getLogger("statedb")

_TABLES = """
CREATE TABLE IF NOT EXISTS indexes (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, collection TEXT NOT NULL,
    design TEXT NOT NULL, name TEXT NOT NULL, definition BLOB NOT NULL,
    UNIQUE (namespace, collection, design, name));
CREATE TABLE IF NOT EXISTS index_entries (
    index_id INTEGER NOT NULL, place BLOB NOT NULL, key BLOB NOT NULL,
    PRIMARY KEY (index_id, place, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS index_entries_by_key ON index_entries (index_id, key);
CREATE TRIGGER IF NOT EXISTS state_leaves_indexes AFTER DELETE ON state BEGIN
    DELETE FROM index_entries WHERE key = old.key AND index_id IN (
        SELECT id FROM indexes WHERE namespace = old.namespace AND collection = '');
END;
CREATE TRIGGER IF NOT EXISTS private_leaves_indexes AFTER DELETE ON private BEGIN
    DELETE FROM index_entries WHERE key = old.key AND index_id IN (
        SELECT id FROM indexes WHERE namespace = old.namespace AND collection = old.collection);
END;
"""

Place = tuple[str, str]
"""Namespace and collection; the collection is "" for public state."""


def create_index_tables(connection: sqlite3.Connection) -> None:
    """The tables are there; a ledger made before there were indexes gets them, empty."""
    connection.executescript(_TABLES)


def list_indexes(
    connection: sqlite3.Connection, namespace: str, collection: str
) -> list[tuple[int, IndexDefinition]]:
    """The indexes over a namespace's state or a collection, each with its id."""
    rows = connection.execute(
        "SELECT id, definition FROM indexes WHERE namespace = ? AND collection = ? ORDER BY id",
        (namespace, collection),
    )
    return [(number, _open(definition)) for number, definition in rows]


def define_indexes(
    connection: sqlite3.Connection, namespace: str, collection: str, files: Mapping[str, bytes]
) -> bool:
    """The indexes in `files` (file name → JSON) exist and are filled; True if any is new.

    As in Fabric, files are taken by name, one that CouchDB would refuse is logged and left out, and
    an index of an earlier package stays until another of its name replaces it.
    """
    changed = False
    for file, raw in sorted(files.items()):
        try:
            index = _open(raw)
        except (InvalidQuery, ValueError) as error:
            logger.error(
                "error creating index from file [%s] for chaincode [%s]: %s", file, namespace, error
            )
            continue
        changed |= _define(connection, namespace, collection, index, raw)
    return changed


class IndexWriter:
    """Keeps the entries of one block's changes; use it inside the block's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[Place, list[tuple[int, IndexDefinition]]] = {}

    def put(self, namespace: str, collection: str, key: str, value: bytes) -> None:
        """The value of a key is now `value`."""
        place = (namespace, collection)
        indexes = self._known.get(place)
        if indexes is None:
            indexes = self._known[place] = list_indexes(self._connection, *place)
        if not indexes:
            return
        raw_key = key.encode()
        document = open_document(key, value)
        for number, index in indexes:
            self._connection.execute(
                "DELETE FROM index_entries WHERE index_id = ? AND key = ?", (number, raw_key)
            )
            entry = index.build_entry(document)
            if entry is not None:
                _insert(self._connection, [(number, entry, raw_key)])


def _define(
    connection: sqlite3.Connection,
    namespace: str,
    collection: str,
    index: IndexDefinition,
    raw: bytes,
) -> bool:
    at = (namespace, collection, index.design, index.name)
    row = connection.execute(
        "SELECT id, definition FROM indexes"
        " WHERE (namespace, collection, design, name) = (?, ?, ?, ?)",
        at,
    ).fetchone()
    if row is not None and row[1] == raw:
        return False
    if row is not None:
        connection.execute("DELETE FROM index_entries WHERE index_id = ?", (row[0],))
        connection.execute("DELETE FROM indexes WHERE id = ?", (row[0],))
    cursor = connection.execute(
        "INSERT INTO indexes (namespace, collection, design, name, definition)"
        " VALUES (?, ?, ?, ?, ?)",
        (*at, raw),
    )
    number = cursor.lastrowid
    assert number is not None
    table = "SELECT key, value FROM private WHERE namespace = ? AND collection = ?"
    values: tuple[str, ...] = (namespace, collection)
    if not collection:
        table, values = "SELECT key, value FROM state WHERE namespace = ?", (namespace,)
    entries = (
        (number, entry, key)
        for key, value in connection.execute(table, values)
        if (entry := index.build_entry(open_document(key.decode(), value))) is not None
    )
    _insert(connection, entries)
    return True


def _insert(connection: sqlite3.Connection, entries: Iterable[tuple[int, bytes, bytes]]) -> None:
    connection.executemany("INSERT OR REPLACE INTO index_entries VALUES (?, ?, ?)", entries)


@lru_cache(maxsize=256)
def _open(raw: bytes) -> IndexDefinition:
    return parse_index(raw)
