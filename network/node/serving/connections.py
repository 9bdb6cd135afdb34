"""Connections to other nodes, one an address and set of trusted roots, opened when first used."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import grpc

from network.node.serving.grpc_server import MAX_MESSAGE_SIZE

_OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_SIZE),
    ("grpc.max_receive_message_length", MAX_MESSAGE_SIZE),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
]

_GRACE = 30.0
"""Seconds for calls under way on a connection that is dropped."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What this node shows to others when it dials them; TLS is off without `enabled`."""

    enabled: bool
    key: bytes = field(default=b"", repr=False)
    certificate: bytes = field(default=b"", repr=False)


class Connections:
    """The node's outgoing gRPC channels; a channel reconnects by itself."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._channels: dict[tuple[str, bytes], Any] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def get(self, address: str, roots: tuple[bytes, ...]) -> Any:
        """A grpc.aio channel to the address that trusts the PEM roots."""
        key = (address, b"\n".join(roots))
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = self._open(*key)
        return channel

    def drop(self, address: str) -> None:
        """The next use of the address dials anew; calls under way may end."""
        for key in [key for key in self._channels if key[0] == address]:
            task = asyncio.ensure_future(self._channels.pop(key).close(_GRACE))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Every channel is closed."""
        channels = list(self._channels.values())
        self._channels.clear()
        for task in self._closing:
            task.cancel()
        await asyncio.gather(
            *(channel.close(None) for channel in channels), *self._closing, return_exceptions=True
        )

    def _open(self, address: str, roots: bytes) -> Any:
        if not self._credentials.enabled:
            return grpc.aio.insecure_channel(address, options=_OPTIONS)
        credentials = grpc.ssl_channel_credentials(
            root_certificates=roots or None,
            private_key=self._credentials.key or None,
            certificate_chain=self._credentials.certificate or None,
        )
        return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
