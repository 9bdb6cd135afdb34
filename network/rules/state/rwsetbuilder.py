"""The read-write set of one simulation while it grows, and its bytes at the end.

Everything is sorted bytewise; ranges keep the order of the calls. Source:
core/ledger/kvledger/txmgmt/rwsetutil/rwset_builder.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from network.rules.state.snapshot import Version


@dataclass(slots=True)
class CollectionPart:
    """What happened in one collection, by plain key: hashed entries, and private ones."""

    reads: dict[str, Any] = field(default_factory=dict)
    writes: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    private_writes: dict[str, Any] = field(default_factory=dict)
    private_metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def is_written(self) -> bool:
        """Whether there is a private write set."""
        return bool(self.private_writes or self.private_metadata)


@dataclass(slots=True)
class NamespacePart:
    """What happened in one namespace, by key."""

    reads: dict[str, Any] = field(default_factory=dict)
    writes: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    ranges: dict[tuple[str, str, bool], Any] = field(default_factory=dict)
    collections: dict[str, CollectionPart] = field(default_factory=dict)


def _fill_namespace(message: Any, part: NamespacePart) -> None:
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
        if collection.is_written:
            entry.pvt_rwset_hash = sha256(_private_bytes(collection)).digest()


def _private_bytes(collection: CollectionPart) -> bytes:
    kv = kv_rwset_pb2.KVRWSet(
        writes=_in_order(collection.private_writes),
        metadata_writes=_in_order(collection.private_metadata),
    )
    return bytes(kv.SerializeToString())


def _in_order(entries: Mapping[str, Any]) -> list[Any]:
    return [entry for _, entry in sorted(entries.items())]


def build_write(key: str, value: bytes) -> Any:
    """Return a KVWrite; an empty value is a deletion."""
    return kv_rwset_pb2.KVWrite(key=key, value=value, is_delete=not value)


def build_entries(metadata: Mapping[str, bytes]) -> list[Any]:
    """Return metadata entries, sorted by name."""
    return [
        kv_rwset_pb2.KVMetadataEntry(name=name, value=value)
        for name, value in sorted(metadata.items())
    ]


def hash_key(key: str) -> bytes:
    """Return the hash under which a private key stands in public state."""
    return sha256(key.encode()).digest()


def build_hashed_read(key: str, version: Version | None) -> Any:
    """Return a KVReadHash; its version is absent for a missing key."""
    read = kv_rwset_pb2.KVReadHash(key_hash=hash_key(key))
    if version is not None:
        read.version.SetInParent()
        read.version.block_num, read.version.tx_num = version
    return read


def build_rwsets(namespaces: Mapping[str, NamespacePart]) -> tuple[bytes, bytes]:
    """Return the marshalled TxReadWriteSet and TxPvtReadWriteSet (b"" without private writes)."""
    public, private = rwset_pb2.TxReadWriteSet(), rwset_pb2.TxPvtReadWriteSet()
    for name, part in sorted(namespaces.items()):
        _fill_namespace(public.ns_rwset.add(namespace=name), part)
        written = [(n, c) for n, c in sorted(part.collections.items()) if c.is_written]
        if written:
            message = private.ns_pvt_rwset.add(namespace=name)
            for collection, kv in written:
                message.collection_pvt_rwset.add(
                    collection_name=collection, rwset=_private_bytes(kv)
                )
    return public.SerializeToString(), private.SerializeToString()
