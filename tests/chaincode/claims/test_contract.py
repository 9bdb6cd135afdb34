"""claims:* on the simulator: the way of a claim in both rooms, and every refusal."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from chaincode import canonical, commitment
from chaincode.claims.codes import Group
from chaincode.claims.details import (
    Adjustment,
    Information,
    LineDecision,
    Remittance,
    SealedInformation,
    SealedRemittance,
)
from chaincode.claims.model import Evidence, Room, Submission
from chaincode.errors import Conflict, ContractError, Denied, InvalidArgument
from tests.chaincode.claims.samples import (
    AUTHORIZATION,
    COVERAGE,
    SALT,
    authorization,
    batch,
    coverage,
    details,
    enrolment,
    facts,
    filing,
    line,
    table,
    transient,
)
from tests.chaincode.consortium import (
    OTHER_PAYER,
    PATIENT,
    PAYER,
    SHARED,
    Consortium,
    anchor,
    digest,
    found,
    handle,
)

OWN = f"_implicit_org_{PAYER}"
CLAIM = handle("claim")
DECISION = {"decision": json.dumps({"salt": SALT.hex()}).encode()}
REASON = {"group": "CO", "carc": "16", "rarc": "N706"}


async def consented(**policy: Any) -> Consortium:
    care = await found(**policy)
    await care.grant("payment", {"purposes": ["HPAYMT"]})
    return care


async def registered() -> Consortium:
    """With the payer's coverage, authorisation, enrolment and table on the ledger."""
    care = await consented()
    for function, name, tag, value, units in (
        ("RegisterCoverage", COVERAGE, commitment.COVERAGE, coverage(), 0),
        ("Authorize", AUTHORIZATION, commitment.AUTHORIZATION, authorization(), 3),
        ("RegisterProvider", handle("enrolment"), commitment.ENROLMENT, enrolment(), 0),
    ):
        bound = commitment.commit(tag, SALT, canonical.encode(value)).hex()
        request = {"handle": name, "commitment": bound, "units": units}
        await care.submit(care.adjudicator, f"claims:{function}", request)
    content = canonical.encode(table())
    load = {
        "name": "policy",
        "digest": hashlib.sha256(content).hexdigest(),
        "content": content.decode(),
    }
    await care.submit(care.adjudicator, "claims:LoadTable", load)
    return care


async def submitted(care: Consortium, value: Any = None, **changed: Any) -> Any:
    value = value or details()
    result = await care.submit(
        care.billing, "claims:Submit", filing(value, **changed), transient=transient(value)
    )
    care.sim.advance(seconds=1)
    return result


async def decided(care: Consortium, version: int = 1, **extra: bytes) -> Any:
    """The payer's decision by the rules, with its facts."""
    return await care.submit(
        care.adjudicator,
        "claims:Adjudicate",
        change(version),
        transient={**DECISION, "facts": facts(), **extra},
    )


def change(version: int, name: str = "claim", **rest: Any) -> dict[str, Any]:
    return {"claim": handle(name), "version": version, **rest}


def remittance(paid: int, name: str = "claim") -> dict[str, bytes]:
    value = Remittance(handle(name), "USD", paid, "TRACE1", date(2026, 1, 5))
    return {"remittance": canonical.encode(SealedRemittance(SALT, value))}


def information(text: str = "the note of the visit") -> dict[str, bytes]:
    value = SealedInformation(SALT, Information(CLAIM, text))
    return {"information": canonical.encode(value)}


def verdicts(result: Any) -> dict[str, str]:
    return {item["check"]: item["verdict"] for item in result["checks"]}


async def test_a_claim_is_accepted_with_its_checks() -> None:
    care = await consented()
    result = await submitted(care)
    assert (result["status"], result["version"], result["existing"]) == ("accepted", 1, False)
    found_out = verdicts(result)
    assert found_out["structure"] == found_out["consent"] == found_out["duplicate"] == "passed"
    assert found_out["eligibility"] == found_out["pricing"] == "deferred"
    assert care.sim.events[-1].name == "claims.Submitted"
    held = await care.evaluate(care.clinic_billing, "claims:Get", CLAIM)
    assert held["collection"] == SHARED
    assert held["checks"] == await care.evaluate(care.billing, "claims:Checks", CLAIM)


