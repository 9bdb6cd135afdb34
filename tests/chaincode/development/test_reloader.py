"""The development loop, with a real server process and a peer's end of the talk over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2_grpc

from chaincode.development.child import Orders, Target
from chaincode.development.news import Broken, Ended, Failed, News, Printed, Serving, describe
from chaincode.development.reloader import Reloader
from chaincode.shim.handler import ChaincodeMessage
from chaincode.shim.response import Response, open_response
from tests.chaincode.talk import build_signed_proposal
from tests.ports import free_port

CONTRACT = """
import asyncio
from chaincode.contract import Contract, ContractChaincode, query

class Greeting(Contract, name="greeting"):
    @query
    async def Greet(self, ctx, name: str) -> str:
        return "{greeting}"

    @query
    async def Slow(self, ctx) -> str:
        print("slowly")
        await asyncio.sleep(1)
        return "{greeting}"

    @query
    async def Fail(self, ctx, name: str) -> str:
        print("a line of the code's own")
        raise KeyError(name)

chaincode = ContractChaincode([Greeting()])
"""
SECONDS = 90.0  # a limit, never a wait


class Loop:
    """A running reloader and what it told."""

    def __init__(self, folder: Path, peer_address: str = "") -> None:
        self.file = folder / "greetings.py"
        self.told: list[News] = []
        self.port = free_port()
        self.stopping = asyncio.Event()
        self._changed = asyncio.Event()
        environment = {"CHAINCODE_ID": "greeting:1"}
        if not peer_address:
            environment["CHAINCODE_SERVER_ADDRESS"] = f"127.0.0.1:{self.port}"
        orders = Orders("greetings:chaincode", (Target("Org1", environment, peer_address),), 60)
        self.reloader = Reloader(orders, tell=self._tell)

    def save(self, greeting: str) -> None:
        self.file.write_text(CONTRACT.replace("{greeting}", greeting))

    async def expect(self, kind: type[Any], count: int = 1) -> Any:
        """The newest of this kind, when `count` of it were told."""
        async with asyncio.timeout(SECONDS):
            while len(found := [one for one in self.told if isinstance(one, kind)]) < count:
                self._changed.clear()
                await self._changed.wait()
        return found[-1]

    async def call(self, function: str, *args: str) -> Response:
        """The answer to one transaction on a stream of its own."""
        async with connected(self.port) as stream:
            return await invoke(stream, function, *args)

    def _tell(self, news: News) -> None:
        self.told.append(news)
        self._changed.set()


@asynccontextmanager
async def running(
    folder: Path, monkeypatch: pytest.MonkeyPatch, peer_address: str = ""
) -> AsyncIterator[Loop]:
    monkeypatch.chdir(folder)  # a child finds modules where it was started
    loop = Loop(folder, peer_address)
    loop.save("hello")
    task = asyncio.create_task(loop.reloader.run(loop.stopping))
    try:
        yield loop
    finally:
        loop.stopping.set()
        await asyncio.wait_for(task, SECONDS)
        assert await _refused(loop.port)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Any]:
    """A stream that has registered and is ready."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        stream = chaincode_shim_pb2_grpc.ChaincodeStub(channel).Connect()
        assert (await receive(stream)).type == ChaincodeMessage.REGISTER
        await stream.write(ChaincodeMessage(type=ChaincodeMessage.REGISTERED))
        await stream.write(ChaincodeMessage(type=ChaincodeMessage.READY))
        yield stream


class Peer(chaincode_shim_pb2_grpc.ChaincodeSupportServicer):  # type: ignore[misc]
    """A peer in development mode: it takes one registration at a time."""

    def __init__(self) -> None:
        self.refused = 0
        self._registered = asyncio.Event()
        self._stream: Any = None

    async def Register(self, _: Any, context: Any) -> None:
        assert (await context.read()).type == ChaincodeMessage.REGISTER
        if self._stream is not None:
            self.refused += 1
            await context.abort(grpc.StatusCode.UNKNOWN, "duplicate chaincodeID: greeting:1")
        gone = asyncio.Event()
        context.add_done_callback(lambda _: gone.set())
        await context.write(ChaincodeMessage(type=ChaincodeMessage.REGISTERED))
        await context.write(ChaincodeMessage(type=ChaincodeMessage.READY))
        self._stream = context
        self._registered.set()
        try:
            await gone.wait()
        finally:
            self._registered.clear()
            self._stream = None

    async def call(self, function: str, *args: str) -> Response:
        """The answer to one transaction, from whoever is registered."""
        async with asyncio.timeout(SECONDS):
            await self._registered.wait()
            return await invoke(self._stream, function, *args)


async def invoke(stream: Any, function: str, *args: str) -> Response:
    payload = chaincode_pb2.ChaincodeInput(args=[one.encode() for one in (function, *args)])
    await stream.write(
        ChaincodeMessage(
            type=ChaincodeMessage.TRANSACTION,
            payload=payload.SerializeToString(),
            txid="tx1",
            channel_id="care",
            proposal=build_signed_proposal(b"", {}),
        )
    )
    return open_response((await receive(stream)).payload)


