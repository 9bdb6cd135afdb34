"""Makes a payer's decision: by rules from the checks, or by hand; and puts it on the claim."""

from __future__ import annotations

from dataclasses import replace

from chaincode import canonical, commitment
from chaincode.claims import checks, rules, store
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
from chaincode.claims.checks.coordination import prior_paid
from chaincode.claims.checks.eligibility import find_coverage
from chaincode.claims.details import (
    Adjudication,
    DecisionInput,
    Details,
    SealedAdjudication,
    SealedDetails,
)
from chaincode.claims.gather import Desk
from chaincode.claims.model import CheckResult, Claim, FactKind, Notice
from chaincode.claims.states import Outcome, Status
from chaincode.contract import Context
from chaincode.errors import Conflict, InvalidArgument

_DEFAULT_APPEAL_DAYS = 120
_GONE = (Status.VOIDED, Status.REPLACED, Status.REJECTED)


async def make_decision(ctx: Context, claim: Claim) -> tuple[Notice, SealedAdjudication]:
    """The decision on a claim with its public face. Reads private details, writes nothing.

    Raises:
        Conflict: the details are not at this peer, or a check asks for a person.
        InvalidArgument: the decision does not balance, or facts are missing.
    """
    details = await read_details(ctx, claim)
    asked = canonical.decode(DecisionInput, store.read_transient(ctx, "decision"), "decision")
    desk = Desk(ctx)
    context = await desk.private_context(rules.filing_of(claim), claim.submitter, details)
    # What counts for the filing limit is when the claim came, not when it is decided.
    context = replace(context, now=claim.submitted_at)
    results = checks.merge(claim.checks, checks.run(context, checks.Needs.DETAILS))
    results = await _without_gone(ctx, results)
    made = _adjudication(context, details, asked, results)
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
        units={} if outcome is Outcome.DENIED else used_units(_paid_part(details, made)),
    )
    return notice, sealed


async def take_units(ctx: Context, payer: str, notice: Notice) -> None:
    """The units of the decided claim are taken from its authorisations. Raises Conflict."""
    for handle, units in sorted(notice.units.items()):
        parts = (payer, FactKind.AUTHORIZATION.value, handle)
        held = await store.REGISTRATIONS.get(ctx, *parts)
        if held is None:
            continue  # decided by hand on an authorisation that is not on the ledger
        if held.units_left < units:
            raise Conflict("an authorisation has too few units left")
        await store.REGISTRATIONS.put(
            ctx, replace(held, units_left=held.units_left - units), *parts
        )


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
            prior_paid=prior_paid(details),
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
