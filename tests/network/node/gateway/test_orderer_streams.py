"""Many transactions on one Broadcast stream: order, refusals, silence and a stopped orderer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2, ab_pb2_grpc

from network.node.gateway.orderer_streams import CROWDED, MAX_STREAMS, OrdererStreams, StreamEnded
from network.node.serving.connections import Connections, Credentials

pytestmark = [pytest.mark.network, pytest.mark.asyncio]


class ScriptedOrderer(ab_pb2_grpc.AtomicBroadcastServicer):  # type: ignore[misc]
    """Answers with the payload as info; "bad" is refused, "silent" not answered, "end" hung up."""

    def __init__(self) -> None:
        self.streams = 0
        self.seen: list[str] = []
        self.held = asyncio.Event()
        self.held.set()

    async def Broadcast(
        self, requests: AsyncIterator[common_pb2.Envelope], context: Any
    ) -> AsyncIterator[ab_pb2.BroadcastResponse]:
        self.streams += 1
        async for envelope in requests:
            text = envelope.payload.decode()
            self.seen.append(text)
            await self.held.wait()
            if text == "silent":
                await asyncio.Event().wait()
            if text == "end":
                return
            status = common_pb2.BAD_REQUEST if text.startswith("bad") else common_pb2.SUCCESS
            yield ab_pb2.BroadcastResponse(status=status, info=text)
            if status != common_pb2.SUCCESS:
                return


class Bench:
    """An orderer, and streams to it."""

    def __init__(self) -> None:
        self.orderer = ScriptedOrderer()
        self.server = grpc.aio.server()
        ab_pb2_grpc.add_AtomicBroadcastServicer_to_server(self.orderer, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.connections = Connections(Credentials(enabled=False))
        self.streams = OrdererStreams(self.connections)

    async def send(self, text: str) -> ab_pb2.BroadcastResponse:
        envelope = common_pb2.Envelope(payload=text.encode())
        async with asyncio.timeout(60):
            return await self.streams.send(f"127.0.0.1:{self.port}", (), envelope)


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    found = Bench()
    await found.server.start()
    yield found
    await found.streams.close()
    await found.connections.close()
    await found.server.stop(None)


async def test_transactions_share_one_stream(bench: Bench) -> None:
    for number in range(3):
        assert (await bench.send(str(number))).info == str(number)
    answers = await asyncio.gather(*(bench.send(f"n{number}") for number in range(CROWDED)))
    assert [answer.info for answer in answers] == [f"n{number}" for number in range(CROWDED)]
    assert bench.orderer.streams == 1


async def test_crowded_streams_get_company_up_to_a_bound(bench: Bench) -> None:
    bench.orderer.held.clear()
    count = CROWDED * (MAX_STREAMS + 2)
    tasks = [asyncio.create_task(bench.send(str(number))) for number in range(count)]
    async with asyncio.timeout(60):
        while bench.orderer.streams < MAX_STREAMS:
            await asyncio.sleep(0.01)
    bench.orderer.held.set()
    assert [answer.info for answer in await asyncio.gather(*tasks)] == [
        str(number) for number in range(count)
    ]
    assert bench.orderer.streams == MAX_STREAMS


async def test_those_behind_a_refused_transaction_are_ordered_all_the_same(bench: Bench) -> None:
    texts = ["one", "bad", "two", "three"]
    answers = await asyncio.gather(*map(bench.send, texts))
    assert [answer.info for answer in answers] == texts
    assert [answer.status for answer in answers] == [200, 400, 200, 200]
    assert bench.orderer.seen.count("one") == 1


async def test_an_orderer_that_hangs_up_is_asked_once_more(bench: Bench) -> None:
    with pytest.raises(StreamEnded):
        await bench.send("end")
    assert bench.orderer.seen == ["end", "end"]
    assert (await bench.send("again")).info == "again"


async def test_a_silent_stream_is_given_up_for_a_new_one(bench: Bench) -> None:
    task = asyncio.create_task(bench.send("silent"))
    async with asyncio.timeout(60):
        while not bench.orderer.seen:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await bench.send("next")).info == "next"
    assert bench.orderer.streams == 2


async def test_an_orderer_that_is_gone_and_comes_back(bench: Bench) -> None:
    await bench.send("before")
    await bench.server.stop(None)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.send("gone")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    bench.server = grpc.aio.server()
    ab_pb2_grpc.add_AtomicBroadcastServicer_to_server(bench.orderer, bench.server)
    bench.server.add_insecure_port(f"127.0.0.1:{bench.port}")
    await bench.server.start()
    async with asyncio.timeout(60):
        while True:
            try:
                assert (await bench.send("after")).info == "after"
                return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)
