"""Key-level endorsement policies: which organisations must endorse a change of one key.

The same bytes as Go's `pkg/statebased` makes: every listed organisation signs, organisations in
the order of their MSP ids.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2
from google.protobuf.message import DecodeError

from chaincode.errors import InvalidArgument


class RoleType(enum.IntEnum):
    """Which role of an organisation signs. Choose PEER where NodeOUs are on."""

    MEMBER = msp_principal_pb2.MSPRole.MEMBER
    PEER = msp_principal_pb2.MSPRole.PEER


@dataclass(slots=True)
class KeyEndorsementPolicy:
    """The organisations whose endorsement a key needs."""

    _roles: dict[str, int] = field(default_factory=dict)

    def add_orgs(self, role: RoleType, *msp_ids: str) -> None:
        """Require these organisations too, each with this role."""
        self._roles.update(dict.fromkeys(msp_ids, int(role)))

    def del_orgs(self, *msp_ids: str) -> None:
        """Require these organisations no longer."""
        for msp_id in msp_ids:
            self._roles.pop(msp_id, None)

    def list_orgs(self) -> list[str]:
        """The MSP ids required, sorted."""
        return sorted(self._roles)

    def build(self) -> bytes:
        """The `common.SignaturePolicyEnvelope` for `set_state_validation_parameter`."""
        return build_policy(len(self._roles), self._roles)


def open_key_endorsement_policy(raw: bytes | None) -> KeyEndorsementPolicy:
    """The policy in these bytes (None: an empty one). Raises InvalidArgument if unreadable."""
    policy = KeyEndorsementPolicy()
    try:
        envelope = policies_pb2.SignaturePolicyEnvelope.FromString(raw or b"")
        for principal in envelope.identities:
            if principal.principal_classification == msp_principal_pb2.MSPPrincipal.ROLE:
                role = msp_principal_pb2.MSPRole.FromString(principal.principal)
                policy._roles[role.msp_identifier] = role.role
    except DecodeError:
        raise InvalidArgument("not a signature policy") from None
    return policy


def build_policy(needed: int, roles: Mapping[str, int]) -> bytes:
    """The `common.SignaturePolicyEnvelope` that `needed` of these organisations satisfy.

    `roles` are the roles that sign, by MSP id.
    """
    principals = [
        msp_principal_pb2.MSPPrincipal(
            principal_classification=msp_principal_pb2.MSPPrincipal.ROLE,
            principal=msp_principal_pb2.MSPRole(
                msp_identifier=msp_id, role=roles[msp_id]
            ).SerializeToString(),
        )
        for msp_id in sorted(roles)
    ]
    rules = [policies_pb2.SignaturePolicy(signed_by=index) for index in range(len(principals))]
    raw: bytes = policies_pb2.SignaturePolicyEnvelope(
        rule=policies_pb2.SignaturePolicy(
            n_out_of=policies_pb2.SignaturePolicy.NOutOf(n=needed, rules=rules)
        ),
        identities=principals,
    ).SerializeToString()
    return raw
