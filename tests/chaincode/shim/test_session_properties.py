"""Whatever a peer sends in whatever order: no error escapes, no transaction is left hanging."""

from __future__ import annotations

import asyncio
from typing import Any

from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chaincode.errors import Conflict, PeerError
from chaincode.shim.handler import ChaincodeMessage, TransactionKey
from chaincode.shim.response import Response
from chaincode.shim.session import Capacity, Session
from chaincode.shim.stub import Stub

BEHAVIOURS = (
    "nothing",
    "read",
    "parallel",
    "impatient",
    "range",
    "broken-off",
    "history",
    "batch",
    "private",
    "call",
    "catch",
    "refuse",
    "fail",
    "event",
)


class Anything:
    """A chaincode that does what its first argument says."""

    async def init(self, stub: Stub) -> Response:
        return await self.invoke(stub)

    async def invoke(self, stub: Stub) -> Response:
        args = stub.get_args()
        behaviour = args[0].decode() if args else "nothing"
        if behaviour in BEHAVIOURS:
            await getattr(self, f"do_{behaviour.replace('-', '_')}")(stub)
        return Response(payload=b"done")

    async def do_nothing(self, stub: Stub) -> None: ...

    async def do_read(self, stub: Stub) -> None:
        await stub.put_state("k", await stub.get_state("k") or b"1")

    async def do_parallel(self, stub: Stub) -> None:
        await asyncio.gather(*(stub.get_state(f"k{number}") for number in range(4)))

    async def do_impatient(self, stub: Stub) -> None:
        first = asyncio.ensure_future(stub.get_state("a"))
        second = asyncio.ensure_future(stub.get_state("b"))
        await asyncio.sleep(0)
        second.cancel()
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        await stub.get_state("c")

    async def do_range(self, stub: Stub) -> None:
        await stub.get_state_by_range("a", "z").collect()

    async def do_broken_off(self, stub: Stub) -> None:
        async for _ in stub.get_state_by_range("a", "z"):
            break

    async def do_history(self, stub: Stub) -> None:
        await stub.get_history_for_key("k").collect()

    async def do_batch(self, stub: Stub) -> None:
        stub.start_write_batch()
        await stub.put_state("a", b"1")
        await stub.del_state("b")

    async def do_private(self, stub: Stub) -> None:
        await stub.get_private_data("c", "k")
        await stub.set_private_data_validation_parameter("c", "k", b"p")

    async def do_call(self, stub: Stub) -> None:
        await stub.invoke_chaincode("other", ["f"])

    async def do_catch(self, stub: Stub) -> None:
        try:
            await stub.get_state("k")
        except PeerError:
            await stub.put_state("k", b"2")

    async def do_refuse(self, stub: Stub) -> None:
        raise Conflict("no")

    async def do_fail(self, stub: Stub) -> None:
        raise KeyError("no")

    async def do_event(self, stub: Stub) -> None:
        stub.set_event("e", b"x")


def build_input(*args: str) -> bytes:
    raw: bytes = chaincode_pb2.ChaincodeInput(
        args=[one.encode() for one in args]
    ).SerializeToString()
    return raw


ENTRY = chaincode_shim_pb2.QueryResponse(
    results=[chaincode_shim_pb2.QueryResultBytes(resultBytes=b"")], has_more=True, id="1"
).SerializeToString()
INPUTS = [build_input(behaviour) for behaviour in BEHAVIOURS]
TRANSACTIONS = st.builds(
    lambda tx, payload, init: ("transaction", tx, payload, init),
    st.sampled_from(["t1", "t2", "t3"]),
    st.sampled_from(INPUTS),
    st.booleans(),
)
ANSWERS = st.builds(
    lambda which, kind, payload: ("answer", which, kind, payload),
    st.integers(0, 3),
    st.sampled_from([ChaincodeMessage.RESPONSE, ChaincodeMessage.ERROR]),
    st.sampled_from([b"", b"value", b"\xff\xff", ENTRY]),
)
STRAYS = st.builds(
    lambda kind, tx, payload: ("stray", kind, tx, payload),
    st.sampled_from([*ChaincodeMessage.Type.values(), 99]),
    st.sampled_from(["", "t1", "t2"]),
    st.sampled_from([b"", b"\xff", INPUTS[1]]),
)
PAUSES = st.builds(lambda turns: ("pause", turns), st.integers(1, 5))


