"""The values of consent: a directive, its stored versions, a request for access, a decision.

All are frozen and travel as canonical JSON with camelCase names. Parties are named by handles,
never by name: `org:<mspId>`, `user:<digest>`, `role:<role>`, `role:<mspId>/<role>`,
`group:<handle>`, `patient:<handle>`. Codes are tokens `system|code`. Dates are FHIR dates, possibly
partial (`2024`, `2024-05`, `2024-05-06`, or an instant).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Effect(StrEnum):
    """What a rule says about the requests it matches."""

    PERMIT = "permit"
    DENY = "deny"

    @property
    def flipped(self) -> Effect:
        """The other effect: that of an exception to a rule with this one."""
        return Effect.DENY if self is Effect.PERMIT else Effect.PERMIT


class Verdict(StrEnum):
    """The answer to a request. Only PERMIT opens anything."""

    PERMIT = "PERMIT"
    DENY = "DENY"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    INDETERMINATE = "INDETERMINATE"


class Status(StrEnum):
    """A consent's state; FHIR `Consent.status`, union of R4 and R5. Only ACTIVE counts."""

    DRAFT = "draft"
    PROPOSED = "proposed"
    ACTIVE = "active"
    REJECTED = "rejected"
    INACTIVE = "inactive"
    NOT_DONE = "not-done"
    ENTERED_IN_ERROR = "entered-in-error"
    UNKNOWN = "unknown"


class Meaning(StrEnum):
    """How `Rule.data` reaches data; FHIR consent-data-meaning."""

    INSTANCE = "instance"
    RELATED = "related"
    DEPENDENTS = "dependents"
    AUTHORED_BY = "authoredby"


class Combining(StrEnum):
    """How several consents become one answer; XACML's names as FHIR Permission lists them."""

    DENY_OVERRIDES = "deny-overrides"
    PERMIT_OVERRIDES = "permit-overrides"
    ORDERED_DENY_OVERRIDES = "ordered-deny-overrides"
    ORDERED_PERMIT_OVERRIDES = "ordered-permit-overrides"
    DENY_UNLESS_PERMIT = "deny-unless-permit"
    PERMIT_UNLESS_DENY = "permit-unless-deny"
    MOST_RECENT = "most-recent"
    ORDERED = "ordered"


class Capacity(StrEnum):
    """On what ground somebody wrote a consent."""

    PATIENT = "patient"
    DELEGATE = "delegate"
    CUSTODIAN = "custodian"


@dataclass(frozen=True, slots=True)
class Period:
    """From the start of `start` to the end of `end`, both inclusive; None is unbounded."""

    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True)
class Party:
    """A party named by a rule: FHIR `provision.actor`. `role` is a v3 role code such as IRCP."""

    reference: str
    role: str = "IRCP"


@dataclass(frozen=True, slots=True)
class DataReference:
    """Data named by a rule: FHIR `provision.data`. `reference` is a record or party handle."""

    reference: str
    meaning: Meaning = Meaning.INSTANCE


@dataclass(frozen=True, slots=True)
class Rule:
    """One provision. Attributes are ANDed, values within one are ORed, an empty one says nothing.

    `exceptions` hold for what this rule matches and have the opposite effect, and so on down.
    """

    period: Period | None = None
    actors: tuple[Party, ...] = ()
    actions: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    resource_types: tuple[str, ...] = ()
    document_types: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    data_period: Period | None = None
    data: tuple[DataReference, ...] = ()
    exceptions: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Directive:
    """What a consent says, normalised: a base effect in a context, and its nested exceptions.

    `decision` None means that the source did not determine it; such a directive is refused when it
    is written and evaluates to INDETERMINATE. `policies` names the regulatory basis by code or URI
    (`hipaa-self-pay` is honoured whatever the combining algorithm). `obligations` are v3-ActCode
    obligations and refrains that go with every permit. `commitment` is the hex SHA-256 commitment
    to the signed original, which stays off chain.
    """

    decision: Effect | None
    rule: Rule = Rule()
    scope: str = "patient-privacy"
    policies: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()
    commitment: str = ""


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote a version, and on what ground. `user` is the digest of the client's id."""

    msp_id: str
    user: str
    capacity: Capacity
    delegation: str = ""


