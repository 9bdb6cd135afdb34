"""Rates, percentiles, medians and ratios, by hand and against the standard library."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.bench.statistics import (
    Latency,
    Measured,
    Round,
    Usage,
    add_counts,
    compare,
    order_of_round,
    percentile,
    summarize,
    summarize_latency,
    summarize_round,
)

TIMES = st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=200)


def made(rate: float, **more: object) -> Round:
    values: dict[str, object] = {"transactions": 1, "latency": Latency(), "errors": {}}
    return Round(rate=rate, client_load=0.1, **(values | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0), (0.001, 1.0)]
)
def test_percentiles_of_a_hundred(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 101)], share) == expected


def test_percentiles_of_few() -> None:
    assert percentile([], 0.5) == 0.0
    assert percentile([3.0], 0.99) == 3.0
    assert percentile([1.0, 2.0], 0.5) == 1.0


@given(TIMES, st.floats(0.01, 1.0))
def test_a_percentile_is_exceeded_by_no_more_than_the_rest(
    times: list[float], share: float
) -> None:
    value = percentile(sorted(times), share)
    assert value in times
    assert sum(time <= value for time in times) >= share * len(times) - 1e-9
    assert sum(time < value for time in times) < share * len(times) + 1e-9


@given(TIMES)
def test_a_latency_is_ordered(times: list[float]) -> None:
    found = summarize_latency(times)
    assert found.p50 <= found.p95 <= found.p99 <= found.max == max(times)
    assert found.mean == pytest.approx(statistics.fmean(times))


def test_a_round_of_two_generators() -> None:
    parts = [
        Measured(2.0, (0.1, 0.3), {"late": 1}, outside=2, client_cpu=0.5, unprepared=1),
        Measured(2.0, (0.2,), {"late": 1, "worse": 3}, client_cpu=0.25),
    ]
    found = summarize_round(parts, Usage(cpu=0.5, memory=1000))
    assert found.transactions == 3
    assert found.rate == 1.5
    assert found.latency.p50 == 0.2
    assert found.errors == {"worse": 3, "late": 2}
    assert found.client_load == pytest.approx(0.375)
    assert found.chaincode_cpu == pytest.approx(0.05)  # 3 done, 5 failed, 2 outside
    assert found.chaincode_memory == 1000
    assert found.unprepared == 1


def test_a_round_in_which_nothing_happened() -> None:
    found = summarize_round([Measured(1.0, ())], Usage())
    assert (found.rate, found.chaincode_cpu, found.latency) == (0.0, None, Latency())
    assert summarize_round([]).rate == 0.0


def test_the_ratio_is_the_median_of_neighbours_and_not_of_all() -> None:
    # The machine was twice as slow in the second round, and disturbed in the third.
    first = [made(100), made(50), made(90)]
    other = [made(200), made(100), made(30)]
    assert compare(first, other) == 0.5
    assert compare(first, [made(0), made(0), made(0)]) is None


def test_a_summary_is_the_medians() -> None:
    rounds = [
        made(10, latency=Latency(1, 1, 1, 1, 9), errors={"a": 1}, chaincode_cpu=0.1),
        made(30, latency=Latency(3, 3, 3, 3, 3), errors={"a": 2}, chaincode_cpu=0.3),
        made(20, latency=Latency(2, 2, 2, 2, 4)),
    ]
    found = summarize("py", "submit", rounds, [made(20), made(30), made(20)])
    assert found.rate == 20
    assert found.latency == Latency(2, 2, 2, 2, 9)
    assert found.errors == {"a": 3}
    assert found.chaincode_cpu == pytest.approx(0.2)
    assert found.ratio == 1.0
    assert summarize("py", "submit", rounds).ratio is None


def test_counts_are_added_the_most_frequent_first() -> None:
    assert list(add_counts([{"a": 1, "b": 5}, {"c": 1}, {"a": 1}])) == ["b", "a", "c"]


@given(st.integers(1, 6))
def test_every_target_leads_equally_often(targets: int) -> None:
    orders = [order_of_round(number, targets) for number in range(targets)]
    assert all(sorted(order) == list(range(targets)) for order in orders)
    assert sorted(order[0] for order in orders) == list(range(targets))
