"""Proposals: what a client signs and an endorser answers. See `envelope` for the nesting."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from fabric_protos.common import common_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2

from network.rules.envelope import (
    MalformedMessage,
    build_channel_header,
    build_message,
    build_signature_header,
    compute_tx_id,
    parse_message,
)

NO_TRANSIENT: Mapping[str, bytes] = MappingProxyType({})


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
        extension=build_message(proposal_pb2.ChaincodeHeaderExtension(chaincode_id=chaincode_id)),
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
        header=build_message(
            common_pb2.Header(
                channel_header=channel_header,
                signature_header=build_signature_header(creator, nonce),
            )
        ),
        payload=build_message(
            proposal_pb2.ChaincodeProposalPayload(
                input=build_message(invocation), TransientMap=dict(transient)
            )
        ),
    )
    return BuiltProposal(build_message(proposal), tx_id)


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
            header.channel_header, header.signature_header, strip_transient(payload.input)
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


def strip_transient(invocation: bytes) -> bytes:
    """ChaincodeProposalPayload bytes with the input alone (GetBytesProposalPayloadForTx)."""
    return build_message(proposal_pb2.ChaincodeProposalPayload(input=invocation))
