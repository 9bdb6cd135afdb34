"""HTTP/2's rules on the server's side: what is carried, what is refused, what is bounded."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from protos.http2 import connection, frames
from protos.http2.connection import Call, Connection
from protos.http2.frames import ConnectionFault, build_frame

MAX_MESSAGE = 200_000
PATH = "/probe.Probe/Talk"


class Listener:
    """Notes what happens to a call."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.messages: list[bytes] = []
        self.half_closed = 0
        self.cancelled = 0

    def receive(self, message: bytes) -> None:
        self.messages.append(message)

    def half_close(self) -> None:
        self.half_closed += 1

    def cancel(self) -> None:
        self.cancelled += 1


class Client:
    """A client's end, its frames written by hand."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.server = Connection(self._accept, lambda: None, MAX_MESSAGE)
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.sent = bytearray()
        self.server.receive(frames.PREFACE + frames.build_settings(()))
        self.taken()

    def _accept(self, call: Call) -> Listener | None:
        if call.path != PATH:
            return None
        self.listeners.append(Listener(call))
        return self.listeners[-1]

    def open(self, stream: int = 1, flags: int = frames.END_HEADERS, path: str = PATH) -> Listener:
        self.headers(stream, flags, path)
        return self.listeners[-1]

    def headers(self, stream: int, flags: int = frames.END_HEADERS, path: str = PATH) -> None:
        self.frame(frames.HEADERS, flags, stream, self.encoder.encode(request(path)))

    def frame(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self.server.receive(build_frame(kind, flags, stream, payload))

    def message(self, content: bytes, stream: int = 1) -> None:
        self.frame(frames.DATA, 0, stream, prefixed(content))

    def taken(self) -> list[tuple[int, int, int, bytes]]:
        """What the server has sent since: (type, flags, stream, payload)."""
        raw, found = self.server.take(), []
        while raw:
            size = int.from_bytes(raw[:3], "big")
            stream = int.from_bytes(raw[5:9], "big")
            found.append((raw[3], raw[4], stream, raw[9 : 9 + size]))
            raw = raw[9 + size :]
        return found

    def decoded(self, block: bytes) -> dict[str, str]:
        pairs: Any = self.decoder.decode(block)
        return dict(pairs)

    def data(self) -> bytes:
        return b"".join(payload for kind, _, _, payload in self.taken() if kind == frames.DATA)


def request(path: str = PATH) -> list[tuple[str, str]]:
    """A call's headers."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        ("content-type", "application/grpc"),
    ]


def prefixed(content: bytes) -> bytes:
    return b"\x00" + len(content).to_bytes(4, "big") + content


def test_a_call_from_its_headers_to_its_trailers() -> None:
    client = Client()
    listener = client.open()
    client.message(b"hello")
    listener.call.send(b"answer")
    listener.call.finish(9, "refused: ä")
    opening, data, trailers, reset = client.taken()
    assert opening[:3] == (frames.HEADERS, frames.END_HEADERS, 1)
    assert client.decoded(opening[3]) == {
        ":status": "200",
        "content-type": "application/grpc",
    }
    assert data == (frames.DATA, 0, 1, prefixed(b"answer"))
    assert trailers[:3] == (frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1)
    assert client.decoded(trailers[3]) == {
        "grpc-status": "9",
        "grpc-message": "refused: %C3%A4",
    }
    assert reset == (frames.RST_STREAM, 0, 1, bytes(4))
    assert listener.messages == [b"hello"]
    listener.call.send(b"late")
    listener.call.finish()
    client.message(b"late")
    assert client.taken() == []
    assert listener.messages == [b"hello"]


def test_pings_count_only_while_nothing_is_sent() -> None:
    client = Client()
    listener = client.open()
    pings = []
    for _ in range(5):
        client.frame(frames.PING, 0, 0, bytes(8))
        client.frame(frames.PING, 0, 0, bytes(8))
        pings.append(client.server.pings)
        listener.call.send(b"a client measures how fast this comes")
    assert pings == [2] * 5
    assert client.server.pings == 0


def test_a_call_that_is_half_closed_needs_no_reset() -> None:
    client = Client()
    listener = client.open()
    client.frame(frames.DATA, frames.END_STREAM, 1, prefixed(b"only"))
    assert (listener.messages, listener.half_closed) == ([b"only"], 1)
    listener.call.finish()
    ((kind, flags, _, block),) = client.taken()
    assert (kind, flags) == (frames.HEADERS, frames.END_HEADERS | frames.END_STREAM)
    assert client.decoded(block)["grpc-status"] == "0"


