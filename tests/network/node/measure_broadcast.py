"""What one submit costs the gateway: a Broadcast call for each transaction against open streams.

`python -m tests.network.node.measure_broadcast` prints milliseconds of this process and of the
clock per transaction, and the ratios. The orderer is a stand-in, in a process of its own, that
accepts whatever comes; both ways take turns, so that other work on the machine slows both.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2, ab_pb2_grpc

from network.node.gateway.orderer_streams import OrdererStreams
from network.node.serving.connections import Connections, Credentials

TRANSACTIONS, CALLERS, ROUNDS, SIZE = 1500, 32, 5, 4000

Send = Callable[[], Awaitable[Any]]


class Accepting(ab_pb2_grpc.AtomicBroadcastServicer):  # type: ignore[misc]
    """Takes every envelope."""

    async def Broadcast(
        self, requests: AsyncIterator[common_pb2.Envelope], context: Any
    ) -> AsyncIterator[ab_pb2.BroadcastResponse]:
        async for _ in requests:
            yield ab_pb2.BroadcastResponse(status=common_pb2.SUCCESS)


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def serve() -> None:
    server = grpc.aio.server()
    ab_pb2_grpc.add_AtomicBroadcastServicer_to_server(Accepting(), server)
    say(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await server.wait_for_termination()


async def run(send: Send, count: int) -> tuple[float, float]:
    """Milliseconds per transaction: of this process, of the clock."""
    left = iter(range(count))

    async def call() -> None:
        for _ in left:
            await send()

    used, begun = time.process_time(), time.perf_counter()
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return (
        (time.process_time() - used) / count * 1000,
        (time.perf_counter() - begun) / count * 1000,
    )


async def measure(address: str) -> None:
    connections = Connections(Credentials(enabled=False))
    streams = OrdererStreams(connections)
    envelope = common_pb2.Envelope(payload=bytes(SIZE))

    async def by_call() -> None:
        async def requests() -> AsyncIterator[common_pb2.Envelope]:
            yield envelope

        stub = ab_pb2_grpc.AtomicBroadcastStub(connections.get(address, ()))
        await stub.Broadcast(requests()).read()

    ways: dict[str, Send] = {
        "a call each": by_call,
        "open streams": lambda: streams.send(address, (), envelope),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for send in ways.values():
        await run(send, CALLERS)
    for _ in range(ROUNDS):
        for name, send in ways.items():
            found[name].append(await run(send, TRANSACTIONS))
    medians = {
        name: [statistics.median(column) for column in zip(*rounds, strict=True)]
        for name, rounds in found.items()
    }
    for name, (process, clock) in medians.items():
        say(f"{name}: {process:.2f} ms of the process, {clock:.2f} ms of the clock")
    before, after = medians.values()
    say(f"ratios: {before[0] / after[0]:.1f}, {before[1] / after[1]:.1f}")
    await streams.close()
    await connections.close()


def main() -> None:
    command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as orderer:
        try:
            assert orderer.stdout is not None
            asyncio.run(measure(f"127.0.0.1:{orderer.stdout.readline().strip()}"))
        finally:
            orderer.kill()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        main()
