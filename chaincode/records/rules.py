"""The law of records: what may be anchored, what follows a version, what may be released. Pure.

Values and the transaction's time come in; a `validate_*` raises what the caller did wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted

from chaincode import merkle
from chaincode.consent.model import DataItem, Decision, Verdict
from chaincode.errors import Conflict, Denied, InvalidArgument
from chaincode.forms import validate_code, validate_codes, validate_digest
from chaincode.phi import validate_handle
from chaincode.records.model import (
    Access,
    AccessApplication,
    AccessedRecord,
    Anchor,
    AnchoredBatch,
    Batch,
    Membership,
    Record,
    Release,
    Revocation,
    StandingRecord,
    Status,
)

MAX_RECORDS_PER_ACCESS = 100
MAX_BATCH_SIZE = 2**32
MAX_PROOF_LENGTH = 64
ACCESS_LIFETIME = timedelta(hours=24)
"""How long after the decision a custodian may still release on it."""


def validate_anchor(anchor: Anchor, path: str = "anchor") -> None:
    """Raise InvalidArgument unless each field has its form and nothing in it can be health data."""
    validate_handle(anchor.record, f"{path}.record")
    validate_handle(anchor.patient, f"{path}.patient")
    validate_digest(anchor.commitment, f"{path}.commitment")
    validate_digest(anchor.locator, f"{path}.locator")
    if anchor.canonical is not None:
        validate_digest(anchor.canonical, f"{path}.canonical")
    if anchor.size <= 0:
        raise InvalidArgument(f"{path}.size: expected the ciphertext's size in bytes, above 0")
    if anchor.version < 1:
        raise InvalidArgument(f"{path}.version: versions count from 1")
    validate_codes(anchor.resource_types, f"{path}.resourceTypes")
    validate_codes(anchor.classes, f"{path}.classes")
    validate_codes(anchor.labels or (), f"{path}.labels")
    for index, context in enumerate(anchor.contexts):
        validate_handle(context, f"{path}.contexts[{index}]")


def leaf_bytes(anchor: Anchor) -> bytes:
    """The content of the anchor's leaf: its RFC 8785 bytes.

    Written out by hand, names in order, because a million leaves would feel the general
    canonicaliser. A valid anchor holds only ASCII strings and integers, whose JSON is canonical.
    """
    second = f'"canonical":"{anchor.canonical.hex()}",' if anchor.canonical is not None else ""
    labels = f'"labels":{_array(anchor.labels)},' if anchor.labels is not None else ""
    return (
        f'{{{second}"classes":{_array(anchor.classes)},"commitment":"{anchor.commitment.hex()}",'
        f'"contexts":{_array(anchor.contexts)},{labels}"locator":"{anchor.locator.hex()}",'
        f'"patient":{_quoted(anchor.patient)},"record":{_quoted(anchor.record)},'
        f'"resourceTypes":{_array(anchor.resource_types)},'
        f'"size":{anchor.size},"version":{anchor.version}}}'
    ).encode("ascii")


def validate_batch(batch: Batch, previous: AnchoredBatch | None, custodian: str) -> None:
    """Raise InvalidArgument unless the batch has its form and continues `previous`, if named."""
    validate_handle(batch.batch, "batch.batch")
    validate_digest(batch.root, "batch.root")
    if not 1 <= batch.size <= MAX_BATCH_SIZE:
        raise InvalidArgument(f"batch.size: expected 1 to {MAX_BATCH_SIZE} leaves")
    if len(batch.consistency) > 2 * MAX_PROOF_LENGTH:
        raise InvalidArgument("batch.consistency: longer than any tree is high")
    if previous is None:
        if batch.consistency:
            raise InvalidArgument("batch.consistency: a proof without batch.previous")
        return
    if previous.custodian != custodian:
        raise Denied("the previous batch belongs to another custodian")
    try:
        merkle.validate_consistency(
            previous.size, previous.root, batch.size, batch.root, batch.consistency
        )
    except merkle.InvalidProof as error:
        raise InvalidArgument(f"batch.consistency: {error}") from None


def validate_membership(membership: Membership, batch: AnchoredBatch) -> None:
    """Raise InvalidArgument unless the anchor is in the batch at that index."""
    validate_anchor(membership.anchor, "membership.anchor")
    if len(membership.proof) > MAX_PROOF_LENGTH:
        raise InvalidArgument("membership.proof: longer than any tree is high")
    leaf = merkle.hash_leaf(leaf_bytes(membership.anchor))
    try:
        merkle.validate_inclusion(leaf, membership.index, batch.size, membership.proof, batch.root)
    except merkle.InvalidProof as error:
        raise InvalidArgument(f"membership.proof: {error}") from None


def record_from_batch(membership: Membership, batch: AnchoredBatch) -> Record:
    """The record that a proven leaf stands for, as if it had been anchored singly."""
    validate_membership(membership, batch)
    return Record(
        anchor=membership.anchor,
        custodian=batch.custodian,
        author=batch.author,
        anchored_at=batch.anchored_at,
        tx_id=batch.tx_id,
        batch=batch.batch,
    )


def validate_change(record: Record, custodian: str, version: int) -> None:
    """Raise unless this custodian may change the record as of this version.

    Raises:
        Denied: it is another organisation's record.
        Conflict: the record is erased, or moved on since `version`.
    """
    if record.custodian != custodian:
        raise Denied("only the record's custodian may change it")
    if record.status is Status.ERASED:
        raise Conflict("the record is erased")
    if record.anchor.version != version:
        raise Conflict(
            f"the record is at version {record.anchor.version}, not at {version}; read it again"
        )


def validate_successor(record: Record, anchor: Anchor) -> None:
    """Raise InvalidArgument unless `anchor` is the next version of the same patient's record."""
    validate_anchor(anchor)
    if anchor.version != record.anchor.version + 1:
        raise InvalidArgument(f"anchor.version: expected {record.anchor.version + 1}")
    if anchor.patient != record.anchor.patient:
        raise InvalidArgument("anchor.patient: a record stays with its patient")
    if anchor.commitment == record.anchor.commitment:
        raise InvalidArgument("anchor.commitment: unchanged; take a fresh salt for each version")


