"""Fabric's nested messages, built and opened in one place.

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from fabric_protos.common import common_pb2
from fabric_protos.peer import (
    chaincode_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

NO_TRANSIENT: Mapping[str, bytes] = MappingProxyType({})


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


# --- headers and envelopes -----------------------------------------------------------------


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
    return _marshal(
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
    """SignatureHeader bytes for a serialized identity and a nonce (24 random bytes by custom)."""
    return _marshal(common_pb2.SignatureHeader(creator=creator, nonce=nonce))


def build_payload(channel_header: bytes, signature_header: bytes, data: bytes) -> bytes:
    """Payload bytes: what the signer of an envelope signs."""
    header = common_pb2.Header(channel_header=channel_header, signature_header=signature_header)
    return _marshal(common_pb2.Payload(header=header, data=data))


def build_envelope(payload: bytes, signature: bytes) -> bytes:
    """Envelope bytes in the canonical form that blocks must carry."""
    return _marshal(common_pb2.Envelope(payload=payload, signature=signature))


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


def is_canonical_envelope(raw: bytes) -> bool:
    """Whether serialising the parsed envelope gives `raw` again.

    Peers refuse a whole block for one envelope that is not (protoutil/blockutils.go,
    VerifyTransactionsAreWellFormed). Raises MalformedMessage if it does not parse.
    """
    return _marshal(parse_message(common_pb2.Envelope, raw)) == raw


# --- proposals -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BuiltProposal:
    """Proposal bytes to be signed and sent, and the transaction id they claim."""

    raw: bytes
    tx_id: str


def build_proposal(
    *,
    channel_id: str,
    chaincode: str,
    args: Sequence[bytes],
    creator: bytes,
    nonce: bytes,
    timestamp: datetime,
    transient: Mapping[str, bytes] = NO_TRANSIENT,
    is_init: bool = False,
    tls_cert_hash: bytes = b"",
) -> BuiltProposal:
    """A proposal to call `chaincode` with `args`; transient data never reaches the ledger."""
    chaincode_id = chaincode_pb2.ChaincodeID(name=chaincode)
    tx_id = compute_tx_id(nonce, creator)
    channel_header = build_channel_header(
        type=common_pb2.ENDORSER_TRANSACTION,
        channel_id=channel_id,
        timestamp=timestamp,
        tx_id=tx_id,
        extension=_marshal(proposal_pb2.ChaincodeHeaderExtension(chaincode_id=chaincode_id)),
        tls_cert_hash=tls_cert_hash,
    )
    invocation = chaincode_pb2.ChaincodeInvocationSpec(
        chaincode_spec=chaincode_pb2.ChaincodeSpec(
            # What every gateway client sends; no peer reads it.
            type=chaincode_pb2.ChaincodeSpec.NODE,
            chaincode_id=chaincode_id,
            input=chaincode_pb2.ChaincodeInput(args=list(args), is_init=is_init),
        )
    )
    proposal = proposal_pb2.Proposal(
        header=_marshal(
            common_pb2.Header(
                channel_header=channel_header,
                signature_header=build_signature_header(creator, nonce),
            )
        ),
        payload=_marshal(
            proposal_pb2.ChaincodeProposalPayload(
                input=_marshal(invocation), TransientMap=dict(transient)
            )
        ),
    )
    return BuiltProposal(_marshal(proposal), tx_id)


@dataclass(frozen=True, slots=True)
class OpenedProposal:
    """A proposal with every layer read that an endorser needs."""

    channel_header: Any  # common_pb2.ChannelHeader
    channel_header_bytes: bytes
    signature_header: Any  # common_pb2.SignatureHeader
    signature_header_bytes: bytes
    chaincode_name: str  # from the channel header's extension: it decides execution and ACL
    payload: bytes  # ChaincodeProposalPayload, transient map included
    input: bytes  # ChaincodeInvocationSpec as sent
    args: tuple[bytes, ...]
    is_init: bool
    decorations: Mapping[str, bytes]
    transient: Mapping[str, bytes]
    proposal_hash: bytes


def open_proposal(raw: bytes) -> OpenedProposal:
    """The proposal in `raw`, complete (core/endorser/msgvalidation.go, UnpackProposal).

    Raises:
        MalformedMessage: with the text that Fabric's endorser gives.
    """
    proposal = parse_message(proposal_pb2.Proposal, raw)
    header = parse_message(common_pb2.Header, proposal.header)
    channel_header = parse_message(common_pb2.ChannelHeader, header.channel_header)
    signature_header = parse_message(common_pb2.SignatureHeader, header.signature_header)
    chaincode_name = _open_chaincode_name(channel_header.extension)
    payload = parse_message(proposal_pb2.ChaincodeProposalPayload, proposal.payload)
    invocation = parse_message(chaincode_pb2.ChaincodeInvocationSpec, payload.input)
    if not invocation.HasField("chaincode_spec"):
        raise MalformedMessage(
            "chaincode invocation spec did not contain chaincode spec", "ChaincodeInvocationSpec"
        )
    if not invocation.chaincode_spec.HasField("input"):
        raise MalformedMessage("chaincode input did not contain any input", "ChaincodeInput")
    chaincode_input = invocation.chaincode_spec.input
    return OpenedProposal(
        channel_header=channel_header,
        channel_header_bytes=header.channel_header,
        signature_header=signature_header,
        signature_header_bytes=header.signature_header,
        chaincode_name=chaincode_name,
        payload=proposal.payload,
        input=payload.input,
        args=tuple(chaincode_input.args),
        is_init=chaincode_input.is_init,
        decorations=dict(chaincode_input.decorations),
        transient=dict(payload.TransientMap),
        proposal_hash=compute_proposal_hash(
            header.channel_header, header.signature_header, _strip_transient(payload.input)
        ),
    )


def _open_chaincode_name(extension: bytes) -> str:
    opened = parse_message(proposal_pb2.ChaincodeHeaderExtension, extension)
    if not opened.HasField("chaincode_id"):
        raise MalformedMessage(
            "ChaincodeHeaderExtension.ChaincodeId is nil", "ChaincodeHeaderExtension"
        )
    name: str = opened.chaincode_id.name
    if not name:
        raise MalformedMessage(
            "ChaincodeHeaderExtension.ChaincodeId.Name is empty", "ChaincodeHeaderExtension"
        )
    return name


def compute_proposal_hash(
    channel_header: bytes, signature_header: bytes, chaincode_proposal_payload: bytes
) -> bytes:
    """SHA-256 over both headers and the proposal payload *without* its transient map.

    An endorser strips the map first; a committer takes the bytes in the transaction verbatim
    (core/common/validation/msgvalidation.go, validateEndorserTransaction).
    """
    return hashlib.sha256(channel_header + signature_header + chaincode_proposal_payload).digest()


# --- responses and transactions --------------------------------------------------------------


def build_response_payload(
    *,
    proposal_hash: bytes,
    results: bytes,
    event: bytes,
    response: Any,  # proposal_response_pb2.Response
    chaincode_name: str,
    chaincode_version: str,
) -> bytes:
    """ProposalResponsePayload bytes: every endorser of a transaction must make the same ones."""
    action = proposal_pb2.ChaincodeAction(
        results=results,
        events=event,
        response=response,
        chaincode_id=chaincode_pb2.ChaincodeID(name=chaincode_name, version=chaincode_version),
    )
    return _marshal(
        proposal_response_pb2.ProposalResponsePayload(
            proposal_hash=proposal_hash, extension=_marshal(action)
        )
    )


@dataclass(frozen=True, slots=True)
class OpenedResponsePayload:
    """What endorsers agreed on: the proposal they answered and the action they saw."""

    raw: bytes
    proposal_hash: bytes
    action: Any  # proposal_pb2.ChaincodeAction

    @property
    def results(self) -> bytes:
        """TxReadWriteSet bytes."""
        return bytes(self.action.results)

    @property
    def event(self) -> bytes:
        """ChaincodeEvent bytes, empty without an event."""
        return bytes(self.action.events)


def open_response_payload(raw: bytes) -> OpenedResponsePayload:
    """The ProposalResponsePayload in `raw` and its ChaincodeAction.

    Raises:
        MalformedMessage: one of the two does not parse.
    """
    payload = parse_message(proposal_response_pb2.ProposalResponsePayload, raw)
    action = parse_message(proposal_pb2.ChaincodeAction, payload.extension)
    return OpenedResponsePayload(raw, payload.proposal_hash, action)


def build_transaction_payload(
    proposal_raw: bytes, response_payload: bytes, endorsements: Sequence[Any]
) -> bytes:
    """Payload bytes of the transaction, for the proposal's creator to sign.

    The header is the proposal's own, the transient map is left out, an endorser counts once
    (protoutil/txutils.go, CreateSignedTx). That every endorser gave `response_payload` is the
    caller's check.

    Raises:
        MalformedMessage: the proposal does not parse.
        ValueError: no endorsements.
    """
    if not endorsements:
        raise ValueError("at least one endorsement is required")
    proposal = parse_message(proposal_pb2.Proposal, proposal_raw)
    header = parse_message(common_pb2.Header, proposal.header)
    payload = parse_message(proposal_pb2.ChaincodeProposalPayload, proposal.payload)
    by_endorser: dict[bytes, Any] = {}
    for endorsement in endorsements:
        by_endorser.setdefault(endorsement.endorser, endorsement)
    action = transaction_pb2.ChaincodeActionPayload(
        chaincode_proposal_payload=_strip_transient(payload.input),
        action=transaction_pb2.ChaincodeEndorsedAction(
            proposal_response_payload=response_payload, endorsements=list(by_endorser.values())
        ),
    )
    transaction = transaction_pb2.Transaction(
        actions=[
            transaction_pb2.TransactionAction(
                header=header.signature_header, payload=_marshal(action)
            )
        ]
    )
    return build_payload(header.channel_header, header.signature_header, _marshal(transaction))


@dataclass(frozen=True, slots=True)
class OpenedTransaction:
    """A transaction's one action, with the bytes that its endorsers signed."""

    action_header: bytes  # SignatureHeader bytes; must equal the envelope's
    chaincode_proposal_payload: bytes
    response_payload: bytes
    endorsements: tuple[Any, ...]  # proposal_response_pb2.Endorsement

    @property
    def endorsement_signed_data(self) -> list[SignedData]:
        """Per endorsement: response payload and endorser, the endorser, the signature."""
        return [
            SignedData(self.response_payload + e.endorser, e.endorser, e.signature)
            for e in self.endorsements
        ]


