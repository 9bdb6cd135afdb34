"""A grpc.aio server with Fabric's limits, keepalive and TLS (internal/pkg/comm).

One difference is imposed on us. Fabric's servers *request* a client certificate and do not insist
on it; gRPC for Python can only insist on one or not ask at all (`require_client_auth`), its public
interface has no mode between. So without `client_auth_required` no client certificate is seen and
`get_tls_cert_hash` gives b"". Fabric itself checks the binding of Deliver requests to the TLS
certificate only when client certificates are required, so that check is the same here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from network.node.serving.settings import Settings

MAX_MESSAGE_SIZE = 100 * 1024 * 1024
CONNECTION_TIMEOUT = 5.0


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
    """

    max_receive_size: int = MAX_MESSAGE_SIZE
    max_send_size: int = MAX_MESSAGE_SIZE
    ping_interval: float = 7200.0
    ping_timeout: float = 20.0
    min_ping_interval: float = 60.0
    connection_timeout: float = CONNECTION_TIMEOUT


DEFAULT_LIMITS = Limits()


class RotatingTls:
    """TLS that later handshakes take anew: `tls` may be replaced while the server runs.

    Used where client certificates are required: their roots follow the channels' configs.
    """

    def __init__(self, tls: ServerTls) -> None:
        self.tls = tls
        self._given: ServerTls | None = None

    def build_credentials(self) -> Any:
        """grpc.ServerCredentials that ask this object at each handshake."""
        self._given = self.tls
        return grpc.dynamic_ssl_server_credentials(
            _build_certificate_configuration(self.tls),
            self._fetch,
            require_client_authentication=self.tls.client_auth_required,
        )

    def _fetch(self) -> Any:
        if self.tls is self._given:
            return None
        self._given = self.tls
        return _build_certificate_configuration(self.tls)


def make_server(
    tls: ServerTls | RotatingTls | None = None,
    limits: Limits = DEFAULT_LIMITS,
    interceptors: Sequence[Any] = (),
    max_concurrent_calls: int | None = None,
) -> "Server":
    """A server to which services are added (`.grpc`) before `start`. Without `tls` it is plain.

    Calls beyond `max_concurrent_calls` are refused with RESOURCE_EXHAUSTED.
    """
    return Server(tls, limits, interceptors, max_concurrent_calls)


class Server:
    """One listening gRPC server; `grpc` is the grpc.aio.Server that services are added to."""

    def __init__(
        self,
        tls: ServerTls | RotatingTls | None,
        limits: Limits,
        interceptors: Sequence[Any],
        max_concurrent_calls: int | None,
    ) -> None:
        self._tls = RotatingTls(tls) if isinstance(tls, ServerTls) else tls
        self.grpc = grpc.aio.server(
            options=_build_options(limits),
            interceptors=list(interceptors),
            maximum_concurrent_rpcs=max_concurrent_calls,
        )
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
        await self.grpc.start()
        return self.port

    def add_port(self, address: str, tls: ServerTls | RotatingTls | None) -> int:
        """Listen at one more address, before `start`; returns the port taken.

        Raises:
            ListenError: as `start`.
        """
        tls = RotatingTls(tls) if isinstance(tls, ServerTls) else tls
        try:
            if tls is None:
                return int(self.grpc.add_insecure_port(address))
            return int(self.grpc.add_secure_port(address, tls.build_credentials()))
        except RuntimeError as error:
            raise ListenError(
                f"cannot listen at {address}: the address is in use or not this machine's, "
                "or TLS certificate and key do not belong together"
            ) from error

    async def stop(self, grace: float) -> None:
        """Take no new calls; end those under way after `grace` seconds at the latest."""
        await self.grpc.stop(grace)

    async def wait(self) -> None:
        """Return when the server has stopped."""
        await self.grpc.wait_for_termination()


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


def _build_options(limits: Limits) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", limits.max_receive_size),
        ("grpc.max_send_message_length", limits.max_send_size),
        ("grpc.keepalive_time_ms", _milliseconds(limits.ping_interval)),
        ("grpc.keepalive_timeout_ms", _milliseconds(limits.ping_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        # Half of it: a client that pings every 60 s must not be thrown out for a ping that the
        # network brought a little closer to the one before.
        (
            "grpc.http2.min_ping_interval_without_data_ms",
            _milliseconds(limits.min_ping_interval / 2),
        ),
        ("grpc.server_handshake_timeout_ms", _milliseconds(limits.connection_timeout)),
        # Two nodes on one port must be an error, not a lottery.
        ("grpc.so_reuseport", 0),
    ]


def _build_certificate_configuration(tls: ServerTls) -> Any:
    roots = tls.client_roots if tls.client_auth_required else None
    return grpc.ssl_server_certificate_configuration([(tls.key, tls.certificate)], roots)


def _milliseconds(seconds: float) -> int:
    return min(int(seconds * 1000), 2**31 - 1)
