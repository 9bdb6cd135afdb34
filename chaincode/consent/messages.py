"""What the consent contract's transactions take and give, and its events; forms as in `model`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from chaincode.consent.model import (
    Actor,
    BreakGlassGrant,
    Capacity,
    Consent,
    DataItem,
    Decision,
    Directive,
    ReviewOutcome,
    Status,
)


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """A consent to be written. `id` is a random handle made by the client."""

    id: str
    patient: str
    directive: Directive


@dataclass(frozen=True, slots=True)
class AmendRequest:
    """A consent's new directive in place of version `based_on`."""

    id: str
    based_on: int
    directive: Directive


@dataclass(frozen=True, slots=True)
class RevokeRequest:
    """That version `based_on` holds no longer; `reason` is a code of `codes.REVOCATION_REASONS`.

    A custodian binds the patient's document with `commitment` (hex SHA-256).
    """

    id: str
    based_on: int
    reason: str = "patient-request"
    commitment: str = ""


@dataclass(frozen=True, slots=True)
class ConsentReceipt:
    """What a change left on the ledger. `digest` is that of the canonical directive."""

    id: str
    version: int
    patient: str
    status: Status
    digest: str
    recorded_at: datetime
    tx_id: str


@dataclass(frozen=True, slots=True)
class ConsentPage:
    """A page of consents, or of one consent's versions; an empty bookmark ends it."""

    consents: tuple[Consent, ...]
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """A question to `Evaluate` and `Explain`; without an actor the caller asks for themself."""

    patient: str
    purpose: str
    action: str = "access"
    data: tuple[DataItem, ...] = ()
    actor: Actor | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, and why, in words: one sentence a line."""

    decision: Decision
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BreakGlassRequest:
    """A declared emergency. `id` is a random handle, `purpose` BTG or ETREAT.

    `reason` is a code of `codes.EMERGENCY_REASONS`, `minutes` 0 means the policy's; `commitment`
    (hex SHA-256) binds a fuller account that stays off chain.
    """

    id: str
    patient: str
    reason: str
    purpose: str = "BTG"
    minutes: int = 0
    commitment: str = ""


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """A privacy officer's closing word on a break-glass grant."""

    id: str
    outcome: ReviewOutcome
    commitment: str = ""


@dataclass(frozen=True, slots=True)
class GrantList:
    """All break-glass grants on one patient, by id."""

    grants: tuple[BreakGlassGrant, ...]


@dataclass(frozen=True, slots=True)
class ConsentChanged:
    """Events `consent.Granted`, `consent.Amended` and `consent.Revoked`."""

    id: str
    version: int
    patient: str
    status: Status
    digest: str
    capacity: Capacity


@dataclass(frozen=True, slots=True)
class BreakGlassDeclared:
    """Event `consent.BreakGlassDeclared`: for the patient's and the privacy officers' notice."""

    id: str
    patient: str
    msp_id: str
    custodian: str
    purpose: str
    reason: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class BreakGlassReviewed:
    """Event `consent.BreakGlassReviewed`."""

    id: str
    patient: str
    outcome: ReviewOutcome
