"""What only the parties of a claim see: its lines and amounts, coverages, decisions, payments.

These values live in a private data collection and travel in transient fields; on the ledger stand
salted commitments to their canonical JSON. Money is in integer cents of the claim's currency;
quantities and factors are decimals; percentages are basis points (2,000 is 20 %).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

from chaincode.claims.codes import Group


class Use(StrEnum):
    """FHIR Claim.use."""

    CLAIM = "claim"
    PREAUTHORIZATION = "preauthorization"
    PREDETERMINATION = "predetermination"


class Type(StrEnum):
    """FHIR Claim.type."""

    PROFESSIONAL = "professional"
    INSTITUTIONAL = "institutional"
    ORAL = "oral"
    PHARMACY = "pharmacy"
    VISION = "vision"


@dataclass(frozen=True, slots=True)
class Line:
    """One service: FHIR Claim.item, X12 SV1/SV2.

    `net` = `quantity` x `unit_price` x `factor`, rounded half up to a cent. `minutes` is how long
    the provider was busy with it in all, 0 if unknown. `authorization` is a prior authorisation's
    handle, `control` what the filer calls the line (FHIR item.id, X12 REF 6R). The sequences point
    into the claim's diagnoses and supporting information.
    """

    sequence: int
    code: str
    serviced_from: date
    unit_price: int
    net: int
    serviced_to: date | None = None
    quantity: Decimal = Decimal(1)
    factor: Decimal = Decimal(1)
    modifiers: tuple[str, ...] = ()
    place: str = ""
    revenue: str = ""
    minutes: int = 0
    authorization: str = ""
    control: str = ""
    diagnosis_sequences: tuple[int, ...] = ()
    information_sequences: tuple[int, ...] = ()

    @property
    def last_day(self) -> date:
        """The last day of the service."""
        return self.serviced_to or self.serviced_from


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """FHIR Claim.diagnosis: an ICD code."""

    sequence: int
    code: str


@dataclass(frozen=True, slots=True)
class SupportingInformation:
    """FHIR Claim.supportingInfo: evidence is an anchored record's handle."""

    sequence: int
    category: str
    record: str = ""


@dataclass(frozen=True, slots=True)
class LinePaid:
    """What another payer paid on a line (X12 SVD), in cents."""

    sequence: int
    paid: int


@dataclass(frozen=True, slots=True)
class Insurance:
    """FHIR Claim.insurance. `sequence` is the order of primacy; one is focal: the addressee's.

    `paid` and `adjusted` (cents) are what that payer decided before, `paid_lines` on which lines,
    if it is known; None if it did not decide yet.
    """

    sequence: int
    coverage: str
    focal: bool = True
    paid: int | None = None
    adjusted: int | None = None
    paid_lines: tuple[LinePaid, ...] = ()


@dataclass(frozen=True, slots=True)
class Details:
    """A claim's private part. `claim` and `patient` are handles, `provider_npi` bills.

    `number` is what the filer calls the claim (FHIR Claim.identifier, X12 CLM01), which comes back
    in the 835. `birth` and `death` are there for the checks on service dates and may be absent.
    """

    claim: str
    patient: str
    type: Type
    provider_npi: str
    created: date
    total: int
    lines: tuple[Line, ...]
    use: Use = Use.CLAIM
    currency: str = "USD"
    number: str = ""
    facility_npi: str = ""
    diagnoses: tuple[Diagnosis, ...] = ()
    supporting: tuple[SupportingInformation, ...] = ()
    insurance: tuple[Insurance, ...] = ()
    birth: date | None = None
    death: date | None = None