async def test_nothing_of_the_details_is_public() -> None:
    care = await consented()
    value = details(lines=(line(code="SECRETCODE", unit_price=1234567, net=1234567),))
    await submitted(care, value)
    await decided(
        care,
        decision=json.dumps({"salt": SALT.hex(), "acceptDeferred": True}).encode(),
        facts=b"{}",
    )
    public = b"".join(
        [*care.sim.state.values(), *(k.encode() for k in care.sim.state)]
        + [event.payload for event in care.sim.events]
    )
    for secret in (b"SECRETCODE", b"1234567", b"J20.9", b"2025-12-20", SALT.hex().encode()):
        assert secret not in public
    assert any(b"SECRETCODE" in value for value in care.sim.private[SHARED].values())
    file = await care.evaluate(care.adjudicator, "claims:Details", CLAIM)
    assert file["details"]["details"]["lines"][0]["code"] == "SECRETCODE"
    assert file["decisions"][0]["adjudication"]["paid"] == 1234567
    with pytest.raises(Denied, match="no party"):
        await care.evaluate(care.other_adjudicator, "claims:Details", CLAIM)


async def test_without_consent_it_is_rejected_and_the_payer_gets_nothing() -> None:
    care = await found()
    result = await submitted(care)
    assert (result["status"], verdicts(result)["consent"]) == ("rejected", "rejected")
    assert SHARED not in care.sim.private
    assert care.sim.events[-1].name == "claims.Rejected"
    with pytest.raises(Conflict, match="takes no adjudicate"):
        await decided(care)


async def test_self_pay_is_honoured() -> None:
    care = await consented()
    await care.submit(
        care.patient,
        "consent:Grant",
        {
            "id": handle("self-pay"),
            "patient": PATIENT,
            "directive": {
                "decision": "deny",
                "rule": {"purposes": ["HPAYMT"]},
                "policies": ["hipaa-self-pay"],
            },
        },
    )
    assert (await submitted(care))["status"] == "rejected"


async def test_submitting_again_is_answered_and_writes_nothing() -> None:
    care = await consented()
    first = await submitted(care)
    again = await care.sim.submit(
        care.billing, "claims:Submit", filing(details()), transient=transient(details())
    )
    assert not again.rwset.writes
    assert again.event is None
    assert again.json() == {**first, "existing": True}
    other = details(total=1)
    with pytest.raises(Conflict, match="another claim has this handle"):
        await submitted(care, other)


@pytest.mark.parametrize(
    ("changed", "fields", "error", "text"),
    [
        ({"commitment": b"\x01" * 32}, {}, InvalidArgument, "filing.commitment"),
        ({"claim": "jane"}, {}, InvalidArgument, "filing.claim"),
        ({"payer": "NobodyMSP"}, {}, InvalidArgument, "filing.payer"),
        ({"labels": ("very secret",)}, {}, InvalidArgument, "filing.labels"),
        ({"replaces": CLAIM}, {}, InvalidArgument, "cannot name itself"),
        ({"room": Room.OWN}, {}, InvalidArgument, "use Stage"),
        ({}, {"claim": b"{}"}, InvalidArgument, "claim.salt"),
        ({}, {"claim": b""}, InvalidArgument, "transient field claim is missing"),
        ({}, {"fingerprintKey": b"short"}, InvalidArgument, "fingerprintKey"),
        ({}, {"facts": b'{"coverages":[{}]}'}, InvalidArgument, r"facts.coverages\[0\]"),
    ],
)
async def test_a_bad_submission_is_refused_and_leaves_nothing(
    changed: dict[str, Any], fields: dict[str, bytes], error: type[ContractError], text: str
) -> None:
    care = await consented()
    before = care.sim.state
    with pytest.raises(error, match=text):
        await care.submit(
            care.billing,
            "claims:Submit",
            filing(details(), **changed),
            transient={**transient(details()), **fields},
        )
    assert care.sim.state == before


