"""The automatic checks of a claim, in order; each module holds one and knows nothing of the rest.

Each has a function `check(claim)` that yields findings over a `ClaimContext` of facts; it is pure.
`run` is the list. LEDGER checks need what everybody sees, DETAILS checks the private part.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from enum import Enum

from chaincode.claims.checks import (
    authority,
    authorization,
    codeedits,
    consent,
    coordination,
    duplicate,
    eligibility,
    enrolment,
    evidence,
    fraud,
    pricing,
    structure,
    timely,
)
from chaincode.claims.checks.context import ClaimContext
from chaincode.claims.model import CheckResult, Finding, Verdict


class Needs(Enum):
    """What a check looks at."""

    LEDGER = "ledger"
    DETAILS = "details"


@dataclass(frozen=True, slots=True)
class Check:
    """A check by name."""

    name: str
    needs: Needs
    check: Callable[[ClaimContext], Iterable[Finding]]


CHECKS: tuple[Check, ...] = (
    Check("structure", Needs.DETAILS, structure.check),
    Check("authority", Needs.LEDGER, authority.check),
    Check("consent", Needs.LEDGER, consent.check),
    Check("evidence", Needs.LEDGER, evidence.check),
    Check("eligibility", Needs.DETAILS, eligibility.check),
    Check("enrolment", Needs.DETAILS, enrolment.check),
    Check("authorization", Needs.DETAILS, authorization.check),
    Check("timely-filing", Needs.DETAILS, timely.check),
    Check("duplicate", Needs.LEDGER, duplicate.check),
    Check("coordination", Needs.DETAILS, coordination.check),
    Check("code-edits", Needs.DETAILS, codeedits.check),
    Check("pricing", Needs.DETAILS, pricing.check),
    Check("fraud", Needs.DETAILS, fraud.check),
)
"""In the order in which they run and are reported."""

_GRAVITY = {verdict: rank for rank, verdict in enumerate(Verdict)}
_QUIET = (Verdict.DEFERRED, Verdict.SKIPPED)


def run(claim: ClaimContext, needs: Needs | None = None) -> tuple[CheckResult, ...]:
    """Return the results of all checks, or of those with these needs, in order.

    A claim whose structure fails is not looked at further by the checks that need its details:
    they could only repeat the fault in other words.
    """
    results: list[CheckResult] = []
    broken = False
    for item in CHECKS:
        if needs is not None and item.needs is not needs:
            continue
        if broken and item.needs is Needs.DETAILS:
            results.append(CheckResult(item.name, Verdict.SKIPPED))
            continue
        result = _judge(item.name, tuple(item.check(claim)))
        broken = broken or (item.name == "structure" and result.verdict is Verdict.REJECTED)
        results.append(result)
    return tuple(results)


def run_one(name: str, claim: ClaimContext) -> CheckResult:
    """Return the result of the check of this name."""
    item = next(item for item in CHECKS if item.name == name)
    return _judge(name, tuple(item.check(claim)))


def drop_related(result: CheckResult, gone: Container[str]) -> CheckResult:
    """Return the result without the findings about claims that no longer count."""
    kept = tuple(finding for finding in result.findings if finding.related not in gone)
    return result if kept == result.findings else _judge(result.check, kept)


def merge(*parts: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    """Return the results in the order of the checks; of two for one check the later counts."""
    by_name = {result.check: result for part in parts for result in part}
    return tuple(by_name[item.name] for item in CHECKS if item.name in by_name)


def is_rejected(results: Iterable[CheckResult]) -> bool:
    """Whether the claim stops at the gate."""
    return any(result.verdict is Verdict.REJECTED for result in results)


def _judge(name: str, findings: tuple[Finding, ...]) -> CheckResult:
    loud = [f.verdict for f in findings if f.verdict not in _QUIET]
    if loud:
        return CheckResult(name, max(loud, key=_GRAVITY.__getitem__), findings)
    quiet = Verdict.PASSED
    if findings:
        deferred = any(f.verdict is Verdict.DEFERRED for f in findings)
        quiet = Verdict.DEFERRED if deferred else Verdict.SKIPPED
    return CheckResult(name, quiet, findings)
