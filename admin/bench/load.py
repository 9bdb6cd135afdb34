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


class _Tally:
    """What the callers of one round have seen."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.errors: dict[str, int] = {}
        self.late = 0

    def fail(self, failure: ClientError) -> None:
        kind = describe(failure)
        self.errors[kind] = self.errors.get(kind, 0) + 1


async def run_load(supply: Supply) -> Measured:
    """One round of this process's part of the load.

    With `seconds` what ends later than the window is not counted; with `count` the window ends
    with the last transaction. Failures are counted by kind, and no caller stops for one.
    """
    workload, tally = supply.workload, _Tally()
    journey = JOURNEYS[workload.mode]
    unprepared = supply.unprepared
    cpu, started = read_own_cpu(), time.perf_counter()
    deadline = started + workload.seconds if workload.seconds is not None else None
    left = workload.count if workload.count is not None else -1

    async def call() -> None:
        nonlocal left
        while left != 0:
            left -= 1
            began = time.perf_counter()
            if deadline is not None and began >= deadline:
                return
            try:
                await journey(supply.take())
            except ClientError as failure:
                tally.fail(failure)
                continue
            ended = time.perf_counter()
            if deadline is None or ended <= deadline:
                tally.latencies.append(ended - began)
            else:
                tally.late += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(workload.concurrency):
            group.create_task(call())
        if workload.seconds is not None:
            await asyncio.sleep(workload.seconds)
            used, seconds = read_own_cpu() - cpu, time.perf_counter() - started
    if workload.seconds is None:
        used, seconds = read_own_cpu() - cpu, time.perf_counter() - started
    return Measured(
        seconds=seconds,
        latencies=tuple(tally.latencies),
        errors=tally.errors,
        late=tally.late,
        client_cpu=used,
        unprepared=supply.unprepared - unprepared,
    )


def describe(failure: ClientError) -> str:
    """The failure's kind, such as `endorse ABORTED` or `MVCC_READ_CONFLICT`; never its text."""
    if isinstance(failure, CommitError):
        return failure.code_name
    if isinstance(failure, GatewayError):
        return f"{failure.stage} {failure.status}"
    return type(failure).__name__
