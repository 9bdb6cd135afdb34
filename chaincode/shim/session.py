"""One stream's life in asyncio: the handler's events become tasks, its messages go to `send`.

Each transaction is a task; what it asks of the peer is a future. A bounded number run at once,
further ones wait in order, and beyond that they are refused with status 503, so that memory stays
bounded whatever a peer sends. The stream's end cancels all of them and frees what they hold.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from chaincode.errors import Busy, ContractError, MessageTooLarge, PeerError, StreamClosed
from chaincode.shim.handler import (
    Abandoned,
    Answered,
    BecameReady,
    Event,
    Handler,
    Invocation,
    Invoked,
    Limits,
    Message,
    Output,
    Superseded,
    TransactionKey,
    Violated,
    describe_type,
)
from chaincode.shim.interface import Chaincode
from chaincode.shim.logs import describe_failure, log_transaction
from chaincode.shim.response import ERROR, Response
from chaincode.shim.stub import Stub

logger = logging.getLogger("chaincode.shim.session")

MAX_MESSAGE_BYTES = 100 * 1024 * 1024
"""What Fabric reads in one gRPC message (`internal/pkg/comm/config.go`), both ways."""
MESSAGE_OVERHEAD_BYTES = 64 * 1024
"""Room for everything in a ChaincodeMessage beside its payload and event."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many transactions one stream holds, and how many bytes of arguments they have."""

    running: int
    waiting: int
    argument_bytes: int = 256 * 1024 * 1024


DEFAULT_CAPACITY = Capacity(running=512, waiting=16384)
"""A peer holds 2,500 endorsements at once by default (`core.yaml` limits.concurrency)."""


class Observer(Protocol):
    """Who counts: `metrics.Metrics`, or nobody."""

    def started(self) -> None:
        """A transaction begins to run."""
        ...

    def finished(self, channel_id: str, status: int, seconds: float) -> None:
        """A transaction was answered with `status` (0: cancelled), `seconds` after it began."""
        ...


class NoObserver:
    """Counts nothing."""

    def started(self) -> None:
        """See `Observer`."""

    def finished(self, channel_id: str, status: int, seconds: float) -> None:
        """See `Observer`."""


