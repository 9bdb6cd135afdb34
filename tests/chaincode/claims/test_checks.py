"""Each check, case by case: what it finds, with which codes, on which line."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.claims import checks
from chaincode.claims.adjudication import total_up
from chaincode.claims.checks.context import (
    ClaimContext,
    ConsentFact,
    EvidenceFact,
    Parties,
    PrimaryFact,
    Seen,
)
from chaincode.claims.checks.structure import compute_net, is_npi
from chaincode.claims.codes import Group
from chaincode.claims.details import (
    Adjudication,
    Adjustment,
    Insurance,
    LineDecision,
    Span,
    SupportingInformation,
)
from chaincode.claims.model import CheckResult, Evidence, Room, Verdict
from chaincode.claims.states import Status
from tests.chaincode.claims.samples import (
    AUTHORIZATION,
    COVERAGE,
    NOW,
    SERVICE,
    context,
    coverage,
    details,
    enrolment,
    filing,
    line,
    table,
)
from tests.chaincode.consortium import CLINIC, HOSPITAL, OTHER_PAYER, PATIENT, PAYER, handle

Found = set[tuple[str, str, int]]
ELSEWHERE = handle("another claim")


def findings(claim: ClaimContext, name: str) -> tuple[Verdict, Found]:
    """The verdict of one check, and (CARC, RARC, line) of each finding."""
    result = checks.run_one(name, claim)
    return result.verdict, {(f.carc, f.rarc, f.line) for f in result.findings}


def test_a_good_claim_passes_what_concerns_it() -> None:
    verdicts = {result.check: result.verdict for result in checks.run(context())}
    assert list(verdicts) == [item.name for item in checks.CHECKS]
    quiet = {"evidence": Verdict.SKIPPED, "authorization": Verdict.SKIPPED}
    quiet |= {"coordination": Verdict.SKIPPED, "pricing": Verdict.DEFERRED}
    assert verdicts == dict.fromkeys(verdicts, Verdict.PASSED) | quiet


def test_what_is_not_known_is_deferred_and_never_passed() -> None:
    unknown = context(
        details(lines=(line(code="S0002"),)),
        coverages=None,
        authorizations=None,
        enrolment=None,
        table=None,
        consent=None,
    )
    for name in ("consent", "eligibility", "enrolment", "authorization", "code-edits", "pricing"):
        assert findings(unknown, name)[0] is Verdict.DEFERRED, name
    hidden = replace(unknown, details=None)
    for item in checks.CHECKS:
        if item.needs is checks.Needs.DETAILS:
            assert findings(hidden, item.name)[0] is Verdict.DEFERRED, item.name


BAD_STRUCTURE: list[tuple[str, dict[str, Any], tuple[str, str, int]]] = [
    ("NPI with a wrong check digit", {"provider_npi": "1234567890"}, ("16", "N257", 0)),
    ("NPI of nine digits", {"provider_npi": "123456789"}, ("16", "N257", 0)),
    ("facility NPI", {"facility_npi": "0000000000"}, ("16", "N290", 0)),
    ("currency", {"currency": "dollars"}, ("16", "MA130", 0)),
    ("no lines", {"lines": ()}, ("16", "MA130", 0)),
    ("dated tomorrow", {"created": NOW.date() + timedelta(days=1)}, ("16", "MA130", 0)),
    ("another patient", {"patient": handle("another")}, ("16", "MA130", 0)),
    ("total", {"total": 149_99}, ("16", "M54", 0)),
    ("net", {"lines": (line(net=149_99),)}, ("16", "M79", 1)),
    ("net of a quantity", {"lines": (line(quantity=Decimal(2)),)}, ("16", "M79", 1)),
    ("net of a factor", {"lines": (line(factor=Decimal("0.5")),)}, ("16", "M79", 1)),
    ("negative price", {"lines": (line(unit_price=-1, net=-1),)}, ("16", "M79", 1)),
    ("no quantity", {"lines": (line(quantity=Decimal(0), net=0),)}, ("16", "M53", 1)),
    ("no code", {"lines": (line(code=""),)}, ("16", "M51", 1)),
    ("sequence twice", {"lines": (line(1), line(1))}, ("16", "MA130", 0)),
    ("sequence 0", {"lines": (line(0),)}, ("16", "MA130", 0)),
    ("diagnosis", {"lines": (line(diagnosis_sequences=(2,)),)}, ("16", "M76", 1)),
    ("information", {"lines": (line(information_sequences=(1,)),)}, ("16", "MA130", 1)),
    (
        "ends before it begins",
        {"lines": (line(serviced_to=SERVICE - timedelta(days=1)),)},
        ("16", "M52", 1),
    ),
    ("service after claim", {"created": SERVICE - timedelta(days=1)}, ("16", "M52", 1)),
    ("before birth", {"birth": SERVICE + timedelta(days=1)}, ("14", "", 1)),
    ("after death", {"death": SERVICE - timedelta(days=1)}, ("13", "", 1)),
    (
        "two focal insurances",
        {"insurance": (Insurance(1, COVERAGE), Insurance(2, COVERAGE))},
        ("16", "MA130", 0),
    ),
    (
        "evidence not filed",
        {"supporting": (SupportingInformation(1, "attachment", handle("r")),)},
        ("16", "N706", 0),
    ),
]


@pytest.mark.parametrize(
    ("changed", "expected"), [case[1:] for case in BAD_STRUCTURE], ids=[c[0] for c in BAD_STRUCTURE]
)
def test_structure(changed: dict[str, Any], expected: tuple[str, str, int]) -> None:
    good = details()
    claim = context(replace(good, **{"total": _total(changed), **changed}), filing=filing(good))
    verdict, found = findings(claim, "structure")
    assert verdict is Verdict.REJECTED
    assert expected in found


def _total(changed: dict[str, Any]) -> int:
    return sum(item.net for item in changed.get("lines", (line(),)))


def test_a_broken_structure_stops_the_checks_that_need_it() -> None:
    results = checks.run(context(details(total=1)))
    after = {r.check: r.verdict for r in results}
    assert after["structure"] is Verdict.REJECTED
    assert after["eligibility"] is after["fraud"] is Verdict.SKIPPED
    assert after["authority"] is Verdict.PASSED
    assert checks.is_rejected(results)


@pytest.mark.parametrize(
    ("number", "good"),
    [
        ("1234567893", True),  # the example of 45 CFR 162.406's standard
        ("1245319599", True),
        ("1234567892", False),
        ("9234567893", False),
        ("12345678931", False),
        ("١٢٣٤٥٦٧٨٩٣", False),
    ],
)
def test_npi(number: str, good: bool) -> None:
    assert is_npi(number) is good


@given(st.integers(1_000_000_00, 2_999_999_99))
def test_exactly_one_check_digit_is_right(stem: int) -> None:
    assert sum(is_npi(f"{stem}{digit}") for digit in range(10)) == 1


@given(st.integers(0, 10**7), st.decimals("0.001", 1000, places=3), st.decimals(0, 10, places=2))
def test_net_is_within_half_a_cent(price: int, quantity: Decimal, factor: Decimal) -> None:
    exact = quantity * price * factor
    assert abs(compute_net(quantity, price, factor) - exact) <= Decimal("0.5")


@pytest.mark.parametrize(
    ("changed", "parties"),
    [
        ({}, Parties(CLINIC, "provider", "provider", "payer")),
        ({}, Parties(HOSPITAL, "provider", "provider", "provider")),
        ({}, Parties(HOSPITAL, "provider", "", "payer")),
        ({}, Parties(OTHER_PAYER, "payer", "provider", "payer")),
        ({}, Parties("TrustMSP", "patient-trust", "provider", "payer")),
        ({"room": Room.OWN}, Parties(HOSPITAL, "provider", "provider", "payer")),
        ({"provider": ""}, Parties(PAYER, "payer", "", "payer")),
    ],
)
def test_authority(changed: dict[str, Any], parties: Parties) -> None:
    claim = context(filing=filing(details(), **changed), parties=parties)
    assert findings(claim, "authority")[0] is Verdict.REJECTED


@pytest.mark.parametrize(
    ("changed", "parties"),
    [
        ({}, Parties(PAYER, "payer", "provider", "payer")),
        ({"room": Room.OWN, "provider": ""}, Parties(PAYER, "payer", "", "payer")),
        ({"coordinates": ELSEWHERE}, Parties(OTHER_PAYER, "payer", "provider", "payer")),
    ],
)
def test_payers_file_too(changed: dict[str, Any], parties: Parties) -> None:
    claim = context(filing=filing(details(), **changed), parties=parties)
    assert findings(claim, "authority") == (Verdict.PASSED, set())


@pytest.mark.parametrize("verdict", ["DENY", "NOT_APPLICABLE", "INDETERMINATE"])
def test_anything_but_a_permit_rejects(verdict: str) -> None:
    claim = context(consent=ConsentFact(verdict, "implicit:"))
    assert findings(claim, "consent")[0] is Verdict.REJECTED


GOOD_EVIDENCE = EvidenceFact(
    record=handle("r"),
    version=1,
    status="current",
    current_version=1,
    patient=PATIENT,
    custodian=HOSPITAL,
    anchored_at=NOW - timedelta(seconds=1),
)


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, Verdict.PASSED),
        ({"status": "", "anchored_at": None}, Verdict.REJECTED),
        ({"status": "withdrawn"}, Verdict.REJECTED),
        ({"status": "erased"}, Verdict.REJECTED),
        ({"current_version": 2}, Verdict.REJECTED),
        ({"patient": handle("another")}, Verdict.REJECTED),
        ({"anchored_at": NOW}, Verdict.REJECTED),
        ({"custodian": CLINIC}, Verdict.FLAGGED),
    ],
)
def test_evidence(changed: dict[str, Any], verdict: Verdict) -> None:
    claim = context(
        filing=filing(details(), evidence=(Evidence(handle("r"), 1),)),
        evidence=(replace(GOOD_EVIDENCE, **changed),),
    )
    assert findings(claim, "evidence")[0] is verdict


@pytest.mark.parametrize(
    ("changed", "carc", "at"),
    [
        ({"start": SERVICE + timedelta(days=1)}, "26", 1),
        ({"end": SERVICE - timedelta(days=1)}, "27", 1),
        ({"patient": handle("another")}, "31", 0),
        ({"coverage": handle("another")}, "31", 0),
        ({"excluded_codes": ("S0001",)}, "96", 1),
    ],
)
def test_eligibility(changed: dict[str, Any], carc: str, at: int) -> None:
    claim = context(coverages=(coverage(**changed),))
    assert findings(claim, "eligibility") == (Verdict.DENIED, {(carc, "", at)})


def test_coverage_reaches_to_its_last_day() -> None:
    claim = context(coverages=(coverage(start=SERVICE, end=SERVICE),))
    assert findings(claim, "eligibility")[0] is Verdict.PASSED


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"provider_npi": "1245319599"}, {("B7", "", 0)}),
        ({"enrolled": ()}, {("B7", "", 1)}),
        ({"enrolled": (Span(date(2026, 1, 1)),)}, {("B7", "", 1)}),
        ({"excluded": (Span(SERVICE, SERVICE),)}, {("B7", "N290", 1)}),
        ({"excluded": (Span(date(2020, 1, 1)),)}, {("B7", "N290", 1)}),
        ({"excluded": (Span(date(2026, 1, 1)),)}, set()),
        ({"excluded": (Span(date(2020, 1, 1), date(2025, 1, 1)),)}, set()),
    ],
)
def test_enrolment(changed: dict[str, Any], found: Found) -> None:
    claim = context(enrolment=enrolment(**changed))
    expected = Verdict.DENIED if found else Verdict.PASSED
    assert findings(claim, "enrolment") == (expected, found)


@pytest.mark.parametrize(
    ("changed", "left", "found"),
    [
        ({"code": "S0002", "authorization": AUTHORIZATION}, 3, set()),
        ({"code": "S0002"}, 3, {("197", "", 1)}),
        ({"code": "S0002", "authorization": handle("unknown")}, 3, {("15", "", 1)}),
        ({"code": "S0001", "authorization": AUTHORIZATION}, 3, {("15", "", 1)}),
        ({"code": "S0002", "authorization": AUTHORIZATION}, 0, {("198", "", 1)}),
    ],
)
def test_authorization(changed: dict[str, Any], left: int, found: Found) -> None:
    claim = context(details(lines=(line(**changed),)), units_left={AUTHORIZATION: left})
    assert findings(claim, "authorization")[1] == found


def test_lines_share_the_units_that_are_left() -> None:
    lines = tuple(
        line(n, code="S0002", authorization=AUTHORIZATION, quantity=Decimal(2), net=300_00)
        for n in (1, 2)
    )
    claim = context(details(lines=lines))
    assert findings(claim, "authorization") == (Verdict.DENIED, {("198", "", 2)})


def test_timely_filing_counts_from_the_last_day() -> None:
    late = context(filing_days=12)
    assert findings(late, "timely-filing") == (Verdict.DENIED, {("29", "", 1)})
    assert findings(context(filing_days=13), "timely-filing")[0] is Verdict.PASSED
    tight = context(table=table(filing_days=12))
    assert findings(tight, "timely-filing")[0] is Verdict.DENIED
    corrected = replace(late, filing=filing(details(), replaces=ELSEWHERE))
    assert findings(corrected, "timely-filing")[0] is Verdict.PASSED


@pytest.mark.parametrize(
    ("seen", "verdict", "found"),
    [
        ((), Verdict.PASSED, set()),
        ((Seen(ELSEWHERE, PAYER),), Verdict.DENIED, {("18", "N522", 0)}),
        ((Seen(ELSEWHERE, PAYER, 1), Seen(ELSEWHERE, PAYER)), Verdict.DENIED, {("18", "N522", 0)}),
        ((Seen(ELSEWHERE, PAYER, 1),), Verdict.PENDED, {("18", "N522", 1)}),
        ((Seen(ELSEWHERE, OTHER_PAYER),), Verdict.FLAGGED, {("18", "", 0)}),
        ((Seen(ELSEWHERE, OTHER_PAYER, 2),), Verdict.FLAGGED, {("18", "", 2)}),
    ],
)
def test_duplicates(seen: tuple[Seen, ...], verdict: Verdict, found: Found) -> None:
    assert findings(context(seen=seen), "duplicate") == (verdict, found)


def test_a_claim_that_is_replaced_or_coordinated_with_is_no_duplicate() -> None:
    for changed in ({"replaces": ELSEWHERE}, {"coordinates": ELSEWHERE}):
        claim = context(filing=filing(details(), **changed), seen=(Seen(ELSEWHERE, PAYER),))
        assert findings(claim, "duplicate")[0] is Verdict.PASSED


def second(paid: int | None) -> Any:
    """A claim for which our payer comes second."""
    other = Insurance(1, handle("other coverage"), focal=False, paid=paid, adjusted=0)
    return details(insurance=(other, Insurance(2, COVERAGE)))


DECIDED = Adjudication(
    ELSEWHERE,
    "USD",
    150_00,
    50_00,
    100_00,
    (LineDecision(1, 150_00, (Adjustment(Group.CONTRACTUAL, "45", 50_00),), 100_00),),
)
PRIMARY = PrimaryFact(ELSEWHERE, PATIENT, OTHER_PAYER, Status.ADJUDICATED, DECIDED)


@pytest.mark.parametrize(
    ("paid", "primary", "verdict", "found"),
    [
        (None, None, Verdict.DENIED, {("22", "MA04", 0)}),
        (100_00, None, Verdict.DENIED, {("22", "MA04", 0)}),
        (100_00, PRIMARY, Verdict.PASSED, set()),
        (100_00, replace(PRIMARY, payer=PAYER), Verdict.DENIED, {("22", "MA04", 0)}),
        (100_00, replace(PRIMARY, status=Status.ACCEPTED), Verdict.DENIED, {("22", "MA04", 0)}),
        (100_00, replace(PRIMARY, patient=handle("x")), Verdict.DENIED, {("22", "MA04", 0)}),
        (100_00, replace(PRIMARY, decision=None), Verdict.FLAGGED, {("22", "", 0)}),
        (99_00, PRIMARY, Verdict.DENIED, {("22", "MA04", 0)}),
        (
            150_01,
            replace(PRIMARY, decision=replace(DECIDED, paid=150_01)),
            Verdict.PENDED,
            {("23", "MA04", 0)},
        ),
    ],
)
def test_coordination(
    paid: int | None, primary: PrimaryFact | None, verdict: Verdict, found: Found
) -> None:
    value = second(paid)
    claim = context(value, filing=filing(value, coordinates=ELSEWHERE), primary=primary)
    assert findings(claim, "coordination") == (verdict, found)


def test_a_prior_payer_outside_the_consortium_is_flagged() -> None:
    assert findings(context(second(10_00)), "coordination") == (Verdict.FLAGGED, {("22", "", 0)})


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ((line(1), line(2, code="S0009")), {("97", "M15", 2)}),
        ((line(1), line(2, code="S0009", modifiers=("59",))), {("97", "M15", 2)}),
        ((line(1), line(2, code="S0009", serviced_from=SERVICE - timedelta(days=1))), set()),
        ((line(1), line(2, code="S0008")), {("97", "M15", 2)}),
        ((line(1), line(2, code="S0008", modifiers=("59",))), set()),
        ((line(1), line(2, code="S0007")), set()),
        ((line(1, code="S0003", quantity=Decimal(2), net=300_00),), set()),
        ((line(1, code="S0003", quantity=Decimal(3), net=450_00),), {("151", "N362", 1)}),
        (tuple(line(n, code="S0003") for n in (1, 2, 3)), set()),
        (tuple(line(n, code="S0004") for n in (1, 2, 3)), {("151", "N362", 3)}),
        (tuple(line(n, code="S0005") for n in (1, 2, 3)), {("151", "N362", 3)}),
    ],
)
def test_code_edits(lines: Any, found: Found) -> None:
    verdict = Verdict.DENIED if found else Verdict.PASSED
    assert findings(context(details(lines=lines)), "code-edits") == (verdict, found)


def test_pricing_holds_the_balance() -> None:
    good = total_up(handle("claim"), "USD", [LineDecision(1, 150_00, (), 150_00)])
    assert findings(context(priced=good), "pricing")[0] is Verdict.PASSED
    bad = total_up(handle("claim"), "USD", [LineDecision(1, 150_00, (), 149_00)])
    assert findings(context(priced=bad), "pricing")[0] is Verdict.REJECTED


def test_fraud_signals_flag_and_never_deny() -> None:
    busy = tuple(line(n, minutes=800) for n in (1, 2))
    assert findings(context(details(lines=busy)), "fraud")[0] is Verdict.FLAGGED
    apart = (line(1, minutes=800), line(2, minutes=800, serviced_from=SERVICE - timedelta(days=1)))
    assert findings(context(details(lines=apart)), "fraud")[0] is Verdict.PASSED
    round_ones = tuple(line(n, unit_price=100_00, net=100_00) for n in range(1, 11))
    assert findings(context(details(lines=round_ones)), "fraud")[0] is Verdict.FLAGGED
    assert findings(context(details(lines=round_ones[:9])), "fraud")[0] is Verdict.PASSED


def test_merge_keeps_the_order_and_the_later_result() -> None:
    first = CheckResult("fraud", Verdict.PASSED)
    later = CheckResult("fraud", Verdict.FLAGGED)
    merged = checks.merge((first, CheckResult("consent", Verdict.PASSED)), (later,))
    assert [(r.check, r.verdict) for r in merged] == [
        ("consent", Verdict.PASSED),
        ("fraud", Verdict.FLAGGED),
    ]
