"""What a block shows offline about one of its transactions, trusting only a channel configuration.

Nothing is asked of anybody. A block's validation flags are the peer's own word, since no orderer
signs them: `Evidence.limits` says so.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from chaincode import canonical
from chaincode.errors import InvalidArgument
from network.rules.blocks.block import InvalidBlock, block_signed_data, data_hash, header_hash
from network.rules.channel.config import ChannelConfig
from network.rules.envelope import MalformedMessage, open_envelope
from network.rules.identity.identity import IdentityError, verify_signature
from network.rules.policy.evaluation import PolicyUnsatisfied
from network.rules.policy.manager import BLOCK_VALIDATION
from network.rules.state.rwset import MalformedRwset, open_rwset
from network.rules.transaction import open_response_payload, open_transaction

VALID = 0
FILTER_SLOT = 2

Proof = TypeVar("Proof")


class NotShown(Exception):
    """What was to be shown is not; the text says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proof says that something was anchored."""

    channel: str
    block_number: int
    transaction_id: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """A transaction whose place, signatures and endorsements hold.

    Attributes:
        creator: the MSP id of who submitted it.
        endorsers: the MSP ids of who endorsed it.
        values: what it wrote to its own chaincode's public state.
        block_hash: the block header's hash, hex.
        checks: what was shown, a sentence each.
        limits: what was not.
    """

    creator: str
    endorsers: tuple[str, ...]
    values: tuple[bytes, ...]
    block_hash: str
    checks: tuple[str, ...]
    limits: tuple[str, ...]


def read_proof_of(kind: type[Proof], raw: bytes, form: str) -> Proof:
    """Return the proof in a file's bytes, whose `format` is `form`. Raises NotShown."""
    try:
        proof = canonical.decode(kind, raw, "proof")
    except InvalidArgument as error:
        raise NotShown(f"the proof file cannot be read: {error}") from error
    if getattr(proof, "format", None) != form:
        raise NotShown(f"the proof has another format than {form}")
    return proof


def open_evidence(block: Any, place: Place, trusted: ChannelConfig) -> Evidence:
    """Return what the block (`common.Block`) shows of the transaction at this place.

    Raises:
        NotShown: with the first thing that does not hold.
    """
    _validate_block(block, place, trusted)
    envelope = _find_transaction(block, place)
    creator = _validate_creator(envelope, trusted)
    values, endorsers = _open_writes(envelope, trusted)
    return Evidence(
        creator=creator,
        endorsers=tuple(endorsers),
        values=tuple(values),
        block_hash=header_hash(block.header).hex(),
        checks=(
            f"the anchor is in transaction {place.transaction_id[:12]}… of {creator}",
            f"endorsed by {', '.join(endorsers)}, whose signatures hold",
            f"the transaction is in block {block.header.number}, whose data hash holds",
            "an orderer of the channel signed the block's header",
        ),
        limits=_limits(block, envelope),
    )


def _validate_block(block: Any, place: Place, trusted: ChannelConfig) -> None:
    if trusted.channel_id != place.channel:
        raise NotShown(
            f"the proof is of channel {place.channel}, the configuration of {trusted.channel_id}"
        )
    if block.header.number != place.block_number:
        raise NotShown(
            f"the proof names block {place.block_number}, this is block {block.header.number}"
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


def _find_transaction(block: Any, place: Place) -> Any:
    for raw in block.data.data:
        try:
            envelope = open_envelope(raw)
        except MalformedMessage:
            continue
        if envelope.channel_header.tx_id == place.transaction_id:
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


def _open_writes(envelope: Any, trusted: ChannelConfig) -> tuple[list[bytes], list[str]]:
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
    return values, endorsers


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
