"""One process at a time on a node's data folder.

A node that was killed with its supervisor, or asked to end, may still be storing its last block
when its successor starts: the successor waits for it. Two nodes that are started on one folder by
mistake would each think that they make the next block: the second one is refused. The kernel gives
the lock back however its holder ends.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from network.node.serving.settings import SettingsError

PATIENCE = 15.0
"""Seconds in which a process that is ending should have ended."""
LOCK_FILE = "node.lock"
_PAUSE = 0.05


class FolderLock:
    """Holds a folder from `take` to `release`."""

    def __init__(self, folder: Path, setting: str) -> None:
        """`setting` is what names the folder, for the refusal's text."""
        self._folder = folder
        self._setting = setting
        self._file = -1

    async def take(self, patience: float = PATIENCE) -> None:
        """The folder is there, and no other node uses it.

        Raises:
            SettingsError: another node has used it for `patience` seconds, or it cannot be made.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SettingsError(f"{self._setting}: {self._folder}: {error.strerror}") from error
        end = time.monotonic() + patience
        while not self._try():
            if time.monotonic() > end:
                self.release()
                raise SettingsError(
                    f"{self._setting}: {self._folder} is in use by another process: stop it, or"
                    " give this node a folder of its own"
                )
            await asyncio.sleep(_PAUSE)

    async def take_and_open(
        self, opening: Callable[[], Awaitable[None]], fault: type[Exception]
    ) -> None:
        """The folder is taken, and what is kept in it is open.

        Raises:
            SettingsError: as `take`; or `opening` met the `fault`, and the folder is free again.
        """
        await self.take()
        try:
            await opening()
        except fault as error:
            self.release()
            raise SettingsError(f"{self._setting}: {error}") from error

    def release(self) -> None:
        """Another node may use the folder."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
