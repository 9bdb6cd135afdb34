"""Takes submissions in: checks each, writes what it becomes. One `Intake` a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chaincode import canonical
from chaincode.audit import trail
from chaincode.audit.model import AuditEntry, Kind
from chaincode.claims import checks, coordination, rules, store
from chaincode.claims.checks.consent import PURPOSE
from chaincode.claims.checks.context import ClaimContext
from chaincode.claims.details import SealedDetails
from chaincode.claims.gather import Desk
from chaincode.claims.model import (
    CheckResult,
    Claim,
    Filing,
    Fingerprints,
    Room,
    Staged,
    Submission,
    SubmissionResult,
)
from chaincode.claims.states import Status
from chaincode.contract import Context
from chaincode.directory import registry
from chaincode.errors import ContractError, Denied, InvalidArgument
from chaincode.phi import is_handle


class Intake:
    """The submissions of one transaction. `finish` writes the fingerprints, once for all."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.desk = Desk(ctx)
        self.book = store.FingerprintBook(ctx)
        self._submitter = ctx.client.msp_id
        self._taken: dict[str, Claim] = {}
        self._held: dict[str, Claim | None] = {}
        self._fingerprints: dict[str, Fingerprints] = {}
        # Dozens of writes a claim: a peer that can (3.1 on) takes them together.
        ctx.stub.start_write_batch()

    async def prefetch(
        self, submissions: Sequence[Submission], details: Mapping[str, SealedDetails]
    ) -> None:
        """What the ledger knows of these claims is read, in a few requests to the peer for all."""
        submissions = [item for item in submissions if is_handle(item.filing.claim)]
        handles = [item.filing.claim for item in submissions]
        found = await store.get_claims(self._ctx, list(dict.fromkeys(handles)))
        self._held = {handle: found.get(handle) for handle in handles}
        values: list[bytes] = []
        for item in submissions:
            sealed = details.get(item.filing.claim)
            if sealed is not None:
                made = await self.desk.fingerprints(sealed.details)
                self._fingerprints[item.filing.claim] = made
            elif item.staged is not None:
                made = item.staged.fingerprints
            else:
                continue
            values += (made.claim, *made.lines)
        await self.book.prefetch(values)

    async def check(self, filing: Filing, sealed: SealedDetails) -> tuple[CheckResult, ...]:
        """All checks on a filing, without writing anything."""
        rules.validate_filing(filing)
        rules.validate_details(filing, sealed)
        fingerprints = await self.desk.fingerprints(sealed.details)
        private = await self._check_private(filing, sealed)
        public, _ = await self._check_public(filing, fingerprints)
        return checks.merge(private, public)

    async def stage(self, filing: Filing, sealed: SealedDetails) -> Staged:
        """The details are in the payer's own room, with what the checks found in them."""
        rules.validate_filing(filing)
        if filing.room is not Room.OWN or filing.payer != self._submitter:
            raise Denied("only a payer stages claims, and only for its own room")
        rules.validate_details(filing, sealed)
        staged = Staged(
            claim=filing.claim,
            commitment=filing.commitment,
            fingerprints=await self.desk.fingerprints(sealed.details),
            checks=await self._check_private(filing, sealed),
        )
        room = await self.desk.collection(filing, self._submitter)
        await store.put_private(self._ctx, room, sealed, filing.claim, store.DETAILS, 1)
        await store.put_staged(self._ctx, room, staged, filing.claim, store.DETAILS, 1)
        return staged

    async def submit(
        self, submission: Submission, sealed: SealedDetails | None
    ) -> SubmissionResult:
        """The claim is there: accepted, or rejected at the gate with the reasons.

        Submitted before by the same organisation with the same commitment, it is answered with how
        it stands, and nothing is written.
        """
        filing = submission.filing
        rules.validate_filing(filing)
        held = self._taken.get(filing.claim) or await self._find(filing.claim)
        if held is not None and rules.is_same_submission(held, filing, self._submitter):
            return SubmissionResult(held.claim, held.status, held.version, True, held.checks)
        room = await self.desk.collection(filing, self._submitter)
        if filing.room is Room.OWN:
            staged = await self._open_staged(submission, room)
            fingerprints, private = staged.fingerprints, staged.checks
        else:
            if sealed is None:
                raise InvalidArgument("the claim's details are missing in the transient field")
            rules.validate_details(filing, sealed)
            fingerprints = self._fingerprints.get(filing.claim) or await self.desk.fingerprints(
                sealed.details
            )
            private = await self._check_private(filing, sealed)
        public, context = await self._check_public(filing, fingerprints)
        results = checks.merge(private, public)
        claim = rules.open_claim(
            filing,
            fingerprints,
            results,
            submitter=self._submitter,
            collection=room,
            rejected=checks.is_rejected(results),
            now=self._ctx.now,
            tx_id=self._ctx.tx_id,
        )
        await self._write(claim, context, sealed)
        return SubmissionResult(claim.claim, claim.status, claim.version, False, results)

    async def submit_or_report(
        self, submission: Submission, sealed: SealedDetails | None
    ) -> SubmissionResult:
        """As `submit`; what cannot be taken is reported in `error` and stops no other claim.

        Everything that can be refused is refused before the first write of a claim.
        """
        try:
            return await self.submit(submission, sealed)
        except ContractError as error:
            if error.status >= 500:
                raise  # the peer's fault, not the submission's
            return SubmissionResult(submission.filing.claim, error=error.message)

    async def _find(self, handle: str) -> Claim | None:
        if handle not in self._held:
            self._held[handle] = await store.CLAIMS.get(self._ctx, handle)
        return self._held[handle]

    def claim(self, handle: str) -> Claim:
        """A claim that this transaction took in."""
        return self._taken[handle]

    async def finish(self) -> None:
        """The fingerprints of the new claims are written."""
        await self.book.save()

    async def _open_staged(self, submission: Submission, room: str) -> Staged:
        filing, staged = submission.filing, submission.staged
        if staged is None:
            raise InvalidArgument("staged: missing; claims:Stage answers it for the own room")
        if (staged.claim, staged.commitment) != (filing.claim, filing.commitment):
            raise InvalidArgument("staged: it is another claim's")
        await store.validate_staged(self._ctx, room, staged, filing.claim, store.DETAILS, 1)
        return staged

    async def _check_private(
        self, filing: Filing, sealed: SealedDetails
    ) -> tuple[CheckResult, ...]:
        context = await self.desk.private_context(filing, self._submitter, sealed.details)
        return checks.run(context, checks.Needs.DETAILS)

    async def _check_public(
        self, filing: Filing, fingerprints: Fingerprints
    ) -> tuple[tuple[CheckResult, ...], ClaimContext]:
        context = await self.desk.public_context(filing, self._submitter)
        context = replace(context, seen=await self.book.seen(filing, fingerprints))
        return checks.run(context, checks.Needs.LEDGER), context

    async def _write(
        self, claim: Claim, context: ClaimContext, sealed: SealedDetails | None
    ) -> None:
        ctx = self._ctx
        self._taken[claim.claim] = claim
        await keep(ctx, claim, None, "submit")
        if claim.status is not Status.REJECTED:
            # A rejected claim may be one that the payer must not have: its details stay out.
            if claim.room is Room.SHARED:
                await store.put_private(
                    ctx, claim.collection, sealed, claim.claim, store.DETAILS, 1
                )
            await self.book.add(claim)
            await coordination.register(ctx, claim)
        fact = context.consent
        entry = AuditEntry(
            patient=claim.patient,
            kind=Kind.CLAIM_SUBMITTED,
            subject=claim.claim,
            purpose=PURPOSE,
            action="disclose",
            verdict=claim.status.value,
            reason=fact.path if fact else "",
            consent_id=fact.consent_id if fact else "",
            consent_version=fact.version if fact else 0,
            records=tuple(item.record for item in claim.evidence),
            classes=("Claim",),
            custodian=claim.provider,
            recipient_msp_id=claim.payer,
        )
        await trail.record(ctx, entry)


async def keep(
    ctx: Context,
    claim: Claim,
    before: Claim | None,
    action: str,
    committed: bytes | None = None,
) -> None:
    """The claim stands as it is now: state, step and listings."""
    await store.CLAIMS.put(ctx, claim, claim.claim)
    step = rules.step_of(claim, action, ctx.client.msp_id, registry.user_digest(ctx), committed)
    await store.STEPS.put(ctx, step, claim.claim, f"{claim.version:06d}")
    await store.list_claim(ctx, claim, before)


def read_claims(ctx: Context) -> Mapping[str, SealedDetails]:
    """The transient field `claims`: sealed details by claim handle; empty if it is not there."""
    raw = ctx.transient.get("claims")
    return canonical.decode(dict[str, SealedDetails], raw, "claims") if raw else {}


def read_claim(ctx: Context) -> SealedDetails:
    """The transient field `claim`. Raises InvalidArgument if it is missing."""
    return canonical.decode(SealedDetails, store.read_transient(ctx, "claim"), "claim")
