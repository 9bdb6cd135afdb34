"""The report of a submission: a row a claim, as CSV and as JSON, for its owner alone."""

import csv
import io
import json
from pathlib import Path

import pytest

from admin.cli.claiming.reporting import FIELDS, Report
from admin.errors import FaultError
from admin.procedures.claims.claims import Submitted
from chaincode.claims.model import CheckResult, Finding, Room, SubmissionResult, Verdict
from chaincode.claims.states import Status

FLAG = Finding(Verdict.FLAGGED, "seen elsewhere", "OA", "18")
TAKEN = Submitted(
    "a.837 ST 1 segment 20",
    "c" * 32,
    "UnitedPayerMSP",
    Room.OWN,
    SubmissionResult(
        "c" * 32, Status.ACCEPTED, 1, checks=(CheckResult("duplicate", Verdict.FLAGGED, (FLAG,)),)
    ),
    transaction_id="t",
    block_number=7,
    number="A,1",
)
REFUSED = Submitted(
    "b", "d" * 32, "UnitedPayerMSP", Room.OWN, SubmissionResult("d" * 32, error="no"), sent=False
)


def test_csv_and_json_tell_the_same(tmp_path: Path) -> None:
    for name in ("r.csv", "r.json"):
        report = Report(str(tmp_path / name))
        report.add([TAKEN])
        report.add([REFUSED])
        report.close()
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    told = json.loads((tmp_path / "r.json").read_text())
    assert [tuple(row) for row in rows] == [FIELDS, FIELDS]
    assert [row["number"] for row in rows] == [one["number"] for one in told] == ["A,1", ""]
    assert rows[0]["findings"] == "OA-18"
    assert told[0]["findings"] == ["OA-18"]
    assert [row["status"] for row in rows] == ["accepted", "not taken"]


def test_another_ending_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(FaultError, match=r"\.csv or a \.json"):
        Report("report.xlsx")


def test_without_a_target_nothing_is_written(tmp_path: Path) -> None:
    report = Report(None)
    report.add([TAKEN])
    report.close()
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_nothing_can_be_written_is_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    with pytest.raises(FaultError, match="nothing was sent"):
        Report(str(tmp_path / "nowhere" / "report.csv"))
