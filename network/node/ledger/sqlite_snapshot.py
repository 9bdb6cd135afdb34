"""Read views of a SQLite ledger: one read transaction a height, shared by all who ask.

SQLite in WAL mode shows a reader the database as of the start of its transaction. Connections are
reused; each is used by one thread at a time, guarded by its lock, because an endorsement may read
from the event loop while a delivery reads from a thread.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from network.node.ledger.sqlite_index import Place, list_indexes
from network.node.ledger.sqlite_query import QueryRows
from network.node.ledger.store import StoreError, TxRecord, explain_fault
from network.rules.query.plan import IndexDefinition
from network.rules.state.snapshot import (
    NO_PAGED_QUERIES,
    NO_QUERIES,
    KeyChange,
    QueryResult,
    StateValue,
    UnsupportedQuery,
    Version,
)

_BATCH = 128
"""Rows that a range fetches at once."""


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """Return a connection in WAL mode with full durability. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.execute("PRAGMA busy_timeout = 10000")
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise sqlite3.OperationalError("write-ahead logging is not possible on this disk")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA secure_delete = ON")  # what is purged is overwritten
        if readonly:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def empty_log(connection: sqlite3.Connection) -> bool:
    """Empty the write-ahead log, and with it what was purged; False while somebody reads."""
    connection.execute("PRAGMA busy_timeout = 0")
    busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    connection.execute("PRAGMA busy_timeout = 10000")
    return not busy


