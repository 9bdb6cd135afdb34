"""Check 10: payers stand in order, and a secondary claim comes with the primary's decision."""

from __future__ import annotations

from collections.abc import Iterator

from chaincode.claims.amounts import prior_by_line, prior_paid, prior_payers
from chaincode.claims.checks.context import ClaimContext, deferred, skipped
from chaincode.claims.codes import Group
from chaincode.claims.details import Adjudication, Details, Insurance
from chaincode.claims.model import Finding, Verdict
from chaincode.claims.states import Status

_DECIDED = (Status.ADJUDICATED, Status.REMITTED, Status.RECONCILED)


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield what is missing of the prior payers' decisions."""
    details = claim.details
    if details is None:
        yield from deferred("the claim's details are")
        return
    earlier = prior_payers(details)
    if not earlier and not claim.filing.coordinates:
        yield from skipped("there is one insurance, or ours comes first")
        return
    if any(item.paid is None for item in earlier) or not earlier:
        note = "another payer comes first and its decision is missing"
        yield Finding(Verdict.DENIED, note, Group.OTHER, "22", "MA04")
        return
    yield from _check_amounts(details, earlier)
    yield from _check_primary(claim, earlier)


def _check_amounts(details: Details, earlier: list[Insurance]) -> Iterator[Finding]:
    charges = {line.sequence: line.net for line in details.lines}
    stated = [line for item in earlier for line in item.paid_lines]
    if any((item.paid or 0) < 0 or (item.adjusted or 0) < 0 for item in earlier) or any(
        line.paid < 0 for line in stated
    ):
        yield Finding(Verdict.PENDED, "a prior payment is negative", Group.OTHER, "23", "MA04")
    elif any(line.sequence not in charges for line in stated):
        note = "a prior payment is on a line that the claim has not"
        yield Finding(Verdict.PENDED, note, Group.OTHER, "23", "MA04")
    elif prior_paid(details) > details.total or any(
        paid > charges.get(line, 0) for line, paid in prior_by_line(details).items()
    ):
        note = "prior payers paid more than was charged"
        yield Finding(Verdict.PENDED, note, Group.OTHER, "23", "MA04")


def _check_primary(claim: ClaimContext, earlier: list[Insurance]) -> Iterator[Finding]:
    if not claim.filing.coordinates:
        note = (
            "the prior payer's claim is not on this ledger; its decision rests on the filer's word"
        )
        yield Finding(Verdict.FLAGGED, note, Group.OTHER, "22")
        return
    primary = claim.primary
    if primary is None or primary.patient != claim.filing.patient:
        note = "the claim it coordinates with is not this patient's"
        yield Finding(Verdict.DENIED, note, Group.OTHER, "22", "MA04")
    elif primary.status not in _DECIDED or primary.payer == claim.filing.payer:
        note = "the claim it coordinates with is not decided by another payer"
        yield Finding(Verdict.DENIED, note, Group.OTHER, "22", "MA04")
    elif primary.decision is not None and not _tells(earlier, primary.decision):
        note = "what the claim says of the prior payer is not what that payer decided"
        yield Finding(Verdict.DENIED, note, Group.OTHER, "22", "MA04")
    elif primary.decision is None and not claim.settled:
        note = "the prior payer's decision was not shown; it rests on the filer's word"
        yield Finding(Verdict.FLAGGED, note, Group.OTHER, "22")


def _tells(earlier: list[Insurance], decision: Adjudication) -> bool:
    """Whether the insurance right before ours carries this decision's amounts."""
    told = earlier[-1]
    lines = {line.sequence: line.paid for line in told.paid_lines}
    if told.paid_lines and lines != {x.sequence: x.paid for x in decision.lines if x.paid}:
        return False
    return told.paid == decision.paid
