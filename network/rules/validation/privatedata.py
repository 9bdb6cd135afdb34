"""Private data at commit: what a peer should have, what it may keep, and what its keys become.

Hashes are on the chain for everyone; the values come from the transient store, from other members,
or not at all, and then are recorded as missing. Sources: gossip/privdata/{coordinator,
pvtdataprovider}.go, core/ledger/kvledger/txmgmt/validation/batch_preparer.go.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from network.rules.lifecycle.collections import build_implicit_collection
from network.rules.lifecycle.definitions import ChaincodeDefinition
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.names import LIFECYCLE
from network.rules.lifecycle.states import implicit_collection_org
from network.rules.state.rwset import (
    MalformedRwset,
    PrivateCollection,
    is_delete,
    open_private_rwset,
)
from network.rules.state.snapshot import StateReader, Version
from network.rules.validation.mvcc import UpdateBatch
from network.rules.validation.txchecks import VALID, CheckedTransaction

_LAST_BLOCK = 2**63 - 1
"""Beyond this a block number is no block's; a store need not hold it."""


class PrivateNeed(NamedTuple):
    """One private write set whose hash stands in a block; `endorsers` are serialized identities."""

    block: int
    tx: int
    tx_id: str
    namespace: str
    collection: str
    digest: bytes
    endorsers: tuple[bytes, ...]


class PrivateChange(NamedTuple):
    """What a private key becomes; `value` None deletes it."""

    namespace: str
    collection: str
    key: str
    value: bytes | None
    version: Version


@dataclass(frozen=True, slots=True)
class CollectionRules:
    """What the peer knows of the collections in force: their definitions, and whether it is in.

    `is_member` evaluates a member policy (SignaturePolicyEnvelope) on the peer's own identity.
    """

    get_definition: Callable[[str], ChaincodeDefinition | None]
    is_member: Callable[[Any], bool]

    def find(self, namespace: str, collection: str) -> Any | None:
        """Return the StaticCollectionConfig, or None."""
        msp_id = implicit_collection_org(collection)
        if msp_id is not None:
            return build_implicit_collection(msp_id)
        try:
            definition = None if namespace == LIFECYCLE else self.get_definition(namespace)
            return definition.collection(collection) if definition else None
        except LifecycleError:
            # Whoever may write `_lifecycle` may write nonsense there; it defines no collection.
            return None

    def is_eligible(self, namespace: str, collection: str) -> bool:
        """Whether this peer may hold the collection's data."""
        config = self.find(namespace, collection)
        return config is not None and self.is_member(config.member_orgs_policy.signature_policy)

    def expires(self, namespace: str, collection: str, block: int) -> int | None:
        """Return the block at whose commit data written in `block` goes, None for never.

        core/ledger/pvtdatapolicy/btlpolicy.go fn GetExpiringBlock.
        """
        config = self.find(namespace, collection)
        if config is None or not config.block_to_live:
            return None
        expires = block + int(config.block_to_live) + 1
        return expires if expires <= _LAST_BLOCK else None


def list_needs(
    number: int, transactions: Sequence[CheckedTransaction], codes: Sequence[int]
) -> list[PrivateNeed]:
    """Return every private write set that the transactions valid so far refer to."""
    return [
        PrivateNeed(
            number,
            index,
            checked.tx_id,
            part.namespace,
            collection.name,
            collection.pvt_hash,
            checked.endorser_ids,
        )
        for index, checked in enumerate(transactions)
        if codes[index] == VALID and checked.is_endorsed
        for part in checked.rwset.namespaces
        for collection in part.collections
        if collection.pvt_hash
    ]


def find_matching(need: PrivateNeed, candidates: Iterable[bytes]) -> PrivateCollection | None:
    """Return the collection in one of several TxPvtReadWriteSets whose hash is the one needed."""
    for raw in candidates:
        try:
            parts = open_private_rwset(raw)
        except MalformedRwset:
            continue
        for part in parts:
            if (part.namespace, part.collection) == need[3:5] and part.digest == need.digest:
                return part
    return None


def list_changes(
    number: int,
    codes: Sequence[int],
    private: Mapping[int, Sequence[PrivateCollection]],
    updates: UpdateBatch,
    reader: StateReader,
) -> list[PrivateChange]:
    """Return what the private keys of the valid transactions become.

    A transaction that changes only the metadata of a key raises its hash's version; the value's
    version follows, if this peer has the value that the hash is of.
    """
    changes: dict[tuple[str, str, str], PrivateChange] = {}
    touched: set[tuple[str, str, str]] = set()
    for index in sorted(private):
        if codes[index] != VALID:
            continue
        for part in private[index]:
            for change in changes_of(part, Version(number, index)):
                changes[change[:3]] = change
            touched.update(
                (part.namespace, part.collection, write.key)
                for write in _open(part).metadata_writes
            )
    for at in sorted(touched):
        _follow_version(at, changes, updates, reader)
    return list(changes.values())


def changes_of(part: PrivateCollection, version: Version) -> Iterator[PrivateChange]:
    """Yield what one private write set does to its keys."""
    for write in _open(part).writes:
        value = None if is_delete(write) else write.value
        yield PrivateChange(part.namespace, part.collection, write.key, value, version)


def _open(part: PrivateCollection) -> Any:
    """Return the private set; one that does not parse, though its hash is right, writes nothing.

    Only colluding endorsers can make one; a real peer stops there.
    """
    try:
        return part.open()
    except MalformedRwset:
        return PrivateCollection(part.namespace, part.collection, b"").open()


def _follow_version(
    at: tuple[str, str, str],
    changes: dict[tuple[str, str, str], PrivateChange],
    updates: UpdateBatch,
    reader: StateReader,
) -> None:
    namespace, collection, key = at
    hashed = updates.get_hashed(namespace, collection, sha256(key.encode()).digest())
    latest = changes.get(at) or reader.get_private(namespace, collection, key)
    if hashed is None or latest is None or latest.value is None:
        return
    if latest.version != hashed.version and sha256(latest.value).digest() == hashed.value:
        changes[at] = PrivateChange(*at, latest.value, hashed.version)
