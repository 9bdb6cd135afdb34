"""records:* on the simulator: anchoring, deciding, releasing, and every refusal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode import canonical, merkle
from chaincode.errors import Conflict, ContractError, Denied, InvalidArgument, NotFound
from chaincode.records import rules
from chaincode.records.model import Anchor
from tests.chaincode.consortium import (
    CLINIC,
    HOSPITAL,
    PATIENT,
    Consortium,
    anchor,
    digest,
    found,
    handle,
)

TREATMENT = {
    "actors": [{"reference": f"org:{CLINIC}"}],
    "purposes": ["TREAT"],
}
RECORD = handle("record")


def application(*names: str, purpose: str = "TREAT", **rest: Any) -> dict[str, Any]:
    records = [{"record": handle(name)} for name in names or ("record",)]
    return {"records": records, "purpose": purpose, **rest}


async def anchored() -> Consortium:
    care = await found()
    await care.submit(care.clinician, "records:Anchor", anchor())
    care.sim.advance(seconds=1)
    return care


async def test_an_anchor_is_what_was_stated_and_nothing_more() -> None:
    care = await anchored()
    record = await care.evaluate(care.clinic_clinician, "records:Get", RECORD)
    assert record["anchor"] == {**anchor(), "version": 1, "classes": [], "contexts": []}
    assert record["custodian"] == HOSPITAL
    assert record["status"] == "current"
    assert care.sim.events[-1].name == "records.Anchored"


async def test_anchoring_the_same_again_changes_nothing() -> None:
    care = await anchored()
    first = await care.evaluate(care.clinician, "records:Get", RECORD)
    result = await care.sim.submit(care.clinician, "records:Anchor", anchor())
    assert result.json() == first
    assert not result.rwset.writes


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"record": "patient-jane"}, InvalidArgument, "anchor.record"),
        ({"patient": handle("nobody")}, NotFound, "no such patient"),
        ({"commitment": "00"}, InvalidArgument, "anchor.commitment"),
        ({"commitment": "00" * 32}, InvalidArgument, "anchor.commitment"),
        ({"size": 0}, InvalidArgument, "anchor.size"),
        ({"version": 2}, InvalidArgument, "Supersede"),
        ({"classes": ["Jane Doe"]}, InvalidArgument, r"anchor.classes\[0\]"),
        ({"labels": ["N", "N"]}, InvalidArgument, "twice"),
        ({"classes": ["123-45-6789"]}, InvalidArgument, r"anchor.classes\[0\]"),
    ],
)
async def test_a_bad_anchor_is_refused_and_leaves_nothing(
    changed: dict[str, Any], error: type[ContractError], text: str
) -> None:
    care = await found()
    before = care.sim.state
    with pytest.raises(error, match=text):
        await care.submit(care.clinician, "records:Anchor", anchor(**changed))
    assert care.sim.state == before


async def test_who_may_anchor() -> None:
    care = await found()
    with pytest.raises(Denied, match="role=clinician"):
        await care.submit(care.billing, "records:Anchor", anchor())
    service = care.sim.identity("UnitedPayerMSP", "service", attributes={"role": "service"})
    with pytest.raises(Denied, match="not a provider"):
        await care.submit(service, "records:Anchor", anchor())


async def test_another_record_under_the_same_handle_is_a_conflict() -> None:
    care = await anchored()
    with pytest.raises(Conflict, match="another record"):
        await care.submit(care.clinic_clinician, "records:Anchor", anchor())
    with pytest.raises(Conflict, match="another record"):
        await care.submit(care.clinician, "records:Anchor", anchor(size=1))


async def test_supersede_keeps_every_version() -> None:
    care = await anchored()
    second = anchor(version=2, commitment=digest("second"))
    await care.submit(care.clinician, "records:Supersede", second)
    versions = (await care.evaluate(care.clinician, "records:History", RECORD))["records"]
    assert [item["anchor"]["version"] for item in versions] == [1, 2]
    with pytest.raises(Conflict, match="at version 2, not at 1"):
        await care.submit(care.clinician, "records:Supersede", second)
    third = anchor(version=3, commitment=digest("third"))
    with pytest.raises(Denied, match="custodian"):
        await care.submit(care.clinic_clinician, "records:Supersede", third)
    same = anchor(version=3, commitment=digest("second"))
    with pytest.raises(InvalidArgument, match="fresh salt"):
        await care.submit(care.clinician, "records:Supersede", same)


async def test_withdraw_and_erase_stop_access_and_purge() -> None:
    care = await anchored()
    await care.submit(
        care.records_service, "records:Escrow", RECORD, transient={"secret": b"salt and key"}
    )
    assert b"salt and key" in care.sim.private[f"_implicit_org_{HOSPITAL}"].values()
    await care.submit(care.clinician, "records:Withdraw", RECORD, "1", "entered-in-error")
    with pytest.raises(Conflict, match="withdrawn"):
        await care.submit(care.clinic_clinician, "records:RequestAccess", application())
    with pytest.raises(Denied, match="role=service"):
        await care.submit(care.clinician, "records:Erase", RECORD, "1", digest("certificate"))
    await care.submit(care.records_service, "records:Erase", RECORD, "1", digest("certificate"))
    assert not care.sim.private[f"_implicit_org_{HOSPITAL}"]
    record = await care.evaluate(care.clinician, "records:Get", RECORD)
    assert (record["status"], record["proof"]) == ("erased", digest("certificate"))
    with pytest.raises(Conflict, match="erased"):
        await care.submit(care.clinician, "records:Withdraw", RECORD, "1", "again")


async def test_a_denial_is_a_recorded_decision() -> None:
    care = await anchored()
    access = await care.submit(care.clinic_clinician, "records:RequestAccess", application())
    assert access["decision"]["verdict"] != "PERMIT"
    assert access["records"][0]["verdict"] != "PERMIT"
    with pytest.raises(Denied, match="not permitted"):
        await care.submit(care.records_service, "records:Release", access["id"], digest("wrapped"))
    queue = await care.evaluate(care.privacy_officer, "audit:ReviewQueue")
    assert [item["id"] for item in queue["items"]] == [access["id"]]
    await care.submit(care.privacy_officer, "audit:CloseReview", access["id"], "expected")
    assert (await care.evaluate(care.privacy_officer, "audit:ReviewQueue"))["items"] == []


async def test_request_release_acknowledge() -> None:
    care = await anchored()
    consent = await care.grant("treatment", TREATMENT)
    access = await care.submit(care.clinic_clinician, "records:RequestAccess", application())
    assert access["decision"]["verdict"] == "PERMIT"
    assert access["decision"]["match"]["consentId"] == consent
    with pytest.raises(Conflict, match="not released"):
        await care.submit(
            care.clinic_clinician, "records:AcknowledgeReceipt", access["id"], digest("got")
        )
    with pytest.raises(Denied, match="custodian"):
        await care.submit(care.clinic_clinician, "records:Release", access["id"], digest("wrapped"))
    release = await care.submit(
        care.records_service, "records:Release", access["id"], digest("wrapped")
    )
    assert release["wrappedKey"] == digest("wrapped")
    with pytest.raises(Conflict, match="released already"):
        await care.submit(care.records_service, "records:Release", access["id"], digest("wrapped"))
    with pytest.raises(Denied, match="only who requested"):
        await care.submit(care.clinician, "records:AcknowledgeReceipt", access["id"], digest("got"))
    await care.submit(
        care.clinic_clinician, "records:AcknowledgeReceipt", access["id"], digest("got")
    )
    seen = await care.evaluate(care.patient, "records:Accesses", PATIENT)
    assert seen["accesses"][0]["receipt"]["digest"] == digest("got")
    assert seen == await care.evaluate(care.patient, "records:Accesses", "", RECORD)
    with pytest.raises(Denied, match="does not act for"):
        await care.evaluate(care.clinic_billing, "records:Accesses", PATIENT)
    # A later decision changes nothing of an earlier one.
    held = await care.evaluate(care.clinic_clinician, "records:GetAccess", access["id"])
    assert held["access"] == access


async def test_consent_is_decided_again_at_release() -> None:
    care = await anchored()
    await care.grant("treatment", TREATMENT)
    access = await care.submit(care.clinic_clinician, "records:RequestAccess", application())
    await care.revoke("treatment")
    with pytest.raises(Denied, match="no longer permits"):
        await care.submit(care.records_service, "records:Release", access["id"], digest("wrapped"))


@pytest.mark.parametrize(
    ("function", "text"), [("Withdraw", "withdrawn"), ("Supersede", "superseded")]
)
async def test_a_changed_record_is_not_released(function: str, text: str) -> None:
    care = await anchored()
    await care.grant("treatment", TREATMENT)
    access = await care.submit(care.clinic_clinician, "records:RequestAccess", application())
    second = anchor(version=2, commitment=digest("second"))
    args = [RECORD, "1", "error"] if function == "Withdraw" else [second]
    await care.submit(care.clinician, f"records:{function}", *args)
    with pytest.raises(Denied, match=text):
        await care.submit(care.records_service, "records:Release", access["id"], digest("wrapped"))


async def released(care: Consortium) -> str:
    """A released access of the clinic's."""
    await care.grant("treatment", TREATMENT)
    access = await care.submit(care.clinic_clinician, "records:RequestAccess", application())
    await care.submit(care.records_service, "records:Release", access["id"], digest("wrapped"))
    return str(access["id"])