@given(
    contents=st.lists(st.binary(max_size=300), max_size=8),
    cuts=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    sizes=st.lists(st.integers(1, 100), min_size=1, max_size=10),
)
def test_messages_arrive_whole_however_they_are_cut(
    contents: list[bytes], cuts: list[int], sizes: list[int]
) -> None:
    client = Client()
    listener = client.open()
    stream = b"".join(prefixed(content) for content in contents)
    wire, index = bytearray(), 0
    while stream:
        size = sizes[index % len(sizes)]
        wire += build_frame(frames.DATA, 0, 1, stream[:size])
        stream, index = stream[size:], index + 1
    index = 0
    while wire:
        cut = cuts[index % len(cuts)]
        client.server.receive(bytes(wire[:cut]))
        del wire[:cut]
        index += 1
    assert listener.messages == contents


@given(
    contents=st.lists(st.binary(max_size=40_000), min_size=1, max_size=4),
    grants=st.lists(st.integers(1, 50_000), min_size=1, max_size=10),
    window=st.integers(0, 70_000),
)
def test_nothing_is_sent_beyond_the_clients_window(
    contents: list[bytes], grants: list[int], window: int
) -> None:
    client = Client()
    client.server.receive(frames.build_settings(((frames.INITIAL_WINDOW_SIZE, window),)))
    client.taken()
    listener = client.open()
    for content in contents:
        listener.call.send(content)
    listener.call.finish()
    expected = b"".join(prefixed(content) for content in contents)
    of_stream, of_connection, got, index = window, frames.DEFAULT_WINDOW, b"", 0
    while True:
        frames_taken = client.taken()
        data = [payload for kind, _, _, payload in frames_taken if kind == frames.DATA]
        assert all(len(payload) <= frames.SMALLEST_FRAME_LIMIT for payload in data)
        got += b"".join(data)
        of_stream -= sum(map(len, data))
        of_connection -= sum(map(len, data))
        assert of_stream >= 0
        assert of_connection >= 0
        if any(flags & frames.END_STREAM for kind, flags, *_ in frames_taken):
            break
        grant = grants[index % len(grants)]
        of_stream, of_connection, index = of_stream + grant, of_connection + grant, index + 1
        client.server.receive(frames.build_window_update(1, grant))
        client.server.receive(frames.build_window_update(0, grant))
    assert got == expected


def test_a_client_that_sends_for_ever_is_given_credit_for_ever() -> None:
    client = Client()
    listener = client.open()
    of_stream = of_connection = connection.RECEIVE_WINDOW
    piece = prefixed(b"x" * 100_000)
    for _ in range(200):
        of_stream -= len(piece)
        of_connection -= len(piece)
        assert of_stream >= 0
        assert of_connection >= 0
        client.frame(frames.DATA, 0, 1, piece)
        for kind, _, stream, payload in client.taken():
            assert kind == frames.WINDOW_UPDATE
            (increment,) = struct.unpack(">I", payload)
            of_stream += increment if stream else 0
            of_connection += 0 if stream else increment
    assert len(listener.messages) == 200


def test_a_changed_window_counts_for_open_streams() -> None:
    client = Client()
    client.server.receive(frames.build_settings(((frames.INITIAL_WINDOW_SIZE, 10),)))
    listener = client.open()
    listener.call.send(b"x" * 95)
    client.taken()
    client.server.receive(frames.build_settings(((frames.INITIAL_WINDOW_SIZE, 0),)))
    assert client.data() == b""
    client.server.receive(frames.build_settings(((frames.INITIAL_WINDOW_SIZE, 50),)))
    assert len(client.data()) == 40


def test_an_unknown_method_and_a_foreign_content_type_are_refused() -> None:
    client = Client()
    client.headers(1, path="/no.Such/Method")
    block = client.taken()[0][3]
    assert client.decoded(block)["grpc-status"] == "12"
    for stream, method, content_type, status in (
        (3, "POST", "text/html", "415"),
        (5, "GET", "application/grpc", "405"),
    ):
        fields = [(":method", method), *request()[1:-1], ("content-type", content_type)]
        foreign = client.encoder.encode(fields)
        client.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, foreign)
        told = client.decoded(client.taken()[0][3])
        assert (told[":status"], told["grpc-status"]) == (status, "13")
    assert client.listeners == []


