"""837s in: the same facts as FHIR's, and every mistake by place, never by value."""

import json
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.x12.acknowledgement import build_acknowledgements
from admin.x12.guides import find_faults
from admin.x12.intake import Intake837, read_837
from admin.x12.writer import Address, build_interchange
from chaincode.claims.details import Details
from chaincode.claims.fhir import Handles, read_claim
from tests.journeys.care import DATA

VECTORS = Path(__file__).parents[2] / "vectors" / "x12"
CLAIM, PATIENT, COVERAGE, RECORD = (letter * 32 for letter in "abcd")
SECRETS = ("HART", "AMELIA", "UP-7731", "19840312", "E119", "OAK", "OKAFOR", "4417")


def raw(name: str = "amelia-hart") -> bytes:
    return (VECTORS / f"{name}.837").read_bytes()


def handles(**coverages: str) -> Handles:
    return Handles(
        CLAIM,
        PATIENT,
        coverages={"Coverage/UP-7731": COVERAGE, "Coverage/cov-1": COVERAGE, **coverages},
        records={
            "DocumentReference/VISIT-2026-10-05": RECORD,
            "Bundle/visit-2026-10-05": RECORD,
        },
    )


def read(name: str, **coverages: str) -> list[Details]:
    intake = read_837(raw(name))
    assert intake.problems == ()
    named = handles(**{f"Coverage/{k}".replace("_", "-"): v for k, v in coverages.items()})
    return [read_claim(claim.resource, named) for claim in intake.taken]


def test_an_837_gives_the_facts_that_fhir_gives() -> None:
    resource = json.loads((DATA / "amelia-hart.claim.json").read_text(), parse_float=Decimal)
    assert read("amelia-hart") == [read_claim(resource, handles())]


def test_what_an_837_becomes_is_valid_fhir() -> None:
    from fhir.resources.R4B.claim import Claim

    for file in sorted(VECTORS.glob("*.837")):
        for claim in read_837(file.read_bytes()).taken:
            Claim.model_validate_json(json.dumps(claim.resource, default=str))


def test_a_dependents_claim() -> None:
    intake = read_837(raw("dependent"))
    (claim,) = intake.taken
    assert claim.resource["patient"]["reference"] == "Patient/UP-2215.20140921.TOMAS"
    assert [note.split()[0] for note in intake.notes] == ["K3", "NTE"]
    (details,) = read("dependent", UP_2215=COVERAGE)
    assert details.number == "26463774"
    assert [line.control for line in details.lines] == ["LINE-1", "", "", ""]
    assert details.lines[1].modifiers == ("59",)
    assert details.lines[3].last_day == date(2026, 10, 11)
    # 10.00 for three units: no whole cents each, and yet the very charge.
    assert (int(details.lines[3].quantity), details.lines[3].net) == (3, 10_00)
    assert details.lines[3].diagnosis_sequences == (1, 2)


def test_other_delimiters_and_institutional_claims() -> None:
    first, second = read("institutional", UP_3310=COVERAGE)
    assert [line.revenue for line in first.lines] == ["0305", "0730", "0250"]
    assert [line.code for line in first.lines] == ["G0306", "G0403", "0250"]
    assert {line.serviced_from for line in first.lines} == {date(2026, 9, 11)}
    assert (first.number, second.number) == ("756048Q", "756049Q")
    assert first.total == 99_93


def test_what_another_payer_decided_comes_along() -> None:
    (details,) = read("secondary", SP_9902="e" * 32)
    primary, own = details.insurance
    assert (primary.focal, primary.paid, primary.adjusted) == (False, 190_00, 120_00)
    assert [(one.sequence, one.paid) for one in primary.paid_lines] == [(1, 120_00), (2, 70_00)]
    assert own.focal


def change(old: str, new: str, count: int = 1) -> Callable[[str], str]:
    def apply(text: str) -> str:
        assert old in text
        return text.replace(old, new, count)

    return apply


