"""Claims as an organisation sees them: one, many, their history, what waits for another look."""

from collections.abc import AsyncIterator

from admin.errors import input_error
from admin.procedures.networks.health import Health
from chaincode import canonical
from chaincode.claims.details import ClaimFile
from chaincode.claims.model import (
    Claim,
    ClaimHistory,
    ClaimPage,
    Reexamination,
    ReexaminationPage,
)
from chaincode.claims.states import Status
from chaincode.table import PageRequest
from network.client.profile import Profile

HANDLE_LENGTH = 32


class SeenClaims:
    """Reads claims in the name of one identity."""

    def __init__(self, profile: Profile, health: Health) -> None:
        self._profile = profile
        self._health = health
        self._msp_id = profile.signer.msp_id

    async def get(self, claim: str) -> Claim:
        """Return a claim's public part."""
        return await self._health.evaluate("claims:Get", claim, result=Claim)

    async def history(self, claim: str) -> ClaimHistory:
        """Return every change of a claim."""
        return await self._health.evaluate("claims:History", claim, result=ClaimHistory)

    async def details(self, claim: str) -> ClaimFile:
        """Return a claim's private side, from a peer of one's own organisation."""
        return await self._health.evaluate(
            "claims:Details", claim, result=ClaimFile, organizations=(self._msp_id,)
        )

    async def listed(self, status: Status | None = None) -> AsyncIterator[Claim]:
        """Yield the claims of one's own organisation, oldest first."""
        bookmark = ""
        while True:
            wanted = "null" if status is None else canonical.encode(status)
            page = await self._health.evaluate(
                "claims:List",
                "",
                wanted,
                PageRequest(1000, bookmark),
                result=ClaimPage,
            )
            for claim in page.claims:
                yield claim
            bookmark = page.bookmark
            if not bookmark:
                return

    async def resolve(self, claim: str) -> Claim:
        """Return the claim, from any unique beginning of its handle among one's own claims.

        Raises FaultError: none or several begin so.
        """
        if len(claim) >= HANDLE_LENGTH:
            return await self.get(claim)
        found = [one async for one in self.listed() if one.claim.startswith(claim)]
        if not found:
            raise input_error(
                f"no claim of {self._profile.organization.name} begins with {claim!r}",
                "see which there are: medfabric claim list",
            )
        if len(found) > 1:
            raise input_error(
                f"{len(found)} claims of {self._profile.organization.name} begin with {claim!r}",
                "write more of the handle; see: medfabric claim list",
            )
        return found[0]

    async def reexaminations(self) -> AsyncIterator[Reexamination]:
        """Yield the claims that one's own organisation has to look at again."""
        bookmark = ""
        while True:
            page = await self._health.evaluate(
                "claims:Reexaminations", "", PageRequest(1000, bookmark), result=ReexaminationPage
            )
            for one in page.waiting:
                yield one
            bookmark = page.bookmark
            if not bookmark:
                return
