"""The values of the directory and their wire form (canonical JSON, camelCase names)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from chaincode.consent.model import Combining, ConsentPolicy, Period

UNBOUNDED = Period()


class OrganizationRole(StrEnum):
    """What an organisation is in the consortium."""

    PROVIDER = "provider"
    PAYER = "payer"
    PATIENT_TRUST = "patient-trust"
    REGULATOR = "regulator"


@dataclass(frozen=True, slots=True)
class Organization:
    """A member of the consortium. `endorses`: it has peers, so it counts for the majority."""

    msp_id: str
    name: str
    role: OrganizationRole
    domain: str = ""
    endorses: bool = True
    active: bool = True
    version: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """What the consortium has agreed on; changed only with a majority's endorsement.

    `implicit` is an IHE PCF policy URI or empty (none). `filing_days` is the timely-filing limit
    by payer's MSP id, `default_filing_days` for the others. `tables` maps a table's name to the hex
    SHA-256 of its content; `parameters` holds settings of single contracts, by name.
    """

    version: int = 0
    combining: Combining = Combining.DENY_OVERRIDES
    implicit: str = ""
    break_glass_overrides: bool = True
    break_glass_minutes: int = 60
    default_filing_days: int = 365
    filing_days: dict[str, int] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def consent(self) -> ConsentPolicy:
        """The part that decisions on consent depend on."""
        return ConsentPolicy(
            self.combining, self.implicit, self.break_glass_overrides, self.version
        )

    def filing_limit(self, payer_msp_id: str) -> int:
        """Days after the service within which a claim must reach the payer."""
        return self.filing_days.get(payer_msp_id, self.default_filing_days)


@dataclass(frozen=True, slots=True)
class Consortium:
    """That the consortium was founded, when, and who counts for a majority now."""

    founded_at: datetime
    endorsers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PatientRegistration:
    """What a custodian states of a patient: a random handle, and nothing about them.

    `commitment` (hex SHA-256) binds the custodian's own mapping; `majority_year` is the year in
    which a minor comes of age (a year is not an identifier, 45 CFR 164.514(b)(2)(i)(C)).
    """

    handle: str
    commitment: str = ""
    majority_year: int | None = None


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient as the ledger knows them."""

    handle: str
    custodian: str
    registered_at: datetime
    commitment: str = ""
    majority_year: int | None = None
    tx_id: str = ""


class Scope(StrEnum):
    """What a delegate may do for the patient."""

    CONSENT = "consent"
    ACCESS = "access"
    AUDIT = "audit"
    DELEGATE = "delegate"


class Basis(StrEnum):
    """The legal ground of a delegation."""

    PARENT = "parent"
    POWER_OF_ATTORNEY = "power-of-attorney"
    COURT = "court"


@dataclass(frozen=True, slots=True)
class DelegationRequest:
    """A delegation as it is asked for.

    `delegate` is `user:<digest>` or `person:<handle>` (certificate attribute `person`), a member of
    `delegate_msp_id`. `withheld` are sensitivities kept from the proxy (ADOL, SEX, …), `purposes`
    limit access (empty: all). `commitment` (hex SHA-256) binds the document it rests on.
    """

    id: str
    patient: str
    delegate: str
    delegate_msp_id: str
    basis: Basis
    scope: tuple[Scope, ...]
    period: Period = UNBOUNDED
    purposes: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    commitment: str = ""


@dataclass(frozen=True, slots=True)
class Delegation:
    """A delegation as it stands. It is in force within its period until `revoked_at`.

    `passed_on_from` is the delegation that it was passed on from, empty if none: with that one it
    ends as well.
    """

    id: str
    patient: str
    delegate: str
    delegate_msp_id: str
    basis: Basis
    scope: tuple[Scope, ...]
    period: Period
    purposes: tuple[str, ...]
    withheld: tuple[str, ...]
    commitment: str
    granted_by_msp_id: str
    granted_by: str
    granted_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str = ""
    passed_on_from: str = ""


@dataclass(frozen=True, slots=True)
class Delegated:
    """The ids of all delegations of one patient to one delegate, past ones too."""

    delegations: tuple[str, ...]


ORGANIZATION_SUBJECT = "org"


@dataclass(frozen=True, slots=True)
class KeyPublication:
    """An HPKE public key to be published: P-256, as hex SPKI, and its certificate in PEM.

    `subject` is `org` (the organisation's own) or `user` (the caller's).
    """

    public_key: bytes
    certificate: str
    subject: str = ORGANIZATION_SUBJECT


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """A published key. `id` is the hex SHA-256 of its SPKI; retired when a newer one came."""

    id: str
    msp_id: str
    subject: str
    version: int
    public_key: bytes
    certificate: str
    published_at: datetime
    not_after: datetime
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key's record lies."""

    msp_id: str
    subject: str
    version: int


class Capacity(StrEnum):
    """In what capacity somebody stands to a patient."""

    PATIENT = "patient"
    DELEGATE = "delegate"
    CUSTODIAN = "custodian"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Standing:
    """How the caller stands to a patient. `missing` says what would be needed, if NONE."""

    capacity: Capacity
    patient: Patient
    delegation: Delegation | None = None
    missing: str = ""

    @property
    def acts(self) -> bool:
        """Whether the caller may act for the patient at all."""
        return self.capacity is not Capacity.NONE


@dataclass(frozen=True, slots=True)
class OrganizationChanged:
    """Event `directory.OrganizationChanged`."""

    msp_id: str
    role: OrganizationRole
    version: int
    active: bool


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """Event `directory.PolicyChanged`."""

    version: int


@dataclass(frozen=True, slots=True)
class PatientRegistered:
    """Event `directory.PatientRegistered`."""

    patient: str
    custodian: str


@dataclass(frozen=True, slots=True)
class DelegationChanged:
    """Events `directory.Delegated` and `directory.DelegationRevoked`."""

    delegation: str
    patient: str


@dataclass(frozen=True, slots=True)
class KeyPublished:
    """Event `directory.KeyPublished`."""

    id: str
    msp_id: str
    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class OrganizationList:
    """All organisations, by MSP id."""

    organizations: tuple[Organization, ...]


@dataclass(frozen=True, slots=True)
class DelegationList:
    """All delegations of one patient, past ones too, by id."""

    delegations: tuple[Delegation, ...]


@dataclass(frozen=True, slots=True)
class PatientPage:
    """A page of patients of one custodian; an empty bookmark ends it."""

    patients: tuple[str, ...]
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class KeyPage:
    """A page of an organisation's keys; an empty bookmark ends it."""

    keys: tuple[EncryptionKey, ...]
    bookmark: str = ""