class StreamEnded(Exception):
    """The process went, and told so with the stream's trailers."""


async def receive(stream: Any) -> Any:
    message = await stream.read()
    if message is grpc.aio.EOF:
        raise StreamEnded
    return message


async def test_a_saved_file_is_served_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, monkeypatch) as loop:
        assert await loop.expect(Serving) == Serving(1, 0.0)
        assert (await loop.call("Greet", "x")).payload == b"hello"
        # The same size within the same second: a cached module would hide it.
        for version, greeting in enumerate(("jello", "cello"), start=2):
            loop.save(greeting)
            assert (await loop.expect(Serving, version)).version == version
            assert (await loop.call("Greet", "x")).payload == greeting.encode()


async def test_a_broken_file_leaves_the_old_code_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch) as loop:
        await loop.expect(Serving)
        for count, (text, problem) in enumerate(
            (
                ("x = (\n", "greetings.py:1: SyntaxError: '(' was never closed"),
                ("\n\nimport missing\n", "greetings.py:3: ModuleNotFoundError: No module named"),
                (
                    "from chaincode.contract import Contract, transaction\n"
                    "class Bad(Contract):\n    @transaction\n    async def F(self): ...\n",
                    "greetings.py:2: ContractDefinitionError: ",
                ),
                ("x = 1\n", "--chaincode greetings:chaincode: module 'greetings' has no"),
            ),
            start=1,
        ):
            loop.file.write_text(text)
            told = await loop.expect(Broken, count)
            assert told.problem.startswith(problem), told.problem
            assert told.still_serving
            assert describe(told).endswith("; the old code serves on")
            assert "\n" not in describe(told)
            assert (await loop.call("Greet", "x")).payload == b"hello"
        loop.save("mended")
        await loop.expect(Serving, 2)
        assert (await loop.call("Greet", "x")).payload == b"mended"


async def test_it_waits_for_the_first_version_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loop = Loop(tmp_path)
    loop.file.write_text("def f(:\n")
    task = asyncio.create_task(loop.reloader.run(loop.stopping))
    assert not (await loop.expect(Broken)).still_serving
    assert await _refused(loop.port)
    loop.save("at last")
    await loop.expect(Serving)
    assert (await loop.call("Greet", "x")).payload == b"at last"
    loop.stopping.set()
    await asyncio.wait_for(task, SECONDS)


async def test_a_running_transaction_ends_with_the_code_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch) as loop:
        await loop.expect(Serving)
        async with connected(loop.port) as stream:
            slow = asyncio.create_task(invoke(stream, "Slow"))
            await loop.expect(Printed)  # it runs
            loop.save("new")
            assert (await slow).payload == b"hello"
            with contextlib.suppress(grpc.aio.AioRpcError):  # as the old process was when it went
                assert await stream.read() is grpc.aio.EOF
        await loop.expect(Serving, 2)
        assert (await loop.call("Slow")).payload == b"new"


async def test_transactions_are_told_without_their_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch) as loop:
        await loop.expect(Serving)
        await loop.call("Greet", "jane doe")
        ended = await loop.expect(Ended)
        assert (ended.label, ended.tx_id, ended.status) == ("Org1", "tx1", 200)
        await loop.call("Fail", "jane doe")
        failed = await loop.expect(Failed)
        assert failed.error == "KeyError"
        assert "greetings.py:19 Fail" in failed.frames
        assert (await loop.expect(Ended, 2)).status == 500
        assert (await loop.expect(Printed)).text == "a line of the code's own"
        told = "\n".join(describe(news) for news in loop.told)
        assert "jane" not in told
        assert "Greet" not in told


async def test_a_peer_that_dials_again_is_always_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch) as loop:
        await loop.expect(Serving)
        loop.save("again")
        streams, last = 0, b""
        while last != b"again":
            streams += 1
            with contextlib.suppress(grpc.aio.AioRpcError, StreamEnded):  # the old process ended
                async with connected(loop.port) as stream:
                    while (last := (await invoke(stream, "Greet", "x")).payload) != b"again":
                        assert last == b"hello"
        assert streams <= 3


async def test_a_killed_process_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch) as loop:
        await loop.expect(Serving)
        assert loop.reloader._child is not None
        loop.reloader._child._process.kill()
        await loop.expect(Serving, 2)
        assert (await loop.call("Greet", "x")).payload == b"hello"


async def _refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    return False


async def test_a_chaincode_that_dials_hangs_up_before_its_successor_dials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, server = Peer(), grpc.aio.server()
    chaincode_shim_pb2_grpc.add_ChaincodeSupportServicer_to_server(peer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with running(tmp_path, monkeypatch, f"127.0.0.1:{port}") as loop:
            for version, greeting in enumerate(("hello", "jello", "cello"), start=1):
                if version > 1:
                    loop.save(greeting)
                await loop.expect(Serving, version)
                assert (await peer.call("Greet", "x")).payload == greeting.encode()
        assert peer.refused == 0
    finally:
        await server.stop(None)
