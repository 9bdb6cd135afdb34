"""What an 835 and a 277 tell, gathered from a party's side of its claims."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from admin.errors import input_error
from admin.procedures.claims.claims import Claims
from admin.x12.remittance import Paid, Payment, merge_payments
from admin.x12.status import Standing
from chaincode.claims.details import ClaimFile
from chaincode.claims.model import Claim
from chaincode.claims.states import Outcome, Status

_DECIDED = (Status.ADJUDICATED, Status.REMITTED, Status.RECONCILED, Status.APPEALED)
_GONE = (Status.VOIDED, Status.REPLACED)


async def collect_payments(claims: Claims, named: Sequence[str], trace: str) -> tuple[Payment, ...]:
    """Return the payments of these claims, or of all that were paid under a trace.

    A denied claim pays nothing under its own handle; a claim that was paid and then voided or
    replaced is reversed, under the trace that is asked for or else its own.

    Raises FaultError: a claim is not decided, was decided and not paid yet, or there is none.
    """
    held = [await claims.resolve(one) for one in named]
    if trace:
        known = {one.claim for one in held}
        async for one in claims.listed():
            if one.remittance is not None and one.claim not in known:
                held.append(one)
    payments = []
    for one in held:
        file = await claims.details(one.claim)
        payment = _payment(
            one, file, trace, asked=one.claim in {c.claim for c in held[: len(named)]}
        )
        if payment is not None:
            payments.append(payment)
    if not payments:
        raise input_error(
            "no claim was paid under this trace", "see: medfabric claim list --status remitted"
        )
    return merge_payments(payments)


async def collect_standings(
    claims: Claims, named: Sequence[str], since: date | None
) -> list[Standing]:
    """Return how these claims stand, and all that changed since a day. Raises FaultError."""
    held = [await claims.resolve(one) for one in named]
    if since is not None:
        start = datetime(since.year, since.month, since.day, tzinfo=UTC)
        known = {one.claim for one in held}
        held += [
            one
            async for one in claims.listed()
            if one.updated_at >= start and one.claim not in known
        ]
    return [_standing(one, await claims.details(one.claim)) for one in held]


def _payment(claim: Claim, file: ClaimFile, trace: str, *, asked: bool) -> Payment | None:
    """The claim's payment; None if it was paid under another trace and nobody asked for it."""
    where = f"claim {claim.claim[:8]}"
    if file.details is None or not file.decisions:
        raise input_error(
            f"{where} is {claim.status.value}: there is no decision at this peer",
            "an 835 tells of claims that the payer decided",
        )
    own = file.remittances[-1].remittance if file.remittances else None
    if not asked and own is not None and own.trace != trace:
        return None
    denied = claim.outcome is Outcome.DENIED
    if claim.status in _DECIDED and own is None and not denied:
        raise input_error(
            f"{where} is decided and not paid yet",
            f"note its payment first: medfabric claim pay {claim.claim[:8]} --trace TEXT",
        )
    if claim.status not in _DECIDED and not (claim.status in _GONE and own is not None):
        raise input_error(
            f"{where} is {claim.status.value}: nothing was paid on it",
            "an 835 tells of claims that were paid or denied",
        )
    sealed = file.decisions[-1].adjudication
    paid = Paid(
        handle=claim.claim,
        details=file.details.details,
        decision=sealed,
        outcome=claim.outcome or Outcome.PAID,
        received=claim.submitted_at.date(),
        reversed=claim.status in _GONE,
    )
    on = own.paid_on if own and not paid.reversed else claim.updated_at.date()
    under = trace or (own.trace if own else claim.claim[:30])
    return Payment(paid.details.provider_npi, under, on, (paid,))


def _standing(claim: Claim, file: ClaimFile) -> Standing:
    own = file.remittances[-1].remittance if file.remittances else None
    return Standing(
        claim=claim,
        details=file.details.details if file.details else None,
        decision=file.decisions[-1].adjudication if file.decisions else None,
        paid_on=own.paid_on if own else None,
        trace=own.trace if own else "",
    )
