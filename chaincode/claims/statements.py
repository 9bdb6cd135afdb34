"""The transactions `claims:*` by which a payer states facts and tables: they stay with it, and the
ledger knows them by commitment or digest.
"""

from __future__ import annotations

from dataclasses import replace

from chaincode import canonical
from chaincode.access import role
from chaincode.claims import rules, store
from chaincode.claims.model import (
    FactKind,
    Registration,
    RegistrationRequest,
    Room,
    TableLoad,
    TableVersion,
)
from chaincode.contract import Context, query, transaction
from chaincode.directory import registry
from chaincode.directory.model import OrganizationRole
from chaincode.errors import InvalidArgument
from chaincode.forms import validate_code, validate_digest
from chaincode.phi import validate_handle

CLAIMS_STAFF = role("claims", "adjudicator", "service")


class Statements:
    """What a payer registers: part of the contract `claims`."""

    @transaction(access=CLAIMS_STAFF)
    async def RegisterCoverage(
        self, ctx: Context, registration: RegistrationRequest
    ) -> Registration:
        """A payer is committed to a coverage's facts (`commitment.COVERAGE`); they stay with it."""
        return await _register(ctx, FactKind.COVERAGE, registration)

    @transaction(access=CLAIMS_STAFF)
    async def Authorize(self, ctx: Context, registration: RegistrationRequest) -> Registration:
        """A payer is committed to a prior authorisation of `units` (`commitment.AUTHORIZATION`)."""
        if registration.units < 1:
            raise InvalidArgument("registration.units: an authorisation grants at least one unit")
        return await _register(ctx, FactKind.AUTHORIZATION, registration)

    @transaction(access=CLAIMS_STAFF)
    async def RegisterProvider(
        self, ctx: Context, registration: RegistrationRequest
    ) -> Registration:
        """A payer is committed to a provider's enrolment and exclusions (`ENROLMENT`)."""
        return await _register(ctx, FactKind.ENROLMENT, registration)

    @transaction(access=CLAIMS_STAFF)
    async def KeepFact(self, ctx: Context, kind: FactKind, handle: str) -> None:
        """The payer's own room holds the transient field `fact`; nothing public is written."""
        validate_handle(handle, "handle")
        msp_id = await require_payer(ctx)
        raw = store.read_transient(ctx, "fact")
        canonical.parse_json(raw, "fact")
        room = rules.collection_of(Room.OWN, "", "", msp_id)
        await ctx.stub.put_private_data(room, store.fact_key(ctx, kind.value, handle), raw)

    @query(access=CLAIMS_STAFF)
    async def Fact(self, ctx: Context, kind: FactKind, handle: str) -> bytes:
        """What `KeepFact` kept, from the payer's own peer."""
        room = rules.collection_of(Room.OWN, "", "", await require_payer(ctx))
        raw = await ctx.stub.get_private_data(room, store.fact_key(ctx, kind.value, handle))
        return raw or b""

    @transaction(access=CLAIMS_STAFF)
    async def LoadTable(self, ctx: Context, table: TableLoad) -> TableVersion:
        """A payer's table has a new version, by digest; `policy` is the one that the checks use.

        With `content` every peer can apply it; without, whoever needs it sends it in the transient
        field `table` and it is compared with the digest.
        """
        validate_code(table.name, "table.name")
        validate_digest(table.digest, "table.digest")
        content = table.content.encode()
        if content:
            rules.read_table(content, table.digest)
        payer = await require_payer(ctx)
        held = await store.TABLES.get(ctx, payer, table.name)
        loaded = TableVersion(
            name=table.name,
            payer=payer,
            version=held.version + 1 if held else 1,
            digest=table.digest,
            loaded_at=ctx.now,
            content=table.content,
        )
        await store.TABLES.put(ctx, loaded, payer, table.name)
        ctx.set_event("claims.TableLoaded", replace(loaded, content=""))
        return loaded

    @query
    async def Table(self, ctx: Context, payer: str, name: str = "policy") -> TableVersion:
        """A payer's table in force."""
        return await store.TABLES.require(ctx, payer, name, what="table")

    @query(access=CLAIMS_STAFF)
    async def Registered(
        self, ctx: Context, payer: str, kind: FactKind, handle: str
    ) -> Registration:
        """What a payer registered under a handle."""
        return await store.REGISTRATIONS.require(
            ctx, payer, kind.value, handle, what="registration"
        )


async def require_payer(ctx: Context) -> str:
    """The MSP id of the caller's organisation. Raises Denied: it is no payer."""
    return (await registry.require_member(ctx, OrganizationRole.PAYER)).msp_id


async def _register(ctx: Context, kind: FactKind, request: RegistrationRequest) -> Registration:
    validate_handle(request.handle, "registration.handle")
    validate_digest(request.commitment, "registration.commitment")
    payer = await require_payer(ctx)
    held = await store.REGISTRATIONS.get(ctx, payer, kind.value, request.handle)
    registered = Registration(
        kind=kind,
        handle=request.handle,
        payer=payer,
        commitment=request.commitment,
        version=held.version + 1 if held else 1,
        registered_at=ctx.now,
        units_left=request.units,
    )
    await store.REGISTRATIONS.put(ctx, registered, payer, kind.value, request.handle)
    ctx.set_event("claims.Registered", registered)
    return registered
