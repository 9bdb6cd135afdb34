"""The consent transactions on the simulator: a patient's year, and everything that is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from chaincode import canonical
from chaincode.audit.trail import ENTRIES
from chaincode.consent import codes
from chaincode.consent.lifecycle import directive_digest
from chaincode.consent.messages import (
    AmendRequest,
    BreakGlassRequest,
    ConsentPage,
    ConsentReceipt,
    EvaluationRequest,
    Explanation,
    GrantList,
    GrantRequest,
    ReviewRequest,
    RevokeRequest,
)
from chaincode.consent.model import (
    AccessRequest,
    Actor,
    BreakGlassGrant,
    Consent,
    DataItem,
    DataReference,
    Decision,
    Directive,
    Effect,
    Meaning,
    Party,
    Period,
    ReviewOutcome,
    Rule,
    Status,
    Verdict,
)
from chaincode.directory.model import Basis, DelegationRequest, Policy, Scope
from chaincode.errors import Conflict, Denied, InvalidArgument, NotFound
from chaincode.simulator.people import Person
from chaincode.table import PageRequest
from tests.chaincode.directory.world import (
    CLINIC,
    HOSPITAL,
    PATIENT,
    PAYER,
    TRUST,
    World,
    digest_of,
    found,
)

CONSENT = "c0" * 16
GRANT = "b0" * 16
DOCUMENT = "ab" * 32
TREATMENT = Directive(
    Effect.PERMIT,
    Rule(
        actors=(Party(f"org:{CLINIC}"),),
        purposes=("TREAT",),
        exceptions=(Rule(labels=("PSY",)),),
    ),
)
LAB = DataItem(id="1a" * 16, resource_type="Observation", labels=("N",))
NOTE = DataItem(id="2b" * 16, resource_type="DocumentReference", labels=("R", "PSY"))
QUESTION = EvaluationRequest(PATIENT, "TREAT", data=(LAB,))


@pytest.fixture
async def world() -> World:
    return await found()


async def grant(
    world: World, directive: Directive = TREATMENT, who: Person | None = None, name: str = CONSENT
) -> ConsentReceipt:
    request = GrantRequest(name, PATIENT, directive)
    result = await world.sim.submit(who or world.patient, "consent:Grant", request)
    return result.value(ConsentReceipt)


async def ask(
    world: World, who: Person | None = None, question: EvaluationRequest = QUESTION
) -> Decision:
    result = await world.sim.evaluate(who or world.clinician, "consent:Evaluate", question)
    return result.value(Decision)


class TestLife:
    async def test_grant_amend_revoke(self, world: World) -> None:
        assert (await ask(world)).verdict is Verdict.NOT_APPLICABLE
        first = await grant(world)
        assert (first.version, first.status) == (1, Status.ACTIVE)
        assert first.digest == directive_digest(TREATMENT)
        decision = await ask(world)
        assert decision.verdict is Verdict.PERMIT
        assert decision.match.consent_id == CONSENT
        assert decision.match.digest == first.digest

        world.sim.advance(days=1)
        narrower = replace(TREATMENT, rule=replace(TREATMENT.rule, purposes=("COC",)))
        second = (
            await world.sim.submit(
                world.patient, "consent:Amend", AmendRequest(CONSENT, 1, narrower)
            )
        ).value(ConsentReceipt)
        assert second.version == 2
        assert (await ask(world)).verdict is Verdict.NOT_APPLICABLE

        world.sim.advance(days=1)
        third = (
            await world.sim.submit(world.patient, "consent:Revoke", RevokeRequest(CONSENT, 2))
        ).value(ConsentReceipt)
        assert (third.version, third.status) == (3, Status.INACTIVE)
        coordination = replace(QUESTION, purpose="COC")
        assert (await ask(world, question=coordination)).verdict is Verdict.NOT_APPLICABLE

    async def test_every_version_is_kept(self, world: World) -> None:
        await grant(world)
        await world.sim.submit(world.patient, "consent:Revoke", RevokeRequest(CONSENT, 1))
        history = (await world.sim.evaluate(world.patient, "consent:History", CONSENT)).value(
            ConsentPage
        )
        assert [c.version for c in history.consents] == [1, 2]
        assert history.consents[0].status is Status.ACTIVE
        old = (await world.sim.evaluate(world.patient, "consent:Get", CONSENT, 1)).value(Consent)
        assert old == history.consents[0]
        assert old.directive == TREATMENT
        with pytest.raises(NotFound, match="version of the consent"):
            await world.sim.evaluate(world.patient, "consent:Get", CONSENT, 9)

    async def test_events_and_trail_tell_without_content(self, world: World) -> None:
        await grant(world)
        world.sim.advance(seconds=1)
        await world.sim.submit(world.patient, "consent:Revoke", RevokeRequest(CONSENT, 1))
        names = [event.name for event in world.sim.events]
        assert names[-2:] == ["consent.Granted", "consent.Revoked"]
        told = canonical.parse_json(world.sim.events[-1].payload)
        assert told == {
            "capacity": "patient",
            "digest": directive_digest(TREATMENT),
            "id": CONSENT,
            "patient": PATIENT,
            "status": "inactive",
            "version": 2,
        }
        prefix = f"\x00{ENTRIES.name}\x00{PATIENT}\x00"
        kinds = [
            canonical.parse_json(value)["kind"]
            for key, value in sorted(world.sim.state.items())
            if key.startswith(prefix)
        ]
        assert kinds == ["consent-granted", "consent-revoked"]

    async def test_pages(self, world: World) -> None:
        for index in range(5):
            await grant(world, name=f"{index:032x}")
        page = PageRequest(3)
        first = (await world.sim.evaluate(world.patient, "consent:List", PATIENT, page)).value(
            ConsentPage
        )
        rest = (
            await world.sim.evaluate(
                world.patient, "consent:List", PATIENT, PageRequest(3, first.bookmark)
            )
        ).value(ConsentPage)
        assert [len(first.consents), len(rest.consents)] == [3, 2]
        assert rest.bookmark == ""

    async def test_a_change_names_its_version(self, world: World) -> None:
        await grant(world)
        with pytest.raises(Conflict, match="at version 1, the change was based on 2"):
            await world.sim.submit(world.patient, "consent:Revoke", RevokeRequest(CONSENT, 2))
        with pytest.raises(Conflict, match="nothing to amend"):
            await world.sim.submit(
                world.patient, "consent:Amend", AmendRequest(CONSENT, 1, TREATMENT)
            )
        await world.sim.submit(world.patient, "consent:Revoke", RevokeRequest(CONSENT, 1))
        with pytest.raises(Conflict, match="is inactive"):
            await world.sim.submit(world.patient, "consent:Revoke", RevokeRequest(CONSENT, 2))
        with pytest.raises(Conflict, match="exists already"):
            await grant(world)

    async def test_entered_in_error(self, world: World) -> None:
        await grant(world)
        request = RevokeRequest(CONSENT, 1, "entered-in-error")
        result = await world.sim.submit(world.patient, "consent:Revoke", request)
        assert result.value(ConsentReceipt).status is Status.ENTERED_IN_ERROR


class TestWhoWrites:
    async def test_the_custodian_on_a_document(self, world: World) -> None:
        with pytest.raises(InvalidArgument, match="must bind the patient's signed document"):
            await grant(world, who=world.officer)
        receipt = await grant(world, replace(TREATMENT, commitment=DOCUMENT), world.officer)
        kept = (await world.sim.evaluate(world.officer, "consent:Get", CONSENT)).value(Consent)
        assert kept.author.capacity.value == "custodian"
        assert receipt.version == 1
        with pytest.raises(InvalidArgument, match="commitment"):
            await world.sim.submit(world.officer, "consent:Revoke", RevokeRequest(CONSENT, 1))
        revoke = RevokeRequest(CONSENT, 1, commitment=DOCUMENT)
        await world.sim.submit(world.officer, "consent:Revoke", revoke)

    async def test_a_delegate_in_scope_and_in_time(self, world: World) -> None:
        friend = world.person(TRUST, "friend", role="patient")
        delegation = DelegationRequest(
            id="d1" * 16,
            patient=PATIENT,
            delegate=f"user:{digest_of(friend)}",
            delegate_msp_id=TRUST,
            basis=Basis.POWER_OF_ATTORNEY,
            scope=(Scope.CONSENT,),
            period=Period(None, "2026-06"),
        )
        with pytest.raises(Denied, match="delegation with scope consent"):
            await grant(world, who=friend)
        await world.sim.submit(world.patient, "directory:Delegate", delegation)
        await grant(world, who=friend)
        kept = (await world.sim.evaluate(friend, "consent:Get", CONSENT)).value(Consent)
        assert (kept.author.capacity.value, kept.author.delegation) == ("delegate", "d1" * 16)
        world.sim.advance(days=365)
        with pytest.raises(Denied):
            await world.sim.submit(friend, "consent:Revoke", RevokeRequest(CONSENT, 1))

    async def test_a_delegate_out_of_scope(self, world: World) -> None:
        friend = world.person(TRUST, "friend", role="patient")
        delegation = DelegationRequest(
            "d1" * 16,
            PATIENT,
            f"user:{digest_of(friend)}",
            TRUST,
            Basis.POWER_OF_ATTORNEY,
            (Scope.ACCESS,),
        )
        await world.sim.submit(world.patient, "directory:Delegate", delegation)
        with pytest.raises(Denied, match="scope consent"):
            await grant(world, who=friend)

    @pytest.mark.parametrize("who", ["clinician", "payer", "auditor", "admin", "outsider"])
    async def test_nobody_else(self, world: World, who: str) -> None:
        with pytest.raises(Denied, match="does not act for this patient"):
            await grant(world, who=getattr(world, who))

    async def test_a_clinician_of_the_custodian_does_not(self, world: World) -> None:
        doctor = world.person(HOSPITAL, "doctor", role="clinician")
        with pytest.raises(Denied, match=r"role=privacy-officer\|service"):
            await grant(world, who=doctor)

    async def test_another_patient(self, world: World) -> None:
        other = world.person(TRUST, "other", role="patient", patient="77" * 16)
        with pytest.raises(Denied):
            await grant(world, who=other)

    async def test_a_patient_made_by_a_payer(self, world: World) -> None:
        forged = world.person(PAYER, "forged", role="patient", patient=PATIENT)
        with pytest.raises(Denied, match="patient trust"):
            await grant(world, who=forged)

    async def test_an_unknown_patient(self, world: World) -> None:
        request = GrantRequest(CONSENT, "77" * 16, TREATMENT)
        with pytest.raises(NotFound, match="patient"):
            await world.sim.submit(world.patient, "consent:Grant", request)
        with pytest.raises(NotFound, match="consent"):
            await world.sim.submit(world.patient, "consent:Revoke", RevokeRequest("77" * 16, 1))


class TestWhoReads:
    @pytest.mark.parametrize("who", ["patient", "officer", "service", "auditor", "clinician"])
    async def test_readers(self, world: World, who: str) -> None:
        """The clinic is named by the consent, so its clinician may read it."""
        await grant(world)
        read = await world.sim.evaluate(getattr(world, who), "consent:Get", CONSENT)
        assert read.value(Consent).id == CONSENT

    @pytest.mark.parametrize("who", ["payer", "outsider"])
    async def test_others(self, world: World, who: str) -> None:
        await grant(world)
        for function, argument in (("Get", CONSENT), ("History", CONSENT), ("List", PATIENT)):
            with pytest.raises(Denied):
                await world.sim.evaluate(getattr(world, who), f"consent:{function}", argument)

    async def test_another_patient_of_the_custodian(self, world: World) -> None:
        await grant(world)
        other = world.person(HOSPITAL, "other", role="patient", patient="77" * 16)
        with pytest.raises(Denied):
            await world.sim.evaluate(other, "consent:List", PATIENT)

    async def test_being_named_opens_one_consent_not_the_list(self, world: World) -> None:
        await grant(world)
        with pytest.raises(Denied):
            await world.sim.evaluate(world.clinician, "consent:List", PATIENT)


class TestEvaluate:
    async def test_parts_are_redacted(self, world: World) -> None:
        await grant(world)
        decision = await ask(world, question=replace(QUESTION, data=(LAB, NOTE)))
        assert decision.verdict is Verdict.PERMIT
        assert [i.verdict for i in decision.items] == [Verdict.PERMIT, Verdict.DENY]
        assert decision.items[1].match.path == "base.exceptions[0]"
        redact = decision.obligations[0]
        assert (redact.code, redact.items) == ("REDACT", (1,))

    async def test_explain(self, world: World) -> None:
        await grant(world)
        question = replace(QUESTION, data=(LAB, NOTE))
        result = await world.sim.evaluate(world.clinician, "consent:Explain", question)
        explanation = result.value(Explanation)
        assert explanation.decision == await ask(world, question=question)
        assert explanation.lines[0] == f"Permitted: access for TREAT by clinician of {CLINIC}."
        assert f"Consent {CONSENT} version 1 says so in its base decision." in explanation.lines
        assert "1 of 2 items are permitted." in explanation.lines
        assert any("rule base.exceptions[0]" in line for line in explanation.lines)

    async def test_asking_for_somebody_else(self, world: World) -> None:
        await grant(world)
        doctor = Actor(CLINIC, "clinician", "9" * 64)
        question = replace(QUESTION, actor=doctor)
        assert (await ask(world, world.patient, question)).verdict is Verdict.PERMIT
        with pytest.raises(Denied):
            await ask(world, world.payer, question)

    async def test_a_claimed_emergency_or_delegation_does_not_count(self, world: World) -> None:
        actor = Actor(CLINIC, "clinician", "9" * 64, break_glass=GRANT)
        question = EvaluationRequest(PATIENT, "BTG", data=(LAB,), actor=actor)
        assert (await ask(world, world.patient, question)).verdict is Verdict.DENY
        actor = Actor(TRUST, "patient", "9" * 64, delegation="d1" * 16, acts_for=PATIENT)
        question = EvaluationRequest(PATIENT, "FAMRQT", data=(LAB,), actor=actor)
        assert (await ask(world, world.patient, question)).verdict is Verdict.NOT_APPLICABLE

    async def test_the_patients_own_right(self, world: World) -> None:
        question = EvaluationRequest(PATIENT, "PATRQT", data=(NOTE,))
        assert (await ask(world, world.patient, question)).match.path == "individual"

    async def test_an_outsider_is_not_answered(self, world: World) -> None:
        with pytest.raises(Denied, match="not a member"):
            await ask(world, world.outsider)
        unknown = replace(QUESTION, patient="77" * 16)
        with pytest.raises(NotFound):
            await ask(world, question=unknown)

    async def test_the_policy_in_force_decides(self) -> None:
        world = await found(Policy(implicit=codes.POLICY_BASIC_NORMAL))
        decision = await ask(world)
        assert decision.verdict is Verdict.PERMIT
        assert decision.match.path == f"implicit:{codes.POLICY_BASIC_NORMAL}"
        assert (await ask(world, world.payer)).verdict is Verdict.DENY
        assert decision.policy_version == 1

    async def test_expiry(self, world: World) -> None:
        until = replace(TREATMENT, rule=replace(TREATMENT.rule, period=Period(None, "2026-01")))
        await grant(world, until)
        assert (await ask(world)).permitted
        world.sim.now = world.sim.now.replace(day=31, hour=23, minute=59, second=59)
        assert (await ask(world)).permitted
        world.sim.advance(seconds=1)
        assert not (await ask(world)).permitted

    async def test_evaluation_writes_nothing(self, world: World) -> None:
        await grant(world)
        before = world.sim.state
        await ask(world)
        assert world.sim.state == before

    async def test_a_write_at_the_same_time_invalidates_a_decision(self, world: World) -> None:
        """The range over the patient's consents is in the read set (phantoms)."""
        await grant(world)
        result = await world.sim.evaluate(world.clinician, "consent:Evaluate", QUESTION)
        read = [key for keys in result.rwset.reads.values() for key in keys]
        assert any("consent~patient" in key and CONSENT in key for key in read)


