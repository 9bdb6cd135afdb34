"""Who may register whom, and what a certificate says of its holder: the law of a Fabric CA.

Decisions only: the CA node keeps identities and signs. Sources: fabric-ca `lib/serverregister.go`,
`lib/attr/attribute.go`, `lib/serverenroll.go`, `lib/serverrevoke.go`; error codes
`lib/caerrors/servererror.go`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

ROLES = "hf.Registrar.Roles"
DELEGATE_ROLES = "hf.Registrar.DelegateRoles"
REGISTRAR_ATTRIBUTES = "hf.Registrar.Attributes"
REVOKER = "hf.Revoker"
GEN_CRL = "hf.GenCRL"
AFFILIATION_MANAGER = "hf.AffiliationMgr"
INTERMEDIATE_CA = "hf.IntermediateCA"
ENROLLMENT_ID = "hf.EnrollmentID"
TYPE = "hf.Type"
AFFILIATION = "hf.Affiliation"

_BOOLEAN = {REVOKER, GEN_CRL, AFFILIATION_MANAGER, INTERMEDIATE_CA}
_LISTS = {ROLES, DELEGATE_ROLES, REGISTRAR_ATTRIBUTES}
_FIXED = {ENROLLMENT_ID, TYPE, AFFILIATION}
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}

REVOCATION_REASONS = frozenset(
    {
        # RFC 5280 §5.3.1, as fabric-ca spells them; kept at the CA, not written into CRLs.
        "unspecified",
        "keycompromise",
        "cacompromise",
        "affiliationchanged",
        "superseded",
        "cessationofoperation",
        "certificatehold",
        "removefromcrl",
        "privilegewithdrawn",
        "aacompromise",
    }
)

REGISTRAR_GRANTS: Mapping[str, str] = {
    ROLES: "*",
    DELEGATE_ROLES: "*",
    REGISTRAR_ATTRIBUTES: "*",
    REVOKER: "true",
    GEN_CRL: "true",
    AFFILIATION_MANAGER: "true",
    INTERMEDIATE_CA: "true",
}
"""What a bootstrap administrator holds, as fabric-ca's own configuration grants it."""


class Code(IntEnum):
    """The error codes of fabric-ca that we answer with (`lib/caerrors/servererror.go`)."""

    UNKNOWN = 0
    METHOD_NOT_ALLOWED = 1
    NO_AUTHORIZATION = 2
    EMPTY_BODY = 4
    BAD_BODY = 5
    CERTIFICATE_NOT_FOUND = 8
    WRONG_OWNER = 9
    REVOKED_ID_NOT_FOUND = 10
    MISSING_REVOKE_ARGUMENTS = 15
    CA_NOT_FOUND = 19
    AUTHENTICATION = 20
    BAD_CSR = 31
    USER_NOT_FOUND = 63
    ALREADY_REVOKED = 66
    AUTHORIZATION = 71
    PASSWORD_ATTEMPTS = 73
    DUPLICATE_IDENTITY = 74
    NAME_MISMATCH = 77
    INVALID_MAX_ENROLLMENTS = 82


