"""Claims made ready for a second payer: what the first decided, in the right place."""

from dataclasses import replace

import pytest

from admin.errors import FaultError
from admin.procedures.claims.coordinating import carry_over, coordinate
from chaincode.claims.amounts import prior_by_line, prior_paid
from chaincode.claims.details import Details, Insurance
from tests.admin.x12.test_remittance import DECIDED, MADE
from tests.chaincode.claims.samples import COVERAGE
from tests.chaincode.consortium import handle

FIRST = Insurance(1, handle("first"), focal=False)
SECOND = Insurance(2, handle("second"), focal=False, paid=1, adjusted=1)
OURS = Insurance(3, COVERAGE)


def test_the_insurance_right_before_ours_gets_what_was_decided() -> None:
    claim = coordinate(replace(MADE, insurance=(FIRST, SECOND, OURS)), DECIDED, "x")
    first, second, ours = claim.insurance
    assert (first, ours) == (FIRST, OURS)
    assert (second.paid, second.adjusted) == (96_00, 153_99)
    assert [(line.sequence, line.paid) for line in second.paid_lines] == [(1, 96_00)]
    assert prior_paid(claim) == sum(prior_by_line(claim).values()) == 96_00


def test_a_claim_without_an_earlier_insurance_coordinates_with_nothing() -> None:
    with pytest.raises(FaultError, match="no insurance before"):
        coordinate(replace(MADE, insurance=(OURS,)), DECIDED, "x.json")


def forwarded(details: Details, coverage: str = handle("next")) -> Details:
    return carry_over(details, DECIDED, handle("forwarded"), coverage)


def test_the_next_payer_gets_the_same_services_and_what_was_decided() -> None:
    asked = tuple(replace(line, authorization=handle("asked")) for line in MADE.lines)
    first = replace(MADE, insurance=(OURS,), lines=asked)
    made = forwarded(first)
    told, own = made.insurance
    assert (told.coverage, told.focal, told.paid, told.adjusted) == (COVERAGE, False, 96_00, 153_99)
    assert (own.coverage, own.focal, own.paid, own.sequence) == (handle("next"), True, None, 4)
    assert made.claim == handle("forwarded")
    assert [line.authorization for line in made.lines] == ["", ""]
    assert (made.total, made.number, made.patient) == (first.total, first.number, first.patient)
    assert prior_paid(made) == sum(prior_by_line(made).values()) == 96_00


def test_a_third_payer_is_told_of_both_before_it() -> None:
    twice = forwarded(forwarded(replace(MADE, insurance=(OURS,))), handle("third"))
    assert [item.paid for item in twice.insurance] == [96_00, 96_00, None]
    assert [item.focal for item in twice.insurance] == [False, False, True]


def test_the_coverage_that_was_decided_is_not_forwarded_to() -> None:
    with pytest.raises(FaultError, match="decided already"):
        forwarded(replace(MADE, insurance=(OURS,)), COVERAGE)
