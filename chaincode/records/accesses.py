"""The transactions of access: asked for, decided on consent, released, taken back, received.

`RecordsContract` has them beside those of the records themselves.
"""

from __future__ import annotations

from chaincode.access import role
from chaincode.audit import trail
from chaincode.audit.model import Kind
from chaincode.consent import access as consent
from chaincode.consent.model import AccessRequest
from chaincode.contract import Context, query, transaction
from chaincode.directory import registry
from chaincode.directory.model import Scope
from chaincode.errors import Conflict, Denied, InvalidArgument
from chaincode.forms import read_digest, validate_code
from chaincode.records import model, rules, store, traces
from chaincode.records.model import (
    Access,
    AccessApplication,
    AccessPage,
    AccessStanding,
    AccessView,
    Receipt,
    Record,
    Revocation,
)
from chaincode.table import PageRequest

CARE = role("clinician", "service")
REQUESTERS = role("clinician", "service", "claims", "patient", "privacy-officer")
_FIRST_PAGE = PageRequest()


class Accesses:
    """Who was given access to records, on which consent, and what became of it."""

    @transaction(access=REQUESTERS)
    async def RequestAccess(self, ctx: Context, application: AccessApplication) -> Access:
        """The decision on access to records is recorded, permit or deny, under the access's id.

        A denial is a *valid transaction whose result says DENY*: read `decision.verdict`, and of
        each record `records[].verdict`. For all records: one patient, one custodian.
        """
        rules.validate_application(application)
        await registry.require_member(ctx)
        records = [
            await store.require(ctx, ref, f"records[{index}]")
            for index, ref in enumerate(application.records)
        ]
        rules.validate_together(records)
        granted = await _decide(ctx, application, records)
        await store.ACCESSES.put(ctx, granted, granted.id)
        await store.ACCESSES_BY_PATIENT.put(ctx, granted.patient, granted.id)
        for item in granted.records:
            await store.ACCESSES_BY_RECORD.put(ctx, item.record, granted.id)
        await traces.mark(ctx, granted, Kind.ACCESS_DECIDED, granted.decision)
        if not granted.decision.permitted:
            await trail.open_review(ctx, traces.review_of(granted))
        ctx.set_event("records.AccessDecided", traces.access_event(granted))
        return granted

    @transaction(access=CARE)
    async def Release(self, ctx: Context, access_id: str, wrapped_key: str) -> model.Release:
        """The custodian has wrapped the keys to the requester; `wrapped_key` is the hex digest.

        Consent is decided again at this moment. Anything but a permit is refused with `Denied`:
        hand out nothing before this transaction is valid.
        """
        granted = await store.ACCESSES.require(ctx, access_id, what="access")
        released = await store.RELEASES.get(ctx, access_id)
        revoked = await store.REVOCATIONS.get(ctx, access_id)
        rules.validate_release(granted, released, revoked, ctx.client.msp_id, ctx.now)
        records = [await store.RECORDS.get(ctx, item.record) for item in granted.records]
        decision = await consent.decide(ctx, granted.request)
        rules.validate_recheck(granted, records, decision)
        release = model.Release(
            access=access_id,
            wrapped_key=read_digest(wrapped_key, "wrappedKey"),
            user=registry.user_digest(ctx),
            decision=decision,
            released_at=ctx.now,
            tx_id=ctx.tx_id,
        )
        await store.RELEASES.put(ctx, release, access_id)
        await traces.mark(ctx, granted, Kind.ACCESS_RELEASED, decision)
        ctx.set_event("records.AccessReleased", traces.access_event(granted))
        return release

    @transaction(access=role("clinician", "service", "privacy-officer", "patient"))
    async def RevokeAccess(self, ctx: Context, access_id: str, reason: str) -> Revocation:
        """An access is taken back: no release and no fetch on it any more; `reason` is a code.

        By its custodian, or who acts for the patient. The event tells the requester, who keeps what
        came before: what was read cannot be unread.
        """
        validate_code(reason, "reason")
        granted = await store.ACCESSES.require(ctx, access_id, what="access")
        rules.validate_revocation(granted, await store.REVOCATIONS.get(ctx, access_id))
        if ctx.client.msp_id != granted.custodian or ctx.client.get_attribute("role") == "patient":
            await registry.require_acting(ctx, granted.patient, Scope.ACCESS)
        user = registry.user_digest(ctx)
        revocation = Revocation(access_id, reason, ctx.client.msp_id, user, ctx.now, ctx.tx_id)
        await store.REVOCATIONS.put(ctx, revocation, access_id)
        await traces.mark(ctx, granted, Kind.ACCESS_REVOKED, granted.decision, reason)
        ctx.set_event("records.AccessRevoked", traces.access_event(granted))
        return revocation

    @transaction(access=REQUESTERS)
    async def AcknowledgeReceipt(self, ctx: Context, access_id: str, digest: str) -> Receipt:
        """The requester has what was released; `digest` is the hex digest of what came."""
        granted = await store.ACCESSES.require(ctx, access_id, what="access")
        if (granted.msp_id, granted.user) != (ctx.client.msp_id, registry.user_digest(ctx)):
            raise Denied("only who requested the access acknowledges it")
        if await store.RELEASES.get(ctx, access_id) is None:
            raise Conflict("the access is not released")
        receipt = Receipt(
            access_id, read_digest(digest, "digest"), granted.user, ctx.now, ctx.tx_id
        )
        await store.RECEIPTS.add(ctx, receipt, access_id, what="receipt")
        await traces.mark(ctx, granted, Kind.ACCESS_RECEIVED, granted.decision)
        ctx.set_event("records.ReceiptAcknowledged", traces.access_event(granted))
        return receipt

    @query
    async def GetAccess(self, ctx: Context, access_id: str) -> AccessView:
        """An access with its release and receipt, for its parties and who reads the trail."""
        granted = await store.ACCESSES.require(ctx, access_id, what="access")
        if ctx.client.msp_id not in (granted.msp_id, granted.custodian):
            await _require_reader(ctx, granted.patient)
        return await _view(ctx, granted)

    @query
    async def CheckAccess(self, ctx: Context, access_id: str) -> AccessStanding:
        """Whether each record of an access may be handed out now: consent is decided again.

        For its custodian, who asks before every hand-out, and its requester.
        """
        granted = await store.ACCESSES.require(ctx, access_id, what="access")
        if ctx.client.msp_id not in (granted.msp_id, granted.custodian):
            raise Denied("only the access's custodian and requester may check it")
        records = [await store.RECORDS.get(ctx, item.record) for item in granted.records]
        view = await _view(ctx, granted)
        decision = await consent.decide(ctx, granted.request)
        standing = rules.check_standing(
            granted, view.release, view.revocation, records, decision, ctx.now
        )
        return AccessStanding(view, standing)

    @query
    async def Accesses(
        self,
        ctx: Context,
        patient: str = "",
        record: str = "",
        page: PageRequest = _FIRST_PAGE,
    ) -> AccessPage:
        """The accesses to a patient's records or to one record, with what became of them.

        For the patient, a delegate with scope audit, privacy officers at the custodian, auditors.
        Of one record also for the care staff of the custodian that releases it.
        """
        if bool(patient) == bool(record):
            raise InvalidArgument("name a patient or a record, and not both")
        if record:
            held = await store.RECORDS.require(ctx, record, what="record")
            if not _keeps(ctx, held):
                await _require_reader(ctx, held.anchor.patient)
            index, name = store.ACCESSES_BY_RECORD, record
        else:
            await _require_reader(ctx, patient)
            index, name = store.ACCESSES_BY_PATIENT, patient
        ids, bookmark = await index.page(ctx, name, page=page)
        found = [await store.ACCESSES.require(ctx, access_id) for access_id in ids]
        return AccessPage(tuple([await _view(ctx, item) for item in found]), bookmark)


