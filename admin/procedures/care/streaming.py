"""Long work in a thread of its own, which ends at its next chunk when it is cancelled.

A first Ctrl-C cancels the command's coroutine, and a coroutine that works without a pause would
not notice: so streaming runs beside the event loop, and what it raises undoes what is half done.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
Progress = Callable[[int], None]

NO_PROGRESS: Progress = lambda done: None  # noqa: E731


class Interrupted(Exception):
    """The work was told to end; raised inside it, by its progress function."""


async def run_streaming(
    work: Callable[[Progress], Result], progress: Progress = NO_PROGRESS
) -> Result:
    """Return what `work` returns; it is called with a progress function to call at each chunk.

    Cancelled, it returns only when the work has ended and has cleaned up after itself.
    """
    stop = threading.Event()

    def tell(done: int) -> None:
        if stop.is_set():
            raise Interrupted
        progress(done)

    running = asyncio.ensure_future(asyncio.to_thread(work, tell))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        with contextlib.suppress(Exception):
            await running
        raise
