"""How many calls of a service run at once; more are refused, so that memory stays bounded.

Source: Fabric's `internal/peer/node/grpc_limiters.go`. The texts are Fabric's; the
status is RESOURCE_EXHAUSTED, where Fabric's limiter gives Unknown.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc

log = logging.getLogger("nodeCmd")


class ConcurrencyLimits(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Counts the running calls of each limited service."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        """`limits`: service name ("protos.Endorser") → calls at once; 0 is without limit."""
        self._limits = {service: limit for service, limit in limits.items() if limit > 0}
        self._running = dict.fromkeys(self._limits, 0)
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """The handler, counted if its service is limited."""
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        service = method.rpartition("/")[0].lstrip("/")
        if handler is None or service not in self._limits:
            return handler
        if method not in self._wrapped:
            self._wrapped[method] = self._wrap(service, handler)
        return self._wrapped[method]

    def _wrap(self, service: str, handler: Any) -> Any:
        streams_in, streams_out = handler.request_streaming, handler.response_streaming
        if streams_out:
            inner = handler.stream_stream if streams_in else handler.unary_stream
            build = (
                grpc.stream_stream_rpc_method_handler
                if streams_in
                else grpc.unary_stream_rpc_method_handler
            )
            behavior: Any = self._limit_stream(service, inner)
        else:
            inner = handler.stream_unary if streams_in else handler.unary_unary
            build = (
                grpc.stream_unary_rpc_method_handler
                if streams_in
                else grpc.unary_unary_rpc_method_handler
            )
            behavior = self._limit_unary(service, inner)
        return build(behavior, handler.request_deserializer, handler.response_serializer)

    def _limit_unary(self, service: str, inner: Any) -> Any:
        async def limited(request: Any, context: Any) -> Any:
            await self._enter(service, context)
            try:
                return await inner(request, context)
            finally:
                self._running[service] -= 1

        return limited

    def _limit_stream(self, service: str, inner: Any) -> Any:
        async def limited(request: Any, context: Any) -> AsyncIterator[Any]:
            await self._enter(service, context)
            try:
                async for response in inner(request, context):
                    yield response
            finally:
                self._running[service] -= 1

        return limited

    async def _enter(self, service: str, context: Any) -> None:
        limit = self._limits[service]
        if self._running[service] >= limit:
            text = f"too many requests for /{service}, exceeding concurrency limit ({limit})"
            log.error("%s", text)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        self._running[service] += 1
