"""What generated stubs call through, on `protos.http2`: the parts of a grpc.aio channel in use.

Failures are grpc.aio.AioRpcError, so that whoever handles them need not know whose channel it was.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable
from typing import Any

import grpc

from protos.http2.calling import CANCELLED, OutgoingCall
from protos.http2.client import Http2Client, Unreachable

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_QUEUED = 16
"""Messages that wait for a reader before the server is held."""
_QUEUED_BYTES = 4 * 1024 * 1024
"""Or so many bytes of them."""
Metadata = Iterable[tuple[str, str | bytes]]
Convert = Callable[[Any], Any] | None


class Channel:
    """Calls to one server; it dials by itself, and again after a loss."""

    def __init__(
        self, address: str, build_tls: Callable[[], ssl.SSLContext] | None, max_message: int
    ) -> None:
        self._client = Http2Client(address, build_tls, max_message)

    async def connect(self) -> None:
        """There is a connection. Raises `protos.http2.client.Unreachable`."""
        await self._client.connect()

    async def close(self, grace: float | None = None) -> None:
        """Calls under way get `grace` seconds, then all is closed."""
        await self._client.close(grace)

    def unary_unary(
        self, path: str, request_serializer: Convert = None, response_deserializer: Convert = None,
        _registered_method: bool | None = False,
    ) -> Any:  # fmt: skip
        """A method with one message each way."""

        async def call(request: Any, timeout: float | None = None, metadata: Metadata = ()) -> Any:
            raw = request_serializer(request) if request_serializer else request
            try:
                if timeout is None:
                    answer = await self._ask(path, raw, metadata)
                else:
                    async with asyncio.timeout(timeout):
                        answer = await self._ask(path, raw, metadata)
            except TimeoutError:
                raise _fail(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None
            return response_deserializer(answer) if response_deserializer else answer

        return call

    def stream_stream(
        self, path: str, request_serializer: Convert = None, response_deserializer: Convert = None,
        _registered_method: bool | None = False,
    ) -> Any:  # fmt: skip
        """A method with streams both ways."""

        def call(
            requests: AsyncIterable[Any] | None = None,
            timeout: float | None = None,
            metadata: Metadata = (),
        ) -> StreamCall:
            stream = StreamCall(self._client, path, request_serializer, response_deserializer)
            stream.start(requests, timeout, metadata)
            return stream

        return call

    def unary_stream(
        self, path: str, request_serializer: Convert = None, response_deserializer: Convert = None,
        _registered_method: bool | None = False,
    ) -> Any:  # fmt: skip
        """A method with one message out and a stream back."""

        def call(request: Any, timeout: float | None = None, metadata: Metadata = ()) -> StreamCall:
            stream = StreamCall(self._client, path, request_serializer, response_deserializer)
            stream.start(_single(request), timeout, metadata)
            return stream

        return call

    def stream_unary(
        self, path: str, request_serializer: Convert = None, response_deserializer: Convert = None,
        _registered_method: bool | None = False,
    ) -> Any:  # fmt: skip
        """A method with a stream out and one message back: none of ours; stubs name it anyway."""
        raise NotImplementedError(path)

    async def _ask(self, path: str, raw: bytes, metadata: Metadata) -> bytes:
        for attempt in range(2):
            question = _Question()
            try:
                call = await self._client.begin(path, _show(metadata), question)
            except Unreachable as error:
                raise _fail(grpc.StatusCode.UNAVAILABLE, str(error)) from None
            call.send(raw)
            call.close()
            try:
                await question.over
            except asyncio.CancelledError:
                call.cancel()
                raise
            if question.is_untouched and not attempt:
                continue  # refused before it began, as a server does that is leaving
            break
        if question.status or question.answer is None:
            raise _fail(_CODES.get(question.status or 13, grpc.StatusCode.UNKNOWN), question.text)
        return question.answer


class _Question:
    """Hears the answer to a unary call."""

    __slots__ = ("answer", "is_untouched", "over", "status", "text")

    def __init__(self) -> None:
        self.answer: bytes | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.text = ""
        self.is_untouched = False

    def receive(self, message: bytes) -> None:
        self.answer = message

    def end(self, status: int, text: str, is_untouched: bool) -> None:
        self.status, self.text, self.is_untouched = status, text, is_untouched
        if not self.over.done():
            self.over.set_result(None)


class StreamCall:
    """A call with a stream back; `read` and `write`, or iterate over it."""

    def __init__(
        self, client: Http2Client, path: str, serialize: Convert, deserialize: Convert
    ) -> None:
        self._client = client
        self._path = path
        self._serialize = serialize
        self._deserialize = deserialize
        self._call: OutgoingCall | None = None
        self._arrived: deque[bytes] = deque()
        self._kept = 0  # bytes of them
        self._status: tuple[int, str] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(
        self, requests: AsyncIterable[Any] | None, timeout: float | None, metadata: Metadata
    ) -> None:
        """Dial if need be, and send what `requests` gives, if given."""
        loop = asyncio.get_running_loop()
        self._opening = loop.create_task(self._open(metadata))
        if requests is not None:
            self._feeding = loop.create_task(self._feed(requests))
        if timeout is not None:
            self._timer = loop.call_later(
                timeout, self._give_up, grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
                "Deadline Exceeded",
            )  # fmt: skip

    async def read(self) -> Any:
        """The next message, grpc.aio.EOF after the last. Raises grpc.aio.AioRpcError."""
        while not self._arrived:
            if self._status is not None:
                code, text = self._status
                if code:
                    raise _fail(_CODES.get(code, grpc.StatusCode.UNKNOWN), text)
                return grpc.aio.EOF
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        raw = self._arrived.popleft()
        call = self._call
        if call is not None and self._status is None:
            self._kept -= len(raw)
            call.free(len(raw))
            is_short = len(self._arrived) < _QUEUED // 2 and self._kept < _QUEUED_BYTES // 2
            if call.held and is_short:
                call.release()
        return self._deserialize(raw) if self._deserialize else raw

    async def write(self, message: Any) -> None:
        """Send a message, and wait until the server has room for it.

        Raises grpc.aio.AioRpcError: the call has failed; asyncio.InvalidStateError: it is over.
        """
        if self._call is None and self._opening is not None:
            await asyncio.shield(self._opening)
        call = self._call
        if self._status is not None or call is None:
            code, text = self._status or (CANCELLED, "")
            if code:
                raise _fail(_CODES.get(code, grpc.StatusCode.UNKNOWN), text)
            raise asyncio.InvalidStateError("the call is over")
        call.send(self._serialize(message) if self._serialize else message)
        if call.is_waiting:
            self._writer = asyncio.get_running_loop().create_future()
            call.drained = self._note_drained
            await self._writer

    async def done_writing(self) -> None:
        """Nothing further is sent."""
        if self._call is None and self._opening is not None:
            await asyncio.shield(self._opening)
        if self._call is not None:
            self._call.close()

    def cancel(self) -> bool:
        """The call is over."""
        self._give_up(CANCELLED, "Locally cancelled by application!")
        return True

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message

    # --- what the connection tells (`calling.Listener`) ---

    def receive(self, message: bytes) -> None:
        """A message of the server."""
        call = self._call
        assert call is not None
        if not call.keep(len(message)):
            return
        self._kept += len(message)
        self._arrived.append(message)
        if len(self._arrived) >= _QUEUED or self._kept >= _QUEUED_BYTES:
            call.hold()
        _wake(self._reader)

    def end(self, status: int, text: str, is_untouched: bool) -> None:
        """The call is over."""
        if self._status is None:
            self._status = (status, text)
            if self._call is not None:
                self._call.free(self._kept)  # what is left is its reader's
        if self._feeding is not None:
            self._feeding.cancel()
        if self._timer is not None:
            self._timer.cancel()
        _wake(self._reader)
        _wake(self._writer)

    # --- inside ---

    async def _open(self, metadata: Metadata) -> None:
        try:
            call = await self._client.begin(self._path, _show(metadata), self)
        except Unreachable as error:
            self.end(grpc.StatusCode.UNAVAILABLE.value[0], str(error), True)
            return
        if self._status is None:
            self._call = call
        else:
            call.cancel()  # given up on meanwhile

    async def _feed(self, requests: AsyncIterable[Any]) -> None:
        try:
            async for request in requests:
                await self.write(request)
            await self.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the reader learns of it

    def _give_up(self, status: int, text: str) -> None:
        if self._status is not None:
            return
        if self._call is not None:
            self._call.cancel()
        elif self._opening is not None:
            self._opening.cancel()
        self.end(status, text, False)

    def _note_drained(self) -> None:
        if self._call is not None:
            self._call.drained = None
        _wake(self._writer)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


async def _single(request: Any) -> AsyncIterator[Any]:
    yield request


def _show(metadata: Metadata) -> Generator[tuple[str, str]]:
    for key, value in metadata or ():
        yield key, value if isinstance(value, str) else b64encode(value).decode().rstrip("=")


def _fail(code: grpc.StatusCode, text: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), text)
