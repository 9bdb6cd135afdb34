"""From a granted preauthorisation (FHIR Claim.use) to the authorisation that claims will name."""

from datetime import date

from admin.errors import input_error
from admin.procedures.claims.claims import Claims
from chaincode.claims.adjudication import is_refused
from chaincode.claims.amounts import units_of
from chaincode.claims.details import Authorization, Use


async def grant_of(
    claims: Claims,
    claim: str,
    *,
    units: int | None = None,
    start: date | None = None,
    end: date | None = None,
) -> Authorization:
    """Return what a preauthorisation was granted, under the handle of that claim.

    Raises FaultError: it is none, or it is not decided, or nothing of it was granted.
    """
    held = await claims.resolve(claim)
    file = await claims.details(held.claim)
    details = file.details.details if file.details else None
    if details is None or details.use is not Use.PREAUTHORIZATION:
        raise input_error(
            f"claim {held.claim[:8]} asks for no authorisation",
            "name a claim whose use is preauthorization",
        )
    if not file.decisions:
        raise input_error(
            f"claim {held.claim[:8]} is {held.status.value} and not decided yet",
            f"decide it: medfabric claim adjudicate {held.claim[:8]}",
        )
    decided = file.decisions[-1].adjudication.lines
    granted = {line.sequence for line in decided if not is_refused(line)}
    lines = [line for line in details.lines if line.sequence in granted]
    if not lines:
        raise input_error(
            f"nothing of claim {held.claim[:8]} was granted", "an appeal may change that"
        )
    return Authorization(
        authorization=held.claim,
        patient=held.patient,
        provider_npi=details.provider_npi,
        codes=tuple(dict.fromkeys(line.code for line in lines)),
        start=start or min(line.serviced_from for line in lines),
        end=end or max(line.last_day for line in lines),
        units=units or sum(units_of(line.quantity) for line in lines),
    )
