"""What the shim takes out of the signed proposal that comes with a transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from fabric_protos.common import common_pb2
from fabric_protos.peer import proposal_pb2
from google.protobuf.message import DecodeError

from chaincode.errors import InvalidArgument
from chaincode.shim.iterators import read_timestamp

_NO_TIMESTAMP = common_pb2.ChannelHeader().timestamp


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the shim takes out of a signed proposal (`shim/stub.go` newChaincodeStub)."""

    creator: bytes
    transient: Mapping[str, bytes]
    binding: bytes
    timestamp: datetime


def open_proposal(signed_proposal: Any) -> Proposal:
    """Creator, transient map, binding and time of a signed proposal (None gives empty values).

    Raises InvalidArgument: not a proposal of an endorser transaction.
    """
    if signed_proposal is None:
        return Proposal(b"", MappingProxyType({}), b"", read_timestamp(_NO_TIMESTAMP))
    try:
        proposal = proposal_pb2.Proposal.FromString(signed_proposal.proposal_bytes)
        header = common_pb2.Header.FromString(proposal.header)
        channel_header = common_pb2.ChannelHeader.FromString(header.channel_header)
        signature_header = common_pb2.SignatureHeader.FromString(header.signature_header)
        payload = proposal_pb2.ChaincodeProposalPayload.FromString(proposal.payload)
    except DecodeError:
        raise InvalidArgument("the signed proposal cannot be read") from None
    if not proposal.header:
        raise InvalidArgument("the proposal has no header")
    if channel_header.type not in (common_pb2.ENDORSER_TRANSACTION, common_pb2.CONFIG):
        raise InvalidArgument("the proposal is not of an endorser transaction")
    creator: bytes = signature_header.creator
    epoch = channel_header.epoch.to_bytes(8, "little")
    return Proposal(
        creator=creator,
        transient=MappingProxyType(dict(payload.TransientMap)),
        binding=hashlib.sha256(signature_header.nonce + creator + epoch).digest(),
        timestamp=read_timestamp(channel_header.timestamp),
    )
