"""One HTTP/2 connection's client side without I/O: calls out, their messages and statuses in.

The rules of frames and windows are those of `connection`, which is the server's side; here a call
begins with our request's headers and ends with the server's trailers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Protocol
from urllib.parse import unquote

from protos.http2 import frames
from protos.http2.budget import Budget
from protos.http2.connection import (
    INTERNAL,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    UNKNOWN,
    Call,
    Connection,
)
from protos.http2.fields import RESPONSE

CANCELLED = 1
_UNLIMITED = 2**31 - 1
_STATUSES = {  # gRPC over HTTP/2: what an HTTP status without a gRPC status means
    "400": 13, "401": 16, "403": 7, "404": 12, "429": 14, "502": 14, "503": 14, "504": 14,
}  # fmt: skip


@lru_cache(256)
def _build_request(path: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    # What a block means does not depend on those before it: one is good for every call like it.
    return frames.build_header_block(((":path", path), *headers))


class Listener(Protocol):
    """What happens to a call that we made."""

    def receive(self, message: bytes) -> None:
        """A message of the server."""
        ...

    def end(self, status: int, text: str, is_untouched: bool) -> None:
        """The call is over. `is_untouched`: the server has certainly not begun with it."""
        ...


class OutgoingCall(Call):
    """One call to a server, open until the server or `cancel` ends it."""

    __slots__ = ("_closed", "_closing", "_headers_seen", "listener")

    def __init__(
        self, connection: Caller, stream: int, path: str, window: int, listener: Listener
    ) -> None:
        super().__init__(connection, stream, {":path": path}, window)
        self.listener = listener
        self.receiver = _Hearing(listener)
        self._closed = False
        self._closing = False  # what ends our side is still to be sent
        self._headers_seen = False

    def open(self) -> None:
        """Nothing: the request's headers went before."""

    def close(self) -> None:
        """We send nothing further; the server may."""
        if not (self._closed or self.finished):
            self._closed = self._closing = True
            self.push()

    def push(self) -> None:
        """What the windows let go has gone, the end of our side last."""
        if not self._push_messages():
            return
        if self._closing:
            self.connection.emit(frames.build_frame(frames.DATA, frames.END_STREAM, self.stream))
            self._closing = False
        elif self.drained is not None:
            self.drained()

    @property
    def is_waiting(self) -> bool:
        """Whether something waits for the server's window."""
        return (bool(self._outgoing) or self._closing) and self.stream in self.connection.calls

    def cancel(self) -> None:
        """The call is over; the server is told, the listener is not."""
        if not self.finished:
            self.finished = True
            self.connection.emit(frames.build_reset(self.stream, frames.CANCEL))
            self.connection.forget(self)

    def conclude(self, status: int, text: str, *, is_untouched: bool = False) -> None:
        """The call is over and the listener knows."""
        if not self.finished:
            self.finished = True
            self.connection.forget(self)
            self.listener.end(status, text, is_untouched)

    def hear_headers(self, headers: Mapping[str, str], *, ends: bool) -> None:
        """The server's headers or trailers."""
        first, self._headers_seen = not self._headers_seen, True
        if ends:
            self._hear_end(headers)
        elif first and not headers.get("content-type", "").startswith("application/grpc"):
            status = _STATUSES.get(headers.get(":status", ""), UNKNOWN)
            self.cancel_with(status, f"the server speaks no gRPC: HTTP {headers.get(':status')}")

    def cancel_with(self, status: int, text: str) -> None:
        """The call is over on both sides."""
        if not self.finished:
            self.connection.emit(frames.build_reset(self.stream, frames.CANCEL))
            self.conclude(status, text)

    def _hear_end(self, headers: Mapping[str, str]) -> None:
        number = headers.get("grpc-status", "")
        if number.isdigit():
            self.conclude(int(number), unquote(headers.get("grpc-message", "")))
            return
        status = _STATUSES.get(headers.get(":status", ""), UNKNOWN)
        self.conclude(status, f"no gRPC status: HTTP {headers.get(':status', 'trailers')}")

    def _refuse(self, status: int, text: str) -> None:
        self.cancel_with(status, text)


class _Hearing:
    """A listener as `Connection` knows receivers."""

    def __init__(self, listener: Listener) -> None:
        self.receive = listener.receive

    def half_close(self) -> None: ...

    def cancel(self) -> None: ...