async def _decide(ctx: Context, application: AccessApplication, records: list[Record]) -> Access:
    patient = records[0].anchor.patient
    actor = await consent.caller(ctx, patient, application.purpose)
    request = AccessRequest(
        patient=patient,
        actor=actor,
        purpose=application.purpose,
        action=application.action,
        data=tuple(rules.data_item(record) for record in records),
    )
    decision = await consent.decide(ctx, request)
    return Access(
        id=ctx.tx_id,
        patient=patient,
        custodian=records[0].custodian,
        msp_id=actor.msp_id,
        user=actor.user,
        role=actor.role,
        records=rules.accessed_records(records, decision),
        request=request,
        decision=decision,
        requested_at=ctx.now,
        expires_at=ctx.now + rules.ACCESS_LIFETIME,
    )


async def _view(ctx: Context, granted: Access) -> AccessView:
    release = await store.RELEASES.get(ctx, granted.id)
    return AccessView(
        granted,
        release,
        await store.RECEIPTS.get(ctx, granted.id),
        await store.REVOCATIONS.get(ctx, granted.id),
    )


def _keeps(ctx: Context, record: Record) -> bool:
    """Whether the caller is of the care staff that keeps and releases the record."""
    staff = ("clinician", "service", "privacy-officer")
    return ctx.client.msp_id == record.custodian and ctx.client.get_attribute("role") in staff


async def _require_reader(ctx: Context, patient: str) -> None:
    if ctx.client.get_attribute("role") == "auditor":
        await registry.require_member(ctx)
    else:
        await registry.require_acting(ctx, patient, Scope.AUDIT)