async def test_who_may_submit() -> None:
    care = await consented()
    with pytest.raises(Denied, match="role=claims"):
        await care.submit(
            care.clinician, "claims:Submit", filing(details()), transient=transient(details())
        )
    # The clinic names the hospital as the provider: nothing reaches the hospital's room.
    value = details("stolen")
    result = await care.submit(
        care.clinic_billing, "claims:Submit", filing(value), transient=transient(value)
    )
    assert (result["status"], verdicts(result)["authority"]) == ("rejected", "rejected")
    assert SHARED not in care.sim.private


async def test_evidence_is_anchored_before_and_current() -> None:
    care = await consented()
    await care.submit(care.clinician, "records:Anchor", anchor())
    care.sim.advance(seconds=1)
    evidence = (Evidence(handle("record"), 1),)
    assert verdicts(await submitted(care, evidence=evidence))["evidence"] == "passed"
    second = anchor(version=2, commitment=digest("second"))
    await care.submit(care.clinician, "records:Supersede", second)
    care.sim.advance(seconds=1)
    late = await submitted(care, details("late", diagnoses=()), evidence=evidence)
    assert late["status"] == "rejected"
    missing = (Evidence(handle("nowhere"), 1),)
    value = details("missing", diagnoses=())
    assert (await submitted(care, value, evidence=missing))["status"] == "rejected"


async def test_the_whole_way_to_reconciliation() -> None:
    care = await registered()
    await submitted(care)
    pend = change(1, reasons=[REASON])
    await care.submit(care.adjudicator, "claims:Pend", pend, transient=information())
    supplied = await care.submit(
        care.billing, "claims:Supply", change(2), transient=information("here")
    )
    assert supplied["status"] == "supplied"
    claim = await decided(care, 3)
    assert (claim["status"], claim["outcome"]) == ("adjudicated", "paid")
    assert "appealDeadline" not in claim
    assert {item["verdict"] for item in claim["checks"]} <= {"passed", "skipped"}
    with pytest.raises(InvalidArgument, match="not the amount"):
        await care.submit(care.adjudicator, "claims:Pay", change(4), transient=remittance(150_00))
    await care.submit(care.adjudicator, "claims:Pay", change(4), transient=remittance(120_00))
    done = await care.submit(care.billing, "claims:Reconcile", change(5))
    assert (done["status"], done["version"]) == ("reconciled", 6)
    steps = (await care.evaluate(care.billing, "claims:History", CLAIM))["steps"]
    assert [step["action"] for step in steps] == [
        *("submit", "pend", "supply", "adjudicate", "pay", "reconcile")
    ]
    file = await care.evaluate(care.billing, "claims:Details", CLAIM)
    assert [len(file[k]) for k in ("decisions", "remittances", "information")] == [1, 1, 2]
    names = [event.name for event in care.sim.events][-6:]
    assert names == [
        f"claims.{name}"
        for name in ("Submitted", "Pended", "Supplied", "Adjudicated", "Paid", "Reconciled")
    ]


async def test_an_exact_duplicate_is_denied_by_rule() -> None:
    care = await registered()
    await submitted(care)
    again = await submitted(care, details("again"))
    assert (again["status"], verdicts(again)["duplicate"]) == ("accepted", "denied")
    claim = await care.submit(
        care.adjudicator,
        "claims:Adjudicate",
        change(1, "again"),
        transient={**DECISION, "facts": facts()},
    )
    assert claim["outcome"] == "denied"
    assert claim["reasons"] == [{"group": "OA", "carc": "18", "rarc": "N522"}]
    assert claim["appealDeadline"] == "2026-05-02T03:04:09Z"
    # The first one is not a duplicate of the second.
    assert (await decided(care))["outcome"] == "paid"
    with pytest.raises(Conflict, match="nothing to pay"):
        await care.submit(
            care.adjudicator, "claims:Pay", change(2, "again"), transient=remittance(0, "again")
        )


