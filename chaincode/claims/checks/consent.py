"""Check 3: the patient lets this payer have the claim: purpose HPAYMT, self-pay restriction kept.

Anything but a permit rejects at the gate, so that nothing is sent that should not be (45 CFR
164.522(a)(1)(vi)).
"""

from __future__ import annotations

from collections.abc import Iterator

from chaincode.claims.checks.context import ClaimContext, deferred
from chaincode.claims.codes import Group
from chaincode.claims.model import Finding, Verdict

PURPOSE = "HPAYMT"
RESOURCES = ("Claim", "ClaimResponse", "Account")
"""What payment needs (minimum necessary; HL7's payer example)."""


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield a rejection unless consent permits."""
    fact = claim.consent
    if fact is None:
        yield from deferred("consent is")
    elif fact.verdict != "PERMIT":
        note = f"consent for payment (HPAYMT) is {fact.verdict}: {fact.path or 'no ground'}"
        yield Finding(Verdict.REJECTED, note, Group.CONTRACTUAL, "16", "MA130")
