"""An HTTP server beside the gRPC one, with Fabric's TLS rules (common/fabhttp).

Client certificates: required where the settings say so, otherwise verified if given, so that one
handler may insist on them and the next, a health probe, need none. A handler learns from
`get_client_certificate` whether the caller showed one.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from network.node.serving.grpc_server import ListenError
from network.node.serving.settings import Settings, SettingsError

GRACE = 5


@dataclass(frozen=True, slots=True)
class HttpTls:
    """Where one HTTP server's TLS files are."""

    key: Path
    certificate: Path
    client_roots: tuple[Path, ...]
    client_auth_required: bool


class HttpServer:
    """One ASGI application at one address."""

    def __init__(self, app: Any, tls: HttpTls | None = None) -> None:
        """Raises SettingsError when the TLS files are not a certificate and its key."""
        self._tls = tls
        context = _build_context(tls) if tls else None
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
            ssl_context_factory=(lambda *_: context) if context else None,
        )
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None
        self.port = 0

    @property
    def has_tls(self) -> bool:
        """Whether the server speaks TLS."""
        return self._tls is not None

    async def start(self, address: str) -> int:
        """Listen at "host:port" and serve in the background; returns the port taken.

        Raises:
            ListenError: the address is in use or not this machine's.
        """
        listener = _listen(address)
        self.port = listener.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve([listener]))
        while not self._server.started and not self._serving.done():  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # uvicorn offers nothing to wait for
        return self.port

    async def stop(self) -> None:
        """Answer what is under way, for at most `GRACE` seconds, then close."""
        if self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._serving = None


def read_http_tls(settings: Settings, section: str) -> HttpTls | None:
    """The TLS section `section` ("Operations.TLS", "Admin.TLS"); None when it is off.

    Raises:
        SettingsError: a path is missing, or client certificates are required without roots.
    """
    if not settings.get_bool(f"{section}.Enabled"):
        return None
    tls = HttpTls(
        key=_require_path(settings, f"{section}.PrivateKey"),
        certificate=_require_path(settings, f"{section}.Certificate"),
        client_roots=tuple(settings.get_paths(f"{section}.ClientRootCAs")),
        client_auth_required=settings.get_bool(f"{section}.ClientAuthRequired"),
    )
    if tls.client_auth_required and not tls.client_roots:
        raise SettingsError(
            f"{section}.ClientAuthRequired is true, but {section}.ClientRootCAs names no file "
            f"({settings.file})"
        )
    return tls


def get_client_certificate(request: Any) -> bytes:
    """The DER of the certificate that the caller showed and TLS verified; b"" without one."""
    certificate: bytes = request.scope["state"].get("client_certificate", b"")
    return certificate


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the node, which stops its servers in order."""
        yield


class _Protocol(H11Protocol):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        session = transport.get_extra_info("ssl_object")
        shown = session.getpeercert(binary_form=True) if session else None
        # Copied into each request's scope["state"].
        self.app_state = {**self.app_state, "client_certificate": shown or b""}


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(128)
    except (OSError, ValueError, OverflowError) as error:
        listener.close()
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise ListenError(f"cannot listen at {address}: {reason}") from error
    listener.setblocking(False)
    return listener


def _build_context(tls: HttpTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        for roots in tls.client_roots:
            context.load_verify_locations(roots)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"TLS files {tls.certificate}, {tls.key}: not a certificate with its key, or the "
            f"client roots are not certificates: {error}"
        ) from error
    if tls.client_auth_required:
        context.verify_mode = ssl.CERT_REQUIRED
    elif tls.client_roots:
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _require_path(settings: Settings, key: str) -> Path:
    path = settings.get_path(key)
    if path is None:
        raise SettingsError(f"{key} is not set ({settings.file})")
    return path
