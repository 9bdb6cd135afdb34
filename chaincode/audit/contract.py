"""The transactions `audit:*`: read the trail, ask the rules, anchor logs, close reviews."""

from __future__ import annotations

from datetime import datetime

from chaincode.access import anyone, role
from chaincode.audit import rules, trail
from chaincode.audit.model import (
    Accounting,
    AuditEntry,
    Kind,
    LogAnchor,
    LogBatch,
    LogBatchPage,
    LogHead,
    LogProof,
    LogState,
    LogStatePage,
    LogVerdict,
    ReviewItem,
    ReviewKind,
    ReviewPage,
    TrailPage,
)
from chaincode.contract import Context, Contract, query, transaction
from chaincode.directory import registry
from chaincode.directory.model import Scope
from chaincode.errors import Conflict, Denied, NotFound
from chaincode.forms import validate_code
from chaincode.table import PageRequest

_FIRST_PAGE = PageRequest()


class AuditContract(Contract, name="audit"):
    """Who asked for what, for which purpose, how it was decided, on which consent, released
    when."""

    @query
    async def Trail(self, ctx: Context, patient: str, page: PageRequest = _FIRST_PAGE) -> TrailPage:
        """A patient's trail, oldest first.

        For the patient, a delegate with scope audit, the custodian's privacy officer and auditors.
        """
        await require_reader(ctx, patient)
        found = await trail.ENTRIES.page(ctx, patient, page=page)
        return TrailPage(tuple(found.values), found.bookmark)

    @query
    async def Disclosures(
        self,
        ctx: Context,
        patient: str,
        since: datetime | None = None,
        until: datetime | None = None,
        page: PageRequest = _FIRST_PAGE,
    ) -> Accounting:
        """An accounting of disclosures (45 CFR 164.528): six years unless `since` says less.

        Disclosures that the rule leaves out are listed with the ground of their exclusion. For
        whom `Trail` is.
        """
        await require_reader(ctx, patient)
        begin, end = since or rules.earliest_accounting(ctx.now), until or ctx.now
        rules.validate_period(begin, end, ctx.now)
        found = await trail.DISCLOSURES.page(ctx, patient, page=page)
        return rules.build_accounting(patient, found.values, begin, end, found.bookmark)

    @transaction(access=role("service", "privacy-officer"))
    async def AnchorLog(self, ctx: Context, batch: LogBatch) -> LogAnchor:
        """The caller's organisation is committed to a batch of events of one of its logs.

        A log has no gaps: each batch begins where the last one ended. One transaction anchors
        thousands of events, and `VerifyLogProof` shows each of them later.
        """
        msp_id = (await registry.require_member(ctx)).msp_id
        head = await trail.LOG_HEADS.get(ctx, msp_id, batch.log)
        rules.validate_log_batch(batch, head.last if head else 0)
        anchor = LogAnchor(msp_id, batch, ctx.now, ctx.tx_id)
        await trail.LOGS.put(ctx, anchor, msp_id, batch.log, f"{batch.first:016d}")
        await trail.LOG_HEADS.put(ctx, LogHead(batch.last), msp_id, batch.log)
        ctx.set_event("audit.LogAnchored", anchor)
        return anchor

    @query(access=anyone())
    async def GetLog(self, ctx: Context, msp_id: str, log: str) -> LogState:
        """Where an organisation's log stands, its next batch's beginning. For anyone."""
        validate_code(log, "log")
        head = await trail.LOG_HEADS.get(ctx, msp_id, log)
        return LogState(msp_id, log, head.last if head else 0)

    @query(access=anyone())
    async def ListLogs(
        self, ctx: Context, msp_id: str, page: PageRequest = _FIRST_PAGE
    ) -> LogStatePage:
        """An organisation's logs by name, with where each stands. For anyone."""
        found = await trail.LOG_HEADS.page(ctx, msp_id, page=page)
        states = zip(found.keys, found.values, strict=True)
        return LogStatePage(
            tuple(LogState(msp_id, keys[-1], head.last) for keys, head in states), found.bookmark
        )

    @query(access=anyone())
    async def ListLogBatches(
        self, ctx: Context, msp_id: str, log: str, page: PageRequest = _FIRST_PAGE
    ) -> LogBatchPage:
        """The anchored batches of a log, oldest first. For anyone."""
        validate_code(log, "log")
        found = await trail.LOGS.page(ctx, msp_id, log, page=page)
        return LogBatchPage(tuple(found.values), found.bookmark)

    @query(access=anyone())
    async def VerifyLogProof(self, ctx: Context, proof: LogProof) -> LogVerdict:
        """Whether an event is in the batch that begins at `proof.first`. For anyone."""
        anchor = await trail.LOGS.require(
            ctx, proof.msp_id, proof.log, f"{proof.first:016d}", what="log batch"
        )
        return rules.evaluate_log_proof(proof, anchor)

    @query(access=role("privacy-officer", "auditor"))
    async def ReviewQueue(
        self, ctx: Context, page: PageRequest = _FIRST_PAGE, msp_id: str = ""
    ) -> ReviewPage:
        """What waits for the privacy officer of the caller's organisation; auditors name any."""
        wanted = msp_id or ctx.client.msp_id
        if wanted != ctx.client.msp_id and ctx.client.get_attribute("role") != "auditor":
            raise Denied("a privacy officer sees the queue of their own organisation")
        found = await trail.REVIEWS.page(ctx, wanted, page=page)
        return ReviewPage(tuple(found.values), found.bookmark)

    @transaction(access=role("privacy-officer"))
    async def CloseReview(self, ctx: Context, review_id: str, outcome: str) -> ReviewItem:
        """A denied access is looked at and out of the queue; `outcome` is a code.

        Break-glass grants are closed by `consent:ReviewBreakGlass`.
        """
        validate_code(outcome, "outcome")
        item = await trail.close_review(ctx, ctx.client.msp_id, review_id)
        if item is None:
            raise NotFound("no such review in the queue of the caller's organisation")
        if item.kind is not ReviewKind.ACCESS_DENIED:
            raise Conflict("a break-glass grant is closed by consent:ReviewBreakGlass")
        entry = AuditEntry(
            item.patient, Kind.ACCESS_REVIEWED, item.id, purpose=item.purpose, verdict=outcome
        )
        await trail.record(ctx, entry)
        ctx.set_event("audit.ReviewClosed", item)
        return item


async def require_reader(ctx: Context, patient: str) -> None:
    """Raise unless the caller may read this patient's trail.

    Raises:
        NotFound: no such patient.
        Denied: the caller is no patient, delegate, privacy officer at the custodian or auditor.
    """
    if ctx.client.get_attribute("role") == "auditor":
        await registry.require_member(ctx)
        await registry.patient(ctx, patient)
        return
    await registry.require_acting(ctx, patient, Scope.AUDIT)
