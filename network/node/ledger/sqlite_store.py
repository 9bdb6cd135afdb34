"""A channel's ledger in one SQLite database (`ledger.db`).

Block, indexes, state, history and private data of a block are one transaction with
synchronous=FULL, so after a crash the ledger stands before or after a block, never between. WAL
lets any number of snapshots read while a block is written; snapshots of one height share one read
transaction, so endorsing costs no SQL of its own.

Keys are BLOBs of UTF-8, so SQLite's order is Fabric's bytewise order and every range is an index
range. Numbers are SQLite's signed 64-bit integers.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from network.node.ledger.sqlite_index import IndexWriter, create_index_tables, define_indexes
from network.node.ledger.sqlite_origin import (
    Origin,
    create_origin_tables,
    forget_expired,
    forget_purged,
    get_expected_hashes,
    read_origin,
)
from network.node.ledger.sqlite_snapshot import SharedSnapshots, SqliteSnapshot, connect, empty_log
from network.node.ledger.store import (
    DEFAULT_STATE,
    BlockCommit,
    MissingData,
    PrivateUpdate,
    StateOptions,
    StoreError,
    TxRecord,
    explain_fault,
)
from network.rules.state.rwset import MalformedRwset, PrivateCollection
from network.rules.validation.mvcc import UpdateBatch

LEDGER_FILE = "ledger.db"
SCHEMA_VERSION = 1
LOG_LIMIT = 16 * 1024 * 1024
"""Bytes of write-ahead log beyond which every commit tries to empty it."""

_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL, raw BLOB NOT NULL);
CREATE UNIQUE INDEX blocks_by_hash ON blocks (hash);
CREATE TABLE transactions (
    tx_id TEXT NOT NULL, block INTEGER NOT NULL, tx INTEGER NOT NULL, code INTEGER NOT NULL,
    timestamp BLOB NOT NULL, PRIMARY KEY (tx_id, block, tx)) WITHOUT ROWID;
CREATE INDEX transactions_by_place ON transactions (block, tx);
CREATE TABLE state (
    namespace TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, metadata BLOB NOT NULL,
    block INTEGER NOT NULL, tx INTEGER NOT NULL, PRIMARY KEY (namespace, key)) WITHOUT ROWID;
CREATE TABLE history (
    namespace TEXT NOT NULL, key BLOB NOT NULL, block INTEGER NOT NULL, tx INTEGER NOT NULL,
    value BLOB, PRIMARY KEY (namespace, key, block, tx)) WITHOUT ROWID;
CREATE TABLE hashes (
    namespace TEXT NOT NULL, collection TEXT NOT NULL, key_hash BLOB NOT NULL,
    value_hash BLOB NOT NULL, metadata BLOB NOT NULL, block INTEGER NOT NULL, tx INTEGER NOT NULL,
    PRIMARY KEY (namespace, collection, key_hash)) WITHOUT ROWID;
CREATE TABLE private (
    namespace TEXT NOT NULL, collection TEXT NOT NULL, key BLOB NOT NULL, key_hash BLOB NOT NULL,
    value BLOB NOT NULL, block INTEGER NOT NULL, tx INTEGER NOT NULL,
    PRIMARY KEY (namespace, collection, key)) WITHOUT ROWID;
CREATE INDEX private_by_hash ON private (namespace, collection, key_hash);
CREATE TABLE private_sets (
    block INTEGER NOT NULL, tx INTEGER NOT NULL, namespace TEXT NOT NULL,
    collection TEXT NOT NULL, rwset BLOB NOT NULL, expires INTEGER,
    PRIMARY KEY (block, tx, namespace, collection)) WITHOUT ROWID;
CREATE INDEX private_sets_by_expiry ON private_sets (expires) WHERE expires IS NOT NULL;
CREATE TABLE private_writes (
    namespace TEXT NOT NULL, collection TEXT NOT NULL, key_hash BLOB NOT NULL,
    block INTEGER NOT NULL, tx INTEGER NOT NULL,
    PRIMARY KEY (namespace, collection, key_hash, block, tx)) WITHOUT ROWID;
CREATE TABLE missing (
    block INTEGER NOT NULL, tx INTEGER NOT NULL, namespace TEXT NOT NULL,
    collection TEXT NOT NULL, digest BLOB NOT NULL, expires INTEGER,
    PRIMARY KEY (block, tx, namespace, collection)) WITHOUT ROWID;
CREATE TABLE expiry (
    expires INTEGER NOT NULL, namespace TEXT NOT NULL, collection TEXT NOT NULL,
    key_hash BLOB NOT NULL, block INTEGER NOT NULL, tx INTEGER NOT NULL,
    PRIMARY KEY (expires, namespace, collection, key_hash)) WITHOUT ROWID;
"""