MISTAKES: list[tuple[str, Callable[[str], str], str]] = [
    ("ISA's widths", change("*ZZ*GENERALHOSP    *", "*ZZ*GENERALHOSP*"), "16 elements"),
    ("not ISA", lambda t: "HELLO" + t, "begins with ISA"),
    ("cut off", lambda t: t[: t.index("SE*")], "ends without IEA"),
    ("IEA02", change("IEA*1*000000001", "IEA*1*000000009"), "IEA02 is not ISA13"),
    ("IEA01", change("IEA*1*", "IEA*2*"), "IEA01 is not the number of groups"),
    ("GE01", change("GE*1*1~", "GE*2*1~"), "GE01 is not the number of sets"),
    ("GE02", change("GE*1*1~", "GE*1*7~"), "GE02 is not GS06"),
    ("SE01", change("SE*30*", "SE*29*"), "SE01 is not the number of segments"),
    ("SE02", change("SE*30*0001", "SE*30*0002"), "SE02 is not ST02"),
    ("no SE", change("SE*30*0001~\n", ""), "the set ends without SE"),
    ("version", change("*00501*", "*00401*"), "not version 00501"),
    ("guide", change("005010X222A1", "005010X224A2", 9), "neither 005010X222A1"),
    ("kind", change("ST*837*", "ST*835*"), "is no 837"),
    (
        "amount",
        change("*185*UN", "*18O*UN"),
        "element 2 (Line Item Charge Amount): the",
    ),
    ("date", change("D8*20261005", "D8*20261305"), "not a date"),
    ("code", change("NM1*IL*1*", "NM1*IL*7*"), "does not list this code"),
    ("missing segment", change("HI*ABK:E119~\nNM1*82", "NM1*82"), "required segment is missing"),
    ("missing element", change("SV1*HC:G0463*185*", "SV1*HC:G0463**"), "required element"),
    ("unknown segment", change("HI*ABK", "ZZ9*ABK"), "no such segment here"),
    ("HL01", change("HL*2*1*22", "HL*3*1*22"), "HL01 does not count"),
    ("LX", change("LX*2~", "LX*5~"), "LX01 does not count"),
    ("sum", change("*310***11", "*311***11"), "CLM02 is not the sum"),
    ("frequency", change("11:B:1", "11:B:7"), "names the payer's claim number"),
    ("quantity", change("UN*2***1", "UN*0***1"), "quantity is not above 0"),
]


@pytest.mark.parametrize(("edit", "said"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_named_by_place_and_rule(edit: Callable[[str], str], said: str) -> None:
    text = edit(raw().decode())
    text = _recount(text) if said.startswith("required segment") else text
    intake = read_837(text.encode())
    assert intake.taken == ()
    told = [problem.tell() for problem in intake.problems]
    assert any(said in line for line in told), told
    assert all(problem.remedy and problem.code for problem in intake.problems)
    assert not any(secret in line for secret in SECRETS for line in told)


def _recount(text: str) -> str:
    """The text with SE01 right again."""
    inside = text[text.index("ST*") :]
    count = inside[: inside.index("SE*")].count("~") + 1
    return re.sub(r"SE\*\d+\*", f"SE*{count}*", text)


@given(st.integers(0, 900), st.characters(codec="ascii"))
@settings(max_examples=40, deadline=None)
def test_no_change_of_a_character_breaks_the_reader_or_shows_a_value(at: int, char: str) -> None:
    text = raw().decode()
    at %= len(text)
    intake = read_837((text[:at] + char + text[at + 1 :]).encode())
    told = " ".join(problem.tell() for problem in intake.problems)
    assert not any(secret in told for secret in SECRETS)


@given(st.binary(max_size=300))
@settings(max_examples=25, deadline=None)
def test_rubbish_is_a_problem_and_no_exception(rubbish: bytes) -> None:
    assert read_837(b"ISA" + rubbish).problems


def test_nothing_of_the_data_is_logged(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    read_837(raw().replace(b"*185*UN", b"*18O*UN").replace(b"NM1*IL*1", b"NM1*IL*HART"))
    captured = capfd.readouterr()
    assert captured.out + captured.err + caplog.text == ""


def acknowledge(intake: Intake837, *, whole: bool) -> list[str]:
    from datetime import datetime

    sets = build_acknowledgements(intake, whole=whole)
    text = build_interchange(
        sets, "FA", Address("UP"), Address("GH"), at=datetime(2026, 11, 22), control=1
    )
    assert find_faults(text) == ()
    return [line.rstrip("~") for line in text.splitlines()]


def test_the_999_tells_what_is_taken_and_where_the_rest_is_wrong() -> None:
    good = acknowledge(read_837(raw()), whole=True)
    assert "IK5*A" in good
    assert "AK9*A*1*1*1" in good
    bad = acknowledge(read_837(raw().replace(b"*185*UN", b"*18O*UN")), whole=True)
    at = bad.index("IK3*SV1*25*2400*8")
    assert bad[at + 1 : at + 3] == ["IK4*2**6", "IK5*R*5"]
    assert "AK9*R*1*1*0" in bad
    # CLM02 is not the sum either, but what the guide finds comes first and alone.
    assert sum(line.startswith("IK3") for line in bad) == 1


def test_a_good_set_beside_a_bad_one() -> None:
    intake = read_837(
        raw("institutional").replace(b"SV2|0730|HC>G0403|76.54", b"SV2|0730|HC>G0403|X", 1)
    )
    assert [claim.set for claim in intake.taken] == [2]
    partly = acknowledge(intake, whole=False)
    assert [line for line in partly if line.startswith("IK5")] == ["IK5*R*5", "IK5*A"]
    assert "AK9*P*2*2*1" in partly
    assert "AK9*R*2*2*0" in acknowledge(intake, whole=True)
