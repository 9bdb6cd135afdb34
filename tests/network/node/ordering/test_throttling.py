"""General.Throttling: a rate shared by clients and by organisations, and the streams it holds."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2

from network.node.ordering.broadcast import Broadcast
from network.node.ordering.throttling import SharedRate, Throttle
from network.node.serving.connections import Connections, Credentials
from network.node.serving.metrics import CollectorRegistry
from tests.network.consortium import make_org


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


async def send(rate: SharedRate, client: str, count: int) -> None:
    for _ in range(count):
        await rate.wait(client)


async def test_a_client_alone_has_the_whole_rate() -> None:
    clock = Clock()
    rate = SharedRate(10, 5.0, clock, clock.sleep)
    await send(rate, "a", 10)
    assert clock.now == 100.0
    await send(rate, "a", 25)
    assert clock.now == pytest.approx(103.0)


async def test_clients_share_and_the_silent_are_forgotten() -> None:
    clock = Clock()
    rate = SharedRate(10, 5.0, clock, clock.sleep)
    await rate.wait("a")
    await send(rate, "b", 5)
    assert clock.now == 100.0
    await rate.wait("b")
    assert clock.now == pytest.approx(101.0)
    clock.now += 5.5  # nothing of a since 100
    await send(rate, "b", 10)
    assert clock.now == pytest.approx(106.5)


async def test_a_rate_below_the_number_of_clients_stops_nobody() -> None:
    clock = Clock()
    rate = SharedRate(1, 5.0, clock, clock.sleep)
    for client in "abc":
        await rate.wait(client)
    assert clock.now == 100.0


class Context:
    def __init__(self, certificate: bytes) -> None:
        self._certificate = certificate

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self._certificate]} if self._certificate else {}


async def requests(taken: list[int]) -> AsyncIterator[bytes]:
    for number in range(4):
        taken.append(number)
        yield b"no envelope"


@pytest.mark.parametrize(
    ("rate", "shows", "held"), [(1, True, True), (0, True, False), (1, False, False)]
)
async def test_only_a_client_with_a_certificate_is_held(rate: int, shows: bool, held: bool) -> None:
    certificate = make_org("Org1MSP").enrol_tls("client")[0] if shows else b""
    throttle, clock = Throttle(rate), Clock()
    holding, released = asyncio.Event(), asyncio.Event()

    async def wait(seconds: float) -> None:
        holding.set()
        await released.wait()
        await clock.sleep(seconds)

    throttle._clients = throttle._organizations = SharedRate(rate, 5.0, clock, wait)
    first = throttle.hold(lambda: certificate)
    if first is not None:
        await first()  # the second's only message
    connections: Any = Connections(Credentials(False))
    broadcast = Broadcast(lambda name: None, CollectorRegistry(), connections, throttle)
    answers = broadcast.serve(requests([]), Context(certificate))
    reading = asyncio.ensure_future(anext(answers))
    if held:
        await asyncio.wait_for(holding.wait(), 60)
        assert not reading.done()
        released.set()
    answer = ab_pb2.BroadcastResponse.FromString(await asyncio.wait_for(reading, 60))
    assert holding.is_set() == held
    assert answer.status == common_pb2.BAD_REQUEST
    await answers.aclose()  # type: ignore[attr-defined]
