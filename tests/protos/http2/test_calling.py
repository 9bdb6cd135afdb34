"""The client's half of HTTP/2: what a server may send, and what it may not."""

from __future__ import annotations

import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from protos.http2 import frames
from protos.http2.calling import CANCELLED, Caller
from protos.http2.connection import INTERNAL, RESOURCE_EXHAUSTED, UNAVAILABLE
from protos.http2.frames import ConnectionFault, build_frame

ENDS = frames.END_HEADERS | frames.END_STREAM
OPENING = ((":status", "200"), ("content-type", "application/grpc"))


class Heard:
    """Notes what happens to a call."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.end_of_it: tuple[int, str, bool] | None = None

    def receive(self, message: bytes) -> None:
        self.messages.append(message)

    def end(self, status: int, text: str, is_untouched: bool) -> None:
        assert self.end_of_it is None
        self.end_of_it = (status, text, is_untouched)


def headers(stream: int, fields: tuple[tuple[str, str], ...], flags: int) -> bytes:
    return build_frame(frames.HEADERS, flags, stream, Encoder().encode(fields))


def data(stream: int, message: bytes, flags: int = 0) -> bytes:
    return build_frame(
        frames.DATA, flags, stream, b"\x00" + len(message).to_bytes(4, "big") + message
    )


def begin() -> tuple[Caller, Heard]:
    caller, heard = Caller(lambda: None, 1000), Heard()
    caller.call("/a/B", ((":method", "POST"),), heard)
    return caller, heard


def test_the_preface_comes_first_and_once() -> None:
    caller, _ = begin()
    assert caller.take().startswith(frames.PREFACE + b"\x00\x00")
    caller.ping()
    assert not caller.take().startswith(frames.PREFACE)


def test_an_answer_in_pieces() -> None:
    caller, heard = begin()
    answer = (
        frames.build_settings(())
        + headers(1, OPENING, frames.END_HEADERS)
        + data(1, b"one")
        + data(1, b"two")
        + headers(1, (("grpc-status", "0"),), ENDS)
    )
    for at in range(len(answer)):
        caller.receive(answer[at : at + 1])
    assert heard.messages == [b"one", b"two"]
    assert heard.end_of_it == (0, "", False)
    assert caller.open_calls == 0


@pytest.mark.parametrize(
    ("frame", "status", "untouched"),
    [
        (headers(1, (*OPENING, ("grpc-status", "5"), ("grpc-message", "n%C3%A4")), ENDS), 5, False),
        (headers(1, ((":status", "503"),), ENDS), UNAVAILABLE, False),
        (headers(1, ((":status", "404"), ("content-type", "text/html")), 4), 12, False),
        (headers(1, OPENING, 4) + data(1, bytes(1001)), RESOURCE_EXHAUSTED, False),
        (headers(1, OPENING, 4) + data(1, b"", frames.END_STREAM), INTERNAL, False),
        (frames.build_reset(1, frames.REFUSED_STREAM), UNAVAILABLE, True),
        (frames.build_reset(1, frames.CANCEL), CANCELLED, False),
        (frames.build_goaway(0, 0, "moving"), UNAVAILABLE, True),
    ],
)
def test_how_a_call_ends(frame: bytes, status: int, untouched: bool) -> None:
    caller, heard = begin()
    caller.receive(frame)
    assert heard.end_of_it is not None
    assert (heard.end_of_it[0], heard.end_of_it[2]) == (status, untouched)
    assert caller.open_calls == 0


def test_a_goodbye_lets_what_the_server_has_begun_go_on() -> None:
    caller, heard = begin()
    caller.receive(frames.build_goaway(1, 0))
    assert caller.is_leaving
    assert heard.end_of_it is None
    caller.receive(headers(1, (*OPENING, ("grpc-status", "0")), ENDS))
    assert heard.end_of_it == (0, "", False)


def test_frames_on_streams_that_we_have_not_opened() -> None:
    for frame in (headers(3, OPENING, 4), data(2, b""), frames.build_reset(5, 0)):
        caller, _ = begin()
        with pytest.raises(ConnectionFault):
            caller.receive(frame)


KINDS = st.sampled_from(range(11))
FRAMES = st.builds(
    build_frame, KINDS, st.integers(0, 255), st.integers(0, 5), st.binary(max_size=40)
)


@given(st.lists(FRAMES | st.binary(max_size=30), max_size=20))
def test_whatever_a_server_sends_is_heard_or_refused(sent: list[bytes]) -> None:
    caller, heard = begin()
    try:
        for part in sent:
            caller.receive(part)
    except ConnectionFault:
        caller.lose()
        assert heard.end_of_it is not None
    assert sum(map(len, heard.messages)) <= sum(map(len, sent))
