"""Check 6: the provider is enrolled with the payer, and not excluded, on each day of service."""

from __future__ import annotations

from collections.abc import Iterator

from chaincode.claims.checks.context import ClaimContext, deferred
from chaincode.claims.codes import Group
from chaincode.claims.details import Enrolment, Line
from chaincode.claims.model import Finding, Verdict


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield each line on whose days the provider could not bill."""
    details, enrolment = claim.details, claim.enrolment
    if details is None or enrolment is None:
        yield from deferred("the provider's enrolment is")
        return
    if enrolment.provider_npi != details.provider_npi:
        yield Finding(Verdict.DENIED, "the provider is not enrolled", Group.CONTRACTUAL, "B7")
        return
    for line in details.lines:
        yield from _check_line(enrolment, line)


def _check_line(enrolment: Enrolment, line: Line) -> Iterator[Finding]:
    first, last = line.serviced_from, line.last_day
    # Exclusion comes first: it bars payment whatever the enrolment says (42 CFR 1001.1901).
    if any(
        span.start <= last and (span.end is None or span.end >= first)
        for span in enrolment.excluded
    ):
        note = "the provider is excluded on a day of the service"
        yield Finding(Verdict.DENIED, note, Group.CONTRACTUAL, "B7", "N290", line.sequence)
    elif not any(span.covers(first) and span.covers(last) for span in enrolment.enrolled):
        note = "the provider is not enrolled on a day of the service"
        yield Finding(Verdict.DENIED, note, Group.CONTRACTUAL, "B7", "", line.sequence)