@pytest.mark.parametrize(
    ("start", "status"),
    [(b"\x01\x00\x00\x00\x01x", "12"), (b"\x00" + (MAX_MESSAGE + 1).to_bytes(4, "big"), "8")],
)
def test_a_message_that_is_compressed_or_too_large_ends_its_call(start: bytes, status: str) -> None:
    client = Client()
    listener, other = client.open(1), client.open(3)
    client.frame(frames.DATA, 0, 1, start)
    trailers = client.taken()[0][3]
    assert client.decoded(trailers)["grpc-status"] == status
    assert (listener.messages, listener.cancelled) == ([], 1)
    client.message(b"still here", 3)
    assert other.messages == [b"still here"]


def test_a_cancelled_call_frees_its_receiver_and_sends_nothing() -> None:
    client = Client()
    listener = client.open()
    client.frame(frames.RST_STREAM, 0, 1, (8).to_bytes(4, "big"))
    listener.call.send(b"late")
    assert listener.cancelled == 1
    assert client.taken() == []


def test_a_lost_connection_cancels_every_call() -> None:
    client = Client()
    listeners = [client.open(1), client.open(3)]
    client.server.lose()
    assert [listener.cancelled for listener in listeners] == [1, 1]


def test_too_many_streams_are_refused_one_by_one() -> None:
    client = Client()
    for index in range(connection.MAX_STREAMS):
        client.open(2 * index + 1)
    client.taken()
    client.headers(2 * connection.MAX_STREAMS + 1)
    assert client.taken()[0][0] == frames.RST_STREAM
    assert len(client.listeners) == connection.MAX_STREAMS


def test_rapid_resets_end_the_connection() -> None:
    client = Client()
    last = 2 * connection.MAX_RESETS + 1
    for stream in range(1, last, 2):
        client.open(stream)
        client.frame(frames.RST_STREAM, 0, stream, bytes(4))
    client.open(last)
    with pytest.raises(ConnectionFault, match="too many streams"):
        client.frame(frames.RST_STREAM, 0, last, bytes(4))


def test_a_header_block_in_parts() -> None:
    client = Client()
    block = client.encoder.encode([*request()[:-1], ("content-type", "application/grpc+proto")])
    client.frame(frames.HEADERS, 0, 1, block[:3])
    assert client.listeners == []
    client.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[3:])
    assert len(client.listeners) == 1


def test_padding_and_priority_are_taken_off() -> None:
    client = Client()
    block = client.encoder.encode(request())
    flags = frames.END_HEADERS | frames.PADDED | frames.HAS_PRIORITY
    client.frame(frames.HEADERS, flags, 1, b"\x02" + bytes(5) + block + bytes(2))
    client.frame(frames.DATA, frames.PADDED, 1, b"\x03" + prefixed(b"x") + bytes(3))
    assert client.listeners[0].messages == [b"x"]


