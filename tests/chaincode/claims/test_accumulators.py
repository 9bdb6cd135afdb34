"""Deductible, out-of-pocket and limited services over a benefit period; given back when due."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode import canonical, commitment
from chaincode.claims.accumulators import accumulator_handle, period_of, used_by, used_of
from chaincode.claims.adjudication import adjudicate, validate_adjudication
from chaincode.claims.details import (
    Accumulator,
    Coverage,
    OpenedCoverage,
    Use,
    Used,
    UsedByClaim,
    VisitLimit,
)
from chaincode.claims.states import Outcome
from chaincode.errors import Conflict, InvalidArgument, NotFound
from tests.chaincode.claims import samples
from tests.chaincode.claims.samples import COVERAGE, SALT, coverage, details, line
from tests.chaincode.claims.test_contract import change, registered, submitted
from tests.chaincode.consortium import FINGERPRINT_KEY, PAYER, SHARED, Consortium, handle

PLAN = coverage(deductible=100_00, out_of_pocket=110_00, coinsurance=5_000)
LIMITED = coverage(visits=(VisitLimit("S0001", 2),))


@pytest.mark.parametrize(
    ("start", "day", "period"),
    [
        ("01-01", date(2026, 1, 1), date(2026, 1, 1)),
        ("01-01", date(2026, 12, 31), date(2026, 1, 1)),
        ("07-01", date(2026, 6, 30), date(2025, 7, 1)),
        ("07-01", date(2026, 7, 1), date(2026, 7, 1)),
        ("02-29", date(2026, 2, 28), date(2025, 3, 1)),
        ("02-29", date(2028, 2, 29), date(2028, 2, 29)),
    ],
)
def test_a_benefit_period_is_a_year_from_its_day(start: str, day: date, period: date) -> None:
    assert period_of(coverage(period_start=start), day) == period


def test_a_day_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="MM-DD"):
        period_of(coverage(period_start="13-01"), date(2026, 1, 1))


def test_the_handle_tells_nothing_without_the_key() -> None:
    one = accumulator_handle(FINGERPRINT_KEY, PAYER, COVERAGE, date(2026, 1, 1))
    assert len(one) == 32
    assert one != accumulator_handle(b"k" * 32, PAYER, COVERAGE, date(2026, 1, 1))
    assert one != accumulator_handle(FINGERPRINT_KEY, PAYER, COVERAGE, date(2027, 1, 1))


@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=8))
def test_over_a_period_the_member_pays_the_limits_and_no_more(nets: list[int]) -> None:
    used = Used()
    for net in nets:
        claim = details(lines=(line(net=net, unit_price=net),))
        made = adjudicate(claim, (), coverage=PLAN, table=None, used=used)
        validate_adjudication(made, claim)
        mine = used_by(claim, made, PLAN)
        used = Used(used.deductible + mine.deductible, used.out_of_pocket + mine.out_of_pocket)
    # Half of what is beyond the deductible, until the limit: a naive reckoning of the whole period.
    total = sum(nets)
    assert used.deductible == min(total, 100_00)
    assert used.out_of_pocket <= 110_00
    if total >= 100_00 + 20_00 + len(nets):
        assert used.out_of_pocket == 110_00


def test_visits_run_out() -> None:
    claim = details(lines=(line(1), line(2), line(3)))
    made = adjudicate(claim, (), coverage=LIMITED, table=None, used=Used(visits={"S0001": 1}))
    reasons = [[item.carc for item in one.adjustments] for one in made.lines]
    assert reasons == [[], ["119"], ["119"]]
    assert used_by(claim, made, LIMITED).visits == {"S0001": 1}


def test_what_asks_only_takes_nothing() -> None:
    claim = details(use=Use.PREAUTHORIZATION)
    made = adjudicate(claim, (), coverage=PLAN, table=None)
    assert used_by(claim, made, PLAN) == Used()


def test_a_decision_that_is_not_in_force_does_not_count() -> None:
    book = Accumulator(COVERAGE, date(2026, 1, 1), (UsedByClaim("a", b"x", Used(1)),))
    assert used_of(book, {}, "") == Used()


async def stated(plan: Coverage) -> Consortium:
    """A consortium whose payer states this coverage."""
    care = await registered()
    opened = canonical.encode(OpenedCoverage(SALT, plan))
    bound = commitment.commit(commitment.COVERAGE, SALT, canonical.encode(plan)).hex()
    await care.submit(
        care.adjudicator, "claims:KeepFact", "coverage", COVERAGE, transient={"fact": opened}
    )
    request = {"handle": COVERAGE, "commitment": bound}
    await care.submit(care.adjudicator, "claims:RegisterCoverage", request)
    return care


def facts(plan: Coverage) -> bytes:
    value = json.loads(samples.facts())
    value["coverages"] = [canonical.to_wire(OpenedCoverage(SALT, plan))]
    return json.dumps(value).encode()


def private(plan: Coverage, salt: bytes = SALT) -> dict[str, bytes]:
    return {
        "decision": json.dumps({"salt": salt.hex()}).encode(),
        "facts": facts(plan),
        "fingerprintKey": FINGERPRINT_KEY,
    }


async def stage(care: Consortium, plan: Coverage, name: str, version: int = 1) -> Any:
    return await care.submit(
        care.adjudicator, "claims:StageDecision", change(version, name), transient=private(plan)
    )


async def decide(care: Consortium, notice: Any, name: str, version: int = 1) -> Any:
    sealed = await care.evaluate(care.adjudicator, "claims:StagedDecision", handle(name), version)
    return await care.submit(
        care.adjudicator,
        "claims:Adjudicate",
        change(version, name),
        notice,
        transient={"sealed": json.dumps(sealed).encode()},
    )


async def used(care: Consortium) -> Any:
    answer = await care.evaluate(
        care.adjudicator,
        "claims:Accumulated",
        COVERAGE,
        "2025-12-20",
        transient={"fingerprintKey": FINGERPRINT_KEY},
    )
    return answer["used"]


def visit(name: str, days: int = 0, **changed: Any) -> Any:
    day = samples.SERVICE.replace(day=samples.SERVICE.day - days)
    return details(name, lines=(line(serviced_from=day, **changed),))


async def test_a_deductible_is_met_once_and_given_back_by_a_void() -> None:
    care = await stated(PLAN)
    for name, days in (("one", 1), ("two", 2)):
        await submitted(care, visit(name, days))
        await decide(care, await stage(care, PLAN, name), name)
        care.sim.advance(seconds=1)
    # 120 allowed each: 100 + 10 of coinsurance, then nothing is left to pay.
    assert await used(care) == {"deductible": 100_00, "outOfPocket": 110_00, "visits": {}}
    await care.submit(care.billing, "claims:Void", change(2, "one"))
    # The second took nothing while the first counted; decided anew it takes the deductible.
    assert (await used(care))["deductible"] == 0
    await submitted(care, visit("three", 3))
    await decide(care, await stage(care, PLAN, "three"), "three")
    assert (await used(care))["deductible"] == 100_00


async def test_a_replacement_gives_back_what_the_earlier_took() -> None:
    care = await stated(PLAN)
    await submitted(care, visit("one"))
    await decide(care, await stage(care, PLAN, "one"), "one")
    value = visit("two", unit_price=50_00, net=50_00)
    filing = samples.filing(value, replaces=handle("one"))
    await care.submit(
        care.billing,
        "claims:Replace",
        change(2, "one"),
        {"filing": canonical.to_wire(filing)},
        transient=samples.transient(value),
    )
    assert (await used(care))["deductible"] == 0
    await decide(care, await stage(care, PLAN, "two"), "two")
    assert (await used(care))["deductible"] == 50_00


async def test_an_appeal_changes_what_counts() -> None:
    care = await stated(LIMITED)
    await submitted(care, visit("one"))
    by_hand = {
        "salt": SALT.hex(),
        "lines": [
            {
                "sequence": 1,
                "charge": 150_00,
                "paid": 0,
                "adjustments": [{"group": "CO", "carc": "50", "amount": 150_00, "rarc": ""}],
            }
        ],
    }
    notice = await care.submit(
        care.adjudicator,
        "claims:StageDecision",
        change(1, "one"),
        transient={**private(LIMITED), "decision": json.dumps(by_hand).encode()},
    )
    claim = await decide(care, notice, "one")
    assert claim["outcome"] == Outcome.DENIED
    assert (await used(care))["visits"] == {}
    await care.submit(care.billing, "claims:Appeal", change(2, "one"))
    notice = await stage(care, LIMITED, "one", 3)
    assert (await used(care))["visits"] == {}  # staged is not decided
    sealed = await care.evaluate(care.adjudicator, "claims:StagedDecision", handle("one"), 3)
    await care.submit(
        care.adjudicator,
        "claims:DecideAppeal",
        change(3, "one"),
        False,
        notice,
        transient={"sealed": json.dumps(sealed).encode()},
    )
    assert (await used(care))["visits"] == {"S0001": 1}


async def test_two_decisions_at_once_do_not_take_one_deductible_twice() -> None:
    care = await stated(PLAN)
    for name, days in (("one", 1), ("two", 2)):
        await submitted(care, visit(name, days))
    first, second = await stage(care, PLAN, "one"), await stage(care, PLAN, "two")
    await decide(care, first, "one")
    with pytest.raises(Conflict, match="benefit period has changed"):
        await decide(care, second, "two")
    await decide(care, await stage(care, PLAN, "two"), "two")
    assert (await used(care))["deductible"] == 100_00


async def test_a_claim_staged_before_another_was_decided_is_not_lost() -> None:
    care = await stated(PLAN)
    for name, days in (("one", 1), ("two", 2)):
        await submitted(care, visit(name, days))
    first = await stage(care, PLAN, "one")
    await stage(care, PLAN, "two")  # comes to nothing
    await decide(care, first, "one")
    assert (await used(care))["deductible"] == 100_00


async def test_without_staging_such_a_decision_is_refused() -> None:
    care = await stated(PLAN)
    await submitted(care, visit("one"))
    with pytest.raises(InvalidArgument, match="stage the decision first"):
        await care.submit(
            care.adjudicator, "claims:Adjudicate", change(1, "one"), transient=private(PLAN)
        )


async def test_what_was_staged_cannot_be_swapped() -> None:
    care = await stated(PLAN)
    await submitted(care, visit("one"))
    notice = await stage(care, PLAN, "one")
    sealed = await care.evaluate(care.adjudicator, "claims:StagedDecision", handle("one"), 1)
    forged = json.loads(json.dumps(sealed))
    forged["adjudication"]["paid"] += 1
    with pytest.raises(InvalidArgument, match="not the decision that was staged"):
        await care.submit(
            care.adjudicator,
            "claims:Adjudicate",
            change(1, "one"),
            notice,
            transient={"sealed": json.dumps(forged).encode()},
        )
    with pytest.raises(Conflict, match="not what was staged"):
        await decide(care, {**notice, "accumulatorVersion": 7}, "one")
    with pytest.raises(NotFound):
        await care.evaluate(care.adjudicator, "claims:StagedDecision", handle("two"), 1)


async def test_the_book_is_the_payers_alone() -> None:
    care = await stated(PLAN)
    await submitted(care, visit("one"))
    result = await care.sim.submit(
        care.adjudicator,
        "claims:StageDecision",
        change(1, "one"),
        transient=private(PLAN),
    )
    assert {collection for _, collection in result.rwset.writes} == {f"_implicit_org_{PAYER}"}
    await decide(care, result.json(), "one")
    held = await care.evaluate(care.billing, "claims:Get", handle("one"))
    assert set(held["accumulator"]) <= set("0123456789abcdef")
    assert SHARED in care.sim.private


async def test_an_authorisation_sees_what_is_left_and_takes_nothing() -> None:
    care = await stated(PLAN)
    await submitted(care, visit("one"))
    await decide(care, await stage(care, PLAN, "one"), "one")
    await submitted(care, replace(visit("asked", 3), use=Use.PREAUTHORIZATION))
    notice = await stage(care, PLAN, "asked")
    assert (notice["accumulator"], notice["units"]) == ("", {})
    claim = await decide(care, notice, "asked")
    assert claim["accumulator"] == ""
    file = await care.evaluate(care.billing, "claims:Details", handle("asked"))
    owed = [x["carc"] for x in file["decisions"][0]["adjudication"]["lines"][0]["adjustments"]]
    assert "1" not in owed  # the deductible is met already
    assert (await used(care))["deductible"] == 100_00


async def test_units_come_back_when_a_claim_is_voided() -> None:
    care = await registered()
    value = details(lines=(replace(line(), code="S0002", authorization=samples.AUTHORIZATION),))
    await submitted(care, value)
    transient = {
        "decision": json.dumps({"salt": SALT.hex()}).encode(),
        "facts": samples.facts(),
    }

    async def left() -> int:
        held = await care.evaluate(
            care.billing, "claims:Registered", PAYER, "authorization", samples.AUTHORIZATION
        )
        return int(held["unitsLeft"])

    await care.submit(care.adjudicator, "claims:Adjudicate", change(1), transient=transient)
    assert await left() == 2
    await care.submit(care.billing, "claims:Void", change(2))
    assert await left() == 3
