"""Adjudications → 835 (005010X221A1): one set a payee and payment, balanced or not written.

The guide's balancing (section 1.10.2.1): charge - adjustments = paid on each service line (SVC02 -
CAS = SVC03) and each claim (CLP03 - CAS = CLP04), and the claims' payments less what is adjusted
with the provider are the payment: sum of CLP04 - sum of PLB = BPR02. A claim that was paid and then
voided or replaced comes back reversed (CLP02 22, every amount negated); if that is more than there
is to pay, the rest is carried forward (PLB, FB), for a payment is never negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from admin.x12.partners import Profile
from admin.x12.writer import Row, SetOut, composite, money
from chaincode.claims.details import Adjudication, Adjustment, Details, Line, LineDecision, Type
from chaincode.claims.states import Outcome

GUIDE = "005010X221A1"
PRIMARY, SECONDARY, TERTIARY, DENIED, REVERSAL = "1", "2", "3", "4", "22"
CAS_REASONS = 6
"""Reasons that one CAS takes."""
PLB_FORWARD = "FB"


class UnbalancedError(ValueError):
    """An 835 that would not balance; the text names claim, line and rule, never a value."""


@dataclass(frozen=True, slots=True)
class Paid:
    """A decided claim as it goes into an 835.

    `handle` is what the payer calls it (CLP07), `received` when it came; `reversed` takes an
    earlier payment back.
    """

    handle: str
    details: Details
    decision: Adjudication
    outcome: Outcome
    received: date
    reversed: bool = False


@dataclass(frozen=True, slots=True)
class Payment:
    """What one 835 pays: to whom, under which trace, when, for which claims."""

    npi: str
    trace: str
    paid_on: date
    claims: tuple[Paid, ...]

    @property
    def total(self) -> int:
        """Cents: the sum of the claims' payments, reversals negative."""
        return sum(_sign(one) * one.decision.paid for one in self.claims)


def build_remittance(payment: Payment, profile: Profile, at: datetime) -> SetOut:
    """The 835 of a payment.

    Raises:
        UnbalancedError: an amount does not follow from the others; nothing is written.
    """
    for number, claim in enumerate(payment.claims, 1):
        validate_balance(claim.decision, f"claim {number}")
        _validate_claim(claim, f"claim {number}")
    paid = max(payment.total, 0)
    forward = payment.total - paid  # never positive: what is carried forward
    rows: list[Row] = [*_head(payment, paid, profile, at), ("LX", "1")]
    for one in payment.claims:
        rows += _claim(one, profile)
    if forward:
        year_end = f"{payment.paid_on.year}1231"
        reference = composite(PLB_FORWARD, payment.trace)
        rows.append(("PLB", payment.npi, year_end, reference, money(forward)))
    validate_rows(rows)
    return SetOut("835", GUIDE, tuple(rows))


def validate_balance(decision: Adjudication, where: str) -> None:
    """Raise UnbalancedError unless charge - adjustments = paid on every line and in total."""
    for line in decision.lines:
        adjusted = sum(item.amount for item in line.adjustments)
        if line.charge - adjusted != line.paid:
            raise UnbalancedError(
                f"{where} line {line.sequence}: charge - adjustments is not what is paid "
                "(SVC02 - CAS = SVC03)"
            )
    sums = (
        sum(line.charge for line in decision.lines),
        sum(item.amount for line in decision.lines for item in line.adjustments),
        sum(line.paid for line in decision.lines),
    )
    if sums != (decision.charge, decision.adjusted, decision.paid):
        raise UnbalancedError(f"{where}: the lines do not add up to the claim (CLP03, CLP04)")


def validate_rows(rows: Sequence[Row]) -> None:
    """Raise UnbalancedError unless the written segments balance, as a receiver adds them up."""
    paid = 0
    claim = line = 0
    for row in rows:
        if row[0] == "CLP":
            _close(claim, line)
            claim, line = _cents(row[3]) - _cents(row[4]), 0
            paid += _cents(row[4])
        elif row[0] == "SVC":
            _close(0, line)
            line = _cents(row[2]) - _cents(row[3])
        elif row[0] == "CAS":
            amount = sum(_cents(row[at]) for at in range(3, len(row), 3))
            line -= amount
            claim -= amount
        elif row[0] == "PLB":
            paid -= sum(_cents(row[at]) for at in range(4, len(row), 2))
    _close(claim, line)
    payment = next(row for row in rows if row[0] == "BPR")
    if _cents(payment[2]) != paid:
        raise UnbalancedError("the payment is not the claims' less PLB (BPR02)")


def _close(claim: int, line: int) -> None:
    if claim or line:
        raise UnbalancedError("a written claim or line does not balance")


def _validate_claim(claim: Paid, where: str) -> None:
    charges = [line.net for line in claim.details.lines]
    if [line.charge for line in claim.decision.lines] != charges:
        raise UnbalancedError(f"{where}: the decided charges are not the claim's (SVC02)")
    if claim.details.currency != "USD" or claim.decision.currency != "USD":
        raise UnbalancedError(f"{where}: another currency than dollars")


