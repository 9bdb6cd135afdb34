"""Claims as an organisation files them: one or thousands, corrected, forwarded to the next payer.

Sending is safe to repeat: a claim keeps its handle and salt (`claimcards`), and the ledger answers
a claim that it has with how it stands.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, starmap
from typing import Any, TypeVar

from admin.errors import FaultError, get_chaincode_answer, input_error
from admin.procedures.claims.facts import PayerFacts, Support
from admin.procedures.claims.keys import open_key
from admin.procedures.claims.preparation import (
    FilingOptions,
    Preparation,
    Prepared,
    Primary,
)
from admin.procedures.claims.seeing import HANDLE_LENGTH, SeenClaims
from admin.procedures.claims.sources import ORIGINAL, VOID, ClaimSource, UnknownReferenceError
from admin.procedures.networks.health import Committed, Health
from chaincode import canonical
from chaincode.claims import checks
from chaincode.claims.model import (
    Change,
    CheckResult,
    Claim,
    Room,
    Staged,
    Submission,
    SubmissionResult,
)
from chaincode.claims.states import Status
from network.client.errors import EvaluateError
from network.client.profile import Profile, Surroundings
from network.topology.values import Role

PRE_CHECKS = 8
"""Claims whose checks run at the same time at one's own peer."""
T = TypeVar("T")
NOT_FOUND = 404

WINDOW = 2_000
"""Claims of a submission that are prepared together, and held until all of them are answered."""

CHUNKS_IN_FLIGHT = 2
"""Transactions of claims on their way at once: one is endorsed while another is ordered."""