class TestBreakGlass:
    REQUEST = BreakGlassRequest(GRANT, PATIENT, "unconscious")
    QUESTION = EvaluationRequest(PATIENT, "BTG", data=(NOTE,))

    async def declare(
        self, world: World, who: Person | None = None, request: BreakGlassRequest = REQUEST
    ) -> BreakGlassGrant:
        result = await world.sim.submit(who or world.emergency, "consent:BreakGlass", request)
        return result.value(BreakGlassGrant)

    async def test_opens_until_it_expires_and_only_for_who_declared(self, world: World) -> None:
        deny = Directive(Effect.DENY)
        await grant(world, deny)
        assert (await ask(world, world.emergency, self.QUESTION)).verdict is Verdict.DENY
        made = await self.declare(world)
        assert made.expires_at - made.declared_at == timedelta(minutes=60)
        decision = await ask(world, world.emergency, self.QUESTION)
        assert decision.match.path == f"break-glass:{GRANT}"
        assert "AUDIT" in [o.code for o in decision.obligations]
        assert (await ask(world, world.clinician, self.QUESTION)).verdict is Verdict.DENY
        treatment = replace(self.QUESTION, purpose="TREAT")
        assert (await ask(world, world.emergency, treatment)).verdict is Verdict.DENY
        world.sim.advance(minutes=60)
        assert (await ask(world, world.emergency, self.QUESTION)).verdict is Verdict.DENY

    async def test_a_patients_refusal_by_name_holds(self, world: World) -> None:
        await grant(world, Directive(Effect.DENY, Rule(purposes=("BTG",))))
        await self.declare(world)
        assert (await ask(world, world.emergency, self.QUESTION)).verdict is Verdict.DENY

    async def test_notifies_and_waits_for_both_privacy_officers(self, world: World) -> None:
        await self.declare(world)
        event = world.sim.events[-1]
        assert event.name == "consent.BreakGlassDeclared"
        told = canonical.parse_json(event.payload)
        assert (told["custodian"], told["reason"]) == (HOSPITAL, "unconscious")
        queues = [key for key in world.sim.state if "audit~review" in key]
        assert [HOSPITAL in q or CLINIC in q for q in queues] == [True, True]
        listed = (await world.sim.evaluate(world.patient, "consent:ListBreakGlass", PATIENT)).value(
            GrantList
        )
        assert listed.grants[0].review is None
        closed = await world.sim.submit(
            world.officer, "consent:ReviewBreakGlass", ReviewRequest(GRANT, ReviewOutcome.JUSTIFIED)
        )
        review = closed.value(BreakGlassGrant).review
        assert review is not None
        assert review.reviewer_msp_id == HOSPITAL
        assert not [key for key in world.sim.state if "audit~review" in key]
        # A justified grant runs on to its end.
        assert (await ask(world, world.emergency, self.QUESTION)).permitted

    async def test_an_unjustified_one_ends_at_once(self, world: World) -> None:
        await self.declare(world)
        request = ReviewRequest(GRANT, ReviewOutcome.UNJUSTIFIED)
        await world.sim.submit(world.officer, "consent:ReviewBreakGlass", request)
        assert not (await ask(world, world.emergency, self.QUESTION)).permitted
        with pytest.raises(Conflict, match="reviewed already"):
            await world.sim.submit(world.officer, "consent:ReviewBreakGlass", request)

    async def test_who_may_declare(self, world: World) -> None:
        with pytest.raises(Denied, match="attribute btg=true is missing"):
            await self.declare(world, world.clinician)
        stranger = world.person("StrangerMSP", "doctor", role="clinician", btg="true")
        with pytest.raises(Denied, match="not a member"):
            await self.declare(world, stranger)
        with pytest.raises(NotFound):
            await self.declare(world, request=replace(self.REQUEST, patient="77" * 16))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"reason": "Jane fell down"}, r"request\.reason"),
            ({"purpose": "TREAT"}, r"request\.purpose"),
            ({"minutes": 61}, "limit is 60"),
            ({"minutes": -1}, "limit is 60"),
            ({"commitment": "free text"}, r"request\.commitment"),
            ({"id": "1"}, r"request\.id"),
        ],
    )
    async def test_malformed(self, world: World, change: dict[str, object], message: str) -> None:
        request = replace(self.REQUEST, **change)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match=message):
            await self.declare(world, request=request)

    async def test_who_may_review(self, world: World) -> None:
        officer = world.person(CLINIC, "boss", role="privacy-officer", btg="true")
        await self.declare(world, officer)
        request = ReviewRequest(GRANT, ReviewOutcome.JUSTIFIED)
        with pytest.raises(Denied, match="their own"):
            await world.sim.submit(officer, "consent:ReviewBreakGlass", request)
        payer = world.person(PAYER, "officer", role="privacy-officer")
        with pytest.raises(Denied, match="grantee's or the custodian's"):
            await world.sim.submit(payer, "consent:ReviewBreakGlass", request)
        with pytest.raises(Denied, match="role=privacy-officer"):
            await world.sim.submit(world.clinician, "consent:ReviewBreakGlass", request)
        unknown = ReviewRequest("77" * 16, ReviewOutcome.JUSTIFIED)
        with pytest.raises(NotFound):
            await world.sim.submit(world.officer, "consent:ReviewBreakGlass", unknown)


