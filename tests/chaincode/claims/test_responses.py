"""ClaimResponse out: valid FHIR R4, sums that come out, reasons that are there."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from fhir.resources.R4B.claimresponse import ClaimResponse

from admin.fhir.writing import format_json
from chaincode.claims.adjudication import total_up
from chaincode.claims.codes import Group
from chaincode.claims.details import (
    Adjustment,
    ClaimFile,
    LineDecision,
    Remittance,
    SealedAdjudication,
    SealedDetails,
    SealedRemittance,
)
from chaincode.claims.model import Fingerprints
from chaincode.claims.responses import build_claim_response
from chaincode.claims.rules import open_claim
from chaincode.claims.states import Outcome, Status
from chaincode.errors import InvalidArgument
from tests.chaincode.claims.samples import NOW, SALT, details, filing
from tests.chaincode.consortium import HOSPITAL, handle

LINE = LineDecision(
    1,
    150_00,
    (
        Adjustment(Group.CONTRACTUAL, "45", 30_00),
        Adjustment(Group.PATIENT, "3", 20_00),
        Adjustment(Group.CONTRACTUAL, "16", 5, "M79"),
    ),
    99_95,
)
CLAIM = replace(
    open_claim(
        filing(details()),
        Fingerprints(b"\x01" * 32, ()),
        (),
        submitter=HOSPITAL,
        collection="c",
        rejected=False,
        now=NOW,
        tx_id="t",
    ),
    status=Status.ADJUDICATED,
    outcome=Outcome.PARTIAL,
    decision_version=2,
    appeal_deadline=NOW + timedelta(days=120),
)
FILE = ClaimFile(
    details=SealedDetails(SALT, details()),
    decisions=(SealedAdjudication(SALT, total_up(handle("claim"), "USD", [LINE])),),
)


def test_is_valid_fhir_and_balances() -> None:
    response = build_claim_response(CLAIM, FILE)
    ClaimResponse.model_validate_json(format_json(response))
    entries = response["item"][0]["adjudication"]
    amounts = [entry["amount"]["value"] for entry in entries]
    assert amounts[0] - sum(amounts[1:-1]) == amounts[-1] == Decimal("99.95")
    totals = {t["category"]["coding"][0]["code"]: t["amount"]["value"] for t in response["total"]}
    assert totals == {"submitted": Decimal("150.00"), "benefit": Decimal("99.95")}


def test_carries_group_carc_rarc_and_the_appeal_deadline() -> None:
    response = build_claim_response(CLAIM, FILE)
    given = [
        [coding["code"] for part in ("category", "reason") for coding in entry[part]["coding"]]
        for entry in response["item"][0]["adjudication"][1:-1]
    ]
    assert given == [["CO", "45"], ["PR", "copay", "3"], ["CO", "16", "M79"]]
    assert "2026-05-02" in response["processNote"][0]["text"]


def test_carries_the_payment() -> None:
    paid = SealedRemittance(
        SALT, Remittance(handle("claim"), "USD", 99_95, "EFT1", date(2026, 2, 1))
    )
    response = build_claim_response(CLAIM, replace(FILE, remittances=(paid,)))
    ClaimResponse.model_validate_json(format_json(response))
    assert response["payment"]["amount"] == {"value": Decimal("99.95"), "currency": "USD"}
    assert response["payment"]["identifier"]["value"] == "EFT1"


@pytest.mark.parametrize(
    ("status", "expected"), [(Status.REMITTED, "active"), (Status.VOIDED, "cancelled")]
)
def test_is_cancelled_with_its_claim(status: Status, expected: str) -> None:
    assert build_claim_response(replace(CLAIM, status=status), FILE)["status"] == expected


@pytest.mark.parametrize("missing", [{"details": None}, {"decisions": ()}])
def test_there_is_none_without_a_decision(missing: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        build_claim_response(CLAIM, replace(FILE, **missing))


def test_cents_are_written_as_they_are() -> None:
    assert '"value": 150.00' in format_json(build_claim_response(CLAIM, FILE))
