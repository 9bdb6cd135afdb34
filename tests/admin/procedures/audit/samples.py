"""A trail of half a year, made up; the same at every run."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from admin.procedures.audit.reading import Queue, Report
from chaincode.audit import rules
from chaincode.audit.model import AuditEntry, Kind, ReviewItem, ReviewKind
from network.client.channel import ChainInfo

SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
START = datetime(2026, 1, 5, 8, tzinfo=UTC)
HOSPITAL, CLINIC, PAYER = "GeneralHospitalMSP", "CityClinicMSP", "UnitedPayerMSP"
CHAIN = ChainInfo(42, b"\x11" * 32, b"\x22" * 32)


def handle(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def digest(name: str) -> str:
    return hashlib.sha256(f"digest {name}".encode()).hexdigest()


PATIENT, CONSENT, RECORD = handle("patient"), handle("consent"), handle("record")


def entry(kind: Kind, number: int, **fields: object) -> AuditEntry:
    base = AuditEntry(
        PATIENT,
        kind,
        handle(f"{kind}{number}"),
        msp_id=CLINIC,
        user=digest("kim"),
        role="clinician",
        at=START + timedelta(hours=number),
        tx_id=digest(f"tx{kind}{number}"),
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def build_trail() -> tuple[AuditEntry, ...]:
    trail = [
        entry(Kind.CONSENT_GRANTED, 0, verdict="active", consent_id=CONSENT, consent_version=1)
    ]
    for number in range(1, 60):
        permitted = number % 3 != 0
        decision = entry(
            Kind.ACCESS_DECIDED,
            number * 37,
            purpose="HRESCH" if number % 5 == 0 else "TREAT",
            action="access",
            verdict="PERMIT" if permitted else "DENY",
            consent_id=CONSENT,
            consent_version=1,
            records=(RECORD,),
            classes=("Observation",),
            obligations=("MINEC",),
            custodian=HOSPITAL,
        )
        trail.append(decision)
        if permitted:
            released = replace(
                decision,
                kind=Kind.ACCESS_RELEASED,
                msp_id=HOSPITAL,
                user=digest("exchange"),
                role="service",
                recipient_msp_id=CLINIC,
                recipient=digest("kim"),
                recipient_role="clinician",
                tx_id=digest(f"release{number}"),
            )
            trail.append(released)
    trail.append(entry(Kind.BREAK_GLASS, 3000, verdict="OPEN", purpose="BTG", reason="unconscious"))
    trail.append(
        entry(Kind.ACCESS_DECIDED, 3001, verdict="PERMIT", purpose="BTG", records=(RECORD,))
    )
    trail.append(entry(Kind.CLAIM_SUBMITTED, 3002, recipient_msp_id=PAYER, custodian=HOSPITAL))
    return tuple(trail)


TRAIL = build_trail()


def build_report() -> Report:
    disclosed = [e for e in TRAIL if e.kind in (Kind.ACCESS_RELEASED, Kind.CLAIM_SUBMITTED)]
    accounting = rules.build_accounting(PATIENT, disclosed, SINCE, UNTIL)
    made_at = datetime(2026, 7, 2, 9, tzinfo=UTC)
    return Report(
        "care",
        "care",
        PATIENT,
        SINCE,
        UNTIL,
        made_at,
        "PatientTrust/amelia",
        CHAIN,
        TRAIL,
        accounting,
    )


def build_queue() -> Queue:
    items = (
        ReviewItem(
            handle("r1"),
            ReviewKind.BREAK_GLASS,
            CLINIC,
            PATIENT,
            digest("kim"),
            "BTG",
            START,
            "coma",
        ),
        ReviewItem(
            handle("r2"), ReviewKind.ACCESS_DENIED, CLINIC, PATIENT, digest("kim"), "HMARKT", START
        ),
    )
    made_at = START + timedelta(days=3)
    return Queue("care", "care", CLINIC, made_at, "CityClinic/privacy", CHAIN, items)
