"""The values of the audit trail: an entry, a review, a log batch, an accounting of disclosures.

Entries name patients, records, consents and claims by handle, organisations by MSP id and people by
the digest of their client id; codes say what and why. Nothing in them is free text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What happened."""

    CONSENT_GRANTED = "consent-granted"
    CONSENT_AMENDED = "consent-amended"
    CONSENT_REVOKED = "consent-revoked"
    BREAK_GLASS = "break-glass"
    BREAK_GLASS_REVIEWED = "break-glass-reviewed"
    RECORD_ANCHORED = "record-anchored"
    RECORD_SUPERSEDED = "record-superseded"
    RECORD_WITHDRAWN = "record-withdrawn"
    RECORD_ERASED = "record-erased"
    ACCESS_DECIDED = "access-decided"
    ACCESS_RELEASED = "access-released"
    ACCESS_REVOKED = "access-revoked"
    ACCESS_RECEIVED = "access-received"
    ACCESS_REVIEWED = "access-reviewed"
    CLAIM_SUBMITTED = "claim-submitted"
    CLAIM_CHANGED = "claim-changed"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One event about one patient.

    `subject` is the handle of the consent, record, access, grant or claim; `verdict` the decision's
    (`PERMIT`, `DENY`, …) or the new status. `recipient_msp_id` and `recipient` are set when data
    went to somebody. `obligations` are v3-ActCode codes. The last five fields are the ledger's:
    `trail.record` fills them in from the transaction.
    """

    patient: str
    kind: Kind
    subject: str
    purpose: str = ""
    action: str = ""
    verdict: str = ""
    reason: str = ""
    consent_id: str = ""
    consent_version: int = 0
    consent_digest: str = ""
    records: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()
    custodian: str = ""
    recipient_msp_id: str = ""
    recipient: str = ""
    recipient_role: str = ""
    msp_id: str = ""
    user: str = ""
    role: str = ""
    at: datetime | None = None
    tx_id: str = ""


@dataclass(frozen=True, slots=True)
class TrailPage:
    """A page of a patient's trail, oldest first; an empty bookmark ends it."""

    entries: tuple[AuditEntry, ...]
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Disclosures to one recipient for one purpose, summarised: 45 CFR 164.528(b)(3).

    `exclusion` names why the rule does not ask for it (see `rules.EXCLUSIONS`), None if it counts.
    """

    recipient_msp_id: str
    recipient: str
    purpose: str
    classes: tuple[str, ...]
    first: datetime
    last: datetime
    count: int
    records: tuple[str, ...]
    consents: tuple[str, ...]
    exclusion: str | None = None


@dataclass(frozen=True, slots=True)
class Accounting:
    """An accounting of disclosures for one patient over a period of at most six years."""

    patient: str
    since: datetime
    until: datetime
    disclosures: tuple[Disclosure, ...]
    bookmark: str = ""


class ReviewKind(StrEnum):
    """What waits for a privacy officer (IHE PCF P.2.5)."""

    BREAK_GLASS = "break-glass"
    ACCESS_DENIED = "access-denied"


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """Something that the privacy officer of `msp_id` has to look at."""

    id: str
    kind: ReviewKind
    msp_id: str
    patient: str
    user: str
    purpose: str
    opened_at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """A page of open reviews, oldest first."""

    items: tuple[ReviewItem, ...]
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class LogBatch:
    """What an organisation commits to: events `first` to `last` of its log, as one Merkle root.

    Leaf i is the event with sequence number `first` + i, hashed as RFC 6962 leaves are.
    """

    log: str
    first: int
    last: int
    root: bytes

    @property
    def size(self) -> int:
        """How many events the batch holds."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class LogAnchor:
    """A batch as the ledger keeps it."""

    msp_id: str
    batch: LogBatch
    anchored_at: datetime
    tx_id: str


@dataclass(frozen=True, slots=True)
class LogHead:
    """Where an organisation's log stands: the last sequence number that is anchored."""

    last: int


@dataclass(frozen=True, slots=True)
class LogState:
    """A log by name, and the last sequence number that is anchored: 0 before the first batch."""

    msp_id: str
    log: str
    last: int


@dataclass(frozen=True, slots=True)
class LogStatePage:
    """A page of an organisation's logs; an empty bookmark ends it."""

    logs: tuple[LogState, ...]
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class LogBatchPage:
    """A page of a log's batches, oldest first; an empty bookmark ends it."""

    batches: tuple[LogAnchor, ...]
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class LogProof:
    """A claim that an event is in an anchored batch: `leaf` is the hash of the event's leaf."""

    msp_id: str
    log: str
    first: int
    sequence: int
    leaf: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """Whether the event is in the batch, and since when that is on the ledger."""

    valid: bool
    reason: str
    anchored_at: datetime
    tx_id: str
