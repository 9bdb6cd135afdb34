"""Synthetic consents: a ten-rule directive, and populations of any size, always the same.

A population's rows are those that the contracts themselves write: `directory:RegisterPatient` and
`consent:Grant` run once on the simulator, and each patient gets their writes under other handles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from chaincode.consent.contract import ConsentContract
from chaincode.consent.lifecycle import directive_digest
from chaincode.consent.messages import GrantRequest
from chaincode.consent.model import (
    Author,
    Capacity,
    Consent,
    DataReference,
    Directive,
    Effect,
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
_HANDLE = PATIENT.encode()
_SEPARATOR = b"\x1e"  # an ASCII control character, which no JSON and no key here has
_EVALUATED = (b"directory~patient", b"consent~patient")

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
    """What a patient of a population consents to: treatment and payment, no research elsewhere."""
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
        rows: what the contracts wrote for the one patient that was registered: keys and values by
            turns, with places for handles and transaction ids.
        consents: how many consents each has.
    """

    rows: bytes
    consents: int

    def list_writes(self, handle: str) -> list[tuple[str, bytes]]:
        """Everything that the ledger holds about the patient with this handle."""
        rows = self.rows.replace(_HANDLE, handle.encode()).replace(_tx_mark(0), _tx_id(handle))
        for number in range(1, self.consents + 1):
            consent_id = f"{handle[:28]}{number:04x}"
            rows = rows.replace(_consent_mark(number), consent_id.encode())
            rows = rows.replace(_tx_mark(number), _tx_id(consent_id))
        parts = rows.split(_SEPARATOR)
        keys = (key.decode() for key in parts[::2])
        return list(zip(keys, parts[1::2], strict=True))

    def list_stage(self, start: int, end: int, at_once: int) -> Iterator[list[tuple[str, bytes]]]:
        """The writes of the patients numbered `start` to below `end`, so many in a transaction.

        In the order of their handles: a key's place in the ledger is random, as in life, but
        filling it need not wait for the disk as random writes do.
        """
        handles = sorted(map(build_patient, range(start, end)))
        for first in range(0, len(handles), at_once):
            group = handles[first : first + at_once]
            yield [write for handle in group for write in self.list_writes(handle)]

    def reduce(self) -> Population:
        """The same without the rows that no evaluation reads: trail, versions, places, lists."""
        parts = self.rows.split(_SEPARATOR)
        kept = [
            part
            for key, value in zip(parts[::2], parts[1::2], strict=True)
            if key.split(b"\x00")[1] in _EVALUATED
            for part in (key, value)
        ]
        return Population(_SEPARATOR.join(kept), self.consents)


async def build_population(msp_id: str, consents: int) -> Population:
    """What `consents` consents a patient come to on the ledger, as the contracts write it."""
    simulator = Simulator(ConsentContract, DirectoryContract, now=GRANTED)
    admin = simulator.identity(msp_id, "admin", ou="admin")
    patient = simulator.identity(
        msp_id, "patient", attributes={"role": "patient", "patient": PATIENT}
    )
    custodian = Organization(msp_id, msp_id, OrganizationRole.PROVIDER)
    await simulator.submit(admin, "directory:Bootstrap", [custodian])
    registration = PatientRegistration(PATIENT)
    results = [await simulator.submit(admin, "directory:RegisterPatient", registration)]
    for number, directive in enumerate(build_directives(msp_id, consents), 1):
        request = GrantRequest(_consent_mark(number).decode(), PATIENT, directive)
        results.append(await simulator.submit(patient, "consent:Grant", request))
    rows = [
        part.replace(result.tx_id.encode(), _tx_mark(number))
        for number, result in enumerate(results)
        for key, write in result.rwset.writes["health", ""].items()
        for part in (key.encode(), write.value or b"")
    ]
    return Population(_SEPARATOR.join(rows), consents)


def _consent_mark(number: int) -> bytes:
    return f"{CONSENT[:28]}{number:04x}".encode()


def _tx_mark(number: int) -> bytes:
    return b"<tx%d>" % number


def _tx_id(source: str) -> bytes:
    return hashlib.sha256(source.encode()).hexdigest().encode()
