"""The edges of the state machine as they are taken: advance the claim, put away its private part,
write, leave trail and event.
"""

from __future__ import annotations

from dataclasses import replace

from chaincode import canonical, commitment
from chaincode.audit import trail
from chaincode.audit.model import AuditEntry, Kind
from chaincode.claims import coordination, decision, rules, store
from chaincode.claims.adjudication import InvalidAdjudication, validate_adjudication
from chaincode.claims.checks.consent import PURPOSE
from chaincode.claims.details import (
    SealedAdjudication,
    SealedInformation,
    SealedRemittance,
    Use,
)
from chaincode.claims.intake import keep
from chaincode.claims.model import Change, Claim, Notice, PrivateKind, Room, StagedCommitment
from chaincode.claims.states import Action
from chaincode.contract import Context
from chaincode.errors import Conflict, Denied, InvalidArgument

Sealed = SealedRemittance | SealedInformation

_EVENTS: dict[Action, str] = {
    Action.PEND: "Pended",
    Action.SUPPLY: "Supplied",
    Action.ADJUDICATE: "Adjudicated",
    Action.PAY: "Paid",
    Action.RECONCILE: "Reconciled",
    Action.APPEAL: "Appealed",
    Action.UPHOLD: "AppealDecided",
    Action.OVERTURN: "AppealDecided",
    Action.VOID: "Voided",
    Action.CONFIRM: "CoordinationConfirmed",
}


async def take_step(
    ctx: Context,
    change: Change,
    action: Action,
    kind: PrivateKind | None = None,
    *,
    required: bool = False,
) -> Claim:
    """Take an edge that carries at most a private message or payment with it."""
    ctx.stub.start_write_batch()
    held = await store.CLAIMS.require(ctx, change.claim, what="claim")
    claim = advanced(ctx, held, change, action)
    if action is Action.APPEAL:
        rules.validate_appeal(held, ctx.now)
        claim = replace(claim, before=held.status)
    elif action is Action.UPHOLD:
        claim = replace(claim, before=None)
    elif action is Action.PAY:
        rules.validate_payment(held)
    elif action is Action.VOID:
        await decision.give_back(ctx, held)
    elif action is Action.CONFIRM and not await coordination.is_waiting(ctx, held):
        raise Conflict("nothing changed that this claim rests on: there is nothing to confirm")
    rules.validate_reasons(change.reasons)
    committed = await _private_part(ctx, held, change, kind) if kind else None
    if required and committed is None:
        raise InvalidArgument(f"the {kind.value if kind else 'private part'} is missing")
    if kind is PrivateKind.REMITTANCE:
        claim = replace(claim, remittance=committed)
    elif kind is PrivateKind.INFORMATION and committed is not None:
        claim = replace(claim, information=committed)
    if action is Action.PEND:
        claim = replace(claim, reasons=change.reasons)
    await keep_change(ctx, claim, held, action, committed)
    if action in (Action.VOID, Action.CONFIRM):
        await coordination.settle(ctx, held)
    later = await coordination.flag_later(ctx, held, action) if action is Action.VOID else ()
    ctx.set_event(f"claims.{_EVENTS[action]}", rules.event_of(claim, later))
    return claim


async def put_decision(
    ctx: Context, change: Change, notice: Notice | None, action: Action
) -> Claim:
    """The claim is decided: as it was staged, or, in the shared room, now."""
    ctx.stub.start_write_batch()
    held = await store.CLAIMS.require(ctx, change.claim, what="claim")
    claim = advanced(ctx, held, change, action)
    where = (held.claim, store.DECISION, held.version + 1)
    if held.room is Room.OWN or notice is not None:
        if notice is None or notice.claim != held.claim or notice.version != held.version:
            raise InvalidArgument("notice: missing or another's; StageDecision answers it")
        own = rules.collection_of(Room.OWN, "", "", held.payer)
        await store.validate_staged(ctx, own, notice, *where)
        if held.room is Room.SHARED:
            await store.put_private(
                ctx, held.collection, await _share_staged(ctx, held, notice), *where
            )
    else:
        made = await decision.make_decision(ctx, held, staged=False)
        notice = made.notice
        await store.put_private(ctx, held.collection, made.sealed, *where)
    claim = rules.decided(claim, notice, ctx.now)
    await decision.take(ctx, held, notice)
    await keep_change(ctx, claim, held, action, notice.decision)
    again = held.decision is not None  # a first decision is what nothing can rest on yet
    later = await coordination.flag_later(ctx, held, action) if again else ()
    ctx.set_event(f"claims.{_EVENTS[action]}", rules.event_of(claim, later))
    return claim


