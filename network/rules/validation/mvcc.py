"""Multi-version concurrency: which transactions of a block still saw what is true, and what they
change.

Transactions are judged one after another against committed state and the writes of valid ones
before them in the block. A key written earlier in the block conflicts even if its version matches.
Source: core/ledger/kvledger/txmgmt/validation/{validator,tx_ops,combined_iterator}.go.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from typing import Any, NamedTuple

from fabric_protos.peer import transaction_pb2

from network.rules.state.rangequery import check_range
from network.rules.state.rwset import (
    NamespaceRwset,
    Rwset,
    build_metadata,
    is_delete,
    is_hash_delete,
    version_of,
)
from network.rules.state.snapshot import StateReader, StateValue, Version

VALID: int = transaction_pb2.VALID
MVCC_READ_CONFLICT: int = transaction_pb2.MVCC_READ_CONFLICT
PHANTOM_READ_CONFLICT: int = transaction_pb2.PHANTOM_READ_CONFLICT


class Update(NamedTuple):
    """What a key becomes; `value` None deletes it."""

    value: bytes | None
    metadata: bytes
    version: Version


@dataclass(slots=True)
class UpdateBatch:
    """What a block changes: public keys per namespace, hashed keys per (namespace, collection)."""

    public: dict[str, dict[str, Update]] = field(default_factory=dict)
    hashed: dict[tuple[str, str], dict[bytes, Update]] = field(default_factory=dict)
    purged: dict[tuple[str, str, bytes], Version] = field(default_factory=dict)
    """Hashed keys whose former values must go too, with the version of the purge."""

    def get_public(self, namespace: str, key: str) -> Update | None:
        """Return the pending update of a public key, or None."""
        return self.public.get(namespace, {}).get(key)

    def get_hashed(self, namespace: str, collection: str, key_hash: bytes) -> Update | None:
        """Return the pending update of a hashed key, or None."""
        return self.hashed.get((namespace, collection), {}).get(key_hash)

    def put_public(self, namespace: str, key: str, update: Update) -> None:
        """Set the pending update of a public key."""
        self.public.setdefault(namespace, {})[key] = update


def check_reads(rwset: Rwset, updates: UpdateBatch, reader: StateReader) -> int:
    """Return VALID, MVCC_READ_CONFLICT or PHANTOM_READ_CONFLICT for one transaction."""
    for part in rwset.namespaces:
        if not all(_check_read(part.namespace, read, updates, reader) for read in part.kv.reads):
            return MVCC_READ_CONFLICT
        for info in part.kv.range_queries_info:
            rows = _combined_range(part.namespace, info, updates, reader)
            if not check_range(info, rows):
                return PHANTOM_READ_CONFLICT
        if not _check_hashed_reads(part, updates, reader):
            return MVCC_READ_CONFLICT
    return VALID


def apply_writes(rwset: Rwset, version: Version, updates: UpdateBatch, reader: StateReader) -> None:
    """Add the writes of a valid transaction to the batch.

    A value alone keeps the key's metadata; metadata alone keeps its value and does nothing where
    there is no key.
    """
    for key, operation in _collect_operations(rwset).items():
        _apply(key, operation, version, updates, reader)
    for part in rwset.namespaces:
        for collection in part.collections:
            for write in collection.hashed.hashed_writes:
                if write.is_purge:
                    at = (part.namespace, collection.name, write.key_hash)
                    updates.purged[at] = version


def _check_read(namespace: str, read: Any, updates: UpdateBatch, reader: StateReader) -> bool:
    if updates.get_public(namespace, read.key) is not None:
        return False
    found = reader.get_state(namespace, read.key)
    return (found.version if found else None) == version_of(read)


def _check_hashed_reads(part: NamespaceRwset, updates: UpdateBatch, reader: StateReader) -> bool:
    for collection in part.collections:
        for read in collection.hashed.hashed_reads:
            at = (part.namespace, collection.name, read.key_hash)
            if updates.get_hashed(*at) is not None:
                return False
            found = reader.get_private_hash(*at)
            if (found.version if found else None) != version_of(read):
                return False
    return True


def _combined_range(
    namespace: str, info: Any, updates: UpdateBatch, reader: StateReader
) -> Iterator[tuple[str, Version]]:
    """Yield the range as it is after the earlier transactions of the block.

    An iterator that was not exhausted recorded the last key it saw as end, so the end counts.
    """
    pending = updates.public.get(namespace, {})
    start, end = info.start_key, info.end_key
    changed = sorted(key for key in pending if start <= key and (not end or key < end))
    committed = (
        (key, found.version)
        for key, found in reader.range(namespace, start, end)
        if key not in pending
    )
    written = ((key, pending[key].version) for key in changed if pending[key].value is not None)
    yield from merge(committed, written)
    if not info.itr_exhausted:
        last: Update | StateValue | None = pending.get(end) or reader.get_state(namespace, end)
        if last is not None and last.value is not None:
            yield end, last.version


# --- merging a transaction's writes, tx_ops.go -----------------------------------------------

_UPSERT, _METADATA_UPDATE, _METADATA_DELETE, _DELETE = 1, 2, 4, 8
_Key = tuple[str, str, str | bytes]
"""(namespace, collection or "", key or key hash)."""


@dataclass(slots=True)
class _Operation:
    # The flags are *added* up in a byte, as Fabric does: a set that names a key twice (only a
    # forged one can) has the strange effect it has there, so that peers agree.
    flags: int = 0
    value: bytes = b""
    metadata: bytes = b""

    def add(self, flag: int) -> None:
        self.flags = (self.flags + flag) % 256


def _collect_operations(rwset: Rwset) -> Mapping[_Key, _Operation]:
    operations: dict[_Key, _Operation] = {}

    def operation(key: _Key) -> _Operation:
        return operations.setdefault(key, _Operation())

    for part in rwset.namespaces:
        for write in part.kv.writes:
            _add_write(operation((part.namespace, "", write.key)), is_delete(write), write.value)
        for metadata in part.kv.metadata_writes:
            _add_metadata(operation((part.namespace, "", metadata.key)), metadata)
        for collection in part.collections:
            at = (part.namespace, collection.name)
            for write in collection.hashed.hashed_writes:
                _add_write(
                    operation((*at, write.key_hash)), is_hash_delete(write), write.value_hash
                )
            for metadata in collection.hashed.metadata_writes:
                _add_metadata(operation((*at, metadata.key_hash)), metadata)
    return operations


def _add_write(operation: _Operation, delete: bool, value: bytes) -> None:
    operation.add(_DELETE if delete else _UPSERT)
    if not delete:
        operation.value = value


def _add_metadata(operation: _Operation, write: Any) -> None:
    operation.add(_METADATA_UPDATE if write.entries else _METADATA_DELETE)
    if write.entries:
        operation.metadata = build_metadata(write.entries)


def _apply(
    key: _Key, operation: _Operation, version: Version, updates: UpdateBatch, reader: StateReader
) -> None:
    if operation.flags & _DELETE:
        _put(key, Update(None, b"", version), updates)
        return
    value: bytes | None = operation.value
    metadata = operation.metadata
    if operation.flags == _UPSERT:
        latest = _get_latest(key, updates, reader)
        metadata = latest.metadata if latest else b""
    elif not (
        operation.flags & _UPSERT and operation.flags & (_METADATA_UPDATE | _METADATA_DELETE)
    ):
        latest = _get_latest(key, updates, reader)
        value = latest.value if latest else None
        if value is None:
            # No such key, or deleted earlier in this block (there a real peer panics).
            return
    _put(key, Update(value, metadata, version), updates)


def _get_latest(key: _Key, updates: UpdateBatch, reader: StateReader) -> Update | StateValue | None:
    namespace, collection, name = key
    if isinstance(name, str):
        return updates.get_public(namespace, name) or reader.get_state(namespace, name)
    pending = updates.get_hashed(namespace, collection, name)
    return pending or reader.get_private_hash(namespace, collection, name)


def _put(key: _Key, update: Update, updates: UpdateBatch) -> None:
    namespace, collection, name = key
    if isinstance(name, str):
        updates.put_public(namespace, name, update)
    else:
        updates.hashed.setdefault((namespace, collection), {})[name] = update
