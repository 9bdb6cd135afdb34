"""Prometheus metrics of a forwarder: is it keeping up, does the receiver answer, was any given up.

Names begin with `medfabric_webhook_`. Labels hold outcomes and status classes; nothing of an event.
"""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from admin.events.forwarding import Outcome, Send
from admin.events.target import Answer

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ForwardingMetrics:
    """Counts what a forwarder does, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._attempts = Counter(
            "medfabric_webhook_attempts",
            "Attempts by what was answered: 2xx to 5xx, or none.",
            ("status",),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "medfabric_webhook_attempt_seconds",
            "Time of an attempt, whatever became of it.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._events = Counter(
            "medfabric_webhook_events",
            "Events by what became of them: delivered, dead-letter, passed-over.",
            ("outcome",),
            registry=self.registry,
        )
        for outcome in ("delivered", "dead-letter", "passed-over"):
            self._events.labels(outcome)  # so that a rate can be asked for from the beginning
        self._delivered_at = Gauge(
            "medfabric_webhook_last_delivered_timestamp_seconds",
            "When an event was last delivered, Unix time.",
            registry=self.registry,
        )
        self._underway = Gauge(
            "medfabric_webhook_underway",
            "Events read off the ledger that the checkpoint is not over yet.",
            registry=self.registry,
        )
        self._block = Gauge(
            "medfabric_webhook_checkpoint_block",
            "The block that the checkpoint is in.",
            registry=self.registry,
        )

    def measure(self, send: Send) -> Send:
        """Return `send` with its attempts counted."""

        async def measured(body: bytes, headers: dict[str, str]) -> Answer:
            begun, status = time.monotonic(), "none"
            try:
                answer = await send(body, headers)
                status = f"{answer.status // 100}xx"
                return answer
            finally:
                self._attempts.labels(status).inc()
                self._seconds.observe(time.monotonic() - begun)

        return measured

    def count(self, outcome: Outcome) -> None:
        """An event is done with."""
        if outcome.delivery is None:
            self._events.labels("passed-over").inc()
        elif outcome.delivered:
            self._events.labels("delivered").inc()
            self._delivered_at.set_to_current_time()
        else:
            self._events.labels("dead-letter").inc()

    def watch(self, underway: Callable[[], int], block: Callable[[], int]) -> None:
        """These are asked whenever Prometheus asks."""
        self._underway.set_function(underway)
        self._block.set_function(block)

    def serve(self, host: str, port: int) -> int:
        """Answer `GET /metrics` until the process ends; returns the port. Raises OSError."""
        server, _ = start_http_server(port, host, self.registry)
        return int(server.server_port)
