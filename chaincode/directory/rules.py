"""What the directory accepts, as pure checks; `contract` reads, asks here, and writes.

Every `validate_*` raises InvalidArgument, Denied or Conflict with what is wrong and what to do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from chaincode.consent import codes
from chaincode.consent.dates import open_period
from chaincode.directory.model import (
    Basis,
    Capacity,
    Delegation,
    DelegationRequest,
    KeyPublication,
    Organization,
    OrganizationRole,
    Patient,
    PatientRegistration,
    Policy,
    Standing,
)
from chaincode.errors import Conflict, Denied, InvalidArgument
from chaincode.phi import refuse_phi, validate_digest, validate_handle

_MSP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME = re.compile(r"[\w .,&'()/-]{1,80}")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*")
_TABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DELEGATE = re.compile(r"(user:[0-9a-f]{64})|(person:[0-9a-f]{32}(?:[0-9a-f]{32})?)")
MAX_BREAK_GLASS_MINUTES = 24 * 60
CUSTODIANS = frozenset(
    {OrganizationRole.PROVIDER, OrganizationRole.PAYER, OrganizationRole.PATIENT_TRUST}
)


def user_digest(msp_id: str, client_id: str) -> str:
    """Return the name under which the ledger knows a person: hex SHA-256 of MSP id and client id.

    The MSP id is part of it because a client id is only as unique as its issuer's name, and any
    organisation may name its CA as it likes.
    """
    return hashlib.sha256(f"{msp_id}\n{client_id}".encode()).hexdigest()


def majority(count: int) -> int:
    """How many of `count` organisations are a majority."""
    return count // 2 + 1


# --- organisations and policy ---------------------------------------------------------------


def validate_founding(organizations: Iterable[Organization], caller_msp_id: str) -> None:
    """Raise unless these organisations can found a consortium together with the caller's."""
    listed = list(organizations)
    for index, organization in enumerate(listed):
        validate_organization(organization, f"organizations[{index}]")
    ids = [o.msp_id for o in listed]
    if len(set(ids)) != len(ids):
        raise InvalidArgument("organizations: an MSP id is listed twice")
    if not any(o.endorses and o.active for o in listed):
        raise InvalidArgument("organizations: at least one must be active and endorse")
    if caller_msp_id not in ids:
        raise Denied("the caller's organisation must be among the founding organisations")


def validate_organization(organization: Organization, path: str = "organization") -> None:
    """Raise InvalidArgument unless the organisation is well formed."""
    if _MSP_ID.fullmatch(organization.msp_id) is None:
        raise InvalidArgument(f"{path}.mspId: expected an MSP id, as in the channel's config")
    if _NAME.fullmatch(organization.name) is None:
        raise InvalidArgument(f"{path}.name: expected 1 to 80 letters, digits and punctuation")
    if organization.domain and _DOMAIN.fullmatch(organization.domain) is None:
        raise InvalidArgument(f"{path}.domain: expected a DNS name in lower case")


def validate_version(given: int, current: int, what: str) -> None:
    """Raise Conflict unless a change is based on the current version."""
    if given != current:
        raise Conflict(
            f"the {what} is at version {current}, the change was based on {given}; read it again"
        )


def validate_policy(policy: Policy) -> None:
    """Raise InvalidArgument unless every setting has a meaning."""
    if policy.implicit and policy.implicit not in codes.IMPLICIT_POLICIES:
        known = ", ".join(sorted(codes.IMPLICIT_POLICIES))
        raise InvalidArgument(f"policy.implicit: not a known policy URI; known: {known}")
    if not 1 <= policy.break_glass_minutes <= MAX_BREAK_GLASS_MINUTES:
        raise InvalidArgument(f"policy.breakGlassMinutes: expected 1 to {MAX_BREAK_GLASS_MINUTES}")
    limits = {"default": policy.default_filing_days, **policy.filing_days}
    if any(days < 1 for days in limits.values()):
        raise InvalidArgument("policy.filingDays: expected at least one day")
    for name, digest in policy.tables.items():
        if _TABLE.fullmatch(name) is None:
            raise InvalidArgument("policy.tables: a table's name has other than letters and digits")
        validate_digest(digest, f"policy.tables.{name}")
    refuse_phi(policy.parameters, "policy.parameters")


# --- patients and delegations ---------------------------------------------------------------


def validate_registration(
    registration: PatientRegistration, organization: Organization | None, now: datetime
) -> None:
    """Raise unless an organisation may register this handle."""
    validate_handle(registration.handle, "registration.handle")
    if registration.commitment:
        validate_digest(registration.commitment, "registration.commitment")
    if organization is None or not organization.active:
        raise Denied("the caller's organisation is not a member of the consortium")
    if organization.role not in CUSTODIANS:
        raise Denied(f"an organisation of role {organization.role.value} keeps no patients")
    year = registration.majority_year
    if year is not None and not now.year <= year <= now.year + 30:
        raise InvalidArgument("registration.majorityYear: expected a year within the next 30")


