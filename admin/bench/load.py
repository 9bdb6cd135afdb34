"""The load generator: so many transactions in flight, for so long or so many, and what they took.

A closed loop: each of `concurrency` callers starts its next transaction when the last has ended.
Proposals are built and signed before the clock starts where their number can be told, so that the
measured window holds as little of the generator's own work as a client can do.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from admin.bench.process import read_own_cpu
from admin.bench.statistics import Measured
from admin.bench.workload import Mode, Workload, fill
from network.client import Contract, Proposal
from network.client.errors import ClientError, CommitError, GatewayError

PREPARED_AT_MOST = 50_000
"""Proposals that are signed ahead, a process: about 4 kB each."""


@dataclass(slots=True)
class Supply:
    """Signed proposals of one series: those that were prepared, then made on demand."""

    contract: Contract
    workload: Workload
    series: str
    _next: int = 0
    _ready: deque[Proposal] = field(default_factory=deque)
    unprepared: int = 0
    """How many had to be made on demand."""

    def prepare(self, count: int) -> None:
        """Afterwards so many (but `PREPARED_AT_MOST`) are ready."""
        while len(self._ready) < min(count, PREPARED_AT_MOST):
            self._ready.append(self._make())

    def take(self) -> Proposal:
        """The next one."""
        if self._ready:
            return self._ready.popleft()
        self.unprepared += 1
        return self._make()

    def _make(self) -> Proposal:
        self._next += 1
        arguments = [
            fill(template, series=self.series, number=self._next, size=self.workload.size)
            for template in self.workload.arguments
        ]
        return self.contract.proposal(self.workload.function, *arguments).signed()


async def evaluate(proposal: Proposal) -> None:
    """One peer's answer."""
    await proposal.evaluate()


async def endorse(proposal: Proposal) -> None:
    """All endorsements that the policy needs."""
    await proposal.endorse()


async def submit(proposal: Proposal) -> None:
    """Committed and valid."""
    endorsed = await proposal.endorse()
    commit = await endorsed.submit()
    (await commit.status()).validate()


JOURNEYS: Mapping[Mode, Callable[[Proposal], Awaitable[None]]] = {
    Mode.EVALUATE: evaluate,
    Mode.ENDORSE: endorse,
    Mode.SUBMIT: submit,
}


@dataclass(frozen=True, slots=True)
class _Found:
    latencies: tuple[float, ...]
    errors: dict[str, int]


@dataclass(slots=True)
class _Tally:
    """What the callers have seen since the last look."""

    latencies: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return len(self.latencies) + sum(self.errors.values())

    def take(self) -> _Found:
        found = _Found(tuple(self.latencies), dict(self.errors))
        self.clear()
        return found

    def clear(self) -> None:
        self.latencies.clear()
        self.errors.clear()


async def run_load(supply: Supply) -> Measured:
    """One round of this process's part of the load.

    With `seconds` the window opens when the load has run for `lead` seconds, and counts what ends
    in it; with `count` it spans all transactions. Failures are counted by kind, and no caller
    stops for one.
    """
    if supply.workload.seconds is None:
        return await _run_count(supply)
    return await _run_window(supply, supply.workload.seconds)


async def _run_window(supply: Supply, seconds: float) -> Measured:
    tally, running = _Tally(), True

    async def call() -> None:
        while running:
            await _travel(supply, tally)

    async with asyncio.TaskGroup() as group:
        for _ in range(supply.workload.concurrency):
            group.create_task(call())
        await asyncio.sleep(supply.workload.lead)
        before, cpu, opened = tally.total, read_own_cpu(), time.perf_counter()
        tally.clear()
        await asyncio.sleep(seconds)
        found, used = tally.take(), read_own_cpu() - cpu
        elapsed, running = time.perf_counter() - opened, False
    return Measured(
        seconds=elapsed,
        latencies=found.latencies,
        errors=found.errors,
        outside=before + tally.total,
        client_cpu=used,
        unprepared=supply.unprepared,
    )


async def _run_count(supply: Supply) -> Measured:
    tally, left = _Tally(), supply.workload.count or 0
    cpu, started = read_own_cpu(), time.perf_counter()

    async def call() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await _travel(supply, tally)

    async with asyncio.TaskGroup() as group:
        for _ in range(supply.workload.concurrency):
            group.create_task(call())
    found = tally.take()
    return Measured(
        seconds=time.perf_counter() - started,
        latencies=found.latencies,
        errors=found.errors,
        client_cpu=read_own_cpu() - cpu,
        unprepared=supply.unprepared,
    )


async def _travel(supply: Supply, tally: _Tally) -> None:
    """One transaction, noted."""
    proposal = supply.take()
    began = time.perf_counter()
    try:
        await JOURNEYS[supply.workload.mode](proposal)
    except ClientError as failure:
        kind = describe(failure)
        tally.errors[kind] = tally.errors.get(kind, 0) + 1
    else:
        tally.latencies.append(time.perf_counter() - began)


def describe(failure: ClientError) -> str:
    """The failure's kind, such as `endorse ABORTED` or `MVCC_READ_CONFLICT`; never its text."""
    if isinstance(failure, CommitError):
        return failure.code_name
    if isinstance(failure, GatewayError):
        return f"{failure.stage} {failure.status}"
    return type(failure).__name__
