"""At least once, in order a key, with a checkpoint: over real HTTPS, with failures in between."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from admin.events.deliveries import Delivery
from admin.events.forwarding import (
    DeadLetters,
    Forwarder,
    Incoming,
    Outcome,
    Patience,
    ReceiverGone,
)
from admin.events.target import Answer, Target, TargetOptions, Undelivered
from network.client.checkpoint import Checkpoint, Position
from tests.admin.events.receiver import receiving

SECRETS = (b"s" * 32,)
KEYS = ("records/a", "records/b", "claims/c")


def event(number: int, key: str = KEYS[0]) -> Incoming:
    delivery = Delivery(
        f"evt_{number}",
        "records.Anchored",
        key,
        number,
        f"tx{number}",
        f'{{"n":{number}}}'.encode(),
    )
    return Incoming(Position(number, f"tx{number}"), delivery)


async def stream(*events: Incoming) -> AsyncIterator[Incoming]:
    for one in events:
        yield one
        await asyncio.sleep(0)


class Place:
    """A forwarder's files, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.checkpoint = Checkpoint(folder / "checkpoint.json")
        self.letters = DeadLetters(folder / "dead.ndjson")
        self.told: list[Outcome] = []
        self.slept: list[float] = []

    def forwarder(self, send: object, **changed: object) -> Forwarder:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            await asyncio.sleep(0)

        return Forwarder(
            send,  # type: ignore[arg-type]
            SECRETS,
            self.checkpoint,
            self.letters,
            **{"tell": self.told.append, "sleep": sleep, **changed},  # type: ignore[arg-type]
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_over_real_tls_with_failures_each_key_keeps_its_order(
    tmp_path: Path, place: Place
) -> None:
    draw = random.Random(7)
    with receiving(tmp_path, SECRETS) as receiver:
        receiver.decide = lambda i, b: (draw.choice((200, 204, 500, 503, 429)), {})
        async with Target(receiver.url, TargetOptions(receiver.ca_file, True)) as target:
            events = [event(n, KEYS[n % 3]) for n in range(1, 61)]
            patience = Patience(attempts=50)
            await place.forwarder(target.send, patience=patience).run(stream(*events))
        numbers = [json.loads(body)["n"] for _, body in receiver.seen]
        for kin in range(3):
            mine = [n for n in numbers if n % 3 == kin]
            assert mine == sorted(mine)
        assert sorted(numbers) == list(range(1, 61))
        assert len(receiver.attempts) > 60
    assert Checkpoint(place.checkpoint.path).position == Position(60, "tx60")
    assert not place.letters.path.exists()


async def test_the_checkpoint_waits_for_the_slowest(place: Place) -> None:
    """An event is not passed before all earlier ones are with the receiver."""
    slow = asyncio.Event()

    async def send(body: bytes, headers: dict[str, str]) -> Answer:
        if headers["webhook-id"] == "evt_1":
            await slow.wait()
        return Answer(200)

    work = place.forwarder(send).run(stream(event(1, "a"), event(2, "b"), event(3, "c")))
    running = asyncio.create_task(work)
    while len(place.told) < 2:
        await asyncio.sleep(0)
    assert place.checkpoint.position is None
    slow.set()
    await running
    assert place.checkpoint.position == Position(3, "tx3")


@pytest.mark.parametrize("stop_after", range(6))
async def test_a_crash_at_any_moment_loses_nothing(place: Place, stop_after: int) -> None:
    """What a second run sends, together with the first, is everything; ids tell what came twice."""
    got: list[str] = []

    async def send(body: bytes, headers: dict[str, str]) -> Answer:
        await asyncio.sleep(0)
        if len(got) >= stop_after and not crashed.done():
            crashed.set_result(None)
            await asyncio.sleep(3600)
        got.append(headers["webhook-id"])
        return Answer(200)

    events = [event(n, KEYS[n % 2]) for n in range(1, 6)]
    crashed = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(place.forwarder(send).run(stream(*events)))
    await asyncio.wait([running, crashed], return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    if not crashed.done():
        crashed.set_result(None)
    kept = Checkpoint(place.checkpoint.path).position
    rest = [one for one in events if kept is None or one.position.block_number > kept.block_number]
    await place.forwarder(send).run(stream(*rest))
    assert set(got) == {f"evt_{n}" for n in range(1, 6)}


async def test_what_is_given_up_is_a_dead_letter_and_its_key_goes_on(place: Place) -> None:
    async def send(body: bytes, headers: dict[str, str]) -> Answer:
        if headers["webhook-id"] == "evt_2":
            raise Undelivered("it cannot be reached")
        return Answer(500 if headers["webhook-id"] == "evt_3" else 200)

    events = [event(n) for n in range(1, 5)]
    await place.forwarder(send, patience=Patience(attempts=3)).run(stream(*events))
    assert [(o.delivered, o.attempts) for o in place.told] == [
        (True, 1),
        (False, 3),
        (False, 3),
        (True, 1),
    ]
    assert place.checkpoint.position == Position(4, "tx4")
    assert place.letters.path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in place.letters.path.read_text().splitlines()]
    assert [(line["id"], line["reason"]) for line in lines] == [
        ("evt_2", "it cannot be reached"),
        ("evt_3", "the receiver answered 500"),
    ]
    assert [one.body for one in place.letters.read()] == [b'{"n":2}', b'{"n":3}']
    place.letters.replace({"evt_3"})
    assert [one.id for one in place.letters.read()] == ["evt_3"]
    place.letters.replace(set())
    assert not place.letters.path.exists()


async def test_what_must_not_be_sent_is_a_dead_letter_without_its_body(place: Place) -> None:
    sent: list[str] = []

    async def send(body: bytes, headers: dict[str, str]) -> Answer:
        sent.append(headers["webhook-id"])
        return Answer(200)

    withheld = Delivery("evt_1", "x", "x/", 1, "tx1", b"")
    incoming = Incoming(Position(1, "tx1"), withheld, "withheld: payload.name")
    await place.forwarder(send).run(stream(incoming, event(2)))
    assert sent == ["evt_2"]
    assert place.letters.read() == [withheld]


async def test_passed_over_events_move_the_checkpoint(place: Place) -> None:
    async def send(body: bytes, headers: dict[str, str]) -> Answer:
        raise AssertionError("nothing is to be sent")

    await place.forwarder(send).run(stream(Incoming(Position(9, "tx9"), None)))
    assert place.checkpoint.position == Position(9, "tx9")


async def test_a_receiver_that_is_gone_ends_it_and_loses_nothing(place: Place) -> None:
    async def send(body: bytes, headers: dict[str, str]) -> Answer:
        return Answer(410 if headers["webhook-id"] == "evt_2" else 200)

    with pytest.raises(ReceiverGone):
        await place.forwarder(send).run(stream(*(event(n) for n in range(1, 5))))
    assert place.checkpoint.position == Position(1, "tx1")
    assert not place.letters.path.exists()


async def test_a_slow_receiver_holds_the_stream_back(place: Place) -> None:
    go = asyncio.Event()
    taken: list[int] = []

    async def send(body: bytes, headers: dict[str, str]) -> Answer:
        await go.wait()
        return Answer(200)

    async def endless() -> AsyncIterator[Incoming]:
        for number in range(1, 101):
            taken.append(number)
            yield event(number)

    running = asyncio.create_task(place.forwarder(send, window=10).run(endless()))
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(taken) == 11
    go.set()
    await running
    assert len(taken) == 100


async def test_no_more_than_so_many_at_once(place: Place) -> None:
    now, most = 0, 0

    async def send(body: bytes, headers: dict[str, str]) -> Answer:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0.001)
        now -= 1
        return Answer(200)

    events = [event(n, f"key{n}") for n in range(1, 40)]
    await place.forwarder(send, side_by_side=4).run(stream(*events))
    assert most == 4


def test_delays_grow_with_jitter_and_heed_the_receiver() -> None:
    patience = Patience(first=1.0, longest=60.0)
    for failures, full in ((1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (50, 60)):
        assert patience.wait(failures, 0.0, 0.0) == full / 2
        assert patience.wait(failures, 0.0, 0.999) <= full
    assert patience.wait(1, 30.0, 0.5) == 30.0
    assert patience.wait(7, 1.0, 0.0) == 30.0


def test_a_file_of_no_dead_letters_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"id": "evt_1"}\n')
    with pytest.raises(ValueError, match="line 1 is no dead letter"):
        DeadLetters(tmp_path / "x").read()
