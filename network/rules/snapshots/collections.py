"""Which collections a chaincode had when, read from what was written to `_lifecycle`.

Fabric keeps this history as it commits (core/ledger/confighistory/mgr.go); here it follows from the
history of the keys.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

from fabric_protos.peer import collection_pb2
from fabric_protos.peer.lifecycle import db_pb2
from google.protobuf.message import DecodeError

from network.rules.snapshots.form import CollectionsEntry

FIRST_KEY, END_KEY = "namespaces/fields/", "namespaces/fields0"
"""The range of `_lifecycle` in which the keys that matter are."""

_FIELD = re.compile(r"\Anamespaces/fields/([^/]+)/(Sequence|Collections)\Z")


def list_collections(
    writes: Iterable[tuple[str, int, bytes | None]], former: Iterable[CollectionsEntry]
) -> list[CollectionsEntry]:
    """Return the collections of every definition that has any, from its block on.

    Args:
        writes: key, block and value of each write to `_lifecycle`, those of a key by block.
        former: what the ledger's own snapshot told of the blocks before.
    """
    entries = list(former)
    known = {entry.chaincode: entry for entry in sorted(entries, key=lambda entry: entry.block)}
    defined: dict[str, set[int]] = defaultdict(set)
    written: dict[str, dict[int, bytes]] = defaultdict(dict)
    for key, block, value in writes:
        match = _FIELD.match(key)
        if match and match[2] == "Sequence":
            defined[match[1]].add(block)
        elif match:
            written[match[1]][block] = _open_collections(value or b"")
    for chaincode, blocks in defined.items():
        former_package = known[chaincode].package if chaincode in known else b""
        for block in sorted(blocks):
            # Only fields that change are written: an upgrade may leave the collections alone.
            seen = [at for at in written[chaincode] if at <= block]
            package = written[chaincode][max(seen)] if seen else former_package
            if package:
                entries.append(CollectionsEntry(chaincode, block, package))
    return entries


def _open_collections(stored: bytes) -> bytes:
    """Return the CollectionConfigPackage in a field, marshalled anew as Fabric does, or b""."""
    try:
        raw = db_pb2.StateData.FromString(stored).Bytes
        package = collection_pb2.CollectionConfigPackage.FromString(raw)
    except DecodeError:
        # Whoever may write `_lifecycle` may write nonsense there; it defines no collection.
        return b""
    return bytes(package.SerializeToString()) if package.config else b""
