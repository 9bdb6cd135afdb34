"""Serves a chaincode and lets each saved version take over from the one before.

reloader = Reloader(Orders("assets:chaincode", (target,), grace=5), trees=[], tell=print)
await reloader.run(stopping)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from chaincode.development import child
from chaincode.development.child import Orders
from chaincode.development.news import Broken, Printed, Serving, Tell, read_news
from chaincode.development.watch import INTERVAL_SECONDS, Watcher

SETTLE_SECONDS = 0.05
"""Editors write a file in several steps; a change counts when this long nothing more happened."""

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of one line that the code may print."""

Claim = Callable[[], AbstractAsyncContextManager[object]]


class Reloader:
    """The loop."""

    def __init__(
        self,
        orders: Orders,
        *,
        tell: Tell,
        trees: Iterable[Path] = (),
        claim: Claim = contextlib.nullcontext,
    ) -> None:
        """`claim` is entered when the first version was loaded, and makes its addresses free.

        `trees` are folders to watch whole, beside those of the Python files that were loaded.
        """
        self._orders = orders
        self._tell = tell
        self._claim = claim
        self._watcher = Watcher(trees)
        self._version = 0
        self._child: _Child | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set; then nothing of it runs."""
        stop = asyncio.create_task(stopping.wait())
        try:
            first = await self._first(stop)
            if first is not None:
                async with self._claim():
                    await self._serve(first, stop)
        finally:
            stop.cancel()

    async def _first(self, stop: asyncio.Task[Any]) -> _Child | None:
        """The first version that can be loaded; None when it was stopped before."""
        while not stop.done():
            loaded = await self._load(stop)
            if loaded is not None:
                return loaded
            await self._change(stop)
        return None

    async def _serve(self, first: _Child, stop: asyncio.Task[Any]) -> None:
        began: float | None = None
        loaded: _Child | None = first
        try:
            while not stop.done():
                if loaded is not None:
                    await self._take_over(loaded, began)
                await self._change(stop)
                began = time.monotonic()
                loaded = None if stop.done() else await self._load(stop)
        finally:
            ending = {one for one in (self._child, loaded) if one is not None}
            self._child = None
            await asyncio.gather(*(one.end() for one in ending))

    async def _load(self, stop: asyncio.Task[Any]) -> _Child | None:
        """A process that has loaded the files as they are now, and waits; None if they do not."""
        since = time.time()
        started = await _Child.start(self._orders, self._tell)
        loading = asyncio.ensure_future(started.loaded)
        await asyncio.wait((loading, stop), return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            loading.cancel()
            await started.end()
            return None
        told = loading.result()
        self._watcher.follow((Path(file) for file in told.get("files", ())), since)
        if told["message"] == child.LOADED:
            return started
        self._tell(Broken(told["problem"], self._child is not None))
        await started.end()
        return None

    async def _take_over(self, loaded: _Child, began: float | None) -> None:
        if self._child is not None and self._orders.one_at_a_time:
            await self._child.end()
        problem = await loaded.serve()
        if problem:
            self._tell(Broken(problem, self._child is not None))
            await loaded.end()
            return
        old, self._child = self._child, loaded
        if old is not None:
            await old.end()
        self._version += 1
        self._tell(Serving(self._version, 0.0 if began is None else time.monotonic() - began))

    async def _change(self, stop: asyncio.Task[Any]) -> None:
        """Returns when files have changed and come to rest, the process has ended, or at stop."""
        changed = False
        while not stop.done():
            if self._watcher.get_changed():
                changed = True
            elif changed:
                return
            elif self._child is not None and self._child.ended:
                self._tell(Printed("the code's process has ended by itself; starting it again"))
                self._child = None
                await asyncio.sleep(1)
                return
            await asyncio.wait((stop,), timeout=SETTLE_SECONDS if changed else INTERVAL_SECONDS)


class _Child:
    """A process with one version of the code."""

    def __init__(self, process: asyncio.subprocess.Process, tell: Tell) -> None:
        loop = asyncio.get_running_loop()
        self._process = process
        self._tell = tell
        self.loaded: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._listening: asyncio.Future[str] = loop.create_future()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, orders: Orders, tell: Tell) -> _Child:
        """It begins to load."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", child.__name__),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
        )
        started = cls(process, tell)
        started._say(orders.build())
        return started

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def serve(self) -> str:
        """It listens: ""; or why it cannot."""
        self._say(child.SERVE)
        return await self._listening

    async def end(self) -> None:
        """Its running transactions have ended, and so has it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not self._listening.done() and not self.ended:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()  # it loads, or waits: there is nothing to let end
        await self._process.wait()
        await self._reading

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            self._hear(raw.decode("utf-8", "replace").rstrip("\n"))
        code = await self._process.wait()
        problem = f"the process ended with {code} while it loaded the code"
        if not self.loaded.done():
            self.loaded.set_result({"message": child.NOT_LOADED, "problem": problem})
        if not self._listening.done():
            self._listening.set_result(problem)

    def _hear(self, text: str) -> None:
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict) or "logger" not in line:
            self._tell(Printed(text))
        elif line["message"] in (child.LOADED, child.NOT_LOADED):
            self.loaded.set_result(line)
        elif line["message"] in (child.LISTENING, child.NOT_LISTENING):
            self._listening.set_result(line.get("problem", ""))
        elif (news := read_news(line)) is not None:
            self._tell(news)
