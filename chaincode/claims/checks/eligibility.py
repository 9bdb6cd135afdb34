"""Check 5: a coverage is in force on each day of service and covers the service."""

from __future__ import annotations

from collections.abc import Iterator

from chaincode.claims.checks.context import ClaimContext, deferred
from chaincode.claims.codes import Group
from chaincode.claims.details import Coverage, Details, Line
from chaincode.claims.model import Finding, Verdict


def check(claim: ClaimContext) -> Iterator[Finding]:
    """Yield each line that the coverage does not reach."""
    details = claim.details
    if details is None or claim.coverages is None:
        yield from deferred("the coverage is")
        return
    coverage = find_coverage(details, claim.coverages)
    if coverage is None:
        yield _denial("the patient is not identified as insured", "31")
        return
    for line in details.lines:
        yield from _check_line(coverage, line)


def find_coverage(details: Details, coverages: tuple[Coverage, ...]) -> Coverage | None:
    """The focal insurance's coverage of this patient, None if there is none."""
    wanted = {item.coverage for item in details.insurance if item.focal}
    for coverage in coverages:
        if coverage.patient == details.patient and coverage.coverage in wanted:
            return coverage
    return None


def _check_line(coverage: Coverage, line: Line) -> Iterator[Finding]:
    if line.serviced_from < coverage.start:
        yield _denial("the service is before coverage began", "26", line.sequence)
    elif coverage.end is not None and line.last_day > coverage.end:
        yield _denial("the service is after coverage ended", "27", line.sequence)
    elif line.code in coverage.excluded_codes:
        yield _denial("the service is not covered", "96", line.sequence)


def _denial(note: str, carc: str, line: int = 0) -> Finding:
    return Finding(Verdict.DENIED, note, Group.PATIENT, carc, "", line)
