"""What a round of load says: rates, percentiles, medians, ratios. Pure arithmetic.

Times are seconds, rates transactions a second, memory bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Latency:
    """How long transactions took, seconds; all 0 when there were none."""

    mean: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far, or in a round.

    Attributes:
        cpu: seconds of processor time, user and system.
        memory: resident bytes, now or at the round's end.
    """

    cpu: float = 0.0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """The raw outcome of one process's load.

    Attributes:
        seconds: length of the measured window.
        latencies: of the transactions that succeeded in it, seconds.
        errors: how many failed, by kind.
        outside: how many ended before or after the window; the chaincode worked for them, too.
        client_cpu: seconds of processor time that the load generator itself used.
        unprepared: transactions whose proposal was not signed before the round began.
    """

    seconds: float
    latencies: tuple[float, ...]
    errors: Mapping[str, int] = field(default_factory=dict)
    outside: int = 0
    client_cpu: float = 0.0
    unprepared: int = 0


@dataclass(frozen=True, slots=True)
class Round:
    """One target's round.

    Attributes:
        transactions: that succeeded.
        rate: transactions a second.
        latency: of those that succeeded.
        errors: how many failed, by kind.
        client_load: processors that the load generator kept busy (1.0 is one whole processor).
        chaincode_cpu: seconds of the chaincode process's processor time a transaction, None where
            it was not watched.
        chaincode_memory: its resident bytes at the end, None where it was not watched.
        unprepared: transactions whose proposal was not signed before the round began.
    """

    transactions: int
    rate: float
    latency: Latency
    errors: Mapping[str, int]
    client_load: float
    chaincode_cpu: float | None = None
    chaincode_memory: int | None = None
    unprepared: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """One target in one mode: the medians of its rounds.

    Attributes:
        target: the target's label.
        mode: what was measured.
        rate: median of the rounds' rates.
        latency: median of each of the rounds' figures; `max` is the largest of all.
        errors: all rounds' errors, by kind.
        client_load: median.
        chaincode_cpu: median seconds a transaction, None where it was not watched.
        ratio: median of (first target's rate / this one's), round by round; None for the first.
        rounds: what the medians are of, in order.
    """

    target: str
    mode: str
    rate: float
    latency: Latency
    errors: Mapping[str, int]
    client_load: float
    chaincode_cpu: float | None
    ratio: float | None
    rounds: tuple[Round, ...]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (nearest rank).

    Args:
        ordered: ascending; 0.0 is the answer for none.
        share: in (0, 1].
    """
    if not ordered:
        return 0.0
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def summarize_latency(latencies: Sequence[float]) -> Latency:
    """Mean, percentiles and maximum of these, in any order."""
    if not latencies:
        return Latency()
    ordered = sorted(latencies)
    return Latency(
        mean=math.fsum(ordered) / len(ordered),
        p50=percentile(ordered, 0.50),
        p95=percentile(ordered, 0.95),
        p99=percentile(ordered, 0.99),
        max=ordered[-1],
    )


def summarize_round(parts: Sequence[Measured], used: Usage | None = None) -> Round:
    """One round of one or several load generators that ran at the same time.

    Args:
        parts: what each generator measured.
        used: what the chaincode's process used meanwhile, and its memory at the end.
    """
    latencies = [one for part in parts for one in part.latencies]
    seconds = max((part.seconds for part in parts), default=0.0)
    done = len(latencies)
    handled = done + sum(part.outside + sum(part.errors.values()) for part in parts)
    return Round(
        transactions=done,
        rate=done / seconds if seconds > 0 else 0.0,
        latency=summarize_latency(latencies),
        errors=add_counts(part.errors for part in parts),
        client_load=sum(part.client_cpu for part in parts) / seconds if seconds > 0 else 0.0,
        chaincode_cpu=used.cpu / handled if used is not None and handled else None,
        chaincode_memory=used.memory if used is not None else None,
        unprepared=sum(part.unprepared for part in parts),
    )


def summarize(
    target: str, mode: str, rounds: Sequence[Round], first: Sequence[Round] | None = None
) -> Summary:
    """The medians of a target's rounds, at least one.

    Args:
        target: its label.
        mode: what was measured.
        rounds: in order.
        first: the rounds of the target that it is compared with, round by round.
    """
    latency = Latency(
        mean=median(one.latency.mean for one in rounds),
        p50=median(one.latency.p50 for one in rounds),
        p95=median(one.latency.p95 for one in rounds),
        p99=median(one.latency.p99 for one in rounds),
        max=max(one.latency.max for one in rounds),
    )
    watched = [one.chaincode_cpu for one in rounds if one.chaincode_cpu is not None]
    return Summary(
        target=target,
        mode=mode,
        rate=median(one.rate for one in rounds),
        latency=latency,
        errors=add_counts(one.errors for one in rounds),
        client_load=median(one.client_load for one in rounds),
        chaincode_cpu=median(watched) if watched else None,
        ratio=None if first is None else compare(first, rounds),
        rounds=tuple(rounds),
    )


def compare(first: Sequence[Round], other: Sequence[Round]) -> float | None:
    """Median of the first's rate over the other's, pair by pair; None if the other never moved.

    Rounds of one pair ran next to each other, so that what disturbs the machine for longer than a
    round disturbs both.
    """
    ratios = [
        mine.rate / theirs.rate
        for mine, theirs in zip(first, other, strict=False)
        if theirs.rate > 0
    ]
    return median(ratios) if ratios else None


def add_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums by kind, the most frequent first."""
    total: dict[str, int] = {}
    for one in counts:
        for kind, count in one.items():
            total[kind] = total.get(kind, 0) + count
    return dict(sorted(total.items(), key=lambda entry: (-entry[1], entry[0])))


def order_of_round(number: int, targets: int) -> list[int]:
    """In which order the targets take their turn in a round, from 0: A B C, B C A, C A B, …

    Every target leads equally often, so that none gains from being first.
    """
    return [(number + place) % targets for place in range(targets)]
