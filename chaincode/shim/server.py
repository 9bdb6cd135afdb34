"""Chaincode as a service: peers dial `protos.Chaincode/Connect`, with TLS or mutual TLS.

The only place, beside `dialer`, where the chaincode touches the network. The transport is `http2`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl

from grpc_health.v1 import health_pb2

from chaincode.errors import ConfigurationError
from chaincode.shim import renewal
from chaincode.shim.interface import Chaincode
from chaincode.shim.services import ConnectService, HealthService
from chaincode.shim.session import MAX_MESSAGE_BYTES, NoObserver, Observer
from chaincode.shim.settings import ServerSettings, ServerTls
from chaincode.shim.streams import Streams
from protos.http2.server import Http2Server

logger = logging.getLogger("chaincode.shim.server")

SERVICE = "protos.Chaincode"
"""The name under which the gRPC health service speaks of it (and under "")."""


class ChaincodeServer:
    """One chaincode, listening."""

    def __init__(
        self, settings: ServerSettings, chaincode: Chaincode, observer: Observer | None = None
    ) -> None:
        self._settings = settings
        self._streams = Streams(
            settings.chaincode_id, chaincode, settings.capacity, observer or NoObserver()
        )
        self._connect = ConnectService(self._streams)
        self._health = HealthService()
        self._server = Http2Server(
            {
                f"/{SERVICE}/Connect": self._connect,
                "/grpc.health.v1.Health/Check": self._health.check,
                "/grpc.health.v1.Health/Watch": self._health.watch,
            },
            MAX_MESSAGE_BYTES,
        )
        self._stopped = asyncio.Event()
        self.port = 0
        """The port it listens on, known after `start` (also when asked for port 0)."""

    async def start(self) -> None:
        """Listen. Raises ConfigurationError: the address cannot be bound."""
        settings = self._settings
        host, _, port = settings.address.rpartition(":")
        try:
            self.port = await self._server.start(
                host.strip("[]"),
                int(port),
                _build_context(settings),
                share_port=settings.share_port,
            )
        except OSError as error:
            reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise ConfigurationError(f"cannot listen on {settings.address}: {reason}") from None
        self._tell_health(health_pb2.HealthCheckResponse.SERVING)
        logger.info(
            "serving",
            extra={
                "chaincode_id": settings.chaincode_id,
                "port": self.port,
                "tls": _describe_tls(settings.tls),
            },
        )

    async def stop(self, grace: float | None = None) -> bool:
        """Let running transactions end, then stop; False if `grace` seconds were too short.

        From the start of it the health service says NOT_SERVING. What still runs after the grace
        is cancelled.
        """
        self._tell_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        seconds = self._settings.grace if grace is None else grace
        drained = await self._streams.drain(seconds)
        await self._connect.end_all()
        await self._server.stop()
        await self._connect.end_all()  # those that came in between, cut off by now
        self._stopped.set()
        logger.info("stopped" if drained else "stopped; transactions were cut off")
        return drained

    async def wait(self) -> None:
        """Return when the server has been stopped."""
        await self._stopped.wait()

    def _tell_health(self, status: int) -> None:
        for service in ("", SERVICE):
            self._health.set(service, status)


def _build_context(settings: ServerSettings) -> ssl.SSLContext | None:
    if settings.tls is None:
        return None
    try:
        if settings.renew_tls is None:
            return renewal.build(settings.tls)
        return renewal.RenewedTls(settings.tls, settings.renew_tls).context
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(f"the TLS files cannot be used: {error}") from None


def validate_bindable(address: str) -> None:
    """Raise ConfigurationError unless a server can listen on host:port just now."""
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