def validate_delegation(
    request: DelegationRequest, standing: Standing, organization: Organization | None, now: datetime
) -> None:
    """Raise unless the caller, in `standing`, may delegate so; `organization` is the delegate's.

    A patient names whom they empower; what rests on law or a court is entered by the custodian, who
    keeps the document. A parent's standing ends at the latest with the year of majority.
    """
    validate_handle(request.id, "request.id")
    if _DELEGATE.fullmatch(request.delegate) is None:
        raise InvalidArgument("request.delegate: expected user:<digest> or person:<handle>")
    if organization is None or not organization.active:
        raise InvalidArgument("request.delegateMspId: not a member of the consortium")
    if not request.scope:
        raise InvalidArgument("request.scope: empty; name consent, access, audit or delegate")
    unknown = set(request.withheld) - codes.SENSITIVITIES
    if unknown:
        raise InvalidArgument("request.withheld: not a v3 sensitivity code")
    if request.commitment:
        validate_digest(request.commitment, "request.commitment")
    _validate_ground(request, standing)
    try:
        _, after = open_period(request.period.start, request.period.end)
    except ValueError as error:
        raise InvalidArgument(f"request.period: {error}") from None
    if after <= now:
        raise InvalidArgument("request.period: over already")
    _validate_minority(request, standing.patient, after)


def _validate_ground(request: DelegationRequest, standing: Standing) -> None:
    if standing.capacity is Capacity.PATIENT:
        if request.basis is not Basis.POWER_OF_ATTORNEY:
            raise Denied(f"basis {request.basis.value} is entered by the custodian, on documents")
        return
    if standing.capacity is Capacity.DELEGATE:
        delegation = standing.delegation
        held = set(delegation.scope) if delegation else set()
        if request.basis is not Basis.POWER_OF_ATTORNEY or not set(request.scope) <= held:
            raise Denied("a delegate may pass on no more than they hold, by power of attorney")
        return
    if not request.commitment:
        raise InvalidArgument("request.commitment: a custodian must bind the document it rests on")


def _validate_minority(request: DelegationRequest, patient: Patient, after: datetime) -> None:
    if request.basis is not Basis.PARENT:
        return
    if request.period.end is None:
        raise InvalidArgument(
            "request.period.end: a parent's delegation ends at majority; say when"
        )
    if patient.majority_year is None:
        raise Conflict("the patient is not registered as a minor (majorityYear)")
    if after > datetime(patient.majority_year + 1, 1, 1, tzinfo=UTC):
        raise InvalidArgument("request.period.end: after the year of the patient's majority")


def is_in_force(delegation: Delegation, now: datetime) -> bool:
    """Whether the delegation by itself holds at `now`; see `registry.is_in_force`."""
    if delegation.revoked_at is not None and delegation.revoked_at <= now:
        return False
    start, after = open_period(delegation.period.start, delegation.period.end)
    return start <= now < after


def names_caller(
    delegation: Delegation, msp_id: str, digest: str, attributes: Mapping[str, str]
) -> bool:
    """Whether the caller is this delegate."""
    if delegation.delegate_msp_id != msp_id:
        return False
    kind, _, name = delegation.delegate.partition(":")
    return name == (digest if kind == "user" else attributes.get("person"))


# --- encryption keys ------------------------------------------------------------------------


def read_key(publication: KeyPublication, now: datetime) -> tuple[str, datetime]:
    """Return the id of the key (hex SHA-256 of its SPKI) and the end of its certificate.

    Raises:
        InvalidArgument: not a P-256 key, not its certificate, or not valid at `now`.
    """
    try:
        key = load_der_public_key(publication.public_key)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidArgument("publication.publicKey: not a DER SubjectPublicKeyInfo") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidArgument("publication.publicKey: HPKE here needs a P-256 key")
    try:
        certificate = x509.load_pem_x509_certificate(publication.certificate.encode())
        certified = certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidArgument("publication.certificate: not an X.509 certificate in PEM") from None
    if certified != publication.public_key:
        raise InvalidArgument("publication.certificate: certifies another key")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise InvalidArgument("publication.certificate: not valid at the transaction's time")
    return hashlib.sha256(publication.public_key).hexdigest(), certificate.not_valid_after_utc


def validate_apart(publication: KeyPublication, signing: x509.Certificate) -> None:
    """Raise InvalidArgument if the key to encrypt to is the caller's signing key."""
    own = signing.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if own == publication.public_key:
        raise InvalidArgument("publication.publicKey: the caller's signing key; use another")


def narrowed(delegation: Delegation, held: Delegation) -> Delegation:
    """Return a delegation passed on by a delegate, within the limits of the one they hold.

    Raises InvalidArgument where it is longer than that one, Denied where it is wider.
    """
    start, after = open_period(delegation.period.start, delegation.period.end)
    held_start, held_after = open_period(held.period.start, held.period.end)
    if start < held_start or after > held_after:
        raise InvalidArgument("request.period: longer than the delegation it is passed on from")
    purposes = delegation.purposes or held.purposes
    if held.purposes and not set(purposes) <= set(held.purposes):
        raise Denied("a delegate may pass on no more than they hold: purposes")
    withheld = tuple(sorted({*delegation.withheld, *held.withheld}))
    return replace(delegation, purposes=purposes, withheld=withheld, passed_on_from=held.id)
