"""Private data between endorsement and commit, by transaction id (`transient.db`).

It has a file of its own: endorsing must not wait for a block to be written. What is lost here in a
crash is fetched from other members, as in Fabric. Source: core/transientstore/store.go.
"""

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

from network.node.ledger.sqlite_snapshot import connect, empty_log
from network.node.ledger.store import StoreError, explain_fault

TRANSIENT_FILE = "transient.db"
RETENTION = 20_000
"""Blocks after which private data that never came to be committed is dropped."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS transient (
    tx_id TEXT NOT NULL, height INTEGER NOT NULL, rwset BLOB NOT NULL,
    PRIMARY KEY (tx_id, rwset)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS transient_by_height ON transient (height);
"""


class TransientStore:
    """Private write sets (marshalled TxPvtReadWriteSet) that wait for their transaction."""

    def __init__(self, folder: Path) -> None:
        """Open or make the store in `folder`. Raises StoreError."""
        self._path = folder / TRANSIENT_FILE
        self._lock = threading.Lock()
        try:
            self._connection = connect(self._path)
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._path}: {error}. It holds only data in flight: remove the file and start"
                " again."
            ) from error

    def put(self, tx_id: str, height: int, private: bytes) -> None:
        """Keep a write set endorsed at `height`; putting it twice keeps it once."""
        self._execute(
            "INSERT OR IGNORE INTO transient VALUES (?, ?, ?)", [(tx_id, height, private)]
        )

    def get(self, tx_id: str) -> list[bytes]:
        """Return every write set kept for a transaction; several endorsers may have sent one."""
        try:
            with self._lock:
                rows = self._connection.execute(
                    "SELECT rwset FROM transient WHERE tx_id = ?", (tx_id,)
                ).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error
        return [row[0] for row in rows]

    def purge(self, tx_ids: Iterable[str]) -> None:
        """Drop what is kept for these transactions; no byte of it is left in the files."""
        self._forget("DELETE FROM transient WHERE tx_id = ?", [(tx_id,) for tx_id in tx_ids])

    def purge_below(self, height: int) -> None:
        """Drop what was endorsed below `height`; no byte of it is left in the files."""
        self._forget("DELETE FROM transient WHERE height < ?", [(height,)])

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def _forget(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        before = self._connection.total_changes
        self._execute(statement, rows)
        if self._connection.total_changes > before:
            with self._lock:
                empty_log(self._connection)

    def _execute(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        if not rows:
            return
        try:
            with self._lock:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    self._connection.executemany(statement, rows)
                    self._connection.execute("COMMIT")
                except sqlite3.Error:
                    # Left open, it would not let the next one begin.
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {explain_fault(error)}") from error
