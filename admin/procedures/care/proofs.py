"""Verifying a record offline: file, proof and block, trusting only the channel's configuration.

Nothing is asked of anybody. The verdict says what was shown and by what, and what was not shown:
a block's validation flags are the peer's own word, since no orderer signs them.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, BinaryIO

from admin.errors import FaultError
from admin.fhir.canonical import canonical_static
from admin.fhir.reading import SourceFile, parse_resource
from admin.procedures.care.sources import MAX_RESOURCE
from chaincode import canonical, commitment, merkle
from chaincode.errors import InvalidArgument
from chaincode.records import rules
from chaincode.records.model import AnchoredBatch, Membership, Record
from network.rules.blocks.block import InvalidBlock, block_signed_data, data_hash, header_hash
from network.rules.channel.config import ChannelConfig
from network.rules.envelope import (
    MalformedMessage,
    open_envelope,
    open_response_payload,
    open_transaction,
)
from network.rules.identity.identity import IdentityError, verify_signature
from network.rules.policy.evaluation import PolicyUnsatisfied
from network.rules.state.rwset import MalformedRwset, open_rwset

BLOCK_VALIDATION = "/Channel/Orderer/BlockValidation"
VALID = 0
FILTER_SLOT = 2
FORMAT = "medfabric-record-proof/1"
_BLOCK = 1024 * 1024


class NotShown(Exception):
    """The file, proof and block do not show that the record was anchored; the text says why."""


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
    try:
        proof = canonical.decode(RecordProof, raw, "proof")
    except InvalidArgument as error:
        raise NotShown(f"the proof file cannot be read: {error}") from error
    if proof.format != FORMAT:
        raise NotShown(f"the proof has format {proof.format}, not {FORMAT}")
    return proof


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
    _validate_block(block, proof, trusted)
    envelope = _find_transaction(block, proof)
    creator = _validate_creator(envelope, trusted)
    record, endorsers = _open_anchor(envelope, proof, trusted)
    same = _check_content(content, record, proof.salt)
    return Shown(
        record=record.anchor.record,
        version=record.anchor.version,
        custodian=record.custodian,
        block_number=block.header.number,
        block_hash=header_hash(block.header).hex(),
        transaction_id=proof.transaction_id,
        anchored_at=json.loads(canonical.encode({"at": record.anchored_at}))["at"],
        endorsed_by=tuple(endorsers),
        checks=(
            same,
            f"the anchor is in transaction {proof.transaction_id[:12]}… of {creator}",
            f"endorsed by {', '.join(endorsers)}, whose signatures hold",
            f"the transaction is in block {block.header.number}, whose data hash holds",
            "an orderer of the channel signed the block's header",
        ),
        limits=_limits(block, envelope),
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


def _validate_block(block: Any, proof: RecordProof, trusted: ChannelConfig) -> None:
    if trusted.channel_id != proof.channel:
        raise NotShown(
            f"the proof is of channel {proof.channel}, the configuration of {trusted.channel_id}"
        )
    if block.header.number != proof.block_number:
        raise NotShown(
            f"the proof names block {proof.block_number}, this is block {block.header.number}"
        )
    if data_hash(block.data.data) != block.header.data_hash:
        raise NotShown("the block's data are not those its header commits to")
    try:
        signed = block_signed_data(block)
        trusted.policies.get(BLOCK_VALIDATION).evaluate(signed)
    except (InvalidBlock, MalformedMessage) as error:
        raise NotShown(f"the block's signatures cannot be read: {error}") from error
    except PolicyUnsatisfied as error:
        raise NotShown("no orderer of this channel signed the block") from error


def _find_transaction(block: Any, proof: RecordProof) -> Any:
    for raw in block.data.data:
        try:
            envelope = open_envelope(raw)
        except MalformedMessage:
            continue
        if envelope.channel_header.tx_id == proof.transaction_id:
            return envelope
    raise NotShown("the block does not hold the transaction that the proof names")


def _validate_creator(envelope: Any, trusted: ChannelConfig) -> str:
    try:
        identity = trusted.msps.identity(envelope.signature_header.creator)
        trusted.msps.validate(identity)
        verify_signature(identity, envelope.payload, envelope.signature)
    except IdentityError as error:
        raise NotShown(f"the transaction's creator cannot be verified: {error}") from error
    return identity.msp_id


def _open_anchor(
    envelope: Any, proof: RecordProof, trusted: ChannelConfig
) -> tuple[Record, list[str]]:
    try:
        transaction = open_transaction(envelope.data)
        response = open_response_payload(transaction.response_payload)
        rwset = open_rwset(response.action.results)
    except (MalformedMessage, MalformedRwset) as error:
        raise NotShown(f"the transaction cannot be read: {error}") from error
    endorsers = []
    for signed in transaction.endorsement_signed_data:
        try:
            identity = trusted.msps.identity(signed.identity)
            trusted.msps.validate(identity)
            verify_signature(identity, signed.data, signed.signature)
        except IdentityError as error:
            raise NotShown(f"an endorsement does not hold: {error}") from error
        endorsers.append(identity.msp_id)
    if not endorsers:
        raise NotShown("the transaction carries no endorsement")
    name = response.action.chaincode_id.name
    values = [
        write.value
        for namespace in rwset.namespaces
        if namespace.namespace == name
        for write in namespace.kv.writes
    ]
    return _find_record(values, proof), endorsers


def _find_record(values: list[bytes], proof: RecordProof) -> Record:
    if proof.membership is not None:
        return _record_of_batch(values, proof.membership)
    for value in values:
        try:
            record = canonical.decode(Record, value)
        except InvalidArgument:
            continue
        if (record.anchor.record, record.anchor.version) == (proof.record, proof.version):
            return record
    raise NotShown("the transaction does not anchor the record version that the proof names")


def _record_of_batch(values: list[bytes], membership: Membership) -> Record:
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


def _limits(block: Any, envelope: Any) -> tuple[str, ...]:
    flags = bytes(block.metadata.metadata[FILTER_SLOT])
    index = next(
        i for i, raw in enumerate(block.data.data) if open_envelope(raw).raw == envelope.raw
    )
    if index >= len(flags):
        return ("the block comes from an orderer and carries no validation flags",)
    if flags[index] != VALID:
        raise NotShown(
            f"the peer marked the transaction invalid (code {flags[index]}): nothing was anchored"
        )
    return (
        "that the transaction is valid is the word of the peer that gave the block; "
        "medfabric ledger verify recomputes it",
    )
