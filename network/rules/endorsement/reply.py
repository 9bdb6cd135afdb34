"""What a gateway makes of an endorser's reply: Fabric's `internal/pkg/gateway/apiutils.go`.

A reply is a success, a refusal by the chaincode, a refusal by the peer, or no reply at all; each
has its own gRPC status and its own answer to "shall another peer be tried?".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from fabric_protos.peer import proposal_pb2, proposal_response_pb2
from google.protobuf.message import DecodeError

STREAM_TERMINATED = "chaincode stream terminated"


class StatusCode(IntEnum):
    """The gRPC status numbers a gateway uses (google/rpc/code.proto)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNAVAILABLE = 14


@dataclass(frozen=True, slots=True)
class Verdict:
    """How to go on after a reply.

    `retry` is heeded by Evaluate only; `remove` closes the connection to that peer.
    """

    code: StatusCode
    message: str = ""
    retry: bool = False
    remove: bool = False

    @property
    def ok(self) -> bool:
        """The reply is a success."""
        return self.code is StatusCode.OK


def judge_unreachable(text: str) -> Verdict:
    """No reply came: the peer is gone, and another may answer."""
    return Verdict(StatusCode.UNAVAILABLE, text, retry=True, remove=True)


def judge_rejected(text: str) -> Verdict:
    """The peer refused the proposal itself (signature, access, duplicate): so would any other."""
    return Verdict(StatusCode.FAILED_PRECONDITION, text)


def judge_reply(reply: proposal_response_pb2.ProposalResponse) -> Verdict:
    """The verdict on a reply; a missing payload tells the peer's 500 from the chaincode's."""
    status, message = reply.response.status, reply.response.message
    if 200 <= status < 400:
        return Verdict(StatusCode.OK)
    if not reply.payload and status == 500:
        lost = message.endswith(STREAM_TERMINATED)
        return Verdict(StatusCode.ABORTED, message, retry=True, remove=lost)
    return Verdict(StatusCode.UNKNOWN, f"chaincode response {status}, {message}")


def get_result(reply: proposal_response_pb2.ProposalResponse) -> bytes | None:
    """The transaction's result as endorsed; None if the reply carries no readable payload."""
    try:
        payload = proposal_response_pb2.ProposalResponsePayload.FromString(reply.payload)
        action = proposal_pb2.ChaincodeAction.FromString(payload.extension)
    except DecodeError:
        return None
    return bytes(action.response.payload)
