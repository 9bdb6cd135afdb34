"""Connections to other nodes, one an address and set of trusted roots, opened when first used."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial

from network.node.serving.channel import Channel
from network.node.serving.grpc_server import MAX_MESSAGE_SIZE
from protos.http2.client import build_client_context

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
        self._channels: dict[tuple[str, bytes], Channel] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def get(self, address: str, roots: tuple[bytes, ...]) -> Channel:
        """A channel to the address that trusts the PEM roots; no roots are the system's."""
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

    def _open(self, address: str, roots: bytes) -> Channel:
        shown = self._credentials
        if not shown.enabled:
            return Channel(address, None, MAX_MESSAGE_SIZE)
        build = partial(build_client_context, roots or None, shown.key, shown.certificate)
        return Channel(address, build, MAX_MESSAGE_SIZE)