async def reason_of(care: Consortium, access: str) -> str:
    """Why the custodian may not hand out the access's record now; empty if it may."""
    standing = await care.evaluate(care.records_service, "records:CheckAccess", access)
    (record,) = standing["records"]
    assert (record["record"], record["version"]) == (RECORD, 1)
    return str(record["reason"])


async def test_an_access_stands_until_something_ends_it() -> None:
    care = await anchored()
    access = await released(care)
    assert await reason_of(care, access) == ""
    with pytest.raises(Denied, match="custodian and requester"):
        await care.evaluate(care.patient, "records:CheckAccess", access)
    await care.revoke("treatment")
    assert "consent no longer" in await reason_of(care, access)
    await care.grant("again", TREATMENT)
    assert await reason_of(care, access) == ""
    await care.submit(
        care.clinician, "records:Supersede", anchor(version=2, commitment=digest("second"))
    )
    assert "superseded" in await reason_of(care, access)


async def test_an_access_that_is_not_released_does_not_stand() -> None:
    care = await anchored()
    await care.grant("treatment", TREATMENT)
    access = await care.submit(care.clinic_clinician, "records:RequestAccess", application())
    assert "not released" in await reason_of(care, access["id"])
    denied = await care.submit(
        care.clinic_clinician, "records:RequestAccess", application(purpose="HRESCH")
    )
    assert "not permitted" in await reason_of(care, denied["id"])


