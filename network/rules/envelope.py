"""Fabric's nested messages: the envelope and its headers; `proposal` and `transaction` go on.

Nobody else in the house takes an Envelope, a Proposal or a Transaction apart. What is hashed or
signed is kept as the bytes that arrived (`raw`, `payload`, `channel_header_bytes`, …): a message
is never serialised again to check a hash or a signature. Whatever the input, `open_*` either
returns a value or raises `MalformedMessage` with one line of reason, never anything else.

The nesting (fabric-protos common/common.proto, peer/proposal.proto, peer/transaction.proto)::

    Envelope        payload, signature over payload
      Payload       header, data
        Header      channel_header, signature_header (creator, nonce)
        data        Transaction | ConfigEnvelope | ConfigUpdateEnvelope | SeekInfo
    SignedProposal  proposal_bytes, signature over them
      Proposal      header (as above), payload
        payload     ChaincodeProposalPayload: input (ChaincodeInvocationSpec), transient map
    Transaction     one action: header (the proposal's signature header), payload
      payload       ChaincodeActionPayload: the proposal's payload without the transient map,
                    the endorsed ProposalResponsePayload, the endorsements
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fabric_protos.common import common_pb2
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

NONCE_BYTES = 24
"""The size of a nonce (common/crypto/random.go, NonceSize)."""


class MalformedMessage(ValueError):
    """Bytes that are not the message they should be; the text is one line, without the bytes.

    `part` names the message that could not be read ("Envelope", "Payload", "Header",
    "ChannelHeader", …), so that a validator can choose its code by it.
    """

    def __init__(self, text: str, part: str = "") -> None:
        super().__init__(text)
        self.part = part


@dataclass(frozen=True, slots=True)
class SignedData:
    """What a policy judges: these bytes, this serialized identity, this signature (protoutil)."""

    data: bytes
    identity: bytes
    signature: bytes


def compute_tx_id(nonce: bytes, creator: bytes) -> str:
    """The transaction id: lower hex SHA-256 of nonce then creator (protoutil/proputils.go)."""
    return hashlib.sha256(nonce + creator).hexdigest()


def build_channel_header(
    *,
    type: int,  # noqa: A002  the field's name in Fabric
    channel_id: str,
    timestamp: datetime,
    tx_id: str = "",
    extension: bytes = b"",
    tls_cert_hash: bytes = b"",
    version: int = 0,
    epoch: int = 0,
) -> bytes:
    """ChannelHeader bytes. A `timestamp` without a zone is read as UTC."""
    return build_message(
        common_pb2.ChannelHeader(
            type=type,
            version=version,
            timestamp=_build_timestamp(timestamp),
            channel_id=channel_id,
            tx_id=tx_id,
            epoch=epoch,
            extension=extension,
            tls_cert_hash=tls_cert_hash,
        )
    )


def build_signature_header(creator: bytes, nonce: bytes) -> bytes:
    """SignatureHeader bytes for a serialized identity and a nonce (`NONCE_BYTES` random bytes)."""
    return build_message(common_pb2.SignatureHeader(creator=creator, nonce=nonce))


def build_payload(channel_header: bytes, signature_header: bytes, data: bytes) -> bytes:
    """Payload bytes: what the signer of an envelope signs."""
    header = common_pb2.Header(channel_header=channel_header, signature_header=signature_header)
    return build_message(common_pb2.Payload(header=header, data=data))


def build_envelope(payload: bytes, signature: bytes) -> bytes:
    """Envelope bytes in the canonical form that blocks must carry."""
    return build_message(common_pb2.Envelope(payload=payload, signature=signature))


@dataclass(frozen=True, slots=True)
class OpenedEnvelope:
    """An envelope with its headers open; `data` is what the header's type says it is."""

    raw: bytes
    payload: bytes
    signature: bytes
    channel_header: Any  # common_pb2.ChannelHeader
    channel_header_bytes: bytes
    signature_header: Any  # common_pb2.SignatureHeader
    signature_header_bytes: bytes
    data: bytes

    @property
    def signed_data(self) -> SignedData:
        """The payload, its creator and the envelope's signature (protoutil/signeddata.go)."""
        return SignedData(self.payload, self.signature_header.creator, self.signature)


def open_envelope(raw: bytes) -> OpenedEnvelope:
    """The envelope in `raw` with its headers read.

    The signature may be empty (a genesis block's is) and is not verified.

    Raises:
        MalformedMessage: one of the nested messages does not parse, or the header is missing.
    """
    envelope = parse_message(common_pb2.Envelope, raw)
    payload = parse_message(common_pb2.Payload, envelope.payload)
    if not payload.HasField("header"):
        raise MalformedMessage("envelope must have a Header", "Header")
    header = payload.header
    return OpenedEnvelope(
        raw=raw,
        payload=envelope.payload,
        signature=envelope.signature,
        channel_header=parse_message(common_pb2.ChannelHeader, header.channel_header),
        channel_header_bytes=header.channel_header,
        signature_header=parse_message(common_pb2.SignatureHeader, header.signature_header),
        signature_header_bytes=header.signature_header,
        data=payload.data,
    )


def _build_timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return stamp


def build_message(message: Any) -> bytes:
    """The message's bytes, in the order of its fields' numbers."""
    raw: bytes = message.SerializeToString()
    return raw


def parse_message(kind: Any, raw: bytes) -> Any:
    """The message of class `kind` (from fabric_protos) in `raw`.

    Raises:
        MalformedMessage: with the message's name as `part`.
    """
    try:
        return kind.FromString(raw)
    except DecodeError:
        name = kind.DESCRIPTOR.name
        raise MalformedMessage(
            f"error unmarshalling {name}: proto: cannot parse invalid wire-format data", name
        ) from None
