"""A patient who consents, a record of theirs, and what an exchange is asked in somebody's name."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from admin.procedures.networks.health import Health
from network.client import Gateway
from network.client.profile import Profile, Surroundings, load_surroundings
from tests.admin.command import medfabric
from tests.journeys.care import Answer, Care

LEE, KIM = "GeneralHospital/dr.lee", "CityClinic/dr.kim"
BUNDLE = "amelia-hart.bundle.json"


@dataclass(frozen=True)
class CareInside(Care):
    """Commands run in this process: many of them, without starting Python for each.

    Not for asynchronous tests: a command has an event loop of its own.
    """

    def run(self, *arguments: str, code: int | None = 0, stdin: str = "") -> Answer:
        with contextlib.chdir(self.folder):
            ran = medfabric(*arguments, stdin=stdin or None)
        answer = Answer(ran.code, ran.out.strip(), ran.err.strip())
        assert code is None or answer.code == code, (arguments, answer)
        return answer


@dataclass(frozen=True)
class Patient:
    """A patient of the trust who consents to the clinic's treatment."""

    care: Care
    handle: str
    name: str
    consent: str

    def seal(self, file: str, *more: str, anchor: bool = True) -> str:
        """A record of the hospital's, anchored unless told otherwise."""
        record = self.care.run(
            "record", "seal", file, "--patient", self.handle, "--label", "N", *more, "--as", LEE
        ).out
        if anchor:
            self.care.run("record", "anchor", record, "--as", LEE)
        return record

    def request(self, record: str, *more: str) -> str:
        """A permitted access of the clinic's."""
        return self.care.run(
            "record", "request", record, *more, "--purpose", "TREAT", "--as", KIM
        ).out

    def open(self, access: str, target: str, code: int = 0) -> str:
        """Open an access at the clinic; returns what was said on standard error."""
        return self.care.run("record", "open", access, "-o", target, "--as", KIM, code=code).err


def consenting_patient(people: Care, name: str) -> Patient:
    handle = people.run("patient", "register", "--as", "PatientTrust/registrar").out
    people.enroll(f"PatientTrust/{name}", role="patient", patient=handle)
    receipt = people.result(
        "consent", "grant", "amelia-hart.consent.json",
        "--patient", handle, "--as", f"PatientTrust/{name}",
    )  # fmt: skip
    return Patient(people, handle, f"PatientTrust/{name}", str(receipt["id"]))


@dataclass(frozen=True)
class Acting:
    """Somebody with an open gateway."""

    surroundings: Surroundings
    profile: Profile
    health: Health


@asynccontextmanager
async def acting(folder: Path, identity: str, file: str = "network.yaml") -> AsyncIterator[Acting]:
    surroundings = load_surroundings(folder / file)
    profile = surroundings.profile(identity)
    async with Gateway.connect(endpoint=profile.endpoint, signer=profile.signer) as gateway:
        yield Acting(surroundings, profile, Health(gateway, "care"))
