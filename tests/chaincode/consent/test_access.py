"""What the other contracts call: the caller as an actor, and a decision that can be asked again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaincode.consent import access
from chaincode.consent.contract import ConsentContract
from chaincode.consent.messages import (
    BreakGlassRequest,
    EvaluationRequest,
    GrantRequest,
    RevokeRequest,
)
from chaincode.consent.model import (
    AccessRequest,
    Actor,
    DataItem,
    Decision,
    Directive,
    Effect,
    Party,
    Period,
    Rule,
    Verdict,
)
from chaincode.contract import Context, Contract, query
from chaincode.directory.contract import DirectoryContract
from chaincode.directory.model import Basis, DelegationRequest, Scope
from chaincode.simulator import Simulator
from chaincode.simulator.simulation import Simulation
from tests.chaincode.directory.world import (
    CLINIC,
    ORGANIZATIONS,
    PATIENT,
    TRUST,
    World,
    digest_of,
)

CONSENT, DELEGATION, GRANT, TEAM = "c0" * 16, "d1" * 16, "b0" * 16, "7e" * 16
LAB = DataItem(id="1a" * 16, resource_type="Observation", labels=())
TEEN = DataItem(id="2b" * 16, resource_type="Observation", labels=("R", "ADOL"))


class Probe(Contract, name="probe"):
    """A contract like records or claims."""

    @query
    async def Caller(self, ctx: Context, patient: str, purpose: str) -> Actor:
        return await access.caller(ctx, patient, purpose)

    @query
    async def Decide(self, ctx: Context, request: AccessRequest) -> Decision:
        return await access.decide(ctx, request)


@pytest.fixture
async def world() -> World:
    world = World(Simulator(ConsentContract, DirectoryContract, Probe))
    await world.sim.submit(world.admin, "directory:Bootstrap", list(ORGANIZATIONS))
    await world.register()
    return world


async def caller(world: World, who: object, purpose: str) -> Actor:
    result = await world.sim.evaluate(who, "probe:Caller", PATIENT, purpose)  # type: ignore[arg-type]
    return result.value(Actor)


async def decide(world: World, request: AccessRequest) -> Decision:
    return (await world.sim.evaluate(world.payer, "probe:Decide", request)).value(Decision)


async def test_a_member_is_who_their_certificate_says(world: World) -> None:
    doctor = world.person(CLINIC, "doctor", role="clinician", groups=f"{TEAM}, {'7f' * 16}")
    assert await caller(world, doctor, "TREAT") == Actor(
        CLINIC, "clinician", digest_of(doctor), (TEAM, "7f" * 16)
    )


async def test_the_patient(world: World) -> None:
    assert (await caller(world, world.patient, "PATRQT")).patient == PATIENT
    forged = world.person(CLINIC, "forged", role="patient", patient=PATIENT)
    assert (await caller(world, forged, "PATRQT")).patient == ""


async def test_a_care_team_by_certificate(world: World) -> None:
    team = Directive(Effect.PERMIT, Rule(actors=(Party(f"group:{TEAM}"),)))
    await world.sim.submit(world.patient, "consent:Grant", GrantRequest(CONSENT, PATIENT, team))
    inside = world.person(CLINIC, "inside", role="clinician", groups=TEAM)
    for who, expected in ((inside, True), (world.clinician, False)):
        actor = await caller(world, who, "TREAT")
        request = AccessRequest(PATIENT, actor, "TREAT", data=(LAB,))
        assert (await decide(world, request)).permitted is expected


async def test_a_delegate_and_what_is_withheld_from_them(world: World) -> None:
    proxy = world.person(TRUST, "proxy", role="patient")
    delegation = DelegationRequest(
        DELEGATION,
        PATIENT,
        f"user:{digest_of(proxy)}",
        TRUST,
        Basis.POWER_OF_ATTORNEY,
        (Scope.ACCESS,),
        Period(None, "2026-12"),
        purposes=("FAMRQT",),
        withheld=("ADOL",),
    )
    await world.sim.submit(world.patient, "directory:Delegate", delegation)
    actor = await caller(world, proxy, "FAMRQT")
    assert (actor.delegation, actor.acts_for) == (DELEGATION, PATIENT)
    request = AccessRequest(PATIENT, actor, "FAMRQT", data=(LAB, TEEN))
    decision = await decide(world, request)
    assert [i.verdict for i in decision.items] == [Verdict.PERMIT, Verdict.DENY]
    # A stored request asked again after the delegation is over: nothing is open.
    await world.sim.submit(proxy, "directory:RevokeDelegation", PATIENT, DELEGATION)
    assert (await decide(world, request)).verdict is Verdict.NOT_APPLICABLE
    assert (await caller(world, proxy, "FAMRQT")).delegation == ""


async def test_the_limits_are_the_ledgers_not_the_requests(world: World) -> None:
    """A stored actor may not have lost what is withheld from them."""
    proxy = world.person(TRUST, "proxy", role="patient")
    delegation = DelegationRequest(
        DELEGATION,
        PATIENT,
        f"user:{digest_of(proxy)}",
        TRUST,
        Basis.POWER_OF_ATTORNEY,
        (Scope.ACCESS,),
        withheld=("ADOL",),
    )
    await world.sim.submit(world.patient, "directory:Delegate", delegation)
    actor = replace(await caller(world, proxy, "FAMRQT"), withheld=())
    request = AccessRequest(PATIENT, actor, "FAMRQT", data=(TEEN,))
    assert not (await decide(world, request)).permitted


async def test_an_emergency_in_a_stored_request_ends_with_the_grant(world: World) -> None:
    await world.sim.submit(
        world.emergency, "consent:BreakGlass", BreakGlassRequest(GRANT, PATIENT, "unconscious")
    )
    actor = await caller(world, world.emergency, "BTG")
    assert actor.break_glass == GRANT
    assert (await caller(world, world.emergency, "TREAT")).break_glass == ""
    request = AccessRequest(PATIENT, actor, "BTG", data=(LAB,))
    assert (await decide(world, request)).permitted
    stolen = replace(request, actor=replace(actor, user="9" * 64))
    assert not (await decide(world, stolen)).permitted
    world.sim.advance(hours=1)
    assert not (await decide(world, request)).permitted


async def test_revocation_shows_at_once_however_often_a_consent_was_read(world: World) -> None:
    """Compiled consents are kept by their stored bytes, so a new version is a new entry."""
    everything = Directive(Effect.PERMIT)
    grant = GrantRequest(CONSENT, PATIENT, everything)
    await world.sim.submit(world.patient, "consent:Grant", grant)
    actor = await caller(world, world.clinician, "TREAT")
    request = AccessRequest(PATIENT, actor, "TREAT", data=(LAB,))
    for _ in range(3):
        assert (await decide(world, request)).permitted
    await world.sim.submit(world.patient, "consent:Revoke", RevokeRequest(CONSENT, 1))
    assert not (await decide(world, request)).permitted


async def test_a_decision_takes_two_messages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for caller, patient and policy, one for the consents: what an evaluation costs a peer."""
    asked: list[int] = []
    answer = Simulation.answer

    def count(self: Simulation, namespace: str, kind: int, payload: bytes) -> bytes:
        asked.append(kind)
        return answer(self, namespace, kind, payload)

    monkeypatch.setattr(Simulation, "answer", count)
    for who in (world.clinician, world.patient, world.person(CLINIC, "kin", person="ab" * 16)):
        asked.clear()
        question = EvaluationRequest(PATIENT, "TREAT")
        await world.sim.evaluate(who, "consent:Evaluate", question)
        assert len(asked) == 2
