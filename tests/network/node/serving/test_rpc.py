"""Handlers on our own HTTP/2, called by grpcio: statuses, deadlines, metadata, flow control."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from network.node.serving.grpc_server import Limits, Server, make_server
from network.node.serving.limits import ConcurrencyLimits
from network.node.serving.rpc import QUEUED, read_timeout
from protos.http2.connection import Call

MEGABYTE = 1024 * 1024


class Probe:
    """What the handlers have seen."""

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0
        self.waiting = 0
        self.cancelled = asyncio.Event()
        self.release = asyncio.Event()

    async def Echo(self, request: bytes, context: Any) -> bytes:
        if request == b"refuse":
            context.set_trailing_metadata((("why-bin", b"\x00\xff"), ("plain", "text")))
            await context.abort(grpc.StatusCode.NOT_FOUND, "näher: 100 %")
        if request == b"fail":
            raise RuntimeError("secret")
        if request == b"wait":
            self.waiting += 1
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if request == b"metadata":
            return repr(dict(context.invocation_metadata())).encode()
        return request

    async def Count(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        del context
        await self.release.wait()
        async for _ in requests:
            self.received += 1
        return str(self.received).encode()

    async def Flood(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        del context
        try:
            for _ in range(int(request)):
                self.sent += 1
                yield bytes(MEGABYTE)
        finally:
            self.cancelled.set()

    async def Talk(self, requests: AsyncIterator[bytes], context: Any) -> None:
        del requests
        while (message := await context.read()) is not grpc.aio.EOF:
            await context.write(message * 2)


async def until(happened: Callable[[], bool]) -> None:
    """Return when it has happened."""
    async with asyncio.timeout(60):
        while not happened():
            await asyncio.sleep(0.01)


def build_handlers(probe: Probe) -> list[Any]:
    return [
        grpc.method_handlers_generic_handler(
            "test.Probe",
            {
                "Echo": grpc.unary_unary_rpc_method_handler(probe.Echo),
                "Count": grpc.stream_unary_rpc_method_handler(probe.Count),
                "Flood": grpc.unary_stream_rpc_method_handler(probe.Flood),
                "Talk": grpc.stream_stream_rpc_method_handler(probe.Talk),
                "Number": grpc.unary_unary_rpc_method_handler(
                    probe.Echo, request_deserializer=lambda raw: raw.decode("ascii")
                ),
            },
        )
    ]


@asynccontextmanager
async def serving(**arguments: Any) -> AsyncIterator[tuple[Probe, Server, Any]]:
    probe, server = Probe(), make_server(None, **arguments)
    server.grpc.add_generic_rpc_handlers(build_handlers(probe))
    port = await server.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield probe, server, channel
    finally:
        await server.stop(0)


def echo(channel: Any, request: bytes, **arguments: Any) -> Any:
    return channel.unary_unary("/test.Probe/Echo")(request, **arguments)


async def fail(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_status_comes_with_its_text_and_metadata() -> None:
    async with serving() as (_, _, channel):
        error = await fail(echo(channel, b"refuse"))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert error.details() == "näher: 100 %"
        assert dict(error.trailing_metadata()) == {"why-bin": b"\x00\xff", "plain": "text"}


async def test_a_fault_tells_the_client_nothing_of_it() -> None:
    async with serving() as (_, _, channel):
        error = await fail(echo(channel, b"fail"))
        assert error.code() is grpc.StatusCode.UNKNOWN
        assert "secret" not in error.details()
        assert await echo(channel, b"still there") == b"still there"


async def test_an_unknown_method_and_an_unreadable_message() -> None:
    async with serving() as (_, _, channel):
        error = await fail(channel.unary_unary("/test.Probe/Nothing")(b""))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        error = await fail(channel.unary_unary("/test.Probe/Number")(b"\xff"))
        assert error.code() is grpc.StatusCode.INTERNAL
        error = await fail(channel.stream_unary("/test.Probe/Echo")(iter(())))
        assert error.code() is grpc.StatusCode.INTERNAL


async def test_metadata_reaches_the_handler_decoded() -> None:
    async with serving() as (_, _, channel):
        sent = (("color", "blue"), ("raw-bin", b"\x01\x02\x03\x04"))
        seen = await echo(channel, b"metadata", metadata=sent)
        assert b"'color': 'blue'" in seen
        assert b"'raw-bin': b'\\x01\\x02\\x03\\x04'" in seen


async def test_deadline_and_cancellation_end_the_handler() -> None:
    async with serving() as (probe, _, channel):
        for seconds in (0.1, 2.0, 20.0):
            error = await fail(echo(channel, b"wait", timeout=seconds))
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if probe.waiting:
                break  # it was there before its time was over
        await asyncio.wait_for(probe.cancelled.wait(), 60)
        probe.cancelled.clear()
        probe.waiting = 0
        call = echo(channel, b"wait")
        await until(lambda: probe.waiting == 1)
        call.cancel()
        await asyncio.wait_for(probe.cancelled.wait(), 60)


async def test_a_client_that_does_not_read_is_not_sent_to() -> None:
    async with serving() as (probe, _, channel):
        call = channel.unary_stream("/test.Probe/Flood")(b"200")
        await call.read()
        await asyncio.sleep(0.5)
        assert probe.sent < 50
        call.cancel()
        await asyncio.wait_for(probe.cancelled.wait(), 60)


async def test_a_handler_that_does_not_read_is_not_fed() -> None:
    async with serving() as (probe, server, channel):
        sent = 0

        async def messages() -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(60):
                sent += 1
                yield bytes(MEGABYTE)

        call = channel.stream_unary("/test.Probe/Count")(messages())
        await asyncio.sleep(1.0)
        assert sent < QUEUED + 30
        probe.release.set()
        assert await asyncio.wait_for(call, 60) == b"60"
        assert server.port


async def test_a_stream_through_the_context() -> None:
    async with serving() as (_, _, channel):
        call = channel.stream_stream("/test.Probe/Talk")()
        for word in (b"a", b"bc"):
            await call.write(word)
            assert await call.read() == word * 2
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_limits_of_calls_and_of_sizes() -> None:
    limits = ConcurrencyLimits({"test.Probe": 2})
    async with serving(concurrency=limits, limits=Limits(max_send_size=100)) as (
        probe,
        _,
        channel,
    ):
        busy = [asyncio.ensure_future(echo(channel, b"wait")) for _ in range(2)]
        await until(lambda: probe.waiting == 2)
        error = await fail(echo(channel, b"third"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        probe.release.set()
        assert await asyncio.gather(*busy) == [b"wait"] * 2
        error = await fail(echo(channel, bytes(101)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max (101 vs. 100)" in error.details()
        assert await echo(channel, b"again") == b"again"


async def test_a_stopping_server_lets_calls_end() -> None:
    async with serving() as (probe, server, channel):
        call = asyncio.ensure_future(echo(channel, b"wait"))
        await until(lambda: probe.waiting == 1)
        stopping = asyncio.ensure_future(server.stop(60))
        await asyncio.sleep(0.1)
        assert not stopping.done()
        probe.release.set()
        assert await call == b"wait"
        await asyncio.wait_for(stopping, 60)


async def test_what_a_call_held_is_gone_without_the_collector() -> None:
    async with serving() as (_, _, channel):
        await echo(channel, b"the first imports and remembers much")
        gc.collect()
        gc.disable()
        try:
            for request in (b"answered", b"refuse", b"metadata"):
                await asyncio.gather(echo(channel, request), return_exceptions=True)
            held = [one for one in gc.get_objects() if isinstance(one, Call)]
        finally:
            gc.enable()
        assert held == []


async def test_one_that_pings_without_end_is_thrown_out() -> None:
    options = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_time_between_pings_ms", 1000),
    ]
    async with (
        serving(limits=Limits(min_ping_interval=60)) as (_, server, _),
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel,
    ):
        error = await fail(asyncio.wait_for(echo(channel, b"wait"), 60))
        assert "too_many_pings" in error.details() or "ENHANCE" in error.details()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30S", 30),
        ("1500m", 1.5),
        ("2M", 120),
        ("1H", 3600),
        ("5n", 5e-9),
        ("", 86400),
        ("xS", 86400),
    ],
)
def test_grpc_timeouts(text: str, seconds: float) -> None:
    assert read_timeout(text) == pytest.approx(seconds)
