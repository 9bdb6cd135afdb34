"""A server with small bounds, in a process of its own so that its memory can be measured.

`python -m tests.network.node.serving.hoard_server` prints its port and serves until it is ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from network.node.serving.grpc_server import Limits, make_server

MEGABYTE = 1024 * 1024
LIMITS = Limits(max_held_connection=24 * MEGABYTE, max_held_total=40 * MEGABYTE)


async def echo(request: bytes, context: Any) -> bytes:
    """Answers what it was asked, or so many megabytes."""
    return bytes(int(request[1:]) * MEGABYTE) if request.startswith(b"*") else request


async def hoard(requests: AsyncIterator[bytes], context: Any) -> bytes:
    """Never reads."""
    await asyncio.Event().wait()
    return b""


async def flood(request: bytes, context: Any) -> AsyncIterator[bytes]:
    """Megabytes without end."""
    while True:
        yield bytes(MEGABYTE)


async def main() -> None:
    server = make_server(None, LIMITS)
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Hoard": grpc.stream_unary_rpc_method_handler(hoard),
        "Flood": grpc.unary_stream_rpc_method_handler(flood),
    }
    server.grpc.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("test.Hoard", handlers)]
    )
    print(await server.start("127.0.0.1:0"), flush=True)  # noqa: T201  for whoever started it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