async def test_a_duplicate_of_a_voided_claim_is_none() -> None:
    care = await registered()
    await submitted(care)
    await submitted(care, details("again"))
    await care.submit(care.billing, "claims:Void", change(1))
    claim = await care.submit(
        care.adjudicator,
        "claims:Adjudicate",
        change(1, "again"),
        transient={**DECISION, "facts": facts()},
    )
    assert claim["outcome"] == "paid"
    assert verdicts(await submitted(care, details("third")))["duplicate"] == "denied"
    await care.submit(care.billing, "claims:Void", change(2, "again"))
    await care.submit(care.billing, "claims:Void", change(1, "third"))
    assert verdicts(await submitted(care, details("fourth")))["duplicate"] == "passed"


async def test_a_duplicate_at_another_payer_is_flagged() -> None:
    care = await consented()
    await submitted(care)
    elsewhere = await submitted(care, details("elsewhere"), payer=OTHER_PAYER)
    duplicate = next(item for item in elsewhere["checks"] if item["check"] == "duplicate")
    assert (elsewhere["status"], duplicate["verdict"]) == ("accepted", "flagged")
    assert duplicate["findings"][0]["related"] == CLAIM


async def test_the_same_service_on_another_claim_asks_for_a_person() -> None:
    care = await registered()
    await submitted(care)
    await submitted(care, details("more", lines=(line(1), line(2, code="S0003"))))
    with pytest.raises(Conflict, match="asks for a person"):
        await care.submit(
            care.adjudicator,
            "claims:Adjudicate",
            change(1, "more"),
            transient={**DECISION, "facts": facts()},
        )


async def test_facts_are_the_payers_word() -> None:
    care = await registered()
    await submitted(care)
    with pytest.raises(InvalidArgument, match="eligibility lacks its facts"):
        await care.submit(care.adjudicator, "claims:Adjudicate", change(1), transient=DECISION)
    forged = json.loads(facts())
    forged["coverages"][0]["fact"]["copay"] = 1
    with pytest.raises(InvalidArgument, match="not what the payer registered"):
        await decided(care, facts=json.dumps(forged).encode())


async def test_a_false_fact_beside_the_true_one_is_refused() -> None:
    care = await registered()
    given = json.loads(facts())
    (true,) = given["coverages"]
    false = json.loads(json.dumps(true))
    false["fact"]["copay"] = 1
    for listed in ([true, false], [false, true]):
        value = details()
        with pytest.raises(InvalidArgument, match="not what the payer registered"):
            await care.submit(
                care.billing,
                "claims:Submit",
                filing(value),
                transient=transient(
                    value, facts=json.dumps({**given, "coverages": listed}).encode()
                ),
            )


async def test_units_are_taken_once_and_run_out() -> None:
    care = await registered()
    for number, outcome in ((1, "paid"), (2, "denied")):
        treated = line(
            code="S0002",
            authorization=AUTHORIZATION,
            quantity=Decimal(2),
            net=300_00,
            serviced_from=date(2025, 12, number),
        )
        value = details(f"treated {number}", lines=(treated,))
        await submitted(care, value)
        claim = await care.submit(
            care.adjudicator,
            "claims:Adjudicate",
            change(1, f"treated {number}"),
            transient={**DECISION, "facts": facts()},
        )
        assert claim["outcome"] == outcome
    registration = await care.evaluate(
        care.adjudicator, "claims:Registered", PAYER, "authorization", AUTHORIZATION
    )
    assert registration["unitsLeft"] == 1


