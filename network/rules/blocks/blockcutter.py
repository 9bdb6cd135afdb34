"""Which messages share a block: Fabric's block cutter (orderer/common/blockcutter/blockcutter.go).

Pure: it holds the pending batch and knows no clock. When a batch that nothing fills is cut is the
caller's affair (`cut`).
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

Message = TypeVar("Message")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The channel's BatchSize: messages, and bytes of payload and signature."""

    max_messages: int
    preferred_max_bytes: int


@dataclass(slots=True)
class BlockCutter(Generic[Message]):
    """The batch that is filling. `limits` may be replaced between two calls."""

    limits: BatchLimits
    _pending: list[Message] = field(default_factory=list)
    _pending_bytes: int = 0

    @property
    def is_pending(self) -> bool:
        """Whether a batch has begun that no one has cut."""
        return bool(self._pending)

    def order(self, message: Message, size: int) -> list[list[Message]]:
        """Add `message` of `size` bytes; returns the batches that are now complete, oldest first.

        None, one, or two: a message above the preferred size closes the pending batch and is
        alone in the next. A message that would overflow the preferred size closes the pending
        batch and begins the next; a batch is full at `max_messages`.
        """
        if size > self.limits.preferred_max_bytes:
            return [batch for batch in (self.cut(), [message]) if batch]
        batches = []
        if self._pending and self._pending_bytes + size > self.limits.preferred_max_bytes:
            batches.append(self.cut())
        self._pending.append(message)
        self._pending_bytes += size
        if len(self._pending) >= self.limits.max_messages:
            batches.append(self.cut())
        return batches

    def cut(self) -> list[Message]:
        """The pending batch, which may be empty; nothing is pending afterwards."""
        batch, self._pending, self._pending_bytes = self._pending, [], 0
        return batch
