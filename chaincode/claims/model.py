"""The public part of a claim: what every member of the channel sees.

Handles, parties, status, codes, salted commitments and keyed fingerprints; never an amount, a date
of service, a diagnosis or a procedure (those are `details`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from chaincode.claims.states import Outcome, Status
from chaincode.records.model import Membership


class Room(StrEnum):
    """Which private data collection holds the details.

    SHARED: `claims-<Provider>-<Payer>`. OWN: the payer's `_implicit_org_<MSPID>`, for claims that
    reached it by another channel and whose provider shares no collection with it.
    """

    SHARED = "shared"
    OWN = "own"


class Verdict(StrEnum):
    """What a check found, mildest first: PASSED to REJECTED; the last two found nothing out.

    FLAGGED changes nothing; PENDED, DENIED and REJECTED say what the payer's rules do with it;
    DEFERRED waits for facts that only the payer has, SKIPPED does not concern this claim.
    """

    PASSED = "passed"
    FLAGGED = "flagged"
    PENDED = "pended"
    DENIED = "denied"
    REJECTED = "rejected"
    DEFERRED = "deferred"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check found. `line` 0 is the claim; `related` the handle of another claim."""

    verdict: Verdict
    note: str
    group: str = ""
    carc: str = ""
    rarc: str = ""
    line: int = 0
    related: str = ""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check's verdict: the gravest of its findings."""

    check: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """An anchored record a claim rests on; `membership` brings one in from a batch."""

    record: str
    version: int
    membership: Membership | None = None


@dataclass(frozen=True, slots=True)
class Filing:
    """What somebody submits: the public part; the details travel in the transient field `claims`.

    `provider` is the MSP id of the organisation that billed, empty if it is none of ours;
    `commitment` is `commitment.CLAIM` over the salt and the canonical JSON of the details;
    `replaces` names the claim this one corrects, `coordinates` the one a prior payer decided;
    `labels` are its security labels, None if nobody labelled it (read as restricted).
    """

    claim: str
    patient: str
    payer: str
    commitment: bytes
    provider: str = ""
    room: Room = Room.SHARED
    evidence: tuple[Evidence, ...] = ()
    labels: tuple[str, ...] | None = None
    replaces: str = ""
    coordinates: str = ""


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Keyed digests of a claim: the whole one, and one for each service line."""

    claim: bytes
    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Staged:
    """What `Stage` worked out from private details; handed to `SubmitBatch` as it came.

    Its SHA-256 is in the payer's own collection, so it cannot be changed on the way.
    """

    claim: str
    commitment: bytes
    fingerprints: Fingerprints
    checks: tuple[CheckResult, ...]


@dataclass(frozen=True, slots=True)
class Submission:
    """A filing; `staged` goes with a filing to the payer's own room."""

    filing: Filing
    staged: Staged | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: group code, CARC and, if there is one, RARC."""

    group: str
    carc: str
    rarc: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceRef:
    """Evidence as a claim keeps it."""

    record: str
    version: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim's public state. `version` counts its changes; each edge names the one it rests on.

    `decision` (made at `decision_version`) and `remittance` are commitments. `before` is the status
    an open appeal came from; `reversal` says that a payment is to be taken back. `accumulator` is
    the handle of the benefit period that the decision takes from, "" if of none, and `units` what
    it takes from authorisations.
    """

    claim: str
    patient: str
    submitter: str
    provider: str
    payer: str
    room: Room
    collection: str
    status: Status
    version: int
    commitment: bytes
    fingerprints: Fingerprints
    submitted_at: datetime
    updated_at: datetime
    tx_id: str
    checks: tuple[CheckResult, ...] = ()
    evidence: tuple[EvidenceRef, ...] = ()
    outcome: Outcome | None = None
    reasons: tuple[Reason, ...] = ()
    decision: bytes | None = None
    decision_version: int = 0
    remittance: bytes | None = None
    information: bytes | None = None
    appeal_deadline: datetime | None = None
    before: Status | None = None
    replaces: str = ""
    replaced_by: str = ""
    coordinates: str = ""
    accumulator: str = ""
    units: dict[str, int] = field(default_factory=dict)
    reversal: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a claim, kept for ever under its version."""

    claim: str
    version: int
    action: str
    status: Status
    msp_id: str
    user: str
    at: datetime
    tx_id: str
    outcome: Outcome | None = None
    reasons: tuple[Reason, ...] = ()
    commitment: bytes | None = None


@dataclass(frozen=True, slots=True)
class SubmissionResult:
    """What became of a submission. `existing`: it was here already and nothing was written.

    `error` is set, and nothing was written, if the submission could not be taken at all.
    """

    claim: str
    status: Status | None = None
    version: int = 0
    existing: bool = False
    checks: tuple[CheckResult, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """Which claim to change, the version that rests on, and why.

    In the shared room the private part travels in a transient field and `commitment` stays empty;
    in the payer's own room `StagePrivate` or `StageDecision` made it before.
    """

    claim: str
    version: int
    reasons: tuple[Reason, ...] = ()
    commitment: bytes | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """The public face of a decision; for the payer's own room `StageDecision` makes it.

    `units` is what the claim takes from prior authorisations, by handle; `accumulator` the handle
    of the benefit period that it takes from, at the version that the decision rests on.
    """

    claim: str
    version: int
    outcome: Outcome
    reasons: tuple[Reason, ...]
    decision: bytes
    checks: tuple[CheckResult, ...]
    appeal_days: int
    units: dict[str, int] = field(default_factory=dict)
    accumulator: str = ""
    accumulator_version: int = 0


class PrivateKind(StrEnum):
    """The private values that go with a claim's later steps."""

    REMITTANCE = "remittance"
    INFORMATION = "information"


