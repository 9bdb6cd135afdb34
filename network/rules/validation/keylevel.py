"""Which endorsement policies a transaction must satisfy in one namespace, and whether it does.

A key with its own policy is judged by that one instead of the chaincode's; a collection's policy
stands in for the chaincode's; each is evaluated once, and all involved must pass. An earlier
transaction of the block that changed a key's policy invalidates later writers of the key.
Source: core/common/validation/statebased/{validator_keylevel,v20,vpmanagerimpl}.go.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fabric_protos.common import policies_pb2
from google.protobuf.message import DecodeError

from network.rules.channel.config import ChannelConfig
from network.rules.identity.identity import Identity
from network.rules.lifecycle.definitions import ChaincodeDefinition
from network.rules.lifecycle.policies import collection_policy
from network.rules.policy.application import signature_policy
from network.rules.policy.evaluation import MalformedPolicy
from network.rules.state.rwset import VALIDATION_PARAMETER, NamespaceRwset, open_metadata
from network.rules.state.snapshot import StateReader

LedgerKey = tuple[str, str, str | bytes]
"""(namespace, collection or "", key or key hash)."""


@dataclass(slots=True)
class ChangedPolicies:
    """The keys whose metadata earlier transactions of this block changed, if endorsed well."""

    keys: set[LedgerKey] = field(default_factory=set)

    def add(self, part: NamespaceRwset) -> None:
        """Note the metadata writes of a transaction that passed in this namespace."""
        self.keys.update(_metadata_keys(part))


@dataclass(frozen=True, slots=True)
class EndorsementCheck:
    """One transaction's endorsers before the policies of one namespace."""

    config: ChannelConfig
    reader: StateReader
    namespace: str
    definition: ChaincodeDefinition
    policy: bytes
    endorsers: Sequence[Identity]

    def is_satisfied(self, part: NamespaceRwset | None, changed: ChangedPolicies) -> bool:
        """Whether every policy involved is satisfied; a read-only set needs the chaincode's."""
        checked: set[str] = set()
        any_checked = False
        for key in _written_keys(part) if part else ():
            if key in changed.keys:
                return False
            own = self._key_policy(key)
            if own is None:
                return False
            if own:
                if not self._evaluate(own):
                    return False
                any_checked = True
            elif not self._check_group(key[1], checked):
                return False
        return any_checked or bool(checked) or self._evaluate(self.policy)

    def _check_group(self, collection: str, checked: set[str]) -> bool:
        """Evaluate the policy of a collection, or of the chaincode for "", once."""
        if collection in checked:
            return True
        policy = self.policy
        if collection:
            found = collection_policy(self.config, self.definition, collection)
            if found is None:
                return False
            policy = found
        checked.add(collection)
        return self._evaluate(policy)

    def _key_policy(self, key: LedgerKey) -> bytes | None:
        """Return the key's policy, b"" without one; None when what is stored is no policy.

        There a real peer stops; here the key just cannot be written any more.
        """
        namespace, collection, name = key
        if isinstance(name, str):
            found = self.reader.get_state(namespace, name)
        else:
            found = self.reader.get_private_hash(namespace, collection, name)
        stored = open_metadata(found.metadata).get(VALIDATION_PARAMETER) if found else None
        if not stored:
            return b""
        try:
            return signature_policy(policies_pb2.SignaturePolicyEnvelope.FromString(stored))
        except DecodeError:
            return None

    def _evaluate(self, policy: bytes) -> bool:
        try:
            return self.config.application_policy(policy).check_identities(self.endorsers)
        except MalformedPolicy:
            return False


def _written_keys(part: NamespaceRwset) -> Iterator[LedgerKey]:
    """Yield what is written in Fabric's order: values, metadata, hashes, hashed metadata."""
    for write in part.kv.writes:
        yield part.namespace, "", write.key
    for write in part.kv.metadata_writes:
        yield part.namespace, "", write.key
    for collection in part.collections:
        for write in collection.hashed.hashed_writes:
            yield part.namespace, collection.name, write.key_hash
    for collection in part.collections:
        for write in collection.hashed.metadata_writes:
            yield part.namespace, collection.name, write.key_hash


def _metadata_keys(part: NamespaceRwset) -> Iterator[LedgerKey]:
    for write in part.kv.metadata_writes:
        yield part.namespace, "", write.key
    for collection in part.collections:
        for write in collection.hashed.metadata_writes:
            yield part.namespace, collection.name, write.key_hash