Progress = Callable[[int], None]
NO_PROGRESS: Progress = lambda done: None  # noqa: E731
Told = Callable[[Sequence["Submitted"]], None]
NOT_TOLD: Told = lambda done: None  # noqa: E731


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of one claim. `sent`: False if it stopped at one's own peer; then nobody saw it.

    `block_number` and `seconds` are those of its transaction; 0 if nothing was sent. `number` is
    what the filer calls it. `unknown`: nobody said which handle stands for its patient or coverage.
    """

    where: str
    claim: str
    payer: str
    room: Room
    result: SubmissionResult
    sent: bool = True
    transaction_id: str = ""
    block_number: int = 0
    seconds: float = 0.0
    number: str = ""
    unknown: bool = False

    @property
    def refused(self) -> bool:
        """Whether it was stopped, or could not be taken at all."""
        return bool(self.result.error) or self.result.status is Status.REJECTED


class Claims(SeenClaims):
    """Acts on claims in the name of one identity."""

    def __init__(self, surroundings: Surroundings, profile: Profile, health: Health) -> None:
        super().__init__(profile, health)
        self._surroundings = surroundings
        self._preparation = Preparation(surroundings, profile, health)

    @property
    def own_room(self) -> bool:
        """Whether who acts is a payer."""
        return self._profile.organization.role is Role.PAYER

    # -- filed -------------------------------------------------------

    async def submit(
        self,
        sources: Sequence[ClaimSource],
        options: FilingOptions,
        *,
        progress: Progress = NO_PROGRESS,
        told: Told = NOT_TOLD,
    ) -> list[Submitted]:
        """Every claim is on the ledger, accepted or rejected, or was stopped at one's own peer.

        Claims that are there already are answered with how they stand, so that an interrupted
        submission goes on when the same files are sent again. `told` gets results as they come, in
        the order of the sources.

        Raises:
            FaultError: a file does not say enough; nothing was sent.
        """
        corrections = [(one, await self._prior(one)) for one in sources if _corrects(one)]
        plain = [one for one in sources if not _corrects(one)]
        left_out: dict[str, FaultError] | None = {} if options.skip_faulty else None
        prepared = await self._preparation.prepare_all(plain, options, left_out)
        starts = range(0, len(prepared), options.chunk)
        chunks = [prepared[start : start + options.chunk] for start in starts]
        limit = asyncio.Semaphore(CHUNKS_IN_FLIGHT)

        async def send(number: int, chunk: list[Prepared]) -> list[Submitted]:
            async with limit:
                done = await self._send(chunk, options)
            in_turn(number, done)
            progress(len(chunk))
            return done

        in_turn = _in_turn(told)
        found = [one for done in await _gather(starmap(send, enumerate(chunks))) for one in done]
        numbers = {one.where: one.number[-1] for one in plain}
        for where, failure in (left_out or {}).items():
            done = _left_out(where, numbers[where], failure, self._msp_id)
            told([done])
            progress(1)
            found.append(done)
        for source, held in corrections:
            done = await self._correct(source, held, options)
            told([done])
            progress(1)
            found.append(done)
        return found

    async def submit_all(
        self,
        sources: Iterable[ClaimSource],
        options: FilingOptions,
        *,
        progress: Progress = NO_PROGRESS,
        told: Told = NOT_TOLD,
        window: int = WINDOW,
    ) -> None:
        """As `submit`, for any number of claims: no more than a window of them is held at once.

        Raises:
            FaultError: a file does not say enough; nothing of its window was sent.
        """
        going = iter(sources)
        while held := list(islice(going, window)):
            await self.submit(held, options, progress=progress, told=told)

    async def primary(self, claim: str) -> Primary:
        """Return a decided claim for the payer that comes after. Raises FaultError."""
        held = await self.resolve(claim)
        file = await self.details(held.claim)
        if held.decision is None or not file.decisions:
            raise input_error(
                f"claim {held.claim[:8]} is {held.status.value}: its payer's decision is not here",
                "a claim is coordinated with one that a prior payer has decided",
            )
        return Primary(held, file.decisions[-1])

    async def check(
        self, sources: Sequence[ClaimSource], options: FilingOptions
    ) -> list[tuple[Prepared, tuple[CheckResult, ...]]]:
        """Return what the checks find at one's own peer; nothing is sent or kept.

        A correction of an earlier claim is left out: its checks depend on that one's going.
        """
        plain = [one for one in sources if not _corrects(one)]
        prepared = await self._preparation.prepare_all(plain, options)
        support = await self._support(prepared, options)
        return list(zip(prepared, await self._check_all(prepared, support), strict=True))

    async def replace(self, claim: Claim, source: ClaimSource, options: FilingOptions) -> Submitted:
        """The corrected claim stands for the earlier one, or was rejected and changes nothing."""
        prepared = await self._preparation.prepare(source, options, replaces=claim)
        return await self._replace(claim, prepared, options)

    async def _replace(self, claim: Claim, prepared: Prepared, options: FilingOptions) -> Submitted:
        if prepared.held is not None:  # sent before: it is answered with how it stands
            return _existing(prepared, prepared.held)
        self._preparation.keep(prepared)
        support = await self._support([prepared], options)
        transient = self._transient(support)
        staged = None
        if prepared.filing.room is Room.OWN:
            staged = (await self._stage([prepared], transient))[0]
            transient = {}
        else:
            transient["claim"] = canonical.encode(prepared.sealed)
        done = await self._health.submit(
            "claims:Replace",
            Change(claim.claim, claim.version),
            Submission(prepared.filing, staged),
            result=SubmissionResult,
            transient=transient,
        )
        return _submitted(prepared, done.value, done)

    async def forward(self, claim: str, coverage: str, options: FilingOptions) -> Submitted:
        """What a payer decided on a claim is filed with the next payer, from the ledger alone.

        If an earlier decision of the same claim was forwarded to that payer, or of the one that it
        replaces, that claim is replaced; the same decision is answered with how its claim stands.

        Raises FaultError: the claim is not decided, or its private side is not here.
        """
        primary = await self.primary(claim)
        file = await self.details(primary.claim.claim)
        if file.details is None:
            raise input_error(
                "the claim's details are not at this peer", "act as one of the claim's parties"
            )
        payer = self._preparation.payer_named(options.payer)
        earlier = await self._forwarded(primary.claim, payer.msp_id)
        prepared = await self._preparation.prepare_forward(
            primary, file.details.details, coverage, options, replaces=earlier
        )
        if prepared.held is not None:
            return _existing(prepared, prepared.held)
        forwarding = replace(options, coordinates=primary)
        if earlier is None:
            return (await self._send([prepared], forwarding))[0]
        return await self._replace(earlier, prepared, forwarding)

    async def _forwarded(self, primary: Claim, payer: str) -> Claim | None:
        """The claim that this payer has on an earlier decision of it, None if it has none."""
        seen = primary
        while True:
            found = await self._health.evaluate("claims:Later", seen.claim, result=list[Claim])
            for one in found:
                if one.payer == payer:
                    return one
            if not seen.replaces:
                return None
            seen = await self.get(seen.replaces)

    async def _prior(self, source: ClaimSource) -> Claim:
        """The claim that a correction is of. Raises FaultError: it is none of ours."""
        remedy = "REF F8 repeats the payer's number of the claim: CLP07 of its 835, REF 1K of a 277"
        if len(source.prior) == HANDLE_LENGTH:
            try:
                return await self.get(source.prior)
            except EvaluateError as failure:
                answer = get_chaincode_answer(failure)
                if answer is None or answer[0] != NOT_FOUND:
                    raise
        raise input_error("the claim it corrects is not on the ledger", remedy, source.where)

    async def _correct(self, source: ClaimSource, held: Claim, options: FilingOptions) -> Submitted:
        """The replacement stands in the earlier claim's place, or that one is voided."""
        if source.frequency != VOID:
            return await self.replace(held, source, options)
        done = None
        if held.status is not Status.VOIDED:
            done = await self._health.submit(
                "claims:Void", Change(held.claim, held.version), result=Claim
            )
            held = done.value
        result = SubmissionResult(held.claim, held.status, held.version, done is None)
        return Submitted(
            where=source.where,
            claim=held.claim,
            payer=held.payer,
            room=held.room,
            result=result,
            transaction_id=done.transaction_id if done else held.tx_id,
            block_number=done.block_number if done else 0,
            seconds=done.seconds if done else 0.0,
        )

    # -- sent --------------------------------------------------------

    async def _send(self, chunk: list[Prepared], options: FilingOptions) -> list[Submitted]:
        """The chunk's claims are sent, each in its room."""
        results = {one.filing.claim: _existing(one, one.held) for one in chunk if one.held}
        fresh = [one for one in chunk if one.held is None]
        shared = [one for one in fresh if one.filing.room is Room.SHARED]
        own = [one for one in fresh if one.filing.room is Room.OWN]
        for one in fresh:  # kept before it is sent: a handle on the ledger is never forgotten
            self._preparation.keep(one)
        support = await self._support(fresh, options) if fresh else Support()
        # A payer has its own claims already; one that it forwards is offered to another.
        if options.ask_first and any(one.filing.payer != self._msp_id for one in shared):
            shared = await self._stop_at_own_peer(shared, support, results)
        if len(shared) == 1:
            results[shared[0].filing.claim] = await self._submit_one(shared[0], support)
        elif shared:
            fields = {one.filing.claim: one.sealed for one in shared}
            transient = {**self._transient(support), "claims": canonical.encode(fields)}
            await self._submit_batch(shared, [None] * len(shared), transient, results)
        if own:
            staged = await self._stage(own, self._transient(support))
            await self._submit_batch(own, staged, {}, results)
        return [results[one.filing.claim] for one in chunk]

    async def _submit_one(self, one: Prepared, support: Support) -> Submitted:
        done = await self._health.submit(
            "claims:Submit",
            one.filing,
            result=SubmissionResult,
            transient={**self._transient(support), "claim": canonical.encode(one.sealed)},
        )
        return _submitted(one, done.value, done)

    async def _submit_batch(
        self,
        chunk: list[Prepared],
        staged: Sequence[Staged | None],
        transient: dict[str, bytes],
        results: dict[str, Submitted],
    ) -> None:
        submissions = [
            Submission(one.filing, value) for one, value in zip(chunk, staged, strict=True)
        ]
        done = await self._health.submit(
            "claims:SubmitBatch",
            submissions,
            result=list[SubmissionResult],
            transient=transient,
        )
        for one, result in zip(chunk, done.value, strict=True):
            results[one.filing.claim] = _submitted(one, result, done)

    async def _stage(self, chunk: list[Prepared], transient: dict[str, bytes]) -> list[Staged]:
        """The details are in the payer's own room; only its own peer has seen them."""
        fields = {one.filing.claim: one.sealed for one in chunk}
        done = await self._health.submit(
            "claims:Stage",
            [one.filing for one in chunk],
            result=list[Staged],
            transient={**transient, "claims": canonical.encode(fields)},
            organizations=(self._msp_id,),
        )
        return done.value

    async def _stop_at_own_peer(
        self, chunk: list[Prepared], support: Support, results: dict[str, Submitted]
    ) -> list[Prepared]:
        """The claims that may be sent; the others are reported and nobody else has seen them.

        What consent does not permit must not even be offered to the payer (45 CFR 164.522(a)).
        """
        found = await self._check_all(chunk, support)
        passed = []
        for one, results_of_one in zip(chunk, found, strict=True):
            if checks.is_rejected(results_of_one):
                stopped = SubmissionResult(one.filing.claim, Status.REJECTED, checks=results_of_one)
                results[one.filing.claim] = replace(_submitted(one, stopped), sent=False)
            else:
                passed.append(one)
        return passed

    async def _check_all(
        self, chunk: list[Prepared], support: Support
    ) -> list[tuple[CheckResult, ...]]:
        limit = asyncio.Semaphore(PRE_CHECKS)
        transient = self._transient(support)

        async def check(one: Prepared) -> tuple[CheckResult, ...]:
            async with limit:
                found = await self._health.evaluate(
                    "claims:Check",
                    one.filing,
                    result=list[CheckResult],
                    transient={**transient, "claim": canonical.encode(one.sealed)},
                    organizations=(self._msp_id,),
                )
            return tuple(found)

        return list(await asyncio.gather(*map(check, chunk)))

    async def _support(self, chunk: list[Prepared], options: FilingOptions) -> Support:
        primaries = (options.coordinates.decision,) if options.coordinates else ()
        if not self.own_room or any(one.filing.payer != self._msp_id for one in chunk):
            return Support(replace(options.facts, primaries=primaries))
        facts = PayerFacts(
            self._surroundings, self._profile, self._health, open_key(self._surroundings)
        )
        support = await facts.support(one.sealed.details for one in chunk)
        return replace(support, facts=replace(support.facts, primaries=primaries))

    def _transient(self, support: Support) -> dict[str, bytes]:
        return {**support.transient, "fingerprintKey": open_key(self._surroundings)}


