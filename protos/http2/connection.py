"""One HTTP/2 connection's server side without I/O: bytes in, calls' events out, bytes to send.

    client's bytes ──receive──▸ frames ──▸ Call.receiver (message, half-close, cancellation)
    Call.send / Call.finish ──▸ frames, as flow control lets them ──take──▸ client

What a client may make us hold is bounded: frame, header block, message, streams and resets all
have limits, and so have the bytes of all messages together (`budget`). Violations raise
`ConnectionFault`; nothing else leaves `receive`.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, cast
from urllib.parse import quote

from hpack.exceptions import HPACKError

from protos.http2 import frames
from protos.http2.budget import Budget
from protos.http2.fields import REQUEST, MalformedFields, is_request, is_trailers
from protos.http2.frames import ConnectionFault
from protos.http2.headers import HeaderReader

MAX_FRAME_BYTES = 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
MAX_STREAMS = 128
MAX_RESETS = 1000
"""How many more streams a client may cancel than it lets us answer on one connection
(CVE-2023-44487); a new one starts anew."""
RECEIVE_WINDOW = 4 * 1024 * 1024
SENT_AT_ONCE_BYTES = 1024 * 1024
"""Bytes of messages that leave with one `take`; what is more waits, and is counted."""
HOLDS_TOO_MUCH = "too many bytes of calls wait here: end some of them, or read their answers"

OK, UNKNOWN, RESOURCE_EXHAUSTED, FAILED_PRECONDITION = 0, 2, 8, 9
UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 12, 13, 14
"""gRPC's statuses that a server of ours may answer."""

MAX_LEFT = 1024
"""Streams that a client may still be sending on after we have answered; then the eldest is taken
for one that the client has ended."""

_PREFIX = 5  # of a gRPC message: compressed or not, and four bytes of length


def _build_opening(status: str) -> bytes:
    return frames.build_header_block(((":status", status), ("content-type", "application/grpc")))


_OPENING = _build_opening("200")
_SUCCESS = frames.build_header_block((("grpc-status", str(OK)),))


class Receiver(Protocol):
    """What happens to a call."""

    def receive(self, message: bytes) -> None:
        """A message of the client."""
        ...

    def half_close(self) -> None:
        """The client sends nothing further."""
        ...

    def cancel(self) -> None:
        """The call is over: cancelled, or its connection is lost. Nothing can be sent."""
        ...


