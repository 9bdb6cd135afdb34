"""What a member used of a benefit period: deductible, out-of-pocket, limited services. Pure.

A payer keeps a book a member and period, in its own room: what each claim took, under the
commitment of the decision that took it. A claim counts while that decision is the one in force, so
a void, a replacement or an appeal that changes it takes its part back without anybody's doing: the
sums are worked out anew from the ledger's public claims each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date

from chaincode import commitment
from chaincode.claims.amounts import units_of
from chaincode.claims.codes import Group
from chaincode.claims.details import (
    Accumulator,
    Adjudication,
    Coverage,
    Details,
    Use,
    Used,
    UsedByClaim,
)
from chaincode.claims.model import Claim
from chaincode.claims.states import Status
from chaincode.errors import InvalidArgument

HANDLE = b"medfabric/accumulator/v1\x00"
"""The handle of a benefit period: only who has the consortium's key can tell whose it is."""
_HANDLE_SIZE = 16
_DEDUCTIBLE = "1"
_OUT_OF_POCKET = ("1", "2", "3")
_GONE = (Status.VOIDED, Status.REPLACED, Status.REJECTED)


def accumulator_handle(key: bytes, payer: str, coverage: str, period: date) -> str:
    """The handle of a coverage's benefit period. Raises ``ValueError`` for a short key."""
    parts = (payer, coverage, period.isoformat())
    return commitment.fingerprint(key, HANDLE, parts)[:_HANDLE_SIZE].hex()


def period_of(coverage: Coverage, day: date) -> date:
    """The first day of the benefit period that a day is in. Raises InvalidArgument."""
    try:
        # 2000 is a leap year: 02-29 begins a period on 03-01 in years without it.
        start = date.fromisoformat(f"2000-{coverage.period_start}")
    except ValueError:
        raise InvalidArgument("coverage.periodStart: expected month and day, MM-DD") from None
    begins = _in_year(start, day.year)
    return begins if begins <= day else _in_year(start, day.year - 1)


def period_of_claim(coverage: Coverage, details: Details) -> date:
    """The benefit period that a claim counts in: that of its first day of service."""
    return period_of(coverage, min(line.serviced_from for line in details.lines))


def used_by(details: Details, decision: Adjudication, coverage: Coverage) -> Used:
    """What a decision takes; a preauthorisation or predetermination takes nothing."""
    if details.use is not Use.CLAIM:
        return Used()
    deductible = out_of_pocket = 0
    visits: dict[str, int] = {}
    limited = {one.code for one in coverage.visits}
    lines = {line.sequence: line for line in details.lines}
    for line in decision.lines:
        shares = {
            item.carc: item.amount for item in line.adjustments if item.group is Group.PATIENT
        }
        deductible += shares.get(_DEDUCTIBLE, 0)
        out_of_pocket += sum(shares.get(carc, 0) for carc in _OUT_OF_POCKET)
        served = lines[line.sequence]
        if served.code in limited and (line.paid or any(shares.get(c) for c in _OUT_OF_POCKET)):
            visits[served.code] = visits.get(served.code, 0) + units_of(served.quantity)
    return Used(deductible, out_of_pocket, visits)


def used_of(book: Accumulator, claims: Mapping[str, Claim], without: str) -> Used:
    """The sum of what the claims in force took, but for one: the claim to be decided."""
    return add_up(
        one.used
        for one in book.claims
        if one.claim != without and _counts(one, claims.get(one.claim))
    )


def add_up(parts: Iterable[Used]) -> Used:
    """The sum."""
    deductible = out_of_pocket = 0
    visits: dict[str, int] = {}
    for one in parts:
        deductible += one.deductible
        out_of_pocket += one.out_of_pocket
        for code, units in one.visits.items():
            visits[code] = visits.get(code, 0) + units
    return Used(deductible, out_of_pocket, visits)


def entered(book: Accumulator, claims: Mapping[str, Claim], new: UsedByClaim) -> Accumulator:
    """The book with a decision that is to come, and without what can never count again.

    What the claim took before stays until the new decision is in force. A claim that is not decided
    stays too: its decision may be staged and on its way.
    """
    kept = []
    for one in book.claims:
        claim = claims.get(one.claim)
        if claim is not None and claim.status in _GONE:
            continue
        if one.claim == new.claim and not _counts(one, claim):
            continue  # a staging of the same claim that came to nothing
        if one != new:
            kept.append(one)
    return replace(book, claims=(*kept, new))


def _counts(one: UsedByClaim, claim: Claim | None) -> bool:
    return claim is not None and claim.status not in _GONE and claim.decision == one.decision


def _in_year(start: date, year: int) -> date:
    try:
        return start.replace(year=year)
    except ValueError:
        return date(year, 3, 1)
