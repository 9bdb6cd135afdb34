"""Verifying a record offline: file, proof and block, trusting only the channel's configuration.

Nothing is asked of anybody. The verdict says what was shown and by what, and what was not shown.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, BinaryIO

from admin.errors import FaultError
from admin.fhir.canonical import canonical_static
from admin.fhir.reading import SourceFile, parse_resource
from admin.procedures.care.sources import MAX_RESOURCE
from admin.procedures.ledgers.evidence import NotShown, Place, open_evidence, read_proof_of
from chaincode import canonical, commitment, merkle
from chaincode.errors import InvalidArgument
from chaincode.records import rules
from chaincode.records.model import AnchoredBatch, Membership, Record
from network.rules.channel.config import ChannelConfig

FORMAT = "medfabric-record-proof/1"
_BLOCK = 1024 * 1024

__all__ = ["NotShown", "RecordProof", "Shown", "read_proof", "verify_record"]


@dataclass(frozen=True, slots=True)
class RecordProof:
    """What its holder gives to show that a file was anchored: the salt and the place.

    With the salt anyone can test a guess against the commitment, so that a proof is given only to
    who may know the record. `membership` is set for a record of a batch.
    """

    channel: str
    record: str
    version: int
    salt: bytes
    block_number: int
    transaction_id: str
    membership: Membership | None = None
    format: str = FORMAT


@dataclass(frozen=True, slots=True)
class Shown:
    """A verdict: one line for each thing that holds, and what was anchored."""

    record: str
    version: int
    custodian: str
    block_number: int
    block_hash: str
    transaction_id: str
    anchored_at: str
    endorsed_by: tuple[str, ...]
    checks: tuple[str, ...]
    limits: tuple[str, ...]


def read_proof(raw: bytes) -> RecordProof:
    """Return the proof in the bytes. Raises NotShown."""
    return read_proof_of(RecordProof, raw, FORMAT)


def verify_record(
    content: BinaryIO, proof: RecordProof, block: Any, trusted: ChannelConfig
) -> Shown:
    """Return what holds if `content` is the record that `proof` says, anchored in `block`.

    Args:
        content: the plain record, read as a stream; of a FHIR resource also one that another
            server wrote anew, as long as it is the same in FHIR's canonical form.
        proof: salt and place.
        block: the block (`common.Block`) as any peer or orderer gives it.
        trusted: the channel's configuration, got from a source the verifier trusts.

    Raises:
        NotShown: with the first thing that does not hold.
    """
    place = Place(proof.channel, proof.block_number, proof.transaction_id)
    evidence = open_evidence(block, place, trusted)
    record = _find_record(evidence.values, proof)
    same = _check_content(content, record, proof.salt)
    return Shown(
        record=record.anchor.record,
        version=record.anchor.version,
        custodian=record.custodian,
        block_number=block.header.number,
        block_hash=evidence.block_hash,
        transaction_id=proof.transaction_id,
        anchored_at=json.loads(canonical.encode({"at": record.anchored_at}))["at"],
        endorsed_by=evidence.endorsers,
        checks=(same, *evidence.checks),
        limits=evidence.limits,
    )


def _check_content(content: BinaryIO, record: Record, salt: bytes) -> str:
    """Return in words how the content is the anchored one. Raises NotShown."""
    anchor = record.anchor
    digest = hashlib.sha256(commitment.RECORD + salt)
    head = content.read(MAX_RESOURCE + 1)
    digest.update(head)
    whole = len(head) <= MAX_RESOURCE
    while not whole and (block := content.read(_BLOCK)):
        digest.update(block)
    if digest.digest() == anchor.commitment and len(salt) == commitment.SALT_SIZE:
        return "the file's salted commitment is the anchored one"
    if whole and anchor.canonical is not None and _is_canonically(head, salt, anchor.canonical):
        return (
            "the resource's commitment in FHIR's canonical form is the anchored one; its bytes "
            "are not: another server wrote it anew"
        )
    raise NotShown(
        "the file is not the anchored one: its commitment differs. It was changed, or it is "
        "another file or version"
    )


def _is_canonically(raw: bytes, salt: bytes, expected: bytes) -> bool:
    try:
        static = canonical_static(parse_resource(SourceFile("file", raw)))
    except FaultError:
        return False
    return commitment.opens(expected, commitment.RECORD_CANONICAL, salt, static)


def _find_record(values: tuple[bytes, ...], proof: RecordProof) -> Record:
    if proof.membership is not None:
        anchor = proof.membership.anchor
        if (anchor.record, anchor.version) != (proof.record, proof.version):
            raise NotShown("the proof is of another record version than its place in the batch")
        return _record_of_batch(values, proof.membership)
    for value in values:
        try:
            record = canonical.decode(Record, value)
        except InvalidArgument:
            continue
        if (record.anchor.record, record.anchor.version) == (proof.record, proof.version):
            return record
    raise NotShown("the transaction does not anchor the record version that the proof names")


def _record_of_batch(values: tuple[bytes, ...], membership: Membership) -> Record:
    for value in values:
        try:
            batch = canonical.decode(AnchoredBatch, value)
        except InvalidArgument:
            continue
        if batch.batch == membership.batch:
            try:
                rules.validate_membership(membership, batch)
            except (InvalidArgument, merkle.InvalidProof) as error:
                raise NotShown(f"the batch does not hold the record: {error}") from error
            return rules.record_from_batch(membership, batch)
    raise NotShown("the transaction does not anchor the batch that the proof names")
