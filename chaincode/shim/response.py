"""What a chaincode answers: Fabric's `protos.Response` as a value."""

from __future__ import annotations

from dataclasses import dataclass

from fabric_protos.peer import proposal_response_pb2

OK = 200
ERROR_THRESHOLD = 400
"""Statuses from here on are not endorsed (Fabric `core/endorser`, shim `response.go`)."""
ERROR = 500


@dataclass(frozen=True, slots=True)
class Response:
    """The answer of one invocation, Fabric's `protos.Response`."""

    status: int = OK
    message: str = ""
    payload: bytes = b""

    @property
    def ok(self) -> bool:
        """True if a peer would endorse it."""
        return self.status < ERROR_THRESHOLD

    def build(self) -> bytes:
        """The bytes of `protos.Response`."""
        message = proposal_response_pb2.Response(
            status=self.status, message=self.message, payload=self.payload
        )
        raw: bytes = message.SerializeToString()
        return raw


def open_response(raw: bytes) -> Response:
    """The response in these bytes. Raises `google.protobuf.message.DecodeError`."""
    message = proposal_response_pb2.Response.FromString(raw)
    return Response(message.status, message.message, message.payload)
