"""What a server holds for its clients is counted to the byte, and given back whatever happens."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from protos.http2 import frames
from protos.http2.budget import ASSURED_BYTES, Budget
from protos.http2.connection import RESOURCE_EXHAUSTED, SENT_AT_ONCE_BYTES, Call, Connection
from protos.http2.frames import build_frame
from tests.protos.http2.test_connection import PATH, prefixed

MAX_MESSAGE = 600_000
CONNECTION = 900_000
TOTAL = 1_500_000
OPENING = frames.build_header_block(
    (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", PATH),
        ("content-type", "application/grpc"),
    )
)


class Keeper:
    """Keeps every message until it is told to free it, or its call is over."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.kept: list[int] = []
        self.is_over = False

    def receive(self, message: bytes) -> None:
        assert not self.is_over
        if self.call.keep(len(message)):
            self.kept.append(len(message))

    def half_close(self) -> None: ...

    def cancel(self) -> None:
        self.is_over = True
        self.free_all()

    def free_all(self) -> None:
        while self.kept:
            self.call.free(self.kept.pop())


class Client:
    """A hostile client's connection: it says what it likes and reads when it likes."""

    def __init__(self, budget: Budget) -> None:
        self.keepers: list[Keeper] = []
        self.server = Connection(self._accept, lambda: None, MAX_MESSAGE, 16, budget)
        window = frames.build_settings(((frames.INITIAL_WINDOW_SIZE, 2**30),))
        wide = frames.build_window_update(0, 2**30)
        self.server.receive(frames.PREFACE + window + wide)
        self.next_stream = 1
        self.is_lost = False

    def _accept(self, call: Call) -> Keeper:
        self.keepers.append(Keeper(call))
        return self.keepers[-1]

    def open(self) -> None:
        opening = build_frame(frames.HEADERS, frames.END_HEADERS, self.next_stream, OPENING)
        self.server.receive(opening)
        self.next_stream += 2

    def send(self, stream: int, raw: bytes) -> None:
        # A client obeys the window of a call, or loses its connection: that is tested elsewhere.
        call = self.server.calls.get(stream)
        if call is not None and call.credit < len(raw):
            return
        self.server.receive(build_frame(frames.DATA, 0, stream, raw))

    def lose(self) -> None:
        self.is_lost = True
        self.server.lose()

    @property
    def live(self) -> list[Keeper]:
        return [one for one in self.keepers if not one.call.finished]

    def count(self) -> int:
        """What is held, counted anew."""
        buffered = sum(len(call._buffer) for call in self.server.calls.values())
        outgoing = sum(
            get_whole_size(chunk) for call in self.server.calls.values() for chunk in call._outgoing
        )
        return buffered + outgoing + sum(sum(one.kept) for one in self.keepers)


def get_whole_size(chunk: bytes | memoryview) -> int:
    """A part of a message keeps the whole of it in memory."""
    return memoryview(chunk.obj).nbytes if isinstance(chunk, memoryview) else len(chunk)


