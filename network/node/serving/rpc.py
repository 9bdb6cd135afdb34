"""Runs gRPC's service handlers on `protos.http2`: what generated `add_…Servicer_to_server` takes.

Handlers are written as for `grpc.aio`, and see a context with the parts of it that a node uses. A
call is one task. A client that sends faster than a handler reads is held by HTTP/2's flow control,
and a handler that sends faster than its client reads waits, so a call keeps a few messages at most.
What they keep is counted by the server's budget, from the message's arrival until it is read (or,
where a call has one message, until it is answered).
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode
from binascii import Error as BadBase64
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from ssl import DER_cert_to_PEM_cert
from typing import Any, NoReturn

import grpc

from network.node.serving.limits import ConcurrencyLimits, TooManyCalls
from network.node.serving.turns import Turns
from protos.http2.connection import Call, Receiver
from protos.http2.server import Service

log = logging.getLogger("comm.grpc.server")

QUEUED = 16
"""Messages of a stream that wait for their handler before the client is held."""
QUEUED_BYTES = 4 * 1024 * 1024
"""Or so many bytes of them."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
Metadata = Iterable[tuple[str, str | bytes]]


class Services:
    """The handlers of a server, by path; generated code adds to it as to a `grpc.aio.Server`."""

    def __init__(self, limits: ConcurrencyLimits, max_send: int) -> None:
        """`max_send`: bytes of the largest message that may be answered."""
        self._limits = limits
        self._max_send = max_send
        self._turns = Turns()
        self._generic: list[Any] = []
        self._found: dict[str, Service] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Serve what these grpc.GenericRpcHandlers know."""
        self._generic.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Generated code tells the same handlers a second time in this way."""

    def get(self, path: str) -> Service | None:
        """The service of a path."""
        service = self._found.get(path)
        if service is None:
            details = _Details(path)
            for generic in self._generic:
                handler = generic.service(details)
                if handler is not None:
                    service = self._found[path] = self._build(path, handler)
                    break
        return service

    def _build(self, path: str, handler: Any) -> Service:
        limits, name = self._limits, path.rpartition("/")[0].lstrip("/")
        turns = self._turns
        kind = _StreamCall if handler.request_streaming else _UnaryCall

        def serve(call: Call, address: str) -> Receiver | None:
            try:
                limits.enter(name)
            except TooManyCalls as refusal:
                call.finish(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], str(refusal))
                return _NOBODY
            running = kind(call, address, handler, self._max_send, lambda: limits.leave(name))
            running.turns = turns
            return running

        return serve  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class _Details:
    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


class _Nobody:
    """Hears nothing of a call that was refused."""

    def receive(self, message: bytes) -> None: ...

    def half_close(self) -> None: ...

    def cancel(self) -> None: ...


_NOBODY = _Nobody()


class Context:
    """What a handler sees of its call; the names are those of grpc.aio.ServicerContext."""

    __slots__ = ("_address", "_call", "_running", "trailing")

    def __init__(self, call: Call, address: str, running: _Running) -> None:
        self._call = call
        self._address = address
        self._running = running
        self.trailing: tuple[tuple[str, str | bytes], ...] = ()

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        """The call ends with this status."""
        if trailing_metadata:
            self.trailing = tuple(trailing_metadata)
        raise Aborted(code, details)

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """What goes along with the status."""
        self.trailing = tuple(metadata)

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What the client sent along."""
        return tuple(
            (key, _read_binary(value) if key.endswith("-bin") else value)
            for key, value in self._call.headers.items()
            if not key.startswith((":", "grpc-")) and key not in ("te", "content-type")
        )

    def peer(self) -> str:
        """The client's address, such as ipv4:127.0.0.1:4242."""
        return self._address

    def auth_context(self) -> dict[str, list[bytes]]:
        """`x509_pem_cert`: the certificate that the client has shown, if any."""
        der = self._call.connection.certificate
        return {"x509_pem_cert": [DER_cert_to_PEM_cert(der).encode()]} if der else {}

    async def read(self) -> Any:
        """The next message of a streaming client, grpc.aio.EOF after the last."""
        return await self._running.read()

    async def write(self, message: Any) -> None:
        """Send a message of a streaming answer."""
        await self._running.write(message)