def _rule(**attributes: object) -> Directive:
    return Directive(Effect.PERMIT, Rule(**attributes))  # type: ignore[arg-type]


MALFORMED = [
    (Directive(None), r"directive\.decision"),
    (replace(TREATMENT, scope="everything"), r"directive\.scope"),
    (replace(TREATMENT, commitment="x"), r"directive\.commitment"),
    (replace(TREATMENT, obligations=("BEHAVE",)), r"directive\.obligations"),
    (_rule(actors=(Party("Organization/clinic"),)), r"actors\[0\]\.reference"),
    (_rule(actors=(Party("user:jane"),)), r"actors\[0\]\.reference"),
    (_rule(actors=(Party(f"org:{CLINIC}", "FRIEND"),)), r"actors\[0\]\.role"),
    (_rule(actions=("read",)), r"rule\.actions"),
    (_rule(purposes=("ANYTHING",)), r"rule\.purposes"),
    (_rule(labels=("SECRET",)), r"rule\.labels"),
    (_rule(resource_types=("observation",)), r"rule\.resourceTypes\[0\]"),
    (_rule(document_types=("11488-4",)), r"rule\.documentTypes\[0\]"),
    (_rule(codes=("4548-4",)), r"rule\.codes\[0\].*ambiguous"),
    (_rule(period=Period("yesterday")), r"base\.period"),
    (_rule(period=Period("2026-13")), r"base\.period"),
    (_rule(period=Period("2027", "2026")), "ends before it starts"),
    (_rule(data_period=Period("2026-02-30")), r"base\.dataPeriod"),
    (_rule(data=(DataReference("Observation/1"),)), r"data\[0\]\.reference"),
    (_rule(data=(DataReference("1a" * 16, Meaning.AUTHORED_BY),)), r"data\[0\]\.reference"),
    (_rule(exceptions=(Rule(),)), r"exceptions\[0\].*whole parent"),
    (_rule(classes=("has space",)), r"rule\.classes"),
    (_rule(codes=("urn:ssn|123-45-6789",)), "social security"),
]


