"""Clients that make a server hold what it can: its memory stays bounded, others are served."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from protos.http2 import frames
from protos.http2.calling import Caller, OutgoingCall
from protos.http2.connection import RESOURCE_EXHAUSTED
from tests.network.node.serving.hoard_server import LIMITS, MEGABYTE

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc"
)
PATIENCE = 60.0
BOUND = LIMITS.max_held_total + 40 * MEGABYTE
"""What is held, and what it takes to hold it: sockets' buffers, a message as it is put together."""


@dataclass(frozen=True)
class Hoarded:
    """The server's process."""

    pid: int
    port: int

    def peak(self) -> int:
        """The most memory that it ever had, in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")


@pytest.fixture
async def served() -> AsyncIterator[Hoarded]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.network.node.serving.hoard_server"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            port = int(await process.stdout.readline())
        yield Hoarded(process.pid, port)
    finally:
        process.kill()
        await process.wait()


class Ending:
    """Hears how a call ended."""

    def __init__(self, ended: asyncio.Queue[int]) -> None:
        self.status: int | None = None
        self._ended = ended

    def receive(self, message: bytes) -> None: ...

    def end(self, status: int, text: str, is_untouched: bool) -> None:
        self.status = status
        self._ended.put_nowait(status)


class Hostile:
    """A client that sends parts of messages, and may stop reading its socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._written = asyncio.Event()
        self.caller = Caller(self._written.set, 100 * MEGABYTE)
        self.ended: asyncio.Queue[int] = asyncio.Queue()
        """The statuses of its calls that are over."""
        self._feeding = [asyncio.create_task(self._write())]

    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int, *, reads: bool = True) -> AsyncIterator[Hostile]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = cls(reader, writer)
        if reads:
            client._feeding.append(asyncio.create_task(client._read()))
        try:
            yield client
        finally:
            for task in client._feeding:
                task.cancel()
            writer.transport.abort()

    async def _read(self) -> None:
        while data := await self._reader.read(65536):
            self.caller.receive(data)

    async def _write(self) -> None:
        while True:
            await self._written.wait()
            self._written.clear()
            self._writer.write(self.caller.take())
            await self._writer.drain()
            self.caller.go_on()

    def call(self, method: str) -> OutgoingCall:
        headers = (
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "here"),
            ("content-type", "application/grpc"),
        )
        return self.caller.call(f"/test.Hoard/{method}", headers, Ending(self.ended))

    def send_raw(self, call: OutgoingCall, raw: bytes) -> None:
        """Bytes that need not be a message."""
        call._outgoing.append(raw)
        call.push()


async def echoes(port: int, request: bytes = b"still there") -> bytes:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer: bytes = await channel.unary_unary("/test.Hoard/Echo")(request, timeout=PATIENCE)
        return answer


async def is_echoed(channel: grpc.aio.Channel, request: bytes) -> bool:
    """Whether it is; False where the server holds too much."""
    call = channel.unary_unary("/test.Hoard/Echo")(request)
    if await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return False
    return bool(await call == request)


async def test_messages_that_never_end(served: Hoarded) -> None:
    assert await echoes(served.port) == b"still there"
    before = served.peak()
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Hostile.connected(served.port)) for _ in range(3)
        ]
        head = b"\0" + (90 * MEGABYTE).to_bytes(4, "big")
        for _ in range(30):
            for client in clients:
                client.send_raw(client.call("Echo"), head + bytes(3 * MEGABYTE))
        async with asyncio.timeout(PATIENCE):
            # Of 90 MB a connection's share lets eight calls wait whole, at most.
            for client in clients:
                for _ in range(22):
                    assert await client.ended.get() == RESOURCE_EXHAUSTED
        assert await echoes(served.port) == b"still there"
        assert served.peak() - before < BOUND
    # What they held is given back: the same again fits.
    large = bytes(11 * MEGABYTE)  # it is held twice while it is answered
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{served.port}", [("grpc.max_receive_message_length", 50 * MEGABYTE)]
    ) as channel:
        async with asyncio.timeout(PATIENCE):
            while not await is_echoed(channel, large):  # the server has not seen all of them go
                await asyncio.sleep(0.05)


async def test_messages_that_nobody_takes(served: Hoarded) -> None:
    assert await echoes(served.port) == b"still there"
    before = served.peak()
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(3):
            client = await stack.enter_async_context(Hostile.connected(served.port))
            for _ in range(20):
                call = client.call("Hoard")
                for _ in range(8):
                    call.send(bytes(MEGABYTE))
            clients.append(client)
        async with asyncio.timeout(PATIENCE):
            for client in clients:
                assert await client.ended.get() == RESOURCE_EXHAUSTED
        assert await echoes(served.port) == b"still there"
        assert served.peak() - before < BOUND


@pytest.mark.parametrize("method", ["Echo", "Flood"])
async def test_answers_that_nobody_reads(served: Hoarded, method: str) -> None:
    """With windows as wide as HTTP/2 has them, so that only the socket holds the server back."""
    assert await echoes(served.port) == b"still there"
    before = served.peak()
    async with AsyncExitStack() as stack:
        for _ in range(3):
            client = await stack.enter_async_context(Hostile.connected(served.port, reads=False))
            client._writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, 65536
            )
            client.caller.emit(
                frames.build_settings(((frames.INITIAL_WINDOW_SIZE, frames.MAX_WINDOW),))
                + frames.build_window_update(0, frames.MAX_WINDOW - 8 * MEGABYTE)
            )
            client.caller.window = 2**30  # it does not read what the server lets it send
            for _ in range(60):
                call = client.call(method)
                call.send(b"*2")
                call.close()
        # Its calls are taken in before a later client's: the server has one loop.
        for _ in range(20):
            assert await echoes(served.port) == b"still there"
        assert served.peak() - before < BOUND
