"""orderer.AtomicBroadcast/Broadcast: envelopes in, one answer for each, in order.

The stream ends after the first answer that is not SUCCESS, as Fabric's does
(orderer/common/broadcast). An answer waits until the envelope's block is on disk; so that a client
which sends without waiting is not slowed to one envelope a block, up to `IN_FLIGHT` envelopes of a
stream are under way at once. More are not read: the client's flow control stops it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2

from network.node.ordering.forwarding import FORWARDED, Forwarding
from network.node.ordering.throttling import Throttle
from network.node.serving.connections import Connections
from network.node.serving.grpc_server import get_tls_certificate
from network.node.serving.logs import one_line
from network.node.serving.metrics import CollectorRegistry, Counter, Durations
from network.rules.envelope import OpenedEnvelope
from network.rules.ordering.admission import Refused, open_message

logger = logging.getLogger("orderer.common.broadcast")

IN_FLIGHT = 256
LABELS = ("channel", "type", "status")


class Chain(Protocol):
    """A channel that takes messages (network.node.ordering.chain.Chain is one)."""

    def submit(
        self, envelope: OpenedEnvelope, forwarding: Forwarding | None = None
    ) -> "asyncio.Future[int]":
        """Queue the envelope, here or at the leader; the future is done when its block is on disk.
        Raises Refused."""


@dataclass(frozen=True, slots=True)
class _Received:
    """An envelope of a stream and its fate: the block's number to come, or the refusal it met."""

    channel_id: str
    type: str
    outcome: asyncio.Future[int] | Refused
    began: float
    validated: float  # both as monotonic() gives them


class Broadcast:
    """The broadcast service over the channels that `get_chain` finds (Registrar.get)."""

    def __init__(
        self,
        get_chain: Callable[[str], Chain | None],
        registry: CollectorRegistry,
        connections: Connections,
        throttle: Throttle | None = None,
    ) -> None:
        """`connections` lead to other orderers; `throttle` holds clients that send too much."""
        self._throttle = throttle or Throttle()
        self._get_chain = get_chain
        self._connections = connections
        self._processed = Counter(
            "broadcast_processed_count",
            "The number of transactions processed.",
            LABELS,
            registry,
        )
        self._validating = Durations(
            "broadcast_validate_duration",
            "The time to validate a transaction in seconds.",
            LABELS,
            registry,
        )
        self._enqueueing = Durations(
            "broadcast_enqueue_duration",
            "The time to enqueue a transaction in seconds.",
            LABELS,
            registry,
        )

    async def serve(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Yield BroadcastResponse bytes, one for each envelope."""
        received: asyncio.Queue[_Received | None] = asyncio.Queue(IN_FLIGHT)
        # What another orderer forwards is ordered here or nowhere: see forwarding.
        is_forwarded = any(key == FORWARDED for key, _ in context.invocation_metadata() or ())
        forwarding = None if is_forwarded else Forwarding(self._connections)
        hold = self._throttle.hold(lambda: get_tls_certificate(context))
        reading = asyncio.create_task(self._read(requests, received, forwarding, hold))
        try:
            while (one := await received.get()) is not None:
                status, info = await _settle(one.outcome)
                name = common_pb2.Status.Name(status)
                self._record(one, name)
                yield ab_pb2.BroadcastResponse(status=status, info=info).SerializeToString()
                if status != common_pb2.SUCCESS:
                    logger.info(
                        "[channel: %s] Rejecting broadcast of %s message from %s with %s: %s",
                        one.channel_id, one.type, context.peer(), name, one_line(info),
                    )  # fmt: skip
                    return
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            if forwarding is not None:
                await forwarding.close()

    def _record(self, one: _Received, status: str) -> None:
        labels = (one.channel_id, one.type, status)
        self._processed.add(*labels)
        self._validating.observe(one.validated - one.began, *labels)
        # Until the block is on disk, since that is what an answer waits for.
        if not isinstance(one.outcome, Refused):
            self._enqueueing.observe(monotonic() - one.validated, *labels)

    async def _read(
        self,
        requests: AsyncIterator[bytes],
        received: "asyncio.Queue[_Received | None]",
        forwarding: Forwarding | None,
        hold: Callable[[], Awaitable[None]] | None,
    ) -> None:
        try:
            async for raw in requests:
                if hold is not None:
                    await hold()
                one = self._accept(raw, forwarding)
                await received.put(one)
                if isinstance(one.outcome, Refused):
                    break  # what follows a refusal is not ordered
        except grpc.RpcError as error:
            logger.debug("Broadcast stream ended: %s", error)
        await received.put(None)

    def _accept(self, raw: bytes, forwarding: Forwarding | None) -> _Received:
        channel_id = kind = "unknown"
        began = monotonic()
        try:
            envelope = open_message(raw)
            header = envelope.channel_header
            if header.type in common_pb2.HeaderType.values():
                kind = common_pb2.HeaderType.Name(header.type)
            chain = self._get_chain(header.channel_id)
            if chain is None:
                raise Refused(common_pb2.BAD_REQUEST, "channel does not exist")
            # Only a channel that exists becomes a label: a client cannot fill the memory with them.
            channel_id = header.channel_id
            outcome = chain.submit(envelope, forwarding)
        except Refused as refusal:
            return _Received(channel_id, kind, refusal, began, monotonic())
        except Exception:
            # Whatever a client found that we did not foresee ends its stream, not the orderer.
            logger.exception("A broadcast message met a fault")
            fault = Refused(common_pb2.INTERNAL_SERVER_ERROR, "internal error: see the log")
            return _Received(channel_id, kind, fault, began, monotonic())
        return _Received(channel_id, kind, outcome, began, monotonic())


async def _settle(outcome: asyncio.Future[int] | Refused) -> tuple[int, str]:
    if isinstance(outcome, Refused):
        return outcome.status, outcome.info
    try:
        # Shielded: a client that leaves does not cancel what is being ordered.
        await asyncio.shield(outcome)
    except Refused as refusal:
        return refusal.status, refusal.info
    return common_pb2.SUCCESS, ""
