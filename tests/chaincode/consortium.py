"""A founded consortium on the simulator: four organisations, people, one patient, policy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chaincode.audit.contract import AuditContract
from chaincode.claims.contract import ClaimsContract
from chaincode.consent.contract import ConsentContract
from chaincode.directory.contract import DirectoryContract
from chaincode.records.contract import RecordsContract
from chaincode.simulator import Collection, Person, Simulator

HOSPITAL, CLINIC = "GeneralHospitalMSP", "CityClinicMSP"
PAYER, OTHER_PAYER, TRUST = "UnitedPayerMSP", "OtherPayerMSP", "PatientTrustMSP"
SHARED = "claims-GeneralHospital-UnitedPayer"
FINGERPRINT_KEY = bytes(range(32))


def handle(name: str) -> str:
    """A handle that looks random; the same name gives the same one."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def digest(name: str) -> str:
    """A digest as hex; the same name gives the same one."""
    return hashlib.sha256(f"digest {name}".encode()).hexdigest()


PATIENT = handle("patient")


@dataclass(frozen=True)
class Consortium:
    """The simulator and its people."""

    sim: Simulator
    clinician: Person
    records_service: Person
    billing: Person
    clinic_clinician: Person
    clinic_billing: Person
    adjudicator: Person
    other_adjudicator: Person
    privacy_officer: Person
    patient: Person
    auditor: Person

    async def submit(self, who: Person, function: str, *args: Any, **rest: Any) -> Any:
        """The JSON result of a submitted transaction."""
        result = await self.sim.submit(who, function, *args, **rest)
        return result.json() if result.payload else None

    async def evaluate(self, who: Person, function: str, *args: Any, **rest: Any) -> Any:
        """The JSON result of a query."""
        result = await self.sim.evaluate(who, function, *args, **rest)
        return result.json() if result.payload else None

    async def grant(self, name: str, rule: dict[str, Any], **directive: Any) -> str:
        """The patient permits what the rule says; answers the consent's id."""
        request = {
            "id": handle(name),
            "patient": PATIENT,
            "directive": {"decision": "permit", "rule": rule, **directive},
        }
        await self.submit(self.patient, "consent:Grant", request)
        self.sim.advance(seconds=1)
        return handle(name)

    async def revoke(self, name: str) -> None:
        """The patient revokes the consent of that name."""
        await self.submit(self.patient, "consent:Revoke", {"id": handle(name), "basedOn": 1})
        self.sim.advance(seconds=1)


async def found(now: datetime | None = None, **policy: Any) -> Consortium:
    """Found the consortium and register its patient, with no consent yet."""
    # Access rules of a collection are the peer's: here only the two of the shared room have any.
    members = frozenset({HOSPITAL, PAYER})
    sim = Simulator(
        DirectoryContract(),
        ConsentContract(),
        RecordsContract(),
        ClaimsContract(),
        AuditContract(),
        collections={
            SHARED: Collection(members, member_only_read=True, member_only_write=True),
            "claims-GeneralHospital-OtherPayer": Collection(frozenset({HOSPITAL, OTHER_PAYER})),
            "claims-UnitedPayer-OtherPayer": Collection(frozenset({PAYER, OTHER_PAYER})),
            "claims-CityClinic-UnitedPayer": Collection(frozenset({CLINIC, PAYER})),
        },
    )
    if now is not None:
        sim.now = now

    def person(msp_id: str, name: str, role: str, **attributes: str) -> Person:
        return sim.identity(msp_id, name, attributes={"role": role, **attributes})

    admin = sim.identity(HOSPITAL, "admin", ou="admin")
    organizations = [
        {"mspId": HOSPITAL, "name": "GeneralHospital", "role": "provider"},
        {"mspId": CLINIC, "name": "CityClinic", "role": "provider"},
        {"mspId": PAYER, "name": "UnitedPayer", "role": "payer"},
        {"mspId": OTHER_PAYER, "name": "OtherPayer", "role": "payer"},
        {"mspId": TRUST, "name": "PatientTrust", "role": "patient-trust"},
    ]
    await sim.submit(admin, "directory:Bootstrap", organizations, policy)
    service = person(HOSPITAL, "records", "service")
    await sim.submit(service, "directory:RegisterPatient", {"handle": PATIENT})
    sim.advance(seconds=1)
    return Consortium(
        sim=sim,
        clinician=person(HOSPITAL, "clinician", "clinician"),
        records_service=service,
        billing=person(HOSPITAL, "billing", "claims"),
        clinic_clinician=person(CLINIC, "clinician", "clinician"),
        clinic_billing=person(CLINIC, "billing", "claims"),
        adjudicator=person(PAYER, "adjudicator", "adjudicator"),
        other_adjudicator=person(OTHER_PAYER, "adjudicator", "adjudicator"),
        privacy_officer=person(HOSPITAL, "officer", "privacy-officer"),
        patient=person(TRUST, "patient", "patient", patient=PATIENT),
        auditor=person(TRUST, "auditor", "auditor"),
    )


def anchor(name: str = "record", **changed: Any) -> dict[str, Any]:
    """A record's anchor in its wire form."""
    return {
        "record": handle(name),
        "patient": PATIENT,
        "commitment": digest(f"{name} commitment"),
        "size": 4096,
        "locator": digest(f"{name} locator"),
        "resourceTypes": ["Observation"],
        "labels": ["N"],
        **changed,
    }