@pytest.mark.parametrize(("directive", "message"), MALFORMED)
async def test_a_directive_without_one_meaning_is_refused(
    world: World, directive: Directive, message: str
) -> None:
    before = world.sim.state
    with pytest.raises(InvalidArgument, match=message):
        await grant(world, directive)
    assert world.sim.state == before


async def test_depth_is_bounded(world: World) -> None:
    rule = Rule(purposes=("TREAT",))
    for _ in range(17):
        rule = Rule(purposes=("TREAT",), exceptions=(rule,))
    with pytest.raises(InvalidArgument, match="deeper than 16"):
        await grant(world, Directive(Effect.PERMIT, rule))


async def test_a_fhir_resource_is_refused_as_an_argument(world: World) -> None:
    raw = b'{"resourceType":"Consent","status":"active","patient":{"reference":"Patient/1"}}'
    with pytest.raises(InvalidArgument, match="request"):
        await world.sim.submit(world.patient, "consent:Grant", raw)


def test_access_request_survives_the_wire() -> None:
    """Unknown and empty stay apart: None is left out, () is an empty list."""
    request = AccessRequest(PATIENT, Actor(CLINIC), "TREAT", data=(DataItem(labels=()), DataItem()))
    back = canonical.decode(AccessRequest, canonical.encode(request))
    assert back == request
    assert (back.data[0].labels, back.data[1].labels) == ((), None)
