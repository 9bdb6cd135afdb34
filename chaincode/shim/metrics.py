"""Prometheus metrics of a chaincode server: how many transactions, how long, how they ended."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from chaincode.errors import ConfigurationError

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """`session.Observer` that counts into its own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._ended = Counter(
            "chaincode_transactions",
            "Transactions answered, by channel and response status (0: cancelled).",
            ("channel", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "chaincode_transaction_seconds",
            "Time from the peer's message to the answer.",
            ("channel",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._running = Gauge(
            "chaincode_transactions_running",
            "Transactions being executed.",
            registry=self.registry,
        )

    def started(self) -> None:
        """See `session.Observer`."""
        self._running.inc()

    def finished(self, channel_id: str, status: int, seconds: float) -> None:
        """See `session.Observer`."""
        self._running.dec()
        self._ended.labels(channel_id, str(status)).inc()
        self._seconds.labels(channel_id).observe(seconds)

    def serve(self, address: str) -> int:
        """Answer `GET /metrics` on host:port; the port. Raises ConfigurationError."""
        host, _, port = address.rpartition(":")
        try:
            server, _ = start_http_server(int(port), host or "127.0.0.1", self.registry)
        except OSError as error:
            raise ConfigurationError(
                f"cannot serve metrics on {address}: {error.strerror}"
            ) from None
        return int(server.server_port)
