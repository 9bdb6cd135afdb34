"""The only module of the journey that makes remote calls: a gateway peer's two services.

Each method sends one request and answers with Fabric's message, or raises the stage's error with
the details the gateway attached (`google.rpc.Status` in `grpc-status-details-bin`).
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import grpc.aio
from fabric_protos.gateway import gateway_pb2, gateway_pb2_grpc
from fabric_protos.peer import events_pb2_grpc
from google.rpc import status_pb2

from network.client.endpoint import Connection, Endpoint
from network.client.errors import (
    CommitStatusError,
    EndorseError,
    EvaluateError,
    EventsError,
    GatewayError,
    PeerDetail,
    SubmitError,
)


class GatewayCalls:
    """A gateway peer's `gateway.Gateway` and `protos.Deliver` services over one channel."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._connection = Connection(endpoint)
        self._stub: Any = None

    async def evaluate(self, request: Any, *, timeout: float) -> Any:
        """`gateway.EvaluateResponse`; raises `EvaluateError`."""
        call = self._gateway().Evaluate(request, timeout=timeout)
        return await self._unary(call, EvaluateError, request.transaction_id)

    async def endorse(self, request: Any, *, timeout: float) -> Any:
        """`gateway.EndorseResponse`; raises `EndorseError`."""
        call = self._gateway().Endorse(request, timeout=timeout)
        return await self._unary(call, EndorseError, request.transaction_id)

    async def submit(self, request: Any, *, timeout: float) -> Any:
        """`gateway.SubmitResponse`, once an orderer accepted; raises `SubmitError`."""
        call = self._gateway().Submit(request, timeout=timeout)
        return await self._unary(call, SubmitError, request.transaction_id)

    async def commit_status(self, request: Any, transaction_id: str, *, timeout: float) -> Any:
        """`gateway.CommitStatusResponse`, once committed; raises `CommitStatusError`."""
        call = self._gateway().CommitStatus(request, timeout=timeout)
        return await self._unary(call, CommitStatusError, transaction_id)

    def chaincode_events(self, request: Any) -> AsyncGenerator[Any, None]:
        """`gateway.ChaincodeEventsResponse` messages until closed; raises `EventsError`."""
        return self._stream(self._gateway().ChaincodeEvents(request))

    def deliver(self, method: str, requests: AsyncIterator[Any]) -> Any:
        """The open call of one `protos.Deliver` method; `network.client.seek` reads it.

        Args:
            method: `Deliver`, `DeliverFiltered` or `DeliverWithPrivateData`.
            requests: the signed seek request.
        """
        return getattr(events_pb2_grpc.DeliverStub(self._connection.open()), method)(requests)

    async def close(self) -> None:
        """The channel is closed; open streams end."""
        self._stub = None
        await self._connection.close()

    def _gateway(self) -> Any:
        if self._stub is None:
            self._stub = gateway_pb2_grpc.GatewayStub(self._connection.open())
        return self._stub

    async def _unary(self, call: Any, error: type[GatewayError], transaction_id: str) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as failure:
            raise translate(failure, error, self.endpoint.address, transaction_id) from failure

    async def _stream(self, call: Any) -> AsyncGenerator[Any, None]:
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as failure:
            raise translate(failure, EventsError, self.endpoint.address) from failure
        finally:
            call.cancel()


def translate(
    failure: grpc.aio.AioRpcError,
    error: type[GatewayError],
    address: str,
    transaction_id: str = "",
) -> GatewayError:
    """The stage's error for a failed gRPC call, with the peers' details taken apart."""
    return error(
        failure.code().name,
        failure.details() or "",
        address=address,
        transaction_id=transaction_id,
        details=open_details(failure.trailing_metadata()),
    )


def open_details(metadata: Any) -> tuple[PeerDetail, ...]:
    """The `gateway.ErrorDetail`s in a call's trailing metadata; others are passed over."""
    found: list[PeerDetail] = []
    for key, value in metadata or ():
        if key != "grpc-status-details-bin":
            continue
        status = status_pb2.Status()
        try:
            status.ParseFromString(value)
        except Exception:  # noqa: S112 a detail that cannot be read must not hide the error
            continue
        for packed in status.details:
            detail = gateway_pb2.ErrorDetail()
            if packed.Unpack(detail):
                found.append(PeerDetail(detail.address, detail.msp_id, detail.message))
    return tuple(found)
