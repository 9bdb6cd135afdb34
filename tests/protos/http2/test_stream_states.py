"""What may come on which stream, and which requests are none (RFC 9113, sections 5.1 and 8)."""

from __future__ import annotations

import pytest

from protos.http2 import connection, frames
from protos.http2.frames import ConnectionFault
from tests.protos.http2.test_connection import PATH, Client, prefixed, request

END = frames.END_HEADERS | frames.END_STREAM
TRAILERS = [("grpc-trailing", "x")]


def resets(client: Client) -> list[tuple[int, int]]:
    """Streams that the server has reset since, with their codes."""
    return [
        (stream, int.from_bytes(payload, "big"))
        for kind, _, stream, payload in client.taken()
        if kind == frames.RST_STREAM
    ]


@pytest.mark.parametrize(
    "fields",
    [
        [*request(), ("X-Upper", "a")],
        [*request(), ("x blank", "a")],
        [*request(), ("x-value", "a\nb")],
        [*request(), ("x-value", " a")],
        [*request(), (":authority", "late")],
        [*request(), ("connection", "keep-alive")],
        [*request(), ("transfer-encoding", "chunked")],
        [*request(), ("te", "trailers, deflate")],
        [(":status", "200"), *request()],
        [(":unknown", "a"), *request()],
        [(":method", "POST"), *request()],
        request("")[:],
        [field for field in request() if field[0] != ":method"],
        [field for field in request() if field[0] != ":scheme"],
        [field for field in request() if field[0] != ":path"],
    ],
)
def test_a_malformed_request_ends_its_stream_only(fields: list[tuple[str, str]]) -> None:
    client = Client()
    client.frame(frames.HEADERS, frames.END_HEADERS, 1, client.encoder.encode(fields))
    assert resets(client) == [(1, frames.PROTOCOL_ERROR)]
    # What the client had on its way is read over, and the connection's headers stay readable.
    client.message(b"late", 1)
    client.frame(frames.HEADERS, END, 1, client.encoder.encode(TRAILERS))
    assert resets(client) == []
    assert client.open(3).call.path == PATH
    assert len(client.listeners) == 1


def test_fields_that_clients_send_are_no_fault() -> None:
    client = Client()
    fields = [
        *request(),
        ("te", "trailers"),
        ("grpc-timeout", "30S"),
        ("user-agent", "grpc-go/1.76.0"),
        ("x-empty", ""),
        ("x-twice", "a"),
        ("x-twice", "b"),
        ("x-bin", "AAEC/w=="),
    ]
    client.frame(frames.HEADERS, frames.END_HEADERS, 1, client.encoder.encode(fields))
    assert client.listeners[0].call.headers["grpc-timeout"] == "30S"


@pytest.mark.parametrize("kind", [frames.DATA, frames.HEADERS])
def test_what_follows_the_clients_end_closes_the_stream(kind: int) -> None:
    client = Client()
    listener = client.open(1, END)
    client.frame(kind, END, 1, client.encoder.encode(TRAILERS))
    assert resets(client) == [(1, frames.STREAM_CLOSED)]
    assert (listener.half_closed, listener.cancelled) == (1, 1)


def test_data_after_the_clients_reset_is_refused_on_its_stream() -> None:
    client = Client()
    client.open(1)
    client.frame(frames.RST_STREAM, 0, 1, frames.CANCEL.to_bytes(4, "big"))
    client.message(b"late")
    assert resets(client) == [(1, frames.STREAM_CLOSED)]
    assert client.open(3).cancelled == 0


@pytest.mark.parametrize("stream", [1, 3])
def test_headers_on_a_stream_that_was_closed_or_passed_over_end_the_connection(
    stream: int,
) -> None:
    client = Client()
    client.open(1, END).call.finish()
    client.open(5)
    with pytest.raises(ConnectionFault) as fault:
        client.headers(stream, END)
    assert fault.value.code == frames.STREAM_CLOSED


@pytest.mark.parametrize(
    ("flags", "fields"),
    [
        (frames.END_HEADERS, TRAILERS),  # a second HEADERS that does not end the stream
        (END, [(":path", PATH)]),
        (END, [("Upper", "a")]),
    ],
)
def test_malformed_trailers_cancel_their_call(flags: int, fields: list[tuple[str, str]]) -> None:
    client = Client()
    listener = client.open(1)
    client.frame(frames.HEADERS, flags, 1, client.encoder.encode(fields))
    assert resets(client) == [(1, frames.PROTOCOL_ERROR)]
    assert (listener.half_closed, listener.cancelled) == (0, 1)


def test_trailers_end_the_clients_side() -> None:
    client = Client()
    listener = client.open(1)
    client.frame(frames.HEADERS, END, 1, client.encoder.encode(TRAILERS))
    assert (listener.half_closed, listener.cancelled) == (1, 0)
    assert resets(client) == []


def test_what_a_client_still_sends_to_an_answered_call_is_read_over() -> None:
    client = Client()
    client.open(1).call.finish()
    assert resets(client) == [(1, frames.NO_ERROR)]
    client.message(b"on its way")
    client.frame(frames.DATA, frames.END_STREAM, 1, prefixed(b"the last"))
    assert resets(client) == []
    client.message(b"beyond its end")
    assert resets(client) == [(1, frames.STREAM_CLOSED)]


def test_no_more_answered_streams_are_remembered_than_may_be() -> None:
    client = Client()
    for number in range(connection.MAX_LEFT + 10):
        client.open(2 * number + 1).call.finish()
    client.taken()
    assert len(client.server._left) == connection.MAX_LEFT
    client.message(b"from long ago", 1)
    assert resets(client) == [(1, frames.STREAM_CLOSED)]


def test_resets_that_a_client_makes_us_send_are_bounded() -> None:
    """CVE-2025-8671: frames that close a stream cost a client less than the call costs us."""
    client = Client()
    last = 2 * connection.MAX_RESETS + 1
    for stream in range(1, last, 2):
        client.open(stream)
        client.frame(frames.HEADERS, frames.END_HEADERS, stream, client.encoder.encode(TRAILERS))
    client.open(last)
    with pytest.raises(ConnectionFault) as fault:
        client.frame(frames.HEADERS, frames.END_HEADERS, last, client.encoder.encode(TRAILERS))
    assert fault.value.code == frames.ENHANCE_YOUR_CALM
