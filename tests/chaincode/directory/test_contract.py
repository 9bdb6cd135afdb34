"""The directory's transactions on the simulator, refusals included."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2

from chaincode.consent.model import Combining, Period
from chaincode.directory.model import (
    Basis,
    Delegation,
    DelegationList,
    DelegationRequest,
    EncryptionKey,
    KeyPage,
    KeyPublication,
    Organization,
    OrganizationList,
    OrganizationRole,
    Patient,
    PatientPage,
    PatientRegistration,
    Policy,
    Scope,
)
from chaincode.errors import Conflict, Denied, InvalidArgument, NotFound
from chaincode.simulator import Simulator
from chaincode.simulator.people import Person
from tests.chaincode.directory.world import (
    CLINIC,
    HOSPITAL,
    ORGANIZATIONS,
    PATIENT,
    PAYER,
    TRUST,
    World,
    digest_of,
    found,
)

DELEGATION = "d1" * 16
DOCUMENT = "ab" * 32


@pytest.fixture
async def world() -> World:
    return await found()


def delegation_to(
    who: Person, basis: Basis = Basis.POWER_OF_ATTORNEY, **changes: object
) -> DelegationRequest:
    request = DelegationRequest(
        id=DELEGATION,
        patient=PATIENT,
        delegate=f"user:{digest_of(who)}",
        delegate_msp_id=who.msp_id,
        basis=basis,
        scope=(Scope.CONSENT, Scope.ACCESS),
        period=Period("2026-01-01", "2027"),
    )
    return replace(request, **changes)  # type: ignore[arg-type]


def publication(subject: str = "org", *, curve: ec.EllipticCurve | None = None) -> KeyPublication:
    key = ec.generate_private_key(curve or ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "encryption")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return KeyPublication(spki, pem, subject)


class TestOrganizations:
    async def test_founding_lists_everyone_once_and_under_a_majority(self, world: World) -> None:
        listed = (await world.sim.evaluate(world.payer, "directory:ListOrganizations")).value(
            OrganizationList
        )
        assert [o.msp_id for o in listed.organizations] == sorted(o.msp_id for o in ORGANIZATIONS)
        assert all(o.version == 1 for o in listed.organizations)

    async def test_only_an_admin_founds(self) -> None:
        from chaincode.directory.contract import DirectoryContract

        world = World(Simulator(DirectoryContract))
        with pytest.raises(Denied, match="organisational unit admin is missing"):
            await world.sim.submit(world.service, "directory:Bootstrap", list(ORGANIZATIONS))

    async def test_a_founder_founds_with_their_own(self) -> None:
        from chaincode.directory.contract import DirectoryContract

        world = World(Simulator(DirectoryContract))
        others = [o for o in ORGANIZATIONS if o.msp_id != HOSPITAL]
        with pytest.raises(Denied, match="must be among"):
            await world.sim.submit(world.admin, "directory:Bootstrap", others)

    async def test_nobody_founds_twice(self, world: World) -> None:
        with pytest.raises(Conflict, match="founded already"):
            await world.sim.submit(world.admin, "directory:Bootstrap", list(ORGANIZATIONS))

    async def test_a_change_needs_the_version_it_is_based_on(self, world: World) -> None:
        changed = replace(ORGANIZATIONS[2], name="United", version=1)
        result = await world.sim.submit(world.admin, "directory:SetOrganization", changed)
        assert result.value(Organization).version == 2
        with pytest.raises(Conflict, match="at version 2"):
            await world.sim.submit(world.admin, "directory:SetOrganization", changed)

    async def test_the_majority_counts_those_with_peers_and_follows_changes(
        self, world: World
    ) -> None:
        newcomer = Organization("NewMSP", "New", OrganizationRole.PROVIDER)
        result = await world.sim.submit(world.admin, "directory:SetOrganization", newcomer)
        governed = result.rwset.metadata_writes[("health", "")]
        # Five founders and a newcomer, the consortium's own key and the policy's.
        assert len(governed) == 5 + 1 + 2
        for entries in governed.values():
            envelope = policies_pb2.SignaturePolicyEnvelope.FromString(
                entries["VALIDATION_PARAMETER"]
            )
            # The regulator has no peers: five endorse, three are a majority.
            assert envelope.rule.n_out_of.n == 3
            principals = [
                msp_principal_pb2.MSPRole.FromString(i.principal) for i in envelope.identities
            ]
            assert [p.msp_identifier for p in principals] == sorted(
                [HOSPITAL, CLINIC, PAYER, TRUST, "NewMSP"]
            )
            assert {p.role for p in principals} == {msp_principal_pb2.MSPRole.PEER}

    async def test_a_left_organisation_is_no_member(self, world: World) -> None:
        left = replace(ORGANIZATIONS[1], active=False, version=1)
        await world.sim.submit(world.admin, "directory:SetOrganization", left)
        with pytest.raises(Denied, match="not a member"):
            await world.sim.evaluate(world.clinician, "directory:GetPatient", PATIENT)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"msp_id": "no space"}, "mspId"),
            ({"name": ""}, "name"),
            ({"domain": "UPPER"}, "domain"),
        ],
    )
    async def test_malformed(self, world: World, change: dict[str, str], message: str) -> None:
        organization = replace(
            Organization("NewMSP", "New", OrganizationRole.PAYER),
            **change,  # type: ignore[arg-type]
        )
        with pytest.raises(InvalidArgument, match=message):
            await world.sim.submit(world.admin, "directory:SetOrganization", organization)

    async def test_an_unknown_role_is_refused(self, world: World) -> None:
        raw = b'{"mspId":"NewMSP","name":"New","role":"bank"}'
        with pytest.raises(InvalidArgument, match=r"organization\.role"):
            await world.sim.submit(world.admin, "directory:SetOrganization", raw)


class TestPolicy:
    async def test_versions_are_kept(self, world: World) -> None:
        policy = Policy(version=1, combining=Combining.PERMIT_OVERRIDES, tables={"ncci": DOCUMENT})
        changed = (await world.sim.submit(world.admin, "directory:SetPolicy", policy)).value(Policy)
        assert (changed.version, changed.combining) == (2, Combining.PERMIT_OVERRIDES)
        now = (await world.sim.evaluate(world.payer, "directory:GetPolicy")).value(Policy)
        assert now == changed
        first = (await world.sim.evaluate(world.payer, "directory:GetPolicy", 1)).value(Policy)
        assert first == Policy(version=1)
        with pytest.raises(NotFound):
            await world.sim.evaluate(world.payer, "directory:GetPolicy", 7)

    @pytest.mark.parametrize(
        ("policy", "message"),
        [
            (Policy(version=1, implicit="http://example.org/any"), "implicit"),
            (Policy(version=1, break_glass_minutes=0), "breakGlassMinutes"),
            (Policy(version=1, filing_days={PAYER: 0}), "filingDays"),
            (Policy(version=1, tables={"ncci": "short"}), "tables"),
            (Policy(version=1, parameters={"contact": "jane@example.org"}), "parameters"),
        ],
    )
    async def test_malformed(self, world: World, policy: Policy, message: str) -> None:
        with pytest.raises(InvalidArgument, match=message):
            await world.sim.submit(world.admin, "directory:SetPolicy", policy)

    async def test_stale_and_unprivileged(self, world: World) -> None:
        with pytest.raises(Conflict, match="at version 1"):
            await world.sim.submit(world.admin, "directory:SetPolicy", Policy(version=0))
        with pytest.raises(Denied, match="organisational unit admin"):
            await world.sim.submit(world.payer, "directory:SetPolicy", Policy(version=1))

    def test_filing_limit(self) -> None:
        policy = Policy(default_filing_days=365, filing_days={PAYER: 90})
        assert (policy.filing_limit(PAYER), policy.filing_limit("OtherMSP")) == (90, 365)


class TestPatients:
    async def test_registration(self, world: World) -> None:
        found_patient = (
            await world.sim.evaluate(world.payer, "directory:GetPatient", PATIENT)
        ).value(Patient)
        assert (found_patient.handle, found_patient.custodian) == (PATIENT, HOSPITAL)
        page = (await world.sim.evaluate(world.service, "directory:ListPatients")).value(
            PatientPage
        )
        assert page.patients == (PATIENT,)
        other = (await world.sim.evaluate(world.payer, "directory:ListPatients")).value(PatientPage)
        assert other.patients == ()

    async def test_twice(self, world: World) -> None:
        with pytest.raises(Conflict):
            await world.register()

    @pytest.mark.parametrize(
        "registration",
        [
            PatientRegistration("MRN-12345"),
            PatientRegistration("5F" * 16),
            PatientRegistration("6f" * 16, commitment="x"),
            PatientRegistration("6f" * 16, majority_year=1999),
        ],
    )
    async def test_malformed(self, world: World, registration: PatientRegistration) -> None:
        with pytest.raises(InvalidArgument):
            await world.sim.submit(world.service, "directory:RegisterPatient", registration)

    async def test_a_name_field_is_refused(self, world: World) -> None:
        raw = b'{"handle":"6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f","name":"x"}'
        with pytest.raises(InvalidArgument):
            await world.sim.submit(world.service, "directory:RegisterPatient", raw)

    async def test_who_may_not(self, world: World) -> None:
        registration = PatientRegistration("6f" * 16)
        regulator = world.person("WatchMSP", "clerk", role="service")
        with pytest.raises(Denied, match="keeps no patients"):
            await world.sim.submit(regulator, "directory:RegisterPatient", registration)
        with pytest.raises(Denied, match="not a member"):
            await world.sim.submit(world.outsider, "directory:RegisterPatient", registration)
        with pytest.raises(Denied, match="attribute role="):
            await world.sim.submit(world.patient, "directory:RegisterPatient", registration)
        with pytest.raises(NotFound):
            await world.sim.evaluate(world.payer, "directory:GetPatient", "77" * 16)


class TestDelegations:
    async def test_a_patient_empowers_somebody_and_takes_it_back(self, world: World) -> None:
        friend = world.person(TRUST, "friend", role="patient")
        made = await world.sim.submit(
            world.patient, "directory:Delegate", delegation_to(friend, withheld=("SEX",))
        )
        assert made.value(Delegation).withheld == ("SEX",)
        listed = (
            await world.sim.evaluate(world.patient, "directory:ListDelegations", PATIENT)
        ).value(DelegationList)
        assert [d.id for d in listed.delegations] == [DELEGATION]
        revoked = await world.sim.submit(
            world.patient, "directory:RevokeDelegation", PATIENT, DELEGATION
        )
        assert revoked.value(Delegation).revoked_at == world.sim.now
        with pytest.raises(Conflict, match="revoked already"):
            await world.sim.submit(world.patient, "directory:RevokeDelegation", PATIENT, DELEGATION)

    async def test_the_delegate_may_resign(self, world: World) -> None:
        friend = world.person(TRUST, "friend", role="patient")
        await world.sim.submit(world.patient, "directory:Delegate", delegation_to(friend))
        resigned = await world.sim.submit(friend, "directory:RevokeDelegation", PATIENT, DELEGATION)
        assert resigned.value(Delegation).revoked_by == digest_of(friend)

    async def test_a_parent_is_entered_by_the_custodian_until_majority(self, world: World) -> None:
        child = "c1" * 16
        await world.register(child, majority_year=2030)
        parent = world.person(TRUST, "parent", role="patient")
        request = delegation_to(parent, Basis.PARENT, patient=child, commitment=DOCUMENT)
        late = replace(request, period=Period("2026", "2031"))
        with pytest.raises(InvalidArgument, match="after the year"):
            await world.sim.submit(world.officer, "directory:Delegate", late)
        endless = replace(request, period=Period("2026"))
        with pytest.raises(InvalidArgument, match="ends at majority"):
            await world.sim.submit(world.officer, "directory:Delegate", endless)
        undocumented = replace(request, commitment="")
        with pytest.raises(InvalidArgument, match="must bind the document"):
            await world.sim.submit(world.officer, "directory:Delegate", undocumented)
        made = await world.sim.submit(world.officer, "directory:Delegate", request)
        assert made.value(Delegation).basis is Basis.PARENT

    async def test_an_adult_has_no_parent_here(self, world: World) -> None:
        parent = world.person(TRUST, "parent", role="patient")
        request = delegation_to(parent, Basis.PARENT, commitment=DOCUMENT)
        with pytest.raises(Conflict, match="not registered as a minor"):
            await world.sim.submit(world.officer, "directory:Delegate", request)

    async def test_a_patient_enters_no_court_order(self, world: World) -> None:
        friend = world.person(TRUST, "friend", role="patient")
        with pytest.raises(Denied, match="entered by the custodian"):
            await world.sim.submit(
                world.patient, "directory:Delegate", delegation_to(friend, Basis.COURT)
            )

    async def test_a_delegate_passes_on_no_more_than_they_hold(self, world: World) -> None:
        friend = world.person(TRUST, "friend", role="patient")
        third = world.person(TRUST, "third", role="patient")
        scope = (Scope.ACCESS, Scope.DELEGATE)
        held = delegation_to(friend, scope=scope, purposes=("FAMRQT",), withheld=("ADOL",))
        await world.sim.submit(world.patient, "directory:Delegate", held)
        onward = delegation_to(third, id="d2" * 16)
        with pytest.raises(Denied, match="no more than they hold"):
            await world.sim.submit(friend, "directory:Delegate", onward)
        onward = replace(onward, scope=(Scope.ACCESS,))
        made = await world.sim.submit(friend, "directory:Delegate", onward)
        assert made.value(Delegation).purposes == ("FAMRQT",)
        assert made.value(Delegation).withheld == ("ADOL",)
        longer = replace(onward, id="d3" * 16, period=Period("2026", "2029"))
        with pytest.raises(InvalidArgument, match="longer than"):
            await world.sim.submit(friend, "directory:Delegate", longer)

    async def test_what_was_passed_on_ends_with_what_it_came_from(self, world: World) -> None:
        friend = world.person(TRUST, "friend", role="patient")
        third = world.person(TRUST, "third", role="patient")
        fourth = world.person(TRUST, "fourth", role="patient")
        held = delegation_to(friend, scope=(Scope.CONSENT, Scope.DELEGATE))
        await world.sim.submit(world.patient, "directory:Delegate", held)
        onward = delegation_to(third, id="d2" * 16, scope=(Scope.DELEGATE,))
        await world.sim.submit(friend, "directory:Delegate", onward)
        last = delegation_to(fourth, id="d3" * 16, scope=(Scope.DELEGATE,))
        made = await world.sim.submit(third, "directory:Delegate", last)
        assert made.value(Delegation).passed_on_from == onward.id
        await world.sim.submit(world.patient, "directory:RevokeDelegation", PATIENT, held.id)
        again = delegation_to(friend, id="d4" * 16, scope=(Scope.DELEGATE,))
        for who in (friend, third, fourth):
            with pytest.raises(Denied, match="does not act for this patient"):
                await world.sim.submit(who, "directory:Delegate", again)

    async def test_of_several_delegations_one_in_force_is_enough(self, world: World) -> None:
        friend = world.person(TRUST, "friend", role="patient")
        for number in range(3):
            request = delegation_to(friend, id=f"d{number}" * 16, scope=(Scope.DELEGATE,))
            await world.sim.submit(world.patient, "directory:Delegate", request)
        for number in range(2):
            await world.sim.submit(friend, "directory:RevokeDelegation", PATIENT, f"d{number}" * 16)
        onward = delegation_to(friend, id="d9" * 16, scope=(Scope.DELEGATE,))
        made = await world.sim.submit(friend, "directory:Delegate", onward)
        assert made.value(Delegation).passed_on_from == "d2" * 16

    async def test_strangers(self, world: World) -> None:
        friend = world.person(TRUST, "friend", role="patient")
        for who in (world.clinician, world.payer, friend):
            with pytest.raises(Denied, match="does not act for this patient"):
                await world.sim.submit(who, "directory:Delegate", delegation_to(friend))
        unknown = delegation_to(friend, patient="77" * 16)
        with pytest.raises(NotFound, match="patient"):
            await world.sim.submit(world.patient, "directory:Delegate", unknown)
        with pytest.raises(Denied):
            await world.sim.evaluate(world.payer, "directory:ListDelegations", PATIENT)

    async def test_another_organisation_cannot_make_the_patient(self, world: World) -> None:
        """Only the custodian's or a patient trust's word makes somebody a patient."""
        forged = world.person(PAYER, "forged", role="patient", patient=PATIENT)
        friend = world.person(PAYER, "friend", role="patient")
        with pytest.raises(Denied, match="patient trust"):
            await world.sim.submit(forged, "directory:Delegate", delegation_to(friend))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"id": "x"}, "id"),
            ({"delegate": "user:jane"}, "delegate"),
            ({"delegate_msp_id": "StrangerMSP"}, "delegateMspId"),
            ({"scope": ()}, "scope"),
            ({"withheld": ("EVERYTHING",)}, "withheld"),
            ({"commitment": "x"}, "commitment"),
            ({"period": Period("2026-13")}, "period"),
            ({"period": Period("2020", "2021")}, "over already"),
        ],
    )
    async def test_malformed(self, world: World, change: dict[str, object], message: str) -> None:
        friend = world.person(TRUST, "friend", role="patient")
        with pytest.raises(InvalidArgument, match=message):
            await world.sim.submit(
                world.patient,
                "directory:Delegate",
                replace(delegation_to(friend), **change),  # type: ignore[arg-type]
            )


class TestKeys:
    async def test_rotation_retires_and_keeps(self, world: World) -> None:
        service = world.person(CLINIC, "service", role="service")
        first, second = publication(), publication()
        one = (await world.sim.submit(service, "directory:PublishKey", first)).value(EncryptionKey)
        world.sim.advance(days=1)
        two = (await world.sim.submit(service, "directory:PublishKey", second)).value(EncryptionKey)
        assert (one.version, two.version) == (1, 2)
        newest = (await world.sim.evaluate(world.payer, "directory:GetKey", CLINIC)).value(
            EncryptionKey
        )
        assert newest.id == two.id
        old = (await world.sim.evaluate(world.payer, "directory:GetKey", CLINIC, one.id)).value(
            EncryptionKey
        )
        assert old.retired_at == world.sim.now
        page = (await world.sim.evaluate(world.payer, "directory:ListKeys", CLINIC)).value(KeyPage)
        assert [k.version for k in page.keys] == [1, 2]
        with pytest.raises(Conflict, match="published already"):
            await world.sim.submit(service, "directory:PublishKey", first)

    async def test_a_persons_key(self, world: World) -> None:
        made = await world.sim.submit(world.clinician, "directory:PublishKey", publication("user"))
        subject = f"user:{digest_of(world.clinician)}"
        assert made.value(EncryptionKey).subject == subject
        found_key = await world.sim.evaluate(world.payer, "directory:GetKey", CLINIC, subject)
        assert found_key.value(EncryptionKey).id == made.value(EncryptionKey).id

    async def test_refusals(self, world: World) -> None:
        service = world.person(CLINIC, "service", role="service")
        with pytest.raises(Denied, match="role=service"):
            await world.sim.submit(world.clinician, "directory:PublishKey", publication())
        with pytest.raises(Denied, match="not a member"):
            await world.sim.submit(world.outsider, "directory:PublishKey", publication("user"))
        wrong = publication(curve=ec.SECP384R1())
        with pytest.raises(InvalidArgument, match="P-256"):
            await world.sim.submit(service, "directory:PublishKey", wrong)
        mixed = replace(publication(), public_key=publication().public_key)
        with pytest.raises(InvalidArgument, match="certifies another key"):
            await world.sim.submit(service, "directory:PublishKey", mixed)
        with pytest.raises(InvalidArgument, match="SubjectPublicKeyInfo"):
            await world.sim.submit(
                service, "directory:PublishKey", replace(publication(), public_key=b"x")
            )
        with pytest.raises(InvalidArgument, match="subject"):
            await world.sim.submit(service, "directory:PublishKey", publication("else"))
        world.sim.now = datetime(2028, 1, 1, tzinfo=UTC)
        with pytest.raises(InvalidArgument, match="not valid"):
            await world.sim.submit(service, "directory:PublishKey", publication())
        with pytest.raises(NotFound):
            await world.sim.evaluate(world.payer, "directory:GetKey", PAYER)

    async def test_the_signing_key_is_not_used_to_encrypt(self, world: World) -> None:
        own = world.person(CLINIC, "service", role="service")
        spki = own.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        pem = own.certificate_pem.decode()
        with pytest.raises(InvalidArgument, match="signing key"):
            await world.sim.submit(own, "directory:PublishKey", KeyPublication(spki, pem))


async def test_no_name_reaches_the_state(world: World) -> None:
    """Keys and values hold handles; a certificate's subject is the one public exception."""
    for key, value in world.sim.state.items():
        assert "patient1" not in key
        assert b"patient1" not in value


async def test_who_am_i(world: World) -> None:
    answer = (await world.sim.evaluate(world.patient, "directory:WhoAmI")).json()
    assert answer["user"] == digest_of(world.patient)
    assert answer["patient"] == PATIENT
    assert timedelta(0) <= world.sim.now - datetime(2026, 1, 2, tzinfo=UTC)
