"""Fetches a channel's blocks from its orderers and commits them, one after another, for ever.

Orderers are those of the channel's newest configuration, tried in turn with a growing pause. Each
block is checked against the one before and the orderers' signature policy before it is committed.
Source: common/deliverclient/blocksprovider.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2, ab_pb2_grpc

from network.node.ledger.ledger import LedgerHalted
from network.node.ledger.store import StoreError
from network.node.serving.connections import Connections
from network.rules.blocks.block import InvalidBlock
from network.rules.channel.config import ChannelConfig, OrdererEndpoint
from network.rules.envelope import (
    NONCE_BYTES,
    build_channel_header,
    build_envelope,
    build_payload,
    build_signature_header,
)
from network.rules.identity.identity import Signer

log = logging.getLogger("deliveryClient")

_MAX_NUMBER = (1 << 64) - 1
_SETTLED = 3.0
"""Seconds after which an open stream counts as accepted."""


class PullingChannel(Protocol):
    """A channel that grows by blocks from the orderers."""

    @property
    def channel_id(self) -> str:
        """Its name."""
        ...

    @property
    def config(self) -> ChannelConfig:
        """Its newest configuration."""
        ...

    @property
    def height(self) -> int:
        """The number of the block wanted next."""
        ...

    async def commit_all(
        self, blocks: AsyncIterable[common_pb2.Block], on_commit: Callable[[], None]
    ) -> None:
        """The blocks are checked and committed as they come; `on_commit` is called when some are.

        Raises InvalidBlock when one is not to be trusted, StoreError or LedgerHalted when it cannot
        be kept, and what `blocks` raises when all before it are committed."""
        ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds of the first and of the longest pause, and how the pause grows."""

    first: float = 0.1
    longest: float = 10.0
    factor: float = 1.2


DEFAULT_BACKOFF = Backoff()


class BlockPuller:
    """Keeps one channel up to date."""

    def __init__(
        self,
        channel: PullingChannel,
        signer: Signer,
        connections: Connections,
        *,
        tls_certificate: bytes = b"",
        overrides: Callable[[OrdererEndpoint], OrdererEndpoint] = lambda endpoint: endpoint,
        backoff: Backoff = DEFAULT_BACKOFF,
    ) -> None:
        """`tls_certificate`: the PEM shown to orderers; `overrides`: where to dial one instead."""
        self._channel = channel
        self._signer = signer
        self._connections = connections
        self._tls_cert_hash = _hash_certificate(tls_certificate)
        self._overrides = overrides
        self._backoff = backoff
        self.failure = ""
        """Why no block can be fetched at the moment; empty while all is well."""
        self.fault = ""
        """Why this peer cannot take blocks that there are; empty while it can."""

    async def run(self) -> None:
        """Fetches until cancelled."""
        pause, turn = self._backoff.first, random.randrange(1 << 16)  # noqa: S311
        while True:
            height = self._channel.height
            endpoints = self._channel.config.orderer_endpoints
            try:
                if not endpoints:
                    raise _Unusable("the channel's configuration names no orderer")
                await self._pull(self._overrides(endpoints[turn % len(endpoints)]))
            except _Unusable as error:
                self.failure = str(error)
            except grpc.aio.AioRpcError as error:
                self.failure = f"orderer unreachable: {error.code().name} {error.details()}"
            except (StoreError, LedgerHalted) as error:
                self.failure = self.fault = (
                    f"block {self._channel.height} is not committed: {error}"
                )
            except Exception as error:
                # A fault of ours must not end the channel: the block is fetched again.
                log.exception("channel %s: committing failed", self._channel.channel_id)
                self.failure = f"block {self._channel.height} could not be committed: {error}"
                self.fault = f"{self.failure} (see the log)"
            if self._channel.height > height:
                pause = self._backoff.first
            log.warning(
                "channel %s: %s; trying again in %.1f s",
                self._channel.channel_id, self.failure, pause,
            )  # fmt: skip
            await asyncio.sleep(pause)
            pause = min(pause * self._backoff.factor, self._backoff.longest)
            turn += 1

    async def _pull(self, endpoint: OrdererEndpoint) -> None:
        """Commits what the orderer delivers; raises when it delivers no more."""
        connection = self._connections.get(endpoint.address, endpoint.tls_roots)
        stream = ab_pb2_grpc.AtomicBroadcastStub(connection).Deliver(self._requests())
        # An orderer that says nothing for so long has not refused, it has no newer block.
        settled = asyncio.get_running_loop().call_later(_SETTLED, self._forget_fault)
        try:
            await self._channel.commit_all(self._read(stream, endpoint), self._note_commit)
        except InvalidBlock as error:
            self.fault = (
                f"orderer {endpoint.address} sent a block that is not to be trusted: {error}"
            )
            raise _Unusable(self.fault) from None
        finally:
            settled.cancel()
            stream.cancel()

    async def _read(
        self, stream: Any, endpoint: OrdererEndpoint
    ) -> AsyncIterator[common_pb2.Block]:
        """Yield the stream's blocks; raises _Unusable when there are no more."""
        endpoints = self._channel.config.orderer_endpoints
        while True:
            response = await stream.read()
            if not isinstance(response, ab_pb2.DeliverResponse):
                raise _Unusable(f"orderer {endpoint.address} ended the stream")
            if response.WhichOneof("Type") != "block":
                self._refuse(endpoint, response.status)
            yield response.block
            # We are asked for the next one after a block with a configuration has been committed.
            if self._channel.config.orderer_endpoints != endpoints:
                raise _Unusable("the channel's orderers have changed")

    def _note_commit(self) -> None:
        self.failure = self.fault = ""

    def _refuse(self, endpoint: OrdererEndpoint, status: int) -> NoReturn:
        told = f"orderer {endpoint.address} answered {common_pb2.Status.Name(status)}"
        if status == common_pb2.BAD_REQUEST:
            told += " (it refuses requests of another time: is this machine's clock right?)"
        if status in (common_pb2.BAD_REQUEST, common_pb2.FORBIDDEN):
            self.fault = told
        raise _Unusable(told)

    def _forget_fault(self) -> None:
        self.fault = ""

    async def _requests(self) -> AsyncIterator[common_pb2.Envelope]:
        yield common_pb2.Envelope.FromString(self._build_seek())
        # The stream stays open for sending, or the orderer would take it for finished.
        await asyncio.get_running_loop().create_future()

    def _build_seek(self) -> bytes:
        position = ab_pb2.SeekPosition
        seek = ab_pb2.SeekInfo(
            start=position(specified=ab_pb2.SeekSpecified(number=self._channel.height)),
            stop=position(specified=ab_pb2.SeekSpecified(number=_MAX_NUMBER)),
            behavior=ab_pb2.SeekInfo.BLOCK_UNTIL_READY,
        )
        header = build_channel_header(
            type=common_pb2.DELIVER_SEEK_INFO,
            channel_id=self._channel.channel_id,
            timestamp=datetime.now(UTC),
            tls_cert_hash=self._tls_cert_hash,
        )
        signature_header = build_signature_header(
            self._signer.creator, secrets.token_bytes(NONCE_BYTES)
        )
        payload = build_payload(header, signature_header, seek.SerializeToString())
        return build_envelope(payload, self._signer.sign(payload))


class _Unusable(Exception):
    """This orderer gives no more blocks now."""


def _hash_certificate(pem: bytes) -> bytes:
    if not pem:
        return b""
    der: Any = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    return hashlib.sha256(der).digest()
