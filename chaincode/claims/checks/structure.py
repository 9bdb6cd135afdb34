"""Check 1: the claim is well formed, its dates are sane and its sums come out.

A fault rejects at the gate: it is not a denial; the claim is corrected and sent as new (MA130).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from chaincode.claims.checks.context import ClaimContext, deferred
from chaincode.claims.codes import Group
from chaincode.claims.details import Details, Line, Use
from chaincode.claims.model import Finding, Verdict

MAX_LINES = 999
"""X12 837I allows so many service lines."""
MAX_AMOUNT = 10**12


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield each fault of form."""
    details = claim.details
    if details is None:
        yield from deferred("the claim's details are")
        return
    yield from _check_head(claim, details)
    yield from _check_references(claim, details)
    for line in details.lines:
        yield from _check_line(details, line)
    if sum(line.net for line in details.lines) != details.total:
        yield fault("the lines do not add up to the total", rarc="M54")


def is_npi(number: str) -> bool:
    """Whether these are ten digits whose Luhn sum, with prefix 80840, ends in 0 (45 CFR
    162.406)."""
    if len(number) != 10 or not (number.isascii() and number.isdecimal()) or number[0] not in "12":
        return False
    total = 24  # what the prefix 80840 adds to every sum
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def compute_net(quantity: Decimal, unit_price: int, factor: Decimal) -> int:
    """Return quantity x unit price x factor in cents, rounded half up."""
    return int((quantity * unit_price * factor).quantize(Decimal(1), ROUND_HALF_UP))


def fault(note: str, *, line: int = 0, carc: str = "16", rarc: str = "MA130") -> Finding:
    """A finding that rejects."""
    return Finding(Verdict.REJECTED, note, Group.CONTRACTUAL, carc, rarc, line)


def _check_head(claim: ClaimContext, details: Details) -> Iterator[Finding]:
    if (details.claim, details.patient) != (claim.filing.claim, claim.filing.patient):
        yield fault("the details name another claim or patient than the filing")
    if not is_npi(details.provider_npi):
        yield fault("the billing provider's NPI does not check", rarc="N257")
    if details.facility_npi and not is_npi(details.facility_npi):
        yield fault("the facility's NPI does not check", rarc="N290")
    if len(details.currency) != 3 or not details.currency.isalpha():
        yield fault("the currency is not an ISO 4217 code")
    if not 1 <= len(details.lines) <= MAX_LINES:
        yield fault(f"a claim has 1 to {MAX_LINES} lines")
    if details.created > claim.now.date():
        yield fault("the claim is dated in the future")


def _check_references(claim: ClaimContext, details: Details) -> Iterator[Finding]:
    for name, items in (
        ("line", [line.sequence for line in details.lines]),
        ("diagnosis", [diagnosis.sequence for diagnosis in details.diagnoses]),
        ("supporting information", [item.sequence for item in details.supporting]),
        ("insurance", [item.sequence for item in details.insurance]),
    ):
        if not _counts(items):
            yield fault(f"a {name} sequence is below 1 or occurs twice")
    if details.insurance and sum(item.focal for item in details.insurance) != 1:
        yield fault("exactly one insurance is focal")
    diagnoses = {diagnosis.sequence for diagnosis in details.diagnoses}
    supporting = {item.sequence for item in details.supporting}
    for line in details.lines:
        if not set(line.diagnosis_sequences) <= diagnoses:
            yield fault("points to a diagnosis that is not there", line=line.sequence, rarc="M76")
        if not set(line.information_sequences) <= supporting:
            yield fault("points to information that is not there", line=line.sequence)
    filed = {item.record for item in claim.filing.evidence}
    if not {item.record for item in details.supporting if item.record} <= filed:
        yield fault("supporting records are missing from the filing's evidence", rarc="N706")


def _check_line(details: Details, line: Line) -> Iterator[Finding]:
    at = line.sequence
    if not line.code or len(line.code) > 48:
        yield fault("has no procedure code", line=at, rarc="M51")
    if line.quantity <= 0 or line.quantity > 10**6:
        yield fault("quantity is not above 0", line=at, rarc="M53")
    elif not 0 <= line.unit_price <= MAX_AMOUNT or line.factor < 0 or line.factor > 10**3:
        yield fault("price or factor out of range", line=at, rarc="M79")
    elif compute_net(line.quantity, line.unit_price, line.factor) != line.net:
        yield fault("net is not quantity x unit price x factor", line=at, rarc="M79")
    yield from _check_dates(details, line)


def _check_dates(details: Details, line: Line) -> Iterator[Finding]:
    at, first, last = line.sequence, line.serviced_from, line.last_day
    if last < first:
        yield fault("the service ends before it begins", line=at, rarc="M52")
    if last > details.created and details.use is Use.CLAIM:
        yield fault("the service is after the claim", line=at, rarc="M52")
    if _before(first, details.birth):
        yield fault("the service is before the date of birth", line=at, carc="14", rarc="")
    if _before(details.death, last):
        yield fault("the service is after the date of death", line=at, carc="13", rarc="")


def _before(first: date | None, second: date | None) -> bool:
    return first is not None and second is not None and first < second


def _counts(sequences: Iterable[int]) -> bool:
    listed = list(sequences)
    return len(set(listed)) == len(listed) and all(item >= 1 for item in listed)