class _View:
    """One read transaction; closed when the last snapshot on it is."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.lock = threading.RLock()
        self.users = 0
        self.current = True
        connection.execute("BEGIN")
        row = connection.execute("SELECT value FROM facts WHERE name = 'height'").fetchone()
        self.height = int(row[0])


class _WriterView(_View):
    """What the writer sees inside its own transaction, blocks that are not committed included."""

    def __init__(self, connection: sqlite3.Connection, height: int) -> None:
        self.connection = connection
        self.lock = threading.RLock()
        self.users = 1
        self.current = True  # never given back: the connection stays the writer's
        self.height = height


class SharedSnapshots:
    """Hands out snapshots; those opened between two blocks share one view."""

    def __init__(self, path: Path, *, rich_queries: bool = True) -> None:
        self.rich_queries = rich_queries
        self._path = path
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._current: _View | None = None
        self._closed = False

    def open(self) -> "SqliteSnapshot":
        """Return a snapshot of the newest block."""
        with self._lock:
            if self._closed:
                raise sqlite3.ProgrammingError("the ledger is closed")
            if self._current is None:
                self._current = _View(self._take())
            self._current.users += 1
            return SqliteSnapshot(self, self._current)

    def open_writers(self, connection: sqlite3.Connection, height: int) -> "SqliteSnapshot":
        """Return a snapshot of what the writer has written so far, for the writer's thread."""
        return SqliteSnapshot(self, _WriterView(connection, height))

    def drop_idle(self) -> None:
        """End the read transaction that nobody uses: while one lasts, the log cannot restart."""
        with self._lock:
            view = self._current
            if view is not None and view.users == 0:
                self._current = None
                self._give_back(view)

    def advance(self) -> None:
        """Make later snapshots show what was committed just now."""
        with self._lock:
            view, self._current = self._current, None
            if view is not None:
                view.current = False
                if view.users == 0:
                    self._give_back(view)

    def release(self, view: _View) -> None:
        """Take back one use of a view."""
        with self._lock:
            view.users -= 1
            if view.users == 0 and not view.current:
                self._give_back(view)

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection outside any transaction, for single statements."""
        with self._lock:
            if self._closed:
                raise sqlite3.ProgrammingError("the ledger is closed")
            connection = self._take()
        try:
            yield connection
        finally:
            with self._lock:
                self._keep(connection)

    def explain(self, error: sqlite3.Error) -> StoreError:
        """What to raise for an error of the database: which file, and what to do."""
        return StoreError(f"{self._path}: the ledger cannot be read: {explain_fault(error)}")

    def close(self) -> None:
        """Close every connection that is not in use; the others close when given back."""
        with self._lock:
            self._closed = True
            view, self._current = self._current, None
            if view is not None:
                view.current = False
                if view.users == 0:
                    self._give_back(view)
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _take(self) -> sqlite3.Connection:
        return self._idle.pop() if self._idle else connect(self._path, readonly=True)

    def _give_back(self, view: _View) -> None:
        view.connection.execute("ROLLBACK")
        self._keep(view.connection)

    def _keep(self, connection: sqlite3.Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)


class SqliteSnapshot:
    """The ledger as of one block; see `network.rules.state.snapshot.Snapshot`."""

    def __init__(self, owner: SharedSnapshots, view: _View) -> None:
        self._owner = owner
        self._view = view
        self._open = True

    @property
    def height(self) -> int:
        """The number of committed blocks this snapshot shows."""
        return self._view.height

    def get_state(self, namespace: str, key: str) -> StateValue | None:
        """Return the value of `key`, or None."""
        return _value(
            self._one(
                "SELECT value, metadata, block, tx FROM state WHERE namespace = ? AND key = ?",
                (namespace, key.encode()),
            )
        )

    def get_states(self, namespace: str, keys: Sequence[str]) -> list[StateValue | None]:
        """Return the values of `keys` in their order."""
        return [self.get_state(namespace, key) for key in keys]

    def get_private(self, namespace: str, collection: str, key: str) -> StateValue | None:
        """Return the private value of `key` if this peer holds it, or None."""
        return _value(
            self._one(
                "SELECT value, x'', block, tx FROM private"
                " WHERE namespace = ? AND collection = ? AND key = ?",
                (namespace, collection, key.encode()),
            )
        )

    def get_private_hash(
        self, namespace: str, collection: str, key_hash: bytes
    ) -> StateValue | None:
        """Return the hash of the value whose key hashes to `key_hash`, or None."""
        return _value(
            self._one(
                "SELECT value_hash, metadata, block, tx FROM hashes"
                " WHERE namespace = ? AND collection = ? AND key_hash = ?",
                (namespace, collection, key_hash),
            )
        )

    def range(self, namespace: str, start: str, end: str) -> Iterator[tuple[str, StateValue]]:
        """Yield the keys from `start` (inclusive) to `end` (exclusive); empty is open."""
        return self._range(
            "SELECT key, value, metadata, block, tx FROM state WHERE namespace = ?",
            (namespace,),
            start,
            end,
        )

    def private_range(
        self, namespace: str, collection: str, start: str, end: str
    ) -> Iterator[tuple[str, StateValue]]:
        """Yield private keys as `range` does."""
        return self._range(
            "SELECT key, value, x'', block, tx FROM private WHERE namespace = ? AND collection = ?",
            (namespace, collection),
            start,
            end,
        )

    def query(
        self, namespace: str, query: str, bookmark: str = "", page_size: int = 0
    ) -> QueryResult:
        """Return what a rich query selects, as CouchDB would. Raises UnsupportedQuery."""
        if not self._owner.rich_queries:
            raise UnsupportedQuery(NO_PAGED_QUERIES if bookmark or page_size else NO_QUERIES)
        return QueryRows(self, (namespace, ""), query, bookmark, page_size)

    def private_query(self, namespace: str, collection: str, query: str) -> QueryResult:
        """Return what a rich query selects in a collection, as far as this peer holds it."""
        if not self._owner.rich_queries:
            raise UnsupportedQuery(NO_QUERIES)
        return QueryRows(self, (namespace, collection), query)

    def select(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """Return the rows of a statement over this view."""
        return self._all(statement, values)

    def list_indexes(self, place: Place) -> list[tuple[int, IndexDefinition]]:
        """Return the indexes over a namespace's state or a collection, each with its id."""
        with self._view.lock:
            return list_indexes(self._connection(), *place)

    def history(self, namespace: str, key: str) -> Iterator[KeyChange]:
        """Yield the changes of a key by valid transactions, newest first."""
        rows = self._all(
            "SELECT t.tx_id, h.value, t.timestamp FROM history h"
            " JOIN transactions t ON t.block = h.block AND t.tx = h.tx"
            " WHERE h.namespace = ? AND h.key = ? ORDER BY h.block DESC, h.tx DESC",
            (namespace, key.encode()),
        )
        for tx_id, value, timestamp in rows:
            yield KeyChange(tx_id, value or b"", timestamp, value is None)

    def find_transaction(self, tx_id: str) -> TxRecord | None:
        """Return the first transaction with this id, valid or not, or None."""
        row = self._one(
            "SELECT tx_id, block, tx, code FROM transactions WHERE tx_id = ?"
            " ORDER BY block, tx LIMIT 1",
            (tx_id,),
        )
        return TxRecord(*row) if row else None

    def has_transaction(self, tx_id: str) -> bool:
        """Whether a transaction with this id stands in a block, valid or not."""
        found = self._one("SELECT 1 FROM transactions WHERE tx_id = ? LIMIT 1", (tx_id,))
        return found is not None

    def close(self) -> None:
        """Release the view; a second call does nothing."""
        if self._open:
            self._open = False
            self._owner.release(self._view)

    def __enter__(self) -> "SqliteSnapshot":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def _one(self, statement: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        try:
            with self._view.lock:
                row: tuple[Any, ...] | None = (
                    self._connection().execute(statement, values).fetchone()
                )
        except sqlite3.ProgrammingError:
            raise  # a mistake of ours, not of the disk
        except sqlite3.Error as error:
            raise self._owner.explain(error) from error
        return row

    def _all(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            with self._view.lock:
                return self._connection().execute(statement, values).fetchall()
        except sqlite3.ProgrammingError:
            raise  # a mistake of ours, not of the disk
        except sqlite3.Error as error:
            raise self._owner.explain(error) from error

    def _range(
        self, select: str, values: tuple[object, ...], start: str, end: str
    ) -> Iterator[tuple[str, StateValue]]:
        # Batches by key instead of a long-lived cursor: others use the connection in between.
        stop = " AND key < ?" if end else ""
        bounds = (end.encode(),) if end else ()
        first, comparison = start.encode(), ">="
        while True:
            rows = self._all(
                f"{select} AND key {comparison} ?{stop} ORDER BY key LIMIT {_BATCH}",
                (*values, first, *bounds),
            )
            for key, *rest in rows:
                yield key.decode(), StateValue(rest[0], Version(rest[2], rest[3]), rest[1])
            if len(rows) < _BATCH:
                return
            first, comparison = bytes(rows[-1][0]), ">"

    def _connection(self) -> sqlite3.Connection:
        if not self._open:
            raise sqlite3.ProgrammingError("this snapshot is closed")
        return self._view.connection


def _value(row: Sequence[Any] | None) -> StateValue | None:
    if row is None:
        return None
    value, metadata, block, tx = row
    return StateValue(value, Version(block, tx), metadata)


def key_hash(key: str) -> bytes:
    """Return the hash under which a private key stands in public state."""
    return sha256(key.encode()).digest()
