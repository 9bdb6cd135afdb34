"""Claims, facts and tables to test with; every value is made up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from chaincode import canonical, commitment
from chaincode.claims.checks.context import (
    ClaimContext,
    ConsentFact,
    Parties,
)
from chaincode.claims.details import (
    Authorization,
    Coverage,
    Details,
    Diagnosis,
    Enrolment,
    Fee,
    Insurance,
    Line,
    OpenedAuthorization,
    OpenedCoverage,
    OpenedEnrolment,
    Pair,
    PolicyTable,
    SealedDetails,
    Span,
    Type,
    UnitLimit,
)
from chaincode.claims.model import Filing
from tests.chaincode.consortium import FINGERPRINT_KEY, HOSPITAL, PATIENT, PAYER, handle

NPI = "1234567893"
SALT = b"\x5a" * 32
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SERVICE = date(2025, 12, 20)
COVERAGE = handle("coverage")
AUTHORIZATION = handle("authorization")


def line(sequence: int = 1, **changed: Any) -> Line:
    """A visit for 150.00."""
    base = Line(sequence, "S0001", SERVICE, 150_00, 150_00, place="11", diagnosis_sequences=(1,))
    return replace(base, **changed)


def details(name: str = "claim", **changed: Any) -> Details:
    """A claim of one visit, for the coverage `COVERAGE`."""
    lines = changed.pop("lines", (line(),))
    base = Details(
        claim=handle(name),
        patient=PATIENT,
        type=Type.PROFESSIONAL,
        provider_npi=NPI,
        created=date(2025, 12, 30),
        total=sum(item.net for item in lines),
        lines=tuple(lines),
        diagnoses=(Diagnosis(1, "J20.9"),),
        insurance=(Insurance(1, COVERAGE),),
    )
    return replace(base, **changed)


def seal(value: Details) -> SealedDetails:
    return SealedDetails(SALT, value)


def commit(value: Details) -> bytes:
    return commitment.commit(commitment.CLAIM, SALT, canonical.encode(value))


def filing(value: Details, **changed: Any) -> Filing:
    """The filing of these details by the hospital."""
    base = Filing(
        claim=value.claim,
        patient=value.patient,
        payer=PAYER,
        provider=HOSPITAL,
        commitment=commit(value),
        labels=("N",),
    )
    return replace(base, **changed)


def transient(*values: Details, **extra: bytes) -> Mapping[str, bytes]:
    """The transient fields of a submission of one claim, or of several."""
    if len(values) == 1:
        field = {"claim": canonical.encode(seal(values[0]))}
    else:
        field = {"claims": canonical.encode({v.claim: seal(v) for v in values})}
    return {**field, "fingerprintKey": FINGERPRINT_KEY, **extra}


def batch(*values: Details) -> Mapping[str, bytes]:
    """The transient fields of a bulk submission."""
    claims = canonical.encode({v.claim: seal(v) for v in values})
    return {"claims": claims, "fingerprintKey": FINGERPRINT_KEY}


def coverage(**changed: Any) -> Coverage:
    return replace(Coverage(COVERAGE, PATIENT, date(2025, 1, 1), date(2026, 12, 31)), **changed)


def authorization(**changed: Any) -> Authorization:
    base = Authorization(
        authorization=AUTHORIZATION,
        patient=PATIENT,
        provider_npi=NPI,
        codes=("S0002",),
        start=date(2025, 1, 1),
        end=date(2026, 12, 31),
        units=3,
    )
    return replace(base, **changed)


def enrolment(**changed: Any) -> Enrolment:
    return replace(Enrolment(NPI, (Span(date(2020, 1, 1)),)), **changed)


def table(**changed: Any) -> PolicyTable:
    base = PolicyTable(
        pairs=(Pair("S0001", "S0009"), Pair("S0001", "S0008", 1), Pair("S0001", "S0007", 9)),
        units=(UnitLimit("S0003", 2, 1), UnitLimit("S0004", 2, 2), UnitLimit("S0005", 2, 3)),
        fees=(Fee("S0001", 120_00),),
        authorization_codes=("S0002",),
    )
    return replace(base, **changed)


def context(value: Details | None = None, **changed: Any) -> ClaimContext:
    """Everything about a claim that nothing is wrong with."""
    value = value or details()
    base = ClaimContext(
        filing=filing(value),
        parties=Parties(HOSPITAL, "provider", "provider", "payer"),
        now=NOW,
        details=value,
        consent=ConsentFact("PERMIT", "0"),
        coverages=(coverage(),),
        authorizations=(authorization(),),
        units_left={AUTHORIZATION: 3},
        enrolment=enrolment(),
        table=table(),
    )
    return replace(base, **changed)


def facts() -> bytes:
    """The transient field `facts`: coverage, authorisation and enrolment, opened."""
    value = {
        "coverages": [canonical.to_wire(OpenedCoverage(SALT, coverage()))],
        "authorizations": [canonical.to_wire(OpenedAuthorization(SALT, authorization()))],
        "enrolments": [canonical.to_wire(OpenedEnrolment(handle("enrolment"), SALT, enrolment()))],
    }
    return json.dumps(value).encode()


def decimal(text: str) -> Decimal:
    return Decimal(text)
