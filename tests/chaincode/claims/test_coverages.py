"""FHIR R4 Coverage in: the facts that come out, and what is refused with its path."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from chaincode.claims.coverages import read_coverage
from chaincode.errors import InvalidArgument
from tests.chaincode.claims.samples import COVERAGE
from tests.chaincode.consortium import PATIENT


def share(kind: str, **value: Any) -> dict[str, Any]:
    return {"type": {"coding": [{"system": "http://example.org", "code": kind}]}, **value}


RESOURCE: dict[str, Any] = {
    "resourceType": "Coverage",
    "status": "active",
    "order": 2,
    "period": {"start": "2026-01-01", "end": "2026-12-31"},
    "costToBeneficiary": [
        share("copay", valueMoney={"value": Decimal("25.00"), "currency": "USD"}),
        share("deductible", valueMoney={"value": 100, "currency": "USD"}),
        share("copaypct", valueQuantity={"value": Decimal("12.5")}),
    ],
}


def changed(**fields: Any) -> dict[str, Any]:
    return {**RESOURCE, **fields}


def test_reads_period_primacy_and_shares() -> None:
    fact = read_coverage(RESOURCE, COVERAGE, PATIENT)
    assert (fact.coverage, fact.patient, fact.primacy) == (COVERAGE, PATIENT, 2)
    assert (fact.start, fact.end) == (date(2026, 1, 1), date(2026, 12, 31))
    assert (fact.copay, fact.deductible, fact.coinsurance) == (25_00, 100_00, 1250)


def test_an_open_end_and_no_shares() -> None:
    fact = read_coverage(
        changed(period={"start": "2026-01-01"}, costToBeneficiary=[]), COVERAGE, PATIENT
    )
    assert fact.end is None
    assert (fact.copay, fact.deductible, fact.coinsurance) == (0, 0, 0)


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ({"resourceType": "Claim"}, "Coverage.resourceType"),
        (changed(status="cancelled"), "Coverage.status"),
        (changed(period=None), "Coverage.period"),
        (changed(period={"end": "2026-12-31"}), "Coverage.period.start"),
        (changed(period={"start": "2026"}), "Coverage.period.start"),
        (changed(order=0), "Coverage.order"),
        (changed(order=True), "Coverage.order"),
        (changed(costToBeneficiary=["SECRET"]), "Coverage.costToBeneficiary[0]"),
        (changed(costToBeneficiary=[{}]), "Coverage.costToBeneficiary[0].type.coding"),
        (
            changed(costToBeneficiary=[share("maxoutofpocket", valueMoney={"value": 1})]),
            "Coverage.costToBeneficiary[0].type",
        ),
        (
            changed(costToBeneficiary=[share("copay", valueMoney={"value": Decimal("1.005")})]),
            "Coverage.costToBeneficiary[0].valueMoney.value",
        ),
        (
            changed(costToBeneficiary=[share("copay", valueMoney={"value": 1})] * 2),
            "Coverage.costToBeneficiary[1].type",
        ),
        (
            changed(costToBeneficiary=[share("copaypct", valueQuantity={"value": 101})]),
            "Coverage.costToBeneficiary[0].valueQuantity.value",
        ),
    ],
)
def test_refuses_with_the_path_and_no_value(resource: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read_coverage(resource, COVERAGE, PATIENT)
    assert caught.value.path == path
    assert "SECRET" not in caught.value.text
