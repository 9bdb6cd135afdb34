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
from chaincode.errors import Conflict, InvalidArgument
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
