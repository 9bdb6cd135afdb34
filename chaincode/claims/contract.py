"""The transactions `claims:*`: gather facts, ask the checks and rules, write, leave trail and
event.

**Where private details go, and who sees them.** Transient data reaches every peer that endorses, so
it may only go to peers that may know it:

- *Shared room* (`claims-<Provider>-<Payer>`): the provider and the payer endorse, and both may know
  everything. Details, decision and payment travel in transient fields and are written to the shared
  collection in the same transaction. The gateway itself asks only members of a touched collection
  when a proposal has transient data, and provider and payer are two of `health`'s organisations,
  which is what its endorsement policy asks for.
- *The payer's own room* (`_implicit_org_<MSPID>`): no second organisation may know, but a public
  write needs a second one's endorsement. So each step is two transactions: `Stage`, `StageDecision`
  or `StagePrivate` writes nothing public, so the payer's peer endorses alone and sees the details;
  the public step then carries no transient data, only what staging answered, and every peer
  compares it with the private data hash that it has.

A peer outside a collection cannot read it, so nothing that is decided in a public step depends on a
private read that an endorser might not have: facts of the payer (coverage, authorisation,
enrolment) come in the transient field `facts` and are compared with public commitments.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TypeVar

from chaincode import canonical
from chaincode.access import role
from chaincode.claims import accumulators, coordination, decision, rules, statements, steps, store
from chaincode.claims.details import (
    Accumulated,
    OpenedCoverage,
    SealedAdjudication,
    Used,
)
from chaincode.claims.intake import Intake, read_claim, read_claims
from chaincode.claims.model import (
    BatchSubmitted,
    Change,
    CheckResult,
    Claim,
    FactKind,
    Filing,
    Notice,
    PrivateKind,
    Room,
    Staged,
    StagedCommitment,
    Submission,
    SubmissionResult,
)
from chaincode.claims.queries import Queries
from chaincode.claims.statements import CLAIMS_STAFF, Statements
from chaincode.claims.states import Action, Status
from chaincode.contract import Context, Contract, query, transaction
from chaincode.errors import InvalidArgument, NotFound
from chaincode.phi import validate_handle
from chaincode.table import PageRequest

DECIDERS = role("claims", "adjudicator")
_FIRST_PAGE = PageRequest()
T = TypeVar("T")


class ClaimsContract(Statements, Queries, Contract, name="claims"):
    """Claims from submission through checks, decision and payment to appeal."""

    # --- in ------------------------------------------------------------------------------------

    @transaction(access=CLAIMS_STAFF)
    async def Submit(self, ctx: Context, filing: Filing) -> SubmissionResult:
        """A claim is accepted, or rejected at the gate, with the results of its checks.

        By a provider, or by a payer for what reached it otherwise; for the shared room. Transient:
        `claim` (salt and details), `fingerprintKey`; `facts` and `table` where they are known.
        Submitting the same again is answered with how the claim stands.
        """
        if filing.room is Room.OWN:
            raise InvalidArgument("filing.room: for the own room use Stage, then SubmitBatch")
        intake = Intake(ctx)
        result = await intake.submit(Submission(filing), read_claim(ctx))
        await intake.finish()
        if not result.existing:
            held = intake.claim(filing.claim)
            ctx.set_event(f"claims.{_title(held.status)}", rules.event_of(held))
        return result

    @transaction(access=CLAIMS_STAFF)
    async def SubmitBatch(
        self, ctx: Context, submissions: list[Submission]
    ) -> list[SubmissionResult]:
        """Up to 1,000 claims, each with a result of its own; one that cannot be taken says why.

        Transient `claims` (sealed details by handle) and `fingerprintKey` for the shared room; none
        for a payer's own room, where each submission carries what `Stage` answered.
        """
        if not 1 <= len(submissions) <= rules.MAX_BATCH:
            raise InvalidArgument(f"submissions: expected 1 to {rules.MAX_BATCH}")
        details = read_claims(ctx)
        if details and any(item.filing.room is Room.OWN for item in submissions):
            raise InvalidArgument(
                "claims: details for a payer's own room never travel in a public transaction; "
                "stage them first"
            )
        intake = Intake(ctx)
        await intake.prefetch(submissions, details)
        results = [
            await intake.submit_or_report(item, details.get(item.filing.claim))
            for item in submissions
        ]
        await intake.finish()
        new = [item for item in results if not item.existing and not item.error]
        if new:
            rejected = tuple(item.claim for item in new if item.status is Status.REJECTED)
            accepted = tuple(item.claim for item in new if item.status is not Status.REJECTED)
            event = BatchSubmitted(ctx.client.msp_id, accepted, rejected)
            ctx.set_event("claims.BatchSubmitted", event)
        return results

    @transaction(access=CLAIMS_STAFF)
    async def Stage(self, ctx: Context, filings: list[Filing]) -> list[Staged]:
        """A payer's details are in its own room; nothing public is written.

        Endorsed by the payer's peer alone. Transient as for `SubmitBatch`, `facts`, `table`. Hand
        each answer to `SubmitBatch` with its filing.
        """
        if not 1 <= len(filings) <= rules.MAX_BATCH:
            raise InvalidArgument(f"filings: expected 1 to {rules.MAX_BATCH}")
        details, intake = read_claims(ctx), Intake(ctx)
        staged = []
        for index, filing in enumerate(filings):
            sealed = details.get(filing.claim)
            if sealed is None:
                raise InvalidArgument(f"filings[{index}]: no details in the transient claims")
            staged.append(await intake.stage(filing, sealed))
        return staged

    @query(access=CLAIMS_STAFF)
    async def Check(self, ctx: Context, filing: Filing) -> list[CheckResult]:
        """What `Submit` would find, for one's own peer: nothing is sent to the payer.

        Transient as for `Submit`.
        """
        return list(await Intake(ctx).check(filing, read_claim(ctx)))

    # --- between --------------------------------------------------------------------------------

    @transaction(access=CLAIMS_STAFF)
    async def Pend(self, ctx: Context, change: Change) -> Claim:
        """The payer waits for information; `change.reasons` says for what, at least one.

        Transient `information` (salt and words) in the shared room, if there is more to say.
        """
        if not change.reasons:
            raise InvalidArgument("change.reasons: say what is missing, as CARC and RARC")
        return await steps.take_step(ctx, change, Action.PEND, PrivateKind.INFORMATION)

    @transaction(access=CLAIMS_STAFF)
    async def Supply(self, ctx: Context, change: Change) -> Claim:
        """The filer has supplied what was asked for. Transient `information` in the shared room."""
        return await steps.take_step(ctx, change, Action.SUPPLY, PrivateKind.INFORMATION)

    # --- decided --------------------------------------------------------------------------------

    @transaction(access=DECIDERS)
    async def Adjudicate(self, ctx: Context, change: Change, notice: Notice | None = None) -> Claim:
        """The payer has decided: paid, partial or denied, with reasons and an appeal deadline.

        Shared room: transient `decision` (salt; lines, if by hand), `facts`, `table`. Own room:
        `notice` as `StageDecision` answered it, and no transient data.
        """
        return await steps.put_decision(ctx, change, notice, Action.ADJUDICATE)

    @transaction(access=DECIDERS)
    async def StageDecision(self, ctx: Context, change: Change) -> Notice:
        """The decision is in the payer's own room; nothing public is written.

        For claims in that room, and for those whose coverage has a deductible or limits. Transient
        `decision`, `facts`, `table`, `fingerprintKey` for a coverage that accumulates. Hand the
        answer to `Adjudicate` or `DecideAppeal`; for a claim in the shared room also, in the
        transient field `sealed`, what `StagedDecision` answers.
        """
        claim = await steps.payers_claim(ctx, change)
        made = await decision.make_decision(ctx, claim, staged=True)
        room = rules.collection_of(Room.OWN, "", "", claim.payer)
        where = (claim.claim, store.DECISION, claim.version + 1)
        await store.put_private(ctx, room, made.sealed, *where)
        await store.put_staged(ctx, room, made.notice, *where)
        if made.book is not None:
            key = store.fact_key(ctx, decision.BOOK, made.notice.accumulator)
            await ctx.stub.put_private_data(room, key, canonical.encode(made.book))
        return made.notice

    @query(access=DECIDERS)
    async def StagedDecision(self, ctx: Context, claim: str, version: int) -> SealedAdjudication:
        """What `StageDecision` decided on a claim at this version, from the payer's own peer."""
        room = rules.collection_of(Room.OWN, "", "", await statements.require_payer(ctx))
        where = (claim, store.DECISION, version + 1)
        found = await store.get_private(ctx, SealedAdjudication, room, *where)
        if found is None:
            raise NotFound("nothing is staged for this claim and version at this peer")
        return found

    @query(access=CLAIMS_STAFF)
    async def Accumulated(self, ctx: Context, coverage: str, day: date) -> Accumulated:
        """What a payer stated of a coverage, and what is used of the benefit period of a day.

        From the payer's own peer. Transient `fingerprintKey`.
        """
        validate_handle(coverage, "coverage")
        payer = await statements.require_payer(ctx)
        room = rules.collection_of(Room.OWN, "", "", payer)
        key = store.fact_key(ctx, FactKind.COVERAGE.value, coverage)
        raw = await ctx.stub.get_private_data(room, key)
        if raw is None:
            raise NotFound("the payer stated no such coverage")
        fact = canonical.decode(OpenedCoverage, raw).fact
        start = accumulators.period_of(fact, day)
        handle = await decision.handle_of(ctx, payer, coverage, start)
        book = await decision.read_book(ctx, payer, handle)
        used = Used()
        if book is not None:
            claims = await store.get_claims(ctx, [one.claim for one in book.claims])
            used = accumulators.used_of(book, claims, "")
        return Accumulated(fact, start, used)

    @transaction(access=CLAIMS_STAFF)
    async def StagePrivate(
        self, ctx: Context, change: Change, kind: PrivateKind
    ) -> StagedCommitment:
        """A payment's or a message's private part is in the payer's own room; nothing public.

        Transient `remittance` or `information`. Hand `commitment` to the step in its `change`.
        """
        claim = await steps.own_claim(ctx, change)
        sealed = steps.read_sealed(ctx, kind)
        if sealed is None:
            raise InvalidArgument(f"the transient field {kind.value} is missing")
        await steps.validate_private(ctx, claim, sealed)
        staged = StagedCommitment(claim.claim, claim.version + 1, kind, steps.commitment_of(sealed))
        where = (claim.claim, kind.value, claim.version + 1)
        await store.put_private(ctx, claim.collection, sealed, *where)
        await store.put_staged(ctx, claim.collection, staged, *where)
        return staged

    @transaction(access=DECIDERS)
    async def Pay(self, ctx: Context, change: Change) -> Claim:
        """The payer has paid exactly what it decided. Transient `remittance` in the shared room."""
        return await steps.take_step(ctx, change, Action.PAY, PrivateKind.REMITTANCE, required=True)

    @transaction(access=CLAIMS_STAFF)
    async def Reconcile(self, ctx: Context, change: Change) -> Claim:
        """The filer has matched the payment with the claim."""
        return await steps.take_step(ctx, change, Action.RECONCILE)

    # --- after ----------------------------------------------------------------------------------

    @transaction(access=CLAIMS_STAFF)
    async def Appeal(self, ctx: Context, change: Change) -> Claim:
        """The filer contests a refusal, in time. Transient `information` in the shared room."""
        return await steps.take_step(ctx, change, Action.APPEAL, PrivateKind.INFORMATION)

    @transaction(access=DECIDERS)
    async def DecideAppeal(
        self, ctx: Context, change: Change, upheld: bool, notice: Notice | None = None
    ) -> Claim:
        """The payer has decided an appeal: the refusal is upheld, or there is a new decision.

        If not upheld, in whole or in part: as for `Adjudicate`, with lines.
        """
        if upheld:
            return await steps.take_step(ctx, change, Action.UPHOLD, PrivateKind.INFORMATION)
        return await steps.put_decision(ctx, change, notice, Action.OVERTURN)

    @transaction(access=CLAIMS_STAFF)
    async def Void(self, ctx: Context, change: Change) -> Claim:
        """The filer has taken the claim back; one that was paid is marked for reversal."""
        book = store.FingerprintBook(ctx)
        claim = await steps.take_step(ctx, change, Action.VOID)
        await book.remove(claim)
        await book.save()
        return claim

    @transaction(access=CLAIMS_STAFF)
    async def Replace(
        self, ctx: Context, change: Change, submission: Submission
    ) -> SubmissionResult:
        """A corrected claim stands for an earlier one; `filing.replaces` names it.

        Transient as for `Submit`. If the new claim is rejected at the gate, the earlier stays.
        """
        if submission.filing.replaces != change.claim:
            raise InvalidArgument("submission.filing.replaces: name the claim to be replaced")
        held = await store.CLAIMS.require(ctx, change.claim, what="claim")
        after = steps.advanced(ctx, held, change, Action.REPLACE)
        intake = Intake(ctx)
        await intake.book.remove(held)
        own = submission.filing.room is Room.OWN
        result = await intake.submit(submission, None if own else read_claim(ctx))
        if result.existing:
            return result
        new = intake.claim(result.claim)
        if result.status is Status.REJECTED:
            ctx.set_event("claims.Rejected", rules.event_of(new))
            return result
        await intake.finish()
        await decision.give_back(ctx, held)
        await steps.keep_change(ctx, replace(after, replaced_by=new.claim), held, Action.REPLACE)
        await coordination.settle(ctx, held)
        later = await coordination.flag_later(ctx, held, Action.REPLACE, new.claim)
        ctx.set_event("claims.Replaced", rules.event_of(new, later))
        return result

    @transaction(access=DECIDERS)
    async def Confirm(self, ctx: Context, change: Change) -> Claim:
        """A later payer has looked again and stays with its claim as it is.

        For a claim that waits in its queue, for the decision that it rests on has changed.
        """
        return await steps.take_step(ctx, change, Action.CONFIRM)


def _title(status: Status) -> str:
    return "Rejected" if status is Status.REJECTED else "Submitted"
