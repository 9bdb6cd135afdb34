"""Read-write sets: what a transaction read and wrote, as typed values and as Fabric's bytes.

`open_rwset` takes the results of an endorsed transaction apart. Building them is the Recorder's
work (`recorder.py`). Source: core/ledger/kvledger/txmgmt/rwsetutil.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from google.protobuf.message import DecodeError

from network.rules.state.snapshot import Version

VALIDATION_PARAMETER = "VALIDATION_PARAMETER"
"""The metadata name under which a key's own endorsement policy is kept."""


class MalformedRwset(ValueError):
    """Bytes that are not a read-write set."""


@dataclass(frozen=True, slots=True)
class CollectionRwset:
    """The hashed part of one collection; `pvt_hash` is empty when nothing private was written."""

    name: str
    hashed: Any  # kvrwset.HashedRWSet
    pvt_hash: bytes

    @property
    def writes_anything(self) -> bool:
        """Whether values or metadata of the collection change."""
        return bool(self.hashed.hashed_writes or self.hashed.metadata_writes)


@dataclass(frozen=True, slots=True)
class NamespaceRwset:
    """What one namespace read and wrote."""

    namespace: str
    kv: Any  # kvrwset.KVRWSet
    collections: tuple[CollectionRwset, ...]

    @property
    def writes_anything(self) -> bool:
        """Whether the namespace changes (plugindispatcher fn txWritesToNamespace)."""
        return bool(
            self.kv.writes
            or self.kv.metadata_writes
            or any(collection.writes_anything for collection in self.collections)
        )


@dataclass(frozen=True, slots=True)
class Rwset:
    """The read-write set of a transaction, namespaces in the order of the bytes."""

    namespaces: tuple[NamespaceRwset, ...]


@dataclass(frozen=True, slots=True)
class PrivateCollection:
    """The private writes of one collection, and their bytes, whose hash is on the chain."""

    namespace: str
    collection: str
    raw: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bytes, as it stands in the public set."""
        return sha256(self.raw).digest()

    def open(self) -> Any:
        """Return the kvrwset.KVRWSet. Raises MalformedRwset."""
        return _parse(kv_rwset_pb2.KVRWSet, self.raw)


def open_rwset(results: bytes) -> Rwset:
    """Return the typed read-write set of `ChaincodeAction.results`.

    Raises:
        MalformedRwset: any layer does not parse (keys that are not UTF-8 included).
    """
    message = _parse(rwset_pb2.TxReadWriteSet, results)
    return Rwset(tuple(_open_namespace(namespace) for namespace in message.ns_rwset))


def open_private_rwset(raw: bytes) -> tuple[PrivateCollection, ...]:
    """Return the collections of a marshalled TxPvtReadWriteSet. Raises MalformedRwset."""
    message = _parse(rwset_pb2.TxPvtReadWriteSet, raw)
    return tuple(
        PrivateCollection(namespace.namespace, collection.collection_name, collection.rwset)
        for namespace in message.ns_pvt_rwset
        for collection in namespace.collection_pvt_rwset
    )


def build_private_rwset(collections: list[PrivateCollection]) -> bytes:
    """Return the TxPvtReadWriteSet that holds `collections`, sorted as a simulation sorts them."""
    message = rwset_pb2.TxPvtReadWriteSet()
    by_namespace: dict[str, Any] = {}
    for part in sorted(collections, key=lambda part: (part.namespace, part.collection)):
        if part.namespace not in by_namespace:
            by_namespace[part.namespace] = message.ns_pvt_rwset.add(namespace=part.namespace)
        by_namespace[part.namespace].collection_pvt_rwset.add(
            collection_name=part.collection, rwset=part.raw
        )
    return bytes(message.SerializeToString())


def version_of(read: Any) -> Version | None:
    """Return the version of a KVRead or KVReadHash; None when the key did not exist."""
    if not read.HasField("version"):
        return None
    return Version(read.version.block_num, read.version.tx_num)


def is_delete(write: Any) -> bool:
    """Whether a KVWrite deletes; an empty value does too (rwsetutil fn IsKVWriteDelete)."""
    return bool(write.is_delete or not write.value)


def is_hash_delete(write: Any) -> bool:
    """Whether a KVWriteHash deletes (rwsetutil fn IsKVWriteHashDelete)."""
    return bool(write.is_delete or not write.value_hash)


def build_metadata(entries: Any) -> bytes:
    """Return the stored form of metadata entries: a KVMetadataWrite without its key."""
    return bytes(kv_rwset_pb2.KVMetadataWrite(entries=entries).SerializeToString())


def open_metadata(raw: bytes) -> dict[str, bytes]:
    """Return name → value of stored metadata. Raises MalformedRwset."""
    if not raw:
        return {}
    message = _parse(kv_rwset_pb2.KVMetadataWrite, raw)
    return {entry.name: entry.value for entry in message.entries}


def _open_namespace(message: Any) -> NamespaceRwset:
    return NamespaceRwset(
        message.namespace,
        _parse(kv_rwset_pb2.KVRWSet, message.rwset),
        tuple(
            CollectionRwset(
                collection.collection_name,
                _parse(kv_rwset_pb2.HashedRWSet, collection.hashed_rwset),
                collection.pvt_rwset_hash,
            )
            for collection in message.collection_hashed_rwset
        ),
    )


def _parse(kind: Any, raw: bytes) -> Any:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise MalformedRwset(f"{kind.DESCRIPTOR.name}: {error}") from error
