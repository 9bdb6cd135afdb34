"""How many bytes a server may hold for its clients, a connection and in all.

Counted is what has come in and is not done with (messages that are incomplete, wait for their turn
or are being served) and what is to go out and waits for a client that does not read. Whoever takes
bytes gives them back; what does not fit is for the caller to refuse.
"""

from __future__ import annotations

CONNECTION_BYTES = 256 * 1024 * 1024
TOTAL_BYTES = 512 * 1024 * 1024
ASSURED_BYTES = 256 * 1024
"""So much a connection may hold whatever others do: a client that fills the total with messages
that it never ends must not keep everybody else's small calls out."""


class Budget:
    """What all connections of one server may hold together: `total` and what is assured to each."""

    __slots__ = ("connection", "held", "total")

    def __init__(self, connection: int = CONNECTION_BYTES, total: int = TOTAL_BYTES) -> None:
        self.connection = connection
        self.total = total
        self.held = 0

    def open_share(self) -> Share:
        """One connection's part."""
        return Share(self)


class Share:
    """What one connection holds."""

    __slots__ = ("_budget", "held")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.held = 0

    def take(self, size: int) -> bool:
        """Whether so many bytes more may be held; they are counted then."""
        budget, held = self._budget, self.held + size
        if held > budget.connection:
            return False
        if budget.held + size > budget.total and held > ASSURED_BYTES:
            return False
        self.held = held
        budget.held += size
        return True

    def give_back(self, size: int) -> None:
        """So many of the bytes that were taken are held no more."""
        self.held -= size
        self._budget.held -= size
