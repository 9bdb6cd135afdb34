"""Synthetic consents: a ten-rule directive, and populations of any size, always the same.

A population's rows are those that the contracts themselves write: `directory:RegisterPatient` and
`consent:Grant` run once on the simulator, and each patient gets their writes under other handles.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from chaincode.consent.contract import ConsentContract
from chaincode.consent.lifecycle import directive_digest
from chaincode.consent.model import (
    Author,
    Capacity,
    Consent,
    DataReference,
    Directive,
    Effect,
    GrantRequest,
    Party,
    Period,
    Rule,
    Status,
)
from chaincode.directory.contract import DirectoryContract
from chaincode.directory.model import Organization, OrganizationRole, PatientRegistration
from chaincode.simulator import Simulator

GRANTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PATIENT, CONSENT = "a1" * 16, "b2" * 16
_TX_IDS = re.compile(rb'"txId":"[0-9a-f]{64}"|\x00[0-9a-f]{64}\x00')

TEN_RULES = Directive(
    Effect.PERMIT,
    Rule(
        actors=(Party("role:clinician"), Party("role:claims")),
        period=Period("2020", "2035"),
        purposes=("TREAT", "HPAYMT"),
        exceptions=(
            Rule(labels=("R",), exceptions=(Rule(actors=(Party("user:" + "9" * 64),)),)),
            Rule(purposes=("HMARKT",)),
            Rule(
                resource_types=("Claim",),
                exceptions=(Rule(resource_types=("Claim", "ClaimResponse", "Account")),),
            ),
            Rule(codes=("http://loinc.org|1234-5",)),
            Rule(data_period=Period("2000", "2005")),
            Rule(labels=("PSY", "HIV")),
            Rule(data=(DataReference("ab" * 16),)),
        ),
    ),
)
"""Ten rules, each of which an ordinary request makes the evaluator look at."""


def build_consents(count: int, patient: str, directive: Directive = TEN_RULES) -> list[Consent]:
    """As many active consents of one patient, each with this directive."""
    author = Author("HospitalMSP", "00" * 32, Capacity.PATIENT)
    digest = directive_digest(directive)
    return [
        Consent(
            f"{number:032x}",
            1,
            patient,
            Status.ACTIVE,
            directive,
            author,
            GRANTED,
            GRANTED,
            digest,
            tx_id="ef" * 32,
        )
        for number in range(count)
    ]


def build_patient(number: int) -> str:
    """The handle of a population's patient with this number."""
    return hashlib.sha256(f"patient {number}".encode()).hexdigest()[:32]


def build_directives(msp_id: str, count: int) -> list[Directive]:
    """What one patient of a population consents to: treatment first, then care teams' exceptions."""
    members = Rule(
        actors=(Party(f"org:{msp_id}"),), purposes=("TREAT", "HPAYMT"), period=Period("2020")
    )
    treatment = Directive(Effect.PERMIT, members, commitment="c3" * 32)
    others = Rule(actors=(Party("org:ElsewhereMSP"),), purposes=("HRESCH",))
    return [treatment] + [
        Directive(Effect.DENY, replace(others, period=Period(str(2020 + number % 8))))
        for number in range(1, count)
    ]


@dataclass(frozen=True, slots=True)
class Population:
    """Patients of one custodian with so many consents each.

    Attributes:
        patient_writes: what registering the patient `PATIENT` wrote.
        consent_writes: what granting the consent `CONSENT` of that patient wrote, by directive.
    """

    patient_writes: tuple[tuple[str, bytes], ...]
    consent_writes: tuple[tuple[tuple[str, bytes], ...], ...]

    def list_writes(self, handle: str) -> list[tuple[str, bytes]]:
        """Everything that the ledger holds about the patient with this handle."""
        ids = {PATIENT: handle}
        found = [_rename(write, ids, handle) for write in self.patient_writes]
        for number, writes in enumerate(self.consent_writes):
            ids[CONSENT] = f"{handle[:28]}{number:04x}"
            found += [_rename(write, ids, ids[CONSENT]) for write in writes]
        return found

    def list_stage(self, start: int, end: int, at_once: int) -> Iterator[list[tuple[str, bytes]]]:
        """The writes of the patients numbered `start` to below `end`, so many in a transaction.

        In the order of their handles: a key's place in the ledger is random, as in life, but
        filling it need not wait for the disk as random writes do.
        """
        handles: Sequence[str] = sorted(map(build_patient, range(start, end)))
        for first in range(0, len(handles), at_once):
            group = handles[first : first + at_once]
            yield [write for handle in group for write in self.list_writes(handle)]


async def build_population(msp_id: str, consents: int) -> Population:
    """What `consents` consents a patient come to on the ledger, as the contracts write it."""
    simulator = Simulator(ConsentContract, DirectoryContract, now=GRANTED)
    admin = simulator.identity(msp_id, "admin", ou="admin")
    patient = simulator.identity(
        msp_id, "patient", attributes={"role": "patient", "patient": PATIENT}
    )
    custodian = Organization(msp_id, msp_id, OrganizationRole.PROVIDER)
    await simulator.submit(admin, "directory:Bootstrap", [custodian])
    registered = await simulator.submit(
        admin, "directory:RegisterPatient", PatientRegistration(PATIENT)
    )
    granted = []
    for number, directive in enumerate(build_directives(msp_id, consents)):
        consent_id = f"{CONSENT[:28]}{number:04x}"
        request = GrantRequest(consent_id, PATIENT, directive)
        result = await simulator.submit(patient, "consent:Grant", request)
        writes = result.rwset.writes["health", ""].items()
        granted.append(
            tuple(
                _rename((key, write.value or b""), {consent_id: CONSENT}, "")
                for key, write in writes
            )
        )
    first = registered.rwset.writes["health", ""].items()
    return Population(tuple((key, write.value or b"") for key, write in first), tuple(granted))


def _rename(write: tuple[str, bytes], ids: dict[str, str], source: str) -> tuple[str, bytes]:
    """A write under other handles; with a `source`, under a transaction id of its own, too."""
    key, value = write[0].encode(), write[1]
    for before, after in ids.items():
        key = key.replace(before.encode(), after.encode())
        value = value.replace(before.encode(), after.encode())
    if source:
        tx_id = hashlib.sha256(source.encode()).hexdigest().encode()
        key = _TX_IDS.sub(lambda found: _with_id(found.group(), tx_id), key)
        value = _TX_IDS.sub(lambda found: _with_id(found.group(), tx_id), value)
    return key.decode(), value


def _with_id(found: bytes, tx_id: bytes) -> bytes:
    return b"\x00" + tx_id + b"\x00" if found.startswith(b"\x00") else b'"txId":"' + tx_id + b'"'
