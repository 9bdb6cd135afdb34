"""`CommitStatus` of the gateway: how a transaction ended, as soon as it has ended."""

from __future__ import annotations

from collections.abc import Callable

from fabric_protos.gateway import gateway_pb2
from google.protobuf.message import DecodeError

from network.node.endorsing.acl import AccessControl, AccessDenied
from network.node.gateway.errors import GatewayError
from network.node.ledger.channel import PeerChannel
from network.rules.endorsement.reply import StatusCode
from network.rules.envelope import SignedData


class CommitStatuses:
    """Answers from the peer's ledgers (internal/pkg/gateway/commitstatus.go)."""

    def __init__(
        self, access: AccessControl, get_channel: Callable[[str], PeerChannel | None]
    ) -> None:
        self._access = access
        self._get_channel = get_channel

    async def get(
        self, signed: gateway_pb2.SignedCommitStatusRequest
    ) -> gateway_pb2.CommitStatusResponse:
        """The transaction's code and block; waits for it without end, the client's deadline rules.

        Raises:
            GatewayError: the request is bad, or the caller may not ask.
        """
        request = _open(signed)
        caller = SignedData(signed.request, request.identity, signed.signature)
        try:
            self._access.validate("gateway/CommitStatus", request.channel_id, caller)
        except AccessDenied as denied:
            raise GatewayError(StatusCode.PERMISSION_DENIED, str(denied)) from None
        channel = self._get_channel(request.channel_id)
        if channel is None:
            raise GatewayError(StatusCode.ABORTED, f"channel does not exist: {request.channel_id}")
        status = await channel.wait_for_tx(request.transaction_id)
        return gateway_pb2.CommitStatusResponse(
            result=status.code, block_number=status.block_number
        )


def _open(signed: gateway_pb2.SignedCommitStatusRequest) -> gateway_pb2.CommitStatusRequest:
    if not signed.request:
        raise GatewayError(StatusCode.INVALID_ARGUMENT, "a commit status request is required")
    try:
        request = gateway_pb2.CommitStatusRequest.FromString(signed.request)
    except DecodeError:
        raise GatewayError(
            StatusCode.INVALID_ARGUMENT,
            "invalid status request: proto: cannot parse invalid wire-format data",
        ) from None
    for present, problem in (
        (request.identity, "no identity provided"),
        (request.channel_id, "no channel ID provided"),
        (request.transaction_id, "transaction ID should not be empty"),
    ):
        if not present:
            raise GatewayError(StatusCode.INVALID_ARGUMENT, problem)
    return request
