"""Check 12: charge - adjustments = paid, on every line and in total."""

from __future__ import annotations

from collections.abc import Iterator

from chaincode.claims.adjudication import InvalidAdjudication, validate_adjudication
from chaincode.claims.checks.context import ClaimContext, deferred
from chaincode.claims.codes import Group
from chaincode.claims.model import Finding, Verdict


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield a rejection of the decision if it does not balance."""
    if claim.details is None or claim.priced is None:
        yield from deferred("the price is")
        return
    try:
        validate_adjudication(claim.priced, claim.details)
    except InvalidAdjudication as error:
        yield Finding(Verdict.REJECTED, str(error), Group.CONTRACTUAL, "16", "M54")
