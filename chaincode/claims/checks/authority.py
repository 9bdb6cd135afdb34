"""Check 2: the submitter may file this claim with this payer."""

from __future__ import annotations

from collections.abc import Iterator

from chaincode.claims.checks.context import ClaimContext
from chaincode.claims.codes import Group
from chaincode.claims.model import Finding, Room, Verdict


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield what the submitter lacks."""
    filing, parties = claim.filing, claim.parties
    if parties.payer_role != "payer":
        yield _fault("the addressee is not a payer of the consortium")
    if filing.provider and parties.provider_role != "provider":
        yield _fault("the billing organisation is not a provider of the consortium")
    if parties.submitter_role == "provider":
        if parties.submitter != filing.provider:
            yield _fault("a provider files its own claims only")
    elif parties.submitter_role == "payer":
        # A payer files what reached it by another channel, or forwards what it decided as primary.
        if parties.submitter != filing.payer and not filing.coordinates:
            yield _fault("a payer files claims to itself, or forwards one that it has decided")
    else:
        yield _fault("only providers and payers file claims")
    if filing.room is Room.OWN and parties.submitter != filing.payer:
        yield _fault("the payer's own room is for claims that the payer enters")
    forwarded = filing.coordinates and parties.submitter_role == "payer"
    if filing.room is Room.SHARED and not filing.provider and not forwarded:
        yield _fault("a shared room needs the provider; without one use the payer's own room")


def _fault(note: str) -> Finding:
    return Finding(Verdict.REJECTED, note, Group.CONTRACTUAL, "16", "MA130")