@dataclass(frozen=True, slots=True)
class VisitLimit:
    """So many units of a code are covered in a benefit period; more are refused (CARC 119)."""

    code: str
    limit: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a payer states of a member's coverage. `excluded_codes` are not covered (CARC 96).

    `deductible` and `out_of_pocket` (the most that the member pays, 0 if there is no such limit)
    are for a benefit period, less what was met elsewhere; `visits` limits services. What of them is
    used is the payer's accumulator (see `accumulators`). A benefit period is a year that begins on
    `period_start` (MM-DD).
    """

    coverage: str
    patient: str
    start: date
    end: date | None = None
    primacy: int = 1
    deductible: int = 0
    copay: int = 0
    coinsurance: int = 0
    out_of_pocket: int = 0
    visits: tuple[VisitLimit, ...] = ()
    period_start: str = "01-01"
    excluded_codes: tuple[str, ...] = ()

    @property
    def accumulates(self) -> bool:
        """Whether what earlier claims used counts for a decision."""
        return bool(self.deductible or self.out_of_pocket or self.visits)


@dataclass(frozen=True, slots=True)
class Authorization:
    """A prior authorisation: these codes, for this provider and patient, in this period."""

    authorization: str
    patient: str
    provider_npi: str
    codes: tuple[str, ...]
    start: date
    end: date
    units: int


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `start` to `end`, both inclusive; no end is open."""

    start: date
    end: date | None = None

    def covers(self, day: date) -> bool:
        """Whether the day lies within."""
        return self.start <= day and (self.end is None or day <= self.end)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a payer states of a provider: when enrolled, when excluded (as by the OIG's list)."""

    provider_npi: str
    enrolled: tuple[Span, ...]
    excluded: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenedCoverage:
    """A coverage with the salt that opens its commitment on the ledger."""

    salt: bytes
    fact: Coverage


@dataclass(frozen=True, slots=True)
class OpenedAuthorization:
    """A prior authorisation with the salt that opens its commitment on the ledger."""

    salt: bytes
    fact: Authorization


@dataclass(frozen=True, slots=True)
class OpenedEnrolment:
    """An enrolment with the salt that opens its commitment; `handle` is its name there."""

    handle: str
    salt: bytes
    fact: Enrolment


@dataclass(frozen=True, slots=True)
class Facts:
    """What a party brings to the checks; each is compared with the payer's commitment.

    `primaries` are decisions of prior payers on the claims that the filings coordinate with, in
    their own words: compared with what those payers committed to.
    """

    coverages: tuple[OpenedCoverage, ...] = ()
    authorizations: tuple[OpenedAuthorization, ...] = ()
    enrolments: tuple[OpenedEnrolment, ...] = ()
    primaries: tuple[SealedAdjudication, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """A procedure-to-procedure edit: `second` is not paid beside `first` on one day.

    `modifier`: 0 never, 1 unless a modifier says distinct, 9 deleted (no edit).
    """

    first: str
    second: str
    modifier: int = 0


@dataclass(frozen=True, slots=True)
class UnitLimit:
    """A unit limit: `indicator` 1 per line, 2 per day absolute, 3 per day, appealable."""

    code: str
    limit: int
    indicator: int = 2


@dataclass(frozen=True, slots=True)
class Fee:
    """What is allowed for one unit of a code, in cents."""

    code: str
    allowed: int


class Coordination(StrEnum):
    """How a secondary payer reckons (NAIC model 120).

    STANDARD pays what it would have paid first, as far as the allowed amount is not paid already;
    CARVE_OUT pays what it would have paid first less what prior payers paid.
    """

    STANDARD = "standard"
    CARVE_OUT = "carve-out"


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """A payer's versioned rules of payment, known on the ledger by digest."""

    coordination: Coordination = Coordination.STANDARD
    filing_days: int = 365
    appeal_days: int = 120
    pairs: tuple[Pair, ...] = ()
    units: tuple[UnitLimit, ...] = ()
    fees: tuple[Fee, ...] = ()
    authorization_codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Cents by which the payment differs from the charge, why, and who bears it (835 CAS)."""

    group: Group
    carc: str
    amount: int
    rarc: str = ""


@dataclass(frozen=True, slots=True)
class LineDecision:
    """The decision on one line: `charge` - sum of adjustments = `paid`."""

    sequence: int
    charge: int
    adjustments: tuple[Adjustment, ...]
    paid: int


@dataclass(frozen=True, slots=True)
class Adjudication:
    """A decision with its amounts; the totals are the sums of the lines."""

    claim: str
    currency: str
    charge: int
    adjusted: int
    paid: int
    lines: tuple[LineDecision, ...]


@dataclass(frozen=True, slots=True)
class Remittance:
    """A payment: 835 BPR/TRN. `trace` is the payment's trace number."""

    claim: str
    currency: str
    paid: int
    trace: str
    paid_on: date


@dataclass(frozen=True, slots=True)
class Information:
    """Words between payer and provider about a pended claim or an appeal."""

    claim: str
    text: str
    records: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SealedDetails:
    """Details with the salt of their commitment (`commitment.CLAIM`)."""

    salt: bytes
    details: Details


@dataclass(frozen=True, slots=True)
class SealedAdjudication:
    """A decision with the salt of its commitment (`commitment.DECISION`)."""

    salt: bytes
    adjudication: Adjudication


@dataclass(frozen=True, slots=True)
class SealedRemittance:
    """A payment with the salt of its commitment (`commitment.REMITTANCE`)."""

    salt: bytes
    remittance: Remittance


@dataclass(frozen=True, slots=True)
class SealedInformation:
    """Words with the salt of their commitment (`commitment.INFORMATION`)."""

    salt: bytes
    information: Information


@dataclass(frozen=True, slots=True)
class Used:
    """What a claim, or all of them, took from a benefit period: cents, and units by code."""

    deductible: int = 0
    out_of_pocket: int = 0
    visits: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsedByClaim:
    """What a claim takes if the decision with this commitment is in force."""

    claim: str
    decision: bytes
    used: Used


@dataclass(frozen=True, slots=True)
class Accumulator:
    """A payer's private book of one member's benefit period: what each decided claim took."""

    coverage: str
    period: date
    claims: tuple[UsedByClaim, ...] = ()


@dataclass(frozen=True, slots=True)
class Accumulated:
    """A coverage with what is used of one of its benefit periods."""

    coverage: Coverage
    period: date
    used: Used


@dataclass(frozen=True, slots=True)
class DecisionInput:
    """What the payer decides with: the salt, and the lines if it decides by hand.

    Without lines the rules decide. `accept_deferred` lets them decide although facts are missing
    that a check would need; the decision's checks then say DEFERRED.
    """

    salt: bytes
    lines: tuple[LineDecision, ...] = ()
    accept_deferred: bool = False


@dataclass(frozen=True, slots=True)
class ClaimFile:
    """All that a party sees of a claim's private side; what is not there yet is left out."""

    details: SealedDetails | None = None
    decisions: tuple[SealedAdjudication, ...] = ()
    remittances: tuple[SealedRemittance, ...] = ()
    information: tuple[SealedInformation, ...] = ()
