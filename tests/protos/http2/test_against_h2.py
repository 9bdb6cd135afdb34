"""Both of our halves against `h2`, an implementation that shares none of our rules.

h2 raises on whatever breaks HTTP/2, and each side has to get what the other has sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.http2 import frames
from protos.http2.calling import Caller, OutgoingCall
from protos.http2.connection import RESOURCE_EXHAUSTED, Call, Connection
from tests.protos.http2.test_connection import prefixed, request

REQUEST = [(":authority", "here"), *request()]
MAX_MESSAGE = 200_000
SIZES = st.sampled_from([0, 1, 5, 1000, 16_379, 16_384, 65_530, 65_535, 150_000])
WINDOWS = st.sampled_from([0, 1, 100, 65_535, 1_000_000])
FRAMES = st.sampled_from([16_384, 40_000, 1_048_576])
CALLS = st.integers(0, 4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("message"), CALLS, SIZES),
        st.tuples(st.just("half_close"), CALLS, st.none()),
        st.tuples(st.just("reset"), CALLS, st.none()),
        st.tuples(st.just("end_early"), CALLS, st.none()),
        st.tuples(st.just("window"), st.none(), WINDOWS),
        st.tuples(st.just("frame"), st.none(), FRAMES),
        st.tuples(st.just("ping"), st.none(), st.none()),
        st.tuples(st.just("exchange"), st.none(), st.none()),
    ),
    max_size=25,
)


class Oracle:
    """h2's end of a connection, which sends as its windows let it."""

    def __init__(self, is_client: bool) -> None:
        config = h2.config.H2Configuration(client_side=is_client)
        self.http = h2.connection.H2Connection(config)
        self.http.initiate_connection()
        self.queues: dict[int, bytearray] = {}
        self.closing: dict[int, Callable[[], None]] = {}
        self.received: defaultdict[int, bytearray] = defaultdict(bytearray)
        self.unacknowledged: defaultdict[int, int] = defaultdict(int)
        self.ended: dict[int, dict[str, str]] = {}
        self.reset: set[int] = set()

    def send(self, stream: int, data: bytes) -> None:
        self.queues.setdefault(stream, bytearray()).extend(data)

    def pump(self) -> None:
        """What the windows let go has gone."""
        for stream, queue in list(self.queues.items()):
            while queue:
                window = self.http.local_flow_control_window(stream)
                size = min(window, self.http.max_outbound_frame_size, len(queue))
                if size <= 0:
                    break
                self.http.send_data(stream, bytes(queue[:size]))
                del queue[:size]
            if not queue and stream in self.closing:
                self.closing.pop(stream)()

    def drop(self, stream: int) -> None:
        self.queues.pop(stream, None)
        self.closing.pop(stream, None)

    def take_in(self, data: bytes) -> list[Any]:
        events: list[Any] = []
        while data:  # h2 heeds a setting from the next piece on that it is given
            size = int.from_bytes(data[:3], "big") + 9
            if data.startswith(frames.PREFACE):
                size = len(frames.PREFACE)
            events += self.http.receive_data(data[:size])
            data = data[size:]
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.received[event.stream_id] += event.data
                self.unacknowledged[event.stream_id] += event.flow_controlled_length
            elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                fields = {name.decode(): value.decode() for name, value in event.headers}
                self.ended.setdefault(event.stream_id, {}).update(fields)
            elif isinstance(event, h2.events.StreamReset):
                self.reset.add(event.stream_id)
                self.drop(event.stream_id)
            assert not isinstance(event, h2.events.ConnectionTerminated)
        return events

    def acknowledge(self) -> None:
        """Our side may send as much again."""
        for stream, size in self.unacknowledged.items():
            if size:
                self.http.acknowledge_received_data(size, stream)
        self.unacknowledged.clear()

    def set(self, name: str, value: int) -> None:
        codes = h2.settings.SettingCodes
        code = codes.INITIAL_WINDOW_SIZE if name == "window" else codes.MAX_FRAME_SIZE
        self.http.update_settings({code: value})


def exchange(oracle: Oracle, ours: Connection, heard: Callable[[Any], None]) -> None:
    """All that either side has to say has been said."""
    while True:
        oracle.pump()
        said = oracle.http.data_to_send()
        if said:
            ours.receive(said)
        answered = ours.take()
        ours.go_on()
        for event in oracle.take_in(answered) if answered else ():
            heard(event)
        if not said and not answered:
            return


