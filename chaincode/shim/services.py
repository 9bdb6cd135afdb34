"""What a chaincode server serves: `protos.Chaincode/Connect`, and gRPC's health service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from chaincode.shim.handler import ChaincodeMessage, Message
from chaincode.shim.session import Session
from chaincode.shim.streams import Streams
from protos.http2.connection import FAILED_PRECONDITION, INTERNAL, OK, Call

logger = logging.getLogger("chaincode.shim.server")

NOT_FOUND = 5


class ConnectService:
    """Takes peers' streams: one session each."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._open: set[PeerStream] = set()

    def __call__(self, call: Call, address: str) -> PeerStream:
        """The stream of a peer that has just called."""
        logger.info("a peer connected", extra={"peer": address})
        stream = PeerStream(self._streams, call, address, self._open.discard)
        self._open.add(stream)
        return stream

    async def end_all(self) -> None:
        """Every stream has ended, its trailers behind its last message.

        Without them a client that loses the connection may throw away what it has not read yet.
        """
        await asyncio.gather(*(stream.end() for stream in list(self._open)))


class PeerStream:
    """One peer's stream, a `connection.Receiver`: its messages go into a session and back."""

    def __init__(
        self,
        streams: Streams,
        call: Call,
        address: str,
        ended: Callable[[PeerStream], None],
    ) -> None:
        self._streams = streams
        self._call = call
        self._address = address
        self._ended = ended
        self._ending: asyncio.Task[None] | None = None
        self._session: Session = streams.open(self._send)
        self._session.start()

    def receive(self, message: bytes) -> None:
        """See `Receiver`."""
        if self._ending is not None:
            return
        try:
            opened = ChaincodeMessage.FromString(message)
        except DecodeError:
            self._end("the message is not a ChaincodeMessage", INTERNAL)
            return
        self._session.receive(opened)
        if self._session.violation:
            self._end(self._session.violation, FAILED_PRECONDITION)

    def half_close(self) -> None:
        """See `Receiver`."""
        self._end("", OK)

    def cancel(self) -> None:
        """See `Receiver`."""
        self._end("", OK)

    def _send(self, message: Message) -> None:
        self._call.send(message.SerializeToString())

    async def end(self) -> None:
        """The stream has ended as it does when the peer ends it."""
        await self._end("", OK)

    def _end(self, reason: str, status: int) -> asyncio.Task[None]:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._close(reason, status))
        return self._ending

    async def _close(self, reason: str, status: int) -> None:
        """The transactions are cancelled first, so that the stream's last word is its last."""
        await self._streams.close(self._session)
        self._call.finish(status, reason)
        self._ended(self)
        logger.info("a peer disconnected", extra={"peer": self._address})


class HealthService:
    """`grpc.health.v1.Health`: `Check` answers, `Watch` answers and goes on answering."""

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {}
        self._watchers: set[_Watcher] = set()

    def set(self, service: str, status: int) -> None:
        """From now on this is the service's status; whoever watches it is told."""
        self._statuses[service] = status
        for watcher in list(self._watchers):
            watcher.tell(service, status)

    def check(self, call: Call, address: str) -> Question:
        """`Check`."""
        return Question(call, lambda service: self._answer(call, service))

    def watch(self, call: Call, address: str) -> Question:
        """`Watch`."""
        watcher = _Watcher(call)

        def begin(service: str) -> None:
            watcher.service = service
            self._watchers.add(watcher)
            unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            watcher.tell(service, self._statuses.get(service, unknown))

        return Question(call, begin, lambda: self._watchers.discard(watcher))

    def _answer(self, call: Call, service: str) -> None:
        status = self._statuses.get(service)
        if status is None:
            call.finish(NOT_FOUND, "there is no such service")
            return
        call.send(health_pb2.HealthCheckResponse(status=status).SerializeToString())
        call.finish()


class _Watcher:
    """One `Watch` call."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.service: str | None = None
        self._told: int | None = None

    def tell(self, service: str, status: int) -> None:
        if service == self.service and status != self._told:
            self._told = status
            self.call.send(health_pb2.HealthCheckResponse(status=status).SerializeToString())


class Question:
    """A call with one `HealthCheckRequest`, a `connection.Receiver`."""

    def __init__(
        self, call: Call, answer: Callable[[str], None], over: Callable[[], None] | None = None
    ) -> None:
        self._call = call
        self._answer = answer
        self._over = over

    def receive(self, message: bytes) -> None:
        """See `Receiver`."""
        try:
            request = health_pb2.HealthCheckRequest.FromString(message)
        except DecodeError:
            self._call.finish(INTERNAL, "the message is not a HealthCheckRequest")
            return
        self._answer(request.service)

    def half_close(self) -> None:
        """See `Receiver`."""

    def cancel(self) -> None:
        """See `Receiver`."""
        if self._over is not None:
            self._over()
