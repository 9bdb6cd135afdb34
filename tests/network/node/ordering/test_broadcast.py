"""Broadcast streams: answers in order, many under way, nothing ordered after a refusal."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2

from network.node.ordering import broadcast as broadcast_module
from network.node.ordering.broadcast import Broadcast
from network.node.serving.connections import Connections, Credentials
from network.node.serving.metrics import CollectorRegistry
from network.rules.envelope import OpenedEnvelope
from network.rules.ordering.admission import Refused
from tests.network.consortium import CHANNEL, build_message, make_org

ALICE = make_org("Org1MSP").enrol("alice")


class HeldChain:
    """Takes messages and makes no block until told; refuses b"bad" and breaks on b"bug"."""

    def __init__(self) -> None:
        self.taken: list[asyncio.Future[int]] = []

    def submit(self, envelope: OpenedEnvelope, forwarding: Any = None) -> asyncio.Future[int]:
        if envelope.data == b"bad":
            raise Refused(common_pb2.FORBIDDEN, "permission denied")
        if envelope.data == b"bug":
            raise ZeroDivisionError
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.taken.append(done)
        return done


class Context:
    def peer(self) -> str:
        return "test"

    def invocation_metadata(self) -> tuple[()]:
        return ()


async def send(*datas: bytes) -> AsyncIterator[bytes]:
    for data in datas:
        yield build_message(ALICE, data)


async def send_for_ever(sent: list[bytes]) -> AsyncIterator[bytes]:
    raw = build_message(ALICE)
    while True:
        sent.append(raw)
        yield raw
        await asyncio.sleep(0)


def serve(chain: HeldChain, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    connections = Connections(Credentials(enabled=False))
    service = Broadcast(
        lambda name: chain if name == CHANNEL else None, CollectorRegistry(), connections
    )
    return service.serve(requests, Context())


def open_answer(raw: bytes) -> tuple[str, str]:
    answer: Any = ab_pb2.BroadcastResponse.FromString(raw)
    return common_pb2.Status.Name(answer.status), answer.info


async def test_an_answer_waits_for_the_block_and_keeps_its_place() -> None:
    chain = HeldChain()
    answers = serve(chain, send(b"1", b"2"))
    first = asyncio.ensure_future(anext(answers))
    while len(chain.taken) < 2:
        await asyncio.sleep(0)
    chain.taken[1].set_result(8)
    await asyncio.sleep(0.01)
    assert not first.done()
    chain.taken[0].set_result(7)
    assert open_answer(await first) == ("SUCCESS", "")
    assert [open_answer(raw) async for raw in answers] == [("SUCCESS", "")]


async def test_what_follows_a_refusal_is_not_ordered() -> None:
    chain = HeldChain()
    answers = serve(chain, send(b"bad", b"good"))
    assert [open_answer(raw) async for raw in answers] == [("FORBIDDEN", "permission denied")]
    assert chain.taken == []


async def test_a_late_refusal_ends_the_stream() -> None:
    chain = HeldChain()
    answers = serve(chain, send(b"1", b"2"))
    first = asyncio.ensure_future(anext(answers))
    while len(chain.taken) < 2:
        await asyncio.sleep(0)
    chain.taken[0].set_exception(Refused(common_pb2.SERVICE_UNAVAILABLE, "disk full"))
    assert open_answer(await first) == ("SERVICE_UNAVAILABLE", "disk full")
    assert [raw async for raw in answers] == []


async def test_a_fault_of_ours_ends_the_stream_alone() -> None:
    answers = serve(HeldChain(), send(b"bug"))
    assert [open_answer(raw) async for raw in answers] == [
        ("INTERNAL_SERVER_ERROR", "internal error: see the log")
    ]


async def test_a_stream_has_so_many_under_way_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broadcast_module, "IN_FLIGHT", 5)
    chain, sent = HeldChain(), list[bytes]()
    answers = serve(chain, send_for_ever(sent))
    waiting = asyncio.ensure_future(anext(answers))
    await asyncio.sleep(0.05)
    assert len(chain.taken) <= 5 + 2  # the queue, one being answered, one waiting to be queued
    assert len(sent) <= len(chain.taken) + 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_more_answers_than_the_queue_holds_end_with_the_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broadcast_module, "IN_FLIGHT", 2)

    class QuickChain(HeldChain):
        def submit(self, envelope: OpenedEnvelope, forwarding: Any = None) -> asyncio.Future[int]:
            done = super().submit(envelope)
            done.set_result(1)
            return done

    answers = serve(QuickChain(), send(*[b"x"] * 20))
    async with asyncio.timeout(60):
        assert len([raw async for raw in answers]) == 20
