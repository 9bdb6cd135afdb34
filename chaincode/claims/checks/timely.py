"""Check 8: the claim came within the payer's filing limit, counted from the last day of service."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from chaincode.claims.checks.context import ClaimContext, deferred
from chaincode.claims.codes import Group
from chaincode.claims.model import Finding, Verdict


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield each line that is too old. A correction of an earlier claim keeps that one's time."""
    details = claim.details
    if details is None:
        yield from deferred("the claim's details are")
        return
    if claim.filing.replaces or claim.filing.coordinates:
        return  # a replacement and a secondary claim follow a claim that was in time
    limit = timedelta(days=min(claim.filing_days, _table_days(claim)))
    for line in details.lines:
        if claim.now.date() - line.last_day > limit:
            note = f"filed more than {limit.days} days after the service"
            yield Finding(Verdict.DENIED, note, Group.CONTRACTUAL, "29", "", line.sequence)


def _table_days(claim: ClaimContext) -> int:
    return claim.filing_days if claim.table is None else claim.table.filing_days
