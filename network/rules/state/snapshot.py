"""What a simulation and a validator read: versioned state as of one block.

`Snapshot` is the seam between the law and the disk. `MemorySnapshot` is the whole of it in
dictionaries, for tests and for anything that has no disk.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple, Protocol

NO_QUERIES = "ExecuteQuery not supported for leveldb"
NO_PAGED_QUERIES = "ExecuteQueryWithMetadata not supported for leveldb"


class Version(NamedTuple):
    """Where a value was written: block number and place of the transaction in the block."""

    block: int
    tx: int

    def encode(self) -> bytes:
        """Return Fabric's order-preserving bytes: each number as its size and its big-endian bytes.

        common/ledger/util/util.go fn EncodeOrderPreservingVarUint64.
        """
        return b"".join(
            bytes([size]) + number.to_bytes(size, "big")
            for number in self
            for size in [(number.bit_length() + 7) // 8]
        )

    def __str__(self) -> str:
        return f"{{BlockNum: {self.block}, TxNum: {self.tx}}}"


class StateValue(NamedTuple):
    """A committed value. `metadata` is a marshalled KVMetadataWrite with entries only, or empty."""

    value: bytes
    version: Version
    metadata: bytes = b""


class QueryResult(Protocol):
    """The rows of a rich query in their order, read as they are taken. May raise UnsupportedQuery.

    `bookmark` is where the next page begins, once the last row of this one was taken.
    """

    bookmark: str

    def __iter__(self) -> Iterator[tuple[str, StateValue]]:
        """Return itself."""
        ...

    def __next__(self) -> tuple[str, StateValue]:
        """Return the next row. Raises StopIteration after the last one."""
        ...


class KeyChange(NamedTuple):
    """One entry of a key's history; `timestamp` is the transaction's, as a marshalled Timestamp."""

    tx_id: str
    value: bytes
    timestamp: bytes
    is_delete: bool


class UnsupportedQuery(ValueError):
    """The state store does not answer rich queries, or cannot parse this one."""


class StateReader(Protocol):
    """Committed state by key, as validation needs it."""

    def get_state(self, namespace: str, key: str) -> StateValue | None:
        """Return the value of `key`, or None when it does not exist."""
        ...

    def get_private_hash(
        self, namespace: str, collection: str, key_hash: bytes
    ) -> StateValue | None:
        """Return the hash of the value whose key hashes to `key_hash`, or None."""
        ...

    def get_private(self, namespace: str, collection: str, key: str) -> StateValue | None:
        """Return the private value of `key` if this peer holds it, or None."""
        ...

    def range(self, namespace: str, start: str, end: str) -> Iterator[tuple[str, StateValue]]:
        """Yield keys from `start` (inclusive) to `end` (exclusive), bytewise; empty is open."""
        ...


class Snapshot(StateReader, Protocol):
    """State, private state and history as of one block; reading it blocks no commit."""

    @property
    def height(self) -> int:
        """The number of committed blocks this snapshot shows."""
        ...

    def get_states(self, namespace: str, keys: Sequence[str]) -> list[StateValue | None]:
        """Return the values of `keys` in their order."""
        ...

    def private_range(
        self, namespace: str, collection: str, start: str, end: str
    ) -> Iterator[tuple[str, StateValue]]:
        """Yield private keys as `range` does."""
        ...

    def query(
        self, namespace: str, query: str, bookmark: str = "", page_size: int = 0
    ) -> QueryResult:
        """Return the rows that a rich query selects. Raises UnsupportedQuery."""
        ...

    def private_query(self, namespace: str, collection: str, query: str) -> QueryResult:
        """Return the private rows that a rich query selects. Raises UnsupportedQuery."""
        ...

    def history(self, namespace: str, key: str) -> Iterator[KeyChange]:
        """Yield the changes of a key by valid transactions, newest first."""
        ...

    def close(self) -> None:
        """Release what the snapshot holds. Reading afterwards is a mistake."""
        ...


@dataclass
class MemorySnapshot:
    """A snapshot in dictionaries; tests fill `states` and `privates` by hand."""

    states: dict[tuple[str, str], StateValue] = field(default_factory=dict)
    privates: dict[tuple[str, str, str], StateValue] = field(default_factory=dict)
    hashes: dict[tuple[str, str, bytes], StateValue] = field(default_factory=dict)
    changes: dict[tuple[str, str], list[KeyChange]] = field(default_factory=dict)
    height: int = 1

    def put(
        self, namespace: str, key: str, value: bytes, version: tuple[int, int] = (1, 0)
    ) -> None:
        """Set a public value."""
        self.states[namespace, key] = StateValue(value, Version(*version))

    def put_private(
        self,
        namespace: str,
        collection: str,
        key: str,
        value: bytes,
        version: tuple[int, int] = (1, 0),
    ) -> None:
        """Set a private value and its hash."""
        at = Version(*version)
        self.privates[namespace, collection, key] = StateValue(value, at)
        key_hash = sha256(key.encode()).digest()
        self.hashes[namespace, collection, key_hash] = StateValue(sha256(value).digest(), at)

    def get_state(self, namespace: str, key: str) -> StateValue | None:
        """Return the value of `key`, or None."""
        return self.states.get((namespace, key))

    def get_states(self, namespace: str, keys: Sequence[str]) -> list[StateValue | None]:
        """Return the values of `keys` in their order."""
        return [self.states.get((namespace, key)) for key in keys]

    def get_private(self, namespace: str, collection: str, key: str) -> StateValue | None:
        """Return the private value of `key`, or None."""
        return self.privates.get((namespace, collection, key))

    def get_private_hash(
        self, namespace: str, collection: str, key_hash: bytes
    ) -> StateValue | None:
        """Return the hash entry of `key_hash`, or None."""
        return self.hashes.get((namespace, collection, key_hash))

    def range(self, namespace: str, start: str, end: str) -> Iterator[tuple[str, StateValue]]:
        """Yield the public keys of the range in order."""
        rows = {key: value for (ns, key), value in self.states.items() if ns == namespace}
        return _in_range(rows, start, end)

    def private_range(
        self, namespace: str, collection: str, start: str, end: str
    ) -> Iterator[tuple[str, StateValue]]:
        """Yield the private keys of the range in order."""
        rows = {
            key: value
            for (ns, coll, key), value in self.privates.items()
            if (ns, coll) == (namespace, collection)
        }
        return _in_range(rows, start, end)

    def query(
        self, namespace: str, query: str, bookmark: str = "", page_size: int = 0
    ) -> QueryResult:
        """Refuse: as LevelDB, memory answers no rich queries."""
        raise UnsupportedQuery(NO_QUERIES if not bookmark and not page_size else NO_PAGED_QUERIES)

    def private_query(self, namespace: str, collection: str, query: str) -> QueryResult:
        """Refuse, as `query` does."""
        return self.query(namespace, query)

    def history(self, namespace: str, key: str) -> Iterator[KeyChange]:
        """Yield the changes put into `changes`."""
        return iter(self.changes.get((namespace, key), []))

    def close(self) -> None:
        """Do nothing."""


def _in_range(
    rows: Mapping[str, StateValue], start: str, end: str
) -> Iterator[tuple[str, StateValue]]:
    # Code point order of str is the bytewise order of its UTF-8, so plain sorting is Fabric's.
    keys = sorted(rows)
    stop = bisect_left(keys, end) if end else len(keys)
    for key in keys[bisect_left(keys, start) : stop]:
        yield key, rows[key]
