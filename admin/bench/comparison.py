"""Several chaincodes under the same load, in alternation: A B A B …, and what that says.

Machines are noisy, and a figure from another hour or another machine says little. So the targets
take turns within one run, and what counts is the ratio of neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from admin.bench.generators import Generators, Target
from admin.bench.process import read_usage, subtract
from admin.bench.statistics import Round, Summary, order_of_round, summarize, summarize_round
from admin.bench.workload import Mode, Workload

AHEAD = 1.2
"""Of the proposals that the warm-up's rate lets expect, this share is signed ahead."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Course:
    """How a run is made up.

    Attributes:
        modes: measured one after another.
        rounds: of each target in each mode.
        warm_up: seconds of load before a target's first round in a mode; not counted.
    """

    modes: tuple[Mode, ...]
    rounds: int
    warm_up: float


def run_comparison(
    generators: Generators,
    targets: Sequence[Target],
    workload: Workload,
    course: Course,
    tell: Tell,
) -> list[Summary]:
    """Every mode's summaries, the targets in their order; ratios are against the first.

    Args:
        generators: who makes the load.
        targets: at least one.
        workload: what is called; its mode is replaced by the course's.
        course: modes, rounds, warm-up.
        tell: told about every round.

    Raises:
        GeneratorError: a load generator died.
    """
    return [
        summary
        for mode in course.modes
        for summary in _run_mode(generators, targets, replace(workload, mode=mode), course, tell)
    ]


def _run_mode(
    generators: Generators,
    targets: Sequence[Target],
    workload: Workload,
    course: Course,
    tell: Tell,
) -> list[Summary]:
    mode = workload.mode.value
    rounds: list[list[Round]] = [[] for _ in targets]
    expected = [_warm_up(generators, target, workload, course) for target in targets]
    for number in range(course.rounds):
        for index in order_of_round(number, len(targets)):
            target = targets[index]
            one = _run_round(generators, target, workload, expected[index])
            rounds[index].append(one)
            tell(f"{mode}, round {number + 1} of {course.rounds}: {describe(target, one)}")
    return [
        summarize(target.label, mode, done, rounds[0] if index else None)
        for index, (target, done) in enumerate(zip(targets, rounds, strict=True))
    ]


def _warm_up(generators: Generators, target: Target, workload: Workload, course: Course) -> int:
    """How many transactions a round may need, as a round that is not counted lets expect."""
    if course.warm_up <= 0:
        return workload.count or 0
    first = replace(workload, seconds=course.warm_up, count=None, lead=0.0)
    rate = summarize_round(generators.run(target, first)).rate
    if workload.seconds is None:
        return workload.count or 0
    return round(rate * (workload.lead + workload.seconds) * AHEAD)


def _run_round(generators: Generators, target: Target, workload: Workload, prepared: int) -> Round:
    before = read_usage(target.pid) if target.pid is not None else None
    parts = generators.run(target, workload, prepared)
    after = read_usage(target.pid) if target.pid is not None else None
    return summarize_round(parts, subtract(after, before))


def describe(target: Target, one: Round) -> str:
    """A round in one line."""
    errors = sum(one.errors.values())
    text = f"{target.label} {one.rate:,.0f}/s, p95 {one.latency.p95 * 1000:,.0f} ms"
    return text + (f", {errors} failed" if errors else "")