class Caller(Connection):
    """The client's side of one connection."""

    def __init__(
        self, wake: Callable[[], None], max_message: int, budget: Budget | None = None
    ) -> None:
        """`wake` is told that there is something to `take`."""
        self._preface_due = True
        super().__init__(lambda call: None, wake, max_message, budget=budget)
        self.began = True
        self.goodbye = ""
        """Why the server wants no more calls here."""
        self.max_calls = _UNLIMITED
        """Calls that the server lets us have open at once."""
        self.on_free: Callable[[], None] | None = None
        """Called when a call has ended."""
        self._next_stream = 1

    def _get_first_setting(self) -> tuple[int, int]:
        return frames.ENABLE_PUSH, 0

    def take(self) -> bytes:
        """Everything that is to be sent now."""
        taken = super().take()
        if self._preface_due:
            self._preface_due = False
            return frames.PREFACE + taken
        return taken

    @property
    def open_calls(self) -> int:
        """How many calls are open."""
        return len(self.calls)

    def call(
        self, path: str, headers: Iterable[tuple[str, str]], listener: Listener
    ) -> OutgoingCall:
        """Begin a call; `headers` begin with the pseudo-headers but for the path."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        if stream > _UNLIMITED - 2:
            self.is_leaving = True  # stream numbers are used up
        call = OutgoingCall(self, stream, path, self._stream_window, listener)
        self.calls[stream] = call
        self._last_stream = stream
        block = _build_request(path, tuple(headers))
        self.emit(frames.build_frame(frames.HEADERS, frames.END_HEADERS, stream, block))
        return call

    def lose(self, reason: str = "the connection is lost") -> None:
        """The connection is gone: every open call ends as UNAVAILABLE."""
        for call in list(self.calls.values()):
            assert isinstance(call, OutgoingCall)
            call.conclude(UNAVAILABLE, reason)

    def _get_pseudo_fields(self) -> frozenset[str]:
        return RESPONSE

    def _receive_late_data(self, stream: int, ends: bool) -> None:
        """Nothing: the server may not have heard yet that we have cancelled the call."""

    def _open(self, stream: int, ends: bool, headers: Mapping[str, str] | None) -> None:
        self._validate_opened(stream)
        call = self.calls.get(stream)
        if isinstance(call, OutgoingCall):
            if headers is None:
                call.cancel_with(INTERNAL, "the server's headers are malformed")
                return
            call.hear_headers(headers, ends=ends)

    def _half_close(self, call: Call) -> None:
        # The server's side ended with data, not with trailers: gRPC calls do not.
        assert isinstance(call, OutgoingCall)
        call.conclude(INTERNAL, "the server ended the call without a status")

    def _receive_reset(self, flags: int, stream: int, payload: bytes) -> None:
        code = frames.read_uint32(payload, "RST_STREAM")
        self._validate_opened(stream)
        call = self.calls.get(stream)
        if isinstance(call, OutgoingCall):
            untouched = code == frames.REFUSED_STREAM
            status = {
                frames.REFUSED_STREAM: UNAVAILABLE,
                frames.CANCEL: CANCELLED,
                frames.ENHANCE_YOUR_CALM: RESOURCE_EXHAUSTED,
            }.get(code, INTERNAL)
            text = f"the server reset the call with code {code}"
            call.conclude(status, text, is_untouched=untouched)

    def _receive_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if not flags & frames.ACK:
            for name, value in frames.read_settings(payload):
                if name == frames.MAX_CONCURRENT_STREAMS:
                    self.max_calls = value
        super()._receive_settings(flags, stream, payload)

    def _receive_goaway(self, flags: int, stream: int, payload: bytes) -> None:
        super()._receive_goaway(flags, stream, payload)
        last = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
        code = int.from_bytes(payload[4:8], "big")
        told = payload[8:200].decode("ascii", "replace")
        self.goodbye = f"the server said goodbye: code {code} {told}".rstrip()
        self.is_leaving = True
        for number, call in list(self.calls.items()):
            if number > last and isinstance(call, OutgoingCall):
                call.conclude(UNAVAILABLE, self.goodbye, is_untouched=True)

    def forget(self, call: Call) -> None:
        """The call's stream is closed."""
        self.calls.pop(call.stream, None)
        self.waiting.pop(call.stream, None)
        call.let_go()
        if self.on_free is not None:
            self.on_free()
