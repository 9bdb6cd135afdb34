"""277CAs out: every claim of an 837 told of, accepted or refused, in the guide."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from admin.x12.claims import Told837
from admin.x12.claimstatus import (
    ACCEPTED,
    UNKNOWN_MEMBER,
    Answered,
    Receipt,
    build_claim_acknowledgements,
    word_for,
)
from admin.x12.guides import find_faults
from admin.x12.intake import read_837
from admin.x12.writer import Address, build_interchange
from chaincode.claims.model import CheckResult, Finding, Verdict
from tests.admin.x12.test_intake import VECTORS

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
HANDLE = "c" * 32


def told(name: str = "amelia-hart") -> list[tuple[int, Told837]]:
    intake = read_837((VECTORS / f"{name}.837").read_bytes())
    return [(claim.set, claim.told) for claim in intake.taken]


def write(*found: Answered) -> list[str]:
    sets = build_claim_acknowledgements(found, Receipt("77", AT))
    text = build_interchange(
        sets, "HN", Address("UNITEDPAYER"), Address("GENERALHOSP"), at=AT, control=77
    )
    assert [fault.tell() for fault in find_faults(text)] == []
    return [line.rstrip("~") for line in text.splitlines()]


def test_an_accepted_claim_is_told_with_the_payers_number() -> None:
    ((number, one),) = told()
    rows = write(Answered(one, ACCEPTED, HANDLE, number))
    assert f"TRN*2*{one.number}" in rows
    assert "STC*A2:20:PR*20261122*WQ*310" in rows
    assert f"REF*1K*{HANDLE}" in rows
    assert "DTP*472*D8*20261005" in rows
    assert f"TRN*2*{one.batch}" in rows
    assert [row for row in rows if row.startswith(("QTY*90", "QTY*AA", "AMT*Y"))][:2] == [
        "QTY*90*1",
        "AMT*YU*310",
    ]
    levels = [row.split("*")[1:4] for row in rows if row.startswith("HL*")]
    assert levels == [["1", "", "20"], ["2", "1", "21"], ["3", "2", "19"], ["4", "3", "PT"]]


def test_refused_claims_are_counted_apart_and_told_why() -> None:
    ((_, one),) = told()
    other = replace(one, number="OTHER", charge=Decimal("99.90"))
    rows = write(Answered(one, ACCEPTED, HANDLE), Answered(other, UNKNOWN_MEMBER))
    assert "STC*A3:33:IL*20261122*U*99.9" in rows
    assert "STC*A1:19:PR*20261122*WQ*409.9" in rows
    for counted in ("QTY*90*1", "QTY*AA*1", "AMT*YU*310", "AMT*YY*99.9", "QTY*QA*1", "QTY*QC*1"):
        assert counted in rows
    assert sum(row.startswith("REF*1K") for row in rows) == 1


def test_each_set_has_an_answer_and_institutional_claims_their_bill_type() -> None:
    rows = write(
        *(Answered(one, ACCEPTED, HANDLE, number) for number, one in told("institutional"))
    )
    assert [row for row in rows if row.startswith("ST*")] == [
        "ST*277*0001*005010X214",
        "ST*277*0002*005010X214",
    ]
    assert sum(row.startswith("REF*BLT*") for row in rows) == 2


CHECKS = [
    ("structure", "MA130", "A7:21"),
    ("structure", "M54", "A7:400"),
    ("pricing", "M54", "A7:400"),
    ("authority", "MA130", "A3:24"),
    ("consent", "MA130", "A3:122"),
    ("evidence", "M127", "A6:294"),
]


@pytest.mark.parametrize(("check", "remark", "word"), CHECKS)
def test_a_gate_has_its_word_which_the_guide_lists(check: str, remark: str, word: str) -> None:
    finding = Finding(Verdict.REJECTED, "why", "CO", "16", remark)
    passed = CheckResult("authority", Verdict.PASSED)
    results = (passed, CheckResult(check, Verdict.REJECTED, (finding,)))
    assert word_for(results) == word
    ((_, one),) = told()
    assert any(f"STC*{word}*" in row for row in write(Answered(one, word, HANDLE)))


def test_what_is_denied_or_flagged_later_is_accepted_now() -> None:
    assert word_for((CheckResult("duplicate", Verdict.DENIED),)) == ACCEPTED


@pytest.mark.parametrize(
    ("row", "broken"),
    [
        ("STC*A2:20:PR*20261122*WQ*310", "STC*A2:99999:PR*20261122*WQ*310"),
        ("STC*A2:20:PR*20261122*WQ*310", "STC*Z9:20:PR*20261122*WQ*310"),
        ("HL*4*3*PT", "HL*4*3*22"),
        ("DTP*472*D8*20261005", "DTP*472*D8*20261305"),
    ],
)
def test_its_guide_really_holds_it(row: str, broken: str) -> None:
    ((_, one),) = told()
    rows = write(Answered(one, ACCEPTED, HANDLE))
    assert row in rows
    text = "".join(f"{broken if line == row else line}~\n" for line in rows)
    assert find_faults(text)