def _head(payment: Payment, paid: int, profile: Profile, at: datetime) -> list[Row]:
    payer, payee = profile.payer, profile.payee(payment.npi)
    method = "CHK" if paid else "NON"
    when = f"{payment.paid_on:%Y%m%d}"
    rows: list[Row] = [
        ("BPR", "I" if paid else "H", money(paid), "C", method, *("",) * 11, when),
        ("TRN", "1", payment.trace, f"1{payer.tax_id}"),
        ("DTM", "405", f"{at:%Y%m%d}"),
        ("N1", "PR", payer.name),
        ("N3", payer.street),
        ("N4", payer.city, payer.state, payer.zip),
        ("PER", "BL", payer.contact, "TE", payer.phone),
        ("N1", "PE", payee.name, "XX", payment.npi),
    ]
    if payee.tax_id:
        rows.append(("REF", "TJ", payee.tax_id))
    return rows


def _claim(one: Paid, profile: Profile) -> Iterable[Row]:
    sign = _sign(one)
    details, decision = one.details, one.decision
    owed = sum(
        item.amount
        for line in decision.lines
        for item in line.adjustments
        if item.group.value == "PR"
    )
    professional = details.type is not Type.INSTITUTIONAL
    place = details.lines[0].place if professional and details.lines else ""
    yield (
        "CLP",
        details.number or one.handle,
        _status(one),
        money(sign * decision.charge),
        money(sign * decision.paid),
        # A reversal has no patient responsibility to tell: the corrected claim does.
        money(owed) if owed and not one.reversed else "",
        profile.filing,
        one.handle,
        place,
        "1" if place else "",
    )
    member = profile.member(details.patient)
    yield ("NM1", "QC", "1", member.last, member.first, "", "", "", "MI", member.id)
    yield ("DTM", "050", f"{one.received:%Y%m%d}")
    lines = {line.sequence: line for line in details.lines}
    for decided in decision.lines:
        yield from _line(lines[decided.sequence], decided, sign)


def _line(line: Line, decided: LineDecision, sign: int) -> Iterable[Row]:
    code, revenue = _procedure(line)
    units = format(line.quantity.normalize(), "f")
    yield (
        "SVC",
        code,
        money(sign * decided.charge),
        money(sign * decided.paid),
        revenue,
        units,
    )
    if line.last_day == line.serviced_from:
        yield ("DTM", "472", f"{line.serviced_from:%Y%m%d}")
    else:
        yield ("DTM", "150", f"{line.serviced_from:%Y%m%d}")
        yield ("DTM", "151", f"{line.last_day:%Y%m%d}")
    yield from _adjustments(decided.adjustments, sign)
    if line.control:
        yield ("REF", "6R", line.control)
    if sign > 0:
        allowed = decided.charge - sum(
            item.amount for item in decided.adjustments if item.group.value != "PR"
        )
        if allowed:
            yield ("AMT", "B6", money(allowed))
    for remark in dict.fromkeys(item.rarc for item in decided.adjustments if item.rarc):
        yield ("LQ", "HE", remark)


def _adjustments(items: Sequence[Adjustment], sign: int) -> Iterable[Row]:
    """CAS: a segment a group, up to six reasons each; amounts of one reason are one."""
    sums: dict[str, dict[str, int]] = {}
    for item in items:
        if item.amount:
            reasons = sums.setdefault(item.group.value, {})
            reasons[item.carc] = reasons.get(item.carc, 0) + item.amount
    for group, reasons in sums.items():
        listed = list(reasons.items())
        for start in range(0, len(listed), CAS_REASONS):
            row: Row = ("CAS", group)
            for carc, amount in listed[start : start + CAS_REASONS]:
                row += (carc, money(sign * amount), "")
            yield row[:-1]


def _procedure(line: Line) -> tuple[str, str]:
    """SVC01 and SVC04: what was done, and the revenue code beside it."""
    if line.revenue and line.code == line.revenue:
        return composite("NU", line.revenue), ""
    qualifier = "N4" if line.code.isdecimal() and len(line.code) == 11 else "HC"
    return composite(qualifier, line.code, *line.modifiers[:4]), line.revenue


def _status(one: Paid) -> str:
    if one.reversed:
        return REVERSAL
    if one.outcome is Outcome.DENIED:
        return DENIED
    focal = next((item.sequence for item in one.details.insurance if item.focal), 1)
    return {1: PRIMARY, 2: SECONDARY}.get(focal, TERTIARY)


def _sign(one: Paid) -> int:
    return -1 if one.reversed else 1


def _cents(text: str) -> int:
    whole, _, part = text.lstrip("-").partition(".")
    value = int(whole or 0) * 100 + int((part + "00")[:2])
    return -value if text.startswith("-") else value


def merge_payments(payments: Iterable[Payment]) -> tuple[Payment, ...]:
    """One payment a payee, trace and day, its claims together, by what the filer calls them."""
    found: dict[tuple[str, str, date], Payment] = {}
    for one in payments:
        key = (one.npi, one.trace, one.paid_on)
        held = found.get(key)
        found[key] = one if held is None else replace(held, claims=held.claims + one.claims)
    return tuple(
        replace(one, claims=tuple(sorted(one.claims, key=_order))) for one in found.values()
    )


def _order(claim: Paid) -> tuple[str, bool, str]:
    """A reversal stands right before the claim that replaces it."""
    return (claim.details.number, not claim.reversed, claim.handle)
