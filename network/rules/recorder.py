"""The Recorder: what a chaincode reads and writes during one simulation, as a read-write set.

Reads show committed state only (no read-your-writes) and are recorded once a key; the bytes of
`results()` are those a Fabric peer would endorse. Error texts are the peer's, misspellings
included, because chaincodes and clients see them. Source: core/ledger/kvledger/txmgmt/txmgr
(query_executor.go, tx_simulator.go, collection_val.go), rwsetutil/rwset_builder.go.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from network.rules.rangequery import RangeSummary, build_read, fill_summary
from network.rules.rwset import open_metadata
from network.rules.snapshot import Snapshot, StateValue, Version

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


@dataclass(slots=True)
class _Collection:
    reads: dict[str, Any] = field(default_factory=dict)
    writes: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    private_writes: dict[str, Any] = field(default_factory=dict)
    private_metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Namespace:
    reads: dict[str, Any] = field(default_factory=dict)
    writes: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    ranges: dict[tuple[str, str, bool], Any] = field(default_factory=dict)
    collections: dict[str, _Collection] = field(default_factory=dict)


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
        self._namespaces: dict[str, _Namespace] = {}
        self._iterators: list[StateIterator] = []
        self._known_collections: dict[str, frozenset[str]] = {}
        self._private_reads: set[tuple[str, str]] = set()
        self._write_policies: dict[tuple[str, str], dict[str, bytes]] = {}
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
        self._check_may_write()
        self._namespace(namespace).writes[key] = _build_write(key, value)
        self._note_policy(namespace, "", key, self.snapshot.get_state(namespace, key))

    def delete_state(self, namespace: str, key: str) -> None:
        """Record a deletion. Raises SimulationError."""
        self.put_state(namespace, key, b"")

    def get_metadata(self, namespace: str, key: str) -> dict[str, bytes]:
        """Return the metadata of `key` (name → value), and record the read of the key."""
        found = self._read(namespace, key, self.snapshot.get_state(namespace, key))
        return open_metadata(found.metadata) if found else {}

    def put_metadata(self, namespace: str, key: str, metadata: Mapping[str, bytes]) -> None:
        """Record that the key's whole metadata becomes `metadata`. Raises SimulationError."""
        self._check_may_write()
        write = kv_rwset_pb2.KVMetadataWrite(key=key, entries=_entries(metadata))
        self._namespace(namespace).metadata[key] = write
        self._note_policy(namespace, "", key, self.snapshot.get_state(namespace, key))

    def range(self, namespace: str, start: str, end: str) -> "StateIterator":
        """Return an iterator over [start, end) that records what it returns."""
        rows = self.snapshot.range(namespace, start, end)
        iterator = StateIterator(self, namespace, rows, start=start, end=end)
        self._iterators.append(iterator)
        return iterator

    def range_page(
        self, namespace: str, start: str, end: str, page_size: int, bookmark: str = ""
    ) -> "StateIterator":
        """Return one page of a range. Only for read-only transactions. Raises SimulationError."""
        self._check_may_page()
        start = bookmark or start
        rows = self.snapshot.range(namespace, start, end)
        iterator = StateIterator(self, namespace, rows, start=start, end=end, page=page_size)
        self._iterators.append(iterator)
        return iterator

    def query(self, namespace: str, query: str) -> "StateIterator":
        """Return what a rich query selects; each result is recorded as a read, phantoms are not."""
        rows = iter(self.snapshot.query(namespace, query).rows)
        return StateIterator(self, namespace, rows, reads=True)

    def query_page(
        self, namespace: str, query: str, page_size: int, bookmark: str = ""
    ) -> "StateIterator":
        """Return one page of a rich query. Only for read-only transactions."""
        self._check_may_page()
        page = self.snapshot.query(namespace, query, bookmark, page_size)
        return StateIterator(
            self, namespace, iter(page.rows), reads=True, page=page_size, bookmark=page.bookmark
        )

    def history(self, namespace: str, key: str) -> "StateIterator":
        """Return the changes of a key, newest first. Nothing is recorded."""
        return StateIterator(self, namespace, iter(()), changes=(key, self.snapshot.history))

    # --- private state ----------------------------------------------------------------------

    def get_private(self, namespace: str, collection: str, key: str) -> bytes | None:
        """Return the private value, and record the read of its hash.

        Raises:
            SimulationError: unknown collection, or the value is not here although its hash is.
        """
        self._check_collection(namespace, collection)
        found = self.snapshot.get_private(namespace, collection, key)
        hashed = self.snapshot.get_private_hash(namespace, collection, _hash(key))
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
        self._check_collection(namespace, collection)
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
        self._check_collection(namespace, collection)
        self._check_may_write()
        part = self._collection(namespace, collection)
        # The private set needs the key alone: its version must follow the hash's.
        part.private_metadata[key] = kv_rwset_pb2.KVMetadataWrite(key=key)
        part.metadata[key] = kv_rwset_pb2.KVMetadataWriteHash(
            key_hash=_hash(key), entries=_entries(metadata)
        )
        self._note_private_policy(namespace, collection, key)

    def private_range(
        self, namespace: str, collection: str, start: str, end: str
    ) -> "StateIterator":
        """Return an iterator over private keys; nothing is recorded, so writes are then refused."""
        self._check_may_query_private()
        self._check_collection(namespace, collection)
        rows = self.snapshot.private_range(namespace, collection, start, end)
        return StateIterator(self, namespace, rows)

    def private_query(self, namespace: str, collection: str, query: str) -> "StateIterator":
        """Return what a rich query selects in a collection; writes are then refused."""
        self._check_may_query_private()
        self._check_collection(namespace, collection)
        rows = iter(self.snapshot.private_query(namespace, collection, query).rows)
        return StateIterator(self, namespace, rows)

    # --- results ----------------------------------------------------------------------------

    def results(self) -> SimulationResults:
        """Return the read-write sets. Call it once, when the simulation is over."""
        for iterator in self._iterators:
            iterator.record()
        private = self._build_private()
        public = rwset_pb2.TxReadWriteSet()
        for name, part in sorted(self._namespaces.items()):
            _fill_namespace(public.ns_rwset.add(namespace=name), part)
        return SimulationResults(
            public.SerializeToString(),
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

    def _build_private(self) -> bytes:
        """Return the private results, and put the hash of each collection where it is built."""
        private = rwset_pb2.TxPvtReadWriteSet()
        for name, part in sorted(self._namespaces.items()):
            written = [
                (collection, kv)
                for collection, kv in sorted(part.collections.items())
                if kv.private_writes or kv.private_metadata
            ]
            if not written:
                continue
            message = private.ns_pvt_rwset.add(namespace=name)
            for collection, kv in written:
                message.collection_pvt_rwset.add(
                    collection_name=collection, rwset=_private_bytes(kv)
                )
        return bytes(private.SerializeToString())

    # --- bookkeeping ------------------------------------------------------------------------

    def _namespace(self, namespace: str) -> _Namespace:
        found = self._namespaces.get(namespace)
        if found is None:
            found = self._namespaces[namespace] = _Namespace()
        return found

    def _collection(self, namespace: str, collection: str) -> _Collection:
        return self._namespace(namespace).collections.setdefault(collection, _Collection())

    def _read(self, namespace: str, key: str, found: StateValue | None) -> StateValue | None:
        self.add_read(namespace, key, found.version if found else None)
        return found

    def _hashed(self, namespace: str, collection: str, key: str) -> StateValue | None:
        self._check_collection(namespace, collection)
        hashed = self.snapshot.get_private_hash(namespace, collection, _hash(key))
        self._read_hash(namespace, collection, key, hashed.version if hashed else None)
        return hashed

    def _read_hash(
        self, namespace: str, collection: str, key: str, version: Version | None
    ) -> None:
        read = kv_rwset_pb2.KVReadHash(key_hash=_hash(key))
        if version is not None:
            read.version.SetInParent()
            read.version.block_num, read.version.tx_num = version
        self._collection(namespace, collection).reads[key] = read

    def _write_private(
        self, namespace: str, collection: str, key: str, value: bytes, *, purge: bool = False
    ) -> None:
        self._check_collection(namespace, collection)
        self._check_may_write()
        part = self._collection(namespace, collection)
        part.private_writes[key] = _build_write(key, value)
        part.writes[key] = kv_rwset_pb2.KVWriteHash(
            key_hash=_hash(key),
            is_delete=not value,
            value_hash=sha256(value).digest() if value else b"",
            is_purge=purge,
        )
        self._note_private_policy(namespace, collection, key)

    def _note_policy(
        self, namespace: str, collection: str, key: str, found: StateValue | None
    ) -> None:
        metadata = open_metadata(found.metadata) if found else {}
        policies = self._write_policies.setdefault((namespace, collection), {})
        policies[key] = metadata.get("VALIDATION_PARAMETER", b"")

    def _note_private_policy(self, namespace: str, collection: str, key: str) -> None:
        hashed = self.snapshot.get_private_hash(namespace, collection, _hash(key))
        self._note_policy(namespace, collection, key, hashed)

    def _check_collection(self, namespace: str, collection: str) -> None:
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

    def _check_may_write(self) -> None:
        if self._queried_private:
            raise self._unsupported(
                "Transaction has already performed queries on pvt data. Writes are not allowed"
            )
        if self._queried_pages:
            raise self._unsupported(
                "Transaction has already performed a paginated query. Writes are not allowed"
            )
        self._wrote = True

    def _check_may_query_private(self) -> None:
        if self._wrote:
            raise self._unsupported(
                "Queries on pvt data is supported only in a read-only transaction"
            )
        self._queried_private = True

    def _check_may_page(self) -> None:
        if self._wrote:
            raise self._unsupported(
                "Paginated queries are supported only in a read-only transaction"
            )
        self._queried_pages = True

    def _unsupported(self, text: str) -> SimulationError:
        return SimulationError(f"txid [{self.tx_id}]: unsuppored transaction. {text}")


@dataclass(frozen=True, slots=True)
class Page:
    """Results for the chaincode: marshalled KV or KeyModification messages.

    `fetched` and `bookmark` are the QueryResponseMetadata of an explicitly paged query.
    """

    results: tuple[bytes, ...]
    has_more: bool
    fetched: int = 0
    bookmark: str = ""


class StateIterator:
    """Hands results out page by page and, for ranges, records what was read.

    The peer reads one result beyond a full page before it hands the page out, so the read-write
    set shows it even if the chaincode closes the iterator (query_response_generator.go).
    """

    def __init__(
        self,
        recorder: Recorder,
        namespace: str,
        rows: Iterator[tuple[str, StateValue]],
        *,
        start: str = "",
        end: str | None = None,
        reads: bool = False,
        page: int = 0,
        bookmark: str = "",
        changes: tuple[str, Any] | None = None,
    ) -> None:
        self._recorder = recorder
        self._namespace = namespace
        self._rows = rows
        self._end = end
        self._records_reads = reads
        self._bookmark = bookmark
        self._summary = RangeSummary() if end is not None else None
        self._info = kv_rwset_pb2.RangeQueryInfo(start_key=start)
        self._changes = changes[1](namespace, changes[0]) if changes else None
        self._page, total = recorder.iterator_limits()
        self._paged = bool(page or bookmark)
        self._limit = min(page, total) if page > 0 else total
        self._pending: list[bytes] = []
        self._count = 0

    def next_page(self) -> Page:
        """Return the next page; `has_more` false means the iterator is done."""
        while self._count < self._limit:
            result = self._next()
            if result is None:
                break
            full = not self._paged and len(self._pending) == self._page
            batch = self._cut() if full else ()
            self._pending.append(result)
            self._count += 1
            if full:
                return Page(batch, has_more=True)
        return Page(self._cut(), False, self._count, self._next_bookmark())

    def record(self) -> None:
        """Hand the range read to the recorder; nothing happens for other iterators."""
        if self._summary is not None:
            fill_summary(self._info, self._summary)
            self._recorder.add_range(self._namespace, self._info)
            self._summary = None

    def _next(self) -> bytes | None:
        if self._changes is not None:
            return _next_change(self._changes)
        row = next(self._rows, None)
        if row is None:
            if self._end is not None:
                self._info.itr_exhausted = True
                self._info.end_key = self._end
            return None
        key, found = row
        if self._summary is not None:
            self._summary.add(key, found.version)
            # The caller may stop here, so the range ends with the last key it has seen.
            self._info.end_key = key
        if self._records_reads:
            self._recorder.add_read(self._namespace, key, found.version)
        kv = kv_query_result_pb2.KV(namespace=self._namespace, key=key, value=found.value)
        return bytes(kv.SerializeToString())

    def _next_bookmark(self) -> str:
        if not self._paged or self._summary is None:
            return self._bookmark
        # The bookmark of a range is the key that the next page starts with.
        row = next(self._rows, None)
        return row[0] if row else ""

    def _cut(self) -> tuple[bytes, ...]:
        batch, self._pending = tuple(self._pending), []
        return batch


def _next_change(changes: Iterator[Any]) -> bytes | None:
    change = next(changes, None)
    if change is None:
        return None
    message = kv_query_result_pb2.KeyModification(
        tx_id=change.tx_id, value=change.value, is_delete=change.is_delete
    )
    message.timestamp.ParseFromString(change.timestamp)
    return bytes(message.SerializeToString())


def _fill_namespace(message: Any, part: _Namespace) -> None:
    kv = kv_rwset_pb2.KVRWSet(
        reads=_in_order(part.reads),
        range_queries_info=part.ranges.values(),
        writes=_in_order(part.writes),
        metadata_writes=_in_order(part.metadata),
    )
    message.rwset = kv.SerializeToString()
    for name, collection in sorted(part.collections.items()):
        # Sorted by plain key: the order of the hashes gives nothing away and is not Fabric's.
        hashed = kv_rwset_pb2.HashedRWSet(
            hashed_reads=_in_order(collection.reads),
            hashed_writes=_in_order(collection.writes),
            metadata_writes=_in_order(collection.metadata),
        )
        entry = message.collection_hashed_rwset.add(
            collection_name=name, hashed_rwset=hashed.SerializeToString()
        )
        if collection.private_writes or collection.private_metadata:
            entry.pvt_rwset_hash = sha256(_private_bytes(collection)).digest()


def _private_bytes(collection: _Collection) -> bytes:
    kv = kv_rwset_pb2.KVRWSet(
        writes=_in_order(collection.private_writes),
        metadata_writes=_in_order(collection.private_metadata),
    )
    return bytes(kv.SerializeToString())


def _in_order(entries: Mapping[str, Any]) -> list[Any]:
    return [entry for _, entry in sorted(entries.items())]


def _build_write(key: str, value: bytes) -> Any:
    return kv_rwset_pb2.KVWrite(key=key, value=value, is_delete=not value)


def _entries(metadata: Mapping[str, bytes]) -> list[Any]:
    return [
        kv_rwset_pb2.KVMetadataEntry(name=name, value=value)
        for name, value in sorted(metadata.items())
    ]


def _hash(key: str) -> bytes:
    return sha256(key.encode()).digest()


def _show(version: Version | None) -> str:
    # Go prints a nil *version.Height with %s as <nil>.
    return str(version) if version is not None else "<nil>"
