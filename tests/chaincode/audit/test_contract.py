"""audit:* on the simulator: the trail of a whole story, disclosures, anchored logs, reviews."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from chaincode import canonical, merkle
from chaincode.audit import rules
from chaincode.audit.model import Accounting
from chaincode.errors import Conflict, Denied, InvalidArgument, NotFound
from tests.chaincode.claims.samples import details, filing, transient
from tests.chaincode.consortium import (
    CLINIC,
    HOSPITAL,
    PATIENT,
    PAYER,
    Consortium,
    anchor,
    digest,
    found,
    handle,
)

TREATMENT = {"actors": [{"reference": f"org:{CLINIC}"}], "purposes": ["TREAT", "HRESCH"]}
ASKED = {"records": [{"record": handle("record")}], "purpose": "TREAT"}


async def story() -> Consortium:
    """Consent, anchor, a denied and a released access, a claim, a revocation."""
    care = await found()
    await care.submit(care.clinician, "records:Anchor", anchor())
    care.sim.advance(seconds=1)
    await care.submit(care.clinic_clinician, "records:RequestAccess", ASKED)
    care.sim.advance(seconds=1)
    await care.grant("treatment", TREATMENT)
    await care.grant("payment", {"purposes": ["HPAYMT"]})
    for purpose in ("TREAT", "TREAT", "HRESCH"):
        await released(care, purpose)
    await care.submit(
        care.billing, "claims:Submit", filing(details()), transient=transient(details())
    )
    care.sim.advance(seconds=1)
    await care.revoke("treatment")
    return care


async def released(care: Consortium, purpose: str) -> None:
    asked = {**ASKED, "purpose": purpose}
    access = await care.submit(care.clinic_clinician, "records:RequestAccess", asked)
    care.sim.advance(seconds=1)
    await care.submit(care.records_service, "records:Release", access["id"], digest("wrapped"))
    care.sim.advance(seconds=1)


async def test_the_trail_tells_the_story_in_order() -> None:
    care = await story()
    trail = (await care.evaluate(care.patient, "audit:Trail", PATIENT))["entries"]
    assert [entry["kind"] for entry in trail] == [
        "record-anchored",
        "access-decided",
        "consent-granted",
        "consent-granted",
        *(["access-decided", "access-released"] * 3),
        "claim-submitted",
        "consent-revoked",
    ]
    denied, permitted = trail[1], trail[4]
    assert denied["verdict"] != "PERMIT"
    assert permitted["verdict"] == "PERMIT"
    assert (permitted["consentId"], permitted["consentVersion"]) == (handle("treatment"), 1)
    assert permitted["purpose"] == "TREAT"
    assert (permitted["mspId"], permitted["role"]) == (CLINIC, "clinician")
    release = trail[5]
    assert (release["custodian"], release["recipientMspId"]) == (HOSPITAL, CLINIC)
    assert release["recipient"] == permitted["user"]
    assert [entry["at"] for entry in trail] == sorted(entry["at"] for entry in trail)
    assert len({entry["txId"] for entry in trail}) == len(trail)


async def test_the_trail_is_paged() -> None:
    care = await story()
    whole = (await care.evaluate(care.auditor, "audit:Trail", PATIENT))["entries"]
    entries: list[Any] = []
    bookmark = ""
    while True:
        page = await care.evaluate(
            care.auditor, "audit:Trail", PATIENT, {"size": 5, "bookmark": bookmark}
        )
        entries += page["entries"]
        bookmark = page["bookmark"]
        if not bookmark:
            break
    assert entries == whole
    with pytest.raises(InvalidArgument, match=r"page\.size"):
        await care.evaluate(care.auditor, "audit:Trail", PATIENT, {"size": 0})


async def test_who_reads_a_trail() -> None:
    care = await story()
    for reader in (care.patient, care.auditor, care.privacy_officer):
        assert (await care.evaluate(reader, "audit:Trail", PATIENT))["entries"]
    elsewhere = care.sim.identity(CLINIC, "officer", attributes={"role": "privacy-officer"})
    other = care.sim.identity(
        "PatientTrustMSP", "x", attributes={"role": "patient", "patient": handle("x")}
    )
    for reader in (care.clinician, care.clinic_clinician, care.adjudicator, elsewhere, other):
        with pytest.raises(Denied, match="does not act for this patient"):
            await care.evaluate(reader, "audit:Trail", PATIENT)
    with pytest.raises(NotFound, match="no such patient"):
        await care.evaluate(care.auditor, "audit:Trail", handle("nobody"))


async def test_disclosures_are_summarised_and_exclusions_named() -> None:
    care = await story()
    accounting = await care.evaluate(care.patient, "audit:Disclosures", PATIENT)
    found_out = {
        (item["recipientMspId"], item["purpose"]): (item["count"], item.get("exclusion"))
        for item in accounting["disclosures"]
    }
    assert found_out == {
        (CLINIC, "TREAT"): (2, "treatment"),
        (CLINIC, "HRESCH"): (1, "by authorization"),
        (PAYER, "HPAYMT"): (1, "payment"),
    }
    treatment = accounting["disclosures"][0]
    assert treatment["first"] < treatment["last"]
    assert treatment["records"] == [handle("record")]
    assert treatment["classes"] == ["Observation"]
    assert treatment["consents"] == [f"{handle('treatment')}/1"]


async def test_an_accounting_has_its_period() -> None:
    care = await story()
    none = await care.evaluate(
        care.patient,
        "audit:Disclosures",
        PATIENT,
        '"2025-01-01T00:00:00Z"',
        '"2025-12-31T00:00:00Z"',
    )
    assert none["disclosures"] == []
    with pytest.raises(InvalidArgument, match="6 years"):
        await care.evaluate(care.patient, "audit:Disclosures", PATIENT, '"2019-12-31T00:00:00Z"')
    with pytest.raises(InvalidArgument, match="before until"):
        await care.evaluate(care.patient, "audit:Disclosures", PATIENT, '"2027-01-01T00:00:00Z"')


# --- anchored logs ------------------------------------------------------------------------------

EVENTS = [f"event {number}".encode() for number in range(1, 8)]
TREE = merkle.Tree(merkle.hash_leaf(event) for event in EVENTS)


def log_batch(first: int = 1, **changed: Any) -> dict[str, Any]:
    base = {"log": "exchange", "first": first, "last": first + 6, "root": TREE.root.hex()}
    return {**base, **changed}


def log_proof(sequence: int, event: bytes, **changed: Any) -> dict[str, Any]:
    return {
        "mspId": HOSPITAL,
        "log": "exchange",
        "first": 1,
        "sequence": sequence,
        "leaf": merkle.hash_leaf(event).hex(),
        "proof": [node.hex() for node in TREE.build_inclusion_proof(sequence - 1)],
        **changed,
    }


async def test_each_event_of_an_anchored_log_is_provable() -> None:
    care = await found()
    await care.submit(care.records_service, "audit:AnchorLog", log_batch())
    for sequence, event in enumerate(EVENTS, 1):
        verdict = await care.evaluate(
            care.patient, "audit:VerifyLogProof", log_proof(sequence, event)
        )
        assert verdict["valid"], verdict["reason"]
    for forged in (
        log_proof(3, b"another event"),
        {**log_proof(3, EVENTS[2]), "sequence": 4},
        {**log_proof(3, EVENTS[2]), "sequence": 8},
        log_proof(3, EVENTS[2], proof=[]),
    ):
        verdict = await care.evaluate(care.patient, "audit:VerifyLogProof", forged)
        assert not verdict["valid"]
    with pytest.raises(NotFound, match="log batch"):
        await care.evaluate(care.patient, "audit:VerifyLogProof", log_proof(3, EVENTS[2], first=2))


@pytest.mark.parametrize("first", [1, 7, 9])
async def test_a_log_has_no_gap_and_no_overlap(first: int) -> None:
    care = await found()
    await care.submit(care.records_service, "audit:AnchorLog", log_batch())
    with pytest.raises(Conflict, match="the next batch begins at 8"):
        await care.submit(care.records_service, "audit:AnchorLog", log_batch(first))
    await care.submit(care.records_service, "audit:AnchorLog", log_batch(8))
    # Logs of other names and organisations count for themselves.
    await care.submit(care.records_service, "audit:AnchorLog", log_batch(log="wards"))


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"log": "Jane's log"}, "batch.log"),
        ({"root": ""}, "batch.root"),
        ({"first": 0}, "batch.first"),
        ({"last": 0}, "batch.first"),
        ({"last": 1_000_001}, "at most"),
    ],
)
async def test_a_bad_log_batch_is_refused(changed: dict[str, Any], text: str) -> None:
    care = await found()
    with pytest.raises(InvalidArgument, match=text):
        await care.submit(care.records_service, "audit:AnchorLog", log_batch(**changed))
    with pytest.raises(Denied, match="role=service"):
        await care.submit(care.clinician, "audit:AnchorLog", log_batch())


# --- reviews ------------------------------------------------------------------------------------


async def test_the_review_queue_is_the_officers_own() -> None:
    care = await story()
    queue = (await care.evaluate(care.privacy_officer, "audit:ReviewQueue"))["items"]
    assert [(item["kind"], item["patient"]) for item in queue] == [("access-denied", PATIENT)]
    assert (
        queue
        == (await care.evaluate(care.auditor, "audit:ReviewQueue", {"size": 10}, HOSPITAL))["items"]
    )
    elsewhere = care.sim.identity(CLINIC, "officer", attributes={"role": "privacy-officer"})
    assert (await care.evaluate(elsewhere, "audit:ReviewQueue"))["items"] == []
    with pytest.raises(Denied, match="their own organisation"):
        await care.evaluate(elsewhere, "audit:ReviewQueue", {"size": 10}, HOSPITAL)
    with pytest.raises(NotFound, match="no such review"):
        await care.submit(elsewhere, "audit:CloseReview", queue[0]["id"], "expected")
    with pytest.raises(InvalidArgument, match="outcome"):
        await care.submit(
            care.privacy_officer, "audit:CloseReview", queue[0]["id"], "spoke with Jane Doe"
        )
    await care.submit(care.privacy_officer, "audit:CloseReview", queue[0]["id"], "expected")
    last = (await care.evaluate(care.patient, "audit:Trail", PATIENT))["entries"][-1]
    assert (last["kind"], last["verdict"]) == ("access-reviewed", "expected")


async def test_break_glass_waits_for_its_own_review() -> None:
    care = await found()
    doctor = care.sim.identity(HOSPITAL, "doctor", attributes={"role": "clinician", "btg": "true"})
    request = {
        "id": handle("emergency"),
        "patient": PATIENT,
        "purpose": "BTG",
        "reason": "unconscious",
        "commitment": hashlib.sha256(b"report").hexdigest(),
    }
    await care.submit(doctor, "consent:BreakGlass", request)
    queue = (await care.evaluate(care.privacy_officer, "audit:ReviewQueue"))["items"]
    assert [item["kind"] for item in queue] == ["break-glass"]
    with pytest.raises(Conflict, match="consent:ReviewBreakGlass"):
        await care.submit(care.privacy_officer, "audit:CloseReview", queue[0]["id"], "fine")


async def test_pages_of_an_accounting_join_to_the_whole() -> None:
    care = await story()
    whole = canonical.from_wire(
        Accounting, await care.evaluate(care.patient, "audit:Disclosures", PATIENT)
    )
    pages: list[Accounting] = []
    bookmark = ""
    while not pages or bookmark:
        page = await care.evaluate(
            care.patient, "audit:Disclosures", PATIENT, "null", "null",
            {"size": 1, "bookmark": bookmark},
        )  # fmt: skip
        pages.append(canonical.from_wire(Accounting, page))
        bookmark = pages[-1].bookmark
    assert len(pages) > 3
    assert rules.join_accountings(pages) == whole
    with pytest.raises(InvalidArgument):
        rules.join_accountings([])


async def test_anyone_sees_where_logs_stand_and_their_batches() -> None:
    care = await found()
    for log, first in (("exchange", 1), ("wards", 1), ("exchange", 8)):
        await care.submit(care.records_service, "audit:AnchorLog", log_batch(first, log=log))
        care.sim.advance(seconds=1)
    state = await care.evaluate(care.patient, "audit:GetLog", HOSPITAL, "exchange")
    assert state == {"mspId": HOSPITAL, "log": "exchange", "last": 14}
    assert (await care.evaluate(care.patient, "audit:GetLog", CLINIC, "exchange"))["last"] == 0
    logs = (await care.evaluate(care.patient, "audit:ListLogs", HOSPITAL))["logs"]
    assert [(one["log"], one["last"]) for one in logs] == [("exchange", 14), ("wards", 7)]
    found_batches = await care.evaluate(
        care.patient, "audit:ListLogBatches", HOSPITAL, "exchange", {"size": 1}
    )
    assert [one["batch"]["first"] for one in found_batches["batches"]] == [1]
    rest = await care.evaluate(
        care.patient, "audit:ListLogBatches", HOSPITAL, "exchange",
        {"size": 10, "bookmark": found_batches["bookmark"]},
    )  # fmt: skip
    assert [one["batch"]["first"] for one in rest["batches"]] == [8]
