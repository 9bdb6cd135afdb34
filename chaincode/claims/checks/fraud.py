"""Check 13: patterns that an investigator looks at. They flag and never deny."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date

from chaincode.claims.checks.context import ClaimContext, deferred
from chaincode.claims.details import Details
from chaincode.claims.model import Finding, Verdict

MINUTES_A_DAY = 24 * 60
SAME_CHARGE_LINES = 10
"""From so many lines of one round charge on, the pattern is worth a look."""
ROUND_CENTS = 100_00


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield flags."""
    if claim.details is None:
        yield from deferred("the claim's details are")
        return
    yield from _check_impossible_day(claim.details)
    yield from _check_charges(claim.details)


def _check_impossible_day(details: Details) -> Iterator[Finding]:
    minutes: dict[date, int] = {}
    for line in details.lines:
        if line.last_day == line.serviced_from:
            minutes[line.serviced_from] = minutes.get(line.serviced_from, 0) + line.minutes
    if any(total > MINUTES_A_DAY for total in minutes.values()):
        yield Finding(Verdict.FLAGGED, "impossible day: more than 24 hours of service on one day")


def _check_charges(details: Details) -> Iterator[Finding]:
    charges = Counter(line.net for line in details.lines if line.net % ROUND_CENTS == 0)
    if charges and charges.most_common(1)[0][1] >= SAME_CHARGE_LINES:
        yield Finding(Verdict.FLAGGED, "charge pattern: many lines of the same round charge")
