"""Rooms, sides, versions, reasons: the rest of the law of claims."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from chaincode.claims import rules
from chaincode.claims.fingerprints import compute_fingerprints
from chaincode.claims.model import CheckResult, Claim, Finding, Notice, Reason, Room, Verdict
from chaincode.claims.states import Action, Outcome, Side, Status
from chaincode.errors import Conflict, Denied, InvalidArgument
from tests.chaincode.claims.samples import NOW, details, filing
from tests.chaincode.consortium import CLINIC, FINGERPRINT_KEY, HOSPITAL, PAYER, SHARED

CLAIM: Claim = rules.open_claim(
    filing(details()),
    compute_fingerprints(FINGERPRINT_KEY, details()),
    (),
    submitter=HOSPITAL,
    collection=SHARED,
    rejected=False,
    now=NOW,
    tx_id="1",
)
NOTICE = Notice(
    CLAIM.claim, 1, Outcome.DENIED, (Reason("CO", "96"),), b"\x01" * 32, (), appeal_days=30
)


@pytest.mark.parametrize(
    ("room", "expected"),
    [(Room.SHARED, "claims-GeneralHospital-UnitedPayer"), (Room.OWN, f"_implicit_org_{PAYER}")],
)
def test_collections(room: Room, expected: str) -> None:
    assert rules.collection_of(room, "GeneralHospital", "UnitedPayer", PAYER) == expected


@pytest.mark.parametrize(
    ("claim", "msp_id", "sides"),
    [
        (CLAIM, HOSPITAL, {Side.FILER}),
        (CLAIM, PAYER, {Side.PAYER}),
        (CLAIM, CLINIC, set()),
        (CLAIM, "", set()),
        (replace(CLAIM, submitter=PAYER), HOSPITAL, {Side.FILER}),
        (replace(CLAIM, submitter=PAYER, provider=""), PAYER, {Side.FILER, Side.PAYER}),
        (replace(CLAIM, submitter=PAYER, provider=""), "", set()),
    ],
)
def test_sides(claim: Claim, msp_id: str, sides: set[Side]) -> None:
    assert rules.sides_of(claim, msp_id) == sides


def test_an_edge_moves_version_and_time_and_nothing_else() -> None:
    later = NOW + timedelta(days=1)
    moved = rules.advance(CLAIM, Action.PEND, 1, PAYER, now=later, tx_id="2")
    assert moved == replace(CLAIM, status=Status.PENDED, version=2, updated_at=later, tx_id="2")
    with pytest.raises(Conflict, match="version 1, not at 3"):
        rules.advance(CLAIM, Action.PEND, 3, PAYER, now=later, tx_id="2")
    with pytest.raises(Denied, match="no party"):
        rules.advance(CLAIM, Action.PEND, 1, CLINIC, now=later, tx_id="2")


@pytest.mark.parametrize(
    ("status", "reversal"), [(Status.ACCEPTED, False), (Status.REMITTED, True)]
)
def test_what_was_paid_is_reversed(status: Status, reversal: bool) -> None:
    held = replace(CLAIM, status=status)
    moved = rules.advance(held, Action.VOID, 1, HOSPITAL, now=NOW, tx_id="2")
    assert moved.reversal is reversal


def test_a_denial_has_reasons_and_a_deadline() -> None:
    denied = rules.decided(CLAIM, NOTICE, NOW)
    assert denied.appeal_deadline == NOW + timedelta(days=30)
    with pytest.raises(InvalidArgument, match="a denial carries"):
        rules.decided(CLAIM, replace(NOTICE, reasons=()), NOW)
    paid = rules.decided(denied, replace(NOTICE, outcome=Outcome.PAID, reasons=()), NOW)
    assert (paid.appeal_deadline, paid.reasons) == (None, ())


def test_an_appeal_is_in_time_up_to_its_deadline() -> None:
    denied = rules.decided(CLAIM, NOTICE, NOW)
    rules.validate_appeal(denied, NOW + timedelta(days=30))
    with pytest.raises(Conflict, match="deadline"):
        rules.validate_appeal(denied, NOW + timedelta(days=30, seconds=1))


@pytest.mark.parametrize(
    "reason",
    [
        *(Reason("CR", "16"), Reason("CO", "Jane Doe"), Reason("CO", "12345"), Reason("CO", "")),
        *(Reason("CO", "16", "X1"), Reason("CO", "16", "N"), Reason("CO", "٣")),
    ],
)
def test_reasons_are_codes(reason: Reason) -> None:
    rules.validate_reasons([Reason("PI", "A1", "MA130"), Reason("OA", "B13")])
    with pytest.raises(InvalidArgument, match=r"change\.reasons\[0\]"):
        rules.validate_reasons([reason])


def test_the_rules_wait_for_facts_and_for_people() -> None:
    missing = CheckResult(
        "eligibility", Verdict.DEFERRED, (Finding(Verdict.DEFERRED, "not known"),)
    )
    with pytest.raises(InvalidArgument, match="eligibility lacks its facts"):
        rules.validate_ready([missing], accept_deferred=False)
    rules.validate_ready([missing], accept_deferred=True)
    suspect = CheckResult("duplicate", Verdict.PENDED)
    with pytest.raises(Conflict, match="asks for a person"):
        rules.validate_ready([suspect], accept_deferred=True)