class Call:
    """One call of a client, open until `finish` or its cancellation."""

    __slots__ = (
        "_buffer",
        "_opened",
        "_outgoing",
        "_trailers",
        "_waiting_bytes",
        "_wanted",
        "connection",
        "credit",
        "drained",
        "finished",
        "half_closed",
        "headers",
        "held",
        "path",
        "receiver",
        "stream",
        "uncredited",
        "window",
    )

    def __init__(
        self, connection: Connection, stream: int, headers: Mapping[str, str], window: int
    ) -> None:
        self.connection = connection
        self.stream = stream
        self.headers = headers
        self.path = headers.get(":path", "")
        self.receiver: Receiver | None = None
        self.half_closed = False
        self.finished = False
        self.window = window  # bytes that we may still send
        self.credit = RECEIVE_WINDOW  # bytes that the client may still send
        self.uncredited = 0  # bytes that it has sent since it was last told more
        self.held = False
        self.drained: Callable[[], None] | None = None
        """Called when everything given to `send` has left, after it had to wait."""
        self._opened = False
        self._buffer = bytearray()
        self._wanted = _PREFIX  # bytes to wait for before the buffer is looked at again
        self._outgoing: deque[bytes | memoryview] = deque()
        self._waiting_bytes = 0  # of the outgoing, as counted by the connection's share
        self._trailers: bytes | None = None

    def send(self, message: bytes) -> None:
        """The message goes out as soon as the client lets it; nothing after `finish`.

        Where too much waits for the client already, the call is over in its place, with
        RESOURCE_EXHAUSTED and its receiver cancelled.
        """
        if self.finished:
            return
        connection, size = self.connection, len(message) + _PREFIX
        if self._outgoing or size > min(self.window, connection.window, connection.room):
            if not connection.share.take(size):
                self._refuse(RESOURCE_EXHAUSTED, HOLDS_TOO_MUCH)
                return
            self._waiting_bytes += size
        self.open()
        self._outgoing.append(b"\x00" + len(message).to_bytes(4, "big") + message)
        self.push()

    def finish(
        self, status: int = OK, text: str = "", metadata: Iterable[tuple[str, str | bytes]] = ()
    ) -> None:
        """The call ends with this gRPC status, after what is still to be sent.

        `metadata` goes along in the trailers; bytes are for keys that end in `-bin`.
        """
        if not self.finished:
            self._finish(status, text, metadata, _OPENING)

    def refuse_http(self, http_status: str, text: str) -> None:
        """The request is none of gRPC's, which an HTTP status tells those who do not speak it."""
        self._finish(INTERNAL, text, (), _build_opening(http_status))

    def _finish(
        self, status: int, text: str, metadata: Iterable[tuple[str, str | bytes]], opening: bytes
    ) -> None:
        self.finished = True
        self._drop_incoming()
        told = [("grpc-status", str(status))]
        if text:
            told.append(("grpc-message", quote(text, safe=" !#$&'()*+,/:;<=>?@[]^_`{|}~\"")))
        for key, value in metadata:
            shown = value if isinstance(value, str) else b64encode(value).decode().rstrip("=")
            told.append((key, shown))
        block = frames.build_header_block(told) if status or len(told) > 1 else _SUCCESS
        self._trailers = block if self._opened else opening + block
        self.push()

    def open(self) -> None:
        """The response's headers have been sent."""
        if not self._opened:
            self._opened = True
            self.connection.emit(
                frames.build_frame(frames.HEADERS, frames.END_HEADERS, self.stream, _OPENING)
            )

    def push(self) -> None:
        """What the windows let go has gone, the trailers last."""
        if not self._push_messages():
            return
        connection = self.connection
        if self._trailers is not None:
            ending = frames.END_HEADERS | frames.END_STREAM
            connection.pings = 0
            connection.emit(frames.build_frame(frames.HEADERS, ending, self.stream, self._trailers))
            if not self.half_closed:
                connection.emit(frames.build_reset(self.stream, frames.NO_ERROR))
                connection.leave_stream(self.stream)
            connection.forget(self)
        elif self.drained is not None:
            self.drained()

    def _push_messages(self) -> bool:
        """Whether every message has gone."""
        connection, outgoing = self.connection, self._outgoing
        while outgoing:
            allowed = min(self.window, connection.window, connection.frame_limit, connection.room)
            if allowed <= 0:
                connection.waiting[self.stream] = self
                return False
            chunk = outgoing[0]
            if len(chunk) <= allowed:
                outgoing.popleft()
                if self._waiting_bytes:  # none of what leaves without waiting is counted
                    whole = chunk.obj if isinstance(chunk, memoryview) else chunk
                    self._give_back_waiting(len(cast(bytes, whole)))
            else:
                rest = memoryview(chunk)  # slices of a large message are not copied again
                outgoing[0], chunk = rest[allowed:], bytes(rest[:allowed])
            size = len(chunk)
            self.window -= size
            connection.window -= size
            connection.room -= size
            connection.pings = 0
            connection.emit(frames.build_data_header(size, self.stream))
            connection.emit(chunk)
        return True

    def hold(self) -> None:
        """The client may not send more than it was told already, until `release`."""
        self.held = True

    def release(self) -> None:
        """The client may send on."""
        self.held = False
        if self.uncredited > RECEIVE_WINDOW // 2 and not (self.half_closed or self.finished):
            self.connection.credit(self)

    @property
    def is_waiting(self) -> bool:
        """Whether something waits for the client's window, or for the client to read."""
        return bool(self._outgoing) and self.stream in self.connection.calls

    def keep(self, size: int) -> bool:
        """Whether the receiver may hold so many bytes of a message; it has to `free` them.

        If not, the call is over: RESOURCE_EXHAUSTED, and the receiver cancelled.
        """
        if self.connection.share.take(size):
            return True
        self._refuse(RESOURCE_EXHAUSTED, HOLDS_TOO_MUCH)
        return False

    def free(self, size: int) -> None:
        """The receiver is done with so many of the bytes that it kept."""
        self.connection.share.give_back(size)

    def let_go(self) -> None:
        """Nothing is held for the call any more: it has ended."""
        self._drop_incoming()
        self._outgoing.clear()
        self._give_back_waiting(self._waiting_bytes)

    def _give_back_waiting(self, size: int) -> None:
        self._waiting_bytes -= size
        self.connection.share.give_back(size)

    def _drop_incoming(self) -> None:
        if self._buffer:
            self.connection.share.give_back(len(self._buffer))
            self._buffer = bytearray()

    def _buffer_up(self, data: bytes) -> bool:
        """Whether the data could be kept; else the call is over."""
        if not self.connection.share.take(len(data)):
            self._refuse(RESOURCE_EXHAUSTED, HOLDS_TOO_MUCH)
            return False
        self._buffer += data
        return True

    def take_in(self, data: bytes) -> None:
        """Hand the messages in this data to the receiver, keep the rest for the next."""
        if self.finished:
            return
        if self._buffer:
            if not self._buffer_up(data) or len(self._buffer) < self._wanted:
                return
            data = bytes(self._buffer)
            self._drop_incoming()
        start, size = 0, len(data)
        while size - start >= _PREFIX:
            if self.receiver is None or self.finished:
                return
            wanted = self._read_size(data, start)
            if wanted is None:
                return
            if start + wanted > size:
                self._wanted = wanted
                break
            self.receiver.receive(data[start + _PREFIX : start + wanted])
            start += wanted
        else:
            self._wanted = _PREFIX
        if start < size:
            self._buffer_up(data[start:])

    def _read_size(self, data: bytes, start: int) -> int | None:
        """Bytes of the message that begins there, prefix included; None ends a call that may not
        send it."""
        size = int.from_bytes(data[start + 1 : start + _PREFIX], "big")
        limit = self.connection.max_message
        if data[start]:
            self._refuse(UNIMPLEMENTED, "compressed messages are not supported")
            return None
        if size > limit:
            self._refuse(
                RESOURCE_EXHAUSTED, f"Received message larger than max ({size} vs. {limit})"
            )
            return None
        return size + _PREFIX

    def _refuse(self, status: int, text: str) -> None:
        receiver, self.receiver = self.receiver, None
        self.finish(status, text)
        if receiver is not None:
            receiver.cancel()