@dataclass(frozen=True, slots=True)
class StagedCommitment:
    """What `StagePrivate` put into the payer's own room, by commitment."""

    claim: str
    version: int
    kind: PrivateKind
    commitment: bytes


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Where a fingerprint was seen: a claim and its payer."""

    claim: str
    payer: str


@dataclass(frozen=True, slots=True)
class Sightings:
    """The live claims that share a fingerprint."""

    claims: tuple[Duplicate, ...]


class FactKind(StrEnum):
    """What a payer registers: kept private, known on the ledger by commitment."""

    COVERAGE = "coverage"
    AUTHORIZATION = "authorization"
    ENROLMENT = "enrolment"


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    """A fact by commitment. `units` is what a prior authorisation grants."""

    handle: str
    commitment: bytes
    units: int = 0


@dataclass(frozen=True, slots=True)
class Registration:
    """A payer's commitment to a fact. `units_left` counts down a prior authorisation."""

    kind: FactKind
    handle: str
    payer: str
    commitment: bytes
    version: int
    registered_at: datetime
    units_left: int = 0


@dataclass(frozen=True, slots=True)
class AccumulatorVersion:
    """How often the decisions that count in a benefit period have changed.

    Public, under a handle that tells nothing; the amounts are the payer's own. A decision that
    rests on an older version is refused, so none of them counts twice or not at all.
    """

    handle: str
    payer: str
    version: int


@dataclass(frozen=True, slots=True)
class TableLoad:
    """A table by the SHA-256 of its bytes; with `content` if everybody may read it."""

    name: str
    digest: bytes
    content: str = ""


@dataclass(frozen=True, slots=True)
class TableVersion:
    """A payer's table by digest; `content` holds it if it is public."""

    name: str
    payer: str
    version: int
    digest: bytes
    loaded_at: datetime
    content: str = ""


@dataclass(frozen=True, slots=True)
class ClaimPage:
    """A page of claims; an empty bookmark ends it."""

    claims: tuple[Claim, ...]
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class Reexamination:
    """A claim whose payer has to look again: the decision that it rests on has changed.

    `action` is what was done to the claim `primary` (overturn, void, replace), `instead` the claim
    that replaced it.
    """

    claim: str
    payer: str
    primary: str
    action: str
    since: datetime
    tx_id: str
    instead: str = ""


@dataclass(frozen=True, slots=True)
class ReexaminationPage:
    """A page of a payer's queue; an empty bookmark ends it."""

    waiting: tuple[Reexamination, ...]
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class ClaimEvent:
    """The payload of a claim's events: handles and codes.

    `later` are the claims of `later_payers` that rest on this one's decision and wait to be
    examined again, for it has changed.
    """

    claim: str
    patient: str
    payer: str
    provider: str
    status: Status
    version: int
    outcome: Outcome | None = None
    codes: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    later_payers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchSubmitted:
    """The payload of `ClaimsSubmitted`: how many of a bulk submission became what."""

    submitter: str
    accepted: tuple[str, ...]
    rejected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClaimHistory:
    """Every change of a claim, oldest first."""

    steps: tuple[Step, ...]