async def test_by_hand_and_appeal() -> None:
    care = await registered()
    await submitted(care)
    refused = LineDecision(1, 150_00, (Adjustment(Group.CONTRACTUAL, "96", 150_00, "N390"),), 0)
    by_hand = {"salt": SALT.hex(), "lines": [canonical.to_wire(refused)]}
    claim = await decided(care, decision=json.dumps(by_hand).encode())
    assert (claim["outcome"], claim["reasons"][0]["carc"]) == ("denied", "96")
    with pytest.raises(Denied, match="for the claim's filer"):
        await care.submit(care.adjudicator, "claims:Appeal", change(2))
    await care.submit(care.billing, "claims:Appeal", change(2), transient=information("why"))
    upheld = await care.submit(care.adjudicator, "claims:DecideAppeal", change(3), "true")
    assert (upheld["status"], upheld["outcome"]) == ("adjudicated", "denied")
    await care.submit(care.billing, "claims:Appeal", change(4))
    paid = {"salt": SALT.hex(), "lines": [canonical.to_wire(LineDecision(1, 150_00, (), 150_00))]}
    overturned = await care.submit(
        care.adjudicator,
        "claims:DecideAppeal",
        change(5),
        "false",
        transient={"decision": json.dumps(paid).encode(), "facts": facts()},
    )
    assert (overturned["status"], overturned["outcome"]) == ("adjudicated", "paid")
    with pytest.raises(Conflict, match="nothing to appeal"):
        await care.submit(care.billing, "claims:Appeal", change(6))


async def test_an_appeal_has_a_deadline() -> None:
    care = await registered()
    await submitted(care)
    await submitted(care, details("again"))
    await care.submit(
        care.adjudicator,
        "claims:Adjudicate",
        change(1, "again"),
        transient={**DECISION, "facts": facts()},
    )
    care.sim.advance(days=121)
    with pytest.raises(Conflict, match="deadline"):
        await care.submit(care.billing, "claims:Appeal", change(2, "again"))


async def test_edges_are_for_their_side_and_version() -> None:
    care = await consented()
    await submitted(care)
    with pytest.raises(Denied, match="for the claim's payer"):
        await care.submit(care.billing, "claims:Pend", change(1, reasons=[REASON]))
    with pytest.raises(Denied, match="no party"):
        await care.submit(care.other_adjudicator, "claims:Pend", change(1, reasons=[REASON]))
    with pytest.raises(Conflict, match="version 1, not at 2"):
        await care.submit(care.adjudicator, "claims:Pend", change(2, reasons=[REASON]))
    with pytest.raises(InvalidArgument, match="say what is missing"):
        await care.submit(care.adjudicator, "claims:Pend", change(1))
    bad = [{**REASON, "carc": "Jane"}]
    with pytest.raises(InvalidArgument, match=r"reasons\[0\].carc"):
        await care.submit(care.adjudicator, "claims:Pend", change(1, reasons=bad))
    with pytest.raises(Denied, match="role=claims"):
        await care.submit(care.clinician, "claims:Void", change(1))


async def test_replace_stands_for_the_earlier() -> None:
    care = await consented()
    await submitted(care)
    value = details("corrected", lines=(line(unit_price=140_00, net=140_00),))
    submission = Submission(filing(value, replaces=CLAIM))
    result = await care.submit(
        care.billing, "claims:Replace", change(1), submission, transient=transient(value)
    )
    assert (result["status"], verdicts(result)["duplicate"]) == ("accepted", "passed")
    old = await care.evaluate(care.billing, "claims:Get", CLAIM)
    assert (old["status"], old["replacedBy"]) == ("replaced", handle("corrected"))
    # The replaced claim's services may be billed again by nobody else.
    assert verdicts(await submitted(care, details("again")))["duplicate"] == "pended"


async def test_a_rejected_replacement_leaves_the_earlier() -> None:
    care = await consented()
    await submitted(care)
    value = details("corrected", total=1)
    result = await care.submit(
        care.billing,
        "claims:Replace",
        change(1),
        Submission(filing(value, replaces=CLAIM)),
        transient=transient(value),
    )
    assert result["status"] == "rejected"
    assert (await care.evaluate(care.billing, "claims:Get", CLAIM))["status"] == "accepted"