LONG = connection.MAX_HEADER_BYTES + 1


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (build_frame(frames.DATA, 0, 0), frames.PROTOCOL_ERROR),
        (build_frame(frames.DATA, 0, 7), frames.PROTOCOL_ERROR),
        (build_frame(frames.DATA, frames.PADDED, 1, b"\x05x"), frames.PROTOCOL_ERROR),
        (build_frame(frames.HEADERS, frames.END_HEADERS, 2, b"\x88"), frames.PROTOCOL_ERROR),
        (build_frame(frames.HEADERS, frames.END_HEADERS, 3, b"\xff"), frames.COMPRESSION_ERROR),
        (build_frame(frames.HEADERS, 0, 3, bytes(LONG)), frames.ENHANCE_YOUR_CALM),
        (build_frame(frames.CONTINUATION, 0, 1, b"x"), frames.PROTOCOL_ERROR),
        (build_frame(frames.HEADERS, frames.END_HEADERS, 0, b"\x88"), frames.PROTOCOL_ERROR),
        (build_frame(frames.PRIORITY, 0, 1, b"x"), frames.FRAME_SIZE_ERROR),
        (build_frame(frames.PRIORITY, 0, 0, bytes(5)), frames.PROTOCOL_ERROR),
        (build_frame(frames.RST_STREAM, 0, 9, bytes(4)), frames.PROTOCOL_ERROR),
        (build_frame(frames.RST_STREAM, 0, 1, bytes(3)), frames.FRAME_SIZE_ERROR),
        (build_frame(frames.SETTINGS, 0, 1), frames.PROTOCOL_ERROR),
        (build_frame(frames.SETTINGS, 0, 0, bytes(5)), frames.FRAME_SIZE_ERROR),
        (build_frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), frames.FRAME_SIZE_ERROR),
        (frames.build_settings(((frames.ENABLE_PUSH, 2),)), frames.PROTOCOL_ERROR),
        (frames.build_settings(((frames.MAX_FRAME_SIZE, 1),)), frames.PROTOCOL_ERROR),
        (frames.build_settings(((frames.INITIAL_WINDOW_SIZE, 2**31),)), frames.FLOW_CONTROL_ERROR),
        (build_frame(frames.PUSH_PROMISE, 0, 1), frames.PROTOCOL_ERROR),
        (build_frame(frames.PING, 0, 0, bytes(7)), frames.FRAME_SIZE_ERROR),
        (build_frame(frames.GOAWAY, 0, 1, bytes(8)), frames.PROTOCOL_ERROR),
        (build_frame(frames.GOAWAY, 0, 0, bytes(7)), frames.FRAME_SIZE_ERROR),
        (frames.build_window_update(0, 0), frames.PROTOCOL_ERROR),
        (frames.build_window_update(0, 2**31 - 1), frames.FLOW_CONTROL_ERROR),
        (frames.build_window_update(1, 2**31 - 1), frames.FLOW_CONTROL_ERROR),
        ((connection.MAX_FRAME_BYTES + 1).to_bytes(3, "big") + bytes(6), frames.FRAME_SIZE_ERROR),
    ],
)
def test_a_broken_rule_ends_the_connection_with_its_code(raw: bytes, code: int) -> None:
    client = Client()
    client.open()
    with pytest.raises(ConnectionFault) as fault:
        client.server.receive(raw)
    assert fault.value.code == code


def test_a_header_block_must_not_be_interrupted() -> None:
    client = Client()
    block = client.encoder.encode([(":path", PATH)])
    client.frame(frames.HEADERS, 0, 1, block)
    with pytest.raises(ConnectionFault, match="interrupted"):
        client.frame(frames.PING, 0, 0, bytes(8))


def test_an_endless_header_block_is_refused() -> None:
    client = Client()
    client.frame(frames.HEADERS, 0, 1, b"\x88")
    with pytest.raises(ConnectionFault) as fault:
        client.frame(frames.CONTINUATION, 0, 1, b"")
    assert fault.value.code == frames.ENHANCE_YOUR_CALM


def test_more_data_than_the_window_lets_is_refused() -> None:
    client = Client()
    client.open(1)
    size = connection.RECEIVE_WINDOW // 2 // 5  # below what is credited at once
    client.server._credit = size - 1
    with pytest.raises(ConnectionFault) as fault:
        client.frame(frames.DATA, 0, 1, bytes(size))
    assert fault.value.code == frames.FLOW_CONTROL_ERROR


@given(st.binary(max_size=64))
def test_what_is_no_http2_is_refused_at_its_first_byte(raw: bytes) -> None:
    server = Connection(lambda call: None, lambda: None, MAX_MESSAGE)
    if frames.PREFACE.startswith(raw):
        server.receive(raw)
        return
    with pytest.raises(ConnectionFault):
        server.receive(raw)


FRAMES = st.tuples(
    st.integers(0, 10), st.integers(0, 255), st.integers(0, 6), st.binary(max_size=40)
)


@given(st.lists(FRAMES | st.just("headers"), max_size=30))
def test_no_frames_do_more_than_end_the_connection(
    received: list[tuple[int, int, int, bytes] | str],
) -> None:
    client = Client()
    stream = 1
    try:
        for one in received:
            if isinstance(one, str):
                client.open(stream)
                stream += 2
            else:
                client.frame(*one)
            for listener in client.listeners:
                listener.call.send(b"x")
    except ConnectionFault:
        client.server.close(frames.PROTOCOL_ERROR)
    client.server.lose()
    assert all(
        listener.cancelled <= 1 and listener.half_closed <= 1 for listener in client.listeners
    )
