"""A founded consortium on the simulator, with the people that tests need."""

from __future__ import annotations

from dataclasses import dataclass

from chaincode.consent.contract import ConsentContract
from chaincode.directory.contract import DirectoryContract
from chaincode.directory.model import (
    Organization,
    OrganizationRole,
    Patient,
    PatientRegistration,
    Policy,
)
from chaincode.directory.rules import user_digest
from chaincode.identity import read_client_identity
from chaincode.simulator import Simulator
from chaincode.simulator.people import Person

HOSPITAL, CLINIC = "GeneralHospitalMSP", "CityClinicMSP"
PAYER, TRUST, REGULATOR = "UnitedPayerMSP", "PatientTrustMSP", "WatchMSP"
PATIENT = "5f" * 16
ORGANIZATIONS = (
    Organization(HOSPITAL, "GeneralHospital", OrganizationRole.PROVIDER, "hospital.example"),
    Organization(CLINIC, "CityClinic", OrganizationRole.PROVIDER, "clinic.example"),
    Organization(PAYER, "UnitedPayer", OrganizationRole.PAYER, "payer.example"),
    Organization(TRUST, "PatientTrust", OrganizationRole.PATIENT_TRUST, "trust.example"),
    Organization(REGULATOR, "Watch", OrganizationRole.REGULATOR, "watch.example", endorses=False),
)


def digest_of(who: Person) -> str:
    """The name under which the ledger knows a person."""
    return user_digest(who.msp_id, read_client_identity(who.creator).id)


@dataclass
class World:
    """The simulator and its people. `patient` is registered at the hospital."""

    sim: Simulator

    def person(self, msp_id: str, name: str, ou: str = "client", **attributes: str) -> Person:
        named = {key.replace("_", "-"): value for key, value in attributes.items()}
        return self.sim.identity(msp_id, name, ou=ou, attributes=named)

    @property
    def admin(self) -> Person:
        return self.person(HOSPITAL, "admin", ou="admin")

    @property
    def service(self) -> Person:
        return self.person(HOSPITAL, "service", role="service")

    @property
    def officer(self) -> Person:
        return self.person(HOSPITAL, "officer", role="privacy-officer")

    @property
    def patient(self) -> Person:
        return self.person(TRUST, "patient1", role="patient", patient=PATIENT)

    @property
    def clinician(self) -> Person:
        return self.person(CLINIC, "doctor", role="clinician")

    @property
    def emergency(self) -> Person:
        return self.person(CLINIC, "emergency", role="clinician", btg="true")

    @property
    def payer(self) -> Person:
        return self.person(PAYER, "officer", role="claims")

    @property
    def auditor(self) -> Person:
        return self.person(REGULATOR, "auditor", role="auditor")

    @property
    def outsider(self) -> Person:
        return self.person("StrangerMSP", "stranger", role="clinician")

    async def register(self, handle: str = PATIENT, *, majority_year: int | None = None) -> Patient:
        registration = PatientRegistration(handle, majority_year=majority_year)
        result = await self.sim.submit(self.service, "directory:RegisterPatient", registration)
        return result.value(Patient)


async def found(policy: Policy | None = None) -> World:
    """A founded consortium with one patient."""
    world = World(Simulator(ConsentContract, DirectoryContract))
    organizations = list(ORGANIZATIONS)
    if policy is None:
        await world.sim.submit(world.admin, "directory:Bootstrap", organizations)
    else:
        await world.sim.submit(world.admin, "directory:Bootstrap", organizations, policy)
    await world.register()
    return world