async def _share_staged(ctx: Context, held: Claim, notice: Notice) -> SealedAdjudication:
    """What the payer decided in its own room, now for the shared one: in transient `sealed`."""
    raw = store.read_transient(ctx, "sealed")
    sealed = canonical.decode(SealedAdjudication, raw, "sealed")
    bound = decision.seal(commitment.DECISION, sealed.salt, sealed.adjudication)
    if bound != notice.decision:
        raise InvalidArgument("sealed: not the decision that was staged")
    details = await decision.read_details(ctx, held)
    try:
        validate_adjudication(sealed.adjudication, details)
    except InvalidAdjudication as error:
        raise InvalidArgument(f"sealed: {error}") from None
    return sealed


def advanced(ctx: Context, held: Claim, change: Change, action: Action) -> Claim:
    """The claim after the action by the caller. Raises Conflict or Denied; see `rules.advance`."""
    return rules.advance(
        held, action, change.version, ctx.client.msp_id, now=ctx.now, tx_id=ctx.tx_id
    )


async def keep_change(
    ctx: Context,
    claim: Claim,
    before: Claim,
    action: Action,
    committed: bytes | None = None,
) -> None:
    """The changed claim is written, and the change is on the patient's trail."""
    await keep(ctx, claim, before, action.value, committed)
    entry = AuditEntry(
        patient=claim.patient,
        kind=Kind.CLAIM_CHANGED,
        subject=claim.claim,
        purpose=PURPOSE,
        action=action.value,
        verdict=claim.outcome.value if claim.outcome else claim.status.value,
        custodian=claim.provider,
        recipient_msp_id=claim.payer,
    )
    await trail.record(ctx, entry)


async def _private_part(
    ctx: Context, claim: Claim, change: Change, kind: PrivateKind
) -> bytes | None:
    """Put away what goes with a step; answers its commitment, None if nothing goes with it."""
    where = (claim.claim, kind.value, claim.version + 1)
    if claim.room is Room.OWN:
        if change.commitment is None:
            return None
        staged = StagedCommitment(claim.claim, claim.version + 1, kind, change.commitment)
        await store.validate_staged(ctx, claim.collection, staged, *where)
        return change.commitment
    sealed = read_sealed(ctx, kind)
    if sealed is None:
        return None
    await validate_private(ctx, claim, sealed)
    await store.put_private(ctx, claim.collection, sealed, *where)
    return commitment_of(sealed)


def read_sealed(ctx: Context, kind: PrivateKind) -> Sealed | None:
    """The transient field of this kind, None if it is not there."""
    raw = ctx.transient.get(kind.value)
    if not raw:
        return None
    if kind is PrivateKind.REMITTANCE:
        return canonical.decode(SealedRemittance, raw, kind.value)
    return canonical.decode(SealedInformation, raw, kind.value)


async def validate_private(ctx: Context, claim: Claim, sealed: Sealed) -> None:
    """Raise InvalidArgument unless the value is this claim's and pays what was decided."""
    if isinstance(sealed, SealedInformation):
        if sealed.information.claim != claim.claim:
            raise InvalidArgument("information.claim: it is another claim's")
        return
    if (await decision.read_details(ctx, claim)).use is not Use.CLAIM:
        raise Conflict("only a claim is paid, not what asks for an authorisation or an estimate")
    made = await decision.read_adjudication(ctx, claim)
    rules.validate_remittance(sealed.remittance, made)


def commitment_of(sealed: Sealed) -> bytes:
    """The commitment to a payment or a message."""
    if isinstance(sealed, SealedRemittance):
        return decision.seal(commitment.REMITTANCE, sealed.salt, sealed.remittance)
    return decision.seal(commitment.INFORMATION, sealed.salt, sealed.information)


async def payers_claim(ctx: Context, change: Change) -> Claim:
    """The claim to the caller's organisation, at the version that the change rests on."""
    claim = await store.CLAIMS.require(ctx, change.claim, what="claim")
    if claim.payer != ctx.client.msp_id:
        raise Denied("a decision is staged by the claim's payer")
    rules.validate_version(claim, change.version)
    return claim


async def own_claim(ctx: Context, change: Change) -> Claim:
    """The claim in the caller's own room, at the version that the change rests on."""
    claim = await store.CLAIMS.require(ctx, change.claim, what="claim")
    if claim.room is not Room.OWN or claim.payer != ctx.client.msp_id:
        raise Denied("staging is for claims in the caller's own room")
    rules.validate_version(claim, change.version)
    return claim
