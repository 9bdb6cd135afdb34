"""What follows from a claim's details alone: whole units, and what prior payers paid. Pure."""

from __future__ import annotations

from decimal import Decimal

from chaincode.claims.details import Details, Insurance


def units_of(quantity: Decimal) -> int:
    """Whole units of a quantity, rounded up."""
    whole = int(quantity)
    return whole if whole == quantity else whole + 1


def prior_payers(details: Details) -> list[Insurance]:
    """The insurances that come before the focal one, in order."""
    focal = next((item.sequence for item in details.insurance if item.focal), 0)
    before = [item for item in details.insurance if item.sequence < focal]
    return sorted(before, key=lambda item: item.sequence)


def prior_paid(details: Details) -> int:
    """Cents that prior payers paid."""
    return sum(item.paid or 0 for item in prior_payers(details))


def prior_by_line(details: Details) -> dict[int, int]:
    """Cents that prior payers paid by line; empty unless each of them named all that it paid."""
    found: dict[int, int] = {}
    for item in prior_payers(details):
        if sum(line.paid for line in item.paid_lines) != (item.paid or 0):
            return {}
        for line in item.paid_lines:
            found[line.sequence] = found.get(line.sequence, 0) + line.paid
    return found
