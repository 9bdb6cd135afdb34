"""`protos.Snapshot`: administrators ask for snapshots of a channel's ledger.

Source: core/ledger/snapshotgrpc/snapshot_service.go; the texts and their order are its.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

import grpc
from fabric_protos.peer import snapshot_pb2, snapshot_pb2_grpc
from google.protobuf import empty_pb2
from google.protobuf.message import DecodeError

from network.node.endorsing.acl import AccessControl, AccessDenied
from network.node.ledger.channel import PeerChannel
from network.node.ledger.snapshot_requests import SnapshotRefused, SnapshotRequests
from network.rules.envelope import SignedData
from network.rules.identity.identity import read_expiry


class SnapshotService(snapshot_pb2_grpc.SnapshotServicer):  # type: ignore[misc]
    """The service over gRPC."""

    def __init__(
        self, access: AccessControl, get_channel: Callable[[str], PeerChannel | None]
    ) -> None:
        self._access = access
        self._get_channel = get_channel

    async def Generate(  # noqa: D102
        self, signed: snapshot_pb2.SignedSnapshotRequest, context: Any
    ) -> empty_pb2.Empty:
        return await self._change(
            "snapshot/submitrequest", SnapshotRequests.submit, signed, context
        )

    async def Cancel(  # noqa: D102
        self, signed: snapshot_pb2.SignedSnapshotRequest, context: Any
    ) -> empty_pb2.Empty:
        return await self._change(
            "snapshot/cancelrequest", SnapshotRequests.cancel, signed, context
        )

    async def QueryPendings(  # noqa: D102
        self, signed: snapshot_pb2.SignedSnapshotRequest, context: Any
    ) -> snapshot_pb2.QueryPendingSnapshotsResponse:
        try:
            query = _open(snapshot_pb2.SnapshotQuery, signed)
            requests = self._find("snapshot/listpending", query, signed)
        except SnapshotRefused as error:
            await _refuse(context, error)
        return snapshot_pb2.QueryPendingSnapshotsResponse(block_numbers=requests.pending)

    async def _change(
        self,
        resource: str,
        change: Callable[[SnapshotRequests, int], None],
        signed: snapshot_pb2.SignedSnapshotRequest,
        context: Any,
    ) -> empty_pb2.Empty:
        try:
            request = _open(snapshot_pb2.SnapshotRequest, signed)
            requests = self._find(resource, request, signed)
            await asyncio.to_thread(change, requests, request.block_number)
        except (SnapshotRefused, OSError) as error:
            await _refuse(context, error)
        return empty_pb2.Empty()

    def _find(
        self, resource: str, request: Any, signed: snapshot_pb2.SignedSnapshotRequest
    ) -> SnapshotRequests:
        """The requests of the ledger that the caller may speak of. Raises SnapshotRefused."""
        if not request.HasField("signature_header"):
            raise SnapshotRefused("missing signature header")
        creator = request.signature_header.creator
        ends = read_expiry(creator)
        if ends is not None and datetime.now(UTC) > ends:
            raise SnapshotRefused("client identity expired")
        caller = SignedData(signed.request, creator, signed.signature)
        try:
            self._access.validate_local_request(resource, caller)
        except AccessDenied as denied:
            raise SnapshotRefused(str(denied)) from None
        if not request.channel_id:
            raise SnapshotRefused("missing channel ID")
        channel = self._get_channel(request.channel_id)
        if channel is None:
            raise SnapshotRefused(f"cannot find ledger for channel {request.channel_id}")
        return channel.ledger.snapshots


def _open(kind: Any, signed: snapshot_pb2.SignedSnapshotRequest) -> Any:
    try:
        return kind.FromString(signed.request)
    except DecodeError:
        raise SnapshotRefused(
            "failed to unmarshal snapshot request: proto: cannot parse invalid wire-format data"
        ) from None


async def _refuse(context: Any, error: Exception) -> NoReturn:
    # A plain error of Go's is UNKNOWN on the wire.
    await context.abort(grpc.StatusCode.UNKNOWN, str(error))
    raise AssertionError("abort raises")