def open_transaction(data: bytes) -> OpenedTransaction:
    """The endorser transaction in an envelope's `data`.

    Raises:
        MalformedMessage: it does not parse, has not exactly one action, or names no endorsed
            response.
    """
    transaction = parse_message(transaction_pb2.Transaction, data)
    if len(transaction.actions) != 1:
        raise MalformedMessage(
            f"only one action per transaction is supported, tx contains {len(transaction.actions)}",
            "Transaction",
        )
    action = transaction.actions[0]
    payload = parse_message(transaction_pb2.ChaincodeActionPayload, action.payload)
    if not payload.HasField("action"):
        raise MalformedMessage("no payload in ChaincodeActionPayload", "ChaincodeActionPayload")
    return OpenedTransaction(
        action_header=action.header,
        chaincode_proposal_payload=payload.chaincode_proposal_payload,
        response_payload=payload.action.proposal_response_payload,
        endorsements=tuple(payload.action.endorsements),
    )


# --- helpers -------------------------------------------------------------------------------


def _strip_transient(invocation: bytes) -> bytes:
    """ChaincodeProposalPayload bytes with the input alone (GetBytesProposalPayloadForTx)."""
    return _marshal(proposal_pb2.ChaincodeProposalPayload(input=invocation))


def _build_timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return stamp


def _marshal(message: Any) -> bytes:
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
