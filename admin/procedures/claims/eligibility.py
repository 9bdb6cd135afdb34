"""A payer's answer to an eligibility request, from what it stated and keeps."""

from datetime import UTC, datetime
from typing import Any

from admin.procedures.claims.facts import find_table
from admin.procedures.claims.keys import open_key
from admin.procedures.networks.health import Health
from chaincode import canonical
from chaincode.claims.details import Accumulated, PolicyTable
from chaincode.claims.eligibility import Asked, build_response
from network.client.profile import Profile, Surroundings


async def answer(
    surroundings: Surroundings, profile: Profile, health: Health, asked: Asked, coverage: str
) -> dict[str, Any]:
    """Return the CoverageEligibilityResponse for a coverage by its handle, from one's own peer."""
    msp_id = profile.signer.msp_id
    found = await health.evaluate(
        "claims:Accumulated",
        coverage,
        asked.day.isoformat(),
        result=Accumulated,
        transient={"fingerprintKey": open_key(surroundings)},
        organizations=(msp_id,),
    )
    held = await find_table(health, msp_id)
    table = None
    if held is not None and held.content:
        table = canonical.decode(PolicyTable, held.content.encode(), "table")
    return build_response(asked, found, table, payer=msp_id, at=datetime.now(UTC))
