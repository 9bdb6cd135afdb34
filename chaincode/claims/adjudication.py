"""The arithmetic of a decision: by rules from the checks, or by hand; it balances or is refused.

On each line: charge - sum of adjustments = paid (835: SVC02 - CAS = SVC03), and the totals are the
sums of the lines. Cents throughout; no floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chaincode.claims.codes import Group, is_carc, is_rarc
from chaincode.claims.details import (
    Adjudication,
    Adjustment,
    Coverage,
    Details,
    Line,
    LineDecision,
    PolicyTable,
)
from chaincode.claims.model import CheckResult, Finding, Reason, Verdict
from chaincode.claims.states import Outcome

BASIS_POINTS = 10_000
_SHARES = frozenset(("1", "2", "3", "23", "45", "253"))
"""CARCs that share out what is paid; every other one refuses it."""
_NEEDS_REMARK = frozenset(("16", "17", "96", "252"))


class InvalidAdjudication(ValueError):
    """The decision does not balance or does not fit its claim; the text names line and rule."""


@dataclass(slots=True)
class _Purse:
    """What is left of the amounts that count once for a whole claim."""

    deductible: int
    copay: int
    prior_paid: int


def adjudicate(
    details: Details,
    checks: Iterable[CheckResult],
    *,
    coverage: Coverage | None,
    table: PolicyTable | None,
    prior_paid: int = 0,
) -> Adjudication:
    """Return the decision that the rules make: denials as found, the rest priced in 835's order.

    Contract (45), deductible (1), copay (3), coinsurance (2), then what prior payers paid (23).
    """
    denials = _denials(checks)
    fees = {fee.code: fee.allowed for fee in table.fees} if table else {}
    purse = _Purse(
        deductible=coverage.deductible_left if coverage else 0,
        copay=coverage.copay if coverage else 0,
        prior_paid=prior_paid,
    )
    lines = []
    for line in details.lines:
        denial = denials.get(line.sequence) or denials.get(0)
        if denial is not None:
            lines.append(_denied(line, denial))
        else:
            lines.append(_priced(line, coverage, fees, purse))
    return total_up(details.claim, details.currency, lines)


def total_up(claim: str, currency: str, lines: Iterable[LineDecision]) -> Adjudication:
    """Return the decision with these lines and their sums."""
    listed = tuple(lines)
    return Adjudication(
        claim=claim,
        currency=currency,
        charge=sum(line.charge for line in listed),
        adjusted=sum(adjustment.amount for line in listed for adjustment in line.adjustments),
        paid=sum(line.paid for line in listed),
        lines=listed,
    )


def validate_adjudication(decision: Adjudication, details: Details) -> None:
    """Raise InvalidAdjudication unless it fits the claim, balances and gives its reasons."""
    if decision.claim != details.claim or decision.currency != details.currency:
        raise InvalidAdjudication("the decision is for another claim or in another currency")
    charges = {line.sequence: line.net for line in details.lines}
    if [line.sequence for line in decision.lines] != [line.sequence for line in details.lines]:
        raise InvalidAdjudication("the decision's lines are not the claim's, in order")
    for line in decision.lines:
        _validate_line(line, charges[line.sequence])
    if decision != total_up(decision.claim, decision.currency, decision.lines):
        raise InvalidAdjudication("the totals are not the sums of the lines")


def outcome_of(decision: Adjudication) -> Outcome:
    """PAID if no line is refused, DENIED if every line is, PARTIAL between.

    A line that the patient owes in full (deductible) is processed, not refused.
    """
    refused = [_is_refused(line) for line in decision.lines]
    if all(refused):
        return Outcome.DENIED
    return Outcome.PARTIAL if any(refused) else Outcome.PAID


def reasons_of(decision: Adjudication) -> tuple[Reason, ...]:
    """The distinct reasons of refusal, sorted: what may stand on the ledger."""
    found = {
        (adjustment.group.value, adjustment.carc, adjustment.rarc)
        for line in decision.lines
        for adjustment in line.adjustments
        if adjustment.carc not in _SHARES
    }
    return tuple(Reason(*reason) for reason in sorted(found))


def _denials(checks: Iterable[CheckResult]) -> Mapping[int, Finding]:
    """The first denial of each line (0: of the claim), in the order of the checks."""
    found: dict[int, Finding] = {}
    for result in checks:
        for finding in result.findings:
            if finding.verdict in (Verdict.DENIED, Verdict.REJECTED):
                # A whole claim's exact duplicate denies the claim; other checks name their lines.
                found.setdefault(finding.line, finding)
    return found


def _denied(line: Line, finding: Finding) -> LineDecision:
    if line.net == 0:
        return LineDecision(line.sequence, 0, (_refusal(finding, 0),), 0)
    return LineDecision(line.sequence, line.net, (_refusal(finding, line.net),), 0)


def _refusal(finding: Finding, amount: int) -> Adjustment:
    return Adjustment(Group(finding.group or "CO"), finding.carc or "A1", amount, finding.rarc)


def _priced(
    line: Line, coverage: Coverage | None, fees: Mapping[str, int], purse: _Purse
) -> LineDecision:
    adjustments: list[Adjustment] = []

    def take(group: Group, carc: str, amount: int, left: int) -> int:
        amount = min(amount, left)
        if amount > 0:
            adjustments.append(Adjustment(group, carc, amount))
        return max(amount, 0)

    left = line.net
    if line.code in fees:
        allowed = min(int(fees[line.code] * line.quantity), line.net)
        left -= take(Group.CONTRACTUAL, "45", line.net - allowed, left)
    taken = take(Group.PATIENT, "1", purse.deductible, left)
    purse.deductible -= taken
    left -= taken
    taken = take(Group.PATIENT, "3", purse.copay, left)
    purse.copay -= taken
    left -= taken
    if coverage is not None:
        left -= take(Group.PATIENT, "2", _share(left, coverage.coinsurance), left)
    taken = take(Group.OTHER, "23", purse.prior_paid, left)
    purse.prior_paid -= taken
    left -= taken
    return LineDecision(line.sequence, line.net, tuple(adjustments), left)


def _share(amount: int, basis_points: int) -> int:
    """The share in cents, rounded half up."""
    return (2 * amount * basis_points + BASIS_POINTS) // (2 * BASIS_POINTS)


def _is_refused(line: LineDecision) -> bool:
    return line.paid == 0 and any(item.carc not in _SHARES for item in line.adjustments)


def _validate_line(line: LineDecision, charge: int) -> None:
    where = f"line {line.sequence}"
    if line.charge != charge:
        raise InvalidAdjudication(f"{where}: the charge is not the claim's")
    if line.paid < 0 or any(item.amount < 0 for item in line.adjustments):
        raise InvalidAdjudication(f"{where}: an amount is negative")
    if charge - sum(item.amount for item in line.adjustments) != line.paid:
        raise InvalidAdjudication(f"{where}: charge - adjustments is not what is paid")
    for item in line.adjustments:
        if not is_carc(item.carc) or (item.rarc and not is_rarc(item.rarc)):
            raise InvalidAdjudication(f"{where}: not a CARC or RARC")
        if item.carc in _NEEDS_REMARK and item.amount and not item.rarc and item.carc != "96":
            raise InvalidAdjudication(f"{where}: CARC {item.carc} needs a remark code (RARC)")
    if charge > 0 and line.paid == 0 and not line.adjustments:
        raise InvalidAdjudication(f"{where}: nothing is paid and no reason given")