class EnrollmentRefused(Exception):
    """The CA says no: an HTTP status, fabric-ca's code, and a reason fit for the caller."""

    def __init__(self, status: int, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Attribute:
    """A named fact about an identity; `ecert` puts it into certificates without being asked."""

    name: str
    value: str
    ecert: bool = False


@dataclass(frozen=True, slots=True)
class AttributeRequest:
    """An attribute that an enrolment asks for; a missing one is an error unless optional."""

    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Registration:
    """An identity as the CA knows it. `max_enrollments` −1: no limit."""

    id: str
    type: str
    affiliation: str
    attributes: tuple[Attribute, ...]
    max_enrollments: int = -1
    enrollments: int = 0
    revoked: bool = False

    def attribute(self, name: str) -> str | None:
        """Return the value of an attribute, or None."""
        for attribute in self.attributes:
            if attribute.name == name:
                return attribute.value
        return None

    def holds(self, name: str) -> bool:
        """Return whether a boolean attribute is true."""
        return (self.attribute(name) or "") in _TRUE


def complete_registration(request: Registration) -> Registration:
    """Return the registration with the three facts that fabric-ca adds to every identity."""
    given = tuple(a for a in request.attributes if a.name not in _FIXED)
    added = (
        Attribute(ENROLLMENT_ID, request.id, ecert=True),
        Attribute(TYPE, request.type, ecert=True),
        Attribute(AFFILIATION, request.affiliation, ecert=True),
    )
    return replace(request, attributes=given + added)


def validate_registration(registrar: Registration, request: Registration) -> None:
    """Raise EnrollmentRefused unless `registrar` may register `request`."""
    validate_type(registrar, request.type)
    validate_affiliation(registrar, request.affiliation)
    for attribute in request.attributes:
        _validate_attribute(registrar, attribute)


def validate_type(registrar: Registration, wanted: str) -> None:
    """Raise unless the registrar's hf.Registrar.Roles covers the type."""
    roles = _items(registrar.attribute(ROLES))
    if "*" not in roles and wanted not in roles:
        raise EnrollmentRefused(
            403,
            Code.AUTHORIZATION,
            f"'{registrar.id}' may not register type '{wanted}': its {ROLES} is "
            f"'{registrar.attribute(ROLES) or ''}'",
        )


def validate_affiliation(caller: Registration, affiliation: str) -> None:
    """Raise unless the affiliation is the caller's own or lies below it."""
    own = caller.affiliation
    if own and affiliation != own and not affiliation.startswith(own + "."):
        raise EnrollmentRefused(
            403,
            Code.AUTHORIZATION,
            f"'{caller.id}' of affiliation '{own}' may not act on affiliation '{affiliation}'",
        )


def validate_revocation(caller: Registration, owner: Registration) -> None:
    """Raise unless the caller may revoke the owner's certificates; one's own always."""
    if caller.id == owner.id:
        return
    if not caller.holds(REVOKER):
        raise EnrollmentRefused(
            403, Code.AUTHORIZATION, f"'{caller.id}' has no authority to revoke: it lacks {REVOKER}"
        )
    validate_affiliation(caller, owner.affiliation)
    validate_type(caller, owner.type)


def certificate_attributes(
    identity: Registration, requests: Sequence[AttributeRequest] | None
) -> dict[str, str]:
    """Return the attributes that a certificate carries.

    Without requests: those registered with `ecert`. With requests: exactly the requested ones that
    the identity has; raises EnrollmentRefused if a required one is missing.
    """
    if requests is None:
        return {a.name: a.value for a in identity.attributes if a.ecert}
    missing = [r.name for r in requests if not r.optional and identity.attribute(r.name) is None]
    if missing:
        raise EnrollmentRefused(
            400,
            Code.UNKNOWN,
            f"the identity lacks required attributes: {', '.join(missing)}",
        )
    values = {r.name: identity.attribute(r.name) for r in requests}
    return {name: value for name, value in values.items() if value is not None}


def organizational_units(identity: Registration) -> tuple[str, ...]:
    """Return a certificate's OUs: the type, then the affiliation from its root down."""
    path = identity.affiliation.split(".") if identity.affiliation else []
    return (identity.type, *path)


def _validate_attribute(registrar: Registration, attribute: Attribute) -> None:
    allowed = _items(registrar.attribute(REGISTRAR_ATTRIBUTES))
    if not any(_covers(pattern, attribute.name) for pattern in allowed):
        raise _attribute_refused(
            registrar, attribute, f"its {REGISTRAR_ATTRIBUTES} does not cover the name"
        )
    if attribute.name in _FIXED:
        raise _attribute_refused(registrar, attribute, "the CA alone sets it")
    if attribute.name in _BOOLEAN and not registrar.holds(attribute.name):
        raise _attribute_refused(registrar, attribute, "the registrar does not own it")
    if attribute.name in _LISTS:
        owned = _items(registrar.attribute(attribute.name))
        wanted = _items(attribute.value)
        if "*" not in owned and not wanted <= owned:
            raise _attribute_refused(registrar, attribute, "it names more than the registrar owns")


def _attribute_refused(
    registrar: Registration, attribute: Attribute, why: str
) -> EnrollmentRefused:
    return EnrollmentRefused(
        403,
        Code.AUTHORIZATION,
        f"'{registrar.id}' may not register attribute '{attribute.name}': {why}",
    )


def _covers(pattern: str, name: str) -> bool:
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return name.startswith(pattern[:-1])
    return pattern == name


def _items(value: str | None) -> set[str]:
    return {item.strip() for item in (value or "").split(",") if item.strip()}


def registrations_below(
    caller: Registration, identities: Iterable[Registration]
) -> list[Registration]:
    """Return the identities that a caller may see: those of its affiliation and types."""
    roles = _items(caller.attribute(ROLES))
    return [
        identity
        for identity in identities
        if ("*" in roles or identity.type in roles)
        and (
            not caller.affiliation
            or identity.affiliation == caller.affiliation
            or identity.affiliation.startswith(caller.affiliation + ".")
        )
    ]