async def test_lists_by_party_and_status() -> None:
    care = await consented()
    for name, day in (("a", 1), ("b", 2), ("c", 3)):
        dated = line(serviced_from=date(2025, 12, day))
        await submitted(care, details(name, lines=(dated,)))
    await care.submit(care.adjudicator, "claims:Pend", change(1, "b", reasons=[REASON]))

    async def names(*args: Any) -> list[str]:
        page = await care.evaluate(care.adjudicator, "claims:List", *args)
        return [claim["claim"] for claim in page["claims"]]

    everything = [handle(name) for name in "abc"]
    assert await names() == await names("GeneralHospitalMSP") == everything
    assert await names("", '"pended"') == [handle("b")]
    assert await names(PAYER, '"accepted"') == [handle("a"), handle("c")]
    assert await names(OTHER_PAYER) == []
    page = await care.evaluate(care.billing, "claims:List", "", "null", {"size": 2})
    rest = await care.evaluate(
        care.billing, "claims:List", "", "null", {"size": 2, "bookmark": page["bookmark"]}
    )
    assert [c["claim"] for c in page["claims"] + rest["claims"]] == everything


async def test_check_tells_before_anything_is_sent() -> None:
    care = await consented()
    results = await care.evaluate(
        care.billing, "claims:Check", filing(details()), transient=transient(details())
    )
    assert len(results) == 13
    assert SHARED not in care.sim.private


# --- in bulk, and in the payer's own room ---------------------------------------------------------


async def test_bulk_gives_each_claim_its_result() -> None:
    care = await consented()
    first = details("first")
    twin = details("twin")
    broken = details("broken", total=1)
    values = (first, twin, broken)
    submissions = [Submission(filing(value)) for value in values]
    submissions += [Submission(filing(details("no details"))), Submission(filing(first))]
    submissions.append(Submission(replace(filing(details("bad")), patient="jane")))
    results = await care.submit(
        care.adjudicator, "claims:SubmitBatch", submissions, transient=batch(*values)
    )
    assert [r.get("status") for r in results] == [
        *("accepted", "accepted", "rejected", None, "accepted", None)
    ]
    assert [r["existing"] for r in results] == [False, False, False, False, True, False]
    assert verdicts(results[1])["duplicate"] == "denied"
    assert "missing in the transient" in results[3]["error"]
    assert "filing.patient" in results[5]["error"]
    assert "jane" not in json.dumps(results)
    event = json.loads(care.sim.events[-1].payload)
    assert event["accepted"] == [handle("first"), handle("twin")]
    again = await care.sim.submit(
        care.adjudicator, "claims:SubmitBatch", submissions[:3], transient=batch(*values)
    )
    assert not again.rwset.writes
    with pytest.raises(InvalidArgument, match="1 to 1000"):
        await care.submit(care.adjudicator, "claims:SubmitBatch", [])


async def staged(care: Consortium, *values: Any) -> list[dict[str, Any]]:
    filings = [filing(value, room=Room.OWN, provider="") for value in values]
    result = await care.sim.submit(
        care.adjudicator, "claims:Stage", filings, transient={**batch(*values), "facts": facts()}
    )
    public = result.rwset.writes.get(("health", ""), {})
    assert not public  # so that the payer's peer endorses alone
    pairs = zip(filings, result.json(), strict=True)
    return [{"filing": canonical.to_wire(f), "staged": s} for f, s in pairs]


async def test_intake_into_the_own_room_is_staged_first() -> None:
    care = await registered()
    submissions = await staged(care, details("one"), details("two"))
    results = await care.submit(care.adjudicator, "claims:SubmitBatch", submissions)
    assert [result["status"] for result in results] == ["accepted", "accepted"]
    assert [verdicts(result)["eligibility"] for result in results] == ["passed", "passed"]
    assert verdicts(results[1])["duplicate"] == "denied"
    assert SHARED not in care.sim.private
    file = await care.evaluate(care.adjudicator, "claims:Details", handle("one"))
    assert file["details"]["details"]["total"] == 150_00


async def test_what_was_staged_cannot_be_changed_on_the_way() -> None:
    care = await registered()
    (submission,) = await staged(care, details("one"))
    forged = json.loads(json.dumps(submission))
    forged["staged"]["checks"] = []
    (result,) = await care.submit(care.adjudicator, "claims:SubmitBatch", [forged])
    assert "not what was staged" in result["error"]
    (result,) = await care.submit(
        care.adjudicator, "claims:SubmitBatch", [{"filing": submission["filing"]}]
    )
    assert "staged: missing" in result["error"]
    with pytest.raises(InvalidArgument, match="never travel in a public transaction"):
        await care.submit(
            care.adjudicator,
            "claims:SubmitBatch",
            [submission],
            transient=batch(details("one")),
        )
    with pytest.raises(Denied, match="only a payer stages"):
        await staged_by_provider(care)


