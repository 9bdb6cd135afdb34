"""Where records lie in the state, and how the other contracts find one as it stands."""

from __future__ import annotations

from chaincode.contract import Context
from chaincode.errors import Conflict, InvalidArgument, NotFound
from chaincode.records import rules
from chaincode.records.model import (
    Access,
    AnchoredBatch,
    Membership,
    Receipt,
    Record,
    RecordRef,
    Release,
    Revocation,
)
from chaincode.table import Index, Table

RECORDS = Table("record", Record)
VERSIONS = Table("record~version", Record)
BATCHES = Table("record~batch", AnchoredBatch)
ACCESSES = Table("record~access", Access)
RELEASES = Table("record~release", Release)
RECEIPTS = Table("record~receipt", Receipt)
REVOCATIONS = Table("record~revocation", Revocation)

BY_PATIENT = Index("record~bypatient")
ACCESSES_BY_PATIENT = Index("record~accessbypatient")
ACCESSES_BY_RECORD = Index("record~accessbyrecord")

ESCROW = "record~escrow"
"""Keys of what a custodian keeps of a record in its own private collection."""


async def find(ctx: Context, record: str, membership: Membership | None = None) -> Record | None:
    """The record as it stands, None if it is not anchored.

    What lies under the record's own key counts before any proof from a batch: there its
    supersession, withdrawal and erasure are written.

    Raises:
        InvalidArgument: the proof does not show this record in its batch.
    """
    held = await RECORDS.get(ctx, record)
    if held is not None or membership is None:
        return held
    if membership.anchor.record != record:
        raise InvalidArgument("membership.anchor: it is another record's")
    batch = await BATCHES.get(ctx, membership.batch)
    return None if batch is None else rules.record_from_batch(membership, batch)


async def require(ctx: Context, ref: RecordRef, path: str) -> Record:
    """The record asked for, at the version asked for.

    Raises:
        NotFound: it is not anchored.
        Conflict: its version is another one.
    """
    record = await find(ctx, ref.record, ref.membership)
    if record is None:
        raise NotFound(f"{path}: no such record; one from a batch needs its proof")
    if ref.version not in (0, record.anchor.version):
        raise Conflict(f"{path}: the record is at version {record.anchor.version}")
    return record


def version_part(version: int) -> str:
    """A key part that sorts by version."""
    return f"{version:08d}"


def collection_of(msp_id: str) -> str:
    """The private collection that every organisation has for itself."""
    return f"_implicit_org_{msp_id}"
