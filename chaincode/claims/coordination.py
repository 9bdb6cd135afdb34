"""Coordination of benefits after the first decision: which claims of later payers rest on a claim,
and what waits for their payers once it is decided anew, replaced or void.

A later payer's claim carries what the payer before it decided. When that changes, nothing of the
later claim is changed for its payer: it stands in that payer's queue until its filer replaced or
voided it, or the payer confirmed what it decided.
"""

from __future__ import annotations

from chaincode.claims import store
from chaincode.claims.model import Claim, Reexamination, ReexaminationPage
from chaincode.claims.states import Action, Status
from chaincode.contract import Context
from chaincode.table import PageRequest

_GONE = (Status.VOIDED, Status.REPLACED, Status.REJECTED)


async def register(ctx: Context, claim: Claim) -> None:
    """The claim is found from the one that it is coordinated with, if it is with any."""
    if claim.coordinates:
        await store.LATER.put(ctx, claim.coordinates, claim.claim)


async def list_later(ctx: Context, claim: str) -> list[Claim]:
    """The live claims of later payers that rest on this one, by handle."""
    found = ctx.stub.get_state_by_partial_composite_key(store.LATER.name, [claim])
    handles = [ctx.stub.split_composite_key(item.key)[1][-1] async for item in found]
    held = await store.get_claims(ctx, handles)
    return [one for one in held.values() if one.status not in _GONE]


async def flag_later(ctx: Context, claim: Claim, action: Action, instead: str = "") -> list[Claim]:
    """The claims that rest on this one wait in their payers' queues; answers which they are."""
    later = await list_later(ctx, claim.claim)
    for one in later:
        waiting = Reexamination(
            claim=one.claim,
            payer=one.payer,
            primary=claim.claim,
            action=action.value,
            since=ctx.now,
            tx_id=ctx.tx_id,
            instead=instead,
        )
        await store.REEXAMINATIONS.put(ctx, waiting, one.payer, one.claim)
    return later


async def settle(ctx: Context, claim: Claim) -> None:
    """The claim waits in its payer's queue no longer."""
    if claim.coordinates:
        await ctx.stub.del_state(store.REEXAMINATIONS.key(ctx, claim.payer, claim.claim))


async def is_waiting(ctx: Context, claim: Claim) -> bool:
    """Whether the claim waits in its payer's queue."""
    return await store.REEXAMINATIONS.get(ctx, claim.payer, claim.claim) is not None


async def list_waiting(ctx: Context, payer: str, page: PageRequest) -> ReexaminationPage:
    """A page of a payer's queue, by handle."""
    found = await store.REEXAMINATIONS.page(ctx, payer, page=page)
    return ReexaminationPage(tuple(found.values), found.bookmark)
