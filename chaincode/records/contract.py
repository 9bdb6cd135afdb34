"""The transactions `records:*`: read state, ask the rules, write state, leave trail and event."""

from __future__ import annotations

from dataclasses import replace

from chaincode.access import role
from chaincode.audit.model import Kind
from chaincode.contract import Context, Contract, query, transaction
from chaincode.directory import registry
from chaincode.directory.model import OrganizationRole, Scope
from chaincode.errors import Conflict, InvalidArgument
from chaincode.forms import read_digest, validate_code
from chaincode.phi import validate_handle
from chaincode.records import model, rules, store, traces
from chaincode.records.accesses import CARE, Accesses
from chaincode.records.model import (
    AnchoredBatch,
    Batch,
    BatchEvent,
    Membership,
    Record,
    RecordPage,
    RecordRef,
    Status,
)
from chaincode.table import PageRequest

_FIRST_PAGE = PageRequest()
_ESCROW_FIELD = "secret"


class RecordsContract(Accesses, Contract, name="records"):
    """Anchors of sealed records, and who was given access to them on which consent."""

    @transaction(access=CARE)
    async def Anchor(self, ctx: Context, anchor: model.Anchor) -> Record:
        """A record's first version is on the ledger. By a provider's clinician or service.

        Anchoring the same once more is answered with what is there.
        """
        custodian = await _provider(ctx)
        rules.validate_anchor(anchor)
        if anchor.version != 1:
            raise InvalidArgument("anchor.version: a new record is version 1; use Supersede")
        held = await store.RECORDS.get(ctx, anchor.record)
        if held is not None:
            if held.anchor == anchor and held.custodian == custodian:
                return held
            raise Conflict("another record has this handle; take a fresh one")
        await registry.patient(ctx, anchor.patient)
        record = _new_record(ctx, anchor, custodian)
        await traces.keep(ctx, record, Kind.RECORD_ANCHORED, "records.Anchored")
        await store.BY_PATIENT.put(ctx, anchor.patient, anchor.record)
        return record

    @transaction(access=CARE)
    async def AnchorBatch(self, ctx: Context, batch: Batch) -> AnchoredBatch:
        """A Merkle root over up to 2^32 anchors is on the ledger, in one transaction.

        Each anchor is shown later by its proof (`Membership`), offline or to `RequestAccess`. A
        batch that names a previous one proves that it only adds to it.
        """
        custodian = await _provider(ctx)
        previous = None
        if batch.previous:
            previous = await store.BATCHES.require(ctx, batch.previous, what="previous batch")
        rules.validate_batch(batch, previous, custodian)
        anchored = AnchoredBatch(
            batch=batch.batch,
            root=batch.root,
            size=batch.size,
            custodian=custodian,
            author=registry.user_digest(ctx),
            anchored_at=ctx.now,
            tx_id=ctx.tx_id,
            previous=batch.previous,
        )
        await store.BATCHES.add(ctx, anchored, batch.batch, what="batch")
        event = BatchEvent(batch.batch, batch.root, batch.size, custodian)
        ctx.set_event("records.BatchAnchored", event)
        return anchored

    @transaction(access=CARE)
    async def Supersede(
        self, ctx: Context, anchor: model.Anchor, membership: Membership | None = None
    ) -> Record:
        """A record has a new version; `anchor.version` is one more than the one it rests on.

        By its custodian. A record from a batch comes with its proof the first time.
        """
        held = await _require(ctx, anchor.record, membership)
        custodian = await _provider(ctx)
        rules.validate_change(held, custodian, anchor.version - 1)
        rules.validate_successor(held, anchor)
        record = _new_record(ctx, anchor, custodian)
        await traces.keep(ctx, record, Kind.RECORD_SUPERSEDED, "records.Superseded")
        return record

    @transaction(access=CARE)
    async def Withdraw(
        self,
        ctx: Context,
        record: str,
        version: int,
        reason: str,
        membership: Membership | None = None,
    ) -> Record:
        """A record is no longer released; `reason` is a code. By its custodian."""
        validate_code(reason, "reason")
        held = await _require(ctx, record, membership)
        rules.validate_change(held, await _provider(ctx), version)
        changed = replace(held, status=Status.WITHDRAWN, reason=reason, changed_at=ctx.now)
        await traces.keep(ctx, changed, Kind.RECORD_WITHDRAWN, "records.Withdrawn")
        return changed

    @transaction(access=role("service", "privacy-officer"))
    async def Erase(
        self,
        ctx: Context,
        record: str,
        version: int,
        proof: str,
        membership: Membership | None = None,
    ) -> Record:
        """A record's salts and keys are destroyed; `proof` is the hex digest of the certificate.

        By its custodian. What the custodian kept in its private collection is purged from every
        peer, history included; what stays on chain can be linked to nobody.
        """
        held = await _require(ctx, record, membership)
        rules.validate_change(held, await _provider(ctx), version)
        changed = replace(
            held,
            status=Status.ERASED,
            reason="erased",
            changed_at=ctx.now,
            proof=read_digest(proof, "proof"),
        )
        await traces.keep(ctx, changed, Kind.RECORD_ERASED, "records.Erased")
        collection, key = _escrow(ctx, record)
        if await ctx.stub.get_private_data_hash(collection, key) is not None:
            await ctx.stub.purge_private_data(collection, key)
        return changed

    @transaction(access=CARE)
    async def Escrow(self, ctx: Context, record: str) -> None:
        """The custodian keeps the transient field `secret` of a record in its own collection.

        Writes nothing public, so that the custodian's peer endorses alone and no other sees it.
        """
        validate_handle(record, "record")
        await _provider(ctx)
        secret = ctx.transient.get(_ESCROW_FIELD)
        if not secret:
            raise InvalidArgument(f"the transient field {_ESCROW_FIELD} is missing")
        await ctx.stub.put_private_data(*_escrow(ctx, record), secret)

    @query
    async def Get(self, ctx: Context, record: str, membership: Membership | None = None) -> Record:
        """A record as it stands. One from a batch comes with its proof until it was changed."""
        return await _require(ctx, record, membership)

    @query
    async def GetBatch(self, ctx: Context, batch: str) -> AnchoredBatch:
        """A batch: its root is what inclusion proofs lead to."""
        return await store.BATCHES.require(ctx, batch, what="batch")

    @query
    async def History(
        self, ctx: Context, record: str, page: PageRequest = _FIRST_PAGE
    ) -> RecordPage:
        """A record's versions, oldest first, as each was anchored; `Get` tells its status."""
        found = await store.VERSIONS.page(ctx, record, page=page)
        return RecordPage(tuple(found.values), found.bookmark)

    @query
    async def List(self, ctx: Context, patient: str, page: PageRequest = _FIRST_PAGE) -> RecordPage:
        """A patient's singly anchored records, by handle. For care staff and who acts for them."""
        if ctx.client.get_attribute("role") not in ("clinician", "service", "auditor"):
            await registry.require_acting(ctx, patient, Scope.ACCESS)
        names, bookmark = await store.BY_PATIENT.page(ctx, patient, page=page)
        records = [await store.RECORDS.require(ctx, name) for name in names]
        return RecordPage(tuple(records), bookmark)


# --- around the state ---------------------------------------------------------------------------


async def _provider(ctx: Context) -> str:
    """The caller's MSP id. Raises Denied unless it is a provider of the consortium."""
    return (await registry.require_member(ctx, OrganizationRole.PROVIDER)).msp_id


async def _require(ctx: Context, record: str, membership: Membership | None) -> Record:
    return await store.require(ctx, RecordRef(record, membership=membership), "record")


def _new_record(ctx: Context, anchor: model.Anchor, custodian: str) -> Record:
    return Record(
        anchor=anchor,
        custodian=custodian,
        author=registry.user_digest(ctx),
        anchored_at=ctx.now,
        tx_id=ctx.tx_id,
    )


def _escrow(ctx: Context, record: str) -> tuple[str, str]:
    key = ctx.stub.create_composite_key(store.ESCROW, [record])
    return store.collection_of(ctx.client.msp_id), key