def validate_application(application: AccessApplication) -> None:
    """Raise InvalidArgument unless it names 1 to 100 different records, a purpose, an action."""
    count = len(application.records)
    if not 1 <= count <= MAX_RECORDS_PER_ACCESS:
        raise InvalidArgument(f"records: expected 1 to {MAX_RECORDS_PER_ACCESS} records")
    if len({ref.record for ref in application.records}) != count:
        raise InvalidArgument("records: the same record twice")
    validate_code(application.purpose, "purpose")
    validate_code(application.action, "action")


def validate_together(records: Sequence[Record]) -> None:
    """Raise unless all are current, and of one patient and one custodian."""
    for index, record in enumerate(records):
        if record.status is not Status.CURRENT:
            raise Conflict(f"records[{index}]: the record is {record.status.value}")
    if len({record.anchor.patient for record in records}) != 1:
        raise InvalidArgument("records: they belong to several patients; ask for each apart")
    if len({record.custodian for record in records}) != 1:
        raise InvalidArgument("records: they lie at several custodians; ask each apart")


def data_item(record: Record) -> DataItem:
    """What a consent's rules see of the record. What is not on the ledger stays unknown."""
    anchor = record.anchor
    return DataItem(
        id=anchor.record,
        resource_type=anchor.resource_types[0] if len(anchor.resource_types) == 1 else "",
        classes=(*anchor.classes, *anchor.resource_types),
        labels=anchor.labels,
        authors=(f"org:{record.custodian}", f"user:{record.author}"),
        contexts=anchor.contexts,
        custodian=record.custodian,
    )


