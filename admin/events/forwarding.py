"""Events brought to a webhook at least once, each key in order, as fast as the receiver takes them.

Each delivery waits for the one before it under the same key; different keys go side by side. A
failed attempt is tried again after a growing, jittered delay; a delivery whose attempts are used up
goes to the dead letters, and its key goes on. The checkpoint moves only over what was delivered or
is a dead letter, in the ledger's order, so that a crash at any moment loses nothing and at worst
sends some again, under the same id.
"""

import asyncio
import json
import os
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from admin.events.deliveries import Delivery, sign_delivery
from admin.events.target import Answer, Undelivered
from network.client.checkpoint import Checkpoint, Position

Send = Callable[[bytes, dict[str, str]], Awaitable[Answer]]
Sleep = Callable[[float], Awaitable[None]]


class ReceiverGone(Exception):
    """The receiver answered 410: it wants no more deliveries. Nothing was skipped."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a delivery is tried.

    After failure n the wait is drawn evenly from half to all of `first` · 2ⁿ⁻¹ seconds, at most
    `longest`; a receiver's Retry-After makes it longer, not shorter.
    """

    attempts: int = 12
    first: float = 1.0
    longest: float = 300.0

    def wait(self, failures: int, retry_after: float, draw: float) -> float:
        """Return the seconds before the next attempt; `draw` is random in [0, 1)."""
        full = min(self.first * 2.0 ** (failures - 1), self.longest)
        return max(full / 2 + draw * full / 2, retry_after)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an event: `detail` says why it is a dead letter, in no words of the payload.

    `delivery` is None for an event that was passed over.
    """

    delivery: Delivery | None
    attempts: int = 0
    status: int = 0
    detail: str = ""

    @property
    def delivered(self) -> bool:
        """Whether the receiver has it."""
        return self.delivery is not None and not self.detail


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event off the ledger: its place, and what is to be sent; None to pass it over.

    `refused` says why it must not be sent: it goes straight to the dead letters, without a body.
    """

    position: Position
    delivery: Delivery | None
    refused: str = ""


class DeadLetters:
    """A file of deliveries that were given up, one JSON document a line, mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, delivery: Delivery, outcome: Outcome, at: datetime) -> None:
        """The delivery is in the file, on disk."""
        entry = {
            "id": delivery.id,
            "type": delivery.type,
            "key": delivery.key,
            "blockNumber": delivery.block_number,
            "transactionId": delivery.transaction_id,
            "givenUpAt": at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "attempts": outcome.attempts,
            "reason": outcome.detail,
            "body": delivery.body.decode(),
        }
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[Delivery]:
        """Return the deliveries in the file. Raises ValueError with the line that is none."""
        found = []
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                found.append(_read_dead_letter(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError):
                raise ValueError(f"line {number} is no dead letter") from None
        return found

    def replace(self, ids: set[str]) -> None:
        """Only these deliveries are left in the file; it is gone when there is none."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if json.loads(line)["id"] in ids]
        if not kept:
            self.path.unlink()
            return
        aside = self.path.with_name(self.path.name + ".new")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(kept) + "\n")
        aside.replace(self.path)


def _read_dead_letter(entry: Any) -> Delivery:
    return Delivery(
        id=str(entry["id"]),
        type=str(entry["type"]),
        key=str(entry["key"]),
        block_number=int(entry["blockNumber"]),
        transaction_id=str(entry["transactionId"]),
        body=entry["body"].encode(),
    )


@dataclass(slots=True)
class _Underway:
    position: Position
    done: bool = False


class Forwarder:
    """Brings incoming events to a receiver; see the module's docstring.

    Attributes:
        side_by_side: deliveries in flight at once.
        window: events that may be under way before the stream has to wait.
    """

    def __init__(
        self,
        send: Send,
        secrets: tuple[bytes, ...],
        checkpoint: Checkpoint,
        dead_letters: DeadLetters,
        *,
        patience: Patience | None = None,
        side_by_side: int = 8,
        window: int = 256,
        tell: Callable[[Outcome], None] = lambda outcome: None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._send = send
        self._secrets = secrets
        self._checkpoint = checkpoint
        self._dead_letters = dead_letters
        self._patience = patience or Patience()
        self._tell = tell
        self._sleep = sleep
        self._free = asyncio.Semaphore(side_by_side)
        self._window = window
        self._underway: deque[_Underway] = deque()
        self._room = asyncio.Event()
        self._last: dict[str, asyncio.Task[None]] = {}

    @property
    def underway(self) -> int:
        """Events that came and that the checkpoint is not over yet."""
        return len(self._underway)

    async def run(self, incoming: AsyncIterator[Incoming]) -> None:
        """Forward until the events end, and all that came is delivered or a dead letter.

        Raises:
            ReceiverGone: the receiver answered 410; what it did not take comes again.
        """
        async with _Together() as together:
            async for one in incoming:
                while len(self._underway) >= self._window:
                    self._room.clear()
                    await self._room.wait()
                entry = _Underway(one.position)
                self._underway.append(entry)
                if one.delivery is None:
                    self._finish(entry, Outcome(None))
                    continue
                key = one.delivery.key
                task = together.start(self._bring(one, entry, self._last.get(key)))
                self._last[key] = task
                task.add_done_callback(partial(self._forget, key))

    async def _bring(
        self, one: Incoming, entry: _Underway, before: asyncio.Task[None] | None
    ) -> None:
        delivery = one.delivery
        assert delivery is not None
        if before is not None:
            await asyncio.wait([before])
        outcome = (
            Outcome(delivery, detail=one.refused) if one.refused else await self.deliver(delivery)
        )
        if not outcome.delivered:
            self._dead_letters.add(delivery, outcome, datetime.now(UTC))
        self._finish(entry, outcome)

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Try until the receiver has it or the attempts are used up. Raises ReceiverGone."""
        failures, detail, status = 0, "", 0
        while True:
            retry_after = 0.0
            headers = sign_delivery(delivery.id, delivery.body, self._secrets, datetime.now(UTC))
            try:
                async with self._free:
                    answer = await self._send(delivery.body, headers)
                status, retry_after = answer.status, answer.retry_after
                if answer.accepted:
                    return Outcome(delivery, failures + 1, status)
                if answer.gone:
                    raise ReceiverGone
                detail = f"the receiver answered {status}"
            except Undelivered as failure:
                status, detail = 0, str(failure)
            failures += 1
            if failures >= self._patience.attempts:
                return Outcome(delivery, failures, status, detail)
            draw = random.random()  # noqa: S311 spreads load only
            await self._sleep(self._patience.wait(failures, retry_after, draw))

    def _finish(self, entry: _Underway, outcome: Outcome) -> None:
        entry.done = True
        place: Position | None = None
        while self._underway and self._underway[0].done:
            place = self._underway.popleft().position
        if place is not None:
            self._checkpoint.record_transaction(place.block_number, place.transaction_id)
            self._room.set()
        self._tell(outcome)

    def _forget(self, key: str, task: asyncio.Task[None]) -> None:
        if self._last.get(key) is task:
            del self._last[key]


class _Together:
    """Tasks that end together: the first that fails ends the others and the body around them."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()

    def start(self, work: Any) -> asyncio.Task[None]:
        return self._group.create_task(work)

    async def __aenter__(self) -> "_Together":
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        try:
            await self._group.__aexit__(*raised)
        except BaseExceptionGroup as failures:
            # One receiver, one cause: the first failure tells it.
            raise failures.exceptions[0] from None
