"""The facts that the checks look at, gathered by the contract: one frozen value, nothing else.

None means that a fact is not known here, which a check reports as DEFERRED and never as passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from chaincode.claims.details import (
    Adjudication,
    Authorization,
    Coverage,
    Details,
    Enrolment,
    PolicyTable,
)
from chaincode.claims.model import Filing, Finding, Verdict
from chaincode.claims.states import Status


@dataclass(frozen=True, slots=True)
class Parties:
    """Who is who. Roles are those of the directory, empty for who is no member."""

    submitter: str
    submitter_role: str
    provider_role: str
    payer_role: str


@dataclass(frozen=True, slots=True)
class ConsentFact:
    """What consent says to sending this claim to this payer for HPAYMT."""

    verdict: str
    path: str
    consent_id: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class EvidenceFact:
    """What the ledger knows of a record that the claim rests on; `status` empty: not anchored."""

    record: str
    version: int
    status: str = ""
    current_version: int = 0
    patient: str = ""
    custodian: str = ""
    anchored_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """Another live claim with one of this claim's fingerprints; `line` 0: with the whole one's."""

    claim: str
    payer: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class PrimaryFact:
    """The claim that a prior payer decided, as the ledger knows it.

    `decision` is that decision if it was shown, opened against that payer's commitment.
    """

    claim: str
    patient: str
    payer: str
    status: Status
    decision: Adjudication | None = None


@dataclass(frozen=True, slots=True)
class ClaimContext:
    """One claim with everything that is known about it at the transaction's time.

    `units_left` counts down each authorisation by handle; `table` is the payer's, `priced` the
    decision being made. `filing_days` is the consortium's limit for this payer; `settled` says that
    the claim was let in before, when what belongs to the gate was looked at.
    """

    filing: Filing
    parties: Parties
    now: datetime
    details: Details | None = None
    consent: ConsentFact | None = None
    evidence: tuple[EvidenceFact, ...] = ()
    coverages: tuple[Coverage, ...] | None = None
    authorizations: tuple[Authorization, ...] | None = None
    units_left: Mapping[str, int] = field(default_factory=dict)
    enrolment: Enrolment | None = None
    table: PolicyTable | None = None
    seen: tuple[Seen, ...] = ()
    primary: PrimaryFact | None = None
    priced: Adjudication | None = None
    filing_days: int = 365
    settled: bool = False


def deferred(what: str) -> Iterator[Finding]:
    """The one finding of a check whose facts are not here."""
    yield Finding(Verdict.DEFERRED, f"{what} not known here; the payer decides with it")


def skipped(why: str) -> Iterator[Finding]:
    """The one finding of a check that does not concern this claim."""
    yield Finding(Verdict.SKIPPED, why)
