"""A client's messages on their way from an orderer that follows to the one that leads.

One Broadcast stream of a client becomes one Broadcast stream to the leader, so that the messages
keep their order and a refusal ends both. The leader's answers are the client's: status and text
pass through. A forwarded message is never forwarded again (`FORWARDED`): while a change of leaders
spreads, two orderers may each take the other for the leader.
"""

import asyncio
import contextlib
from collections import deque
from typing import Any

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2

from network.node.serving.connections import Connections
from network.rules.channel.config import OrdererEndpoint
from network.rules.ordering.admission import Refused

FORWARDED = "medfabric-forwarded"
"""The gRPC metadata key that says that another orderer sends, not a client."""
SOMEWHERE = -1
"""The block number of a message that another orderer ordered."""
# Seconds without an answer after which the leader counts as away.
PATIENCE = 30.0


class Forwarding:
    """What one client sends on; `close` when the client is gone."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._streams: dict[str, _Stream] = {}

    def send(self, leader: OrdererEndpoint, envelope: bytes) -> asyncio.Future[int]:
        """The future is done (SOMEWHERE) when the leader has the message in a block; it fails with
        the leader's refusal, or SERVICE_UNAVAILABLE where the leader is away."""
        stream = self._streams.get(leader.address)
        if stream is None or stream.is_over:
            connection = self._connections.get(leader.address, leader.tls_roots)
            stream = self._streams[leader.address] = _Stream(connection, leader.address)
        return stream.send(envelope)

    async def close(self) -> None:
        """Every stream is ended; who still waits is refused."""
        await asyncio.gather(*(stream.close() for stream in self._streams.values()))


class _Stream:
    def __init__(self, connection: Any, address: str) -> None:
        self._address = address
        self._unsent: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._call = connection.stream_stream("/orderer.AtomicBroadcast/Broadcast")(
            metadata=((FORWARDED, "1"),)
        )
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]
        self.is_over = False

    def send(self, envelope: bytes) -> asyncio.Future[int]:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        # Whoever asked may be gone by then.
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._waiting.append(done)
        self._unsent.put_nowait(envelope)
        return done

    async def close(self) -> None:
        self._end("the client has left")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self) -> None:
        # What breaks here breaks the reading too, which says so.
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            while True:
                await self._call.write(await self._unsent.get())

    async def _read(self) -> None:
        reason = "it ended the stream"
        try:
            while (raw := await self._next()) is not grpc.aio.EOF:
                answer = ab_pb2.BroadcastResponse.FromString(raw)
                done = self._waiting.popleft()
                if answer.status != common_pb2.SUCCESS:
                    _refuse(done, answer.status, answer.info)
                    break
                if not done.done():
                    done.set_result(SOMEWHERE)
        except TimeoutError:
            reason = f"timed out ({PATIENCE:g}s) waiting on forwarding"
        except grpc.aio.AioRpcError as error:
            reason = f"{error.code().name} {error.details()}"
        finally:
            self._end(reason)

    async def _next(self) -> Any:
        reading = asyncio.ensure_future(self._call.read())
        try:
            while True:
                # Silence is no answer only while something waits for one.
                done, _ = await asyncio.wait([reading], timeout=PATIENCE)
                if done:
                    return reading.result()
                if self._waiting:
                    raise TimeoutError
        finally:
            reading.cancel()

    def _end(self, reason: str) -> None:
        self.is_over = True
        self._call.cancel()
        text = (
            f"no Raft leader: {self._address}, which leads this channel, gave no answer: {reason}"
        )
        while self._waiting:
            _refuse(self._waiting.popleft(), common_pb2.SERVICE_UNAVAILABLE, text)


def _refuse(done: asyncio.Future[int], status: int, info: str) -> None:
    if not done.done():
        done.set_exception(Refused(status, info))
