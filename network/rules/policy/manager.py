"""The tree of a channel's policies, found by path as Fabric finds them.

Source: Fabric `common/policies/policy.go` (ManagerImpl).
"""

from collections.abc import Mapping, Sequence

from fabric_protos.common import configtx_pb2, policies_pb2
from google.protobuf.message import DecodeError

from network.rules.identity.msp import MspManager
from network.rules.policy.evaluation import (
    ImplicitMetaPolicy,
    MalformedPolicy,
    Policy,
    RejectingPolicy,
    SignaturePolicy,
)

CHANNEL_READERS = "/Channel/Readers"
CHANNEL_WRITERS = "/Channel/Writers"
CHANNEL_ADMINS = "/Channel/Admins"
APPLICATION_READERS = "/Channel/Application/Readers"
APPLICATION_WRITERS = "/Channel/Application/Writers"
APPLICATION_ADMINS = "/Channel/Application/Admins"
LIFECYCLE_ENDORSEMENT = "/Channel/Application/LifecycleEndorsement"
ENDORSEMENT = "/Channel/Application/Endorsement"
BLOCK_VALIDATION = "/Channel/Orderer/BlockValidation"
ORDERER_READERS = "/Channel/Orderer/Readers"
ORDERER_WRITERS = "/Channel/Orderer/Writers"
ORDERER_ADMINS = "/Channel/Orderer/Admins"


class PolicyManager:
    """The policies of one configuration group and, by relative path, of the groups below it."""

    def __init__(self, path: str, group: configtx_pb2.ConfigGroup, msps: MspManager) -> None:
        self._path = path
        self._managers: dict[str, PolicyManager] = {
            name: PolicyManager(f"{path}/{name}", child, msps)
            for name, child in group.groups.items()
        }
        self._policies: dict[str, Policy] = {
            name: self._compile(name, entry, msps) for name, entry in group.policies.items()
        }
        for name, manager in self._managers.items():
            for below, policy in manager._policies.items():
                self._policies[f"{name}/{below}"] = policy

    @property
    def policies(self) -> Mapping[str, Policy]:
        """Every policy at or below this group, by path relative to it."""
        return self._policies

    def get(self, name: str) -> Policy:
        """Return the policy of an absolute or relative name, for unknown names one that rejects."""
        return self.find(name) or RejectingPolicy(name)

    def find(self, name: str) -> Policy | None:
        """Return the policy of an absolute or relative name, or None."""
        if name.startswith("/"):
            # Absolute names work only for this group and what is below it.
            if not name.startswith(f"/{self._path}/"):
                return None
            name = name.removeprefix(f"/{self._path}/")
        return self._policies.get(name)

    def manager(self, path: Sequence[str]) -> "PolicyManager | None":
        """Return the manager of a group below this one, or None."""
        manager: PolicyManager | None = self
        for name in path:
            manager = manager._managers.get(name) if manager is not None else None
        return manager

    def _compile(self, name: str, entry: configtx_pb2.ConfigPolicy, msps: MspManager) -> Policy:
        if not entry.HasField("policy"):
            raise MalformedPolicy(f"policy {name} at path {self._path} was nil")
        kind, value = entry.policy.type, entry.policy.value
        try:
            if kind == policies_pb2.Policy.IMPLICIT_META:
                definition = policies_pb2.ImplicitMetaPolicy.FromString(value)
                children = {
                    child: manager.get(definition.sub_policy)
                    for child, manager in self._managers.items()
                }
                return ImplicitMetaPolicy(definition, children, msps)
            if kind == policies_pb2.Policy.SIGNATURE:
                envelope = policies_pb2.SignaturePolicyEnvelope.FromString(value)
                if envelope.version != 0:
                    raise MalformedPolicy(
                        "This evaluator only understands messages of version 0, "
                        f"but version was {envelope.version}"
                    )
                return SignaturePolicy(envelope, msps)
        except (DecodeError, ValueError) as error:
            is_implicit = kind == policies_pb2.Policy.IMPLICIT_META
            what = "implicit policy" if is_implicit else "policy"
            text = str(error)
            if isinstance(error, DecodeError):
                message = "ImplicitMetaPolicy" if is_implicit else "SignaturePolicy"
                text = (
                    f"Error unmarshalling to {message}: proto: cannot parse invalid wire-format "
                    "data"
                )
            raise MalformedPolicy(
                f"{what} {name} at path {self._path} did not compile: {text}"
            ) from None
        raise MalformedPolicy(f"policy {name} at path {self._path} has unknown policy type: {kind}")
