"""The same load on several networks in turns, with more and more transactions in flight.

What is measured in the nodes is processor time: on a machine that others use as well it says more
than rates do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from admin.bench.generators import Generators, Target
from admin.bench.process import read_usage
from admin.bench.statistics import Round, add_counts, order_of_round, summarize_round
from admin.bench.workload import Mode, Workload

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Side:
    """A network that is measured.

    Attributes:
        target: its gateway and what is called there.
        processes: its processes on this machine, by name; their processor time is counted.
        peers: which of them are peers: their memory is told.
    """

    target: Target
    processes: Mapping[str, int]
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One number of transactions in flight in one mode."""

    mode: Mode
    in_flight: int


@dataclass(frozen=True, slots=True)
class Point:
    """What a network did in one step: medians over the rounds.

    Attributes:
        network: its label.
        mode: submit, evaluate or endorse.
        in_flight: transactions at once.
        rate: transactions a second.
        p50: seconds.
        p95: seconds.
        cpu: seconds of its processes' time for each transaction, None where none was watched.
        client_cpu: the load generator's, for each transaction.
        failed: transactions of all rounds.
        errors: them by kind.
    """

    network: str
    mode: str
    in_flight: int
    rate: float
    p50: float
    p95: float
    cpu: float | None
    client_cpu: float
    failed: int
    errors: Mapping[str, int]


def run_course(
    generators: Generators,
    sides: Sequence[Side],
    steps: Sequence[Step],
    workload: Workload,
    rounds: int,
    tell: Tell,
) -> list[Point]:
    """Every step's points, the networks in their order.

    Args:
        generators: who makes the load.
        sides: at least one.
        steps: measured one after another; mode and concurrency of `workload` are replaced.
        workload: what is called, and for how long.
        rounds: of each network in each step.
        tell: told about every round.

    Raises:
        GeneratorError: a load generator died.
    """
    points = []
    for step in steps:
        load = replace(workload, mode=step.mode, concurrency=step.in_flight)
        found: list[list[tuple[Round, float | None]]] = [[] for _ in sides]
        for number in range(rounds):
            for index in order_of_round(number, len(sides)):
                one, cpu = _run_round(generators, sides[index], load)
                found[index].append((one, cpu))
                tell(
                    f"{step.mode.value}, {step.in_flight} in flight, round {number + 1}:"
                    f" {sides[index].target.label} {one.rate:.0f}/s"
                )
        points += [
            summarize_step(side.target.label, step, done)
            for side, done in zip(sides, found, strict=True)
        ]
    return points


def summarize_step(label: str, step: Step, rounds: Sequence[tuple[Round, float | None]]) -> Point:
    """The medians of a network's rounds, each with its processes' time a transaction."""
    known = [cpu for _, cpu in rounds if cpu is not None]
    errors = add_counts(one.errors for one, _ in rounds)
    return Point(
        network=label,
        mode=step.mode.value,
        in_flight=step.in_flight,
        rate=median(one.rate for one, _ in rounds),
        p50=median(one.latency.p50 for one, _ in rounds),
        p95=median(one.latency.p95 for one, _ in rounds),
        cpu=median(known) if known else None,
        client_cpu=median(one.client_load / one.rate if one.rate else 0.0 for one, _ in rounds),
        failed=sum(errors.values()),
        errors=errors,
    )


def read_memory(side: Side) -> dict[str, int]:
    """Resident bytes of its peers now."""
    usages = {name: read_usage(side.processes[name]) for name in side.peers}
    return {name: usage.memory for name, usage in usages.items() if usage is not None}


def _run_round(generators: Generators, side: Side, load: Workload) -> tuple[Round, float | None]:
    before = _read_cpu(side)
    parts = generators.run(side.target, load)
    after = _read_cpu(side)
    one = summarize_round(parts)
    handled = one.transactions + sum(part.outside for part in parts) + sum(one.errors.values())
    if before is None or after is None or not handled:
        return one, None
    return one, (after - before) / handled


def _read_cpu(side: Side) -> float | None:
    usages = [read_usage(pid) for pid in side.processes.values()]
    known = [usage.cpu for usage in usages if usage is not None]
    return sum(known) if known and len(known) == len(usages) else None
