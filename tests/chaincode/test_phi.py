"""What looks like health information is refused, and what does not is let through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.errors import InvalidArgument
from chaincode.phi import refuse_phi, validate_digest, validate_handle

REFUSED: list[tuple[Any, str]] = [
    ({"resourceType": "Patient"}, "FHIR resource"),
    ('{"resourceType": "Observation", "status": "final"}', "FHIR resource"),
    (b'{"resourceType":"Bundle"}', "FHIR resource"),
    ('<Patient xmlns="http://hl7.org/fhir"/>', "FHIR resource"),
    ({"note": {"deep": ['{"a": {"resourceType": "Patient"}}']}}, "FHIR resource"),
    ("ISA*00*          *00*", "X12"),
    ("ST*837*0001~NM1*IL*1*DOE*JANE~", "X12"),
    ("MSH|^~\\&|ADT", "HL7 v2"),
    ("x\rPID|1||123", "HL7 v2"),
    ({"name": "Jane"}, "name"),
    ({"Given": ["Jane"]}, "given"),
    ({"birth_date": "1980-01-01"}, "birthdate"),
    ({"patient-name": "x"}, "patientname"),
    ({"x": [{"telecom": [1]}]}, "telecom"),
    ("123-45-6789", "social security"),
    ("patient 123-45-6789 again", "social security"),
    ("123456789", "social security"),
    ("SSN: 123456789", "social security"),
    ("MRN-0012345", "medical record"),
    ("mrn 0012345", "medical record"),
    ("1EG4-TE5-MK73", "Medicare"),
    ("1EG4TE5MK73", "Medicare"),
    ("jane.doe@example.org", "mail"),
    ("(555) 123-4567", "telephone"),
    ({"123-45-6789": 1}, "social security"),
]
ALLOWED: list[Any] = [
    None,
    1,
    1.5,
    True,
    b"\xff\xfe",
    "",
    "TREAT",
    "5f" * 16,
    "ab" * 32,
    "550e8400-e29b-41d4-a716-446655440000",
    "2026-01-02T03:04:05Z",
    "1234567893",
    "GeneralHospitalMSP",
    "http://loinc.org|4548-4",
    "urn:medfabric:org|ClinicMSP",
    {"resourceTypes": ["Patient"]},
    {"resource_type": ""},
    {"name": ""},
    {"name": None},
    "[not json",
    "CO-45",
]


@pytest.mark.parametrize(("value", "kind"), REFUSED, ids=str)
def test_refused(value: Any, kind: str) -> None:
    with pytest.raises(InvalidArgument, match=kind) as refusal:
        refuse_phi(value, "argument")
    text = str(refusal.value)
    assert "argument" in text
    assert "keep it off chain" in text
    for secret in ("Jane", "6789", "0012345", "1980"):
        assert secret not in text


@pytest.mark.parametrize("value", ALLOWED, ids=str)
def test_allowed(value: Any) -> None:
    refuse_phi(value)


@dataclass(frozen=True)
class Organisation:
    name: str
    tags: dict[str, str] = field(default_factory=dict)


def test_our_own_types_name_their_fields_themselves() -> None:
    refuse_phi(Organisation("CityClinic"))
    with pytest.raises(InvalidArgument, match=r"argument\.name"):
        refuse_phi(Organisation("jane@example.org"), "argument")
    with pytest.raises(InvalidArgument, match=r"argument\.tags"):
        refuse_phi(Organisation("x", {"ssn": "1"}), "argument")


def test_a_field_can_be_allowed() -> None:
    refuse_phi({"name": "CityClinic"}, allow=("name",))


def test_depth_is_bounded() -> None:
    value: Any = "x"
    for _ in range(100):
        value = [value]
    with pytest.raises(InvalidArgument, match="nested deeper"):
        refuse_phi(value)


@given(st.binary(min_size=16, max_size=16))
def test_random_handles_pass(raw: bytes) -> None:
    refuse_phi(raw.hex())
    assert validate_handle(raw.hex(), "handle") == raw.hex()


@pytest.mark.parametrize("value", ["", "5F" * 16, "5f" * 15, "MRN", "5f" * 16 + "\n"])
def test_no_handle(value: str) -> None:
    with pytest.raises(InvalidArgument, match="random handle"):
        validate_handle(value, "handle")
    with pytest.raises(InvalidArgument, match="SHA-256"):
        validate_digest(value, "digest")
