"""Makes a payer's decision: by rules from the checks, or by hand; and puts it on the claim.

What earlier claims used of a benefit period is in the payer's own room, which no other endorser can
read: so a decision that it counts for is staged there first, whatever room the claim is in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from chaincode import canonical, commitment
from chaincode.claims import accumulators, checks, rules, store
from chaincode.claims.adjudication import (
    InvalidAdjudication,
    adjudicate,
    outcome_of,
    reasons_of,
    total_up,
    validate_adjudication,
)
from chaincode.claims.checks.authorization import used_units
from chaincode.claims.checks.context import ClaimContext
from chaincode.claims.checks.eligibility import find_coverage
from chaincode.claims.details import (
    Accumulator,
    Adjudication,
    Coverage,
    DecisionInput,
    Details,
    SealedAdjudication,
    SealedDetails,
    Use,
    Used,
    UsedByClaim,
)
from chaincode.claims.gather import Desk
from chaincode.claims.model import (
    AccumulatorVersion,
    CheckResult,
    Claim,
    FactKind,
    Notice,
    Room,
)
from chaincode.claims.states import Outcome, Status
from chaincode.contract import Context
from chaincode.errors import Conflict, InvalidArgument

BOOK = "accumulator"
MOVED_ON = "the member's benefit period has changed since; stage the decision again"
_DEFAULT_APPEAL_DAYS = 120
_GONE = (Status.VOIDED, Status.REPLACED, Status.REJECTED)


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision with its public face, and the payer's book as it is to be, if it keeps one."""

    notice: Notice
    sealed: SealedAdjudication
    book: Accumulator | None = None


async def make_decision(ctx: Context, claim: Claim, *, staged: bool) -> Decision:
    """The decision on a claim. Reads private details, writes nothing.

    Raises:
        Conflict: the details are not at this peer, or a check asks for a person.
        InvalidArgument: the decision does not balance, facts are missing, or it counts for a
            benefit period and is not staged.
    """
    details = await read_details(ctx, claim)
    asked = canonical.decode(DecisionInput, store.read_transient(ctx, "decision"), "decision")
    desk = Desk(ctx)
    context = await desk.private_context(rules.filing_of(claim), claim.submitter, details)
    # What counts for the filing limit is when the claim came, not when it is decided.
    context = replace(context, now=claim.submitted_at, settled=True)
    results = checks.merge(claim.checks, checks.run(context, checks.Needs.DETAILS))
    results = await _without_gone(ctx, results)
    coverage = find_coverage(details, context.coverages or ())
    period = None
    if coverage is not None and coverage.accumulates:
        if not staged:
            raise InvalidArgument(
                "the coverage has a deductible or limits: stage the decision first (StageDecision)"
            )
        period = await _Period.open(ctx, claim, coverage, details)
    made = _adjudication(context, details, asked, results, period.used if period else Used())
    priced = checks.run_one("pricing", replace(context, priced=made))
    sealed = SealedAdjudication(asked.salt, made)
    outcome = outcome_of(made)
    notice = Notice(
        claim=claim.claim,
        version=claim.version,
        outcome=outcome,
        reasons=reasons_of(made),
        decision=seal(commitment.DECISION, asked.salt, made),
        checks=checks.merge(results, (priced,)),
        appeal_days=context.table.appeal_days if context.table else _DEFAULT_APPEAL_DAYS,
        units=_units(details, made, outcome),
        accumulator=period.handle if period else "",
        accumulator_version=period.version if period else 0,
    )
    if period is None or details.use is not Use.CLAIM:
        # An estimate or authorisation looks at what is left, and takes nothing of it.
        return Decision(replace(notice, accumulator="", accumulator_version=0), sealed)
    return Decision(notice, sealed, period.entered(notice.decision, made))


@dataclass(frozen=True, slots=True)
class _Period:
    """A member's benefit period, as the claim to be decided finds it."""

    handle: str
    version: int
    claim: Claim
    coverage: Coverage
    details: Details
    book: Accumulator
    claims: dict[str, Claim]

    @classmethod
    async def open(
        cls, ctx: Context, claim: Claim, coverage: Coverage, details: Details
    ) -> _Period:
        start = accumulators.period_of_claim(coverage, details)
        handle = await handle_of(ctx, claim.payer, coverage.coverage, start)
        held = await store.ACCUMULATORS.get(ctx, claim.payer, handle)
        book = await read_book(ctx, claim.payer, handle)
        book = book or Accumulator(coverage.coverage, start)
        claims = await store.get_claims(ctx, [one.claim for one in book.claims])
        version = held.version if held else 0
        return cls(handle, version, claim, coverage, details, book, claims)

    @property
    def used(self) -> Used:
        return accumulators.used_of(self.book, self.claims, self.claim.claim)

    def entered(self, decision: bytes, made: Adjudication) -> Accumulator:
        used = accumulators.used_by(self.details, made, self.coverage)
        new = UsedByClaim(self.claim.claim, decision, used)
        return accumulators.entered(self.book, self.claims, new)


async def handle_of(ctx: Context, payer: str, coverage: str, start: date) -> str:
    """The handle of a benefit period, by the key in the transient field `fingerprintKey`."""
    key = await Desk(ctx).fingerprint_key()
    return accumulators.accumulator_handle(key, payer, coverage, start)


