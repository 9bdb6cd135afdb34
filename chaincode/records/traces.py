"""What a record's transaction leaves behind: the record itself, the trail's entry, the event."""

from __future__ import annotations

from chaincode.audit import trail
from chaincode.audit.model import AuditEntry, Kind, ReviewItem, ReviewKind
from chaincode.consent.model import Decision
from chaincode.contract import Context
from chaincode.records import store
from chaincode.records.model import Access, AccessEvent, Record, RecordEvent, Status


async def keep(ctx: Context, record: Record, kind: Kind, event: str) -> None:
    """Write the record as it stands; an anchoring also under its version. Leave trail and event."""
    anchor = record.anchor
    await store.RECORDS.put(ctx, record, anchor.record)
    if record.status is Status.CURRENT:
        version = store.version_part(anchor.version)
        await store.VERSIONS.put(ctx, record, anchor.record, version)
    entry = AuditEntry(
        patient=anchor.patient,
        kind=kind,
        subject=anchor.record,
        verdict=record.status.value,
        reason=record.reason,
        records=(anchor.record,),
        classes=anchor.resource_types,
        custodian=record.custodian,
    )
    await trail.record(ctx, entry)
    payload = RecordEvent(
        record=anchor.record,
        patient=anchor.patient,
        version=anchor.version,
        custodian=record.custodian,
        status=record.status,
        commitment=anchor.commitment,
    )
    ctx.set_event(event, payload)


async def mark(
    ctx: Context, granted: Access, kind: Kind, decision: Decision, reason: str = ""
) -> None:
    """Leave an access's entry in the trail, with the decision it rests on."""
    named = [item.record for item in granted.records]
    entry = AuditEntry(
        patient=granted.patient,
        kind=kind,
        subject=granted.id,
        purpose=granted.request.purpose,
        action=granted.request.action,
        verdict=decision.verdict.value,
        reason=reason or decision.match.path,
        consent_id=decision.match.consent_id,
        consent_version=decision.match.version,
        consent_digest=decision.match.digest,
        records=tuple(named),
        classes=tuple(
            dict.fromkeys(code for item in granted.request.data for code in item.classes or ())
        ),
        obligations=tuple(obligation.code for obligation in decision.obligations),
        custodian=granted.custodian,
        recipient_msp_id=granted.msp_id,
        recipient=granted.user,
        recipient_role=granted.role,
    )
    await trail.record(ctx, entry)


def review_of(granted: Access) -> ReviewItem:
    """A denial as the custodian's privacy officer reviews it."""
    return ReviewItem(
        id=granted.id,
        kind=ReviewKind.ACCESS_DENIED,
        msp_id=granted.custodian,
        patient=granted.patient,
        user=granted.user,
        purpose=granted.request.purpose,
        opened_at=granted.requested_at,
        reason=granted.decision.match.path,
    )


def access_event(granted: Access) -> AccessEvent:
    """The payload of an access's events."""
    return AccessEvent(
        access=granted.id,
        patient=granted.patient,
        custodian=granted.custodian,
        msp_id=granted.msp_id,
        user=granted.user,
        purpose=granted.request.purpose,
        verdict=granted.decision.verdict.value,
        records=tuple(item.record for item in granted.permitted_records),
        expires_at=granted.expires_at,
    )
