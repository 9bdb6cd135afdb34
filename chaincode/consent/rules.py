"""The decision: consents, a request, the transaction's time and the policy in, a verdict out.

A pure function, usable without any network. The order of its steps is the order in which one
ground yields to the next: guards that no consent can open, the individual's own right, what must be
honoured whatever the policy, the consents combined, a declared emergency, the implicit policy.
Whatever cannot be determined is not permitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from chaincode.consent import codes, combining, implicit
from chaincode.consent.categories import REDACT, evaluate_category
from chaincode.consent.combining import Finding
from chaincode.consent.compiled import (
    MAYBE,
    NO,
    Asked,
    Asker,
    CompiledConsent,
    CompiledRule,
    compile_consent,
)
from chaincode.consent.model import (
    AccessRequest,
    Consent,
    ConsentPolicy,
    Criterion,
    DataItem,
    Decision,
    Effect,
    Match,
    Obligation,
    Status,
    Verdict,
)
from chaincode.consent.rulings import Ruling, sum_up

WHOLE_RECORD = DataItem(category=True)


def evaluate(
    consents: Iterable[Consent | CompiledConsent],
    request: AccessRequest,
    now: datetime,
    policy: ConsentPolicy,
) -> Decision:
    """Return the verdict on `request` at `now`, with its obligations and what it rests on.

    `consents` are current versions, in the order that `ordered` algorithms shall use; those of
    another patient and those not active are passed over. Never raises on what a consent or a
    request says: what cannot be decided is INDETERMINATE and names the problem.
    """
    problems = check_request(request)
    if problems:
        return _undecided(problems, now, policy)
    case = _Case(request, now, policy, _current(consents, request.patient))
    try:
        rulings = [case.rule_on(Asked(item)) for item in request.data or (WHOLE_RECORD,)]
    except ValueError as error:
        return _undecided((str(error),), now, policy)
    return sum_up(rulings, request.purpose, now, policy)


def check_request(request: AccessRequest) -> tuple[str, ...]:
    """Return what a request lacks to be decidable; empty if nothing."""
    problems = []
    if not request.patient:
        problems.append("patient: missing")
    if not request.actor.msp_id:
        problems.append("actor.mspId: missing")
    if not request.purpose:
        problems.append("purpose: missing")
    elif request.purpose not in codes.PURPOSES and "|" not in request.purpose:
        problems.append("purpose: not a v3 ActReason code (TREAT, HPAYMT, …) nor system|code")
    if request.action not in codes.ACTIONS:
        problems.append(f"action: expected one of {', '.join(sorted(codes.ACTIONS))}")
    return tuple(problems)


@dataclass(slots=True)
class _Case:
    """Everything about a request that is the same for each of its items."""

    request: AccessRequest
    now: datetime
    policy: ConsentPolicy
    consents: Sequence[CompiledConsent]
    asker: Asker = field(init=False)

    def __post_init__(self) -> None:
        self.asker = Asker(self.request)

    def rule_on(self, asked: Asked) -> Ruling:
        """Return the ruling on one item: each ground in its order."""
        ruling = self._guarded(asked) or self._own_right()
        if ruling is None:
            findings = self._findings(asked)
            ruling = self._honoured(findings) or self._combined(findings, asked)
            ruling.findings = findings
        if ruling.verdict is Verdict.PERMIT:
            ruling.part_2 = not codes.PART_2.isdisjoint(asked.sensitivities)
            if asked.item.category:
                ruling.obligations += self._kept_back(ruling)
        return ruling

    def _guarded(self, asked: Asked) -> Ruling | None:
        """A denial that no consent can lift, or None."""
        actor = self.request.actor
        if self.request.purpose == codes.BREAK_GLASS and not actor.break_glass:
            # IHE PCF: the privilege is not enough, break-glass must have been declared.
            return _deny("guard:break-glass-not-declared")
        if actor.withheld and actor.acts_for == self.request.patient:
            # Adolescent-confidential and the like: kept from the proxy; unlabelled may be such.
            kept = codes.sensitivities_denied(actor.withheld)
            unlabelled = not asked.labelled and not asked.item.category
            if unlabelled or not kept.isdisjoint(asked.sensitivities):
                return _deny("guard:withheld-from-proxy")
        return None

    def _kept_back(self, ruling: Ruling) -> tuple[Obligation, ...]:
        """The guards on single records, as obligations on a category not yet looked at."""
        actor, found = self.request.actor, []
        if actor.withheld and actor.acts_for == self.request.patient:
            found.append(_redact_labels(actor.withheld, "guard:withheld-from-proxy"))
        without_consent = ruling.match.path.partition(":")[0] in ("implicit", "none")
        if without_consent or codes.is_purpose_in(self.request.purpose, codes.LEGAL):
            found.append(_redact_labels(codes.PART_2, "42 CFR 2.31"))
        return tuple(found)

    def _own_right(self) -> Ruling | None:
        """The patient's own access, or a delegate's within their scope (45 CFR 164.524)."""
        request, actor = self.request, self.request.actor
        if not codes.is_purpose_in(request.purpose, codes.PATIENT_REQUEST):
            return None
        if actor.patient == request.patient:
            return Ruling(Verdict.PERMIT, Match("individual"))
        if actor.delegation and actor.acts_for == request.patient:
            if not actor.purposes or request.purpose in codes.purposes_permitted(actor.purposes):
                return Ruling(Verdict.PERMIT, Match(f"delegation:{actor.delegation}"))
            return _deny("guard:outside-delegation")
        return None

    def _findings(self, asked: Asked) -> list[Finding]:
        if asked.item.category:
            found = (self._category_finding(c, asked) for c in self.consents)
        else:
            found = (self._finding(c, asked) for c in self.consents)
        return [f for f in found if f is not None]

    def _finding(self, consent: CompiledConsent, asked: Asked) -> Finding | None:
        """What one consent says about one record; None if it does not apply."""
        root = consent.root
        if root is None:
            return Finding(consent, None, consent.match)
        fit = root.fit(self.asker, asked, self.now)
        if fit == NO or (fit == MAYBE and root.effect is Effect.PERMIT):
            return None
        decisive = _decisive(root, self.asker, asked, self.now)
        if decisive.effect is Effect.PERMIT:
            if fit == MAYBE:  # An exception to a deny that perhaps does not apply permits nothing.
                return None
            if not self._may_serve(decisive, asked):
                return Finding(consent, Effect.DENY, Match("guard:part-2-proceedings"))
        return Finding(consent, decisive.effect, decisive.match)

    def _category_finding(self, consent: CompiledConsent, asked: Asked) -> Finding | None:
        if consent.root is None:
            return Finding(consent, None, consent.match)
        portion = evaluate_category(consent.root, self.asker, asked, self.now)
        if portion.effect is None and not portion.obligations:
            return None
        return Finding(
            consent, portion.effect, portion.match, portion.obligations, portion.effect is None
        )

    def _may_serve(self, rule: CompiledRule, asked: Asked) -> bool:
        """Part 2 records serve proceedings only under a consent naming them (42 CFR 2.31)."""
        if not codes.is_purpose_in(self.request.purpose, codes.LEGAL):
            return True
        return codes.PART_2.isdisjoint(asked.sensitivities) or codes.LEGAL in rule.listed_purposes

    def _honoured(self, findings: Sequence[Finding]) -> Ruling | None:
        """A self-pay restriction that denies (45 CFR 164.522(a)(1)(vi)), or None."""
        if not self._concerns_a_plan():
            return None
        for finding in findings:
            if finding.consent.self_pay and finding.effect is Effect.DENY:
                return Ruling(Verdict.DENY, finding.match)
        return None

    def _concerns_a_plan(self) -> bool:
        """Whether the purpose is one that a self-pay restriction is about."""
        families = (codes.PAYMENT, codes.OPERATIONS)
        return any(codes.is_purpose_in(self.request.purpose, family) for family in families)

    def _combined(self, findings: Sequence[Finding], asked: Asked) -> Ruling:
        policy, request = self.policy, self.request
        combined = combining.combine(policy.combining, findings)
        verdict, match = combined.verdict, combined.match
        redactions = combined.obligations
        if self._concerns_a_plan():
            redactions += _honoured_parts(findings, redactions)
        if verdict is Verdict.PERMIT and combined.by_consent:
            permits = tuple(f.consent for f in findings if f.effect is Effect.PERMIT)
            return Ruling(verdict, match, redactions, permits)
        if request.actor.break_glass and self._emergency_opens(findings, asked):
            return Ruling(Verdict.PERMIT, Match(f"break-glass:{request.actor.break_glass}"))
        if all(f.partial for f in findings) or verdict is Verdict.NOT_APPLICABLE:
            ruling = self._implied(asked, verdict)
            return Ruling(ruling.verdict, ruling.match, ruling.obligations + redactions)
        if verdict is Verdict.PERMIT and not _needs_no_consent(asked):
            return _deny("guard:part-2-needs-consent")
        return Ruling(verdict, match, redactions)

    def _emergency_opens(self, findings: Sequence[Finding], asked: Asked) -> bool:
        """Whether the declared emergency prevails over all but a patient's refusal of BTG."""
        if self.request.purpose not in (codes.BREAK_GLASS, codes.EMERGENCY):
            return False
        if self.policy.implicit == codes.POLICY_DENY or not self.policy.break_glass_overrides:
            return False
        return not any(
            self._refuses_break_glass(f.consent.root, asked)
            for f in findings
            if (f.effect is Effect.DENY or f.obligations) and f.consent.root is not None
        )

    def _refuses_break_glass(self, rule: CompiledRule, asked: Asked) -> bool:
        """Whether a deny under `rule` that matches lists BTG by name."""
        if rule.fit(self.asker, asked, self.now) == NO:
            return False
        if rule.effect is Effect.DENY and codes.BREAK_GLASS in rule.listed_purposes:
            return True
        return any(self._refuses_break_glass(nested, asked) for nested in rule.exceptions)

    def _implied(self, asked: Asked, otherwise: Verdict) -> Ruling:
        """What holds where no consent applies (IHE PCF, implicit policies)."""
        uri = self.policy.implicit
        if not uri:
            if otherwise is Verdict.PERMIT and not _needs_no_consent(asked):
                return _deny("guard:part-2-needs-consent")
            ground = "none" if otherwise is Verdict.NOT_APPLICABLE else self.policy.combining.value
            return Ruling(otherwise, Match(f"implicit:{ground}"))
        match = Match(f"implicit:{uri}")
        if uri not in codes.IMPLICIT_POLICIES:
            return Ruling(Verdict.INDETERMINATE, match)
        root = implicit.ROOTS[uri]
        if asked.item.category:
            portion = evaluate_category(root, self.asker, asked, self.now)
            effect, obligations = portion.effect, portion.obligations
        else:
            fit = root.fit(self.asker, asked, self.now)
            effect, obligations = None, ()
            if fit != NO and not (fit == MAYBE and root.effect is Effect.PERMIT):
                effect = _decisive(root, self.asker, asked, self.now).effect
        if effect is Effect.PERMIT:
            return Ruling(Verdict.PERMIT, match, obligations)
        return Ruling(Verdict.DENY, match)