def accessed_records(records: Sequence[Record], decision: Decision) -> tuple[AccessedRecord, ...]:
    """The verdict on each record, in the order asked."""
    return tuple(
        AccessedRecord(record.anchor.record, record.anchor.version, verdict)
        for record, verdict in zip(records, _verdicts(decision, len(records)), strict=True)
    )


def validate_release(
    access: Access,
    released: Release | None,
    revoked: Revocation | None,
    custodian: str,
    now: datetime,
) -> None:
    """Raise unless this custodian may release on this access now, consent aside.

    Raises:
        Denied: another custodian, not permitted, revoked, or expired.
        Conflict: released already.
    """
    if access.custodian != custodian:
        raise Denied("only the record's custodian may release it")
    if not access.decision.permitted or not access.permitted_records:
        raise Denied("the access was not permitted")
    if revoked is not None:
        raise Denied("the access was revoked; the requester has to ask again")
    if now >= access.expires_at:
        raise Denied("the access has expired; the requester has to ask again")
    if released is not None:
        raise Conflict("the access is released already")


def validate_recheck(access: Access, records: Sequence[Record | None], decision: Decision) -> None:
    """Raise Denied unless consent still opens what it opened, and the records still stand.

    `records` are the accessed ones as they stand, None for one that is known from a batch only:
    nothing has changed about it.
    """
    verdicts = _verdicts(decision, len(access.records))
    for item, record, verdict in zip(access.records, records, verdicts, strict=True):
        if item.verdict == Verdict.PERMIT and (reason := _changed(item, record, verdict)):
            raise Denied(reason)


def validate_revocation(access: Access, revoked: Revocation | None) -> None:
    """Raise Conflict unless there is something to take back."""
    if not access.permitted_records:
        raise Conflict("the access was never permitted; there is nothing to revoke")
    if revoked is not None:
        raise Conflict("the access is revoked already")


def check_standing(
    access: Access,
    released: Release | None,
    revoked: Revocation | None,
    records: Sequence[Record | None],
    decision: Decision,
    now: datetime,
) -> tuple[StandingRecord, ...]:
    """Whether each record of the access may be handed out now, and why not.

    What `validate_release` and `validate_recheck` ask before a release holds at each hand-out too.
    """
    whole = _withheld(access, released, revoked, now)
    verdicts = _verdicts(decision, len(access.records))
    return tuple(
        StandingRecord(item.record, item.version, whole or _changed(item, record, verdict))
        for item, record, verdict in zip(access.records, records, verdicts, strict=True)
    )


def _withheld(
    access: Access, released: Release | None, revoked: Revocation | None, now: datetime
) -> str:
    """Why nothing of the access may be handed out; empty if something may."""
    if not access.decision.permitted:
        return "the access was not permitted"
    if revoked is not None:
        return "the access was revoked; the requester has to ask again"
    if now >= access.expires_at:
        return "the access has expired; the requester has to ask again"
    return "" if released is not None else "the custodian has not released it yet"


def _changed(item: AccessedRecord, record: Record | None, verdict: str) -> str:
    """Why the record may not be handed out although it was permitted; empty if it may."""
    if item.verdict != Verdict.PERMIT:
        return "the access does not permit this record"
    if record is not None and record.status is not Status.CURRENT:
        return "a record of the access was withdrawn or erased since"
    if record is not None and record.anchor.version != item.version:
        return "a record of the access was superseded since; ask for the new version"
    return "" if verdict == Verdict.PERMIT else "consent no longer permits the access"


def _verdicts(decision: Decision, count: int) -> list[str]:
    """A verdict for each item; nothing is permitted unless the whole decision permits."""
    if not decision.permitted:
        return [decision.verdict.value] * count
    if len(decision.items) != count:
        return [Verdict.INDETERMINATE.value] * count
    return [item.verdict.value for item in decision.items]


@lru_cache(maxsize=4096)
def _array(values: tuple[str, ...]) -> str:
    return f"[{','.join(map(_quoted, values))}]"