class Session:
    """Runs a chaincode's transactions for one stream."""

    def __init__(
        self,
        chaincode_id: str,
        chaincode: Chaincode,
        send: Callable[[Message], None],
        *,
        capacity: Capacity | None = None,
        observer: Observer | None = None,
    ) -> None:
        """`send` queues a message for the stream's one writer and never blocks.

        Its queue stays short by itself: a running transaction has at most one request out.
        """
        self._handler = Handler(chaincode_id)
        self._chaincode = chaincode
        self._send = send
        self._capacity = capacity or DEFAULT_CAPACITY
        self._observer: Observer = observer or NoObserver()
        self._tasks: dict[TransactionKey, asyncio.Task[None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._waiting: deque[Invocation] = deque()
        self._argument_bytes = 0  # of those that run and those that wait
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.violation = ""
        """Why the stream has to end, "" while it need not."""

    def start(self) -> None:
        """Send REGISTER."""
        self._perform(self._handler.start())

    def receive(self, message: Message) -> None:
        """Take in one message of the peer."""
        self._perform(self._handler.receive(message))

    @property
    def limits(self) -> Limits:
        """What the peer offered."""
        return self._handler.limits

    async def call(self, invocation: Invocation, kind: int, payload: bytes) -> bytes:
        """The payload of the peer's answer to a request of this transaction.

        Requests of one transaction go out one after another. Raises PeerError with the peer's
        text, MessageTooLarge, or StreamClosed.
        """
        if len(payload) > MAX_MESSAGE_BYTES - MESSAGE_OVERHEAD_BYTES:
            raise MessageTooLarge(
                f"a {describe_type(kind)} request of {len(payload)} bytes exceeds the peer's limit "
                f"of {MAX_MESSAGE_BYTES} bytes a message"
            )
        try:
            ticket, output = self._handler.request(invocation, kind, payload)
        except KeyError:
            raise StreamClosed("the transaction is no longer running") from None
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[ticket] = answer
        try:
            self._perform(output)
            return await answer
        finally:
            if self._answers.pop(ticket, None) is not None:
                self._handler.withdraw(invocation, ticket)

    async def drain(self, grace: float) -> bool:
        """Wait until no transaction is running or waiting; False if `grace` seconds were short."""
        try:
            await asyncio.wait_for(self._idle.wait(), grace)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End it: running transactions are cancelled and have ended when this returns."""
        self._handler.close()
        self._argument_bytes -= sum(entry.size for entry in self._waiting)
        self._waiting.clear()
        tasks = [*self._tasks.values(), *self._retiring]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(StreamClosed("the stream to the peer has ended"))

    def _perform(self, output: Output) -> None:
        for message in output.messages:
            self._send(message)
        for event in output.events:
            self._act(event)

    def _act(self, event: Event) -> None:
        match event:
            case Answered():
                self._settle(event)
            case Invoked(invocation):
                self._admit(invocation)
            case Superseded(key):
                self._retire(key)
            case Abandoned(tickets):
                self._abandon(tickets)
            case BecameReady(limits):
                logger.info(
                    "ready: the peer sends transactions",
                    extra={
                        "write_batch": limits.write_batch,
                        "multiple_keys": limits.multiple_keys,
                    },
                )
            case Violated(reason):
                logger.error("the peer broke the protocol: %s; ending the stream", reason)
                self.violation = reason

    def _settle(self, event: Answered) -> None:
        answer = self._answers.pop(event.ticket, None)
        if answer is None or answer.done():
            return
        if event.refused:
            answer.set_exception(PeerError(event.payload.decode("utf-8", "replace")))
        else:
            answer.set_result(event.payload)

    def _abandon(self, tickets: tuple[int, ...]) -> None:
        for ticket in tickets:
            answer = self._answers.pop(ticket, None)
            if answer is not None:
                answer.cancel()

    def _admit(self, invocation: Invocation) -> None:
        self._idle.clear()
        held = self._argument_bytes + invocation.size
        if held > self._capacity.argument_bytes and self._argument_bytes:
            self._refuse(invocation)
        elif len(self._tasks) < self._capacity.running:
            self._argument_bytes = held
            self._launch(invocation)
        elif len(self._waiting) < self._capacity.waiting:
            self._argument_bytes = held
            self._waiting.append(invocation)
        else:
            self._refuse(invocation)

    def _refuse(self, invocation: Invocation) -> None:
        error = Busy("the chaincode has as many transactions as it may hold; try again later")
        self._answer(invocation, Response(error.status, error.message), None)
        log_transaction(logger, invocation, error.status, 0.0)

    def _retire(self, key: TransactionKey) -> None:
        task = self._tasks.pop(key, None)
        if task is not None:
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
            task.cancel()
        self._argument_bytes -= sum(entry.size for entry in self._waiting if entry.key == key)
        self._waiting = deque(entry for entry in self._waiting if entry.key != key)

    def _launch(self, invocation: Invocation) -> None:
        task = asyncio.create_task(self._run(invocation))
        self._tasks[invocation.key] = task
        task.add_done_callback(lambda done: self._ended(invocation, done))

    def _ended(self, invocation: Invocation, task: asyncio.Task[None]) -> None:
        key = invocation.key
        self._argument_bytes -= invocation.size
        if self._tasks.get(key) is task:
            del self._tasks[key]
        while self._waiting and len(self._tasks) < self._capacity.running:
            self._launch(self._waiting.popleft())
        if not self._tasks and not self._waiting:
            self._idle.set()

    async def _run(self, invocation: Invocation) -> None:
        self._observer.started()
        started = time.perf_counter()
        status = 0
        try:
            response, event = await self._execute(invocation)
            status = response.status
            self._answer(invocation, response, event)
        finally:
            seconds = time.perf_counter() - started
            self._observer.finished(invocation.channel_id, status, seconds)
            log_transaction(logger, invocation, status, seconds)

    async def _execute(self, invocation: Invocation) -> tuple[Response, Message | None]:
        stub: Stub | None = None
        try:
            stub = Stub(invocation, _TransactionLink(self, invocation))
            answer = self._chaincode.init if invocation.is_init else self._chaincode.invoke
            response = await answer(stub)
            await stub.finish(succeeded=response.ok)
        except ContractError as error:
            return Response(error.status, error.message), None
        except Exception as error:
            # The peer would wait for its execute timeout if this went unanswered. The exception's
            # own text may hold a value, so neither the answer nor the log repeats it.
            describe_failure(logger, invocation, error)
            text = f"Internal: the chaincode failed with {type(error).__name__}"
            return Response(ERROR, text), None
        return response, stub.event if response.ok else None

    def _answer(self, invocation: Invocation, response: Response, event: Message | None) -> None:
        payload = response.build()
        size = len(payload) + (len(event.payload) if event is not None else 0)
        if size > MAX_MESSAGE_BYTES - MESSAGE_OVERHEAD_BYTES:
            response = Response(ERROR, f"MessageTooLarge: the answer of {size} bytes is too large")
            payload, event = response.build(), None
        # As in Go: a failed Init is an ERROR message, a failed transaction a COMPLETED one.
        failed = invocation.is_init and response.status >= ERROR
        if failed:
            payload = response.message.encode()
        self._perform(
            self._handler.complete(invocation, payload=payload, event=event, failed=failed)
        )


class _TransactionLink:
    """`stub.Link` of one transaction."""

    __slots__ = ("_invocation", "_session")

    def __init__(self, session: Session, invocation: Invocation) -> None:
        self._session = session
        self._invocation = invocation

    @property
    def limits(self) -> Limits:
        return self._session.limits

    async def call(self, kind: int, payload: bytes) -> bytes:
        return await self._session.call(self._invocation, kind, payload)
