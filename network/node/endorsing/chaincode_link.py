"""The peer's connection to one chaincode server: dial, register, run transactions.

The protocol is `rules.endorsement.chaincode_talk`; here are the stream, the clock and the
waiting. One writer task feeds the stream, one reader task takes from it; requests for the ledger
are answered in the reader, so a transaction's requests keep their order. A chaincode that asks and
does not read the answers is not read from either. Nothing of a message's content is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
from fabric_protos.peer import chaincode_shim_pb2_grpc
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from network.node.serving.channel import Channel
from network.node.serving.grpc_server import MAX_MESSAGE_SIZE
from network.rules.endorsement.chaincode_requests import (
    Call,
    RequestRefused,
    TransactionContext,
    answer_request,
    open_call,
)
from network.rules.endorsement.chaincode_talk import (
    ChaincodeTalk,
    DuplicateTransaction,
    Features,
    Finished,
    Ready,
    Request,
    Send,
    Step,
    TalkBroken,
    TransactionKey,
    build_answer,
    build_refusal,
)
from network.rules.endorsement.reply import STREAM_TERMINATED
from network.rules.lifecycle.package import Connection
from protos.http2.client import Unreachable, build_client_context

log = logging.getLogger("chaincode")

_SCANNING = (ChaincodeMessage.GET_QUERY_RESULT, ChaincodeMessage.QUERY_STATE_NEXT)
UNREAD_BYTES = 64 * 1024 * 1024
"""Of messages that the chaincode has not read: beyond, none of its own are read."""
EXECUTION_TIMEOUT = "timeout expired while executing transaction"


class LaunchFailed(Exception):
    """The chaincode could not be reached or did not register; the text is for the client."""


class ExecutionFailed(Exception):
    """The transaction did not run to its end; the text is for the client."""


CallChaincode = Callable[[Call], Awaitable[ChaincodeMessage]]
"""Runs the chaincode that a chaincode calls; raises ExecutionFailed or RequestRefused."""


@dataclass(slots=True)
class Execution:
    """One run of a chaincode: the message that starts it and what its requests work on."""

    message: ChaincodeMessage
    context: TransactionContext
    call: CallChaincode


@dataclass(slots=True)
class _Running:
    execution: Execution
    outcome: asyncio.Future[ChaincodeMessage]
    calls: set[asyncio.Task[None]] = field(default_factory=set)
    """Requests that are being answered; what they work on is gone with the transaction."""


class ChaincodeLink:
    """A registered chaincode; runs many transactions at once until the stream ends."""

    def __init__(self, package_id: str, features: Features) -> None:
        self.package_id = package_id
        self._talk = ChaincodeTalk(package_id, features)
        self._running: dict[TransactionKey, _Running] = {}
        self._outbox: asyncio.Queue[tuple[ChaincodeMessage, int]] = asyncio.Queue()
        self._unread = 0  # bytes of what is in the outbox or being written
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._calls: set[asyncio.Task[None]] = set()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._channel: Channel | None = None
        self._task: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()

    @classmethod
    async def open(
        cls,
        package_id: str,
        connection: Connection,
        features: Features,
        startup_timeout: float,
    ) -> ChaincodeLink:
        """A link to the chaincode, which has registered.

        Raises:
            LaunchFailed: it is not there, refuses the connection, or does not register in time.
        """
        link = cls(package_id, features)
        try:
            await link._dial(connection)
            async with asyncio.timeout(startup_timeout):
                await asyncio.shield(link._ready)
        except TimeoutError:
            await link.close()
            raise LaunchFailed(
                f"timeout expired while starting chaincode {package_id} for transaction"
            ) from None
        except BaseException:
            await link.close()
            raise
        return link

    async def serve(self, stream: Any, first: ChaincodeMessage) -> None:
        """Talk on a stream that the chaincode has opened, until it ends; `first` was read from it.

        `closed` is set afterwards, as with a link that was dialled.
        """
        self._take(self._talk.receive(first))
        self._task = asyncio.create_task(self._run(stream), name=f"chaincode {self.package_id}")
        try:
            await asyncio.wait([self._task])
        finally:
            self._task.cancel()

    async def wait_ready(self) -> ChaincodeLink:
        """This link, once the chaincode has registered. Raises LaunchFailed if it does not."""
        await asyncio.shield(self._ready)
        return self

    async def execute(self, execution: Execution, timeout: float) -> ChaincodeMessage:
        """The chaincode's last word on the transaction: COMPLETED or ERROR.

        Raises:
            ExecutionFailed: it took longer than `timeout` seconds, the stream ended, the same
                transaction already runs on this chaincode, or the chaincode does not read.
        """
        message = execution.message
        key = TransactionKey(message.channel_id, message.txid)
        if self.closed.is_set():
            raise ExecutionFailed(f"error sending: {STREAM_TERMINATED}")
        if self._unread >= UNREAD_BYTES:
            raise ExecutionFailed(
                f"error sending: {self._unread} bytes wait for the chaincode, which does not read"
            )
        try:
            steps = self._talk.begin(message)
        except DuplicateTransaction as error:
            raise ExecutionFailed(f"error sending: {error}") from None
        outcome: asyncio.Future[ChaincodeMessage] = asyncio.get_running_loop().create_future()
        self._running[key] = _Running(execution, outcome)
        timer = asyncio.get_running_loop().call_later(timeout, _expire, outcome)
        try:
            self._take(steps)
            return await outcome
        finally:
            timer.cancel()
            self._talk.end(key)
            for call in self._running.pop(key).calls:
                call.cancel()
            execution.context.iterators.clear()

    async def close(self) -> None:
        """The stream is over; running transactions fail with "chaincode stream terminated"."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        elif self._channel is not None:
            await self._channel.close(None)

    async def _dial(self, connection: Connection) -> None:
        self._channel = _open_channel(connection)
        try:
            async with asyncio.timeout(connection.dial_timeout):
                problem = await _connect(self._channel)
        except TimeoutError:
            problem = "context deadline exceeded"
        if problem:
            raise LaunchFailed(
                f"connection to {self.package_id} failed: error cannot create connection for "
                f"{self.package_id}: error creating grpc connection to {connection.address}: "
                f"failed to create new connection: {problem}"
            )
        stream = chaincode_shim_pb2_grpc.ChaincodeStub(self._channel).Connect()
        self._task = asyncio.create_task(self._run(stream), name=f"chaincode {self.package_id}")

    async def _run(self, stream: Any) -> None:
        writer = asyncio.create_task(self._write(stream))
        reason = f"connection to {self.package_id} terminated"
        try:
            while (message := await stream.read()) is not grpc.aio.EOF:
                self._take(self._talk.receive(message))
                await self._may_read.wait()
        except TalkBroken as broken:
            reason = str(broken)
            log.error("chaincode %s: ending its stream: %s", self.package_id, broken)
        except grpc.aio.AioRpcError as error:
            log.warning("chaincode %s: stream ended: %s", self.package_id, error.code().name)
        finally:
            writer.cancel()
            stream.cancel()
            self._end(reason)
            if self._channel is not None:
                await self._channel.close(None)

    async def _write(self, stream: Any) -> None:
        try:
            while True:
                message, size = await self._outbox.get()
                await stream.write(message)
                self._unread -= size
                if self._unread < UNREAD_BYTES:
                    self._may_read.set()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            self._may_read.set()  # the reader sees the end of the stream and tells

    def _end(self, reason: str) -> None:
        self.closed.set()
        for call in self._calls:
            call.cancel()
        if not self._ready.done():
            self._ready.set_exception(LaunchFailed(f"chaincode registration failed: {reason}"))
            self._ready.exception()  # seen: whoever opened the link may have given up already
        for running in self._running.values():
            if not running.outcome.done():
                running.outcome.set_exception(
                    ExecutionFailed(f"error sending: {STREAM_TERMINATED}")
                )

    def _take(self, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case Send(message):
                    size = message.ByteSize()
                    self._outbox.put_nowait((message, size))
                    self._unread += size
                    if self._unread >= UNREAD_BYTES:
                        self._may_read.clear()
                case Ready():
                    if not self._ready.done():
                        self._ready.set_result(None)
                case Finished(key, message):
                    outcome = self._running[key].outcome
                    if not outcome.done():
                        outcome.set_result(message)
                case Request(key, message):
                    self._answer(key, message)

    def _answer(self, key: TransactionKey, message: ChaincodeMessage) -> None:
        running = self._running[key]
        if message.type == ChaincodeMessage.INVOKE_CHAINCODE:
            self._start(running, self._call(running, message))
        elif message.type in _SCANNING:
            self._start(running, self._scan(running, message))
        else:
            self._take(self._talk.answer(self._build_answer(running, message)))

    def _start(self, running: _Running, work: Coroutine[Any, Any, None]) -> None:
        call = asyncio.create_task(work)
        for calls in (self._calls, running.calls):
            calls.add(call)
            call.add_done_callback(calls.discard)

    async def _scan(self, running: _Running, message: ChaincodeMessage) -> None:
        """Answer from a thread: a rich query without an index reads a whole namespace."""
        answer = await asyncio.to_thread(self._build_answer, running, message)
        self._take(self._talk.answer(answer))

    def _build_answer(self, running: _Running, message: ChaincodeMessage) -> ChaincodeMessage:
        try:
            return build_answer(message, answer_request(message, running.execution.context))
        except RequestRefused as refusal:
            return build_refusal(message, str(refusal))
        except Exception:
            if running.outcome.done():  # and with the transaction its view of the ledger is gone
                return build_refusal(message, "the transaction has ended")
            # A fault of ours must cost one request, not the chaincode's connection.
            log.exception("chaincode %s: a ledger request failed", self.package_id)
            return build_refusal(message, "the peer failed to answer; see its log")

    async def _call(self, running: _Running, message: ChaincodeMessage) -> None:
        execution = running.execution
        try:
            call = open_call(message, execution.context.channel_id)
            result = await execution.call(call)
            answer = build_answer(message, result.SerializeToString())
        except (RequestRefused, ExecutionFailed) as refusal:
            answer = build_refusal(message, str(refusal))
        except Exception:
            if running.outcome.done():
                return
            log.exception("chaincode %s: a call of a chaincode failed", self.package_id)
            answer = build_refusal(message, "the peer failed to answer; see its log")
        self._take(self._talk.answer(answer))


def _expire(outcome: asyncio.Future[ChaincodeMessage]) -> None:
    if not outcome.done():
        outcome.set_exception(ExecutionFailed(f"error sending: {EXECUTION_TIMEOUT}"))


async def _connect(channel: Channel) -> str:
    """Why the channel does not connect, "" when it does; another peer may do better at once."""
    try:
        await channel.connect()
    except Unreachable:
        return "connection refused, or TLS does not fit"
    return ""


def _open_channel(connection: Connection) -> Channel:
    if not connection.tls_required:
        return Channel(connection.address, None, MAX_MESSAGE_SIZE)
    build = partial(
        build_client_context,
        connection.root_certificate or None,
        connection.client_key,
        connection.client_certificate,
    )
    return Channel(connection.address, build, MAX_MESSAGE_SIZE)
