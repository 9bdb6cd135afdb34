"""What waits to be ordered on one channel: bounded, in order of arrival, each with its sender."""

import asyncio
from collections import deque
from dataclasses import dataclass

from fabric_protos.common import common_pb2

from network.rules.envelope import OpenedEnvelope
from network.rules.ordering.admission import Admitted, ProposedConfig, Refused

# What may wait for its turn, a channel: messages and bytes.
MAX_WAITING = 10_000
MAX_WAITING_BYTES = 128 * 1024 * 1024


@dataclass(slots=True)
class Entry:
    """A message on its way into a block."""

    admitted: Admitted
    update: OpenedEnvelope | None  # the CONFIG_UPDATE that `proposed` was made from
    proposed: ProposedConfig | None
    done: asyncio.Future[int]  # the block's number

    def accept(self, number: int) -> None:
        """Tell the sender that the message's block is on disk."""
        if not self.done.done():
            self.done.set_result(number)


class Intake:
    """The queue; `put` at one end, `take` at the other, in one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Entry] = deque()
        self._bytes = 0
        self._undone: set[asyncio.Future[int]] = set()
        self._arrived = asyncio.Event()
        self._closing = False

    def put(
        self, admitted: Admitted, update: OpenedEnvelope | None, proposed: ProposedConfig | None
    ) -> asyncio.Future[int]:
        """Queue a message; the future is its block's number once that is on disk.

        Raises:
            Refused: SERVICE_UNAVAILABLE, too much waits.
        """
        full = len(self._waiting) >= MAX_WAITING or (
            self._waiting and self._bytes + admitted.size > MAX_WAITING_BYTES
        )
        if full:
            raise Refused(
                common_pb2.SERVICE_UNAVAILABLE,
                f"{len(self._waiting)} messages wait to be ordered on channel "
                f"{admitted.envelope.channel_header.channel_id}: try again later",
            )
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._undone.add(done)
        done.add_done_callback(self._undone.discard)
        self._waiting.append(Entry(admitted, update, proposed, done))
        self._bytes += admitted.size
        self._arrived.set()
        return done

    async def take(self, patience: float | None) -> Entry | None:
        """The next message; None after `patience` seconds without one, or when closing."""
        while not self._waiting:
            if self._closing or patience == 0:
                return None
            self._arrived.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        entry = self._waiting.popleft()
        self._bytes -= entry.admitted.size
        return entry

    def close(self) -> None:
        """`take` gives what waits and then None."""
        self._closing = True
        self._arrived.set()

    def refuse_all(self, reason: str) -> None:
        """Nothing waits any more; every sender without an answer gets SERVICE_UNAVAILABLE."""
        self._waiting.clear()
        self._bytes = 0
        for done in list(self._undone):
            refuse(done, Refused(common_pb2.SERVICE_UNAVAILABLE, reason))


def refuse(done: asyncio.Future[int], refusal: Refused) -> None:
    """Tell a sender, who may be gone, that the message is not ordered."""
    if not done.done():
        done.set_exception(refusal)
        # Its sender may be gone: nobody has to look at it.
        done.exception()
