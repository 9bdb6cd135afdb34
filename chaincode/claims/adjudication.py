"""The arithmetic of a decision: by rules from the checks, or by hand; it balances or is refused.

On each line: charge - sum of adjustments = paid (835: SVC02 - CAS = SVC03), and the totals are the
sums of the lines. Over all payers no more is paid than was charged. Cents throughout; no floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chaincode.claims.amounts import prior_by_line, prior_paid, units_of
from chaincode.claims.codes import Group, is_carc, is_rarc
from chaincode.claims.details import (
    Adjudication,
    Adjustment,
    Coordination,
    Coverage,
    Details,
    Line,
    LineDecision,
    PolicyTable,
    Used,
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
    """What is left of the amounts that count once for a whole claim, or for a benefit period.

    `out_of_pocket` is None without a limit; `prior` is what prior payers paid on lines that they
    did not name, `by_line` on those that they did.
    """

    deductible: int
    copay: int
    out_of_pocket: int | None
    visits: dict[str, int]
    prior: int
    by_line: dict[int, int]

    def take_share(self, amount: int) -> int:
        """What of a member's share counts: no more than is left of the out-of-pocket limit."""
        if self.out_of_pocket is None:
            return amount
        taken = min(amount, self.out_of_pocket)
        self.out_of_pocket -= taken
        return taken

    def give_back(self, amount: int) -> None:
        """A share that the member does not owe after all, for a prior payer paid it."""
        if self.out_of_pocket is not None:
            self.out_of_pocket += amount

    def take_prior(self, line: int, most: int) -> int:
        """What prior payers paid on the line, at most so much."""
        if line in self.by_line:
            return min(self.by_line[line], most)
        taken = min(self.prior, most)
        self.prior -= taken
        return taken


NOTHING_USED = Used()


def adjudicate(
    details: Details,
    checks: Iterable[CheckResult],
    *,
    coverage: Coverage | None,
    table: PolicyTable | None,
    used: Used = NOTHING_USED,
) -> Adjudication:
    """Return the decision that the rules make: denials as found, the rest priced in 835's order.

    Contract (45), deductible (1), copay (3), coinsurance (2), then what prior payers paid (23).
    `used` is what earlier claims took from the benefit period.
    """
    denials = _denials(checks)
    fees = {fee.code: fee.allowed for fee in table.fees} if table else {}
    method = table.coordination if table else Coordination.STANDARD
    purse = _open_purse(details, coverage, used)
    lines = []
    for line in details.lines:
        denial = denials.get(line.sequence) or denials.get(0)
        if denial is None:
            denial = _over_limit(line, purse)
        if denial is not None:
            lines.append(_denied(line, denial))
        else:
            lines.append(_priced(line, coverage, fees, purse, method))
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
    _validate_conservation(decision, details)


def outcome_of(decision: Adjudication) -> Outcome:
    """PAID if no line is refused, DENIED if every line is, PARTIAL between.

    A line that the patient owes in full (deductible) is processed, not refused.
    """
    refused = [is_refused(line) for line in decision.lines]
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


def _open_purse(details: Details, coverage: Coverage | None, used: Used) -> _Purse:
    by_line = prior_by_line(details)
    pooled = prior_paid(details) - sum(by_line.values())
    if coverage is None:
        return _Purse(0, 0, None, {}, pooled, by_line)
    limit = coverage.out_of_pocket
    return _Purse(
        deductible=max(0, coverage.deductible - used.deductible),
        copay=coverage.copay,
        out_of_pocket=max(0, limit - used.out_of_pocket) if limit else None,
        visits={
            one.code: max(0, one.limit - used.visits.get(one.code, 0)) for one in coverage.visits
        },
        prior=max(0, pooled),
        by_line=by_line,
    )


def _over_limit(line: Line, purse: _Purse) -> Finding | None:
    """The refusal of a service beyond its limit; else its units are taken from what is left."""
    if line.code not in purse.visits:
        return None
    units = units_of(line.quantity)
    if units > purse.visits[line.code]:
        note = "the benefit period's limit for this service is reached"
        return Finding(Verdict.DENIED, note, Group.PATIENT, "119", "", line.sequence)
    purse.visits[line.code] -= units
    return None


def _priced(
    line: Line,
    coverage: Coverage | None,
    fees: Mapping[str, int],
    purse: _Purse,
    method: Coordination,
) -> LineDecision:
    allowed = line.net
    if line.code in fees:
        allowed = min(int(fees[line.code] * line.quantity), line.net)
    shares = _shares(allowed, coverage, purse)
    benefit = allowed - sum(shares.values())
    most = allowed if method is Coordination.STANDARD else benefit
    prior = purse.take_prior(line.sequence, most)
    paid = min(benefit, allowed - prior) if method is Coordination.STANDARD else benefit - prior
    # What the prior payer paid of the member's share is not the member's to pay any more.
    _shrink(shares, allowed - prior - paid, purse)
    adjustments = [(Group.CONTRACTUAL, "45", line.net - allowed)]
    adjustments += [(Group.PATIENT, carc, amount) for carc, amount in shares.items()]
    adjustments.append((Group.OTHER, "23", prior))
    made = tuple(Adjustment(group, carc, cents) for group, carc, cents in adjustments if cents > 0)
    return LineDecision(line.sequence, line.net, made, paid)


def _shares(allowed: int, coverage: Coverage | None, purse: _Purse) -> dict[str, int]:
    """The member's shares by CARC: deductible, copay, coinsurance, within what is left of each."""
    if coverage is None:
        return {}
    deductible = purse.take_share(min(purse.deductible, allowed))
    purse.deductible -= deductible
    left = allowed - deductible
    copay = purse.take_share(min(purse.copay, left))
    purse.copay -= copay
    left -= copay
    return {
        "1": deductible,
        "3": copay,
        "2": purse.take_share(_share(left, coverage.coinsurance)),
    }


def _shrink(shares: dict[str, int], owed: int, purse: _Purse) -> None:
    """The shares come to what is owed; coinsurance goes first, the deductible last."""
    spare = sum(shares.values()) - owed
    for carc in ("2", "3", "1"):
        less = min(spare, shares.get(carc, 0))
        if less > 0:
            shares[carc] -= less
            spare -= less
            purse.give_back(less)
            if carc == "1":
                purse.deductible += less


def _share(amount: int, basis_points: int) -> int:
    """The share in cents, rounded half up."""
    return (2 * amount * basis_points + BASIS_POINTS) // (2 * BASIS_POINTS)


def is_refused(line: LineDecision) -> bool:
    """Whether nothing is paid on the line, and not only because of how the cost is shared."""
    return line.paid == 0 and any(item.carc not in _SHARES for item in line.adjustments)


def _validate_conservation(decision: Adjudication, details: Details) -> None:
    """Never more than the charge over all payers, on a line that prior payers named and in all."""
    by_line = prior_by_line(details)
    for line in decision.lines:
        if line.paid and line.paid + by_line.get(line.sequence, 0) > line.charge:
            raise InvalidAdjudication(
                f"line {line.sequence}: with what prior payers paid, more is paid than was charged"
            )
    if decision.paid and decision.paid + prior_paid(details) > decision.charge:
        raise InvalidAdjudication("with what prior payers paid, more is paid than was charged")


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
