"""Resources from files: what is accepted, and what each refusal says."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.errors import ExitCode, FaultError
from admin.fhir.canonical import canonical_static
from admin.fhir.reading import SourceFile, parse_lines, parse_resource, read_source, resource_types
from tests.journeys.care import DATA

PATIENT = {"resourceType": "Patient", "birthDate": "1971-03-14", "name": [{"family": "Hart"}]}


def source(value: object) -> SourceFile:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return SourceFile("x.json", raw)


def refusal(value: object, *types: str) -> str:
    with pytest.raises(FaultError) as error:
        parse_resource(source(value), *types)
    fault = error.value.fault
    assert fault.exit_code is ExitCode.INVALID
    assert fault.where.startswith("x.json")
    return " ".join([fault.message, fault.remedy, *fault.details])


def test_every_file_of_the_demo_is_valid() -> None:
    for file in set(DATA.glob("*.json")) - {DATA / "policy-table.json"}:
        resource = parse_resource(read_source(str(file)))
        assert resource["resourceType"] in ("Bundle", "Consent", "Claim", "Coverage")
    claims = list(parse_lines(read_source(str(DATA / "intake.ndjson")), "Claim"))
    assert [number for number, _ in claims] == list(range(1, len(claims) + 1))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[1]", "no object"),
        (b'{"a": NaN}', "no JSON number"),
        (b'{"a": 1, "a": 2}', "twice"),
        ({}, "no resourceType"),
        ({"resourceType": "Zed"}, "no resource type Zed"),
        ({"resourceType": "<script>"}, "resource of no known type"),
        ({"resourceType": "Patient", "foo": 1}, "Patient.foo: is no field"),
        ({"resourceType": "Consent", "status": "active"}, "Consent"),
        ({"resourceType": "Patient", "birthDate": "yesterday"}, "Patient.birthDate"),
    ],
)
def test_what_is_refused_and_why(value: object, said: str) -> None:
    assert said in refusal(value)


def test_the_wrong_type_is_named() -> None:
    assert "holds a Patient, not a Consent" in refusal(PATIENT, "Consent")


def test_no_value_stands_in_a_refusal() -> None:
    broken = {**PATIENT, "birthDate": "the 14th of March", "gender": ["Amelia Hart"]}
    said = refusal(broken)
    assert "14th" not in said
    assert "Amelia" not in said


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_one_fault(raw: bytes) -> None:
    with pytest.raises(FaultError):
        parse_resource(SourceFile("x.json", raw), "Consent")


def test_a_bundle_tells_what_it_holds() -> None:
    bundle = parse_resource(read_source(str(DATA / "amelia-hart.bundle.json")))
    assert {"Bundle", "Patient", "Observation"} <= set(resource_types(bundle))


def test_the_canonical_form_keeps_decimals_and_drops_what_servers_change() -> None:
    """R4 json.html#canonical: alphabetical, no white space; #static drops text and meta."""
    raw = (
        b'{"resourceType":"Observation","meta":{"versionId":"7"},"text":{"status":"generated"},'
        b'"valueQuantity":{"value":7.40,"unit":"%"},"note":[{"text":"kept \\u00e9"}]}'
    )
    resource = json.loads(raw, parse_float=Decimal)
    assert canonical_static(resource).decode() == (
        '{"note":[{"text":"kept é"}],"resourceType":"Observation",'
        '"valueQuantity":{"unit":"%","value":7.40}}'
    )