class Aborted(grpc.aio.AbortError):  # type: ignore[misc]
    """A handler has ended its call with a status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class _Running:
    """A call and the task that serves it; also what the connection tells of it (`Receiver`)."""

    turns: Turns

    def __init__(self, call: Call, address: str, handler: Any, max_send: int, leave: Any) -> None:
        self._call = call
        self._handler = handler
        self._max_send = max_send
        self._leave = leave
        self._address = address
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._may_write: asyncio.Future[None] | None = None
        self._kept = 0  # bytes of messages that the handler has not done with
        timeout = call.headers.get("grpc-timeout")
        if timeout is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(read_timeout(timeout), self._expire)

    async def read(self) -> Any:
        """The next message, grpc.aio.EOF after the last."""
        return grpc.aio.EOF

    def cancel(self) -> None:
        """See `Receiver`."""
        if self._task is None:
            self._end()
        else:
            self._task.cancel()
        if self._may_write is not None and not self._may_write.done():
            self._may_write.cancel()

    async def write(self, message: Any) -> None:
        """Send a message, and wait until the client has room for it."""
        call = self._call
        call.send(self._serialize(message))
        if call.is_waiting:
            # One waiter: a handler sends its messages one after another.
            self._may_write = asyncio.get_running_loop().create_future()
            call.drained = self._note_drained
            await self._may_write
        elif call.finished:
            await asyncio.sleep(0)  # its task was cancelled: a handler that never waits is told so

    def _note_drained(self) -> None:
        self._call.drained = None
        if self._may_write is not None and not self._may_write.done():
            self._may_write.set_result(None)

    def _start(self, argument: Any) -> None:
        self._task = asyncio.get_running_loop().create_task(self._serve(argument))

    async def _serve(self, argument: Any) -> None:
        call, context = self._call, Context(self._call, self._address, self)
        try:
            if not self.turns.may_begin():
                await self.turns.wait()
            await self._handle(argument, context)
        except Aborted as aborted:
            call.finish(aborted.code.value[0], aborted.details, context.trailing)
        except asyncio.CancelledError:
            if not call.finished:
                call.finish(grpc.StatusCode.CANCELLED.value[0], "the server is stopping")
        except _TooLarge as refusal:
            call.finish(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], str(refusal))
        except Exception:
            log.exception("%s met a fault", call.path)
            call.finish(grpc.StatusCode.UNKNOWN.value[0], "the node met a fault: see its log")
        else:
            call.finish(metadata=context.trailing)
        finally:
            self._end()

    async def _handle(self, argument: Any, context: Context) -> None:
        handler = self._handler
        if not handler.response_streaming:
            behavior = handler.stream_unary if handler.request_streaming else handler.unary_unary
            self._call.send(self._serialize(await behavior(argument, context)))
            return
        behavior = handler.stream_stream if handler.request_streaming else handler.unary_stream
        answers = behavior(argument, context)
        if not isinstance(answers, AsyncIterator):
            await answers  # it writes through its context
            return
        try:
            async for answer in answers:
                await self.write(answer)
        finally:
            await answers.aclose()  # type: ignore[attr-defined]

    def _serialize(self, message: Any) -> bytes:
        serialize = self._handler.response_serializer
        raw: bytes = message if serialize is None else serialize(message)
        if len(raw) > self._max_send:
            raise _TooLarge(f"Sent message larger than max ({len(raw)} vs. {self._max_send})")
        return raw

    def _deserialize(self, raw: bytes) -> Any:
        deserialize = self._handler.request_deserializer
        return raw if deserialize is None else deserialize(raw)

    def _expire(self) -> None:
        self._call.finish(grpc.StatusCode.DEADLINE_EXCEEDED.value[0], "Deadline Exceeded")
        self.cancel()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._kept:
            self._call.free(self._kept)
            self._kept = 0
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
        # Call, task and this know each other; apart, they are gone at once, without the collector.
        self._call.receiver = self._task = self._timer = None


class _TooLarge(Exception):
    pass


class _UnaryCall(_Running):
    """One message of the client, then its handler."""

    def receive(self, message: bytes) -> None:
        """See `Receiver`."""
        if self._task is not None or not self._call.keep(len(message)):
            return
        self._kept = len(message)
        try:
            request = self._deserialize(message)
        except Exception:
            # Whatever a message's bytes make a deserialiser raise is the client's fault.
            self._refuse("Exception deserializing request!")
            return
        self._start(request)

    def half_close(self) -> None:
        """See `Receiver`."""
        if self._task is None:
            self._refuse("the call ended before its message")

    def _refuse(self, text: str) -> None:
        self._call.finish(grpc.StatusCode.INTERNAL.value[0], text)
        self._end()


class _StreamCall(_Running):
    """Messages of the client in a bounded queue, and a handler that takes them."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._queue: deque[bytes] = deque()
        self._ended = False
        self._arrived: asyncio.Future[None] | None = None
        self._start(self._iterate())

    def receive(self, message: bytes) -> None:
        """See `Receiver`."""
        if not self._call.keep(len(message)):
            return
        self._kept += len(message)
        self._queue.append(message)
        if len(self._queue) >= QUEUED or self._kept >= QUEUED_BYTES:
            self._call.hold()
        self._tell()

    def half_close(self) -> None:
        """See `Receiver`."""
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def read(self) -> Any:
        """The next message, grpc.aio.EOF after the last."""
        while not self._queue:
            if self._ended:
                return grpc.aio.EOF
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        raw = self._queue.popleft()
        self._kept -= len(raw)
        self._call.free(len(raw))
        if self._call.held and len(self._queue) < QUEUED // 2 and self._kept < QUEUED_BYTES // 2:
            self._call.release()
        try:
            return self._deserialize(raw)
        except Exception:
            raise Aborted(grpc.StatusCode.INTERNAL, "Exception deserializing request!") from None

    async def _iterate(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message


def read_timeout(text: str) -> float:
    """Seconds in a grpc-timeout header such as 30S; none that can be read is a day."""
    number, unit = text[:-1], _UNITS.get(text[-1:])
    if unit is None or not number.isdigit() or len(number) > 8:
        return 86400.0
    return int(number) * unit


def _read_binary(text: str) -> bytes:
    try:
        return b64decode(text + "=" * (-len(text) % 4))
    except (BadBase64, ValueError):
        return b""
