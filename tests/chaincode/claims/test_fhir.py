"""FHIR R4 Claim in: what comes out, and what is refused with its path."""

from __future__ import annotations

import copy
import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from chaincode.claims import checks, fhir
from chaincode.claims.details import Type, Use
from chaincode.claims.model import Evidence, Verdict
from chaincode.errors import InvalidArgument
from tests.chaincode.claims.samples import COVERAGE, NPI, context, filing
from tests.chaincode.consortium import PATIENT, handle

HANDLES = fhir.Handles(
    claim=handle("claim"),
    patient=PATIENT,
    coverages={"Coverage/c1": COVERAGE},
    records={"Observation/o1": handle("record")},
    providers={"Organization/h": NPI},
    authorizations={"S0002": handle("authorization")},
)


def concept(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://example.org/codes", "code": code}]}


CLAIM: dict[str, Any] = {
    "resourceType": "Claim",
    "status": "active",
    "type": concept("professional"),
    "use": "claim",
    "created": "2025-12-30T09:00:00Z",
    "provider": {"identifier": {"system": fhir.NPI_SYSTEM, "value": NPI}},
    "facility": {"reference": "Organization/h"},
    "diagnosis": [{"sequence": 1, "diagnosisCodeableConcept": concept("J20.9")}],
    "supportingInfo": [
        {
            "sequence": 1,
            "category": concept("attachment"),
            "valueReference": {"reference": "Observation/o1"},
        }
    ],
    "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/c1"}}],
    "item": [
        {
            "sequence": 1,
            "productOrService": concept("S0001"),
            "modifier": [concept("25")],
            "servicedDate": "2025-12-20",
            "locationCodeableConcept": concept("11"),
            "quantity": {"value": 1.5},
            "unitPrice": {"value": 100.25, "currency": "USD"},
            "factor": 0.5,
            "net": {"value": 75.19, "currency": "USD"},
            "diagnosisSequence": [1],
            "informationSequence": [1],
        },
        {
            "sequence": 2,
            "productOrService": concept("S0002"),
            "servicedPeriod": {"start": "2025-12-20", "end": "2025-12-21"},
            "net": {"value": 10},
        },
    ],
    "total": {"value": 85.19, "currency": "USD"},
}


def resource(path: tuple[Any, ...] = (), value: Any = None) -> Any:
    """The claim above with one place changed (None: removed), read as its file would be."""
    changed = copy.deepcopy(CLAIM)
    if path:
        place: Any = changed
        for step in path[:-1]:
            place = place[step]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value
    return fhir.read_json(json.dumps(changed).encode())


def test_a_claim_comes_out_in_cents_and_handles() -> None:
    details = fhir.read_claim(resource(), HANDLES)
    assert (details.type, details.use, details.total) == (Type.PROFESSIONAL, Use.CLAIM, 85_19)
    assert (details.provider_npi, details.facility_npi) == (NPI, NPI)
    assert details.created == date(2025, 12, 30)
    first, second = details.lines
    assert (first.unit_price, first.quantity, first.factor, first.net) == (
        *(100_25, Decimal("1.5"), Decimal("0.5")),
        75_19,
    )
    assert (first.modifiers, first.place, first.diagnosis_sequences) == (("25",), "11", (1,))
    assert (second.unit_price, second.net) == (10_00, 10_00)
    assert (second.last_day, second.authorization) == (date(2025, 12, 21), handle("authorization"))
    assert details.supporting[0].record == handle("record")
    assert details.insurance[0].coverage == COVERAGE


def test_it_passes_the_check_of_its_structure() -> None:
    details = fhir.read_claim(resource(), HANDLES)
    filed = filing(details, evidence=(Evidence(handle("record"), 1),))
    assert checks.run_one("structure", context(details, filing=filed)).verdict is Verdict.PASSED


def test_without_a_total_the_lines_are_added_up() -> None:
    assert fhir.read_claim(resource(("total",)), HANDLES).total == 85_19


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("resourceType",), "Patient", r"Claim\.resourceType"),
        (("status",), "draft", r"Claim\.status"),
        (("use",), "order", r"Claim\.use: expected one of"),
        (("type",), None, r"Claim\.type\.coding"),
        (("created",), "2025-12", r"Claim\.created: expected a whole date"),
        (("created",), "2025-13-01", r"Claim\.created"),
        (("modifierExtension",), [{}], r"Claim\.modifierExtension"),
        (("provider",), {"reference": "Organization/x"}, r"Claim\.provider: no NPI"),
        (("facility",), {"display": "x"}, r"Claim\.facility"),
        (("total", "value"), 85.191, r"Claim\.total\.value: not in whole cents"),
        (("total", "currency"), "EUR", r"several currencies"),
        (("item",), {}, r"Claim\.item: expected an array"),
        (("item", 0, "sequence"), "1", r"Claim\.item\[0\]\.sequence"),
        (("item", 0, "productOrService"), None, r"Claim\.item\[0\]\.productOrService"),
        (("item", 0, "quantity", "value"), "2", r"item\[0\]\.quantity\.value"),
        (("item", 0, "unitPrice"), None, r"item\[0\]\.unitPrice: missing"),
        (("item", 0, "servicedDate"), None, r"item\[0\]\.servicedPeriod\.start"),
        (("item", 0, "detail"), [{"sequence": 1}], r"item\[0\]\.detail"),
        (("item", 0, "diagnosisSequence"), ["1"], r"item\[0\]\.diagnosisSequence"),
        (("item", 1, "net"), None, r"item\[1\]\.net: expected an amount"),
        (("diagnosis", 0, "diagnosisCodeableConcept"), None, r"diagnosis\[0\]"),
        (("supportingInfo", 0, "valueReference"), {"reference": "x"}, r"supportingInfo\[0\]"),
        (("insurance", 0, "coverage"), {"reference": "x"}, r"insurance\[0\]\.coverage"),
        (("insurance", 0, "focal"), None, r"insurance\[0\]\.focal"),
    ],
)
def test_a_fault_names_its_path(path: tuple[Any, ...], value: Any, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        fhir.read_claim(resource(path, value), HANDLES)


def test_floats_and_names_twice_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="a float has lost its digits"):
        fhir.read_claim(copy.deepcopy(CLAIM), HANDLES)
    with pytest.raises(InvalidArgument, match="same name twice"):
        fhir.read_json(b'{"status":"active","status":"draft"}')


def test_the_claim_it_replaces() -> None:
    related = [{"relationship": concept("prior"), "claim": {"reference": "Claim/1"}}]
    assert fhir.prior_claim(resource(("related",), related)) == "Claim/1"
    assert fhir.prior_claim(resource()) == ""
