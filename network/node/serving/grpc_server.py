"""A gRPC server with Fabric's limits, keepalive and TLS (internal/pkg/comm), on `protos.http2`.

Fabric's servers *request* a client certificate where they do not insist on one, and do not look at
it. Ours do not ask then, so without `client_auth_required` no client certificate is seen and
`get_tls_cert_hash` gives b"". Fabric itself checks the binding of Deliver requests to the TLS
certificate only when client certificates are required, so that check is the same here.
"""

import errno
import hashlib
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from network.node.serving.limits import UNLIMITED, ConcurrencyLimits
from network.node.serving.rpc import Services
from network.node.serving.settings import Settings
from protos.http2.budget import CONNECTION_BYTES, TOTAL_BYTES, Budget
from protos.http2.server import Http2Server, Pace, build_tls_context

MAX_MESSAGE_SIZE = 100 * 1024 * 1024
CONNECTION_TIMEOUT = 5.0
MAX_STREAMS = 1024
"""Calls that one connection may have open at once; a client waits with further ones."""


class ListenError(OSError):
    """A server could not take its address."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM bytes of one server's TLS; `client_roots` are read only with `client_auth_required`."""

    key: bytes
    certificate: bytes
    client_auth_required: bool = False
    client_roots: bytes = b""


@dataclass(frozen=True, slots=True)
class Limits:
    """Message sizes in bytes and keepalive in seconds; the defaults are Fabric's.

    `min_ping_interval` is how often a client may ping, with or without a call under way.
    `max_held_connection` and `max_held_total` are the bytes of messages, come in or to go out,
    that wait or are being served for one client and for all; calls beyond are refused. Fabric has
    no such bounds.
    """

    max_receive_size: int = MAX_MESSAGE_SIZE
    max_send_size: int = MAX_MESSAGE_SIZE
    ping_interval: float = 7200.0
    ping_timeout: float = 20.0
    min_ping_interval: float = 60.0
    connection_timeout: float = CONNECTION_TIMEOUT
    max_held_connection: int = CONNECTION_BYTES
    max_held_total: int = TOTAL_BYTES


DEFAULT_LIMITS = Limits()


