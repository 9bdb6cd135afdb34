"""When a transaction lost a race with another: try again, later each time, and not for ever."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from network.client.errors import CommitError, EndorseError, SubmitError

Result = TypeVar("Result")

CONFLICTS = frozenset({"MVCC_READ_CONFLICT", "PHANTOM_READ_CONFLICT"})
MISMATCH = "ProposalResponsePayloads do not match"


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how fast a conflicting transaction is tried again.

    Attributes:
        attempts: how many times in all, the first included; at least 1.
        first_delay: seconds before the second attempt.
        factor: what each further delay is multiplied by.
        longest_delay: seconds that no delay exceeds.
        patience: seconds for which an endorsed transaction is sent again while no orderer takes
            it, as while Raft elects a leader. It is the same transaction: in the ledger once.
    """

    attempts: int = 5
    first_delay: float = 0.05
    factor: float = 2.0
    longest_delay: float = 2.0
    patience: float = 20.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("a retry needs at least one attempt")

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds to wait after the given attempt (from 1), `chance` in [0, 1) of the full wait.

        Waiting a random part keeps those who lost together from meeting again.
        """
        full = min(self.first_delay * self.factor ** (attempt - 1), self.longest_delay)
        return full * (0.5 + chance / 2)


def is_conflict(error: Exception) -> bool:
    """Whether a fresh proposal may succeed where this one failed.

    True for the ledger's read conflicts, and for endorsements that differ because one peer had
    already committed what another had not.
    """
    if isinstance(error, CommitError):
        return error.code_name in CONFLICTS
    if isinstance(error, EndorseError):
        return any(MISMATCH in text for text in [error.message, *map(str, error.details)])
    return False


async def sending(send: Callable[[], Awaitable[Result]], patience: float) -> Result:
    """What sending gives once an orderer takes it.

    Raises:
        SubmitError: none did for `patience` seconds; any other failure at once.
    """
    waits, attempt = Retry(first_delay=0.1, longest_delay=1.0), 1
    clock = asyncio.get_running_loop()
    deadline = clock.time() + patience
    while True:
        try:
            return await send()
        except SubmitError as failure:
            if not failure.leaderless or clock.time() >= deadline:
                raise
        await asyncio.sleep(waits.delay(attempt, random.random()))  # noqa: S311 no secret
        attempt += 1


async def retrying(journey: Callable[[], Awaitable[Result]], retry: Retry) -> Result:
    """The result of the first journey that meets no conflict.

    Raises:
        CommitError, EndorseError: the last attempt's conflict, or at once any other failure.
    """
    attempt = 1
    while True:
        try:
            return await journey()
        except (CommitError, EndorseError) as failure:
            if attempt >= retry.attempts or not is_conflict(failure):
                raise
        await asyncio.sleep(retry.delay(attempt, random.random()))  # noqa: S311 no secret
        attempt += 1
