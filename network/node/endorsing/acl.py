"""Who may use what on this peer: channel policies for channel resources, the local MSP for its own.

Texts are those of Fabric's `core/policy/policy.go` and `core/aclmgmt`, which clients see.
"""

from __future__ import annotations

from collections.abc import Callable

from fabric_protos.msp import msp_principal_pb2

from network.rules.channel.acls import LOCAL_POLICIES
from network.rules.channel.config import ChannelConfig
from network.rules.envelope import SignedData
from network.rules.identity.identity import Identity, IdentityError, verify_signature
from network.rules.identity.msp import Msp
from network.rules.identity.principals import role_principal
from network.rules.policy.evaluation import PolicyUnsatisfied

_ROLES = {
    "Admins": msp_principal_pb2.MSPRole.ADMIN,
    "Members": msp_principal_pb2.MSPRole.MEMBER,
}


class AccessDenied(Exception):
    """The caller may not; the text is Fabric's."""


class AccessControl:
    """Judges callers by the newest channel configurations and the local MSP."""

    def __init__(self, local: Msp, get_config: Callable[[str], ChannelConfig | None]) -> None:
        self._local = local
        self._get_config = get_config

    def validate(self, resource: str, channel_id: str, signed: SignedData) -> None:
        """The signer may use the resource; its signature is verified here.

        Raises:
            AccessDenied: it may not, or the channel is unknown.
        """
        if resource in LOCAL_POLICIES:
            self.validate_local(LOCAL_POLICIES[resource], signed)
            return
        if not channel_id:
            raise AccessDenied(
                "Invalid channel ID name during check policy on signed data. "
                "Name must be different from nil."
            )
        self.validate_policy(self._path(resource, channel_id), channel_id, signed)

    def validate_policy(self, path: str, channel_id: str, signed: SignedData) -> None:
        """The signer satisfies the channel policy at `path`; its signature is verified here.

        Raises:
            AccessDenied: it does not, or the channel is unknown.
        """
        try:
            self._config(channel_id).policies.get(path).evaluate([signed])
        except PolicyUnsatisfied as error:
            raise _denied(channel_id, path, error) from None

    def validate_identity(self, resource: str, channel_id: str, identity: Identity) -> None:
        """The identity may use the channel resource; its signature has been verified already.

        Raises:
            AccessDenied: it may not.
        """
        path = self._path(resource, channel_id)
        try:
            self._config(channel_id).policies.get(path).evaluate_identities([identity])
        except PolicyUnsatisfied as error:
            raise _denied(channel_id, path, error) from None

    def _path(self, resource: str, channel_id: str) -> str:
        try:
            return self._config(channel_id).acl(resource)
        except KeyError:
            raise AccessDenied(f"Unmapped policy for {resource}") from None

    def _config(self, channel_id: str) -> ChannelConfig:
        config = self._get_config(channel_id)
        if config is None:
            raise AccessDenied(f"Failed to get policy manager for channel [{channel_id}]")
        return config

    def validate_local(self, policy: str, signed: SignedData) -> None:
        """The creator of a proposal is one of this organisation's "Admins" or "Members".

        Raises:
            AccessDenied: it is not.
        """
        self._validate_local(
            policy,
            signed,
            "Failed deserializing proposal creator",
            "Failed verifying that proposal's creator",
        )

    def validate_local_request(self, resource: str, signed: SignedData) -> None:
        """As `validate` for a local resource, in the words for what is not a proposal.

        Raises:
            AccessDenied: the signer may not use it.
        """
        self._validate_local(
            LOCAL_POLICIES[resource],
            signed,
            "failed deserializing signed data identity",
            "failed verifying that the signed data identity",
        )

    def _validate_local(
        self, policy: str, signed: SignedData, deserializing: str, verifying: str
    ) -> None:
        during = f"during channelless check policy with policy [{policy}]"
        try:
            identity = self._local.identity(signed.identity)
        except IdentityError as error:
            raise AccessDenied(f"{deserializing} {during}: [{error}]") from None
        try:
            self._local.satisfies(identity, role_principal(self._local.name, _ROLES[policy]))
        except IdentityError as error:
            raise AccessDenied(
                f"{verifying} satisfies local MSP principal {during}: [{error}]"
            ) from None
        try:
            verify_signature(identity, signed.data, signed.signature)
        except IdentityError as error:
            raise AccessDenied(str(error)) from None


def _denied(channel_id: str, path: str, error: PolicyUnsatisfied) -> AccessDenied:
    return AccessDenied(
        f"Failed evaluating policy on signed data during check policy on channel [{channel_id}] "
        f"with policy [{path}]: [{error}]"
    )