class RotatingTls:
    """TLS that later handshakes take anew: `tls` may be replaced while the server runs.

    Used where client certificates are required: their roots follow the channels' configs.
    """

    def __init__(self, tls: ServerTls) -> None:
        self.tls = tls
        self._given: ServerTls | None = None
        self._context: ssl.SSLContext | None = None

    def build_context(self) -> ssl.SSLContext:
        """A context that takes this object's TLS at each handshake.

        Raises ssl.SSLError or ValueError: not PEM, or the key belongs to another certificate.
        """
        context = self._get_context()
        context.sni_callback = self._choose
        return context

    def _choose(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        # Asked at each handshake, whether or not the client names a server.
        connection.context = self._get_context()

    def _get_context(self) -> ssl.SSLContext:
        tls = self.tls
        if self._context is None or tls is not self._given:
            roots = tls.client_roots if tls.client_auth_required else None
            self._context = build_tls_context(tls.key, tls.certificate, roots)
            self._given = tls
        return self._context


def make_server(
    tls: ServerTls | RotatingTls | None = None,
    limits: Limits = DEFAULT_LIMITS,
    concurrency: ConcurrencyLimits = UNLIMITED,
) -> "Server":
    """A server to which services are added (`.grpc`) before `start`. Without `tls` it is plain.

    Calls beyond `concurrency` are refused with RESOURCE_EXHAUSTED.
    """
    return Server(tls, limits, concurrency)


class Server:
    """One listening gRPC server; `grpc` is what generated code adds services to."""

    def __init__(
        self, tls: ServerTls | RotatingTls | None, limits: Limits, concurrency: ConcurrencyLimits
    ) -> None:
        self._tls = RotatingTls(tls) if isinstance(tls, ServerTls) else tls
        self.grpc = Services(concurrency, limits.max_send_size)
        pace = Pace(
            silence=limits.ping_interval,
            answer=limits.ping_timeout,
            begin=limits.connection_timeout,
            # Half of it: a client that pings every 60 s must not be thrown out for a ping that the
            # network brought a little closer to the one before.
            ping_interval=limits.min_ping_interval / 2,
        )
        self._http2 = Http2Server(
            self.grpc,
            limits.max_receive_size,
            max_streams=MAX_STREAMS,
            pace=pace,
            budget=Budget(limits.max_held_connection, limits.max_held_total),
        )
        self._bound: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self.port = 0

    @property
    def mutual_tls_required(self) -> bool:
        """Whether every client has shown a certificate."""
        return self._tls is not None and self._tls.tls.client_auth_required

    async def start(self, address: str) -> int:
        """Listen at "host:port" and serve; returns the port taken (port 0 asks for a free one).

        Raises:
            ListenError: the address is in use, not ours, or the TLS material does not fit.
        """
        self.port = self.add_port(address, self._tls)
        for listening, context in self._bound:
            await self._http2.listen(listening, context)
        self._bound.clear()
        return self.port

    def add_port(self, address: str, tls: ServerTls | RotatingTls | None) -> int:
        """Listen at one more address, before `start`; returns the port taken.

        Raises:
            ListenError: as `start`.
        """
        tls = RotatingTls(tls) if isinstance(tls, ServerTls) else tls
        try:
            context = tls.build_context() if tls is not None else None
            listening = _bind(address)
        except (OSError, ValueError) as error:
            for other, _ in self._bound:
                other.close()
            raise ListenError(
                f"cannot listen at {address}: the address is in use or not this machine's, "
                "or TLS certificate and key do not belong together"
            ) from error
        self._bound.append((listening, context))
        return int(listening.getsockname()[1])

    async def stop(self, grace: float) -> None:
        """Take no new calls; end those under way after `grace` seconds at the latest."""
        await self._http2.stop(grace)


def _bind(address: str) -> socket.socket:
    """A socket that listens at "host:port"; no host, 0.0.0.0 and :: are every address there is.

    Raises OSError or ValueError.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if host in ("", "0.0.0.0", "::") and socket.has_dualstack_ipv6():  # noqa: S104  as configured
        try:
            where = ("", int(port))
            return socket.create_server(where, family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise  # those two: the kernel knows IPv6, but this machine has no such address
    found = socket.getaddrinfo(
        host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # Two nodes on one port are an error, not a lottery: no SO_REUSEPORT.
    return socket.create_server((str(found[4][0]), int(port)), family=found[0])


def read_server_tls(settings: Settings, section: str) -> ServerTls | None:
    """The TLS section of orderer.yaml at `section` ("General.TLS", "Admin.TLS", …); None if off.

    Raises:
        SettingsError: a file is missing, or client certificates are required without roots.
    """
    if not settings.get_bool(f"{section}.Enabled"):
        return None
    return ServerTls(
        key=settings.read_file(f"{section}.PrivateKey"),
        certificate=settings.read_file(f"{section}.Certificate"),
        client_auth_required=settings.get_bool(f"{section}.ClientAuthRequired"),
        client_roots=b"\n".join(settings.read_files(f"{section}.ClientRootCAs")),
    )


def get_tls_certificate(context: Any) -> bytes:
    """The PEM of the TLS certificate that the caller showed; b"" without one."""
    pem: list[bytes] = context.auth_context().get("x509_pem_cert", [])
    return pem[0] if pem else b""


def get_tls_cert_hash(context: Any) -> bytes:
    """SHA-256 of the DER of the caller's TLS certificate, as ChannelHeader.tls_cert_hash carries
    it (common/util/net.go); b"" when none was shown."""
    pem = get_tls_certificate(context)
    if not pem:
        return b""
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    return hashlib.sha256(der).digest()
