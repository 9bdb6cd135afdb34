"""The commit hash: one running hash over what every block changed, in block metadata slot 4.

Peers whose hashes are equal have the same public state. Nobody checks it on the wire.
Source: core/ledger/kvledger/kv_ledger.go fn addBlockCommitHash, txmgr/update_batch_bytes.go.
"""

from hashlib import sha256
from typing import Any

from fabric_protos.common import common_pb2

from network.rules.validation.mvcc import Update, UpdateBatch
from network.rules.wire import encode_bytes, encode_field

TRANSACTIONS_FILTER: int = common_pb2.TRANSACTIONS_FILTER
COMMIT_HASH: int = common_pb2.COMMIT_HASH

_SLOTS = 5
_IS_DELETE = bytes((4 << 3, 1))  # field 4, true


def compute_commit_hash(codes: bytes, updates: UpdateBatch, previous: bytes) -> bytes:
    """Return the commit hash of a block; `previous` is b"" for block 1, the first that has one."""
    body = encode_bytes(codes) + encode_updates(updates) + previous
    return sha256(body).digest()


def set_peer_metadata(block: Any, codes: bytes, commit_hash: bytes) -> None:
    """Write the validation codes and, unless empty, the commit hash into the block."""
    metadata = block.metadata.metadata
    while len(metadata) < _SLOTS:
        metadata.append(b"")
    metadata[TRANSACTIONS_FILTER] = codes
    if commit_hash:
        metadata[COMMIT_HASH] = common_pb2.Metadata(value=commit_hash).SerializeToString()


def get_validation_codes(block: Any) -> bytes:
    """Return the codes a peer wrote into the block, one byte a transaction; b"" when none did."""
    metadata = block.metadata.metadata
    return bytes(metadata[TRANSACTIONS_FILTER]) if len(metadata) > TRANSACTIONS_FILTER else b""


def get_commit_hash(block: Any) -> bytes:
    """Return the commit hash a peer wrote into the block, b"" when none did."""
    metadata = block.metadata.metadata
    if len(metadata) <= COMMIT_HASH:
        return b""
    return bytes(common_pb2.Metadata.FromString(metadata[COMMIT_HASH]).value)


def encode_updates(updates: UpdateBatch) -> bytes:
    """Return the deterministic bytes of a batch: public and hashed writes, in order of names.

    Namespace and collection names stand on the first entry of their group only; namespace ""
    (the channel's configuration) is left out, because its bytes hold maps.
    """
    hashed: dict[str, dict[str, dict[bytes, Update]]] = {}
    for (namespace, collection), keys in updates.hashed.items():
        hashed.setdefault(namespace, {})[collection] = keys
    encoded = bytearray()
    for namespace in sorted(updates.public.keys() | hashed.keys()):
        if not namespace:
            continue
        pending = namespace
        public = updates.public.get(namespace, {})
        for key, update in sorted(public.items()):
            encoded += _entry(pending, "", key.encode(), update)
            pending = ""
        for collection, keys in sorted(hashed.get(namespace, {}).items()):
            for key_hash, update in sorted(keys.items()):
                encoded += _entry(pending, collection, key_hash, update)
                pending = collection = ""
    return bytes(encoded)


def _entry(namespace: str, collection: str, key: bytes, update: Update) -> bytes:
    # Message KVWrite of txmgr/updates.proto, field 1 of Updates; written out here because the
    # message is private to Fabric's ledger.
    body = _field(1, namespace.encode()) + _field(2, collection.encode()) + _field(3, key)
    if update.value is None:
        body += _IS_DELETE
    body += _field(5, update.value or b"") + _field(6, update.version.encode())
    return encode_field(1, body)


def _field(number: int, value: bytes) -> bytes:
    return encode_field(number, value) if value else b""
