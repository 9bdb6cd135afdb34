"""How many calls of a service run at once; more are refused, so that memory stays bounded.

Source: Fabric's `internal/peer/node/grpc_limiters.go`. The texts are Fabric's; the
status is RESOURCE_EXHAUSTED, where Fabric's limiter gives Unknown.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

log = logging.getLogger("nodeCmd")


class TooManyCalls(Exception):
    """A service runs as many calls as it may; the text is for the client."""


class ConcurrencyLimits:
    """Counts the running calls of each limited service."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        """`limits`: service name ("protos.Endorser") → calls at once; 0 is without limit."""
        self._limits = {service: limit for service, limit in limits.items() if limit > 0}
        self._running = dict.fromkeys(self._limits, 0)

    def enter(self, service: str) -> None:
        """A call of the service runs until `leave`. Raises TooManyCalls."""
        limit = self._limits.get(service)
        if limit is None:
            return
        if self._running[service] >= limit:
            text = f"too many requests for /{service}, exceeding concurrency limit ({limit})"
            log.error("%s", text)
            raise TooManyCalls(text)
        self._running[service] += 1

    def leave(self, service: str) -> None:
        """One of the service's calls is over."""
        if service in self._running:
            self._running[service] -= 1


UNLIMITED = ConcurrencyLimits({})