class Echo:
    """Sends back what comes."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.cancelled = False

    def receive(self, message: bytes) -> None:
        self.call.send(message)

    def half_close(self) -> None:
        self.call.finish()

    def cancel(self) -> None:
        self.cancelled = True


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_our_server(steps: list[tuple[str, Any, Any]]) -> None:
    echoes: dict[int, Echo] = {}

    def accept(call: Call) -> Echo:
        return echoes.setdefault(call.stream, Echo(call))

    server, client = Connection(accept, lambda: None, MAX_MESSAGE), Oracle(is_client=True)
    sent: defaultdict[int, bytearray] = defaultdict(bytearray)
    untold, early = set[int](), set[int]()
    half_closed = set[int]()
    opened = set[int]()

    def open_call(number: int) -> int | None:
        stream = 2 * number + 1
        if stream in opened:
            return None if stream in untold | half_closed | client.reset | early else stream
        while len(opened) <= number:  # streams are opened in their order
            opened.add(following := 2 * len(opened) + 1)
            client.http.send_headers(following, [*REQUEST])
        return stream

    for name, number, value in steps:
        stream = open_call(number) if number is not None else None
        if name == "message" and stream:
            sent[stream] += prefixed(bytes(value))
            client.send(stream, prefixed(bytes(value)))
        elif name == "half_close" and stream:
            half_closed.add(stream)
            client.send(stream, b"")
            client.closing[stream] = partial(client.http.end_stream, stream)
        elif name == "reset" and stream:
            client.drop(stream)
            client.http.reset_stream(stream)
            untold.add(stream)
        elif name == "end_early" and stream in echoes:
            assert stream is not None
            early.add(stream)
            echoes[stream].call.finish(RESOURCE_EXHAUSTED, "enough")
        elif name in ("window", "frame"):
            client.set(name, value)
            # h2 takes one acknowledgement for all that it has set since, whatever it was.
            exchange(client, server, lambda event: None)
        elif name == "ping":
            client.http.ping(b"8 octets")
        elif name == "exchange":
            exchange(client, server, lambda event: None)
    client.set("window", 65_535)
    for stream in opened - half_closed - untold - early:
        client.send(stream, b"")
        client.closing[stream] = partial(client.http.end_stream, stream)
    exchange(client, server, lambda event: None)
    while any(client.unacknowledged.values()):
        client.acknowledge()
        exchange(client, server, lambda event: None)
    assert server.is_idle
    for stream in opened - untold:
        if stream in early:
            assert client.ended[stream]["grpc-status"] == str(RESOURCE_EXHAUSTED)
        else:
            assert client.received[stream] == sent[stream]
            assert client.ended[stream]["grpc-status"] == "0"
    assert all(echoes[stream].cancelled for stream in untold if stream in echoes) or early


class Heard:
    """Notes what a call of ours hears."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.status: int | None = None

    def receive(self, message: bytes) -> None:
        self.received += prefixed(message)

    def end(self, status: int, text: str, is_untouched: bool) -> None:
        self.status = status


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_our_client(steps: list[tuple[str, Any, Any]]) -> None:
    caller, server = Caller(lambda: None, MAX_MESSAGE), Oracle(is_client=False)
    calls: list[tuple[OutgoingCall, Heard]] = []
    sent: defaultdict[int, bytearray] = defaultdict(bytearray)
    widest = 65_535
    cancelled, early, closed = set[int](), set[int](), set[int]()

    def end(stream: int, status: str) -> None:
        server.drop(stream)
        server.http.send_headers(stream, [("grpc-status", status)], end_stream=True)

    def hear(event: Any) -> None:
        """Echo what comes, and end when the client has."""
        if getattr(event, "stream_id", None) in server.reset:
            return
        if isinstance(event, h2.events.RequestReceived):
            assert dict(event.headers)[b":path"] == b"/a.B/C"
            opening = [(":status", "200"), ("content-type", "application/grpc")]
            server.http.send_headers(event.stream_id, opening)
            server.send(event.stream_id, b"")
        elif isinstance(event, h2.events.DataReceived) and event.stream_id in server.queues:
            server.send(event.stream_id, event.data)
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in server.queues:
            stream = event.stream_id
            server.closing[stream] = partial(end, stream, "0")

    for name, number, value in steps:
        while number is not None and len(calls) <= number:
            heard = Heard()
            begun = [field for field in REQUEST if field[0] != ":path"]
            calls.append((caller.call("/a.B/C", tuple(begun), heard), heard))
        call = calls[number][0] if number is not None else None
        if name == "message" and call and call.stream not in closed | early | cancelled:
            sent[call.stream] += prefixed(bytes(value))
            call.send(bytes(value))
        elif name == "half_close" and call:
            closed.add(call.stream)
            call.close()
        elif name == "reset" and call and not call.finished:
            call.cancel()
            cancelled.add(call.stream)
        elif name == "end_early" and call and call.stream in server.queues.keys() - cancelled:
            end(call.stream, "8")
            early.add(call.stream)
        elif name == "window":
            # h2 takes an empty DATA for too much where a window has shrunk below nothing.
            widest = max(widest, value)
            server.set(name, widest)
            exchange(server, caller, hear)
        elif name == "frame":
            server.set(name, value)
            exchange(server, caller, hear)
        elif name == "ping":
            caller.ping()
        elif name == "exchange":
            exchange(server, caller, hear)
    exchange(server, caller, hear)
    for call, _ in calls:
        call.close()
    exchange(server, caller, hear)
    while any(server.unacknowledged.values()):
        server.acknowledge()
        exchange(server, caller, hear)
    assert not caller.open_calls
    for call, heard in calls:
        if call.stream in cancelled:
            assert heard.status in (None, 0, RESOURCE_EXHAUSTED)
        elif call.stream in early:
            assert heard.status == RESOURCE_EXHAUSTED
        else:
            assert heard.status == 0
            assert heard.received == sent[call.stream]