@dataclass(frozen=True, slots=True)
class Consent:
    """One immutable version of a consent as the ledger keeps it.

    `granted_at` is the time of version 1, `recorded_at` that of this version, both transaction
    times. `digest` is the hex SHA-256 of the canonical directive: it goes with each disclosure.
    """

    id: str
    version: int
    patient: str
    status: Status
    directive: Directive
    author: Author
    granted_at: datetime
    recorded_at: datetime
    digest: str = ""
    reason: str = ""
    tx_id: str = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: an organisation, a role in it, a person by digest, and the groups they are in.

    `patient` is set when they are a patient; `delegation`, `acts_for`, `withheld` and `purposes`
    when they act under a delegation that is in force: its id, its patient, the sensitivities kept
    from the proxy, the purposes it is limited to (empty: all). `break_glass` is the id of a grant
    that is open to them for the request's patient and purpose.
    """

    msp_id: str
    role: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    patient: str = ""
    delegation: str = ""
    acts_for: str = ""
    withheld: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    break_glass: str = ""


@dataclass(frozen=True, slots=True)
class DataItem:
    """What is asked for: one record, or (`category` true) a kind of data not yet looked at.

    None means unknown and is read against the requester: an unknown never meets a permit and
    always meets a deny (for a category: leaves a REDACT obligation instead). An empty tuple means
    "looked, there are none". So `labels=None` is data that nobody labelled (confidentiality R,
    any sensitivity), `labels=()` is data that a labelling service passed as normal.

    `codes` are tokens `system|code`; `labels` are bare codes (`R`, `PSY`); `authors` party handles
    (`org:…`, `user:…`); `references` what it refers to, `referenced_by` what refers to it,
    `contexts` the encounters, episodes and care plans it was made in, all record handles;
    `authored` and `updated` FHIR dates; `custodian` the MSP id of who holds it.
    """

    id: str = ""
    resource_type: str = ""
    document_type: str = ""
    classes: tuple[str, ...] | None = None
    codes: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    authors: tuple[str, ...] | None = None
    references: tuple[str, ...] | None = None
    referenced_by: tuple[str, ...] | None = None
    contexts: tuple[str, ...] | None = None
    authored: str | None = None
    updated: str | None = None
    custodian: str = ""
    category: bool = False


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A question: may `actor` do `action` with `data` of `patient` for `purpose`?

    `purpose` is one v3-ActReason code (TREAT, HPAYMT, …); `action` one of access, use, disclose,
    collect, correct. No data item means the patient's record as a whole (one open category).
    """

    patient: str
    actor: Actor
    purpose: str
    action: str = "access"
    data: tuple[DataItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Criterion:
    """A part of a category: what a rule's data attributes select. Empty selects all."""

    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    resource_types: tuple[str, ...] = ()
    document_types: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    data_period: Period | None = None
    data: tuple[DataReference, ...] = ()


@dataclass(frozen=True, slots=True)
class Obligation:
    """What whoever acts on a permit must do. `code` is a v3-ActCode obligation or refrain.

    For REDACT: `items` are the indexes of requested items to leave out; `matching` and `excepting`
    the parts of a category to leave out, or to leave out everything but. Criteria in `matching` are
    read as a deny's attributes (labels from the named one upwards), those in `excepting` as a
    permit's (labels up to the named one).
    """

    code: str
    reason: str = ""
    items: tuple[int, ...] = ()
    matching: tuple[Criterion, ...] = ()
    excepting: tuple[Criterion, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """What a verdict rests on: a consent's version and digest, and the path of the rule in it.

    For a verdict that rests on no consent, `consent_id` is empty and `path` names the ground:
    `implicit:<policy>`, `break-glass:<id>`, `individual`, `delegation:<id>`, `guard:<name>`.
    """

    path: str
    consent_id: str = ""
    version: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ItemDecision:
    """The verdict on one requested item, in the order asked."""

    verdict: Verdict
    match: Match


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, with everything needed to repeat and to explain it.

    PERMIT with a REDACT obligation means: part of what was asked. `consents` counts the consents
    that were applicable; `decided_at` is the transaction's time.
    """

    verdict: Verdict
    match: Match
    algorithm: Combining
    implicit_policy: str
    policy_version: int
    decided_at: datetime
    obligations: tuple[Obligation, ...] = ()
    items: tuple[ItemDecision, ...] = ()
    applicable: tuple[Match, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def permitted(self) -> bool:
        """Whether anything at all may be released. True for PERMIT only."""
        return self.verdict is Verdict.PERMIT


@dataclass(frozen=True, slots=True)
class ConsentPolicy:
    """The consortium's choices that a decision depends on; part of the directory's policy.

    `implicit` is an IHE PCF policy URI, or empty for none: then no applicable consent means
    NOT_APPLICABLE. `break_glass_overrides`: an open break-glass grant opens what consents close,
    unless a patient refused BTG by name.
    """

    combining: Combining = Combining.DENY_OVERRIDES
    implicit: str = ""
    break_glass_overrides: bool = True
    version: int = 0


class ReviewOutcome(StrEnum):
    """How a privacy officer closes a break-glass grant."""

    JUSTIFIED = "justified"
    UNJUSTIFIED = "unjustified"
    ESCALATED = "escalated"


@dataclass(frozen=True, slots=True)
class Review:
    """A privacy officer's closing word on a break-glass grant. `commitment` binds the report."""

    outcome: ReviewOutcome
    reviewer_msp_id: str
    reviewer: str
    reviewed_at: datetime
    commitment: str = ""


@dataclass(frozen=True, slots=True)
class BreakGlassGrant:
    """A declared emergency: who opened whose record, why (a code), and until when."""

    id: str
    patient: str
    msp_id: str
    user: str
    role: str
    purpose: str
    reason: str
    declared_at: datetime
    expires_at: datetime
    commitment: str = ""
    review: Review | None = None
    tx_id: str = ""


@dataclass(frozen=True, slots=True)
class ConsentPlace:
    """Where a consent's current version lies: its patient. Patient and id never change."""

    patient: str
    version: int
