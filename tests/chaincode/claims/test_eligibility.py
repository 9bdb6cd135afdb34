"""CoverageEligibilityRequest in, CoverageEligibilityResponse out; ExplanationOfBenefit out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from admin.fhir.writing import format_json
from chaincode.claims.details import Accumulated, Used, VisitLimit
from chaincode.claims.eligibility import build_response, read_request
from chaincode.claims.explanations import build_explanation, member_owes
from chaincode.errors import InvalidArgument
from tests.chaincode.claims.samples import COVERAGE, coverage, table
from tests.chaincode.claims.test_responses import CLAIM, FILE
from tests.chaincode.consortium import PATIENT, PAYER

AT = datetime(2026, 1, 5, 6, 7, 8, tzinfo=UTC)
PLAN = coverage(
    deductible=500_00,
    out_of_pocket=2_000_00,
    copay=20_00,
    coinsurance=2_050,
    visits=(VisitLimit("S0001", 12),),
    excluded_codes=("S0009",),
)


def request(**changed: Any) -> dict[str, Any]:
    return {
        "resourceType": "CoverageEligibilityRequest",
        "id": "ask-1",
        "status": "active",
        "purpose": ["benefits", "auth-requirements"],
        "patient": {"reference": "Patient/1"},
        "created": "2026-01-05",
        "insurer": {"reference": "Organization/1"},
        "servicedDate": "2026-01-09",
        "insurance": [{"coverage": {"reference": "Coverage/1"}}],
        "item": [{"productOrService": {"coding": [{"code": code}]}} for code in ("S0002", "S0009")],
        **changed,
    }


def answer(**changed: Any) -> Any:
    found = Accumulated(PLAN, date(2026, 1, 1), Used(123_00, 150_00, {"S0001": 3}))
    built = build_response(read_request(request(**changed)), found, table(), payer=PAYER, at=AT)
    from fhir.resources.R4B.coverageeligibilityresponse import CoverageEligibilityResponse

    CoverageEligibilityResponse.model_validate_json(format_json(built))
    return json.loads(format_json(built))


def test_the_request_is_valid_and_read() -> None:
    from fhir.resources.R4B.coverageeligibilityrequest import CoverageEligibilityRequest

    CoverageEligibilityRequest.model_validate_json(json.dumps(request()))
    asked = read_request(request())
    assert (asked.day, asked.codes) == (date(2026, 1, 9), ("S0002", "S0009"))
    assert asked.coverages == ("Coverage/1",)


def test_the_answer_tells_what_is_left_and_what_to_ask() -> None:
    (insurance,) = answer()["insurance"]
    assert insurance["inforce"] is True
    assert insurance["coverage"]["reference"] == f"Coverage/{COVERAGE}"
    assert insurance["benefitPeriod"] == {"start": "2026-01-01", "end": "2026-12-31"}
    plan, *services = insurance["item"]
    told = {
        one["type"]["coding"][0]["code"]: (
            one.get("allowedMoney", {}).get("value"),
            one.get("usedMoney", {}).get("value"),
        )
        for one in plan["benefit"]
    }
    assert told["deductible"] == (500.00, 123.00)
    assert told["out-of-pocket"] == (2000.00, 150.00)
    assert told["copay"] == (20.00, None)
    named = {one["productOrService"]["coding"][0]["code"]: one for one in services}
    assert named["S0002"]["authorizationRequired"] is True
    assert named["S0009"]["excluded"] is True
    limit = named["S0001"]["benefit"][0]
    assert (limit["allowedUnsignedInt"], limit["usedUnsignedInt"]) == (12, 3)


def test_a_coverage_that_is_over_has_nothing() -> None:
    (insurance,) = answer(servicedDate="2027-02-01")["insurance"]
    assert insurance["inforce"] is False
    assert "item" not in insurance


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"resourceType": "Claim"}, "resourceType"),
        ({"status": "draft"}, "status"),
        ({"purpose": ["SECRET"]}, "purpose"),
        ({"insurance": []}, "insurance"),
        ({"servicedDate": "2026"}, "servicedDate"),
        ({"item": [{"productOrService": {}}]}, "item[0].productOrService"),
    ],
)
def test_a_mistake_names_its_path_and_no_value(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        read_request(request(**changed))
    assert said in refusal.value.text
    assert "SECRET" not in refusal.value.text


def test_the_explanation_is_the_patients() -> None:
    from fhir.resources.R4B.explanationofbenefit import ExplanationOfBenefit

    claim, file = CLAIM, FILE
    text = format_json(build_explanation(claim, file))
    ExplanationOfBenefit.model_validate_json(text)
    told = json.loads(text)
    assert told["patient"]["reference"] == f"Patient/{PATIENT}"
    totals = {one["category"]["coding"][0]["code"]: one["amount"]["value"] for one in told["total"]}
    made = file.decisions[-1].adjudication
    assert totals["submitted"] == made.charge / 100
    assert totals["benefit"] == made.paid / 100
    assert totals["memberliability"] == member_owes(made) / 100


def test_without_a_decision_there_is_nothing_to_explain() -> None:
    claim, file = CLAIM, FILE
    with pytest.raises(InvalidArgument, match="no decision"):
        build_explanation(claim, replace(file, decisions=()))
