"""Calls begin a few at a time, in the order in which they came."""

import asyncio
from itertools import pairwise

from network.node.serving.turns import Turns


class Calls:
    """Calls that note when they begin."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.begun: list[int] = []

    async def begin(self, number: int) -> None:
        if not self._turns.may_begin():
            await self._turns.wait()
        self.begun.append(number)

    def start(self, count: int) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.begin(number)) for number in range(count)]


async def test_a_few_begin_in_each_turn_and_in_order() -> None:
    calls = Calls(Turns(3))
    tasks = calls.start(10)
    counts = [0]
    while len(calls.begun) < 10:
        await asyncio.sleep(0)
        counts.append(len(calls.begun))
    await asyncio.gather(*tasks)
    assert calls.begun == list(range(10))
    assert max(after - before for before, after in pairwise(counts)) == 3


async def test_a_lone_call_begins_at_once_again_and_again() -> None:
    turns = Turns(1)
    for _ in range(3):
        assert turns.may_begin()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_a_call_that_is_given_up_takes_nobodys_turn() -> None:
    calls = Calls(Turns(2))
    tasks = calls.start(6)
    await asyncio.sleep(0)
    for one in tasks[2:4]:
        one.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert calls.begun == [0, 1, 4, 5]