class Peer:
    """The peer's end: remembers which transactions run and which requests it owes an answer."""

    def __init__(self, capacity: Capacity) -> None:
        self.owed: dict[TransactionKey, int] = {}
        self.live: set[TransactionKey] = set()
        self.answered = 0
        self.session = Session("cc:1", Anything(), self._take, capacity=capacity)
        self.session.start()
        self.send(ChaincodeMessage.REGISTERED, "", b"")
        self.send(ChaincodeMessage.READY, "", b"")

    def send(self, kind: int, tx: str, payload: bytes) -> None:
        key = ("c", tx)
        if kind in (ChaincodeMessage.TRANSACTION, ChaincodeMessage.INIT):
            self.live.add(key)
        elif kind in (ChaincodeMessage.RESPONSE, ChaincodeMessage.ERROR):
            self.owed.pop(key, None)
        self.session.receive(ChaincodeMessage(type=kind, txid=tx, channel_id="c", payload=payload))

    def _take(self, message: Any) -> None:
        key = (message.channel_id, message.txid)
        if message.type in (ChaincodeMessage.REGISTER, ChaincodeMessage.KEEPALIVE):
            return
        if message.type in (ChaincodeMessage.COMPLETED, ChaincodeMessage.ERROR):
            self.live.discard(key)
            self.answered += 1
            return
        assert key in self.live, "a request of a transaction that is over"
        assert key not in self.owed, "a second request while one is outstanding"
        self.owed[key] = message.type

    async def perform(self, action: tuple[Any, ...]) -> None:
        match action:
            case ("transaction", tx, payload, init):
                kind = ChaincodeMessage.INIT if init else ChaincodeMessage.TRANSACTION
                self.send(kind, tx, payload)
            case ("answer", which, kind, payload) if self.owed:
                _, tx = sorted(self.owed)[which % len(self.owed)]
                self.send(kind, tx, payload)
            case ("stray", kind, tx, payload):
                self.send(kind, tx, payload)
            case ("pause", turns):
                for _ in range(turns):
                    await asyncio.sleep(0)

    async def finish(self) -> None:
        """Answer everything that is asked until nobody asks."""
        while not await self.session.drain(0.001):
            for _, tx in sorted(self.owed):
                self.send(ChaincodeMessage.RESPONSE, tx, b"")


async def talk(actions: list[tuple[Any, ...]], capacity: Capacity) -> Peer:
    peer = Peer(capacity)
    for action in actions:
        await peer.perform(action)
        if peer.session.violation:
            break
    else:
        await asyncio.wait_for(peer.finish(), 60)
        for _ in range(3):
            await asyncio.sleep(0)
        assert peer.live == set(), "a transaction was left hanging"
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task of it was left hanging"
    await peer.session.close()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return peer


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(TRANSACTIONS, ANSWERS, ANSWERS, PAUSES), max_size=60),
    st.sampled_from([Capacity(512, 16384), Capacity(1, 1), Capacity(2, 0)]),
)
def test_every_transaction_is_answered(actions: list[tuple[Any, ...]], capacity: Capacity) -> None:
    peer = asyncio.run(talk(actions, capacity))
    assert peer.session.violation == ""
    begun = sum(action[0] == "transaction" for action in actions)
    assert peer.answered <= begun
    assert (peer.answered > 0) is (begun > 0)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(TRANSACTIONS, ANSWERS, STRAYS, PAUSES), max_size=40))
@example(
    [
        ("transaction", "t1", build_input("parallel"), False),
        ("pause", 2),
        ("stray", ChaincodeMessage.INIT, "t1", b"\xff"),
    ]
)
@example(
    [
        ("transaction", "t1", build_input("impatient"), False),
        ("stray", ChaincodeMessage.INIT, "t1", b"\xff"),
    ]
)
def test_strays_of_any_type_harm_nothing(actions: list[tuple[Any, ...]]) -> None:
    asyncio.run(talk(actions, Capacity(512, 16384)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(TRANSACTIONS, ANSWERS, PAUSES), max_size=30))
def test_a_stream_that_ends_at_any_moment_leaves_nothing(actions: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        peer = Peer(Capacity(2, 2))
        for action in actions:
            await peer.perform(action)
        await asyncio.wait_for(peer.session.close(), 60)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


async def test_arguments_are_held_up_to_a_bound() -> None:
    peer = Peer(Capacity(running=2, waiting=100, argument_bytes=1000))
    for number in range(10):
        peer.send(ChaincodeMessage.TRANSACTION, f"t{number}", build_input("read", "x" * 200))
    session = peer.session
    assert 0 < session._argument_bytes <= 1000
    assert len(session._tasks) + len(session._waiting) == 4
    peer.send(ChaincodeMessage.TRANSACTION, "t3", build_input("read", "x" * 200))  # begun anew
    assert len(session._tasks) + len(session._waiting) == 4
    await session.close()
    assert session._argument_bytes == 0
