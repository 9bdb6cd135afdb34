"""An endorsement policy as definitions and collections hold it: `protos.ApplicationPolicy`.

It is a signature policy of its own, or the path of one of the channel's policies.
Source: core/policy/application.go.
"""

from typing import Any, Protocol

from fabric_protos.peer import policy_pb2
from google.protobuf.message import DecodeError

from network.rules.identity.msp import MspManager
from network.rules.policy.evaluation import MalformedPolicy, Policy, SignaturePolicy


class PolicySource(Protocol):
    """What compiling an application policy asks of a channel's configuration."""

    @property
    def msps(self) -> MspManager:
        """The channel's MSPs."""
        ...

    def find_policy(self, path: str) -> Policy | None:
        """Return the channel policy at a path such as /Channel/Application/Writers, or None."""
        ...


def policy_reference(path: str) -> bytes:
    """Return the ApplicationPolicy that refers to a channel policy."""
    policy = policy_pb2.ApplicationPolicy(channel_config_policy_reference=path)
    return bytes(policy.SerializeToString())


def signature_policy(envelope: Any) -> bytes:
    """Return the ApplicationPolicy that holds a SignaturePolicyEnvelope."""
    policy = policy_pb2.ApplicationPolicy()
    policy.signature_policy.SetInParent()
    policy.signature_policy.CopyFrom(envelope)
    return bytes(policy.SerializeToString())


def compile_application_policy(data: bytes, source: PolicySource) -> Policy:
    """Return the policy in ApplicationPolicy bytes: its own signature policy or a channel policy.

    `core/policy/application.go` fn Evaluate. Raises `MalformedPolicy`.
    """
    message = policy_pb2.ApplicationPolicy()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise MalformedPolicy(f"failed to unmarshal ApplicationPolicy bytes: {error}") from None
    kind = message.WhichOneof("Type")
    if kind == "signature_policy":
        try:
            return SignaturePolicy(message.signature_policy, source.msps)
        except MalformedPolicy as error:
            raise MalformedPolicy(
                f"could not create evaluator for signature policy: {error}"
            ) from None
    if kind == "channel_config_policy_reference":
        path = message.channel_config_policy_reference
        policy = source.find_policy(path)
        if policy is None:
            raise MalformedPolicy(
                "could not create evaluator for channel reference policy: "
                f"failed to retrieve policy for reference {path}"
            )
        return policy
    raise MalformedPolicy("unsupported policy type <nil>")
