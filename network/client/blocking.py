"""The same client without `async`: for scripts, notebooks and tests.

`Gateway.connect` takes what `network.client.Gateway.connect` takes. Every call blocks until its
answer is there; a stream of events is an ordinary iterator, closed with `close()` or by leaving
the gateway's `with` block. One thread of our own runs the event loop behind it.

    with Gateway.connect("network.yaml", identity="GeneralHospital/admin") as gateway:
        print(gateway.network("care").contract("health", "audit").evaluate("Trail", handle))
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from network.client import commit as journey_commit
from network.client import contract as journey_contract
from network.client import gateway as journey_gateway
from network.client import network as journey_network
from network.client import proposal as journey_proposal
from network.client import transaction as journey_transaction
from network.client.commit import CommitStatus
from network.client.events import ChaincodeEvent

Result = TypeVar("Result")
Item = TypeVar("Item")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="medfabric-client", daemon=True
        )
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The coroutine's result; what it raises is raised here."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def stop(self) -> None:
        """The loop has ended and its thread is gone."""
        self.run(self._drain())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        if not self._loop.is_running():
            self._loop.close()

    async def _drain(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()


class Stream(Generic[Item]):
    """Events, one after the other; iterating waits for the next."""

    def __init__(self, loop: Loop, source: AsyncIterator[Item]) -> None:
        self._loop = loop
        self._source = source

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        try:
            return self._loop.run(self._next())
        except StopAsyncIteration:
            raise StopIteration from None

    async def _next(self) -> Item:
        return await anext(self._source)

    def close(self) -> None:
        """The stream has ended; nothing more is received."""
        self._loop.run(self._close())

    async def _close(self) -> None:
        closing = getattr(self._source, "aclose", None)
        if closing is not None:
            await closing()


@dataclass(frozen=True, slots=True)
class Commit:
    """`network.client.Commit`, blocking."""

    loop: Loop
    inner: journey_commit.Commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def signed(self, signature: bytes | None = None) -> "Commit":
        """The same with a signature."""
        return Commit(self.loop, self.inner.signed(signature))

    def status(self, *, timeout: float | None = None) -> CommitStatus:
        """The ledger's verdict; raises `CommitStatusError`."""
        return self.loop.run(self.inner.status(timeout=timeout))


@dataclass(frozen=True, slots=True)
class Transaction:
    """`network.client.Transaction`, blocking."""

    loop: Loop
    inner: journey_transaction.Transaction

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def signed(self, signature: bytes | None = None) -> "Transaction":
        """The same with a signature."""
        return Transaction(self.loop, self.inner.signed(signature))

    def submit(self, *, timeout: float | None = None) -> Commit:
        """The commit to wait for; raises `SubmitError`."""
        return Commit(self.loop, self.loop.run(self.inner.submit(timeout=timeout)))


@dataclass(frozen=True, slots=True)
class Proposal:
    """`network.client.Proposal`, blocking."""

    loop: Loop
    inner: journey_proposal.Proposal

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def signed(self, signature: bytes | None = None) -> "Proposal":
        """The same with a signature."""
        return Proposal(self.loop, self.inner.signed(signature))

    def evaluate(self, *, timeout: float | None = None) -> bytes:
        """One peer's answer; raises `EvaluateError`."""
        return self.loop.run(self.inner.evaluate(timeout=timeout))

    def endorse(self, *, timeout: float | None = None) -> Transaction:
        """The endorsed transaction; raises `EndorseError`."""
        return Transaction(self.loop, self.loop.run(self.inner.endorse(timeout=timeout)))


@dataclass(frozen=True, slots=True)
class Contract:
    """`network.client.Contract`, blocking; the same arguments and keywords."""

    loop: Loop
    inner: journey_contract.Contract

    def proposal(self, transaction: str, *arguments: Any, **keywords: Any) -> Proposal:
        """An unsigned proposal."""
        return Proposal(self.loop, self.inner.proposal(transaction, *arguments, **keywords))

    def evaluate(self, transaction: str, *arguments: Any, **keywords: Any) -> bytes:
        """One peer's answer; raises `EvaluateError`."""
        return self.loop.run(self.inner.evaluate(transaction, *arguments, **keywords))

    def submit(self, transaction: str, *arguments: Any, **keywords: Any) -> CommitStatus:
        """The status of a committed, valid transaction; raises as the asynchronous one."""
        return self.loop.run(self.inner.submit(transaction, *arguments, **keywords))


@dataclass(frozen=True, slots=True)
class Network:
    """`network.client.Network`, blocking; the same arguments and keywords."""

    loop: Loop
    inner: journey_network.Network

    @property
    def channel_id(self) -> str:
        """The channel's name."""
        return self.inner.channel_id

    def contract(self, chaincode: str, name: str = "") -> Contract:
        """A contract of a chaincode on this channel."""
        return Contract(self.loop, self.inner.contract(chaincode, name))

    def commit(self, transaction_id: str) -> Commit:
        """The commit of any transaction on this channel, by its id."""
        return Commit(self.loop, self.inner.commit(transaction_id))

    def chaincode_events(self, chaincode: str, **keywords: Any) -> Stream[ChaincodeEvent]:
        """A chaincode's events."""
        return Stream(self.loop, self.inner.chaincode_events(chaincode, **keywords))

    def block_events(self, **keywords: Any) -> Stream[Any]:
        """Whole blocks."""
        return Stream(self.loop, self.inner.block_events(**keywords))

    def filtered_block_events(self, **keywords: Any) -> Stream[Any]:
        """Filtered blocks."""
        return Stream(self.loop, self.inner.filtered_block_events(**keywords))

    def block_and_private_data_events(self, **keywords: Any) -> Stream[Any]:
        """Blocks with private data."""
        return Stream(self.loop, self.inner.block_and_private_data_events(**keywords))


@dataclass(frozen=True, slots=True)
class Gateway:
    """`network.client.Gateway`, blocking. Use it in a `with` block, or call `close`."""

    loop: Loop
    inner: journey_gateway.Gateway

    @classmethod
    def connect(cls, *arguments: Any, **keywords: Any) -> "Gateway":
        """A client; the arguments are those of `network.client.Gateway.connect`."""
        inner = journey_gateway.Gateway.connect(*arguments, **keywords)
        return cls(Loop(), inner)

    def network(self, channel_id: str) -> Network:
        """A channel."""
        return Network(self.loop, self.inner.network(channel_id))

    def open_proposal(self, raw: bytes, signature: bytes | None = None) -> Proposal:
        """The proposal that `Proposal.bytes` carried here."""
        return Proposal(self.loop, self.inner.open_proposal(raw, signature))

    def open_transaction(self, raw: bytes, signature: bytes | None = None) -> Transaction:
        """The endorsed transaction that `Transaction.bytes` carried here."""
        return Transaction(self.loop, self.inner.open_transaction(raw, signature))

    def open_commit(self, raw: bytes, signature: bytes | None = None) -> Commit:
        """The commit that `Commit.bytes` carried here."""
        return Commit(self.loop, self.inner.open_commit(raw, signature))

    def close(self) -> None:
        """The connection is closed and the loop's thread gone."""
        self.loop.run(self.inner.close())
        self.loop.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
