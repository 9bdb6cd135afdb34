"""Decisions, each with the clause it comes from: a table to be read by a privacy officer.

`CASES` is a list of `Case(clause, what, directives, request, expected, …)`. Clauses: "HL7" is the
evaluation text of FHIR Consent (R5), "R4" and "R5" the resource definitions, "PCF" IHE Privacy
Consent on FHIR 1.1, "v3" the code systems' hierarchies, "XACML" the combining algorithms as FHIR
Permission lists them, "FAST" HL7 FAST Consent Management, "LEAP" LEAP-CDS's redaction, the others
regulations; "closed" is our own rule that what is unknown is not permitted.

Time is NOW, the requester a clinician of ClinicMSP, the item a normal Observation, unless a case
says otherwise. P permit, D deny, N not applicable, I indeterminate.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from chaincode.consent import codes
from chaincode.consent.model import (
    AccessRequest,
    Actor,
    Combining,
    ConsentPolicy,
    DataItem,
    DataReference,
    Directive,
    Effect,
    Meaning,
    Party,
    Period,
    Rule,
    Status,
    Verdict,
)

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
PATIENT = "5f" * 16
USER = "11" * 32
OTHER = "22" * 32
RECORD, VISIT, REPORT = "a1" * 16, "a2" * 16, "a3" * 16
TEAM = "c0" * 16
GLASS = "b0" * 16
LOINC_A1C, SNOMED_HIV = "http://loinc.org|4548-4", "http://snomed.info/sct|86406008"
PROFILE = "http://example.org/StructureDefinition/lab"
SUMMARY = "http://loinc.org|18842-5"
LETTERS = {
    "P": Verdict.PERMIT,
    "D": Verdict.DENY,
    "N": Verdict.NOT_APPLICABLE,
    "I": Verdict.INDETERMINATE,
}
_ACTOR_FIELDS = {f.name for f in fields(Actor)}


@dataclass(frozen=True)
class Case:
    """One row. `path` is the path of the deciding rule, where the row wants to hold it."""

    clause: str
    what: str
    directives: tuple[Directive, ...]
    request: AccessRequest
    expected: str
    policy: ConsentPolicy = field(default_factory=ConsentPolicy)
    path: str = ""
    obligations: tuple[str, ...] | None = None
    status: Status = Status.ACTIVE
    now: datetime = NOW
    items: str = ""


def rule(*exceptions: Rule, **attributes: object) -> Rule:
    return Rule(exceptions=exceptions, **attributes)  # type: ignore[arg-type]


def permit(*exceptions: Rule, **attributes: object) -> Directive:
    return Directive(Effect.PERMIT, rule(*exceptions, **attributes))


def deny(*exceptions: Rule, **attributes: object) -> Directive:
    return Directive(Effect.DENY, rule(*exceptions, **attributes))


def item(**attributes: object) -> DataItem:
    known: dict[str, object] = {
        "id": RECORD,
        "resource_type": "Observation",
        "classes": (),
        "codes": (),
        "labels": ("N",),
        "authors": ("org:HospitalMSP",),
        "references": (),
        "referenced_by": (),
        "contexts": (),
        "authored": "2025-03-01",
        "custodian": "HospitalMSP",
    }
    return DataItem(**{**known, **attributes})  # type: ignore[arg-type]


def ask(purpose: str = "TREAT", *items: DataItem, **changes: Any) -> AccessRequest:
    """A request; keyword arguments change the actor, the action, or the only item."""
    action = changes.pop("action", "access")
    actor: dict[str, object] = {"msp_id": "ClinicMSP", "role": "clinician", "user": USER}
    about = {k: changes.pop(k) for k in list(changes) if k in _ACTOR_FIELDS}
    data = items or (item(**changes),)
    return AccessRequest(PATIENT, Actor(**{**actor, **about}), purpose, str(action), data)


def org(*names: str, role: str = "IRCP") -> tuple[Party, ...]:
    return tuple(Party(f"org:{name}", role) for name in names)


def by(algorithm: Combining, implicit: str = "") -> ConsentPolicy:
    return ConsentPolicy(algorithm, implicit)


def implicit(uri: str) -> ConsentPolicy:
    return ConsentPolicy(implicit=uri)


OPEN, CLOSED = permit(), deny()
A_CLINIC = org("ClinicMSP")

# fmt: off
# HL7's worked example (FHIR Consent, "Consent evaluation"; reference section 2.2, item 3): root
# permit for organisation A in a period; deny marketing; deny R; deny payment unless it concerns a
# Claim, ClaimResponse or Account.
WORKED = permit(
    rule(purposes=("HMARKT",)),
    rule(labels=("R",)),
    rule(rule(resource_types=("Claim", "ClaimResponse", "Account")), purposes=("HPAYMT",)),
    actors=A_CLINIC,
    period=Period("2020-01-01", "2022-12-31"),
)
IN_2021 = datetime(2021, 5, 1, tzinfo=UTC)

WORKED_EXAMPLE = [
    Case("HL7 example", "treatment in the period", (WORKED,), ask(), "P", now=IN_2021, path="base"),
    Case("HL7 example", "before the period", (WORKED,), ask(), "N",
         now=datetime(2019, 12, 31, 23, 59, 59, tzinfo=UTC)),
    Case("HL7 example", "on its first day", (WORKED,), ask(), "P",
         now=datetime(2020, 1, 1, tzinfo=UTC)),
    Case("HL7 example", "late on its last day", (WORKED,), ask(), "P",
         now=datetime(2022, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    Case("HL7 example", "after the period", (WORKED,), ask(), "N",
         now=datetime(2023, 1, 1, tzinfo=UTC)),
    Case("HL7 example", "another organisation", (WORKED,), ask(msp_id="PayerMSP"), "N",
         now=IN_2021),
    Case("HL7 example", "marketing", (WORKED,), ask("HMARKT"), "D", now=IN_2021,
         path="base.exceptions[0]"),
    Case("HL7 example", "restricted data", (WORKED,), ask(labels=("R",)), "D", now=IN_2021,
         path="base.exceptions[1]"),
    Case("HL7 example", "very restricted data", (WORKED,), ask(labels=("V",)), "D", now=IN_2021),
    Case("HL7 example", "payment with an observation", (WORKED,), ask("HPAYMT"), "D", now=IN_2021,
         path="base.exceptions[2]"),
    Case("HL7 example", "payment with a claim", (WORKED,), ask("HPAYMT", resource_type="Claim"),
         "P", now=IN_2021, path="base"),
    Case("HL7 example", "payment with a claim response", (WORKED,),
         ask("HPAYMT", resource_type="ClaimResponse"), "P", now=IN_2021),
    Case("HL7 example", "payment with an account", (WORKED,),
         ask("HPAYMT", resource_type="Account"), "P", now=IN_2021),
    Case("HL7 example", "payment with a restricted claim", (WORKED,),
         ask("HPAYMT", resource_type="Claim", labels=("R",)), "D", now=IN_2021),
    Case("HL7 example", "a claim attachment is a kind of payment", (WORKED,), ask("CLMATTCH"), "D",
         now=IN_2021),
    Case("HL7 example", "claim and observation: the claim alone", (WORKED,),
         ask("HPAYMT", item(resource_type="Claim"), item()), "P", now=IN_2021, items="PD"),
]

STRUCTURE = [
    Case("HL7 rule 1", "a bare permit permits", (OPEN,), ask(), "P", path="base"),
    Case("HL7 rule 1", "a bare deny denies", (CLOSED,), ask(), "D", path="base"),
    Case("HL7 rule 1", "an exception turns a permit", (permit(rule(purposes=("TREAT",))),), ask(),
         "D", path="base.exceptions[0]"),
    Case("HL7 rule 1", "an exception turns a deny", (deny(rule(purposes=("TREAT",))),), ask(), "P",
         path="base.exceptions[0]"),
    Case("HL7 rule 1", "depth 3 alternates",
         (permit(rule(rule(actors=A_CLINIC), purposes=("TREAT",))),), ask(), "P", path="base"),
    Case("HL7 rule 1", "depth 4 alternates",
         (permit(rule(rule(rule(labels=("N",)), actors=A_CLINIC), purposes=("TREAT",))),),
         ask(), "D"),
    Case("HL7 rule 1", "depth 5 alternates",
         (permit(rule(rule(rule(rule(actions=("access",)), labels=("N",)), actors=A_CLINIC),
                      purposes=("TREAT",))),), ask(), "P"),
    Case("HL7 rule 1", "an exception below one that does not match says nothing",
         (permit(rule(rule(actors=A_CLINIC), purposes=("HMARKT",))),), ask(), "P"),
    Case("HL7 rule 2", "any matching sibling is an exception",
         (permit(rule(purposes=("HMARKT",)), rule(labels=("N",))),), ask(), "D",
         path="base.exceptions[1]"),
    Case("HL7 rule 2", "one sibling turned back, the other not",
         (permit(rule(rule(actors=A_CLINIC), purposes=("TREAT",)), rule(labels=("N",))),), ask(),
         "D", path="base.exceptions[1]"),
    Case("HL7 rule 2", "attributes are ANDed: both fit",
         (permit(purposes=("TREAT",), actors=A_CLINIC),), ask(), "P"),
    Case("HL7 rule 2", "attributes are ANDed: one does not",
         (permit(purposes=("TREAT",), actors=org("PayerMSP")),), ask(), "N"),
    Case("HL7 rule 2", "values are ORed", (permit(purposes=("HPAYMT", "TREAT")),), ask(), "P"),
    Case("HL7 rule 2", "an unpopulated attribute is no constraint", (OPEN,), ask("HRESCH"), "P"),
    Case("HL7 rule 5", "a root that does not match is not a deny",
         (permit(purposes=("HRESCH",)),), ask(), "N"),
    Case("HL7 rule 5", "nor is a deny root that does not match", (deny(purposes=("HRESCH",)),),
         ask(), "N"),
    Case("HL7 rule 5", "no consent at all", (), ask(), "N"),
    Case("2.3 status", "draft does not count", (OPEN,), ask(), "N", status=Status.DRAFT),
    Case("2.3 status", "proposed does not count", (OPEN,), ask(), "N", status=Status.PROPOSED),
    Case("2.3 status", "rejected does not count", (OPEN,), ask(), "N", status=Status.REJECTED),
    Case("2.3 status", "inactive does not count", (OPEN,), ask(), "N", status=Status.INACTIVE),
    Case("2.3 status", "entered in error does not count", (OPEN,), ask(), "N",
         status=Status.ENTERED_IN_ERROR),
    Case("2.3 status", "an inactive deny does not count either", (CLOSED, ), ask(), "N",
         status=Status.INACTIVE),
    Case("2.3 dialect", "an undetermined base is indeterminate", (Directive(None),), ask(), "I"),
    Case("closed", "a request without a purpose", (OPEN,), ask(""), "I"),
    Case("closed", "a request without an action", (OPEN,), ask(action=""), "I"),
    Case("closed", "a request without an organisation", (OPEN,), ask(msp_id=""), "I"),
    Case("closed", "a date in the request that is none", (OPEN,), ask(authored="soon"), "I"),
    Case("closed", "a period that cannot be read", (permit(period=Period("soon")),), ask(), "I"),
]


def _at(start: str | None, end: str | None, now: datetime, expected: str, what: str) -> Case:
    return Case("2.3 period", what, (permit(period=Period(start, end)),), ask(), expected, now=now)


def _t(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


PERIODS = [
    _at("2026", None, _t(2026, 1, 1), "P", "start year: its first moment"),
    _at("2026", None, _t(2025, 12, 31, 23, 59, 59), "N", "start year: the moment before"),
    _at(None, "2026", _t(2026, 12, 31, 23, 59, 59, 999999), "P", "end year: its last moment"),
    _at(None, "2026", _t(2027, 1, 1), "N", "end year: the moment after"),
    _at("2026-06", None, _t(2026, 6, 1), "P", "start month: its first moment"),
    _at(None, "2026-02", _t(2026, 2, 28, 23, 59, 59), "P", "end month: its last second"),
    _at(None, "2026-02", _t(2026, 3, 1), "N", "end month: the moment after"),
    _at(None, "2024-02", _t(2024, 2, 29, 12), "P", "end month in a leap year"),
    _at("2026-06-15", "2026-06-15", _t(2026, 6, 15), "P", "one day: its first moment"),
    _at("2026-06-15", "2026-06-15", _t(2026, 6, 15, 23, 59, 59, 999999), "P",
        "one day: its last moment"),
    _at(None, "2026-06-15T12:00:00Z", NOW, "P", "an end at this second is included"),
    _at(None, "2026-06-15T11:59:59Z", NOW, "N", "an end a second ago"),
    _at("2026-06-15T12:00:00Z", None, NOW, "P", "a start at this second is included"),
    _at("2026-06-15T12:00:01Z", None, NOW, "N", "a start in a second"),
    _at("2026-06-15T14:00:00+02:00", None, NOW, "P", "a zone is honoured"),
    _at("2026-06-15T14:00:01+02:00", None, NOW, "N", "a zone is honoured, one second short"),
    _at(None, "2026-06-15T11:59:59.999Z", NOW, "N", "an end with milliseconds"),
    Case("2.3 period", "a nested period bounds its rule: in force",
         (permit(rule(period=Period("2026", "2026"))),), ask(), "D"),
    Case("2.3 period", "a nested period bounds its rule: over",
         (permit(rule(period=Period("2025", "2025"))),), ask(), "P"),
    Case("2.3 period", "a timed permit within a deny",
         (deny(rule(purposes=("TREAT",), period=Period("2026-06-15", "2026-06-15"))),), ask(), "P"),
]


def _p(listed: str, asked: str, permit_says: str, deny_says: str, clause: str) -> list[Case]:
    purposes = tuple(listed.split())
    return [
        Case(clause, f"permit {listed}, asked {asked}", (permit(purposes=purposes),), ask(asked),
             permit_says),
        Case(clause, f"deny {listed}, asked {asked}", (deny(purposes=purposes),), ask(asked),
             deny_says),
    ]


PURPOSES = [
    *_p("TREAT", "TREAT", "P", "D", "v3 ActReason"),
    *_p("TREAT", "COC", "P", "D", "v3 ActReason: TREAT ⊃ COC"),
    *_p("COC", "TREAT", "N", "N", "v3 ActReason: not upwards"),
    *_p("TREAT", "ETREAT", "N", "D", "2.3 purpose: the emergency exception"),
    *_p("TREAT", "ERTREAT", "N", "D", "2.3 purpose: the emergency exception, below"),
    *_p("TREAT ETREAT", "ETREAT", "P", "D", "2.3 purpose: listed"),
    *_p("ETREAT", "ERTREAT", "P", "D", "v3 ActReason: ETREAT ⊃ ERTREAT"),
    *_p("ETREAT", "TREAT", "N", "N", "v3 ActReason: not upwards"),
    *_p("HPAYMT", "CLMATTCH", "P", "D", "v3 ActReason: HPAYMT ⊃ CLMATTCH"),
    *_p("HPAYMT", "ELIGVER", "P", "D", "v3 ActReason: HPAYMT ⊃ COVERAGE ⊃ ELIGVER"),
    *_p("HPAYMT", "REMITADV", "P", "D", "v3 ActReason: HPAYMT ⊃ REMITADV"),
    *_p("COVERAGE", "COVAUTH", "N", "N", "v3 ActReason: siblings"),
    *_p("HOPERAT", "FRAUD", "P", "D", "v3 ActReason: HOPERAT ⊃ FRAUD"),
    *_p("HRESCH", "CLINTRCH", "P", "D", "v3 ActReason: HRESCH ⊃ CLINTRCH"),
    *_p("PUBHLTH", "DISASTER", "P", "D", "v3 ActReason: PUBHLTH ⊃ DISASTER"),
    *_p("HMARKT", "HMARKT", "P", "D", "v3 ActReason"),
    *_p("TREAT HPAYMT HOPERAT", "HRESCH", "N", "N", "PCF Basic: TPO is not research"),
    *_p("http://example.org/purpose|FooBar", "http://example.org/purpose|FooBar", "P", "D",
        "PCF Intermediate: a project's own purpose"),
    *_p("http://example.org/purpose|FooBar", "http://example.org/other|FooBar", "N", "N",
        "PCF Intermediate: another system's"),
    Case("2.3 purpose", "a deny of TREAT with an exception for ETREAT",
         (deny(rule(purposes=("ETREAT",)), purposes=("TREAT",)),), ask("ETREAT"), "P"),
    Case("2.3 purpose", "an unconstrained permit covers an emergency", (OPEN,), ask("ETREAT"), "P"),
]

_GLASS: dict[str, Any] = {"break_glass": GLASS}
BREAK_GLASS = [
    Case("PCF P.2.5", "BTG that was not declared, though consented", (permit(purposes=("BTG",)),),
         ask("BTG"), "D", path="guard:break-glass-not-declared"),
    Case("PCF Intermediate", "BTG listed and declared", (permit(purposes=("BTG",)),),
         ask("BTG", **_GLASS), "P", path="base", obligations=("AUDIT",)),
    Case("2.3 purpose", "BTG is not implied by TREAT: without override",
         (permit(purposes=("TREAT",)),), ask("BTG", **_GLASS), "N",
         policy=ConsentPolicy(break_glass_overrides=False)),
    Case("2.3 purpose", "BTG is not implied by ETREAT",
         (permit(purposes=("ETREAT",)),), ask("BTG", **_GLASS), "N",
         policy=ConsentPolicy(break_glass_overrides=False)),
    Case("2.3 purpose", "BTG is not implied by an unconstrained permit", (OPEN,),
         ask("BTG", **_GLASS), "N", policy=ConsentPolicy(break_glass_overrides=False)),
    Case("2.3 purpose", "a deny of TREAT covers BTG", (deny(purposes=("TREAT",)),),
         ask("BTG", **_GLASS), "D", policy=ConsentPolicy(break_glass_overrides=False)),
    Case("2.5 break-glass", "a declared emergency opens a general opt-out", (CLOSED,),
         ask("BTG", **_GLASS), "P", path=f"break-glass:{GLASS}", obligations=("AUDIT",)),
    Case("2.5 break-glass", "and a deny of treatment", (deny(purposes=("TREAT",)),),
         ask("BTG", **_GLASS), "P"),
    Case("2.5 break-glass", "and restricted data", (permit(rule(labels=("R",))),),
         ask("BTG", labels=("R",), **_GLASS), "P"),
    Case("2.5 break-glass", "but not a refusal of break-glass by name",
         (deny(purposes=("BTG",)),), ask("BTG", **_GLASS), "D", path="base"),
    Case("2.5 break-glass", "nor one deep in the tree",
         (permit(rule(purposes=("BTG",)), purposes=("TREAT", "BTG")),), ask("BTG", **_GLASS), "D"),
    Case("2.5 break-glass", "an emergency grant for ETREAT", (CLOSED,), ask("ETREAT", **_GLASS),
         "P"),
    Case("2.5 break-glass", "a grant does not open other purposes", (CLOSED,),
         ask("HPAYMT", **_GLASS), "D"),
    Case("PCF Policy-break-glass-only", "implicit: declared", (), ask("BTG", **_GLASS), "P",
         policy=implicit(codes.POLICY_BREAK_GLASS_ONLY)),
    Case("PCF Policy-break-glass-only", "implicit: not declared", (), ask("BTG"), "D",
         policy=implicit(codes.POLICY_BREAK_GLASS_ONLY)),
    Case("PCF Policy-break-glass-only", "implicit: treatment", (), ask(), "D",
         policy=implicit(codes.POLICY_BREAK_GLASS_ONLY)),
    Case("PCF Policy-deny", "implicit: no break-glass either", (), ask("BTG", **_GLASS), "D",
         policy=implicit(codes.POLICY_DENY)),
    Case("PCF dissent-break-glass", "deny with an exception for BTG: treatment",
         (deny(rule(purposes=("BTG",))),), ask(), "D"),
    Case("PCF dissent-break-glass", "deny with an exception for BTG: declared",
         (deny(rule(purposes=("BTG",))),), ask("BTG", **_GLASS), "P", path="base.exceptions[0]"),
]


def _l(listed: str, has: str | None, permit_says: str, deny_says: str, clause: str) -> list[Case]:
    labels = tuple(listed.split())
    request = ask(labels=None if has is None else tuple(has.split()))
    named = "unlabelled" if has is None else has or "labelled as nothing special"
    return [
        Case(clause, f"permit {listed}, data {named}", (permit(labels=labels),), request,
             permit_says),
        Case(clause, f"deny {listed}, data {named}", (deny(labels=labels),), request, deny_says),
    ]


LABELS = [
    *_l("R", "R", "P", "D", "2.3 label: high-water mark"),
    *_l("R", "N", "P", "N", "2.3 label: permit reaches down, deny does not"),
    *_l("R", "V", "N", "D", "2.3 label: deny reaches up, permit does not"),
    *_l("N", "U", "P", "N", "v3 Confidentiality: U < N"),
    *_l("N", "M", "P", "N", "v3 Confidentiality: M < N"),
    *_l("L", "N", "N", "D", "v3 Confidentiality: L < N"),
    *_l("N R", "R", "P", "D", "2.3 label: the highest of a permit's list"),
    *_l("R V", "R", "P", "D", "2.3 label: the lowest of a deny's list"),
    *_l("N", None, "N", "D", "2.3 label: unlabelled data is R"),
    *_l("R", None, "P", "D", "2.3 label: unlabelled data is R"),
    *_l("V", None, "P", "N", "2.3 label: unlabelled data is R, not V"),
    *_l("N", "", "P", "D", "2.3 label: a labelling service vouched: N"),
    *_l("R", "", "P", "N", "2.3 label: a labelling service vouched: N"),
    *_l("N", "PSY", "N", "D", "closed: a sensitivity without confidentiality is R"),
    *_l("PSY", "R PSY", "P", "D", "v3 sensitivity"),
    *_l("HIV", "R PSY", "N", "N", "v3 sensitivity: another one"),
    *_l("SUD", "R ETHUD", "P", "D", "v3 sensitivity: SUD ⊃ ETHUD"),
    *_l("SUD", "R OPIOIDUD", "P", "D", "v3 sensitivity: SUD ⊃ OPIOIDUD"),
    *_l("ETHUD", "R SUD", "N", "N", "v3 sensitivity: not upwards"),
    *_l("SPI", "R MH", "P", "D", "v3 sensitivity: SPI ⊃ MH"),
    *_l("SPI", "R ETHUD", "P", "D", "v3 sensitivity: SPI ⊃ SUD ⊃ ETHUD"),
    *_l("MH", "R PSY", "N", "D", "closed: refusing mental health refuses psychiatry"),
    *_l("ETH", "R OPIOIDUD", "N", "D", "closed: refusing substance abuse refuses opioid use"),
    *_l("HIV", None, "N", "D", "closed: unlabelled data may be of any sensitivity"),
    *_l("HIV", "", "N", "N", "2.3 label: vouched for, so not HIV"),
    *_l("HIV", "R HIV PSY", "N", "D", "closed: a permit must cover every sensitivity"),
    *_l("HIV PSY", "R HIV PSY", "P", "D", "2.3 label: every sensitivity is covered"),
    *_l("N PSY", "R PSY", "P", "D", "PCF Advanced: focused psychiatry"),
    *_l("N PSY", "R", "N", "D", "PCF Advanced: focused psychiatry, other restricted data"),
    Case("PCF Advanced", "normal but not restricted",
         (permit(rule(labels=("R",)), labels=("N",)),), ask(labels=("N",)), "P"),
    Case("PCF Advanced", "normal but not restricted: restricted",
         (permit(rule(labels=("R",)), labels=("N",)),), ask(labels=("R",)), "N"),
]


def _d(what: str, directive: Directive, request: AccessRequest, expected: str,
       clause: str = "2.3 data") -> Case:
    return Case(clause, what, (directive,), request, expected)


_WINDOW = Period("2025", "2025")
_RELATED = (DataReference(VISIT, Meaning.RELATED),)
_DEPENDENT = (DataReference(REPORT, Meaning.DEPENDENTS),)
_AUTHORED = (DataReference("org:HospitalMSP", Meaning.AUTHORED_BY),)
DATA = [
    _d("a resource type", permit(resource_types=("Observation",)), ask(), "P", "R5 resourceType"),
    _d("another resource type", permit(resource_types=("Claim",)), ask(), "N", "R5 resourceType"),
    _d("permit, type unknown", permit(resource_types=("Claim",)), ask(resource_type=""), "N",
       "closed"),
    _d("deny, type unknown", deny(resource_types=("Claim",)), ask(resource_type=""), "D", "closed"),
    _d("class by resource type", permit(classes=(f"{codes.RESOURCE_TYPES}|Observation",)), ask(),
       "P", "R4 class"),
    _d("class by profile", permit(classes=(PROFILE,)), ask(classes=(PROFILE,)), "P", "R4 class"),
    _d("class by profile, absent", permit(classes=(PROFILE,)), ask(), "N", "R4 class"),
    _d("deny by profile, profiles unknown", deny(classes=(PROFILE,)), ask(classes=None), "D",
       "closed"),
    _d("permit by profile, profiles unknown", permit(classes=(PROFILE,)), ask(classes=None), "N",
       "closed"),
    _d("class by document type", permit(classes=(SUMMARY,)),
       ask(resource_type="DocumentReference", document_type=SUMMARY), "P", "R4 class"),
    _d("classes are ORed", permit(classes=(PROFILE, f"{codes.RESOURCE_TYPES}|Observation")), ask(),
       "P", "R4 class"),
    _d("a document type", permit(document_types=(SUMMARY,)),
       ask(resource_type="DocumentReference", document_type=SUMMARY), "P", "R5 documentType"),
    _d("an observation is no document", deny(document_types=(SUMMARY,)), ask(), "N",
       "R5 documentType"),
    _d("deny, document of unknown type", deny(document_types=(SUMMARY,)),
       ask(resource_type="DocumentReference"), "D", "closed"),
    _d("an attribute that does not fit outweighs one that is unknown",
       permit(rule(classes=(PROFILE,), document_types=(SUMMARY,))), ask(resource_type=""), "P",
       "HL7 rule 2"),
    _d("type and document type are ANDed",
       permit(resource_types=("Composition",), document_types=(SUMMARY,)),
       ask(resource_type="DocumentReference", document_type=SUMMARY), "N", "R5 documentType"),
    _d("a code occurs in it", deny(codes=(SNOMED_HIV,)), ask(codes=(LOINC_A1C, SNOMED_HIV)), "D",
       "2.3 code"),
    _d("a code does not occur", deny(codes=(SNOMED_HIV,)), ask(codes=(LOINC_A1C,)), "N",
       "2.3 code"),
    _d("a code of another system", permit(codes=("http://a.example|1",)),
       ask(codes=("http://b.example|1",)), "N", "2.3 code"),
    _d("deny, a code without its system", deny(codes=(SNOMED_HIV,)), ask(codes=("86406008",)), "D",
       "closed"),
    _d("permit, a code without its system", permit(codes=(SNOMED_HIV,)), ask(codes=("86406008",)),
       "N", "closed"),
    _d("deny, codes unknown", deny(codes=(SNOMED_HIV,)), ask(codes=None), "D", "closed"),
    _d("permit, codes unknown", permit(codes=(SNOMED_HIV,)), ask(codes=None), "N", "closed"),
    _d("authored in the window", permit(data_period=_WINDOW), ask(), "P", "PCF dataPeriod"),
    _d("authored outside it", permit(data_period=_WINDOW), ask(authored="2024-12-31"), "N",
       "PCF dataPeriod"),
    _d("last updated in it", permit(data_period=_WINDOW),
       ask(authored="2020", updated="2025-12-31T23:59:59Z"), "P", "PCF dataPeriod"),
    _d("neither", deny(data_period=_WINDOW), ask(authored="2020", updated="2026-01-01"), "N",
       "PCF dataPeriod"),
    _d("deny, dates unknown", deny(data_period=_WINDOW), ask(authored=None), "D", "closed"),
    _d("permit, dates unknown", permit(data_period=_WINDOW), ask(authored=None), "N", "closed"),
    _d("permit, a partial date that reaches out", permit(data_period=Period("2025-03", None)),
       ask(authored="2025"), "N", "closed"),
    _d("deny, a partial date that reaches in", deny(data_period=Period("2025-03", None)),
       ask(authored="2025"), "D", "closed"),
    _d("that instance", permit(data=(DataReference(RECORD),)), ask(), "P", "R4 data instance"),
    _d("another instance", permit(data=(DataReference(VISIT),)), ask(), "N", "R4 data instance"),
    _d("deny an instance, id unknown", deny(data=(DataReference(RECORD),)), ask(id=""), "D",
       "closed"),
    _d("related: the resource itself", permit(data=_RELATED), ask(id=VISIT), "P",
       "R4 data related"),
    _d("related: what it refers to", permit(data=_RELATED), ask(referenced_by=(VISIT,)), "P",
       "R4 data related"),
    _d("related: made in the encounter", permit(data=_RELATED), ask(contexts=(VISIT,)), "P",
       "PCF related(Encounter)"),
    _d("related: unrelated", permit(data=_RELATED), ask(), "N", "R4 data related"),
    _d("deny related, relations unknown", deny(data=_RELATED), ask(contexts=None), "D", "closed"),
    _d("dependents: what refers to it", permit(data=_DEPENDENT), ask(references=(REPORT,)), "P",
       "R4 data dependents"),
    _d("dependents: not what it refers to", permit(data=_DEPENDENT), ask(referenced_by=(REPORT,)),
       "N", "R4 data dependents"),
    _d("authored by", permit(data=_AUTHORED), ask(), "P", "R4 data authoredby"),
    _d("authored by another", permit(data=_AUTHORED), ask(authors=("org:ClinicMSP",)), "N",
       "R4 data authoredby"),
    _d("not authored by", permit(rule(data=_AUTHORED)), ask(), "D", "PCF not-authoredby"),
    _d("deny authored by, author unknown", deny(data=_AUTHORED), ask(authors=None), "D", "closed"),
    _d("an action", permit(actions=("access",)), ask(), "P", "R4 action"),
    _d("another action", permit(actions=("access",)), ask(action="disclose"), "N", "R4 action"),
    _d("no action named is all actions", OPEN, ask(action="correct"), "P", "R4 action"),
]


def _a(what: str, parties: tuple[Party, ...], expected: str, clause: str = "2.3 actor",
       **who: Any) -> Case:
    return Case(clause, what, (permit(actors=parties),), ask(**who), expected)


ACTORS = [
    _a("an organisation", A_CLINIC, "P"),
    _a("another organisation", org("PayerMSP"), "N"),
    _a("one of several", org("PayerMSP", "ClinicMSP"), "P"),
    _a("a person by digest", (Party(f"user:{USER}"),), "P"),
    _a("another person", (Party(f"user:{OTHER}"),), "N"),
    _a("a role anywhere", (Party("role:clinician"),), "P"),
    _a("a role in an organisation", (Party("role:ClinicMSP/clinician"),), "P"),
    _a("the role in another organisation", (Party("role:HospitalMSP/clinician"),), "N"),
    _a("a care team they are in", (Party(f"group:{TEAM}"),), "P", groups=(TEAM,)),
    _a("a care team they are not in", (Party(f"group:{TEAM}"),), "N"),
    _a("primary recipient", org("ClinicMSP", role="PRCP"), "P"),
    _a("grantee", org("ClinicMSP", role="GRANTEE"), "P"),
    _a("custodian is who holds the data", org("HospitalMSP", role="CST"), "P"),
    _a("custodian is not who asks", org("ClinicMSP", role="CST"), "N"),
    _a("custodian and recipient are both needed",
       (*org("HospitalMSP", role="CST"), *org("PayerMSP")), "N", "closed"),
    _a("custodian and recipient both fit",
       (*org("HospitalMSP", role="CST"), *A_CLINIC), "P", "closed"),
    _a("permit from an unknown custodian", org("HospitalMSP", role="CST"), "N", "closed",
       custodian=""),
    _a("a delegatee who acts under a delegation", (Party(f"user:{USER}", "DELEGATEE"),), "P",
       delegation="d1" * 16, acts_for=PATIENT),
    _a("a delegatee who does not", (Party(f"user:{USER}", "DELEGATEE"),), "N"),
    _a("who acts for the delegator", (Party(f"patient:{PATIENT}", "DELEGATOR"),), "P",
       delegation="d1" * 16, acts_for=PATIENT),
    _a("a role nobody plays", org("ClinicMSP", role="WITNESS"), "N", "closed"),
    Case("closed", "a deny to a role nobody plays reaches the requester",
         (deny(actors=org("ClinicMSP", role="WITNESS")),), ask(), "D"),
    Case("closed", "a deny from an unknown custodian",
         (deny(actors=org("HospitalMSP", role="CST")),), ask(custodian=""), "D"),
]

_PERMIT, _DENY = permit(purposes=("TREAT",)), deny(purposes=("TREAT",))
_UNCLEAR, _ELSEWHERE = Directive(None), permit(purposes=("HRESCH",))


def _c(algorithm: Combining, directives: tuple[Directive, ...], expected: str, what: str) -> Case:
    return Case(f"XACML {algorithm.value}", what, directives, ask(), expected, by(algorithm))


# In a case's directives, later ones are granted later.
COMBINING = [
    _c(Combining.DENY_OVERRIDES, (_PERMIT, _DENY), "D", "permit and deny"),
    _c(Combining.DENY_OVERRIDES, (_DENY, _PERMIT), "D", "deny and permit"),
    _c(Combining.DENY_OVERRIDES, (_PERMIT, _ELSEWHERE), "P", "permit and not applicable"),
    _c(Combining.DENY_OVERRIDES, (_PERMIT, _UNCLEAR), "I", "permit and indeterminate"),
    _c(Combining.DENY_OVERRIDES, (_DENY, _UNCLEAR), "D", "deny and indeterminate"),
    _c(Combining.PERMIT_OVERRIDES, (_PERMIT, _DENY), "P", "permit and deny"),
    _c(Combining.PERMIT_OVERRIDES, (_DENY,), "D", "deny alone"),
    _c(Combining.PERMIT_OVERRIDES, (_DENY, _UNCLEAR), "I", "deny and indeterminate"),
    _c(Combining.ORDERED_DENY_OVERRIDES, (_PERMIT, _DENY), "D", "permit then deny"),
    _c(Combining.ORDERED_PERMIT_OVERRIDES, (_DENY, _PERMIT), "P", "deny then permit"),
    _c(Combining.ORDERED, (_PERMIT, _DENY), "P", "the first applicable: permit"),
    _c(Combining.ORDERED, (_DENY, _PERMIT), "D", "the first applicable: deny"),
    _c(Combining.ORDERED, (_ELSEWHERE, _PERMIT), "P", "the first does not apply"),
    _c(Combining.ORDERED, (_UNCLEAR, _PERMIT), "I", "the first is undetermined"),
    _c(Combining.MOST_RECENT, (_PERMIT, _DENY), "D", "the newest: deny"),
    _c(Combining.MOST_RECENT, (_DENY, _PERMIT), "P", "the newest: permit"),
    _c(Combining.MOST_RECENT, (_PERMIT, _ELSEWHERE), "P", "the newest does not apply"),
    _c(Combining.MOST_RECENT, (_PERMIT, _UNCLEAR), "I", "the newest is undetermined"),
    _c(Combining.DENY_UNLESS_PERMIT, (), "D", "nothing"),
    _c(Combining.DENY_UNLESS_PERMIT, (_DENY, _PERMIT), "P", "deny and permit"),
    _c(Combining.DENY_UNLESS_PERMIT, (_UNCLEAR,), "D", "indeterminate"),
    _c(Combining.PERMIT_UNLESS_DENY, (), "P", "nothing"),
    _c(Combining.PERMIT_UNLESS_DENY, (_ELSEWHERE,), "P", "not applicable"),
    _c(Combining.PERMIT_UNLESS_DENY, (_DENY, _PERMIT), "D", "deny and permit"),
    _c(Combining.PERMIT_UNLESS_DENY, (_UNCLEAR,), "I", "indeterminate is not let through"),
]

_NORMAL, _BASIC = implicit(codes.POLICY_ALL_NORMAL), implicit(codes.POLICY_BASIC_NORMAL)
IMPLICIT = [
    Case("PCF Policy-basic-normal", "a clinician treats", (), ask(), "P", _BASIC),
    Case("PCF Policy-basic-normal", "payment", (), ask("HPAYMT"), "D", _BASIC),
    Case("PCF Policy-basic-normal", "not a clinician", (), ask(role="claims"), "D", _BASIC),
    Case("PCF Policy-basic-normal", "restricted data", (), ask(labels=("R",)), "D", _BASIC),
    Case("PCF Policy-basic-normal", "unlabelled data", (), ask(labels=None), "D", _BASIC),
    Case("PCF Policy-basic-normal", "sensitive data labelled N", (), ask(labels=("N", "HIV")), "D",
         _BASIC),
    Case("PCF Policy-all-normal", "payment", (), ask("HPAYMT", role="claims"), "P", _NORMAL),
    Case("PCF Policy-all-normal", "restricted data", (), ask("HPAYMT", labels=("R",)), "D",
         _NORMAL),
    Case("PCF Policy-all-normal", "break-glass is not implied", (), ask("BTG"), "D", _NORMAL),
    Case("PCF Policy-deny", "treatment", (), ask(), "D", implicit(codes.POLICY_DENY)),
    Case("HL7 rule 5", "an applicable deny is not replaced by it", (_DENY,), ask(), "D", _NORMAL),
    Case("HL7 rule 5", "a consent that does not apply leaves it", (_ELSEWHERE,), ask(), "P",
         _NORMAL),
    Case("HL7 rule 5", "it stands before the algorithm's default", (), ask(), "D",
         by(Combining.PERMIT_UNLESS_DENY, codes.POLICY_DENY)),
    Case("closed", "a purpose that v3 does not know", (OPEN,), ask("TREATT"), "I", path="request"),
    Case("closed", "a purpose of another system by its token", (OPEN,),
         ask("http://example.org/p|trial-7"), "P"),
    Case("closed", "an action that FHIR does not know", (OPEN,), ask(action="read"), "I"),
    Case("closed", "an unknown policy", (), ask(), "I", implicit("http://example.org/x")),
]

_SELF_PAY = Directive(Effect.DENY, Rule(purposes=("HPAYMT",)), policies=(codes.SELF_PAY,))
_PAYER: dict[str, Any] = {"msp_id": "PayerMSP", "role": "claims"}
LAW = [
    Case("45 CFR 164.522(a)(1)(vi)", "self-pay is kept from the payer", (_SELF_PAY,),
         ask("HPAYMT", **_PAYER), "D"),
    Case("45 CFR 164.522(a)(1)(vi)", "whatever the algorithm", (OPEN, _SELF_PAY),
         ask("CLMATTCH", **_PAYER), "D", by(Combining.PERMIT_OVERRIDES)),
    Case("45 CFR 164.522(a)(1)(vi)", "treatment goes on", (OPEN, _SELF_PAY), ask(), "P"),
    Case("42 CFR 2.31", "substance use records need a consent", (), ask(labels=("N", "SUD")), "D",
         by(Combining.PERMIT_UNLESS_DENY), path="guard:part-2-needs-consent"),
    Case("42 CFR 2.32", "on consent they go with a notice and their labels",
         (permit(purposes=("TREAT",)),), ask(labels=("R", "SUD")), "P",
         obligations=("NORDSCLCD", "PERSISTLABEL")),
    Case("42 CFR 2.31", "not for proceedings under a general consent",
         (permit(purposes=("HOPERAT",)),), ask("HLEGAL", labels=("R", "SUD")), "D"),
    Case("42 CFR 2.31", "for proceedings if they are named",
         (permit(purposes=("HLEGAL",)),), ask("HLEGAL", labels=("R", "SUD")), "P"),
    Case("42 CFR 2.51", "a medical emergency is documented", (CLOSED,),
         ask("BTG", labels=("R", "SUD"), break_glass=GLASS), "P",
         obligations=("NORDSCLCD", "PERSISTLABEL", "AUDIT")),
    Case("45 CFR 164.502(b)", "minimum necessary for payment", (OPEN,), ask("HPAYMT"), "P",
         obligations=("MINEC",)),
    Case("45 CFR 164.502(b)", "not for treatment", (OPEN,), ask(), "P", obligations=()),
    Case("45 CFR 164.528", "a disclosure without consent is accounted for", (),
         ask("PUBHLTH"), "P", _NORMAL, obligations=("MINEC", "AOD")),
    Case("45 CFR 164.528", "what the patient authorised is not", (OPEN,), ask("PUBHLTH"), "P",
         obligations=("MINEC",)),
    Case("45 CFR 164.524", "the patient's own access", (CLOSED,),
         ask("PATRQT", patient=PATIENT, role="patient"), "P", path="individual", obligations=()),
    Case("45 CFR 164.524", "not for another purpose", (CLOSED,),
         ask(patient=PATIENT, role="patient"), "D"),
    Case("45 CFR 164.524", "not another patient's", (CLOSED,),
         ask("PATRQT", patient="77" * 16, role="patient"), "D"),
    Case("2.5 delegates", "a delegate within scope", (CLOSED,),
         ask("FAMRQT", delegation="d1" * 16, acts_for=PATIENT), "P",
         path=f"delegation:{'d1' * 16}"),
    Case("2.5 delegates", "outside the delegation's purposes", (OPEN,),
         ask("SUPNWK", delegation="d1" * 16, acts_for=PATIENT, purposes=("FAMRQT",)), "D",
         path="guard:outside-delegation"),
    Case("2.5 minors", "adolescent-confidential data is kept from the proxy", (OPEN,),
         ask("FAMRQT", delegation="d1" * 16, acts_for=PATIENT, withheld=("ADOL",),
             labels=("R", "ADOL")), "D", path="guard:withheld-from-proxy"),
    Case("2.5 minors", "other data is not", (OPEN,),
         ask("FAMRQT", delegation="d1" * 16, acts_for=PATIENT, withheld=("ADOL",)), "P"),
    Case("2.5 minors", "unlabelled data may be such", (OPEN,),
         ask("FAMRQT", delegation="d1" * 16, acts_for=PATIENT, withheld=("ADOL",), labels=None),
         "D"),
    Case("2.5 minors", "withheld kinds include what is below them", (OPEN,),
         ask("FAMRQT", delegation="d1" * 16, acts_for=PATIENT, withheld=("SEX",),
             labels=("R", "STD")), "D"),
]

_EXCEPT_PSY = permit(rule(labels=("PSY",)))
_ONLY_CLAIMS = deny(rule(resource_types=("Claim",)))
_ANY = DataItem(category=True)
_SOME_OBSERVATIONS = DataItem(category=True, resource_type="Observation")
PARTS = [
    Case("LEAP redaction", "some of the items", (_EXCEPT_PSY,),
         ask("TREAT", item(), item(labels=("R", "PSY"))), "P", items="PD", obligations=("REDACT",)),
    Case("LEAP redaction", "none of the items", (_EXCEPT_PSY,),
         ask("TREAT", item(labels=("PSY",)), item(labels=("R", "PSY"))), "D", items="DD"),
    Case("LEAP redaction", "a category less a label", (_EXCEPT_PSY,), ask("TREAT", _ANY), "P",
         obligations=("REDACT",)),
    Case("LEAP redaction", "a category wholly redacted", (permit(rule(purposes=("TREAT",))),),
         ask("TREAT", _ANY), "D"),
    Case("LEAP exceptAnyOfCodes", "a category: all but claims is closed", (_ONLY_CLAIMS,),
         ask("TREAT", _ANY), "P", obligations=("REDACT",)),
    Case("LEAP exceptAnyOfCodes", "a category that is not the exception", (_ONLY_CLAIMS,),
         ask("TREAT", _SOME_OBSERVATIONS), "D"),
    Case("PCF residual", "a root label bounds a category", (permit(labels=("N",)),),
         ask("TREAT", _ANY), "P", obligations=("REDACT",)),
    Case("PCF residual", "an implicit policy bounds a category", (), ask("TREAT", _ANY), "P",
         _NORMAL, obligations=("REDACT", "REDACT", "REDACT")),
    Case("2.5 minors", "a category is redacted of what is withheld", (OPEN,),
         ask("FAMRQT", _ANY, delegation="d1" * 16, acts_for=PATIENT, withheld=("ADOL",)), "P",
         obligations=("REDACT",)),
    Case("42 CFR 2.31", "a category without consent is redacted of substance use", (),
         ask("TREAT", _ANY), "P", by(Combining.PERMIT_UNLESS_DENY), obligations=("REDACT",)),
    Case("42 CFR 2.31", "a category for proceedings is redacted of substance use", (OPEN,),
         ask("HLEGAL", _ANY), "P", obligations=("REDACT", "MINEC")),
    Case("PCF residual", "two consents: both redactions hold",
         (_EXCEPT_PSY, permit(rule(labels=("HIV",)))), ask("TREAT", _ANY), "P",
         obligations=("REDACT", "REDACT")),
    Case("PCF residual", "an unrestricted category", (OPEN,), ask("TREAT", _ANY), "P",
         obligations=()),
    Case("closed", "a deny of a part of a category does not permit the rest",
         (deny(labels=("PSY",)),), ask("TREAT", _ANY), "N"),
    Case("2.3 obligations", "a consent's own obligations go with its permit",
         (Directive(Effect.PERMIT, obligations=("DEID", "NOREUSE")),), ask(), "P",
         obligations=("DEID", "NOREUSE")),
    Case("2.3 obligations", "not with a deny",
         (Directive(Effect.DENY, obligations=("DEID",)),), ask(), "D", obligations=()),
]

CASES: list[Case] = [
    *WORKED_EXAMPLE,
    *STRUCTURE,
    *PERIODS,
    *PURPOSES,
    *BREAK_GLASS,
    *LABELS,
    *DATA,
    *ACTORS,
    *COMBINING,
    *IMPLICIT,
    *LAW,
    *PARTS,
]
