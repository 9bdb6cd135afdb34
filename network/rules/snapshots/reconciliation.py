"""Private data from before a snapshot: what of a write set that came late may be kept.

The block that carries the write set's hash is not there. The snapshot has the hash of every key as
it stood, so a set is trimmed to those of its keys that were still current, and each value must have
the hash expected. Source: core/ledger/kvledger/hashcheck_pvtdata.go.
"""

from collections.abc import Mapping
from hashlib import sha256

from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from network.rules.state.rwset import MalformedRwset, PrivateCollection


def trim_to_hashes(
    part: PrivateCollection, expected: Mapping[bytes, bytes]
) -> PrivateCollection | None:
    """Return what of the set is expected, or None if anything expected is absent or different.

    Nothing is expected any more of a set whose keys have all been purged: then it is empty.
    """
    left, kept = dict(expected), kv_rwset_pb2.KVRWSet()
    try:
        writes = part.open().writes if expected else ()
    except MalformedRwset:
        return None
    for write in writes:
        value_hash = left.pop(sha256(write.key.encode()).digest(), None)
        if value_hash is None:
            continue
        if sha256(write.value).digest() != value_hash:
            return None
        kept.writes.append(write)
    if left:
        return None
    return PrivateCollection(part.namespace, part.collection, kept.SerializeToString())
