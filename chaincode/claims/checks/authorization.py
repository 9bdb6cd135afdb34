"""Check 7: a service that needs prior authorisation has one, for it, with units left."""

from __future__ import annotations

from collections.abc import Iterator

from chaincode.claims.amounts import units_of
from chaincode.claims.checks.context import ClaimContext, deferred, skipped
from chaincode.claims.codes import Group
from chaincode.claims.details import Authorization, Details, Line, Use
from chaincode.claims.model import Finding, Verdict


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield each line whose authorisation is absent, another's or used up."""
    details = claim.details
    if details is None:
        yield from deferred("the claim's details are")
        return
    if details.use is not Use.CLAIM:
        yield from skipped("it asks for an authorisation, or what would be paid")
        return
    required = set(claim.table.authorization_codes) if claim.table else set()
    lines = [line for line in details.lines if line.authorization or line.code in required]
    if not lines:
        if claim.table is None:
            yield from deferred("whether a service needs authorisation is")
        else:
            yield from skipped("no service needs authorisation")
        return
    known = {item.authorization: item for item in claim.authorizations or ()}
    left = dict(claim.units_left)
    for line in lines:
        yield from _check_line(claim, details, line, known.get(line.authorization), left)


def used_units(details: Details) -> dict[str, int]:
    """Units that a claim takes from each authorisation, by handle; a part counts as a whole."""
    used: dict[str, int] = {}
    for line in details.lines:
        if line.authorization:
            used[line.authorization] = used.get(line.authorization, 0) + units_of(line.quantity)
    return used


def _check_line(
    claim: ClaimContext,
    details: Details,
    line: Line,
    found: Authorization | None,
    left: dict[str, int],
) -> Iterator[Finding]:
    at = line.sequence
    if not line.authorization:
        yield _denial("the service needs a prior authorisation and names none", "197", at)
    elif found is None:
        if claim.authorizations is None:
            yield from deferred("the authorisation is")
        else:
            yield _denial("the authorisation is not the payer's", "15", at)
    elif not _fits(found, details, line):
        yield _denial("the authorisation is for another patient, service or time", "15", at)
    else:
        units = units_of(line.quantity)
        if left.get(found.authorization, 0) < units:
            yield _denial("the authorisation has too few units left", "198", at)
        left[found.authorization] = left.get(found.authorization, 0) - units


def _fits(found: Authorization, details: Details, line: Line) -> bool:
    return (
        found.patient == details.patient
        and found.provider_npi == details.provider_npi
        and line.code in found.codes
        and found.start <= line.serviced_from
        and line.last_day <= found.end
    )


def _denial(note: str, carc: str, line: int) -> Finding:
    return Finding(Verdict.DENIED, note, Group.CONTRACTUAL, carc, "", line)