async def staged_by_provider(care: Consortium) -> None:
    value = details("one")
    await care.submit(
        care.billing, "claims:Stage", [filing(value, room=Room.OWN)], transient=batch(value)
    )


async def test_decision_and_payment_in_the_own_room() -> None:
    care = await registered()
    await care.submit(care.adjudicator, "claims:SubmitBatch", await staged(care, details()))
    care.sim.advance(seconds=1)
    private = {**DECISION, "facts": facts()}
    result = await care.sim.submit(
        care.adjudicator, "claims:StageDecision", change(1), transient=private
    )
    assert ("health", "") not in result.rwset.writes
    notice = result.json()
    for forged in ({**notice, "outcome": "denied"}, {**notice, "units": {AUTHORIZATION: 1}}):
        with pytest.raises(Conflict, match="not what was staged"):
            await care.submit(care.adjudicator, "claims:Adjudicate", change(1), forged)
    with pytest.raises(InvalidArgument, match="StageDecision answers it"):
        await care.submit(care.adjudicator, "claims:Adjudicate", change(1), transient=private)
    claim = await care.submit(care.adjudicator, "claims:Adjudicate", change(1), notice)
    assert (claim["status"], claim["outcome"]) == ("adjudicated", "paid")
    with pytest.raises(InvalidArgument, match="remittance is missing"):
        await care.submit(care.adjudicator, "claims:Pay", change(2))
    with pytest.raises(InvalidArgument, match="not the amount"):
        await care.submit(
            care.adjudicator,
            "claims:StagePrivate",
            change(2),
            "remittance",
            transient=remittance(1),
        )
    paid = await care.submit(
        care.adjudicator,
        "claims:StagePrivate",
        change(2),
        "remittance",
        transient=remittance(120_00),
    )
    with pytest.raises(Conflict, match="not what was staged"):
        await care.submit(care.adjudicator, "claims:Pay", change(2, commitment=digest("x")))
    await care.submit(care.adjudicator, "claims:Pay", change(2, commitment=paid["commitment"]))
    done = await care.submit(care.adjudicator, "claims:Reconcile", change(3))
    assert done["status"] == "reconciled"


async def test_a_table_is_known_by_its_digest() -> None:
    care = await consented()
    load = {"name": "policy", "digest": digest("t")}
    await care.submit(care.adjudicator, "claims:LoadTable", load)
    await submitted(care)
    with pytest.raises(InvalidArgument, match="table: not the content"):
        await decided(care, facts=b"{}", table=canonical.encode(table()))
    content = canonical.encode(table()).decode()
    with pytest.raises(InvalidArgument, match="table: not the content"):
        await care.submit(care.adjudicator, "claims:LoadTable", {**load, "content": content})
    with pytest.raises(Denied, match="not a payer"):
        await care.submit(care.billing, "claims:LoadTable", load)
    held = await care.evaluate(care.billing, "claims:Table", PAYER)
    assert (held["version"], held["digest"]) == (1, digest("t"))


async def test_a_payer_keeps_its_facts_to_itself() -> None:
    care = await consented()
    result = await care.sim.submit(
        care.adjudicator,
        "claims:KeepFact",
        "coverage",
        COVERAGE,
        transient={"fact": b'{"plan":"gold"}'},
    )
    assert ("health", "") not in result.rwset.writes
    kept = await care.sim.evaluate(care.adjudicator, "claims:Fact", "coverage", COVERAGE)
    assert kept.payload == b'{"plan":"gold"}'


async def test_the_fingerprint_key_is_the_consortiums() -> None:
    key = commitment.key_digest(bytes(32))
    care = await consented(parameters={"claims.fingerprintKey": key.hex()})
    with pytest.raises(InvalidArgument, match="not the consortium's key"):
        await submitted(care)
