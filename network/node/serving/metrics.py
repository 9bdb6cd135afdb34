"""Counters under Fabric's own names, for Prometheus.

prometheus-client insists on a `_total` ending for counters; Fabric's dashboards ask for
`broadcast_processed_count`. `Counter` here gives the samples the name they were made with.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics
from prometheus_client.core import Metric

__all__ = ["CollectorRegistry", "Counter", "Durations", "Histogram", "Readings"]

# prometheus.DefBuckets of Go, which Fabric uses where it names no others.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

disable_created_metrics()  # type: ignore[no-untyped-call]


class Counter:
    """A number that grows, one for each combination of label values."""

    def __init__(
        self, name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry
    ) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._values: dict[tuple[str, ...], int] = defaultdict(int)
        registry.register(self)

    def add(self, *values: str, amount: int = 1) -> None:
        """Grow the number of these label values, given in the labels' order."""
        self._values[values] += amount

    def get(self, *values: str) -> int:
        """The number of these label values."""
        return self._values[values]

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        metric = Metric(self._name, self._text, "untyped")
        for values, number in self._values.items():
            metric.add_sample(
                self._name, dict(zip(self._labels, values, strict=True)), float(number)
            )
        yield metric


class Durations:
    """Seconds that something took, counted in Fabric's buckets for each combination of labels."""

    def __init__(
        self, name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry
    ) -> None:
        self._histogram = Histogram(name, text, labels, registry=registry, buckets=BUCKETS)

    def observe(self, seconds: float, *values: str) -> None:
        """Count one, under these label values, given in the labels' order."""
        self._histogram.labels(*values).observe(seconds)


class Readings:
    """Numbers read only when Prometheus asks: `read` gives label values and the number."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: tuple[str, ...],
        registry: CollectorRegistry,
        read: Callable[[], Iterator[tuple[tuple[str, ...], float]]],
    ) -> None:
        self._name, self._text, self._labels, self._read = name, text, labels, read
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        metric = Metric(self._name, self._text, "gauge")
        for values, number in self._read():
            metric.add_sample(self._name, dict(zip(self._labels, values, strict=True)), number)
        yield metric
