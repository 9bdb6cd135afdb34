"""What becomes a record: files, standard input, folders, lists and lines, and what is refused."""

import io
import json
import sys
from pathlib import Path

import pytest

from admin.errors import FaultError
from admin.procedures.care import sources
from admin.procedures.care.batchsources import (
    Defaults,
    EntrySource,
    read_entries,
    read_patients,
)
from admin.procedures.care.retention import Retention
from admin.procedures.care.sealer import SealOptions
from admin.procedures.care.sources import open_source

ANNA, BERT = "a" * 32, "b" * 32
RESOURCE = b'{"resourceType": "Basic", "code": {"text": "x"}}'


def test_json_is_a_resource_and_anything_else_a_stream(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(b"\n " + RESOURCE)
    (tmp_path / "scan.dcm").write_bytes(b"{not json at all")
    (tmp_path / "plain").write_bytes(b"plain")
    (tmp_path / "letter").write_bytes(rb"{\rtf1\ansi")
    with open_source(str(tmp_path / "r.json")) as source:
        assert source.media_type == "application/fhir+json"
        assert source.resource is not None
        assert source.stream.read() == b"\n " + RESOURCE
    for name, media in (
        ("scan.dcm", "application/dicom"),
        ("plain", "application/octet-stream"),
        ("letter", "application/octet-stream"),
    ):
        with open_source(str(tmp_path / name)) as source:
            assert source.media_type == media
            assert source.resource is None
            assert source.stream.read() == (tmp_path / name).read_bytes()
    with open_source(str(tmp_path / "r.json"), "text/plain") as source:
        assert source.resource is None


def test_standard_input_is_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    for content, media in ((RESOURCE, "application/fhir+json"), (b"x", "application/octet-stream")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        with open_source("-") as source:
            assert source.media_type == media
            assert source.stream.read() == content


def test_a_resource_has_a_length_and_an_export_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_RESOURCE", 40)
    (tmp_path / "r.json").write_bytes(RESOURCE)
    with pytest.raises(FaultError, match="at most"), open_source(str(tmp_path / "r.json")):
        pass
    (tmp_path / "r.ndjson").write_bytes(RESOURCE)
    with open_source(str(tmp_path / "r.ndjson")) as source:
        assert source.media_type == "application/fhir+ndjson"


# -- batches ---------------------------------------------------------------------------------------


def defaults(patient: str = "", **patients: str) -> Defaults:
    return Defaults(SealOptions(patient, labels=("N",)), patients)


def contents(entries: list[object]) -> list[bytes]:
    found = []
    with EntrySource() as reader:
        for entry in entries:
            with reader.open(entry) as source:  # type: ignore[arg-type]
                found.append(source.stream.read())
    return found


def test_a_folder_is_read_in_order_and_tells_whose_it_is(tmp_path: Path) -> None:
    for name in (f"{ANNA}/2.bin", f"{ANNA}/1.bin", f"{BERT}/x/3.bin", "4.bin", ".hidden"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    entries = list(read_entries(str(tmp_path), defaults("c" * 32)))
    assert [(entry.name, entry.options.patient[0]) for entry in entries] == [
        ("4.bin", "c"),
        (f"{ANNA}/1.bin", "a"),
        (f"{ANNA}/2.bin", "a"),
        (f"{BERT}/x/3.bin", "b"),
    ]
    assert contents([*entries]) == [entry.name.encode() for entry in entries]
    with pytest.raises(FaultError, match="whose record"):
        read_entries(str(tmp_path), defaults())


def test_lines_are_resources_or_entries(tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_bytes(b"scan")
    lines = [
        {"resourceType": "Basic", "code": {"text": "1"}, "subject": {"reference": "Patient/7"}},
        {"file": "scan.dcm", "patient": BERT, "labels": ["R", "PSY"], "classes": ["x"]},
        {"resourceType": "Patient", "id": "7"},
    ]
    source = tmp_path / "all.ndjson"
    source.write_text("\n\n".join(map(json.dumps, lines)))
    entries = list(read_entries(str(source), defaults(**{"Patient/7": ANNA})))
    assert [entry.options.patient for entry in entries] == [ANNA, BERT, ANNA]
    assert entries[1].options.labels == ("R", "PSY")
    assert entries[0].options.labels == ("N",)
    assert [entry.name for entry in entries] == ["all.ndjson:1", "scan.dcm", "all.ndjson:5"]
    assert contents([*entries]) == [
        json.dumps(lines[0]).encode(),
        b"scan",
        json.dumps(lines[2]).encode(),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "not JSON"),
        ("[1]", "no JSON object"),
        ('{"patient": "x"}', "no file"),
        ('{"file": "gone.bin"}', "no such file"),
        ('{"file": "here.bin", "ward": "3"}', "'ward' is no field"),
        ('{"file": "here.bin", "labels": "N"}', "list of codes"),
        ('{"file": "here.bin", "patient": "Jane Doe"}', "whose record"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "here.bin").write_bytes(b"x")
    source = tmp_path / "list.ndjson"
    source.write_text('{"file": "here.bin"}\n' + line + "\n")
    with pytest.raises(FaultError, match=said) as refusal:
        read_entries(str(source), defaults(ANNA))
    assert refusal.value.fault.where.endswith("list.ndjson:2")


def test_a_list_names_files_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"a")
    (tmp_path / "list.txt").write_text("a.bin\n\n")
    (entry,) = read_entries(str(tmp_path / "list.txt"), defaults(ANNA))
    assert contents([entry]) == [b"a"]
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(FaultError, match="nothing to seal"):
        read_entries(str(tmp_path / "list.txt"), defaults(ANNA))


def test_the_same_sources_are_known_again_and_others_are_not(tmp_path: Path) -> None:
    def marks(patient: str = ANNA) -> tuple[bytes, list[bytes]]:
        entries = read_entries(str(tmp_path), defaults(patient))
        return entries.digest, [entry.fingerprint for entry in entries]

    (tmp_path / "a.bin").write_bytes(b"a")
    digest, (mark,) = marks()
    assert marks() == (digest, [mark])
    assert marks(BERT)[0] != digest
    (tmp_path / "a.bin").write_bytes(b"aa")  # the same sources, whose content changed
    changed, (other,) = marks()
    assert changed == digest
    assert other != mark
    (tmp_path / "b.bin").write_bytes(b"b")
    assert marks()[0] != digest


def test_entries_are_read_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "all.ndjson"
    source.write_bytes(RESOURCE + b"\n" + RESOURCE)
    entries = read_entries(str(source), defaults(ANNA))
    assert len(entries) == 2
    assert list(entries) == list(entries)
    (tmp_path / "a.bin").write_bytes(b"a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("a.bin\n"))
    entries = read_entries("-", defaults(ANNA))
    assert [entry.name for entry in entries] == [entry.name for entry in entries] == ["a.bin"]


def test_a_table_of_patients_is_read_with_or_without_a_heading(tmp_path: Path) -> None:
    file = tmp_path / "patients.csv"
    file.write_text(f"reference,handle\nPatient/7,{ANNA}\n")
    assert read_patients(str(file)) == {"Patient/7": ANNA}
    file.write_text(f"Patient/7,{ANNA}\nPatient/8,nobody\n")
    with pytest.raises(FaultError) as refusal:
        read_patients(str(file))
    assert refusal.value.fault.where.endswith("patients.csv:2")


def test_retention_ends_after_its_last_day(tmp_path: Path) -> None:
    from datetime import date

    retention = Retention(tmp_path / "retention")
    assert retention.expired(date(2030, 1, 1)) == []
    retention.keep(ANNA, date(2029, 12, 31))
    retention.keep(BERT, date(2030, 1, 1))
    assert retention.expired(date(2030, 1, 1)) == [(ANNA, date(2029, 12, 31))]
    retention.forget(ANNA)
    assert retention.until(ANNA) is None
    retention.keep_all([ANNA, "c" * 32], date(2040, 1, 1))
    assert retention.until(ANNA) == retention.until("c" * 32) == date(2040, 1, 1)
    assert retention.expired(date(2030, 1, 2)) == [(BERT, date(2030, 1, 1))]