async def test_an_access_stands_for_its_time_only() -> None:
    care = await anchored()
    access = await released(care)
    care.sim.advance(hours=24)
    assert "expired" in await reason_of(care, access)


async def test_a_revoked_access_is_over_for_good() -> None:
    care = await anchored()
    access = await released(care)
    for stranger in (care.clinic_clinician, care.clinic_billing):
        with pytest.raises(Denied):
            await care.submit(stranger, "records:RevokeAccess", access, "mistake")
    with pytest.raises(InvalidArgument, match="reason"):
        await care.submit(care.records_service, "records:RevokeAccess", access, "Jane Doe left")
    revoked = await care.submit(care.records_service, "records:RevokeAccess", access, "mistake")
    assert (revoked["reason"], revoked["mspId"]) == ("mistake", HOSPITAL)
    assert care.sim.events[-1].name == "records.AccessRevoked"
    assert "revoked" in await reason_of(care, access)
    with pytest.raises(Conflict, match="revoked already"):
        await care.submit(care.records_service, "records:RevokeAccess", access, "mistake")
    view = await care.evaluate(care.clinic_clinician, "records:GetAccess", access)
    assert view["revocation"] == revoked


async def test_the_patient_takes_back_what_is_not_released_yet() -> None:
    care = await anchored()
    await care.grant("treatment", TREATMENT)
    access = await care.submit(care.clinic_clinician, "records:RequestAccess", application())
    await care.submit(care.patient, "records:RevokeAccess", access["id"], "left-care")
    with pytest.raises(Denied, match="revoked"):
        await care.submit(care.records_service, "records:Release", access["id"], digest("wrapped"))
    denied = await care.submit(
        care.clinic_clinician, "records:RequestAccess", application(purpose="HRESCH")
    )
    with pytest.raises(Conflict, match="never permitted"):
        await care.submit(care.patient, "records:RevokeAccess", denied["id"], "left-care")


async def test_the_custodians_staff_sees_who_asked_for_its_record() -> None:
    care = await anchored()
    access = await released(care)
    seen = await care.evaluate(care.clinician, "records:Accesses", "", RECORD)
    assert [one["access"]["id"] for one in seen["accesses"]] == [access]
    with pytest.raises(Denied):
        await care.evaluate(care.clinic_clinician, "records:Accesses", "", RECORD)
    with pytest.raises(Denied):  # of all of a patient's records only who reads the trail
        await care.evaluate(care.clinic_clinician, "records:Accesses", PATIENT)


async def test_an_access_expires() -> None:
    care = await anchored()
    await care.grant("treatment", TREATMENT)
    access = await care.submit(care.clinic_clinician, "records:RequestAccess", application())
    care.sim.advance(hours=24)
    with pytest.raises(Denied, match="expired"):
        await care.submit(care.records_service, "records:Release", access["id"], digest("wrapped"))


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        ({"records": []}, InvalidArgument, "1 to 100"),
        (application("record", "record"), InvalidArgument, "twice"),
        (application("elsewhere"), NotFound, r"records\[0\]"),
        (application(purpose="to help Jane"), InvalidArgument, "purpose"),
        ({"records": [{"record": RECORD, "version": 2}]}, Conflict, "version 1"),
    ],
)
async def test_a_bad_application_is_refused(
    asked: dict[str, Any], error: type[ContractError], text: str
) -> None:
    care = await anchored()
    with pytest.raises(error, match=text):
        await care.submit(
            care.clinic_clinician, "records:RequestAccess", {"purpose": "TREAT", **asked}
        )


