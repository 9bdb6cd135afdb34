"""Where a node listens and how its TLS is checked; opens the gRPC channel."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

MAX_MESSAGE = 100 * 1024 * 1024  # Fabric's limit, both ways (internal/pkg/comm/config.go)
KEEPALIVE_MS = 60_000  # Fabric's servers refuse pings more often than every minute
KEEPALIVE_TIMEOUT_MS = 20_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A node's address with the certificates to check it, and our own for mutual TLS.

    Attributes:
        address: `host:port`.
        tls_roots: PEM certificates the node's TLS certificate must chain to; None for plaintext.
        server_name: name to expect in the certificate instead of the address's host.
        client_certificate: our PEM certificate for mutual TLS.
        client_key: its PEM key; never shown.
    """

    address: str
    tls_roots: bytes | None = None
    server_name: str | None = None
    client_certificate: bytes | None = None
    client_key: bytes | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """The address without its port."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The address's port."""
        return int(self.address.rpartition(":")[2])

    @property
    def tls_cert_hash(self) -> bytes:
        """SHA-256 of our TLS certificate's DER, as channel headers carry it; empty without one."""
        if self.client_certificate is None:
            return b""
        certificate = x509.load_pem_x509_certificate(self.client_certificate)
        return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()


def open_channel(endpoint: Endpoint, options: Sequence[tuple[str, Any]] = ()) -> Any:
    """A gRPC channel to the endpoint; it connects on first use and reconnects by itself.

    Must be called inside a running event loop.
    """
    settings: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 3_000),
        ("grpc.enable_http_proxy", 0),
        *options,
    ]
    if endpoint.tls_roots is None:
        return grpc.aio.insecure_channel(endpoint.address, settings)
    if endpoint.server_name:
        settings.append(("grpc.ssl_target_name_override", endpoint.server_name))
    credentials = grpc.ssl_channel_credentials(
        endpoint.tls_roots, endpoint.client_key, endpoint.client_certificate
    )
    return grpc.aio.secure_channel(endpoint.address, credentials, settings)


class Connection:
    """A node's gRPC channel, opened at the first call on it and again after `close`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._channel: Any = None

    def open(self) -> Any:
        """The open channel. Must be called inside a running event loop."""
        if self._channel is None:
            self._channel = open_channel(self._endpoint)
        return self._channel

    async def close(self) -> None:
        """The channel is closed; open streams end."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()
