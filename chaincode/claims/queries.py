"""The queries `claims:*`: a claim's public part for everybody, its private side for its parties."""

from __future__ import annotations

from typing import TypeVar

from chaincode import canonical
from chaincode.access import role
from chaincode.claims import coordination, rules, store
from chaincode.claims.details import (
    ClaimFile,
    SealedAdjudication,
    SealedDetails,
    SealedInformation,
    SealedRemittance,
)
from chaincode.claims.model import (
    CheckResult,
    Claim,
    ClaimHistory,
    ClaimPage,
    PrivateKind,
    ReexaminationPage,
)
from chaincode.claims.states import Status
from chaincode.contract import Context, query
from chaincode.errors import Denied, InvalidArgument
from chaincode.phi import validate_handle
from chaincode.table import PageRequest, validate_page

_FIRST_PAGE = PageRequest()
T = TypeVar("T")


class Queries:
    """How claims stand: part of the contract `claims`."""

    @query
    async def Get(self, ctx: Context, claim: str) -> Claim:
        """A claim's public part."""
        return await store.CLAIMS.require(ctx, claim, what="claim")

    @query
    async def GetMany(self, ctx: Context, claims: list[str]) -> dict[str, Claim]:
        """The public parts of up to 1,000 claims, by handle; those that there are not, left out."""
        if len(claims) > rules.MAX_BATCH:
            raise InvalidArgument(f"claims: at most {rules.MAX_BATCH}")
        for index, claim in enumerate(claims):
            validate_handle(claim, f"claims[{index}]")
        return await store.get_claims(ctx, list(dict.fromkeys(claims)))

    @query
    async def Checks(self, ctx: Context, claim: str) -> list[CheckResult]:
        """The results of a claim's checks, in order: at the gate, and since a decision its own."""
        return list((await store.CLAIMS.require(ctx, claim, what="claim")).checks)

    @query
    async def History(self, ctx: Context, claim: str) -> ClaimHistory:
        """Every change of a claim, oldest first."""
        await store.CLAIMS.require(ctx, claim, what="claim")
        return ClaimHistory(tuple(await store.STEPS.all(ctx, claim)))

    @query
    async def List(
        self,
        ctx: Context,
        party: str = "",
        status: Status | None = None,
        page: PageRequest = _FIRST_PAGE,
    ) -> ClaimPage:
        """The claims of a party (default: the caller's organisation), by time of submission."""
        validate_page(page)
        wanted = party or ctx.client.msp_id
        if status is None:
            names, bookmark = await store.BY_PARTY.page(ctx, wanted, page=page)
        else:
            names, bookmark = await store.BY_STATUS.page(ctx, wanted, status.value, page=page)
        claims = [await store.CLAIMS.require(ctx, name) for name in names]
        return ClaimPage(tuple(claims), bookmark)

    @query(access=role("claims", "adjudicator", "service", "auditor", "privacy-officer"))
    async def Details(self, ctx: Context, claim: str) -> ClaimFile:
        """A claim's private side, for the parties, from a peer of theirs."""
        held = await store.CLAIMS.require(ctx, claim, what="claim")
        if ctx.client.msp_id not in (held.submitter, held.provider, held.payer):
            raise Denied("the caller's organisation is no party to the claim")
        found = ctx.stub.get_private_data_by_partial_composite_key(
            held.collection, store.PRIVATE, [claim]
        )
        values: dict[str, list[bytes]] = {}
        async for item in found:
            kind = ctx.stub.split_composite_key(item.key)[1][1]
            values.setdefault(kind, []).append(item.value)
        details = [canonical.decode(SealedDetails, x) for x in values.get(store.DETAILS, [])]
        return ClaimFile(
            details=details[0] if details else None,
            decisions=_open_all(SealedAdjudication, values, store.DECISION),
            remittances=_open_all(SealedRemittance, values, PrivateKind.REMITTANCE.value),
            information=_open_all(SealedInformation, values, PrivateKind.INFORMATION.value),
        )

    @query
    async def Later(self, ctx: Context, claim: str) -> list[Claim]:
        """The live claims of later payers that rest on this claim's decision."""
        validate_handle(claim, "claim")
        return await coordination.list_later(ctx, claim)

    @query
    async def Reexaminations(
        self, ctx: Context, payer: str = "", page: PageRequest = _FIRST_PAGE
    ) -> ReexaminationPage:
        """The claims that a payer (default: the caller's organisation) has to look at again."""
        return await coordination.list_waiting(ctx, payer or ctx.client.msp_id, page)


def _open_all(kind: type[T], values: dict[str, list[bytes]], name: str) -> tuple[T, ...]:
    return tuple(canonical.decode(kind, raw) for raw in values.get(name, []))
