"""Broadcast streams that stay open: many transactions share one call to an orderer.

An orderer answers the messages of a stream in their order and ends the stream after a refusal;
those behind it were not processed (orderer/common/broadcast/broadcast.go). A message whose stream
ended beneath it is therefore sent once more, on a stream of its own, so that one client's bad
transaction costs the others nothing but that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2, ab_pb2_grpc

from network.node.serving.connections import Connections

MAX_STREAMS = 4
"""Streams kept open to one orderer: Fabric's checks one message of a stream after another."""
CROWDED = 16
"""Messages without an answer on every stream before another one is opened."""


class StreamEnded(Exception):
    """The orderer ended the stream without answering the message."""


class OrdererStreams:
    """Sends envelopes to orderers; use it from one event loop."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._streams: dict[tuple[str, bytes], list[_Stream]] = {}

    async def send(
        self, address: str, roots: tuple[bytes, ...], envelope: common_pb2.Envelope
    ) -> ab_pb2.BroadcastResponse:
        """The orderer's answer.

        Raises:
            grpc.aio.AioRpcError: it cannot be reached.
            StreamEnded: it gave no answer.
        """
        try:
            return await self._choose(address, roots).send(envelope)
        except StreamEnded:
            return await self._send_alone(address, roots, envelope)

    async def close(self) -> None:
        """Every stream is ended."""
        streams = [stream for streams in self._streams.values() for stream in streams]
        self._streams.clear()
        await asyncio.gather(*(stream.close() for stream in streams))

    def _choose(self, address: str, roots: tuple[bytes, ...]) -> _Stream:
        """The least crowded stream, a new one if all are crowded."""
        streams = self._streams.setdefault((address, b"\n".join(roots)), [])
        streams[:] = [stream for stream in streams if not stream.ended]
        usable = [stream for stream in streams if not stream.abandoned]
        best = min(usable, key=lambda stream: stream.load, default=None)
        if best is None or (best.load >= CROWDED and len(usable) < MAX_STREAMS):
            best = _Stream(self._stub(address, roots).Broadcast())
            streams.append(best)
        return best

    async def _send_alone(
        self, address: str, roots: tuple[bytes, ...], envelope: common_pb2.Envelope
    ) -> ab_pb2.BroadcastResponse:
        async def requests() -> AsyncIterator[common_pb2.Envelope]:
            yield envelope

        answer = await self._stub(address, roots).Broadcast(requests()).read()
        if not isinstance(answer, ab_pb2.BroadcastResponse):
            raise StreamEnded
        return answer

    def _stub(self, address: str, roots: tuple[bytes, ...]) -> Any:
        return ab_pb2_grpc.AtomicBroadcastStub(self._connections.get(address, roots))


class _Stream:
    """One open call. A caller that gives up leaves its place in the order behind."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._outgoing: asyncio.Queue[tuple[Any, asyncio.Future[Any]]] = asyncio.Queue()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self.ended = False
        self.abandoned = False
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]

    @property
    def load(self) -> int:
        """Messages without an answer."""
        return self._outgoing.qsize() + len(self._waiting)

    async def send(self, envelope: Any) -> Any:
        """The answer. Raises as OrdererStreams.send does."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._outgoing.put_nowait((envelope, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            # An orderer that is too slow for one caller is so for those who come next.
            self.abandoned = True
            raise

    async def close(self) -> None:
        """The call is ended, and who waits is told so."""
        self._end(StreamEnded())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                envelope, answer = await self._outgoing.get()
                if answer.cancelled():
                    if self._is_over():
                        self._end(StreamEnded())
                    continue
                self._waiting.append(answer)
                await self._call.write(envelope)

    async def _read(self) -> None:
        ended: Exception = StreamEnded()
        try:
            while isinstance(response := await self._call.read(), ab_pb2.BroadcastResponse):
                answer = self._waiting.popleft()
                if not answer.done():
                    answer.set_result(response)
                if self._is_over():
                    break
        except grpc.aio.AioRpcError as error:
            ended = error
        except IndexError:
            pass  # an answer to nothing: no further one can be told apart
        finally:
            self._end(ended)

    def _is_over(self) -> bool:
        """Given up on, and the last answer has come."""
        return self.abandoned and not self.load

    def _end(self, reason: Exception) -> None:
        self.ended = self.abandoned = True
        self._call.cancel()
        self._tasks[0].cancel()
        while not self._outgoing.empty():
            self._waiting.append(self._outgoing.get_nowait()[1])
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(reason)
