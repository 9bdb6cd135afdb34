"""What a ledger asks of its disk: one channel's blocks, state, history and private data.

A block and everything it changes becomes visible at once and survives a crash, or not at all.
`sqlite_store` implements it; the values here are what the two exchange.
"""

import errno
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from network.rules.state.rwset import PrivateCollection
from network.rules.state.snapshot import Snapshot, Version
from network.rules.validation.mvcc import UpdateBatch


class StoreError(Exception):
    """The ledger's files cannot be used; the text says which and what to do."""


def explain_fault(error: sqlite3.Error | OSError) -> str:
    """What the disk or the database said, and what to do about it, in one line."""
    # The lowest byte is the kind of an error, the others make it particular.
    kind = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if kind == sqlite3.SQLITE_FULL or getattr(error, "errno", None) == errno.ENOSPC:
        return f"{error}. Free space on the disk; the peer then goes on by itself."
    if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return (
            f"{error}. Restore the file from a backup; without one remove the channel's folder and"
            " join the channel again: private data that no other peer of the organisation holds is"
            " lost then, and with it which chaincodes the organisation approved, until the next"
            " sequence."
        )
    return f"{error}. Look after the disk; what is stored stays as it is."


@dataclass(frozen=True, slots=True)
class StateOptions:
    """How a ledger answers queries."""

    rich_queries: bool = True
    """False: refuse them in the words of a peer with LevelDB."""
    total_query_limit: int = 100_000
    """Results that one query returns at most (ledger.state.totalQueryLimit)."""


DEFAULT_STATE = StateOptions()


class TxRecord(NamedTuple):
    """Where a transaction stands and what became of it."""

    tx_id: str
    block: int
    tx: int
    code: int


class PrivateUpdate(NamedTuple):
    """What a private key becomes; `value` None deletes it."""

    namespace: str
    collection: str
    key: str
    value: bytes | None
    version: Version


class MissingData(NamedTuple):
    """Private data this peer should have and has not.

    `digest` is empty for data from before the snapshot with which the ledger begins: then each
    key has a hash of its own (`get_expected_hashes`).
    """

    block: int
    tx: int
    namespace: str
    collection: str
    digest: bytes


class HistoryEntry(NamedTuple):
    """One change of a public key by a valid transaction; `value` None is a deletion."""

    namespace: str
    key: str
    tx: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class IndexedTransaction:
    """What is kept of each transaction of a block, in its order; `timestamp` is marshalled."""

    tx_id: str
    code: int
    timestamp: bytes


@dataclass(frozen=True, slots=True)
class Expiry:
    """A hashed key that goes when block `expires` is committed, unless it is rewritten before."""

    expires: int
    namespace: str
    collection: str
    key_hash: bytes
    version: Version


@dataclass(frozen=True, slots=True)
class BlockCommit:
    """Everything one block changes."""

    number: int
    block_hash: bytes
    raw: bytes
    transactions: Sequence[IndexedTransaction]
    updates: UpdateBatch
    commit_hash: bytes = b""
    config_block: bool = False
    private: Sequence[PrivateUpdate] = ()
    private_sets: Mapping[int, Sequence[PrivateCollection]] = field(default_factory=dict)
    private_expires: Mapping[tuple[str, str], int] = field(default_factory=dict)
    history: Sequence[HistoryEntry] = ()
    expiries: Sequence[Expiry] = ()
    missing: Sequence[MissingData] = ()


class LedgerStore(Protocol):
    """One channel's ledger on disk. Reads may come from any thread, writes from one."""

    @property
    def height(self) -> int:
        """The number of blocks."""
        ...

    @property
    def commit_hash(self) -> bytes:
        """The commit hash of the last block, b"" before block 1."""
        ...

    @property
    def tip_hash(self) -> bytes:
        """The header hash of the last block, b"" without one."""
        ...

    @property
    def last_config(self) -> int:
        """The number of the newest config block."""
        ...

    def commit(self, commit: BlockCommit) -> None:
        """Make one block durable with all it changes. Raises StoreError."""
        ...

    def commit_all(self, commits: Iterable[BlockCommit]) -> None:
        """Make blocks durable and visible together, all or none.

        Each is asked for when `writing` shows what those before it change. Raises StoreError.
        """
        ...

    def writing(self) -> Snapshot:
        """Return the ledger as far as it is written: for whom `commit_all` asks for blocks."""
        ...

    def get_block(self, number: int) -> bytes | None:
        """Return the bytes of a block, or None."""
        ...

    def get_block_number(self, block_hash: bytes) -> int | None:
        """Return the number of the block with this header hash, or None."""
        ...

    def get_transaction(self, tx_id: str) -> TxRecord | None:
        """Return the first transaction with this id, valid or not, or None."""
        ...

    def snapshot(self) -> Snapshot:
        """Return a view of the ledger as of the last block. Close it."""
        ...

    def get_private_sets(self, block: int) -> dict[int, list[PrivateCollection]]:
        """Return the private write sets kept for a block, by transaction."""
        ...

    def get_missing(self, limit: int, before: MissingData | None = None) -> list[MissingData]:
        """Return private data that is missing, newest first, below `before` if it is given."""
        ...

    def get_expected_hashes(self, missing: MissingData) -> dict[bytes, bytes]:
        """Return key hash → value hash of what data from before the ledger's snapshot holds."""
        ...

    def fill_missing(
        self, found: Iterable[tuple[MissingData, PrivateCollection, Sequence[PrivateUpdate]]]
    ) -> None:
        """Store private data that was missing, with the keys whose version is still current."""
        ...

    def define_indexes(self, namespace: str, collection: str, files: Mapping[str, bytes]) -> None:
        """Create the indexes of a chaincode package: file name → JSON."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...
