"""A chaincode that dials its peer: `protos.ChaincodeSupport/Register`, again whenever it breaks.

This is how a chaincode runs that the peer has launched, or one beside a peer in development mode.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
from fabric_protos.peer import chaincode_shim_pb2_grpc

from chaincode.shim.interface import Chaincode
from chaincode.shim.session import NoObserver, Observer
from chaincode.shim.settings import ClientSettings
from chaincode.shim.streams import MESSAGE_OPTIONS, Streams

logger = logging.getLogger("chaincode.shim.dialer")

# As Go's shim (`shim/internal/config.go`).
OPTIONS = (
    *MESSAGE_OPTIONS,
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0


class ChaincodeDialer:
    """One chaincode, dialling one peer."""

    def __init__(
        self, settings: ClientSettings, chaincode: Chaincode, observer: Observer | None = None
    ) -> None:
        self._settings = settings
        self._streams = Streams(
            settings.chaincode_id, chaincode, settings.capacity, observer or NoObserver()
        )
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until `stop`; a broken stream is dialled anew after 0.2 s, then up to 10 s."""
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            self._running = asyncio.create_task(self._serve_once())
            served = asyncio.get_running_loop().time()
            await asyncio.wait((self._running,))
            if self._stopping.is_set():
                return
            if asyncio.get_running_loop().time() - served > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            try:
                await asyncio.wait_for(self._stopping.wait(), pause)
            except TimeoutError:
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def stop(self, grace: float | None = None) -> bool:
        """Let running transactions end, then hang up; False if `grace` seconds were too short."""
        drained = await self._streams.drain(self._settings.grace if grace is None else grace)
        self._stopping.set()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))
        return drained

    async def _serve_once(self) -> None:
        address = self._settings.peer_address
        async with self._dial() as channel:
            call = chaincode_shim_pb2_grpc.ChaincodeSupportStub(channel).Register()
            try:
                violation = await self._streams.carry(call.read, call.write)
            except (grpc.aio.UsageError, grpc.RpcError, asyncio.InvalidStateError):
                violation = ""
            finally:
                call.cancel()
            logger.warning(
                "the stream to the peer ended%s",
                f": {violation}" if violation else "",
                extra={"peer": address},
            )

    def _dial(self) -> Any:
        tls = self._settings.tls
        if tls is None:
            return grpc.aio.insecure_channel(self._settings.peer_address, options=OPTIONS)
        credentials = grpc.ssl_channel_credentials(tls.roots, tls.key, tls.certificate)
        return grpc.aio.secure_channel(self._settings.peer_address, credentials, options=OPTIONS)