def begin_message(client: Client, which: int, size: int) -> None:
    if client.next_stream > 1:
        head = MAX_MESSAGE.to_bytes(4, "big")
        client.send(1 + 2 * (which % (client.next_stream // 2)), b"\0" + head + bytes(size))


def send_message(client: Client, which: int, size: int) -> None:
    if client.next_stream > 1:
        client.send(1 + 2 * (which % (client.next_stream // 2)), prefixed(bytes(size)))


def answer(client: Client, which: int, size: int) -> None:
    if client.live:
        client.live[which % len(client.live)].call.send(bytes(size))


def finish(client: Client, which: int, size: int) -> None:
    if client.live:
        keeper = client.live[which % len(client.live)]
        keeper.call.finish()
        keeper.free_all()


def free(client: Client, which: int, size: int) -> None:
    if client.keepers:
        client.keepers[which % len(client.keepers)].free_all()


def reset(client: Client, which: int, size: int) -> None:
    if client.next_stream > 1:
        stream = 1 + 2 * (which % (client.next_stream // 2))
        client.server.receive(frames.build_reset(stream, frames.CANCEL))


def read(client: Client, which: int, size: int) -> None:
    client.server.take()
    client.server.go_on()


ACTS: tuple[Callable[[Client, int, int], None], ...] = (
    lambda client, which, size: client.open(),
    begin_message,
    send_message,
    answer,
    finish,
    free,
    reset,
    read,
    lambda client, which, size: client.server.block(),
    lambda client, which, size: client.server.unblock(),
    lambda client, which, size: client.lose(),
)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.one_of(st.sampled_from(ACTS[:5]), st.sampled_from(ACTS)),
            st.integers(0, 31),
            st.integers(0, MAX_MESSAGE),
        ),
        max_size=60,
    )
)
def test_the_count_is_exact_and_nothing_is_left(
    acts: list[tuple[int, Callable[[Client, int, int], None], int, int]],
) -> None:
    budget = Budget(CONNECTION, TOTAL)
    clients = [Client(budget) for _ in range(3)]
    for who, act, which, size in acts:
        client = clients[who]
        if client.is_lost:
            client = clients[who] = Client(budget)
        act(client, which, size)
        counts = [one.count() for one in clients]
        assert [one.server.share.held for one in clients] == counts
        assert budget.held == sum(counts)
        assert max(counts) <= CONNECTION
        assert budget.held <= TOTAL + len(clients) * ASSURED_BYTES
    for client in clients:
        client.lose()
        for keeper in client.keepers:
            keeper.free_all()  # those whose calls were answered while they were at it
    assert budget.held == 0


def test_the_call_that_exceeds_it_is_refused_and_the_connection_goes_on() -> None:
    client = Client(Budget(CONNECTION, TOTAL))
    client.open()
    client.open()
    begin_message(client, 0, 500_000)
    begin_message(client, 1, 500_000)
    assert [keeper.is_over for keeper in client.keepers] == [False, True]
    assert str(RESOURCE_EXHAUSTED).encode() in client.server.take()
    assert client.server.share.held == 500_005
    client.open()
    send_message(client, 2, 1000)
    assert client.keepers[2].kept == [1000]


def test_everybody_has_a_little_when_others_hold_all_there_is() -> None:
    budget = Budget(CONNECTION, TOTAL)
    greedy = [Client(budget), Client(budget)]
    for client in greedy:
        client.open()
        client.open()
        begin_message(client, 0, 500_000)
        begin_message(client, 1, 390_000)
    assert budget.held > TOTAL - ASSURED_BYTES
    modest = Client(budget)
    modest.open()
    send_message(modest, 0, 200_000)
    assert modest.keepers[0].kept == [200_000]
    send_message(modest, 0, 200_000)
    assert modest.keepers[0].is_over


def test_answers_that_are_not_read_wait_up_to_the_bound() -> None:
    client = Client(Budget(CONNECTION * 10, TOTAL * 10))
    client.open()
    client.open()
    client.server.block()
    first, second = client.keepers
    first.call.send(bytes(400_000))
    assert first.call.is_waiting
    while not second.is_over:
        second.call.send(bytes(600_000))
    assert client.server.share.held <= CONNECTION * 10
    taken = len(client.server.take())
    client.server.unblock()
    while piece := client.server.take():
        assert len(piece) < SENT_AT_ONCE_BYTES + 10_000
        taken += len(piece)
        client.server.go_on()
    assert taken > CONNECTION * 9
    assert client.server.share.held == 0


def test_no_call_waits_for_the_end_of_anothers_long_message() -> None:
    client = Client(Budget(2**30, 2**30))
    client.open()
    client.open()
    long, short = client.keepers
    long.call.send(bytes(20 * SENT_AT_ONCE_BYTES))
    short.call.send(bytes(1000))
    for _ in range(2):
        client.server.take()
        client.server.go_on()
    assert (long.call.is_waiting, short.call.is_waiting) == (True, False)
