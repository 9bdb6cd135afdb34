"""Our own calls over HTTP/2, answered by grpcio: what stubs rely on, and what becomes of losses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import pytest

from network.node.serving.channel import Channel
from network.node.serving.grpc_server import ServerTls, make_server
from protos.http2.client import build_client_context
from tests.network.consortium import Org, make_org
from tests.network.node.serving.test_rpc import MEGABYTE, Probe, build_handlers, until

LIMIT = 20 * MEGABYTE


@pytest.fixture(scope="module")
def org() -> Org:
    return make_org("Org1MSP")


@asynccontextmanager
async def answering(port: int = 0, **options: Any) -> AsyncIterator[tuple[Probe, Any, int]]:
    """grpcio's server with the same handlers."""
    probe = Probe()
    server = grpc.aio.server(options=[*options.items(), ("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(build_handlers(probe))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield probe, server, port
    finally:
        await server.stop(0)


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Channel]:
    channel = Channel(f"127.0.0.1:{port}", None, LIMIT)
    try:
        yield channel
    finally:
        await channel.close()


def echo(channel: Channel, request: bytes, **arguments: Any) -> Any:
    return channel.unary_unary("/test.Probe/Echo")(request, **arguments)


async def read_all(stream: Any) -> list[bytes]:
    return [message async for message in stream]


async def fail(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_unary_calls_large_and_small_at_once() -> None:
    async with answering() as (_, _, port), calling(port) as channel:
        sizes = [0, 1, 100, MEGABYTE, 3 * MEGABYTE] * 10
        answers = await asyncio.gather(*(echo(channel, bytes(size)) for size in sizes))
        assert [len(answer) for answer in answers] == sizes


async def test_serializers_and_metadata() -> None:
    async with answering() as (_, _, port), calling(port) as channel:
        method = channel.unary_unary("/test.Probe/Echo", str.encode, bytes.decode)
        assert await method("word") == "word"
        seen = await echo(channel, b"metadata", metadata=(("color", "blue"), ("x-bin", b"\x01")))
        assert b"'color': 'blue'" in seen
        assert b"b'\\x01'" in seen


async def test_a_status_with_its_text() -> None:
    async with answering() as (_, _, port), calling(port) as channel:
        error = await fail(echo(channel, b"refuse"))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert error.details() == "näher: 100 %"
        error = await fail(channel.unary_unary("/test.Probe/Nothing")(b""))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_deadline_and_a_cancellation_reach_the_server() -> None:
    async with answering() as (probe, _, port), calling(port) as channel:
        for seconds in (0.1, 2.0, 20.0):
            error = await fail(echo(channel, b"wait", timeout=seconds))
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if probe.waiting:
                break  # it was there before its time was over
        await asyncio.wait_for(probe.cancelled.wait(), 60)
        probe.cancelled.clear()
        probe.waiting = 0
        call = asyncio.ensure_future(echo(channel, b"wait"))
        await until(lambda: probe.waiting == 1)
        call.cancel()
        await asyncio.wait_for(probe.cancelled.wait(), 60)


async def test_nobody_there_and_there_again() -> None:
    async with answering() as (_, server, port), calling(port) as channel:
        assert await echo(channel, b"one") == b"one"
        await server.stop(0)
        error = await fail(echo(channel, b"two"))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert f"127.0.0.1:{port}" in error.details()
        async with answering(port):
            await asyncio.sleep(0.2)
            assert await echo(channel, b"three") == b"three"


async def test_a_lost_connection_ends_what_is_open() -> None:
    async with answering() as (probe, server, port), calling(port) as channel:
        stream = channel.stream_stream("/test.Probe/Talk")()
        await stream.write(b"a")
        assert await stream.read() == b"aa"
        waiting = asyncio.ensure_future(echo(channel, b"wait"))
        await until(lambda: probe.waiting == 1)
        await server.stop(0)
        assert (await fail(waiting)).code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError):
            await stream.read()
        with pytest.raises(grpc.aio.AioRpcError):
            await stream.write(b"b")


async def test_streams_end_from_either_side() -> None:
    async with answering() as (probe, _, port), calling(port) as channel:
        stream = channel.stream_stream("/test.Probe/Talk")()
        await stream.write(b"a")
        await stream.done_writing()
        assert [message async for message in stream] == [b"aa"]
        assert await stream.read() is grpc.aio.EOF
        stream = channel.unary_stream("/test.Probe/Flood")(b"1000")
        await stream.read()
        stream.cancel()
        await asyncio.wait_for(probe.cancelled.wait(), 60)
        assert (await fail(read_all(stream))).code() is grpc.StatusCode.CANCELLED


async def test_a_reader_that_does_not_read_is_not_sent_to() -> None:
    async with answering() as (probe, _, port), calling(port) as channel:
        stream = channel.unary_stream("/test.Probe/Flood")(b"200")
        await stream.read()
        await asyncio.sleep(1.0)
        assert probe.sent < 80
        assert len([message async for message in stream]) == 199


async def test_a_writer_waits_for_a_server_that_does_not_read() -> None:
    async with answering() as (probe, _, port), calling(port) as channel:
        stream = channel.stream_stream("/test.Probe/Talk")()
        written = 0

        async def write() -> None:
            nonlocal written
            for _ in range(100):
                await stream.write(bytes(MEGABYTE))
                written += 1
            await stream.done_writing()

        writing = asyncio.ensure_future(write())
        await asyncio.sleep(1.0)
        assert written < 60
        assert len([message async for message in stream]) == 100
        await writing
        assert not probe.cancelled.is_set()


async def test_more_calls_than_the_server_lets_wait_their_turn() -> None:
    options = {"grpc.max_concurrent_streams": 3}
    async with answering(**options) as (_, _, port), calling(port) as channel:
        await echo(channel, b"")  # the server's settings have come
        answers = await asyncio.gather(*(echo(channel, b"%d" % n) for n in range(50)))
        assert answers == [b"%d" % n for n in range(50)]


async def test_messages_above_our_limit() -> None:
    async with answering() as (_, _, port):
        channel = Channel(f"127.0.0.1:{port}", None, 1000)
        error = await fail(echo(channel, bytes(1001)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await echo(channel, bytes(1000)) == bytes(1000)
        await channel.close()
        error = await fail(echo(channel, b""))
        assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_who_the_server_is_and_who_we_are(org: Org) -> None:
    certificate, key = org.enrol_tls("server")
    stranger = make_org("Org2MSP")
    server = make_server(ServerTls(key, certificate, True, org.tls_root))
    server.grpc.add_generic_rpc_handlers(build_handlers(Probe()))
    port = await server.start("127.0.0.1:0")

    async def ask(roots: bytes, client: tuple[bytes, bytes] = (b"", b"")) -> Any:
        build = partial(build_client_context, roots, client[1], client[0])
        channel = Channel(f"127.0.0.1:{port}", build, LIMIT)
        try:
            return await echo(channel, b"word", timeout=60)
        finally:
            await channel.close()

    try:
        assert await ask(org.tls_root, org.enrol_tls("client")) == b"word"
        for call in (
            ask(stranger.tls_root, org.enrol_tls("client")),
            ask(org.tls_root, stranger.enrol_tls("client")),
            ask(org.tls_root),
            ask(b"no roots"),
        ):
            assert (await fail(call)).code() is grpc.StatusCode.UNAVAILABLE
    finally:
        await server.stop(0)