class Connection:
    """The server's side of one connection."""

    def __init__(
        self,
        accept: Callable[[Call], Receiver | None],
        wake: Callable[[], None],
        max_message: int,
        max_streams: int = MAX_STREAMS,
        budget: Budget | None = None,
    ) -> None:
        """`accept` gives a call its receiver, None where there is no such method; `wake` is told
        that there is something to `take`. The connection has its share of the `budget`.
        """
        self.share = (budget or Budget()).open_share()
        self.certificate = b""
        """DER of the certificate that the client has shown; whoever has the socket sets it."""
        self.is_leaving = False
        """Whether the client was told to open no more calls here."""
        self.pings = 0
        """Pings that the client has sent since it last did anything else and we last sent something
        of a call: with pings clients measure how fast answers come (grpc-go's resetPingStrikes)."""
        self.window = frames.DEFAULT_WINDOW
        self.room = SENT_AT_ONCE_BYTES
        """Bytes of messages that may be emitted before the next `take`."""
        self.frame_limit = frames.SMALLEST_FRAME_LIMIT
        self.max_message = max_message
        self._max_streams = max_streams
        self._accept = accept
        self._wake = wake
        self.calls: dict[int, Call] = {}
        """Those that are open, by stream."""
        self.waiting: dict[int, Call] = {}
        """Calls that have something to send which a window did not let go."""
        self._out: list[bytes | memoryview] = []
        self._is_blocked = False
        self._in = bytearray()
        self.began = False
        """Whether the client has said that it speaks HTTP/2."""
        self._last_stream = 0
        self._left: dict[int, None] = {}
        self._resets = 0
        self._credit = RECEIVE_WINDOW
        self._uncredited = 0
        self._stream_window = frames.DEFAULT_WINDOW
        self._headers = HeaderReader(MAX_HEADER_BYTES, self._get_pseudo_fields())
        self._block: tuple[int, int, bytearray] | None = None  # stream, flags, header block so far
        self.emit(
            frames.build_settings(
                (
                    self._get_first_setting(),
                    (frames.INITIAL_WINDOW_SIZE, RECEIVE_WINDOW),
                    (frames.MAX_FRAME_SIZE, MAX_FRAME_BYTES),
                    (frames.MAX_HEADER_LIST_SIZE, MAX_HEADER_BYTES),
                )
            )
            + frames.build_window_update(0, RECEIVE_WINDOW - frames.DEFAULT_WINDOW)
        )

    def _get_first_setting(self) -> tuple[int, int]:
        return frames.MAX_CONCURRENT_STREAMS, self._max_streams

    def _get_pseudo_fields(self) -> frozenset[str]:
        return REQUEST

    # --- outwards ---------------------------------------------------------------------------

    def emit(self, frame: bytes | memoryview) -> None:
        """The frame, or a further part of one, is the next to be sent."""
        if not self._out:
            self._wake()
        self._out.append(frame)

    def take(self) -> bytes:
        """Everything that is to be sent now. `go_on` once it is written."""
        taken = b"".join(self._out)
        self._out.clear()
        return taken

    def go_on(self) -> None:
        """What waited for room is emitted, unless the client does not read."""
        if not self._is_blocked and self.room < SENT_AT_ONCE_BYTES:
            was_full, self.room = self.room <= 0, SENT_AT_ONCE_BYTES
            if was_full:
                self._push_all()

    def block(self) -> None:
        """The client does not read: emit no messages until `unblock`."""
        self._is_blocked = True
        self.room = 0

    def unblock(self) -> None:
        """The client reads again."""
        self._is_blocked = False
        self.go_on()

    def ping(self) -> None:
        """Ask the client for a sign of life."""
        self.emit(frames.build_frame(frames.PING, 0, 0, b"medfabri"))

    def close(self, code: int = frames.NO_ERROR, reason: str = "") -> None:
        """Say goodbye; every open call is cancelled."""
        self.emit(frames.build_goaway(self._last_stream, code, reason))
        self.lose()

    def lose(self) -> None:
        """The connection is gone: every open call is cancelled."""
        calls = list(self.calls.values())
        self.calls.clear()
        self.waiting.clear()
        for call in calls:
            call.finished = True
            call.let_go()
            if call.receiver is not None:
                call.receiver.cancel()

    def leave(self) -> None:
        """Ask the client to open no more calls here; those that are open go on."""
        self.is_leaving = True
        self.emit(frames.build_goaway(self._last_stream, frames.NO_ERROR))

    @property
    def is_idle(self) -> bool:
        """Whether no call is open."""
        return not self.calls

    def credit(self, call: Call) -> None:
        """The client may send as much as a call has taken in."""
        self.emit(frames.build_window_update(call.stream, call.uncredited))
        call.credit += call.uncredited
        call.uncredited = 0

    def forget(self, call: Call) -> None:
        """The call's stream is closed: it was answered."""
        self.calls.pop(call.stream, None)
        self.waiting.pop(call.stream, None)
        call.let_go()
        self._resets = max(0, self._resets - 1)

    def leave_stream(self, stream: int) -> None:
        """The call was answered before the client has sent all: what still comes is read over."""
        if len(self._left) >= MAX_LEFT:
            self._left.pop(next(iter(self._left)))
        self._left[stream] = None

    # --- inwards ----------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take in what the client sent. Raises ConnectionFault."""
        if self._in:
            self._in += data
            data = bytes(self._in)
            self._in.clear()
        start = 0
        if not self.began:
            head = data[: len(frames.PREFACE)]
            if not frames.PREFACE.startswith(head):
                raise ConnectionFault(frames.PROTOCOL_ERROR, "this is not HTTP/2")
            if len(head) < len(frames.PREFACE):
                self._in += data
                return
            self.began = True
            start = len(frames.PREFACE)
        size = len(data)
        while size - start >= frames.HEADER_BYTES:
            length = int.from_bytes(data[start : start + 3], "big")
            if length > MAX_FRAME_BYTES:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a frame is too large")
            end = start + frames.HEADER_BYTES + length
            if end > size:
                break
            stream = int.from_bytes(data[start + 5 : start + 9], "big") & 0x7FFFFFFF
            self._handle(data[start + 3], data[start + 4], stream, data[start + 9 : end])
            start = end
        if start < size:
            self._in += data[start:]

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and kind != frames.CONTINUATION:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a header block was interrupted")
        if kind != frames.PING:
            self.pings = 0
        if kind == frames.DATA:
            self._receive_data(flags, stream, payload)
            return
        handler = _HANDLERS.get(kind)
        if handler is not None:  # frames of unknown types are ignored (RFC 9113, 4.1)
            getattr(self, handler)(flags, stream, payload)

    def _receive_data(self, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        self._credit -= size
        if self._credit < 0:
            raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "more data than the window lets")
        self._uncredited += size
        if self._uncredited > RECEIVE_WINDOW // 2:
            self.emit(frames.build_window_update(0, self._uncredited))
            self._credit += self._uncredited
            self._uncredited = 0
        if flags & frames.PADDED:
            payload = frames.strip_padding(flags, payload)
        call = self.calls.get(stream)
        if call is None or call.half_closed:
            self._validate_opened(stream)
            self._receive_late_data(stream, bool(flags & frames.END_STREAM))
            return
        call.credit -= size
        if call.credit < 0:
            raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "more data than the window lets")
        call.uncredited += size
        ends = flags & frames.END_STREAM
        if call.uncredited > RECEIVE_WINDOW // 2 and not (call.held or ends):
            self.credit(call)
        if payload:
            call.take_in(payload)
        if flags & frames.END_STREAM:
            self._half_close(call)

    def _receive_late_data(self, stream: int, ends: bool) -> None:
        if stream not in self._left:
            self._abort(stream, frames.STREAM_CLOSED)
        elif ends:
            del self._left[stream]

    def _receive_headers(self, flags: int, stream: int, payload: bytes) -> None:
        payload = frames.strip_padding(flags, payload)
        if flags & frames.HAS_PRIORITY:
            if len(payload) < 5:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "HEADERS of a wrong size")
            payload = payload[5:]
        self._block = (stream, flags, bytearray())
        self._extend_block(flags, payload)

    def _receive_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._extend_block(flags, payload)

    def _extend_block(self, flags: int, payload: bytes) -> None:
        assert self._block is not None
        stream, first_flags, block = self._block
        block += payload
        # An empty CONTINUATION costs its sender nothing and would never end: count it as well.
        if len(block) > MAX_HEADER_BYTES or not (payload or flags & frames.END_HEADERS):
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "a header block is too large")
        if not flags & frames.END_HEADERS:
            return
        self._block = None
        try:
            headers: Mapping[str, str] | None = self._headers.decode(bytes(block))
        except MalformedFields:
            headers = None
        except (HPACKError, UnicodeDecodeError):
            raise ConnectionFault(frames.COMPRESSION_ERROR, "unreadable headers") from None
        self._open(stream, bool(first_flags & frames.END_STREAM), headers)

    def _open(self, stream: int, ends: bool, headers: Mapping[str, str] | None) -> None:
        """A call begins, or its trailers have come; None for headers that are malformed."""
        if stream in self.calls:
            self._receive_trailers(self.calls[stream], ends, headers)
            return
        if not stream % 2:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "clients open odd streams")
        if stream <= self._last_stream:
            if stream not in self._left:
                raise ConnectionFault(frames.STREAM_CLOSED, "headers on a closed stream")
            del self._left[stream]  # trailers of a call that has ended meanwhile
            return
        self._last_stream = stream
        if len(self.calls) >= self._max_streams or self.is_leaving:
            self._refuse_stream(stream, ends, frames.REFUSED_STREAM)
            return
        if headers is None or not is_request(headers):
            self._refuse_stream(stream, ends, frames.PROTOCOL_ERROR)
            return
        call = Call(self, stream, headers, self._stream_window)
        self.calls[stream] = call
        call.half_closed = ends
        if not headers.get("content-type", "").startswith("application/grpc"):
            call.refuse_http("415", "the content type is not application/grpc")
            return
        if headers[":method"] != "POST":
            call.refuse_http("405", "gRPC's calls are POST requests")
            return
        receiver = self._accept(call)
        if receiver is None:
            call.finish(UNIMPLEMENTED, f"there is no method {call.path[:200]}")
            return
        call.receiver = receiver
        if ends:
            receiver.half_close()

    def _refuse_stream(self, stream: int, ends: bool, code: int) -> None:
        self.emit(frames.build_reset(stream, code))
        if not ends:
            self.leave_stream(stream)

    def _receive_trailers(self, call: Call, ends: bool, headers: Mapping[str, str] | None) -> None:
        if call.half_closed:
            self._abort(call.stream, frames.STREAM_CLOSED)
        elif headers is None or not (ends and is_trailers(headers)):
            self._abort(call.stream, frames.PROTOCOL_ERROR)
            if not ends:
                self.leave_stream(call.stream)
        else:
            self._half_close(call)

    def _half_close(self, call: Call) -> None:
        if not call.half_closed:
            call.half_closed = True
            if call.receiver is not None and not call.finished:
                call.receiver.half_close()

    def _receive_priority(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "PRIORITY of the connection")
        if len(payload) != 5:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "PRIORITY of a wrong size")

    def _receive_reset(self, flags: int, stream: int, payload: bytes) -> None:
        frames.read_uint32(payload, "RST_STREAM")
        self._validate_opened(stream)
        self._left.pop(stream, None)
        self._cancel(stream)

    def _abort(self, stream: int, code: int) -> None:
        """A stream error (5.4.2): the stream is closed, whatever it was."""
        self.emit(frames.build_reset(stream, code))
        self._cancel(stream)

    def _cancel(self, stream: int) -> None:
        call = self.calls.pop(stream, None)
        self.waiting.pop(stream, None)
        if call is None:
            return
        # Those that we had to reset count as well: a client can make us (CVE-2025-8671).
        self._resets += 1
        if self._resets > MAX_RESETS:
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "too many streams were reset")
        call.finished = True
        call.let_go()
        if call.receiver is not None:
            call.receiver.cancel()

    def _receive_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "an acknowledgement with settings")
            return
        for name, value in frames.read_settings(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "a window is too large")
                change, self._stream_window = value - self._stream_window, value
                for call in self.calls.values():
                    call.window += change
            elif name == frames.ENABLE_PUSH:
                if value > 1:
                    raise ConnectionFault(frames.PROTOCOL_ERROR, "push is neither on nor off")
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.SMALLEST_FRAME_LIMIT <= value <= frames.LARGEST_FRAME_LIMIT:
                    raise ConnectionFault(frames.PROTOCOL_ERROR, "a frame limit out of bounds")
                self.frame_limit = min(value, MAX_FRAME_BYTES)
        self.emit(frames.build_frame(frames.SETTINGS, frames.ACK, 0))
        self._push_all()

    def _receive_push_promise(self, flags: int, stream: int, payload: bytes) -> None:
        raise ConnectionFault(frames.PROTOCOL_ERROR, "clients do not push")

    def _receive_goaway(self, flags: int, stream: int, payload: bytes) -> None:
        """Nothing: a client that leaves closes the connection when it is done."""
        _validate_goaway(stream, payload)

    def _receive_ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream or len(payload) != 8:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "PING of a wrong size")
        if not flags & frames.ACK:
            self.pings += 1
            self.emit(frames.build_frame(frames.PING, frames.ACK, 0, payload))

    def _receive_window_update(self, flags: int, stream: int, payload: bytes) -> None:
        increment = frames.read_uint32(payload, "WINDOW_UPDATE") & 0x7FFFFFFF
        if not increment:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a window was raised by nothing")
        if not stream:
            self.window += increment
            if self.window > frames.MAX_WINDOW:
                raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "a window is too large")
            self._push_all()
            return
        self._validate_opened(stream)
        call = self.calls.get(stream)
        if call is not None:
            call.window += increment
            if call.window > frames.MAX_WINDOW:
                raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "a window is too large")
            if call.is_waiting:
                call.push()

    def _push_all(self) -> None:
        calls, self.waiting = self.waiting, {}
        for call in calls.values():
            if call.is_waiting:
                call.push()
        # The first has had what there was; the others go before it the next time.
        if len(self.waiting) > 1:
            first = next(iter(self.waiting))
            self.waiting[first] = self.waiting.pop(first)

    def _validate_opened(self, stream: int) -> None:
        if stream > self._last_stream or not stream % 2:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a frame on a stream that is not open")


def _validate_goaway(stream: int, payload: bytes) -> None:
    if stream:
        raise ConnectionFault(frames.PROTOCOL_ERROR, "GOAWAY on a stream")
    if len(payload) < 8:
        raise ConnectionFault(frames.FRAME_SIZE_ERROR, "GOAWAY of a wrong size")


_HANDLERS = {
    frames.HEADERS: "_receive_headers",
    frames.PRIORITY: "_receive_priority",
    frames.RST_STREAM: "_receive_reset",
    frames.SETTINGS: "_receive_settings",
    frames.PUSH_PROMISE: "_receive_push_promise",
    frames.PING: "_receive_ping",
    frames.GOAWAY: "_receive_goaway",
    frames.WINDOW_UPDATE: "_receive_window_update",
    frames.CONTINUATION: "_receive_continuation",
}
"""By name: the client's half has some of its own."""