class _Tip(NamedTuple):
    """What a store knows of its last block."""

    height: int
    commit_hash: bytes
    block_hash: bytes
    last_config: int


class SqliteStore:
    """One channel's ledger on disk; see `store.LedgerStore`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, state: StateOptions) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()
        self._log = path.with_name(path.name + "-wal")
        self._snapshots = SharedSnapshots(path, rich_queries=state.rich_queries)
        self.channel_id = str(self._fact("channel"))
        height, commit_hash = self._fact("height"), self._fact("commit_hash")
        last_config = self._fact("last_config")
        self.origin: Origin = read_origin(connection)
        self._tip = _Tip(height, commit_hash, self._read_tip_hash(), last_config)
        self._writing = self._tip
        self._purged = True  # the log may still hold what was purged before

    @classmethod
    def create(
        cls,
        folder: Path,
        channel_id: str,
        state: StateOptions = DEFAULT_STATE,
        *,
        durable: bool = True,
    ) -> "SqliteStore":
        """Make an empty ledger in `folder`.

        One that is not `durable` is for a reckoning that is thrown away: it waits for no disk, and
        a power cut may damage it.

        Raises:
            StoreError: there is a ledger already, or the folder cannot be written.
        """
        path = folder / LEDGER_FILE
        if path.exists():
            raise StoreError(f"{path}: there is a ledger here already")
        with _explained(path):
            folder.mkdir(parents=True, exist_ok=True)
            connection = connect(path)
            if not durable:
                connection.execute("PRAGMA synchronous = OFF")
            with _transaction(connection):
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                facts = {"schema": SCHEMA_VERSION, "channel": channel_id, "height": 0}
                facts |= {"last_config": 0}
                connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
                connection.execute("INSERT INTO facts VALUES ('commit_hash', x'')")
            create_index_tables(connection)
            create_origin_tables(connection)
            return cls(path, connection, state)

    @classmethod
    def open(cls, folder: Path, state: StateOptions = DEFAULT_STATE) -> "SqliteStore":
        """Open the ledger in `folder`, finishing or undoing what a crash interrupted.

        Raises:
            StoreError: no ledger, a damaged or truncated one, or one of a newer version.
        """
        path = folder / LEDGER_FILE
        if not path.is_file():
            raise StoreError(f"{path}: no ledger here")
        with _explained(path):
            connection = connect(path)
            _check_schema(path, connection)
            create_index_tables(connection)
            create_origin_tables(connection)
            store = cls(path, connection, state)
            store._check_tip()
            return store

    @property
    def height(self) -> int:
        """The number of blocks."""
        return self._tip.height

    @property
    def commit_hash(self) -> bytes:
        """The commit hash of the last block, b"" before block 1."""
        return self._tip.commit_hash

    @property
    def tip_hash(self) -> bytes:
        """The header hash of the last block, b"" without one."""
        return self._tip.block_hash

    @property
    def last_config(self) -> int:
        """The number of the newest config block."""
        return self._tip.last_config

    def commit(self, commit: BlockCommit) -> None:
        """Make one block durable with all it changes. Raises StoreError."""
        self.commit_all([commit])

    def commit_all(self, commits: Iterable[BlockCommit]) -> None:
        """Make blocks durable and visible together, all or none.

        Each is asked for when `writing` shows what those before it change. Raises StoreError.
        """
        self._snapshots.drop_idle()
        with _explained(self.path), self._lock:
            self._writing = self._tip
            with _transaction(self._connection):
                for commit in commits:
                    self._write(commit)
            self._tip = self._writing
            self._snapshots.advance()
            self._restart_log()

    def writing(self) -> SqliteSnapshot:
        """Return the ledger as far as it is written: for whom `commit_all` asks for blocks."""
        return self._snapshots.open_writers(self._connection, self._writing.height)

    @property
    def written_commit_hash(self) -> bytes:
        """The commit hash of the last block that `writing` shows."""
        return self._writing.commit_hash

    def _write(self, commit: BlockCommit) -> None:
        tip = self._writing
        if commit.number != tip.height:
            raise StoreError(
                f"{self.path}: block {commit.number} does not follow height {tip.height}"
            )
        self._write_block(commit)
        self._write_updates(commit.updates)
        self._write_private(commit)
        self._purged |= bool(commit.updates.purged)
        self._purge(commit.updates)
        self._expire(commit)
        self._write_facts(commit)
        last_config = commit.number if commit.config_block else tip.last_config
        self._writing = _Tip(commit.number + 1, commit.commit_hash, commit.block_hash, last_config)

    def get_block(self, number: int) -> bytes | None:
        """Return the bytes of a block, or None."""
        row = self._select_one("SELECT raw FROM blocks WHERE number = ?", (number,))
        return row[0] if row else None

    def get_block_number(self, block_hash: bytes) -> int | None:
        """Return the number of the block with this header hash, or None."""
        row = self._select_one("SELECT number FROM blocks WHERE hash = ?", (block_hash,))
        return row[0] if row else None

    def get_transaction(self, tx_id: str) -> TxRecord | None:
        """Return the first transaction with this id, valid or not, or None."""
        # Over the view that endorsements share: every proposal and every wait for a transaction
        # asks, and a statement of its own would lock the log and read the index's pages anew.
        with self.snapshot() as snapshot:
            return snapshot.find_transaction(tx_id)

    def snapshot(self) -> SqliteSnapshot:
        """Return a view of the ledger as of the last block. Close it."""
        with _explained(self.path):
            return self._snapshots.open()

    def get_private_sets(self, block: int) -> dict[int, list[PrivateCollection]]:
        """Return the private write sets kept for a block, by transaction."""
        found: dict[int, list[PrivateCollection]] = {}
        for tx, namespace, collection, rwset in self._select(
            "SELECT tx, namespace, collection, rwset FROM private_sets WHERE block = ?"
            " ORDER BY tx, namespace, collection",
            (block,),
        ):
            found.setdefault(tx, []).append(PrivateCollection(namespace, collection, rwset))
        return found

    def get_missing(self, limit: int, before: MissingData | None = None) -> list[MissingData]:
        """Return private data that is missing, newest first, below `before` if it is given."""
        below = before[:4] if before else (1 << 62, 0, "", "")
        return [
            MissingData(*row)
            for row in self._select(
                "SELECT block, tx, namespace, collection, digest FROM missing"
                " WHERE (block, tx, namespace, collection) < (?, ?, ?, ?)"
                " ORDER BY block DESC, tx DESC, namespace DESC, collection DESC LIMIT ?",
                (*below, limit),
            )
        ]

    def get_expected_hashes(self, missing: MissingData) -> dict[bytes, bytes]:
        """Return key hash → value hash of what data from before the ledger's snapshot holds."""
        with _explained(self.path), self._snapshots.reader() as connection:
            return get_expected_hashes(connection, missing[:4])

    def fill_missing(
        self, found: Iterable[tuple[MissingData, PrivateCollection, Sequence[PrivateUpdate]]]
    ) -> None:
        """Store private data that was missing, with the keys whose version is still current."""
        with _explained(self.path), self._lock, _transaction(self._connection):
            for missing, part, updates in found:
                at = (missing.block, missing.tx, missing.namespace, missing.collection)
                row = self._connection.execute(
                    "DELETE FROM missing WHERE (block, tx, namespace, collection) = (?, ?, ?, ?)"
                    " RETURNING expires",
                    at,
                ).fetchone()
                if row is None:
                    continue
                self._keep_set(missing.block, missing.tx, part, row[0])
                self._write_private_keys(
                    update for update in updates if self._is_current_hash(update)
                )
        self._snapshots.advance()

    def define_indexes(self, namespace: str, collection: str, files: Mapping[str, bytes]) -> None:
        """Create the indexes of a chaincode package; see `sqlite_index.define_indexes`."""
        with _explained(self.path), self._lock:
            with _transaction(self._connection):
                changed = define_indexes(self._connection, namespace, collection, files)
            if changed:
                self._snapshots.advance()

    def close(self) -> None:
        """Release the files."""
        self._snapshots.close()
        self._connection.close()

    def _restart_log(self) -> None:
        """Empty the write-ahead log if it is large or still holds what was purged, and if no
        snapshot is in use just now; the next block asks again.

        SQLite copies the log into the database by itself, but starts it anew only when nobody
        reads; under unbroken reading it would grow without end if nobody looked for the gap.
        """
        try:
            large = self._log.stat().st_size > LOG_LIMIT
        except FileNotFoundError:
            return
        if large or self._purged:
            self._purged = not empty_log(self._connection)

    # --- writing one block, inside its transaction --------------------------------------------

    def _write_block(self, commit: BlockCommit) -> None:
        execute, number = self._connection.executemany, commit.number
        execute("INSERT INTO blocks VALUES (?, ?, ?)", [(number, commit.block_hash, commit.raw)])
        execute(
            "INSERT INTO transactions VALUES (?, ?, ?, ?, ?)",
            (
                (entry.tx_id, number, index, entry.code, entry.timestamp)
                for index, entry in enumerate(commit.transactions)
            ),
        )
        execute(
            "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?)",
            (
                (entry.namespace, entry.key.encode(), number, entry.tx, entry.value)
                for entry in commit.history
            ),
        )

    def _write_updates(self, updates: UpdateBatch) -> None:
        execute = self._connection.executemany
        public = [
            (namespace, key.encode(), update)
            for namespace, keys in updates.public.items()
            for key, update in keys.items()
        ]
        execute(
            "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?, ?)",
            (
                (namespace, key, update.value, update.metadata, *update.version)
                for namespace, key, update in public
                if update.value is not None
            ),
        )
        writer = IndexWriter(self._connection)
        for namespace, key, update in public:
            if update.value is not None:
                writer.put(namespace, "", key.decode(), update.value)
        execute(
            "DELETE FROM state WHERE namespace = ? AND key = ?",
            ((namespace, key) for namespace, key, update in public if update.value is None),
        )
        hashed = [
            (*at, key_hash, update)
            for at, keys in updates.hashed.items()
            for key_hash, update in keys.items()
        ]
        execute(
            "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (*at, update.value, update.metadata, *update.version)
                for *at, update in hashed
                if update.value is not None
            ),
        )
        execute(
            "DELETE FROM hashes WHERE namespace = ? AND collection = ? AND key_hash = ?",
            (at for *at, update in hashed if update.value is None),
        )

    def _write_private(self, commit: BlockCommit) -> None:
        for tx, parts in commit.private_sets.items():
            for part in parts:
                expires = commit.private_expires.get((part.namespace, part.collection))
                self._keep_set(commit.number, tx, part, expires)
        self._write_private_keys(commit.private)
        self._connection.executemany(
            "INSERT OR IGNORE INTO missing VALUES (?, ?, ?, ?, ?, ?)",
            (
                (*entry, commit.private_expires.get((entry.namespace, entry.collection)))
                for entry in commit.missing
            ),
        )

    def _write_private_keys(self, updates: Iterable[PrivateUpdate]) -> None:
        writer = IndexWriter(self._connection)
        for update in updates:
            at = (update.namespace, update.collection, update.key.encode())
            if update.value is None:
                self._connection.execute(
                    "DELETE FROM private WHERE (namespace, collection, key) = (?, ?, ?)", at
                )
            else:
                self._connection.execute(
                    "INSERT OR REPLACE INTO private VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*at, sha256(at[2]).digest(), update.value, *update.version),
                )
                writer.put(update.namespace, update.collection, update.key, update.value)

    def _keep_set(self, block: int, tx: int, part: PrivateCollection, expires: int | None) -> None:
        """Keep a private write set for other members, and index its keys for purges."""
        at = (part.namespace, part.collection)
        self._connection.execute(
            "INSERT OR REPLACE INTO private_sets VALUES (?, ?, ?, ?, ?, ?)",
            (block, tx, *at, part.raw, expires),
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO private_writes VALUES (?, ?, ?, ?, ?)",
            ((*at, sha256(write.key.encode()).digest(), block, tx) for write in _open_writes(part)),
        )

    def _is_current_hash(self, update: PrivateUpdate) -> bool:
        row = self._connection.execute(
            "SELECT block, tx FROM hashes WHERE (namespace, collection, key_hash) = (?, ?, ?)",
            (update.namespace, update.collection, sha256(update.key.encode()).digest()),
        ).fetchone()
        return row == tuple(update.version) and update.value is not None

    def _purge(self, updates: UpdateBatch) -> None:
        """Remove purged keys from the write sets kept of earlier blocks, and their values."""
        forget_purged(self._connection, updates.purged.items())
        for (namespace, collection, key_hash), version in updates.purged.items():
            at = (namespace, collection, key_hash)
            rows = self._connection.execute(
                "SELECT block, tx FROM private_writes"
                " WHERE (namespace, collection, key_hash) = (?, ?, ?) AND (block, tx) < (?, ?)",
                (*at, *version),
            ).fetchall()
            for block, tx in rows:
                self._strip(block, tx, namespace, collection, key_hash)
            self._connection.execute(
                "DELETE FROM private_writes"
                " WHERE (namespace, collection, key_hash) = (?, ?, ?) AND (block, tx) < (?, ?)",
                (*at, *version),
            )
            # A peer that missed the private set of the purge itself must forget the value too.
            self._connection.execute(
                "DELETE FROM private WHERE namespace = ? AND collection = ? AND key_hash = ?"
                " AND (block, tx) < (?, ?)",
                (*at, *version),
            )

    def _strip(self, block: int, tx: int, namespace: str, collection: str, key_hash: bytes) -> None:
        at = (block, tx, namespace, collection)
        row = self._connection.execute(
            "SELECT rwset FROM private_sets"
            " WHERE (block, tx, namespace, collection) = (?, ?, ?, ?)",
            at,
        ).fetchone()
        if row is None:
            return
        kept = kv_rwset_pb2.KVRWSet.FromString(row[0])
        writes = [w for w in kept.writes if sha256(w.key.encode()).digest() != key_hash]
        del kept.writes[:]
        kept.writes.extend(writes)
        self._connection.execute(
            "UPDATE private_sets SET rwset = ?"
            " WHERE (block, tx, namespace, collection) = (?, ?, ?, ?)",
            (kept.SerializeToString(), *at),
        )

    def _expire(self, commit: BlockCommit) -> None:
        """Drop what has lived its blocks, unless it was written again since."""
        due = "SELECT namespace, collection, key_hash FROM expiry e WHERE expires <= ?"
        unchanged = (
            " AND EXISTS (SELECT 1 FROM hashes h WHERE h.namespace = e.namespace AND"
            " h.collection = e.collection AND h.key_hash = e.key_hash AND h.block = e.block)"
        )
        forget_expired(self._connection, commit.number)
        rows = self._connection.execute(due + unchanged, (commit.number,)).fetchall()
        self._purged |= bool(rows)
        for statement in (
            "DELETE FROM hashes WHERE (namespace, collection, key_hash) = (?, ?, ?)",
            "DELETE FROM private WHERE (namespace, collection, key_hash) = (?, ?, ?)",
        ):
            self._connection.executemany(statement, rows)
        for statement in (
            "DELETE FROM expiry WHERE expires <= ?",
            "DELETE FROM private_sets WHERE expires <= ?",
            "DELETE FROM missing WHERE expires <= ?",
        ):
            self._connection.execute(statement, (commit.number,))
        self._connection.executemany(
            "INSERT OR REPLACE INTO expiry VALUES (?, ?, ?, ?, ?, ?)",
            (
                (entry.expires, entry.namespace, entry.collection, entry.key_hash, *entry.version)
                for entry in commit.expiries
            ),
        )

    def _write_facts(self, commit: BlockCommit) -> None:
        facts = [("height", commit.number + 1), ("commit_hash", commit.commit_hash)]
        if commit.config_block:
            facts.append(("last_config", commit.number))
        self._connection.executemany(
            "UPDATE facts SET value = ? WHERE name = ?", [(value, name) for name, value in facts]
        )

    # --- reading ------------------------------------------------------------------------------

    def _fact(self, name: str) -> Any:
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise StoreError(f"{self.path}: damaged: {name} is not recorded")
        return row[0]

    def _read_tip_hash(self) -> bytes:
        row = self._connection.execute(
            "SELECT hash FROM blocks ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return bytes(row[0]) if row else self.origin.last_hash

    def _select(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with _explained(self.path), self._snapshots.reader() as connection:
            return connection.execute(statement, values).fetchall()

    def _select_one(self, statement: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        rows = self._select(statement, values)
        return rows[0] if rows else None

    def _check_tip(self) -> None:
        row = self._connection.execute("SELECT count(*), max(number) FROM blocks").fetchone()
        kept = self._tip.height - self.origin.first_block
        expected = (kept, self._tip.height - 1 if kept else None)
        if row != expected:
            raise StoreError(
                f"{self.path}: damaged: {row[0]} blocks are stored, {kept} are recorded."
                " Restore the folder from a backup, or remove it and join the channel again."
            )


def _check_schema(path: Path, connection: sqlite3.Connection) -> None:
    found = connection.execute("SELECT value FROM facts WHERE name = 'schema'").fetchone()
    if found is None or found[0] != SCHEMA_VERSION:
        shown = "none" if found is None else found[0]
        raise StoreError(f"{path}: ledger version {shown}, this program reads {SCHEMA_VERSION}")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # On a full disk SQLite may have rolled back by itself, and a COMMIT that failed may have
        # left the transaction open: the next one could not begin.
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: the ledger cannot be used: {explain_fault(error)}") from error


def _open_writes(part: PrivateCollection) -> Sequence[Any]:
    try:
        writes: Sequence[Any] = part.open().writes
    except MalformedRwset:
        return ()
    return writes
