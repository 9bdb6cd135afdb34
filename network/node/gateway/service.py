"""`gateway.Gateway` over gRPC: each call to its room, each failure to its status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fabric_protos.gateway import gateway_pb2, gateway_pb2_grpc

from network.node.gateway.errors import GatewayError, abort
from network.node.gateway.events import ChaincodeEvents
from network.node.gateway.gateway import Gateway
from network.node.gateway.status import CommitStatuses


class GatewayService(gateway_pb2_grpc.GatewayServicer):  # type: ignore[misc]
    """The five calls that Fabric's client SDKs make."""

    def __init__(self, gateway: Gateway, statuses: CommitStatuses, events: ChaincodeEvents) -> None:
        self._gateway = gateway
        self._statuses = statuses
        self._events = events

    async def Evaluate(  # noqa: D102
        self, request: gateway_pb2.EvaluateRequest, context: Any
    ) -> gateway_pb2.EvaluateResponse:
        try:
            result = await self._gateway.evaluate(request)
        except GatewayError as error:
            await abort(context, error)
        return gateway_pb2.EvaluateResponse(result=result)

    async def Endorse(  # noqa: D102
        self, request: gateway_pb2.EndorseRequest, context: Any
    ) -> gateway_pb2.EndorseResponse:
        try:
            envelope = await self._gateway.endorse(request)
        except GatewayError as error:
            await abort(context, error)
        return gateway_pb2.EndorseResponse(prepared_transaction=envelope)

    async def Submit(  # noqa: D102
        self, request: gateway_pb2.SubmitRequest, context: Any
    ) -> gateway_pb2.SubmitResponse:
        try:
            await self._gateway.submit(request)
        except GatewayError as error:
            await abort(context, error)
        return gateway_pb2.SubmitResponse()

    async def CommitStatus(  # noqa: D102
        self, request: gateway_pb2.SignedCommitStatusRequest, context: Any
    ) -> gateway_pb2.CommitStatusResponse:
        try:
            return await self._statuses.get(request)
        except GatewayError as error:
            await abort(context, error)

    async def ChaincodeEvents(  # noqa: D102
        self, request: gateway_pb2.SignedChaincodeEventsRequest, context: Any
    ) -> AsyncIterator[gateway_pb2.ChaincodeEventsResponse]:
        try:
            async for response in self._events.stream(request):
                yield response
        except GatewayError as error:
            await abort(context, error)
