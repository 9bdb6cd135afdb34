"""Coordination of benefits: a second payer rests on what the first committed to, and no claim is
paid more than once over.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from chaincode import canonical
from chaincode.claims.details import Facts, Insurance, LinePaid, SealedAdjudication, Use
from chaincode.claims.model import Submission
from chaincode.errors import Conflict, Denied, InvalidArgument
from tests.chaincode.claims.samples import (
    COVERAGE,
    SALT,
    details,
    facts,
    filing,
    line,
    transient,
)
from tests.chaincode.claims.test_contract import (
    DECISION,
    change,
    decided,
    registered,
    remittance,
    submitted,
    verdicts,
)
from tests.chaincode.consortium import OTHER_PAYER, Consortium, handle

SOON = date(2026, 6, 1)


async def primary(care: Consortium) -> SealedAdjudication:
    """What our payer decides on the first claim: 120 of 150."""
    await submitted(care)
    await decided(care)
    file = await care.evaluate(care.billing, "claims:Details", handle("claim"))
    return canonical.decode(SealedAdjudication, json.dumps(file["decisions"][0]).encode())


def secondary(paid: int, *, lines: tuple[LinePaid, ...] = (), name: str = "second") -> Any:
    first = Insurance(1, COVERAGE, focal=False, paid=paid, paid_lines=lines)
    return details(name, insurance=(first, Insurance(2, handle("other coverage"))))


async def forward(care: Consortium, value: Any, *shown: SealedAdjudication) -> Any:
    asked = filing(value, payer=OTHER_PAYER, coordinates=handle("claim"))
    told = canonical.encode(Facts(primaries=shown))
    return await care.submit(
        care.billing, "claims:Submit", asked, transient=transient(value, facts=told)
    )


async def pay_second(care: Consortium, name: str = "second", **asked: Any) -> Any:
    wanted = {"salt": SALT.hex(), "acceptDeferred": True, **asked}
    await care.submit(
        care.other_adjudicator,
        "claims:Adjudicate",
        change(1, name),
        transient={"decision": json.dumps(wanted).encode()},
    )
    file = await care.evaluate(care.billing, "claims:Details", handle(name))
    return file["decisions"][-1]["adjudication"]


async def test_the_second_payer_rests_on_what_the_first_committed_to() -> None:
    care = await registered()
    shown = await primary(care)
    result = await forward(care, secondary(120_00, lines=(LinePaid(1, 120_00),)), shown)
    assert result["status"] == "accepted"
    assert verdicts(result)["coordination"] == "passed"
    # The first payer's claim explains the second: it is no duplicate.
    assert verdicts(result)["duplicate"] == "passed"
    made = await pay_second(care)
    assert made["paid"] == 30_00
    assert made["paid"] + shown.adjudication.paid == made["charge"]


async def test_a_payer_forwards_what_it_decided_to_the_next_one() -> None:
    care = await registered()
    shown = await primary(care)
    value = secondary(120_00, lines=(LinePaid(1, 120_00),))
    asked = filing(value, payer=OTHER_PAYER, coordinates=handle("claim"))
    told = canonical.encode(Facts(primaries=(shown,)))
    result = await care.submit(
        care.adjudicator, "claims:Submit", asked, transient=transient(value, facts=told)
    )
    assert result["status"] == "accepted"
    held = await care.evaluate(care.other_adjudicator, "claims:Get", handle("second"))
    assert held["collection"] == "claims-UnitedPayer-OtherPayer"
    # Without a decision of its own a payer files with itself alone.
    alone = details("third")
    refused = await care.submit(
        care.adjudicator, "claims:Submit", filing(alone, payer=OTHER_PAYER),
        transient=transient(alone),
    )  # fmt: skip
    assert refused["status"] == "rejected"


async def test_other_amounts_than_were_decided_are_denied() -> None:
    care = await registered()
    shown = await primary(care)
    result = await forward(care, secondary(100_00), shown)
    assert verdicts(result)["coordination"] == "denied"


async def test_a_decision_that_the_first_payer_never_made_is_refused() -> None:
    care = await registered()
    shown = await primary(care)
    forged = replace(shown, adjudication=replace(shown.adjudication, paid=1))
    with pytest.raises(InvalidArgument, match="not what the prior payer decided"):
        await forward(care, secondary(1), forged)


async def test_a_decision_that_is_not_shown_is_flagged() -> None:
    care = await registered()
    await primary(care)
    assert verdicts(await forward(care, secondary(120_00)))["coordination"] == "flagged"


async def waiting(care: Consortium) -> list[Any]:
    page = await care.evaluate(care.other_adjudicator, "claims:Reexaminations")
    return list(page["waiting"])


async def both_decided() -> Consortium:
    care = await registered()
    shown = await primary(care)
    await forward(care, secondary(120_00, lines=(LinePaid(1, 120_00),)), shown)
    await pay_second(care)
    assert await waiting(care) == []
    return care


def by_hand(paid: int, *adjustments: dict[str, Any]) -> dict[str, bytes]:
    lines = [{"sequence": 1, "charge": 150_00, "paid": paid, "adjustments": list(adjustments)}]
    made = {"salt": SALT.hex(), "acceptDeferred": True, "lines": lines}
    return {"decision": json.dumps(made).encode()}


async def refused_first() -> Consortium:
    """The first payer refuses the claim and the second pays it."""
    care = await registered()
    await submitted(care)
    refusal = {"group": "CO", "carc": "50", "amount": 150_00}
    await care.submit(
        care.adjudicator, "claims:Adjudicate", change(1), transient=by_hand(0, refusal)
    )
    file = await care.evaluate(care.billing, "claims:Details", handle("claim"))
    shown = canonical.decode(SealedAdjudication, json.dumps(file["decisions"][0]).encode())
    await forward(care, secondary(0), shown)
    assert (await pay_second(care))["paid"] == 150_00
    return care


async def test_a_decision_that_changes_on_appeal_is_looked_at_by_the_later_payer() -> None:
    care = await refused_first()
    await care.submit(care.billing, "claims:Appeal", change(2))
    assert await waiting(care) == []
    await care.submit(
        care.adjudicator, "claims:DecideAppeal", change(3), False, transient=by_hand(150_00)
    )
    told = json.loads(care.sim.events[-1].payload)
    assert (told["later"], told["laterPayers"]) == ([handle("second")], [OTHER_PAYER])
    (one,) = await waiting(care)
    assert (one["claim"], one["primary"], one["action"]) == (
        handle("second"),
        handle("claim"),
        "overturn",
    )
    # Its own claim is as it was, for what was decided on it is that payer's to change.
    held = await care.evaluate(care.billing, "claims:Get", handle("second"))
    assert (held["status"], held["version"]) == ("adjudicated", 2)
    with pytest.raises(Denied, match="no party"):
        await care.submit(care.adjudicator, "claims:Confirm", change(2, "second"))
    await care.submit(care.other_adjudicator, "claims:Confirm", change(2, "second"))
    assert care.sim.events[-1].name == "claims.CoordinationConfirmed"
    assert await waiting(care) == []
    with pytest.raises(Conflict, match="nothing to confirm"):
        await care.submit(care.other_adjudicator, "claims:Confirm", change(3, "second"))


async def test_an_appeal_that_is_upheld_changes_nothing_for_the_later_payer() -> None:
    care = await refused_first()
    await care.submit(care.billing, "claims:Appeal", change(2))
    await care.submit(care.adjudicator, "claims:DecideAppeal", change(3), True)
    assert await waiting(care) == []


async def test_a_voided_claim_waits_at_the_later_payer_until_that_ones_is_voided_too() -> None:
    care = await both_decided()
    await care.submit(care.billing, "claims:Void", change(2))
    assert [one["action"] for one in await waiting(care)] == ["void"]
    await care.submit(care.billing, "claims:Void", change(2, "second"))
    assert await waiting(care) == []
    # What no longer lives rests on nothing.
    assert await care.evaluate(care.billing, "claims:Later", handle("claim")) == []


async def test_a_replaced_claim_names_its_successor_and_a_replacement_settles() -> None:
    care = await both_decided()
    corrected = details("corrected", number="A-1-corrected")
    await care.submit(
        care.billing, "claims:Replace", change(2),
        Submission(filing(corrected, replaces=handle("claim"))), transient=transient(corrected),
    )  # fmt: skip
    (one,) = await waiting(care)
    assert (one["action"], one["instead"]) == ("replace", handle("corrected"))
    await care.submit(
        care.adjudicator, "claims:Adjudicate", change(1, "corrected"),
        transient={**DECISION, "facts": facts()},
    )  # fmt: skip
    again = secondary(120_00, lines=(LinePaid(1, 120_00),), name="second again")
    asked = filing(
        again, payer=OTHER_PAYER, coordinates=handle("corrected"), replaces=handle("second")
    )
    await care.submit(
        care.billing, "claims:Replace", change(2, "second"), Submission(asked),
        transient=transient(again),
    )  # fmt: skip
    assert await waiting(care) == []
    (later,) = await care.evaluate(care.billing, "claims:Later", handle("corrected"))
    assert later["claim"] == handle("second again")


async def test_by_hand_too_no_more_than_the_charge_is_paid() -> None:
    care = await registered()
    shown = await primary(care)
    await forward(care, secondary(120_00, lines=(LinePaid(1, 120_00),)), shown)
    lines = [
        {
            "sequence": 1,
            "charge": 150_00,
            "paid": 150_00,
            "adjustments": [],
        }
    ]
    with pytest.raises(InvalidArgument, match="more is paid than was charged"):
        await pay_second(care, lines=lines)


async def test_a_claim_that_the_first_payer_voided_coordinates_nothing() -> None:
    care = await registered()
    shown = await primary(care)
    await care.submit(care.billing, "claims:Void", change(2))
    result = await forward(care, secondary(120_00), shown)
    assert verdicts(result)["coordination"] == "denied"


async def test_a_payer_sees_of_the_other_ones_claim_that_it_is_there_and_no_more() -> None:
    care = await registered()
    await submitted(care)
    value = details("elsewhere")
    result = await care.submit(
        care.billing,
        "claims:Submit",
        filing(value, payer=OTHER_PAYER),
        transient=transient(value),
    )
    (found,) = [
        finding
        for check in result["checks"]
        if check["check"] == "duplicate"
        for finding in check["findings"]
    ]
    assert found["verdict"] == "flagged"
    assert not any(part in json.dumps(found) for part in ("150", "S0001", "2025", "J20"))
    held = await care.evaluate(care.other_adjudicator, "claims:Get", handle("claim"))
    assert len(held["fingerprints"]["claim"]) == 64


async def test_a_preauthorisation_is_decided_and_never_paid() -> None:
    care = await registered()
    future = details(
        "pre", use=Use.PREAUTHORIZATION, lines=(line(code="S0002", serviced_from=SOON),)
    )
    result = await submitted(care, future)
    assert result["status"] == "accepted"
    assert verdicts(result)["authorization"] == "skipped"
    await care.submit(
        care.adjudicator,
        "claims:Adjudicate",
        change(1, "pre"),
        transient={**DECISION, "facts": facts()},
    )
    with pytest.raises(Conflict, match="only a claim is paid"):
        await care.submit(
            care.adjudicator, "claims:Pay", change(2, "pre"), transient=remittance(150_00, "pre")
        )
    # What was authorised and then rendered is no duplicate of the asking.
    rendered = details("done", lines=(line(code="S0002", authorization=handle("authorization")),))
    assert verdicts(await submitted(care, rendered))["duplicate"] == "passed"
