"""How long a batch that is not full may wait for more messages: not at all, or while they come.

A lone message is a block at once. What comes soon after a block waits `PACE` for each message of
that block, at most `LONGEST`, so that the blocks of a busy channel grow until what a block costs by
itself (a signature, an fsync at every node, a message to every peer) is shared by many. It waits no
longer than `LULL` after the newest message: callers who wait for one another are not kept waiting
for nobody.

No clock in here: times are seconds of one monotonic clock that the caller reads.
"""

PACE = 0.02
LONGEST = 0.1
LULL = 0.02


class Pace:
    """When the pending batch of one channel is due."""

    def __init__(self) -> None:
        self._next_due = 0.0
        self._lull_ends = 0.0

    def note_message(self, now: float) -> None:
        """A message has joined the batch."""
        self._lull_ends = now + LULL

    def note_block(self, now: float, messages: int) -> None:
        """A block of so many messages was made."""
        self._next_due = now + min(LONGEST, PACE * messages)

    @property
    def due(self) -> float:
        """When the pending batch is to be cut if nothing more comes."""
        return min(self._next_due, self._lull_ends)
