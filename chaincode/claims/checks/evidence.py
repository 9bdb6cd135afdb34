"""Check 4: what the claim rests on was anchored before it, for this patient, and still stands."""

from __future__ import annotations

from collections.abc import Iterator

from chaincode.claims.checks.context import ClaimContext, EvidenceFact, skipped
from chaincode.claims.codes import Group
from chaincode.claims.model import Finding, Verdict


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield each record that cannot carry the claim."""
    if not claim.evidence:
        yield from skipped("the claim names no evidence")
    for fact in claim.evidence:
        note = _fault(claim, fact)
        if note:
            yield Finding(Verdict.REJECTED, note, Group.CONTRACTUAL, "16", "M127")
        elif claim.filing.provider and fact.custodian != claim.filing.provider:
            note = "a record was anchored by another organisation than the billing provider"
            yield Finding(Verdict.FLAGGED, note, Group.OTHER, "252", "N29")


def _fault(claim: ClaimContext, fact: EvidenceFact) -> str:
    if not fact.status or fact.anchored_at is None:
        return "a record of the evidence is not anchored"
    if fact.patient != claim.filing.patient:
        return "a record of the evidence belongs to another patient"
    if fact.status != "current":
        return f"a record of the evidence is {fact.status}"
    if fact.current_version != fact.version:
        return "a record of the evidence is superseded; name its newest version"
    if fact.anchored_at >= claim.now:
        return "a record of the evidence was not anchored before the claim"
    return ""
