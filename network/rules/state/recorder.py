"""The Recorder: what a chaincode reads and writes during one simulation, as a read-write set.

Reads show committed state only (no read-your-writes) and are recorded once a key; the bytes of
`results()` are those a Fabric peer would endorse. Error texts are the peer's, misspellings
included, because chaincodes and clients see them. Source: core/ledger/kvledger/txmgmt/txmgr
(query_executor.go, tx_simulator.go, collection_val.go), rwsetutil/rwset_builder.go.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from network.rules.state.rangequery import build_read
from network.rules.state.rwset import VALIDATION_PARAMETER, open_metadata
from network.rules.state.rwsetbuilder import (
    CollectionPart,
    NamespacePart,
    build_entries,
    build_hashed_read,
    build_rwsets,
    build_write,
    hash_key,
)
from network.rules.state.snapshot import Snapshot, StateValue, Version
from network.rules.state.stateiterator import Page, StateIterator

__all__ = [
    "CollectionNames",
    "Page",
    "Recorder",
    "SimulationError",
    "SimulationResults",
    "StateIterator",
]

PAGE_SIZE = 100
"""Results that travel to the chaincode in one message (core/chaincode/chaincode_support.go)."""
TOTAL_QUERY_LIMIT = 100_000
"""Results one iterator returns at most (core.yaml ledger.state.totalQueryLimit)."""


class SimulationError(Exception):
    """The simulation cannot go on; the text is what the chaincode gets as its ERROR."""


@dataclass(frozen=True, slots=True)
class SimulationResults:
    """What a simulation did.

    `public` and `private` are the marshalled TxReadWriteSet and TxPvtReadWriteSet (b"" if none).
    `private_reads` names the (namespace, collection) whose values were read. `write_policies`
    holds, per (namespace, collection or ""), the key-level policies (SignaturePolicyEnvelope
    bytes) of the keys written, b"" standing for a key without one; endorsers tell clients.
    """

    public: bytes
    private: bytes
    private_reads: frozenset[tuple[str, str]]
    write_policies: Mapping[tuple[str, str], frozenset[bytes]]


CollectionNames = Callable[["Recorder", str], "frozenset[str] | None"]
"""Names the collections of a chaincode, reading its definition through the recorder (the reads
become part of the read-write set); None when it has no collection configuration at all."""


class Recorder:
    """One transaction's view of the ledger: reads the snapshot, records, keeps writes aside."""

    def __init__(
        self,
        snapshot: Snapshot,
        tx_id: str = "",
        *,
        collections: CollectionNames | None = None,
        page_size: int = PAGE_SIZE,
        total_limit: int = TOTAL_QUERY_LIMIT,
    ) -> None:
        """Record over `snapshot`; without `collections` any collection name is accepted."""
        self.snapshot = snapshot
        self.tx_id = tx_id
        self._collection_names = collections
        self._page_size = page_size
        self._total_limit = total_limit
        self._namespaces: dict[str, NamespacePart] = {}
        self._iterators: list[StateIterator] = []
        self._known_collections: dict[str, frozenset[str]] = {}
        self._private_reads: set[tuple[str, str]] = set()
        self._write_policies: dict[tuple[str, str], dict[str, bytes]] = {}
        self._read_metadata: dict[tuple[str, str], bytes] = {}
        self._wrote = False
        self._queried_private = False
        self._queried_pages = False

    # --- public state -----------------------------------------------------------------------

    def get_state(self, namespace: str, key: str) -> bytes | None:
        """Return the committed value of `key` or None, and record the read."""
        found = self._read(namespace, key, self.snapshot.get_state(namespace, key))
        return found.value if found else None

    def get_states(self, namespace: str, keys: Sequence[str]) -> list[bytes | None]:
        """Return the committed values of `keys` in order, and record each read."""
        values = self.snapshot.get_states(namespace, keys)
        for key, value in zip(keys, values, strict=True):
            self._read(namespace, key, value)
        return [value.value if value else None for value in values]

    def put_state(self, namespace: str, key: str, value: bytes) -> None:
        """Record a write; an empty value is a deletion, as in Fabric. Raises SimulationError."""
        self._begin_write()
        self._namespace(namespace).writes[key] = build_write(key, value)
        self._note_public_policy(namespace, key)

    def delete_state(self, namespace: str, key: str) -> None:
        """Record a deletion. Raises SimulationError."""
        self.put_state(namespace, key, b"")

    def get_metadata(self, namespace: str, key: str) -> dict[str, bytes]:
        """Return the metadata of `key` (name → value), and record the read of the key."""
        found = self._read(namespace, key, self.snapshot.get_state(namespace, key))
        return open_metadata(found.metadata) if found else {}

    def put_metadata(self, namespace: str, key: str, metadata: Mapping[str, bytes]) -> None:
        """Record that the key's whole metadata becomes `metadata`. Raises SimulationError."""
        self._begin_write()
        write = kv_rwset_pb2.KVMetadataWrite(key=key, entries=build_entries(metadata))
        self._namespace(namespace).metadata[key] = write
        self._note_public_policy(namespace, key)

    def range(self, namespace: str, start: str, end: str) -> StateIterator:
        """Return an iterator over [start, end) that records what it returns."""
        rows = self.snapshot.range(namespace, start, end)
        iterator = StateIterator(self, namespace, rows, start=start, end=end)
        self._iterators.append(iterator)
        return iterator

    def range_page(
        self, namespace: str, start: str, end: str, page_size: int, bookmark: str = ""
    ) -> StateIterator:
        """Return one page of a range. Only for read-only transactions. Raises SimulationError."""
        self._begin_page()
        start = bookmark or start
        rows = self.snapshot.range(namespace, start, end)
        iterator = StateIterator(self, namespace, rows, start=start, end=end, page=page_size)
        self._iterators.append(iterator)
        return iterator

    def query(self, namespace: str, query: str) -> StateIterator:
        """Return what a rich query selects; each result is recorded as a read, phantoms are not."""
        return StateIterator(self, namespace, self.snapshot.query(namespace, query), reads=True)

    def query_page(
        self, namespace: str, query: str, page_size: int, bookmark: str = ""
    ) -> StateIterator:
        """Return one page of a rich query. Only for read-only transactions."""
        self._begin_page()
        found = self.snapshot.query(namespace, query, bookmark, page_size)
        return StateIterator(
            self, namespace, found, reads=True, page=page_size, get_bookmark=lambda: found.bookmark
        )

    def history(self, namespace: str, key: str) -> StateIterator:
        """Return the changes of a key, newest first. Nothing is recorded."""
        return StateIterator(self, namespace, iter(()), changes=(key, self.snapshot.history))

    # --- private state ----------------------------------------------------------------------

    def get_private(self, namespace: str, collection: str, key: str) -> bytes | None:
        """Return the private value, and record the read of its hash.

        Raises:
            SimulationError: unknown collection, or the value is not here although its hash is.
        """
        self._validate_collection(namespace, collection)
        found = self.snapshot.get_private(namespace, collection, key)
        hashed = self.snapshot.get_private_hash(namespace, collection, hash_key(key))
        version = found.version if found else None
        hash_version = hashed.version if hashed else None
        if version != hash_version:
            raise SimulationError(
                "private data matching public hash version is not available. Public hash version"
                f" = {_show(hash_version)}, Private data version = {_show(version)}"
            )
        self._read_hash(namespace, collection, key, version)
        self._private_reads.add((namespace, collection))
        return found.value if found else None

    def get_privates(
        self, namespace: str, collection: str, keys: Sequence[str]
    ) -> list[bytes | None]:
        """Return private values in order; as in Fabric, without comparing versions with hashes."""
        self._validate_collection(namespace, collection)
        values = []
        for key in keys:
            found = self.snapshot.get_private(namespace, collection, key)
            self._read_hash(namespace, collection, key, found.version if found else None)
            self._private_reads.add((namespace, collection))
            values.append(found.value if found else None)
        return values

    def get_private_hash(self, namespace: str, collection: str, key: str) -> bytes | None:
        """Return the hash of a private value, known to every peer, and record the read."""
        hashed = self._hashed(namespace, collection, key)
        return hashed.value if hashed else None

    def put_private(self, namespace: str, collection: str, key: str, value: bytes) -> None:
        """Record a private write and its hashes; empty deletes. Raises SimulationError."""
        self._write_private(namespace, collection, key, value)

    def delete_private(self, namespace: str, collection: str, key: str) -> None:
        """Record a private deletion. Raises SimulationError."""
        self._write_private(namespace, collection, key, b"")

    def purge_private(self, namespace: str, collection: str, key: str) -> None:
        """Record a purge: deletion now, and of every former value. Raises SimulationError."""
        self._write_private(namespace, collection, key, b"", purge=True)

    def get_private_metadata(self, namespace: str, collection: str, key: str) -> dict[str, bytes]:
        """Return the metadata of a private key, and record the read of its hash."""
        hashed = self._hashed(namespace, collection, key)
        return open_metadata(hashed.metadata) if hashed else {}

    def put_private_metadata(
        self, namespace: str, collection: str, key: str, metadata: Mapping[str, bytes]
    ) -> None:
        """Record the metadata of a private key. Raises SimulationError."""
        self._validate_collection(namespace, collection)
        self._begin_write()
        part = self._collection(namespace, collection)
        # The private set needs the key alone: its version must follow the hash's.
        part.private_metadata[key] = kv_rwset_pb2.KVMetadataWrite(key=key)
        part.metadata[key] = kv_rwset_pb2.KVMetadataWriteHash(
            key_hash=hash_key(key), entries=build_entries(metadata)
        )
        self._note_private_policy(namespace, collection, key)

    def private_range(self, namespace: str, collection: str, start: str, end: str) -> StateIterator:
        """Return an iterator over private keys; nothing is recorded, so writes are then refused."""
        self._begin_private_query()
        self._validate_collection(namespace, collection)
        rows = self.snapshot.private_range(namespace, collection, start, end)
        return StateIterator(self, namespace, rows)

    def private_query(self, namespace: str, collection: str, query: str) -> StateIterator:
        """Return what a rich query selects in a collection; writes are then refused."""
        self._begin_private_query()
        self._validate_collection(namespace, collection)
        rows = self.snapshot.private_query(namespace, collection, query)
        return StateIterator(self, namespace, rows)

    # --- results ----------------------------------------------------------------------------

    def results(self) -> SimulationResults:
        """Return the read-write sets. Call it once, when the simulation is over."""
        for iterator in self._iterators:
            iterator.record()
        public, private = build_rwsets(self._namespaces)
        return SimulationResults(
            public,
            private,
            frozenset(self._private_reads),
            {at: frozenset(keys.values()) for at, keys in self._write_policies.items()},
        )

    def add_range(self, namespace: str, info: Any) -> None:
        """Record a finished range read, unless the same range stands there already."""
        ranges = self._namespace(namespace).ranges
        ranges.setdefault((info.start_key, info.end_key, info.itr_exhausted), info)

    def add_read(self, namespace: str, key: str, version: Version | None) -> None:
        """Record a read."""
        self._namespace(namespace).reads[key] = build_read(key, version)

    def iterator_limits(self) -> tuple[int, int]:
        """Return (results a message, results in total) for this simulation's iterators."""
        return self._page_size, self._total_limit

    # --- bookkeeping ------------------------------------------------------------------------

    def _namespace(self, namespace: str) -> NamespacePart:
        found = self._namespaces.get(namespace)
        if found is None:
            found = self._namespaces[namespace] = NamespacePart()
        return found

    def _collection(self, namespace: str, collection: str) -> CollectionPart:
        return self._namespace(namespace).collections.setdefault(collection, CollectionPart())

    def _read(self, namespace: str, key: str, found: StateValue | None) -> StateValue | None:
        self.add_read(namespace, key, found.version if found else None)
        self._read_metadata[namespace, key] = found.metadata if found else b""
        return found

    def _hashed(self, namespace: str, collection: str, key: str) -> StateValue | None:
        self._validate_collection(namespace, collection)
        hashed = self.snapshot.get_private_hash(namespace, collection, hash_key(key))
        self._read_hash(namespace, collection, key, hashed.version if hashed else None)
        return hashed

    def _read_hash(
        self, namespace: str, collection: str, key: str, version: Version | None
    ) -> None:
        self._collection(namespace, collection).reads[key] = build_hashed_read(key, version)

    def _write_private(
        self, namespace: str, collection: str, key: str, value: bytes, *, purge: bool = False
    ) -> None:
        self._validate_collection(namespace, collection)
        self._begin_write()
        part = self._collection(namespace, collection)
        part.private_writes[key] = build_write(key, value)
        part.writes[key] = kv_rwset_pb2.KVWriteHash(
            key_hash=hash_key(key),
            is_delete=not value,
            value_hash=sha256(value).digest() if value else b"",
            is_purge=purge,
        )
        self._note_private_policy(namespace, collection, key)

    def _note_public_policy(self, namespace: str, key: str) -> None:
        known = self._read_metadata.get((namespace, key))
        if known is None:
            found = self.snapshot.get_state(namespace, key)
            known = found.metadata if found else b""
        self._note_policy(namespace, "", key, known)

    def _note_policy(self, namespace: str, collection: str, key: str, stored: bytes) -> None:
        policies = self._write_policies.setdefault((namespace, collection), {})
        policies[key] = open_metadata(stored).get(VALIDATION_PARAMETER, b"") if stored else b""

    def _note_private_policy(self, namespace: str, collection: str, key: str) -> None:
        hashed = self.snapshot.get_private_hash(namespace, collection, hash_key(key))
        self._note_policy(namespace, collection, key, hashed.metadata if hashed else b"")

    def _validate_collection(self, namespace: str, collection: str) -> None:
        if self._collection_names is None:
            return
        if namespace not in self._known_collections:
            names = self._collection_names(self, namespace)
            if names is None:
                raise SimulationError(
                    f"collection config not defined for chaincode [{namespace}], pass the"
                    " collection configuration upon chaincode definition/instantiation"
                )
            self._known_collections[namespace] = names
        if collection not in self._known_collections[namespace]:
            raise SimulationError(
                f"collection [{collection}] not defined in the collection config for chaincode"
                f" [{namespace}]"
            )

    def _begin_write(self) -> None:
        if self._queried_private:
            raise self._unsupported(
                "Transaction has already performed queries on pvt data. Writes are not allowed"
            )
        if self._queried_pages:
            raise self._unsupported(
                "Transaction has already performed a paginated query. Writes are not allowed"
            )
        self._wrote = True

    def _begin_private_query(self) -> None:
        if self._wrote:
            raise self._unsupported(
                "Queries on pvt data is supported only in a read-only transaction"
            )
        self._queried_private = True

    def _begin_page(self) -> None:
        if self._wrote:
            raise self._unsupported(
                "Paginated queries are supported only in a read-only transaction"
            )
        self._queried_pages = True

    def _unsupported(self, text: str) -> SimulationError:
        return SimulationError(f"txid [{self.tx_id}]: unsuppored transaction. {text}")


def _show(version: Version | None) -> str:
    # Go prints a nil *version.Height with %s as <nil>.
    return str(version) if version is not None else "<nil>"
