"""277s out, 276s in: the guide's words for how claims stand."""

from dataclasses import replace
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import pytest

from admin.errors import FaultError
from admin.fhir.reading import SourceFile
from admin.x12.guides import find_faults
from admin.x12.partners import Profile, read_profile
from admin.x12.status import Standing, build_status, read_request, word_of
from admin.x12.writer import Address, SetOut, build_interchange, clean
from chaincode.claims.states import Outcome, Status
from tests.admin.x12.test_remittance import DECIDED, MADE, PROFILE
from tests.chaincode.claims.test_responses import CLAIM

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
STANDING = Standing(CLAIM, MADE, DECIDED, date(2026, 2, 1), "EFT-7")


def write(answer: SetOut, function: str = "HN") -> str:
    return build_interchange(
        [answer], function, Address("UNITEDPAYER"), Address("GENERALHOSP"), at=AT, control=9
    )


@pytest.mark.parametrize(
    ("status", "outcome", "word"),
    [
        (Status.ACCEPTED, None, "A2:20"),
        (Status.REJECTED, None, "A3:21"),
        (Status.PENDED, None, "P3:21"),
        (Status.ADJUDICATED, Outcome.PAID, "F1:3"),
        (Status.ADJUDICATED, Outcome.DENIED, "F2:1"),
        (Status.REMITTED, Outcome.PARTIAL, "F1:65"),
        (Status.VOIDED, Outcome.PAID, "F4:101"),
    ],
)
def test_a_status_has_its_word(status: Status, outcome: Outcome | None, word: str) -> None:
    assert word_of(replace(CLAIM, status=status, outcome=outcome)) == word


def test_every_status_has_a_word() -> None:
    assert all(word_of(replace(CLAIM, status=status, outcome=None)) for status in Status)


def test_a_277_tells_charge_payment_and_trace() -> None:
    text = write(build_status([STANDING], PROFILE, AT))
    assert find_faults(text) == ()
    rows = [row.rstrip("~") for row in text.splitlines()]
    assert "STC*F1:3*20260102**249.99*96*20260201**20260201*EFT-7" in rows
    assert f"REF*1K*{CLAIM.claim}" in rows
    assert "NM1*IL*1*Nobody*Ever****MI*UP-1" in rows
    levels = [row.split("*")[1:4] for row in rows if row.startswith("HL*")]
    assert levels == [["1", "", "20"], ["2", "1", "21"], ["3", "2", "19"], ["4", "3", "22"]]


def test_a_nameless_patient_is_refused() -> None:
    with pytest.raises(FaultError, match="names the patient"):
        build_status([STANDING], replace(PROFILE, members={}), AT)


def request(*rows: tuple[str, ...]) -> SourceFile:
    asked = SetOut("276", "005010X212", (("BHT", "0010", "13", "ASK-1", "20261122"), *rows))
    return SourceFile("ask.276", write(asked, "HR").encode())


def test_a_276_asks_by_the_payers_number_and_is_answered_under_its_trace() -> None:
    asked = read_request(request(("TRN", "1", "MINE-1"), ("REF", "1K", CLAIM.claim)))
    assert (asked.reference, asked.claims) == ("ASK-1", (CLAIM.claim,))
    rows = build_status([STANDING], PROFILE, AT, asked).rows
    assert ("BHT", "0010", "08", "ASK-1", "20261122", "0930", "DG") in rows
    assert ("TRN", "2", "MINE-1") in rows


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (request(), "asks for no claim"),
        (SourceFile("x", b"hello"), "begins with ISA"),
        (SourceFile("x", request().raw.replace(b"SE*3*", b"SE*9*")), "SE01"),
        (SourceFile("x", request().raw.replace(b"ST*276", b"ST*277")), "no 276"),
    ],
)
def test_a_bad_276_is_named_by_place(source: SourceFile, said: str) -> None:
    with pytest.raises(FaultError, match=said):
        read_request(source)


def test_a_profile_is_read_and_a_mistake_named(tmp_path: Path) -> None:
    text = (
        "sender: {id: UP}\nreceiver: {id: GH}\n"
        'payer: {name: U, taxId: "37", street: s, city: c, state: IL, zip: "62701", '
        'contact: e, phone: "1"}\nmembers: {aa: {id: M1}}\n'
    )
    profile = read_profile(SourceFile("p.yaml", text.encode()))
    assert isinstance(profile, Profile)
    assert (profile.member("aa").id, profile.member("bb").id) == ("M1", "bb")
    for bad, said in (("sender: [", "not YAML"), (text.replace("taxId", "tax"), "tax")):
        with pytest.raises(FaultError) as refusal:
            read_profile(SourceFile("p.yaml", bad.encode()))
        assert said in refusal.value.fault.message


@pytest.mark.parametrize("text", ["A*B", "A~B", "A:B", "A^B", "A\nB", "AéB"])
def test_a_value_cannot_break_out_of_its_element(text: str) -> None:
    assert clean(text) == "A B"


def test_every_word_is_on_the_code_lists() -> None:
    """X12's lists 507 and 508, as the validator's guides quote them."""
    codes = ElementTree.fromstring(files("pyx12").joinpath("map", "codes.xml").read_bytes())
    listed = {
        one.findtext("id"): {code.text for code in one.iter("code")}
        for one in codes.iter("codeset")
    }
    for status in Status:
        for outcome in (None, Outcome.DENIED):
            word = word_of(replace(CLAIM, status=status, outcome=outcome))
            category, code = word.split(":")
            assert category in listed["claim_status_cat"]
            assert code in listed["claim_status"]


@pytest.mark.parametrize(
    ("row", "broken"),
    [
        ("STC*F1:3*2026", "STC**2026"),
        ("HL*4*3*22*0", "HL*4*3*99*0"),
        ("NM1*IL*1*Nobody", "NM1*IL*1*"),
        ("BHT*0010*08", "BHT*0019*08"),
        ("HL*3*2*19*1", "HL*3*9*19*1"),
        ("NM1*PR*2*United", "ZZZ*PR*2*United"),
    ],
)
def test_a_277_is_held_by_its_guide(row: str, broken: str) -> None:
    text = write(build_status([STANDING], PROFILE, AT))
    assert row in text
    assert find_faults(text.replace(row, broken))


def test_claims_of_several_providers_and_patients_are_in_the_guide() -> None:
    other = replace(
        STANDING,
        claim=replace(CLAIM, claim="e" * 32),
        details=replace(MADE, provider_npi="1555002025"),
    )
    text = write(build_status([STANDING, other, STANDING], PROFILE, AT))
    assert find_faults(text) == ()
    assert text.count("HL*") == 2 + 2 + 3
