"""Events of an access log: their leaves, their proofs, and their verification offline.

A leaf is the RFC 6962 hash of a salted commitment to the event's exact bytes, so that neither the
root nor the hashes of a neighbour's proof let anyone guess an event. The salts of a batch all come
from one secret; a proof carries its own event's salt only.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from admin.procedures.ledgers.evidence import (
    Evidence,
    NotShown,
    Place,
    open_evidence,
    read_proof_of,
)
from chaincode import canonical, commitment, merkle
from chaincode.audit import rules
from chaincode.audit.model import LogAnchor, LogProof
from chaincode.errors import InvalidArgument
from network.rules.channel.config import ChannelConfig

FORMAT = "medfabric-log-proof/1"
SECRET_SIZE = 32


@dataclass(frozen=True, slots=True)
class LogEventProof:
    """What its holder gives to show that an event stood in a log: its salt, path and place.

    With the salt anyone can test a guess: give it only to who may know the event.
    """

    channel: str
    msp_id: str
    log: str
    first: int
    sequence: int
    salt: bytes
    path: tuple[bytes, ...]
    block_number: int
    transaction_id: str
    format: str = FORMAT


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """A verdict: the event stood in the log at `anchored_at` or before, at this sequence number."""

    msp_id: str
    log: str
    sequence: int
    anchored_at: datetime
    block_number: int
    block_hash: str
    transaction_id: str
    endorsed_by: tuple[str, ...]
    checks: tuple[str, ...]
    limits: tuple[str, ...]


def derive_salt(secret: bytes, sequence: int) -> bytes:
    """Return an event's salt: HMAC-SHA256 of its sequence number under its batch's secret."""
    return hmac.new(secret, b"salt" + sequence.to_bytes(8, "big"), hashlib.sha256).digest()


def hash_event(salt: bytes, event: bytes) -> bytes:
    """Return the event's leaf hash."""
    return merkle.hash_leaf(commitment.commit(commitment.LOG_EVENT, salt, event))


def read_log_proof(raw: bytes) -> LogEventProof:
    """Return the proof in the bytes. Raises NotShown."""
    proof = read_proof_of(LogEventProof, raw, FORMAT)
    if len(proof.salt) != commitment.SALT_SIZE:
        raise NotShown("the proof's salt is not 32 bytes")
    return proof


def verify_event(
    event: bytes, proof: LogEventProof, block: Any, trusted: ChannelConfig
) -> ShownEvent:
    """Return what holds if `event` is what `proof` says, in a batch anchored in `block`.

    Args:
        event: the log's line, byte for byte, without its line feed.
        proof: salt, path and place.
        block: the block (`common.Block`) as any peer or orderer gives it.
        trusted: the channel's configuration, got from a source the verifier trusts.

    Raises:
        NotShown: with the first thing that does not hold.
    """
    place = Place(proof.channel, proof.block_number, proof.transaction_id)
    evidence = open_evidence(block, place, trusted)
    anchor = _find_anchor(evidence, proof)
    verdict = rules.evaluate_log_proof(
        LogProof(
            proof.msp_id,
            proof.log,
            proof.first,
            proof.sequence,
            hash_event(proof.salt, event),
            proof.path,
        ),
        anchor,
    )
    if not verdict.valid:
        raise NotShown(
            f"the event is not in the anchored batch: {verdict.reason}. It was changed, or it is "
            "another event or proof"
        )
    return ShownEvent(
        msp_id=anchor.msp_id,
        log=anchor.batch.log,
        sequence=proof.sequence,
        anchored_at=anchor.anchored_at,
        block_number=proof.block_number,
        block_hash=evidence.block_hash,
        transaction_id=proof.transaction_id,
        endorsed_by=evidence.endorsers,
        checks=(
            f"the event is number {proof.sequence} of the batch {anchor.batch.first} to "
            f"{anchor.batch.last}, by its inclusion proof",
            *evidence.checks,
        ),
        limits=evidence.limits,
    )


def _find_anchor(evidence: Evidence, proof: LogEventProof) -> LogAnchor:
    if evidence.creator != proof.msp_id:
        raise NotShown(f"the batch was anchored by {evidence.creator}, not by {proof.msp_id}")
    for value in evidence.values:
        try:
            anchor = canonical.decode(LogAnchor, value)
        except InvalidArgument:
            continue
        if (anchor.msp_id, anchor.batch.log, anchor.batch.first) == (
            proof.msp_id,
            proof.log,
            proof.first,
        ) and anchor.tx_id == proof.transaction_id:
            return anchor
    raise NotShown("the transaction does not anchor the batch that the proof names")
