"""Check 9: the claim was not sent before: exactly (deny), or in part or elsewhere (flag).

Exact: same patient, provider, days, services, places and charges with the same payer; denied
without a clerk. A service that another claim holds as well only pends at the same payer and is
flagged across payers, where coordination of benefits may explain it.
"""

from __future__ import annotations

from collections.abc import Iterator

from chaincode.claims.checks.context import ClaimContext, Seen
from chaincode.claims.codes import Group
from chaincode.claims.model import Finding, Verdict


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield each claim that this one repeats, the gravest finding of each once."""
    explained = {claim.filing.replaces, claim.filing.coordinates}
    reported = set(explained)
    for seen in sorted(claim.seen, key=lambda seen: _order(claim, seen)):
        if seen.claim not in reported:
            reported.add(seen.claim)
            yield _finding(claim, seen)


def _order(claim: ClaimContext, seen: Seen) -> tuple[bool, bool, int, str]:
    """The same payer first, whole claims first: the gravest finding of a claim comes first."""
    return (seen.payer != claim.filing.payer, seen.line != 0, seen.line, seen.claim)


def _finding(claim: ClaimContext, seen: Seen) -> Finding:
    if seen.payer != claim.filing.payer:
        note = "possible duplicate of a claim at another payer"
        verdict, carc = Verdict.FLAGGED, "18"
    elif seen.line == 0:
        note = "exact duplicate of a claim at this payer"
        verdict, carc = Verdict.DENIED, "18"
    else:
        note = "a service is also on another claim at this payer"
        verdict, carc = Verdict.PENDED, "18"
    rarc = "N522" if verdict is not Verdict.FLAGGED else ""
    return Finding(verdict, note, Group.OTHER, carc, rarc, seen.line, seen.claim)
