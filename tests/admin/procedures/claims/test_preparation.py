"""Claims made ready for a second payer: what the first decided, in the right place."""

from dataclasses import replace

import pytest

from admin.errors import FaultError
from admin.procedures.claims.preparation import coordinate
from chaincode.claims.amounts import prior_by_line, prior_paid
from chaincode.claims.details import Insurance
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
