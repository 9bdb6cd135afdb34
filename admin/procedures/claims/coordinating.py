"""A claim as the next payer gets it: with what the payer before decided."""

from dataclasses import replace

from admin.errors import input_error
from chaincode.claims.amounts import prior_payers
from chaincode.claims.details import Adjudication, Details, Insurance, LinePaid


def carry_over(details: Details, decision: Adjudication, claim: str, coverage: str) -> Details:
    """Return the first payer's claim as one of its own to the payer of another coverage.

    What only concerned the first payer (its authorisations) is left out. Raises FaultError: the
    first payer's claim rests on that very coverage.
    """
    earlier = prior_payers(details)
    focal = next(item for item in details.insurance if item.focal)
    if coverage in {item.coverage for item in (*earlier, focal)}:
        raise input_error(
            "the coverage is the one that was decided already",
            "name the next payer's: --coverage HANDLE",
        )
    told = _told(replace(focal, focal=False), decision)
    listed = [*earlier, told]
    listed.append(Insurance(max(item.sequence for item in listed) + 1, coverage))
    return replace(
        details,
        claim=claim,
        insurance=tuple(listed),
        lines=tuple(replace(line, authorization="") for line in details.lines),
    )


def _told(insurance: Insurance, decision: Adjudication) -> Insurance:
    """The insurance with what its payer decided."""
    return replace(
        insurance,
        paid=decision.paid,
        adjusted=decision.adjusted,
        paid_lines=tuple(LinePaid(x.sequence, x.paid) for x in decision.lines if x.paid),
    )


def coordinate(details: Details, decision: Adjudication, where: str) -> Details:
    """Return the claim with what the payer right before the addressee decided on it.

    Raises FaultError: the claim names no insurance before the addressee's.
    """
    earlier = prior_payers(details)
    if not earlier:
        raise input_error(
            "the claim names no insurance before the payer's own",
            "list the prior payer's coverage with a lower sequence, and focal false",
            where,
        )
    last = _told(earlier[-1], decision)
    return replace(
        details,
        insurance=tuple(
            last if item.sequence == last.sequence else item for item in details.insurance
        ),
    )
