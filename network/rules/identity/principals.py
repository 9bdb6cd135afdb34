"""Principals: what a policy can demand of an identity.

Source: Fabric `msp/mspimpl.go` fn satisfiesPrincipalInternalV142, V13, PreV13, collectPrincipals.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from fabric_protos.msp import msp_principal_pb2
from google.protobuf.message import DecodeError

from network.rules.identity.chains import InvalidChain
from network.rules.identity.identity import Identity, IdentityError
from network.rules.identity.nodeous import NodeOUs

_ROLE = msp_principal_pb2.MSPRole
_KIND = msp_principal_pb2.MSPPrincipal


class PrincipalUnsatisfied(IdentityError):
    """The identity does not satisfy the principal; the text is Fabric's."""


class Membership(Protocol):
    """What deciding a principal asks of an MSP."""

    name: str

    @property
    def node_ous(self) -> NodeOUs | None:
        """The role OUs, or None when roles cannot be told apart."""
        ...

    @property
    def version(self) -> int:
        """The rules in force, a `network.rules.identity.msp.MspVersion`."""
        ...

    def identity(self, serialized: bytes) -> Identity:
        """Return the identity in SerializedIdentity bytes."""
        ...

    def validate(self, identity: Identity) -> None:
        """Return when the identity is valid."""
        ...

    def is_admin_certificate(self, identity: Identity) -> bool:
        """Tell whether the certificate is listed as an admin's."""
        ...

    def certifiers_identifier(self, identity: Identity) -> bytes:
        """Return the hash of the identity's CA chain."""
        ...


def role_principal(msp_id: str, role: int) -> msp_principal_pb2.MSPPrincipal:
    """Return the principal "any identity of this MSP in this role"."""
    value = _ROLE(msp_identifier=msp_id, role=role).SerializeToString()
    return _KIND(principal_classification=_KIND.ROLE, principal=value)


def flatten_principal(
    principal: msp_principal_pb2.MSPPrincipal, *, combined: bool
) -> Iterator[msp_principal_pb2.MSPPrincipal]:
    """Yield the principal, or the parts of a COMBINED one, nested ones opened too.

    Raises `PrincipalUnsatisfied` for a COMBINED one that is empty or, unless `combined`, at all.
    """
    if principal.principal_classification != _KIND.COMBINED:
        yield principal
        return
    if not combined:
        raise PrincipalUnsatisfied(f"invalid principal type {principal.principal_classification}")
    parts = _open(msp_principal_pb2.CombinedPrincipal(), principal, "CombinedPrincipal")
    if not parts.principals:
        raise PrincipalUnsatisfied("No principals in CombinedPrincipal")
    for part in parts.principals:
        yield from flatten_principal(part, combined=combined)


def evaluate_principal(
    msp: Membership, identity: Identity, principal: msp_principal_pb2.MSPPrincipal
) -> None:
    """Return when the identity satisfies one plain principal; raises `IdentityError`."""
    kind = principal.principal_classification
    if kind == _KIND.ROLE:
        _evaluate_role(msp, identity, _open(_ROLE(), principal, "MSPRole"))
    elif kind == _KIND.IDENTITY:
        _evaluate_identity(msp, identity, principal.principal)
    elif kind == _KIND.ORGANIZATION_UNIT:
        unit = _open(msp_principal_pb2.OrganizationUnit(), principal, "OrganizationUnit")
        _evaluate_unit(msp, identity, unit)
    elif kind == _KIND.ANONYMITY and msp.version >= 2:
        _evaluate_anonymity(principal)
    else:
        raise PrincipalUnsatisfied(f"invalid principal type {kind}")


def _evaluate_role(msp: Membership, identity: Identity, role: msp_principal_pb2.MSPRole) -> None:
    _validate_msp(msp, identity, role.msp_identifier)
    # Since 1.4.3, with NodeOUs, admins are recognised by OU too and orderers have a role.
    modern = msp.version >= 3 and msp.node_ous is not None
    if role.role == _ROLE.MEMBER:
        msp.validate(identity)
    elif role.role == _ROLE.ADMIN:
        # A listed admin certificate is not validated again: it was when the MSP was set up.
        if msp.is_admin_certificate(identity):
            return
        if not modern:
            raise PrincipalUnsatisfied("This identity is not an admin")
        _evaluate_node_role(msp, identity, role.role, "an admin")
    elif role.role in (_ROLE.CLIENT, _ROLE.PEER) or (role.role == _ROLE.ORDERER and modern):
        _evaluate_node_role(msp, identity, role.role, f"a [{_ROLE.MSPRoleType.Name(role.role)}]")
    else:
        raise PrincipalUnsatisfied(f"invalid MSP role type {role.role}")


def _evaluate_node_role(msp: Membership, identity: Identity, role: int, what: str) -> None:
    try:
        msp.validate(identity)
    except IdentityError as error:
        raise PrincipalUnsatisfied(
            f"The identity is not valid under this MSP [{msp.name}]: {error}"
        ) from None
    if msp.node_ous is None:
        doubt: str | None = "NodeOUs not activated. Cannot tell apart identities."
    else:
        doubt = msp.node_ous.find_missing_role(identity.ous, role, msp.name)
    if doubt is not None:
        raise PrincipalUnsatisfied(
            f"The identity is not {what} under this MSP [{msp.name}]: {doubt}"
        )


def _evaluate_identity(msp: Membership, identity: Identity, serialized: bytes) -> None:
    try:
        wanted = msp.identity(serialized)
    except IdentityError as error:
        raise PrincipalUnsatisfied(
            f"invalid identity principal, not a certificate: {error}"
        ) from None
    if wanted.der != identity.der:
        raise PrincipalUnsatisfied("The identities do not match")
    msp.validate(wanted)


def _evaluate_unit(
    msp: Membership, identity: Identity, unit: msp_principal_pb2.OrganizationUnit
) -> None:
    _validate_msp(msp, identity, unit.msp_identifier)
    msp.validate(identity)
    try:
        certifiers = msp.certifiers_identifier(identity)
    except InvalidChain:
        certifiers = b""
    named = unit.organizational_unit_identifier in identity.ous
    if not named or unit.certifiers_identifier != certifiers:
        raise PrincipalUnsatisfied("The identities do not match")


def _evaluate_anonymity(principal: msp_principal_pb2.MSPPrincipal) -> None:
    anonymity = _open(msp_principal_pb2.MSPIdentityAnonymity(), principal, "MSPIdentityAnonymity")
    kinds = msp_principal_pb2.MSPIdentityAnonymity
    if anonymity.anonymity_type == kinds.ANONYMOUS:
        raise PrincipalUnsatisfied(
            "Principal is anonymous, but X.509 MSP does not support anonymous identities"
        )
    if anonymity.anonymity_type != kinds.NOMINAL:
        raise PrincipalUnsatisfied(f"Unknown principal anonymity type: {anonymity.anonymity_type}")


def _validate_msp(msp: Membership, identity: Identity, wanted: str) -> None:
    if wanted != msp.name:
        raise PrincipalUnsatisfied(
            "the identity is a member of a different MSP "
            f"(expected {wanted}, got {identity.msp_id})"
        )


def _open(message: Any, principal: msp_principal_pb2.MSPPrincipal, name: str) -> Any:
    try:
        message.ParseFromString(principal.principal)
    except DecodeError as error:
        raise PrincipalUnsatisfied(f"could not unmarshal {name} from principal: {error}") from None
    return message
