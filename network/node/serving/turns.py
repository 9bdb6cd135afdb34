"""Calls begin a few in each turn of the event loop, so that nodes work at the same time.

What a loop's turn makes leaves at its end (`protos.http2.server`). A client that keeps hundreds of
calls under way is answered in waves: if they all began in one turn, the next node would be idle
until the last of them has been worked on, and then this one until the next node's last answer.
"""

from __future__ import annotations

import asyncio
from collections import deque

PER_TURN = 40
"""Calls that begin in one turn: fewer keep more nodes at work, and cost each of them more."""


class Turns:
    """Whose turn it is; use it from one event loop."""

    def __init__(self, per_turn: int = PER_TURN) -> None:
        self._per_turn = self._left = per_turn
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_counting = False

    def may_begin(self) -> bool:
        """Whether a call may begin at once; if not, it has to `wait`."""
        if not self._is_counting:
            self._is_counting = True
            asyncio.get_running_loop().call_soon(self._turn)
        if self._left == 0:
            return False
        self._left -= 1
        return True

    async def wait(self) -> None:
        """Return when the call may begin, those that have waited longer first."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _turn(self) -> None:
        self._left = self._per_turn
        while self._waiting and self._left:
            waiter = self._waiting.popleft()
            if not waiter.done():  # or its call was cancelled
                waiter.set_result(None)
                self._left -= 1
        self._is_counting = self._left < self._per_turn
        if self._is_counting:
            asyncio.get_running_loop().call_soon(self._turn)
