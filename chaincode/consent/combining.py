"""Several consents, one answer: XACML's combining algorithms over consents that apply.

Names as in FHIR Permission.combining, and LEAP's most-recent. `ordered` takes the first applicable
consent. An undetermined consent never lets a permit through that its deny would have stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chaincode.consent.compiled import CompiledConsent
from chaincode.consent.model import Combining, Effect, Match, Obligation, Verdict

_NOTHING = Match("none")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one applicable consent says about one item. `effect` None: it cannot be determined.

    `partial`: the consent speaks only for the part of a category that its obligations name.
    """

    consent: CompiledConsent
    effect: Effect | None
    match: Match
    obligations: tuple[Obligation, ...] = ()
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Combined:
    """The answer of all; `by_consent` is False where the algorithm alone gave it."""

    verdict: Verdict
    match: Match = _NOTHING
    obligations: tuple[Obligation, ...] = ()
    by_consent: bool = True


def combine(algorithm: Combining, findings: Sequence[Finding]) -> Combined:
    """Return the one answer of `findings`, given in the order that `ordered` shall use."""
    if algorithm is Combining.MOST_RECENT:
        return _most_recent(findings)
    if algorithm is Combining.ORDERED:
        return _first_applicable(findings)
    permit = _find(findings, Effect.PERMIT)
    deny = _find(findings, Effect.DENY)
    unclear = next((f for f in findings if f.effect is None and not f.partial), None)
    redactions = tuple(o for f in findings for o in f.obligations)
    if algorithm in (Combining.PERMIT_OVERRIDES, Combining.ORDERED_PERMIT_OVERRIDES):
        return _permit_overrides(permit, deny, unclear, findings)
    if algorithm is Combining.DENY_UNLESS_PERMIT:
        if permit is not None:
            return Combined(Verdict.PERMIT, permit.match, permit.obligations)
        if deny is not None:
            return _denied(deny)
        return Combined(Verdict.DENY, _NOTHING, redactions, by_consent=False)
    if deny is not None:
        return _denied(deny)
    if unclear is not None:
        return Combined(Verdict.INDETERMINATE, unclear.match)
    if permit is not None:
        return Combined(Verdict.PERMIT, permit.match, redactions)
    if algorithm is Combining.PERMIT_UNLESS_DENY:
        return Combined(Verdict.PERMIT, _NOTHING, redactions, by_consent=False)
    return Combined(Verdict.NOT_APPLICABLE, _NOTHING, redactions)


def _permit_overrides(
    permit: Finding | None,
    deny: Finding | None,
    unclear: Finding | None,
    findings: Sequence[Finding],
) -> Combined:
    if permit is not None:
        return Combined(Verdict.PERMIT, permit.match, permit.obligations)
    if unclear is not None:
        return Combined(Verdict.INDETERMINATE, unclear.match)
    if deny is not None:
        return _denied(deny)
    redactions = tuple(o for f in findings for o in f.obligations)
    return Combined(Verdict.NOT_APPLICABLE, _NOTHING, redactions)


def _first_applicable(findings: Sequence[Finding]) -> Combined:
    redactions: tuple[Obligation, ...] = ()
    for finding in findings:
        redactions += finding.obligations
        if finding.effect is Effect.PERMIT:
            return Combined(Verdict.PERMIT, finding.match, redactions)
        if finding.effect is Effect.DENY:
            return _denied(finding)
        if not finding.partial:
            return Combined(Verdict.INDETERMINATE, finding.match)
    return Combined(Verdict.NOT_APPLICABLE, _NOTHING, redactions)


def _find(findings: Sequence[Finding], effect: Effect) -> Finding | None:
    """The first finding with `effect`; among permits one without redactions if there is one."""
    found = [f for f in findings if f.effect is effect]
    return min(found, key=lambda f: len(f.obligations), default=None)


def _denied(finding: Finding) -> Combined:
    return Combined(Verdict.DENY, finding.match)


def _most_recent(findings: Sequence[Finding]) -> Combined:
    """The newest by ledger time, not by the claimed date; at the same moment deny overrides."""
    redactions: tuple[Obligation, ...] = ()
    for moment in sorted({f.consent.consent.recorded_at for f in findings}, reverse=True):
        newest = [f for f in findings if f.consent.consent.recorded_at == moment]
        combined = combine(Combining.DENY_OVERRIDES, newest)
        redactions += combined.obligations
        if combined.verdict is not Verdict.NOT_APPLICABLE:
            return replace(combined, obligations=redactions)
    return Combined(Verdict.NOT_APPLICABLE, _NOTHING, redactions)
