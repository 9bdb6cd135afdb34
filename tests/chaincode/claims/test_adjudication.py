"""Decisions balance on every line and in total, by rules and by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.claims import checks
from chaincode.claims.adjudication import (
    InvalidAdjudication,
    adjudicate,
    outcome_of,
    reasons_of,
    total_up,
    validate_adjudication,
)
from chaincode.claims.checks.context import Seen
from chaincode.claims.codes import Group
from chaincode.claims.details import (
    Adjustment,
    Coordination,
    Details,
    Fee,
    Insurance,
    LineDecision,
    LinePaid,
    PolicyTable,
)
from chaincode.claims.model import CheckResult, Finding, Reason, Verdict
from chaincode.claims.states import Outcome
from tests.chaincode.claims.samples import COVERAGE, context, coverage, details, line, table
from tests.chaincode.consortium import handle

PASSED: tuple[CheckResult, ...] = ()


def denial(at: int, carc: str = "97") -> tuple[CheckResult, ...]:
    finding = Finding(Verdict.DENIED, "refused", "CO", carc, "M15", at)
    return (CheckResult("code-edits", Verdict.DENIED, (finding,)),)


def shares(decision: LineDecision) -> dict[str, int]:
    return {f"{item.group.value}-{item.carc}": item.amount for item in decision.adjustments}


def test_price_in_the_order_of_835() -> None:
    made = adjudicate(
        details(insurance=second(8_00)),
        PASSED,
        coverage=coverage(deductible=20_00, copay=15_00, coinsurance=2_000),
        table=table(coordination=Coordination.CARVE_OUT),
    )
    # 150 charged, 120 allowed, 20 deductible, 15 copay, 20 % of 85, 8 paid before.
    assert shares(made.lines[0]) == {
        "CO-45": 30_00,
        "PR-1": 20_00,
        "PR-3": 15_00,
        "PR-2": 17_00,
        "OA-23": 8_00,
    }
    assert made.paid == 60_00
    assert outcome_of(made) is Outcome.PAID


def second(paid: int, *lines: LinePaid) -> tuple[Insurance, ...]:
    """Insurances of which ours is the second, after this payment."""
    first = Insurance(1, handle("other coverage"), focal=False, paid=paid, paid_lines=lines)
    return first, Insurance(2, COVERAGE)


@pytest.mark.parametrize(
    ("prior", "paid", "owed"),
    [
        (0, 68_00, 52_00),  # as if it were first: 120 allowed less 20, 15 and 17
        (50_00, 68_00, 2_00),  # together 118: the member owes what is left of the allowed
        (60_00, 60_00, 0),  # not more than the allowed in all
        (130_00, 0, 0),  # the prior payer allowed more than we do
    ],
)
def test_standard_coordination_fills_up_to_the_allowed(prior: int, paid: int, owed: int) -> None:
    claim = details(insurance=second(prior))
    plan = coverage(deductible=20_00, copay=15_00, coinsurance=2_000)
    made = adjudicate(claim, PASSED, coverage=plan, table=table())
    validate_adjudication(made, claim)
    assert made.paid == paid
    assert sum(x for name, x in shares(made.lines[0]).items() if name[:2] == "PR") == owed


def test_what_was_paid_on_a_line_counts_on_it() -> None:
    claim = details(lines=(line(1), line(2)), insurance=second(100_00, LinePaid(2, 100_00)))
    made = adjudicate(claim, PASSED, coverage=coverage(), table=table())
    assert [x.paid for x in made.lines] == [120_00, 20_00]


def test_by_hand_too_no_more_than_the_charge_is_paid_over_all_payers() -> None:
    claim = details(insurance=second(100_00, LinePaid(1, 100_00)))
    lines = [LineDecision(1, 150_00, (Adjustment(Group.CONTRACTUAL, "45", 99_99),), 50_01)]
    with pytest.raises(InvalidAdjudication, match="more is paid than was charged"):
        validate_adjudication(total_up(claim.claim, "USD", lines), claim)


def test_what_counts_once_is_taken_once() -> None:
    made = adjudicate(
        details(lines=(line(1), line(2))),
        PASSED,
        coverage=coverage(deductible=130_00, copay=5_00),
        table=table(),
    )
    assert [shares(item) for item in made.lines] == [
        {"CO-45": 30_00, "PR-1": 120_00},
        {"CO-45": 30_00, "PR-1": 10_00, "PR-3": 5_00},
    ]


def test_a_deductible_that_eats_all_is_processed_and_not_refused() -> None:
    made = adjudicate(details(), PASSED, coverage=coverage(deductible=500_00), table=None)
    assert (made.paid, outcome_of(made), reasons_of(made)) == (0, Outcome.PAID, ())


@pytest.mark.parametrize(
    ("at", "outcome", "paid"), [(1, Outcome.PARTIAL, 150_00), (0, Outcome.DENIED, 0)]
)
def test_denials_name_their_reason(at: int, outcome: Outcome, paid: int) -> None:
    two = details(lines=(line(1), line(2)))
    made = adjudicate(two, denial(at), coverage=None, table=None)
    assert (outcome_of(made), made.paid) == (outcome, paid)
    assert reasons_of(made) == (Reason("CO", "97", "M15"),)
    validate_adjudication(made, two)


def test_the_first_check_that_denies_a_line_gives_its_reason() -> None:
    made = adjudicate(details(), (*denial(1, "26"), *denial(1, "29")), coverage=None, table=None)
    assert [item.carc for item in made.lines[0].adjustments] == ["26"]


def test_flags_take_nothing() -> None:
    flag = Finding(Verdict.FLAGGED, "look", "OA", "18")
    results = (CheckResult("duplicate", Verdict.FLAGGED, (flag,)),)
    assert adjudicate(details(), results, coverage=None, table=None).paid == 150_00


cents = st.integers(0, 10**7)
lines_of = st.lists(
    st.tuples(cents, st.integers(1, 5), st.sampled_from(["S0001", "S0003", "S0009"])),
    min_size=1,
    max_size=6,
)


@given(
    lines_of,
    st.tuples(cents, cents, st.integers(0, 10_000)),
    cents,
    st.sets(st.integers(0, 6)),
    st.integers(0, 10**6),
    st.sampled_from(list(Coordination)),
)
def test_every_decision_balances(
    specs: list[tuple[int, int, str]],
    plan: tuple[int, int, int],
    prior: int,
    denied: set[int],
    fee: int,
    method: Coordination,
) -> None:
    lines = tuple(
        line(n, unit_price=price, quantity=Decimal(count), net=price * count, code=code)
        for n, (price, count, code) in enumerate(specs, 1)
    )
    prior = min(prior, sum(one.net for one in lines))
    claim = details(lines=lines, insurance=second(prior))
    deductible, copay, coinsurance = plan
    made = adjudicate(
        claim,
        tuple(result for at in sorted(denied) for result in denial(at)),
        coverage=coverage(deductible=deductible, copay=copay, coinsurance=coinsurance),
        table=PolicyTable(fees=(Fee("S0001", fee),), coordination=method),
    )
    assert made.paid + prior <= made.charge or made.paid == 0
    validate_adjudication(made, claim)
    for decided, asked in zip(made.lines, claim.lines, strict=True):
        assert asked.net - sum(item.amount for item in decided.adjustments) == decided.paid
        assert 0 <= decided.paid <= asked.net
        assert all(item.amount >= 0 for item in decided.adjustments)
    assert made.charge - made.adjusted == made.paid
    assert made.charge == claim.total
    patient = [i.amount for x in made.lines for i in x.adjustments if i.carc == "1"]
    assert sum(patient) <= deductible
    if outcome_of(made) is not Outcome.PAID:
        assert reasons_of(made)


@given(st.integers(1, 10**6), st.integers(-(10**6), 10**6).filter(bool))
def test_a_cent_too_much_or_too_little_is_refused(amount: int, off: int) -> None:
    claim = details(lines=(line(unit_price=amount, net=amount),))
    good = adjudicate(claim, PASSED, coverage=None, table=None)
    bad = replace(good.lines[0], paid=good.lines[0].paid + off)
    with pytest.raises(InvalidAdjudication):
        validate_adjudication(total_up(claim.claim, "USD", [bad]), claim)


REFUSED = Adjustment(Group.CONTRACTUAL, "A1", 150_00)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ((), "lines are not the claim's"),
        ((LineDecision(2, 150_00, (), 150_00),), "lines are not the claim's"),
        ((LineDecision(1, 151_00, (), 151_00),), "charge is not the claim's"),
        ((LineDecision(1, 150_00, (), 149_00),), "charge - adjustments"),
        ((LineDecision(1, 150_00, (replace(REFUSED, amount=151_00),), -1_00),), "negative"),
        ((LineDecision(1, 150_00, (replace(REFUSED, carc="no"),), 0),), "not a CARC"),
        ((LineDecision(1, 150_00, (replace(REFUSED, rarc="no"),), 0),), "not a CARC"),
        ((LineDecision(1, 150_00, (replace(REFUSED, carc="16"),), 0),), "needs a remark code"),
    ],
)
def test_by_hand_is_held_to_the_same_law(lines: Any, text: str) -> None:
    with pytest.raises(InvalidAdjudication, match=text):
        validate_adjudication(total_up(handle("claim"), "USD", lines), details())


def test_totals_are_the_sums() -> None:
    claim: Details = details()
    good = adjudicate(claim, PASSED, coverage=None, table=None)
    for wrong in (replace(good, paid=1), replace(good, charge=1), replace(good, adjusted=1)):
        with pytest.raises(InvalidAdjudication, match="totals"):
            validate_adjudication(wrong, claim)
    with pytest.raises(InvalidAdjudication, match="another"):
        validate_adjudication(replace(good, currency="EUR"), claim)


def test_the_checks_of_a_duplicate_deny_by_rule() -> None:
    claim = context(seen=(Seen(handle("first"), "UnitedPayerMSP"),))
    made = adjudicate(details(), checks.run(claim), coverage=None, table=None)
    assert outcome_of(made) is Outcome.DENIED
    assert reasons_of(made) == (Reason("OA", "18", "N522"),)
