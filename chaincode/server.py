"""Chaincode as a service: peers dial `protos.Chaincode/Connect`, with TLS or mutual TLS.

The only place, beside `dialer`, where the chaincode touches the network.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import Any

import grpc
from fabric_protos.peer import chaincode_shim_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from chaincode.errors import ConfigurationError
from chaincode.response import Chaincode
from chaincode.session import NoObserver, Observer
from chaincode.settings import ServerSettings, ServerTls
from chaincode.streams import MESSAGE_OPTIONS, Streams

logger = logging.getLogger("chaincode.server")

SERVICE = "protos.Chaincode"
"""The name under which the gRPC health service speaks of it (and under "")."""

# As Go's shim (`shim/internal/server.go`): ping an idle peer every minute, give it 20 s. A peer
# pings every 60 s with or without a stream; gRPC's default of 5 minutes would answer that with
# GOAWAY too_many_pings. Half of it leaves room for a late clock.
OPTIONS = (
    *MESSAGE_OPTIONS,
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
)


class ChaincodeServer:
    """One chaincode, listening."""

    def __init__(
        self, settings: ServerSettings, chaincode: Chaincode, observer: Observer | None = None
    ) -> None:
        self._settings = settings
        self._streams = Streams(
            settings.chaincode_id, chaincode, settings.capacity, observer or NoObserver()
        )
        self._health = health.aio.HealthServicer()
        self._server: Any = None
        self.port = 0
        """The port it listens on, known after `start` (also when asked for port 0)."""

    async def start(self) -> None:
        """Listen. Raises ConfigurationError: the address cannot be bound."""
        shared = ("grpc.so_reuseport", int(self._settings.share_port))
        self._server = grpc.aio.server(options=(*OPTIONS, shared))
        service = _Service(self._streams)
        chaincode_shim_pb2_grpc.add_ChaincodeServicer_to_server(service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.port = self._bind()
        await self._server.start()
        await self._tell_health(health_pb2.HealthCheckResponse.SERVING)
        logger.info(
            "serving",
            extra={
                "chaincode_id": self._settings.chaincode_id,
                "port": self.port,
                "tls": _describe_tls(self._settings.tls),
            },
        )

    async def stop(self, grace: float | None = None) -> bool:
        """Let running transactions end, then stop; False if `grace` seconds were too short.

        From the start of it the health service says NOT_SERVING. What still runs after the grace
        is cancelled.
        """
        await self._tell_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        seconds = self._settings.grace if grace is None else grace
        drained = await self._streams.drain(seconds)
        await self._server.stop(0)
        logger.info("stopped" if drained else "stopped; transactions were cut off")
        return drained

    async def wait(self) -> None:
        """Return when the server has been stopped."""
        await self._server.wait_for_termination()

    def _bind(self) -> int:
        address, tls = self._settings.address, self._settings.tls
        if not self._settings.share_port:  # a second server on the same port is a mistake
            validate_bindable(address)
        try:
            if tls is None:
                return int(self._server.add_insecure_port(address))
            credentials = grpc.ssl_server_credentials(
                [(tls.key, tls.certificate)],
                root_certificates=tls.client_roots,
                require_client_auth=tls.client_roots is not None,
            )
            return int(self._server.add_secure_port(address, credentials))
        except RuntimeError:
            raise ConfigurationError(f"cannot listen on {address}") from None

    async def _tell_health(self, status: Any) -> None:
        for service in ("", SERVICE):
            await self._health.set(service, status)


class _Service(chaincode_shim_pb2_grpc.ChaincodeServicer):  # type: ignore[misc]
    """`protos.Chaincode`."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def Connect(self, request_iterator: Any, context: Any) -> None:
        """One peer's stream, until it ends."""
        peer = context.peer()
        logger.info("a peer connected", extra={"peer": peer})
        try:
            violation = await self._streams.carry(context.read, context.write)
        except (grpc.aio.UsageError, grpc.RpcError):
            logger.info("the stream broke", extra={"peer": peer})
            return
        except asyncio.CancelledError:
            logger.info("the stream was cancelled", extra={"peer": peer})
            raise
        logger.info("a peer disconnected", extra={"peer": peer})
        if violation:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, violation)


def validate_bindable(address: str) -> None:
    """Raise ConfigurationError unless a server can listen on host:port just now.

    gRPC would say so, too, but only in its own words on stderr.
    """
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host.strip("[]"), int(port)), family=family):
            pass
    except OSError as error:
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigurationError(f"cannot listen on {address}: {reason}") from None


def _describe_tls(tls: ServerTls | None) -> str:
    if tls is None:
        return "off"
    return "mutual" if tls.client_roots is not None else "on"