async def read_book(ctx: Context, payer: str, handle: str) -> Accumulator | None:
    """The payer's private book of a benefit period, from its own room."""
    room = rules.collection_of(Room.OWN, "", "", payer)
    raw = await ctx.stub.get_private_data(room, store.fact_key(ctx, BOOK, handle))
    return None if raw is None else canonical.decode(Accumulator, raw)


async def take(ctx: Context, before: Claim, notice: Notice) -> None:
    """What the decision takes is taken, and what an earlier one of the claim took given back.

    Raises Conflict: an authorisation has too few units, or the benefit period has changed since the
    decision was made.
    """
    payer = before.payer
    changes = {handle: -units for handle, units in before.units.items()}
    for handle, units in notice.units.items():
        changes[handle] = changes.get(handle, 0) + units
    await _change_units(ctx, payer, changes)
    if notice.accumulator:
        held = await store.ACCUMULATORS.get(ctx, payer, notice.accumulator)
        if (held.version if held else 0) != notice.accumulator_version:
            raise Conflict(MOVED_ON)
    await _touch(ctx, payer, {notice.accumulator, before.accumulator})


async def give_back(ctx: Context, claim: Claim) -> None:
    """What the claim's decision took counts no more: the claim is void, or replaced."""
    await _change_units(ctx, claim.payer, {name: -units for name, units in claim.units.items()})
    await _touch(ctx, claim.payer, {claim.accumulator})


async def _change_units(ctx: Context, payer: str, changes: dict[str, int]) -> None:
    for handle, units in sorted(changes.items()):
        parts = (payer, FactKind.AUTHORIZATION.value, handle)
        held = await store.REGISTRATIONS.get(ctx, *parts) if units else None
        if held is None:
            continue  # decided by hand on an authorisation that is not on the ledger
        if held.units_left < units:
            raise Conflict("an authorisation has too few units left")
        await store.REGISTRATIONS.put(
            ctx, replace(held, units_left=held.units_left - units), *parts
        )


async def _touch(ctx: Context, payer: str, handles: set[str]) -> None:
    """Decisions that were made on these benefit periods as they were are refused from now on."""
    for handle in sorted(handles - {""}):
        held = await store.ACCUMULATORS.get(ctx, payer, handle)
        version = held.version + 1 if held else 1
        await store.ACCUMULATORS.put(ctx, AccumulatorVersion(handle, payer, version), payer, handle)


def _units(details: Details, made: Adjudication, outcome: Outcome) -> dict[str, int]:
    if outcome is Outcome.DENIED or details.use is not Use.CLAIM:
        return {}
    return used_units(_paid_part(details, made))


async def read_details(ctx: Context, claim: Claim) -> Details:
    """The claim's details, as this peer has them and as they were committed to."""
    sealed = await store.get_private(
        ctx, SealedDetails, claim.collection, claim.claim, store.DETAILS, 1
    )
    if sealed is None:
        raise Conflict("the claim's details are not at this peer; ask a peer of the parties")
    if not rules.opens_details(claim.commitment, sealed):
        raise Conflict("the private details are not those that the claim commits to")
    return sealed.details


async def read_adjudication(ctx: Context, claim: Claim) -> Adjudication:
    """The decision on the claim, with its amounts. Raises Conflict if it is not at this peer."""
    sealed = await store.get_private(
        ctx,
        SealedAdjudication,
        claim.collection,
        claim.claim,
        store.DECISION,
        claim.decision_version,
    )
    if sealed is None:
        raise Conflict("the decision's amounts are not at this peer; ask a peer of the parties")
    return sealed.adjudication


def seal(tag: bytes, salt: bytes, value: object) -> bytes:
    """The commitment to a private value. Raises InvalidArgument unless the salt is 32 bytes."""
    try:
        return commitment.commit(tag, salt, canonical.encode(value))
    except ValueError as error:
        raise InvalidArgument(f"salt: {error}") from None


def _adjudication(
    context: ClaimContext,
    details: Details,
    asked: DecisionInput,
    results: tuple[CheckResult, ...],
    used: Used,
) -> Adjudication:
    if asked.lines:
        made = total_up(details.claim, details.currency, asked.lines)
    else:
        rules.validate_ready(results, accept_deferred=asked.accept_deferred)
        made = adjudicate(
            details,
            results,
            coverage=find_coverage(details, context.coverages or ()),
            table=context.table,
            used=used,
        )
    try:
        validate_adjudication(made, details)
    except InvalidAdjudication as error:
        raise InvalidArgument(f"decision: {error}") from None
    return made


async def _without_gone(ctx: Context, results: tuple[CheckResult, ...]) -> tuple[CheckResult, ...]:
    """The results without duplicates of claims that were voided or replaced since."""
    related = {f.related for result in results for f in result.findings if f.related}
    gone = set()
    for handle in sorted(related):
        held = await store.CLAIMS.get(ctx, handle)
        if held is None or held.status in _GONE:
            gone.add(handle)
    return tuple(checks.drop_related(result, gone) for result in results)


def _paid_part(details: Details, made: Adjudication) -> Details:
    """The lines on which something is paid."""
    paid = {line.sequence for line in made.lines if line.paid > 0}
    return replace(details, lines=tuple(x for x in details.lines if x.sequence in paid))
