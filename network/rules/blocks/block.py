"""A block: how it is hashed, built, signed and judged on delivery.

Fabric's sources: protoutil/blockutils.go, orderer/common/multichannel/blockwriter.go,
common/deliverclient/block_verification.go. The metadata slots (common.BlockMetadataIndex):

    0 SIGNATURES           Metadata{value = OrdererBlockMetadata, signatures}, by the orderer
    1 LAST_CONFIG          Metadata{value = LastConfig}, an unsigned copy for old readers
    2 TRANSACTIONS_FILTER  one validation code a transaction, by each peer for itself
    3 ORDERER              obsolete, empty
    4 COMMIT_HASH          Metadata{value = commit hash}, by each peer for itself
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from fabric_protos.common import common_pb2

from network.rules.envelope import (
    MalformedMessage,
    OpenedEnvelope,
    SignedData,
    build_signature_header,
    open_envelope,
    parse_message,
)
from network.rules.identity.identity import Signing
from network.rules.policy.evaluation import PolicyUnsatisfied

METADATA_SLOTS = 5
NO_CONSENTERS: Mapping[int, bytes] = MappingProxyType({})


class InvalidBlock(ValueError):
    """A block that does not continue the chain, or is not signed as the channel asks."""


@dataclass(frozen=True, slots=True)
class ChainTip:
    """Number and header hash of a block that others follow but that need not be at hand."""

    number: int
    hash: bytes


class SignaturePolicy(Protocol):
    """A policy that judges signatures (network.rules.policy.evaluation.Policy is one)."""

    def evaluate(self, signed: Sequence[SignedData]) -> None:
        """Return if the signatures satisfy the policy; raises PolicyUnsatisfied."""


# --- hashes --------------------------------------------------------------------------------


def header_bytes(header: Any) -> bytes:
    """DER of SEQUENCE{INTEGER number, OCTET STRING previous_hash, OCTET STRING data_hash}.

    The number is a non-negative INTEGER, so from 2^63 it takes nine bytes (BlockHeaderBytes).
    """
    number: int = header.number
    encoded = number.to_bytes(number.bit_length() // 8 + 1, "big")
    body = _der(0x02, encoded) + _der(0x04, header.previous_hash) + _der(0x04, header.data_hash)
    return _der(0x30, body)


def header_hash(header: Any) -> bytes:
    """The hash that names a block and that the next header carries as previous_hash."""
    return hashlib.sha256(header_bytes(header)).digest()


def data_hash(data: Sequence[bytes]) -> bytes:
    """SHA-256 over the concatenated envelopes; no tree, whatever the channel config says."""
    digest = hashlib.sha256()
    for envelope in data:
        digest.update(envelope)
    return digest.digest()


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


# --- building and signing --------------------------------------------------------------------


def build_block(number: int, previous_hash: bytes, envelopes: Sequence[bytes]) -> Any:
    """An unsigned common_pb2.Block over canonical envelopes, with five empty metadata slots."""
    return common_pb2.Block(
        header=common_pb2.BlockHeader(
            number=number, previous_hash=previous_hash, data_hash=data_hash(envelopes)
        ),
        data=common_pb2.BlockData(data=list(envelopes)),
        metadata=common_pb2.BlockMetadata(metadata=[b""] * METADATA_SLOTS),
    )


def sign_block(
    block: Any, last_config: int, signer: Signing, nonce: bytes, consenter_metadata: bytes = b""
) -> None:
    """Fill SIGNATURES and LAST_CONFIG of `block` in place.

    `last_config` is the number of the newest config block up to and including this one: a config
    block names *itself*, else a peer that starts from it refuses ("config block number is
    different than its own config index").
    """
    value = common_pb2.OrdererBlockMetadata(
        last_config=common_pb2.LastConfig(index=last_config),
        consenter_metadata=common_pb2.Metadata(value=consenter_metadata).SerializeToString(),
    ).SerializeToString()
    signature_header = build_signature_header(signer.creator, nonce)
    signature = signer.sign(value + signature_header + header_bytes(block.header))
    block.metadata.metadata[common_pb2.SIGNATURES] = common_pb2.Metadata(
        value=value,
        signatures=[
            common_pb2.MetadataSignature(signature_header=signature_header, signature=signature)
        ],
    ).SerializeToString()
    block.metadata.metadata[common_pb2.LAST_CONFIG] = build_last_config(last_config)


def build_last_config(index: int) -> bytes:
    """The LAST_CONFIG slot's bytes."""
    value = common_pb2.LastConfig(index=index).SerializeToString()
    raw: bytes = common_pb2.Metadata(value=value).SerializeToString()
    return raw


# --- reading ---------------------------------------------------------------------------------


def open_block(raw: bytes) -> Any:
    """The common_pb2.Block in `raw`.

    Raises:
        MalformedMessage: it does not parse, or has no header.
    """
    block = parse_message(common_pb2.Block, raw)
    if not block.HasField("header"):
        raise MalformedMessage("block must have a header", "Block")
    return block


def block_signed_data(
    block: Any, consenters: Mapping[int, bytes] = NO_CONSENTERS
) -> list[SignedData]:
    """What the orderers' signatures on `block` are over, for /Channel/Orderer/BlockValidation.

    `consenters` maps a BFT consenter's id to its serialized identity; only a channel whose
    consensus type is BFT has any. A signature by an unknown id is left out.

    Raises:
        MalformedMessage: the SIGNATURES metadata is missing or does not parse.
    """
    metadata = _open_metadata(block, common_pb2.SIGNATURES)
    header = header_bytes(block.header)
    return list(_signed_data(metadata, header, consenters))


def _signed_data(
    metadata: Any, header: bytes, consenters: Mapping[int, bytes]
) -> Iterator[SignedData]:
    for signature in metadata.signatures:
        if consenters and signature.identifier_header and not signature.signature_header:
            identifier = parse_message(common_pb2.IdentifierHeader, signature.identifier_header)
            identity = consenters.get(identifier.identifier)
            if identity is None:
                continue
            signer_header = signature.identifier_header
        else:
            signer_header = signature.signature_header
            identity = parse_message(common_pb2.SignatureHeader, signer_header).creator
        yield SignedData(metadata.value + signer_header + header, identity, signature.signature)


def last_config_index(block: Any) -> int:
    """The number of the newest config block up to `block`, from its signed metadata.

    The unsigned LAST_CONFIG copy is read where the signed value is empty (before v1.4.1).

    Raises:
        MalformedMessage: the metadata is missing or does not parse.
    """
    metadata = _open_metadata(block, common_pb2.SIGNATURES)
    if metadata.value:
        value = parse_message(common_pb2.OrdererBlockMetadata, metadata.value)
        return int(value.last_config.index)
    copy = _open_metadata(block, common_pb2.LAST_CONFIG)
    return int(parse_message(common_pb2.LastConfig, copy.value).index)


def is_config_block(block: Any) -> bool:
    """Whether the block carries exactly one envelope and that is of type CONFIG."""
    return open_config_envelope(block) is not None


def open_config_envelope(block: Any) -> OpenedEnvelope | None:
    """The CONFIG envelope of a config block; None for any other block, malformed ones included."""
    if len(block.data.data) != 1:
        return None
    try:
        envelope = open_envelope(block.data.data[0])
    except MalformedMessage:
        return None
    return envelope if envelope.channel_header.type == common_pb2.CONFIG else None


def get_channel_id(block: Any) -> str:
    """The channel id in the block's first envelope.

    Raises:
        MalformedMessage: the block is empty or the envelope does not parse.
    """
    if not block.data.data:
        raise MalformedMessage("failed to retrieve channel id - block is empty", "Block")
    return str(open_envelope(block.data.data[0]).channel_header.channel_id)


# --- judging ---------------------------------------------------------------------------------


def validate_block(
    block: Any,
    previous: Any | None,
    policy: SignaturePolicy,
    consenters: Mapping[int, bytes] = NO_CONSENTERS,
) -> None:
    """What a peer checks before it takes `block` after `previous`, in Fabric's order.

    Number, previous hash, metadata slots, well-formed envelopes, data hash, signatures
    (BlockVerificationAssistant.VerifyBlock). `previous` is a block or what is known of it (a
    ChainTip); None stands for a genesis block, which nothing precedes and nobody signs: number 0 is
    asked and the policy is not.

    Raises:
        InvalidBlock: with the reason; what the policy raised is its cause.
    """
    number = block.header.number
    _validate_position(block, previous)
    if len(block.metadata.metadata) < METADATA_SLOTS:
        raise InvalidBlock(f"block {number} has no metadata or too few metadata entries")
    validate_well_formed(block)
    computed = data_hash(block.data.data)
    if computed != block.header.data_hash:
        raise InvalidBlock(
            f"block {number}: Header.DataHash is different from Hash(block.Data); "
            f"Header: {block.header.data_hash.hex()}, Data: {computed.hex()}"
        )
    if previous is not None:
        validate_signatures(block, policy, consenters)


def _validate_position(block: Any, previous: Any | None) -> None:
    number = block.header.number
    if previous is not None and not isinstance(previous, ChainTip):
        previous = ChainTip(previous.header.number, header_hash(previous.header))
    expected = 0 if previous is None else previous.number + 1
    if number != expected:
        raise InvalidBlock(
            f"expected block number is [{expected}] but actual block number inside block is "
            f"[{number}]"
        )
    if previous is None:
        return
    if block.header.previous_hash != previous.hash:
        raise InvalidBlock(
            f"Header.PreviousHash of block [{number}] is different from Hash(block.Header) of "
            f"previous block, received: {block.header.previous_hash.hex()}, "
            f"expected: {previous.hash.hex()}"
        )


def validate_well_formed(block: Any) -> None:
    """What VerifyTransactionsAreWellFormed asks; a lone config envelope is exempt, as there.

    Raises:
        InvalidBlock: the block is empty, or an envelope lacks a part or has another byte form.
    """
    number = block.header.number
    if not block.data.data:
        raise InvalidBlock(f"block {number} is empty")
    if is_config_block(block):
        return
    for index, raw in enumerate(block.data.data):
        try:
            envelope = parse_message(common_pb2.Envelope, raw)
        except MalformedMessage as error:
            raise InvalidBlock(f"block {number}: transaction {index} is invalid: {error}") from None
        if not envelope.payload:
            raise InvalidBlock(f"block {number}: transaction {index} has no payload")
        if not envelope.signature:
            raise InvalidBlock(f"block {number}: transaction {index} has no signature")
        if envelope.SerializeToString() != raw:
            raise InvalidBlock(f"block {number}: transaction {index} does not match its raw form")


def validate_signatures(
    block: Any, policy: SignaturePolicy, consenters: Mapping[int, bytes] = NO_CONSENTERS
) -> None:
    """What the channel asks of the orderers' signatures on `block`.

    Raises:
        InvalidBlock: they do not satisfy `policy`, or cannot be read.
    """
    number = block.header.number
    try:
        policy.evaluate(block_signed_data(block, consenters))
    except MalformedMessage as error:
        raise InvalidBlock(f"block {number}: {error}") from None
    except PolicyUnsatisfied as error:
        raise InvalidBlock(
            f"block {number} does not satisfy /Channel/Orderer/BlockValidation: {error}"
        ) from error


def _open_metadata(block: Any, slot: int) -> Any:
    if len(block.metadata.metadata) <= slot:
        name = common_pb2.BlockMetadataIndex.Name(slot)
        raise MalformedMessage(f"no metadata at index [{name}]", "Metadata")
    return parse_message(common_pb2.Metadata, block.metadata.metadata[slot])
