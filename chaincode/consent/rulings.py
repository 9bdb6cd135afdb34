"""Rulings on single items, and the one decision that they add up to with what goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chaincode.consent import codes
from chaincode.consent.categories import REDACT
from chaincode.consent.combining import Finding
from chaincode.consent.compiled import CompiledConsent
from chaincode.consent.model import (
    ConsentPolicy,
    Decision,
    ItemDecision,
    Match,
    Obligation,
    Verdict,
)

_DISCLOSURES_ACCOUNTED = "45 CFR 164.528"
_MINIMUM_NECESSARY = "45 CFR 164.502(b)"


@dataclass(slots=True)
class Ruling:
    """The verdict on one item while the decision is put together."""

    verdict: Verdict
    match: Match
    obligations: tuple[Obligation, ...] = ()
    permits: tuple[CompiledConsent, ...] = ()
    findings: Sequence[Finding] = ()
    part_2: bool = False


def sum_up(
    rulings: Sequence[Ruling], purpose: str, now: datetime, policy: ConsentPolicy
) -> Decision:
    """Return the one decision over all items: any permit permits, with the rest redacted."""
    decisive = next((r for r in rulings if r.verdict is Verdict.PERMIT), None)
    obligations: tuple[Obligation, ...] = ()
    if decisive is not None:
        obligations = _obligations(purpose, rulings)
    else:
        decisive = next((r for r in rulings if r.verdict is Verdict.INDETERMINATE), None)
        decisive = decisive or next((r for r in rulings if r.verdict is Verdict.DENY), rulings[0])
    applicable: dict[str, Match] = {}
    problems: dict[str, None] = {}
    for ruling in rulings:
        for finding in ruling.findings:
            applicable.setdefault(finding.consent.consent.id, finding.consent.match)
            if finding.consent.problem:
                problems.setdefault(f"{finding.consent.consent.id}: {finding.consent.problem}")
    return Decision(
        verdict=decisive.verdict,
        match=decisive.match,
        algorithm=policy.combining,
        implicit_policy=policy.implicit,
        policy_version=policy.version,
        decided_at=now,
        obligations=obligations,
        items=tuple(ItemDecision(r.verdict, r.match) for r in rulings),
        applicable=tuple(applicable.values()),
        problems=tuple(problems),
    )


def _obligations(purpose: str, rulings: Sequence[Ruling]) -> tuple[Obligation, ...]:
    """Return what goes with the permit, in a fixed order, each obligation once."""
    permitted = [r for r in rulings if r.verdict is Verdict.PERMIT]
    refused = tuple(i for i, r in enumerate(rulings) if r.verdict is not Verdict.PERMIT)
    found: list[Obligation] = []
    if refused:
        found.append(Obligation(REDACT, reason="not permitted", items=refused))
    for ruling in permitted:
        found.extend(ruling.obligations)
        for consent in ruling.permits:
            found.extend(
                Obligation(code, reason=f"consent {consent.consent.id}")
                for code in consent.consent.directive.obligations
            )
    found.extend(_lawful_obligations(purpose, permitted))
    return tuple(dict.fromkeys(found))


def _lawful_obligations(purpose: str, permitted: Sequence[Ruling]) -> list[Obligation]:
    """What regulation adds to a permit, whatever the consents say."""
    found = []
    in_family = codes.is_purpose_in
    individual = in_family(purpose, codes.PATIENT_REQUEST)
    treatment = in_family(purpose, codes.TREATMENT)
    if not treatment and not individual:
        found.append(Obligation("MINEC", reason=_MINIMUM_NECESSARY))
    tpo = treatment or in_family(purpose, codes.PAYMENT) or in_family(purpose, codes.OPERATIONS)
    if not tpo and not individual and any(not r.permits for r in permitted):
        # Accounting excludes TPO, the individual, and what the patient authorised.
        found.append(Obligation("AOD", reason=_DISCLOSURES_ACCOUNTED))
    if any(r.part_2 for r in permitted):
        found.append(Obligation("NORDSCLCD", reason="42 CFR 2.32"))
        found.append(Obligation("PERSISTLABEL", reason="42 CFR 2.32"))
    if any(r.match.path.startswith("break-glass:") for r in permitted) or (
        purpose == codes.BREAK_GLASS
    ):
        found.append(Obligation("AUDIT", reason="break-glass review"))
    return found