# --- batches ------------------------------------------------------------------------------------


def leaves(count: int) -> list[Anchor]:
    wires = [anchor(f"batched {number}") for number in range(count)]
    return [canonical.from_wire(Anchor, wire) for wire in wires]


def tree_of(anchors: list[Anchor]) -> merkle.Tree:
    return merkle.Tree(merkle.hash_leaf(rules.leaf_bytes(item)) for item in anchors)


def batch_of(name: str, tree: merkle.Tree, **rest: Any) -> dict[str, Any]:
    return {"batch": handle(name), "root": tree.root.hex(), "size": len(tree), **rest}


def membership(name: str, anchors: list[Anchor], index: int) -> dict[str, Any]:
    proof = tree_of(anchors).build_inclusion_proof(index)
    return {
        "batch": handle(name),
        "index": index,
        "anchor": canonical.to_wire(anchors[index]),
        "proof": [node.hex() for node in proof],
    }


codes = st.lists(st.from_regex(r"[A-Za-z0-9]{1,8}", fullmatch=True), max_size=3).map(tuple)
handles = st.binary(min_size=16, max_size=16).map(bytes.hex)
digests = st.binary(min_size=32, max_size=32)


@given(
    st.builds(
        Anchor,
        record=handles,
        patient=handles,
        commitment=digests,
        size=st.integers(1, 2**53 - 1),
        locator=digests,
        version=st.integers(1, 2**31),
        canonical=st.none() | digests,
        resource_types=codes,
        classes=codes,
        labels=st.none() | codes,
        contexts=st.lists(handles, max_size=2).map(tuple),
    )
)
def test_leaf_bytes_are_canonical_json(item: Anchor) -> None:
    assert rules.leaf_bytes(item) == canonical.encode(item)


async def test_a_record_of_a_batch_is_requested_with_its_proof() -> None:
    care, anchors = await found(), leaves(5)
    await care.submit(care.clinician, "records:AnchorBatch", batch_of("b", tree_of(anchors)))
    care.sim.advance(seconds=1)
    await care.grant("treatment", TREATMENT)
    proof = membership("b", anchors, 3)
    ref = {"record": anchors[3].record, "membership": proof}
    asked = {"records": [ref], "purpose": "TREAT"}
    access = await care.submit(care.clinic_clinician, "records:RequestAccess", asked)
    assert access["decision"]["verdict"] == "PERMIT"
    await care.submit(care.records_service, "records:Release", access["id"], digest("wrapped"))
    wrong = {"record": anchors[3].record, "membership": membership("b", anchors, 2)}
    with pytest.raises(InvalidArgument, match="another record"):
        await care.submit(
            care.clinic_clinician, "records:RequestAccess", {**asked, "records": [wrong]}
        )
    proof["anchor"]["labels"] = []
    with pytest.raises(InvalidArgument, match="another root"):
        await care.submit(care.clinic_clinician, "records:RequestAccess", asked)


async def test_what_was_changed_counts_before_a_proof() -> None:
    care, anchors = await found(), leaves(2)
    await care.submit(care.clinician, "records:AnchorBatch", batch_of("b", tree_of(anchors)))
    proof = membership("b", anchors, 0)
    await care.submit(care.clinician, "records:Withdraw", anchors[0].record, "1", "error", proof)
    asked = {"records": [{"record": anchors[0].record, "membership": proof}], "purpose": "TREAT"}
    with pytest.raises(Conflict, match="withdrawn"):
        await care.submit(care.clinic_clinician, "records:RequestAccess", asked)


async def test_a_batch_that_continues_another_proves_it() -> None:
    care, anchors = await found(), leaves(7)
    first, second = tree_of(anchors[:3]), tree_of(anchors)
    await care.submit(care.clinician, "records:AnchorBatch", batch_of("first", first))
    consistency = [node.hex() for node in second.build_consistency_proof(3)]
    going_on = batch_of("second", second, previous=handle("first"), consistency=consistency)
    with pytest.raises(InvalidArgument, match=r"batch\.consistency"):
        await care.submit(
            care.clinician, "records:AnchorBatch", {**going_on, "consistency": consistency[1:]}
        )
    with pytest.raises(Denied, match="another custodian"):
        await care.submit(care.clinic_clinician, "records:AnchorBatch", going_on)
    await care.submit(care.clinician, "records:AnchorBatch", going_on)
    with pytest.raises(Conflict, match="exists already"):
        await care.submit(care.clinician, "records:AnchorBatch", going_on)
