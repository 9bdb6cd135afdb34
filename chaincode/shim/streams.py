"""Carries one stream's messages between gRPC and a session, with one writer.

gRPC allows one send at a time on a call, so everything that is to be sent goes through one queue
and one task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from chaincode.shim.handler import Message
from chaincode.shim.session import MAX_MESSAGE_BYTES, Capacity, Observer, Session

FLUSH_SECONDS = 2.0
"""How long the last messages may take to leave when a stream ends."""

MESSAGE_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)


class Streams:
    """The open streams of one chaincode."""

    def __init__(
        self, chaincode_id: str, chaincode: Any, capacity: Capacity, observer: Observer
    ) -> None:
        self._chaincode_id = chaincode_id
        self._chaincode = chaincode
        self._capacity = capacity
        self._observer = observer
        self._sessions: set[Session] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, send: Callable[[Message], None]) -> Session:
        """A further stream, which ends with `close`; `send` takes its messages and never waits."""
        session = Session(
            self._chaincode_id,
            self._chaincode,
            send,
            capacity=self._capacity,
            observer=self._observer,
        )
        self._sessions.add(session)
        return session

    async def close(self, session: Session) -> None:
        """Nothing of the stream is left running."""
        try:
            await session.close()
        finally:
            self._sessions.discard(session)

    async def carry(
        self, read: Callable[[], Awaitable[Any]], write: Callable[[Message], Awaitable[None]]
    ) -> str:
        """Talk until the peer ends the stream; "" or what the peer did wrong.

        Raises what `read` or `write` raise. When this returns nothing of the stream is left
        running.
        """
        outgoing: asyncio.Queue[Message | None] = asyncio.Queue()
        session = self.open(outgoing.put_nowait)
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(_write_all(outgoing, write))
                try:
                    session.start()
                    await _read_all(session, read)
                finally:
                    await session.close()
                    outgoing.put_nowait(None)
                await asyncio.wait((writer,), timeout=FLUSH_SECONDS)
                writer.cancel()
        except* (grpc.aio.AbortError, grpc.aio.UsageError, grpc.RpcError) as errors:
            raise errors.exceptions[0] from None
        finally:
            self._sessions.discard(session)
        return session.violation

    async def drain(self, grace: float) -> bool:
        """Wait until no stream has a running transaction; False if `grace` seconds were short."""
        verdicts = await asyncio.gather(*(session.drain(grace) for session in self._sessions))
        return all(verdicts)


async def _read_all(session: Session, read: Callable[[], Awaitable[Any]]) -> None:
    while not session.violation:
        message = await read()
        if message is grpc.aio.EOF:
            return
        session.receive(message)


async def _write_all(
    outgoing: asyncio.Queue[Message | None], write: Callable[[Message], Awaitable[None]]
) -> None:
    while (message := await outgoing.get()) is not None:
        await write(message)
