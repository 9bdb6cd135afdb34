"""How claims look: the checks in one line, amounts, findings, events."""

import io

import pytest

from admin.cli.claiming.views import loud_findings, money, show_checks, tell_checks
from admin.output import Output
from chaincode.claims.model import CheckResult, Finding, Verdict

HANDLE = "7f3a9c1e" + "0" * 24
PASSED = CheckResult("structure", Verdict.PASSED)
FLAG = Finding(Verdict.FLAGGED, "possible duplicate at another payer", "OA", "18", "", 0, HANDLE)
DENIAL = Finding(Verdict.DENIED, "the service is not covered", "PR", "96", "", 2)
FLAGGED = CheckResult("duplicate", Verdict.FLAGGED, (FLAG,))
DENIED = CheckResult("eligibility", Verdict.DENIED, (DENIAL,))
DEFERRED = CheckResult("pricing", Verdict.DEFERRED, (Finding(Verdict.DEFERRED, "later"),))


@pytest.mark.parametrize(
    ("cents", "text"), [(0, "0.00"), (5, "0.05"), (185_00, "185.00"), (-1_01, "-1.01")]
)
def test_money(cents: int, text: str) -> None:
    assert money(cents) == text
    assert money(cents, "USD") == f"{text} USD"


def test_quiet_checks_are_counted() -> None:
    assert tell_checks([PASSED, PASSED, DEFERRED], HANDLE) == ["checks: 2 passed · 1 deferred"]


def test_one_finding_stands_in_the_line() -> None:
    assert tell_checks([PASSED, FLAGGED], HANDLE) == [
        "checks: 1 passed · 1 flagged: OA-18 possible duplicate at another payer, claim 7f3a9c1e"
        " → medfabric claim show 7f3a9c1e"
    ]


def test_several_findings_follow_the_gravest_first() -> None:
    assert tell_checks([FLAGGED, DENIED], HANDLE) == [
        "checks: 1 flagged · 1 denied → medfabric claim show 7f3a9c1e",
        "  PR-96 the service is not covered (line 2)",
        "  OA-18 possible duplicate at another payer, claim 7f3a9c1e",
    ]


def test_what_needs_nobody_is_not_loud() -> None:
    assert loud_findings([PASSED, DEFERRED]) == []


def test_the_table_has_a_row_for_every_finding() -> None:
    out = io.StringIO()
    show_checks(Output(out=out), [PASSED, DENIED])
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert rows[1][:2] == ["structure", "passed"]
    assert rows[2][:3] == ["eligibility", "denied", "PR-96"]