def _in_turn(told: Told) -> Callable[[int, list[Submitted]], None]:
    """Pass numbered chunks on from 0 upwards, however they come."""
    waiting: dict[int, list[Submitted]] = {}
    due = 0

    def take(number: int, done: list[Submitted]) -> None:
        nonlocal due
        waiting[number] = done
        while due in waiting:
            told(waiting.pop(due))
            due += 1

    return take


async def _gather(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order; the first failure ends all."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _corrects(source: ClaimSource) -> bool:
    """Whether it says, as X12 does, that it replaces or voids an earlier claim."""
    return source.frequency != ORIGINAL


def _left_out(where: str, number: str, failure: FaultError, payer: str) -> Submitted:
    fault = failure.fault
    return Submitted(
        where=where,
        claim="",
        payer=payer,
        room=Room.OWN,
        result=SubmissionResult("", error=f"{fault.code}: {fault.message}"),
        sent=False,
        number=number,
        unknown=isinstance(failure, UnknownReferenceError),
    )


def _existing(one: Prepared, held: Claim) -> Submitted:
    result = SubmissionResult(held.claim, held.status, held.version, True, held.checks)
    return replace(_submitted(one, result), transaction_id=held.tx_id)


def _submitted(
    one: Prepared, result: SubmissionResult, done: Committed[Any] | None = None
) -> Submitted:
    return Submitted(
        where=one.where,
        claim=one.filing.claim,
        payer=one.filing.payer,
        room=one.filing.room,
        result=result,
        transaction_id=done.transaction_id if done else "",
        block_number=done.block_number if done else 0,
        seconds=done.seconds if done else 0.0,
        number=one.sealed.details.number,
    )
