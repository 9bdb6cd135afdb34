"""Check 11: services that exclude each other and unit limits, from the payer's versioned table.

The shapes are those of NCCI: procedure pairs with a modifier indicator, unit limits per line or per
day. The contents are licensed, so tables are loaded by digest and never ship.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from chaincode.claims.amounts import units_of
from chaincode.claims.checks.context import ClaimContext, deferred
from chaincode.claims.codes import Group
from chaincode.claims.details import Details, Pair, UnitLimit
from chaincode.claims.model import Finding, Verdict

DISTINCT_MODIFIERS = frozenset(
    ("25", "58", "59", "78", "79", "91", "LT", "RT", "XE", "XP", "XS", "XU")
)
"""Modifiers that say that two services are distinct."""
_DELETED, _UNLESS_MODIFIER = 9, 1
_PER_LINE, _PER_DAY_APPEALABLE = 1, 3


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield each line that an edit stops."""
    if claim.details is None or claim.table is None:
        yield from deferred("the payer's table of edits is")
        return
    for pair in claim.table.pairs:
        if pair.modifier != _DELETED:
            yield from _check_pair(claim.details, pair)
    for limit in claim.table.units:
        yield from _check_limit(claim.details, limit)


def _check_pair(details: Details, pair: Pair) -> Iterator[Finding]:
    days = {line.serviced_from for line in details.lines if line.code == pair.first}
    for line in details.lines:
        if line.code != pair.second or line.serviced_from not in days:
            continue
        if pair.modifier == _UNLESS_MODIFIER and DISTINCT_MODIFIERS & set(line.modifiers):
            continue
        note = "the service is part of another on the same day"
        yield Finding(Verdict.DENIED, note, Group.CONTRACTUAL, "97", "M15", line.sequence)


def _check_limit(details: Details, limit: UnitLimit) -> Iterator[Finding]:
    used: dict[date, int] = {}
    for line in details.lines:
        if line.code != limit.code:
            continue
        units = units_of(line.quantity)
        if limit.indicator != _PER_LINE:
            units += used.get(line.serviced_from, 0)
            used[line.serviced_from] = units
        if units > limit.limit:
            appealable = limit.indicator == _PER_DAY_APPEALABLE
            note = f"more units than the limit{' (appealable)' if appealable else ''}"
            yield Finding(Verdict.DENIED, note, Group.CONTRACTUAL, "151", "N362", line.sequence)