def _decisive(rule: CompiledRule, asker: Asker, asked: Asked, now: datetime) -> CompiledRule:
    """Return the rule under a matching `rule` whose effect holds.

    A matching exception turns its parent's effect, unless its own exceptions turn it back; one
    that turns is enough (siblings are ORed). An unknown meets a deny and never a permit.
    """
    for nested in rule.exceptions:
        fit = nested.fit(asker, asked, now)
        if fit == NO or (fit == MAYBE and nested.effect is Effect.PERMIT):
            continue
        decisive = _decisive(nested, asker, asked, now)
        if decisive.effect is nested.effect:
            return decisive
    return rule


def _current(
    consents: Iterable[Consent | CompiledConsent], patient: str
) -> Sequence[CompiledConsent]:
    """The active consents of the patient, each in its newest version, in the given order."""
    newest: dict[str, CompiledConsent] = {}
    for given in consents:
        consent = given if isinstance(given, CompiledConsent) else compile_consent(given)
        if consent.consent.patient != patient:
            continue
        held = newest.get(consent.consent.id)
        if held is None or held.consent.version < consent.consent.version:
            newest[consent.consent.id] = consent
    return [c for c in newest.values() if c.consent.status is Status.ACTIVE]


def _honoured_parts(
    findings: Sequence[Finding], held: tuple[Obligation, ...]
) -> tuple[Obligation, ...]:
    """The parts of a category that self-pay restrictions close, whatever the algorithm."""
    parts = (o for f in findings if f.consent.self_pay for o in f.obligations)
    return tuple(o for o in parts if o not in held)


def _needs_no_consent(asked: Asked) -> bool:
    """Whether data may go out on a ground other than consent: not if it is a Part 2 record."""
    return codes.PART_2.isdisjoint(asked.sensitivities)


def _redact_labels(labels: Iterable[str], reason: str) -> Obligation:
    return Obligation(REDACT, reason, matching=(Criterion(labels=tuple(sorted(labels))),))


def _deny(path: str) -> Ruling:
    return Ruling(Verdict.DENY, Match(path))


def _undecided(problems: tuple[str, ...], now: datetime, policy: ConsentPolicy) -> Decision:
    return Decision(
        verdict=Verdict.INDETERMINATE,
        match=Match("request"),
        algorithm=policy.combining,
        implicit_policy=policy.implicit,
        policy_version=policy.version,
        decided_at=now,
        problems=problems,
    )
