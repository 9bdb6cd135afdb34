"""Claims from files: what is found in them, how mistakes are told, which handles stand for what."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from admin.errors import ExitCode, FaultError
from admin.fhir.reading import SourceFile
from admin.procedures.claims.files import read_claim_files
from admin.procedures.claims.sources import ClaimSource, Naming, read_details, read_handles
from tests.admin.x12.long837 import segments
from tests.journeys.care import DATA

CLAIM = DATA / "amelia-hart.claim.json"
HANDLE, PATIENT, COVERAGE, RECORD = (letter * 32 for letter in "abcd")


def claim(**changed: Any) -> dict[str, Any]:
    return {**json.loads(CLAIM.read_text(), parse_float=Decimal), **changed}


def source(**changed: Any) -> ClaimSource:
    return ClaimSource("x.json", claim(**changed))


def write(folder: Path, name: str, *resources: Any) -> str:
    file = folder / name
    file.write_text("\n".join(json.dumps(one, default=float) for one in resources))
    return str(file)


def test_reads_one_a_bundle_lines_and_patterns(tmp_path: Path) -> None:
    one = write(tmp_path, "a.json", claim())
    entries = [{"resource": {"resourceType": "Patient"}}, {"resource": claim()}]
    write(tmp_path, "b.json", {"resourceType": "Bundle", "type": "collection", "entry": entries})
    lines = write(tmp_path, "c.ndjson", claim(), claim())
    assert [found.where for found in read_claim_files([one])] == [one]
    found = read_claim_files([str(tmp_path / "*.json"), lines])
    assert [item.where for item in found] == [
        one,
        f"{tmp_path / 'b.json'} entry[1]",
        f"{lines}:1",
        f"{lines}:2",
    ]


def test_recognises_lines_without_the_ending(tmp_path: Path) -> None:
    assert len(read_claim_files([write(tmp_path, "x", claim(), claim())])) == 2


def test_tells_every_mistake_with_its_line_and_no_value(tmp_path: Path) -> None:
    broken = claim(use="SECRET")
    del broken["status"]
    file = write(tmp_path, "c.ndjson", claim(), broken, {"resourceType": "Claim"})
    with pytest.raises(FaultError) as caught:
        read_claim_files([file])
    fault = caught.value.fault
    assert fault.exit_code is ExitCode.INVALID
    assert "1 more" in fault.message
    assert "nothing was sent" in fault.message
    assert [detail.partition(": ")[0] for detail in fault.details] == [f"{file}:2", f"{file}:3"]
    assert "SECRET" not in str(fault)


@pytest.mark.parametrize(
    "resource", [{"resourceType": "Bundle", "type": "collection"}, {"resourceType": "Patient"}]
)
def test_refuses_files_without_a_claim(tmp_path: Path, resource: Any) -> None:
    with pytest.raises(FaultError):
        read_claim_files([write(tmp_path, "x.json", resource)])


def test_a_claim_says_what_it_is_called_and_for_whom() -> None:
    found = source(meta={"security": [{"code": "R"}, {"code": "PSY"}, {"code": "R"}]})
    assert found.number == ("https://hospital.example/claims", "GH-2026-004417")
    assert found.payer == "UnitedPayerMSP"
    assert found.labels == ("R", "PSY")
    assert found.patient == "Patient/amelia-hart"
    assert found.coverages == ("Coverage/cov-1",)
    assert found.evidence == ("Bundle/visit-2026-10-05",)


def test_without_an_identifier_the_content_is_the_name() -> None:
    first, same, other = (
        source(identifier=[]),
        source(identifier=[]),
        source(identifier=[], use="x"),
    )
    assert first.number == same.number != other.number


def test_one_handle_stands_for_the_only_reference() -> None:
    naming = Naming(PATIENT, {"": COVERAGE}, {"": RECORD})
    made = read_details(source(), naming, HANDLE, PATIENT)
    assert [item.coverage for item in made.insurance] == [COVERAGE]
    assert [item.record for item in made.supporting] == [RECORD]


def test_a_map_of_handles_serves_all_kinds() -> None:
    handles = {
        "Patient/amelia-hart": PATIENT,
        "Coverage/cov-1": COVERAGE,
        "Bundle/visit-2026-10-05": RECORD,
    }
    naming = Naming(handles=handles)
    assert naming.patient_of(source()) == PATIENT
    assert naming.coverages_of(source()) == {"Coverage/cov-1": COVERAGE}
    assert naming.records_of(source()) == {"Bundle/visit-2026-10-05": RECORD}


def test_a_bare_handle_never_stands_for_two_references() -> None:
    insurance = [
        {"sequence": n, "focal": n == 1, "coverage": {"reference": f"Coverage/{n}"}} for n in (1, 2)
    ]
    both = source(insurance=insurance)
    with pytest.raises(FaultError) as caught:
        Naming(PATIENT, {"": COVERAGE}).coverages_of(both)
    assert "--coverage REFERENCE=HANDLE" in caught.value.fault.remedy
    named = Naming(PATIENT, {"Coverage/1": COVERAGE, "Coverage/2": RECORD})
    assert named.coverages_of(both) == {"Coverage/1": COVERAGE, "Coverage/2": RECORD}


@pytest.mark.parametrize(
    ("naming", "option"),
    [(Naming(), "--coverage"), (Naming(coverages={"": COVERAGE}), "--evidence")],
)
def test_what_nobody_named_is_refused_with_its_option(naming: Naming, option: str) -> None:
    with pytest.raises(FaultError) as caught:
        read_details(source(), naming, HANDLE, PATIENT)
    assert option in caught.value.fault.remedy


def test_a_patient_whom_nobody_named_is_refused() -> None:
    with pytest.raises(FaultError) as caught:
        Naming().patient_of(source())
    assert "--patient" in caught.value.fault.remedy


def test_the_element_is_named_without_its_value() -> None:
    item = {**claim()["item"][0], "productOrService": {"coding": [{"display": "SECRET"}]}}
    naming = Naming(PATIENT, {"": COVERAGE}, {"": RECORD})
    with pytest.raises(FaultError) as caught:
        read_details(source(item=[item]), naming, HANDLE, PATIENT)
    assert "Claim.item[0].productOrService" in caught.value.fault.message
    assert "SECRET" not in str(caught.value.fault)


@pytest.mark.parametrize("raw", [b"[]", b"nonsense", b'{"Patient/1": 7}'])
def test_a_map_of_handles_is_refused_if_it_is_none(raw: bytes) -> None:
    with pytest.raises(FaultError):
        read_handles(SourceFile("h.json", raw))


def test_a_long_837_is_read_again_and_gives_the_same_claims(tmp_path: Path) -> None:
    file = tmp_path / "long.837"
    file.write_bytes(b"".join(segments(5)))
    held, again = read_claim_files([str(file)]), read_claim_files([str(file)], hold=2)
    assert len(held) == len(again) == 5
    assert list(again) == list(held) == list(again)
    file.write_bytes(b"".join(segments(6)))
    assert len(list(held)) == 5
    with pytest.raises(FaultError, match="the file changed"):
        list(again)
