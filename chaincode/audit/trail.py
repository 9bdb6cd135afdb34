"""Where the other contracts leave their mark: `record`, `open_review`, `close_review`.

Entries lie under `audit~patient / time / transaction / kind / subject`, so a patient's trail is one
range in the order of time, and no two transactions ever write the same key. Within a transaction
the pair of kind and subject must be unique.
"""

from __future__ import annotations

from dataclasses import replace

from chaincode.audit.model import AuditEntry, Kind, LogAnchor, LogHead, ReviewItem
from chaincode.contract import Context
from chaincode.directory.registry import user_digest
from chaincode.table import Table, time_part

ENTRIES = Table("audit~patient", AuditEntry)
DISCLOSURES = Table("audit~disclosure", AuditEntry)
REVIEWS = Table("audit~review", ReviewItem)
LOGS = Table("audit~log", LogAnchor)
LOG_HEADS = Table("audit~loghead", LogHead)


async def record(ctx: Context, entry: AuditEntry) -> None:
    """The entry is on the patient's trail, with the caller, time and transaction filled in."""
    complete = replace(
        entry,
        msp_id=ctx.client.msp_id,
        user=user_digest(ctx),
        role=ctx.client.get_attribute("role") or "",
        at=ctx.now,
        tx_id=ctx.tx_id,
    )
    parts = (entry.patient, time_part(ctx.now), ctx.tx_id, entry.kind.value, entry.subject)
    await ENTRIES.put(ctx, complete, *parts)
    if entry.kind in (Kind.ACCESS_RELEASED, Kind.CLAIM_SUBMITTED):
        # Once more by itself: an accounting reads a patient's disclosures, not their whole trail.
        await DISCLOSURES.put(ctx, complete, *parts)


async def open_review(ctx: Context, item: ReviewItem) -> None:
    """The item waits in its organisation's review queue until `close_review`."""
    await REVIEWS.put(ctx, item, item.msp_id, item.id)


async def close_review(ctx: Context, msp_id: str, review_id: str) -> ReviewItem | None:
    """The item is out of the queue; answers what it was, None if it was not there."""
    item = await REVIEWS.get(ctx, msp_id, review_id)
    if item is not None:
        await ctx.stub.del_state(REVIEWS.key(ctx, msp_id, review_id))
    return item
