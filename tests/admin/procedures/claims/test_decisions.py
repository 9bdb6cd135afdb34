"""Decisions by hand: from a file and from a few words."""

import json
from typing import Any

import pytest

from admin.errors import FaultError
from admin.fhir.reading import SourceFile
from admin.procedures.claims.decisions import deny_all, read_lines, read_reason
from chaincode.claims.adjudication import outcome_of, total_up, validate_adjudication
from chaincode.claims.details import LineDecision
from chaincode.claims.model import Reason
from chaincode.claims.states import Outcome
from tests.chaincode.claims.samples import details, line

CLAIM = details(lines=(line(), line(2)), total=300_00)


def source(value: Any) -> SourceFile:
    return SourceFile(
        "lines.json", value if isinstance(value, bytes) else json.dumps(value).encode()
    )


def decided(**changed: Any) -> dict[str, Any]:
    adjustment = {"group": "CO", "carc": "45", "amount": 30.5}
    return {"sequence": 1, "paid": 119.5, "adjustments": [adjustment], **changed}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("CO-16-N706", Reason("CO", "16", "N706")),
        ("pr-1", Reason("PR", "1")),
        ("OA-A1-MA130", Reason("OA", "A1", "MA130")),
        ("PI-B7", Reason("PI", "B7")),
    ],
)
def test_reads_a_reason(text: str, reason: Reason) -> None:
    assert read_reason(text) == reason


@pytest.mark.parametrize("text", ["", "16", "CR-16", "CO16", "CO-16-X1", "CO-16-N706-M1", "CO-"])
def test_refuses_what_is_no_reason(text: str) -> None:
    with pytest.raises(FaultError):
        read_reason(text)


def test_reads_amounts_in_units_as_cents() -> None:
    lines = read_lines(source({"lines": [decided(), decided(sequence=2)]}), CLAIM)
    assert [(one.charge, one.paid, one.adjustments[0].amount) for one in lines] == [
        (150_00, 119_50, 30_50)
    ] * 2
    validate_adjudication(total_up(CLAIM.claim, "USD", lines), CLAIM)


def test_a_denial_of_all_lines_balances() -> None:
    made = total_up(CLAIM.claim, "USD", deny_all(CLAIM, Reason("CO", "50", "N130")))
    validate_adjudication(made, CLAIM)
    assert outcome_of(made) is Outcome.DENIED
    assert all(isinstance(one, LineDecision) and one.paid == 0 for one in made.lines)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (b"nonsense", "not JSON"),
        (b'{"lines": [], "lines": []}', "not JSON"),
        ([], "lines"),
        ({"lines": []}, "lines"),
        ({"lines": [7]}, "lines[0]"),
        ({"lines": [decided(sequence=3)]}, "lines[0].sequence"),
        ({"lines": [decided(sequence=True)]}, "lines[0].sequence"),
        ({"lines": [decided(paid="10")]}, "lines[0].paid"),
        ({"lines": [decided(paid=1.005)]}, "lines[0].paid"),
        ({"lines": [decided(surprise=1)]}, "lines[0].surprise"),
        ({"lines": [decided(adjustments=[{"group": "XX"}])]}, "lines[0].adjustments[0].group"),
        (
            {"lines": [decided(adjustments=[{"group": "CO", "carc": "SECRET"}])]},
            "lines[0].adjustments[0].carc",
        ),
        (
            {"lines": [decided(adjustments=[{"group": "CO", "carc": "45"}])]},
            "lines[0].adjustments[0].amount",
        ),
    ],
)
def test_refuses_with_the_path_and_no_value(value: Any, path: str) -> None:
    with pytest.raises(FaultError) as caught:
        read_lines(source(value), CLAIM)
    assert f"not a decision: {path}" in caught.value.fault.message
    assert "SECRET" not in caught.value.fault.message
