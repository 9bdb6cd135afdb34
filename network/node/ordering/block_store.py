"""An orderer's chain of blocks on disk: one SQLite database a channel, append only.

What durability rests on: the database runs in WAL mode with synchronous=FULL, so `append` returns
only when the block's log record has been fsynced. The orderer acknowledges an envelope, and shows
a block to any reader, only after that. A process killed at any moment (kill -9) or a machine that
loses power therefore never takes back a block that someone has seen; with synchronous=NORMAL a
power cut could, and a second, different block of the same number would fork the channel. A block
is one row, so it is there whole or not at all.

Folders appear and vanish by rename, so a crash while joining or removing a channel leaves either
the channel or nothing: `<location>/channels/<channel id>/blocks.db`; `.joining-` and `.removing-`
folders are swept at start. An orderer that joined with a later config block keeps that in
`join.block` beside it until it has fetched the chain.
"""

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from network.rules.blocks.block import last_config_index, open_block
from network.rules.envelope import MalformedMessage

# Blocks kept in memory for readers at the tip, in bytes a channel.
CACHE_BYTES = 16 * 1024 * 1024
_DATABASE = "blocks.db"
_JOIN_BLOCK = "join.block"
# What a disk must have room for before it counts as not full any more.
_ROOM = 1024 * 1024
_JOINING, _REMOVING = ".joining-", ".removing-"


class StoreError(Exception):
    """The disk did not do what was asked: full, failing, or a database that is not readable."""


class DiskFull(StoreError):
    """There is no room for a block; nothing of it was stored."""


class BlockStore:
    """The blocks of one channel. Use `create` or `open`; every method belongs to one event loop.

    One thread does all of a channel's disk work, so the loop never waits for the disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.height = 0
        self.last_config = 0
        self.join_block = b""
        """The later config block that the channel was joined with, until `forget_join_block`."""
        self.failure = ""
        self._closed = False
        self._grown = asyncio.Event()
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached_bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"blocks-{folder.name}")
        self._database: sqlite3.Connection | None = None

    @classmethod
    async def create(cls, location: Path, channel_id: str, genesis: bytes) -> "BlockStore":
        """A new channel that begins with the config block `genesis`, durable when this returns.

        A block of a number above 0 is only kept as `join_block`: the chain up to it has to come.

        Raises:
            StoreError: the channel's folder exists, or the disk refuses.
        """
        folder = _channels_folder(location) / channel_id
        joining = folder.with_name(_JOINING + channel_id)
        if folder.exists():
            raise StoreError(f"{folder}: the channel's folder already exists")
        try:
            shutil.rmtree(joining, ignore_errors=True)
            joining.mkdir(parents=True)
            staged = cls(joining)
            await staged._open()
            block = open_block(genesis)
            if block.header.number == 0:
                await staged.append(block, genesis)
            else:
                _write_durably(joining / _JOIN_BLOCK, genesis)
            await staged.close()
            joining.rename(folder)
            _sync_folder(folder.parent)
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror or error}") from error
        return await cls.open(location, channel_id)

    @classmethod
    async def open(cls, location: Path, channel_id: str) -> "BlockStore":
        """The channel as it was left.

        Raises:
            StoreError: there is none, or its last block cannot be read.
        """
        folder = _channels_folder(location) / channel_id
        if not (folder / _DATABASE).is_file():
            raise StoreError(f"{folder}: no {_DATABASE}")
        store = cls(folder)
        await store._open()
        try:
            store.join_block = (folder / _JOIN_BLOCK).read_bytes()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror or error}") from error
        return store

    async def append(self, block: Any, raw: bytes) -> None:
        """Store `block`, whose bytes are `raw`, as the next one; durable on return.

        Readers that wait for it are woken. Raises StoreError if the disk refuses: nothing was
        stored then, and the store's height says so.
        """
        number = block.header.number
        if number != self.height:
            raise StoreError(f"{self.folder}: block {number} offered at height {self.height}")
        await self._run(self._insert, number, raw)
        self.last_config = last_config_index(block)
        self._remember(number, raw)
        self.height = number + 1
        self._wake()

    async def get_block(self, number: int) -> bytes:
        """Block bytes. Raises StoreError if the number is not below the height."""
        cached = self._cache.get(number)
        if cached is not None:
            return cached
        raw: bytes = await self._run(self._select, number)
        return raw

    async def wait_for(self, number: int) -> None:
        """Return when block `number` exists, or at once where `failure` is set."""
        while self.height <= number and not self.failure:
            await self._grown.wait()

    def fail(self, reason: str) -> None:
        """Say that no more blocks will come, and wake who waits for them."""
        self.failure = reason
        self._wake()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def reopen(self) -> None:
        """Take blocks again after a failure, from the last one that is on disk on.

        What a reader was shown before is there; a block that failed may be there as well.

        Raises:
            DiskFull: there is no room yet; other StoreErrors: the database cannot be read.
        """
        await self._run(self._make_sure_of_room)
        await self._run(self._close)
        self._cache.clear()
        self._cached_bytes = 0
        await self._open()
        self.failure = ""
        self._wake()

    async def forget_join_block(self) -> None:
        """The chain no longer depends on the block it was joined with."""
        if self.join_block:
            self.join_block = b""
            await self._run((self.folder / _JOIN_BLOCK).unlink, True)

    async def close(self) -> None:
        """Close the database, if it is open; nothing is pending, since `append` waits."""
        if not self._closed:
            await self._run(self._close)
            self._closed = True
            self._thread.shutdown(wait=False)

    async def remove(self) -> None:
        """Close and delete the channel's folder; after a crash in between it is still gone."""
        await self.close()
        try:
            removing = self.folder.with_name(_REMOVING + self.folder.name)
            self.folder.rename(removing)
            _sync_folder(removing.parent)
            shutil.rmtree(removing)
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror or error}") from error

    async def _open(self) -> None:
        newest = await self._run(self._connect)
        if newest is None:
            return
        number, raw = newest
        try:
            block = open_block(raw)
            self.last_config = last_config_index(block)
        except MalformedMessage as error:
            raise StoreError(f"{self.folder}: block {number}: {error}") from error
        if block.header.number != number:
            raise StoreError(f"{self.folder}: block {number} says it is {block.header.number}")
        self.height = number + 1

    async def _run(self, function: Any, *args: Any) -> Any:
        if self._closed:
            raise StoreError(f"{self.folder}: the channel is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
        except sqlite3.Error as error:
            is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            kind = DiskFull if is_full else StoreError
            raise kind(f"{self.folder / _DATABASE}: {error}") from error

    # --- in the store's thread ---

    def _connect(self) -> tuple[int, bytes] | None:
        # Transactions are begun and committed by hand; isolation_level None keeps sqlite3 out.
        database = sqlite3.connect(
            self.folder / _DATABASE, isolation_level=None, check_same_thread=False
        )
        self._database = database
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute(
            "CREATE TABLE IF NOT EXISTS block (number INTEGER PRIMARY KEY, raw BLOB NOT NULL)"
        )
        newest = database.execute(
            "SELECT number, raw FROM block ORDER BY number DESC LIMIT 1"
        ).fetchone()
        if newest is None:
            return None
        # Counting would read the whole chain; a block missing in between shows when it is read.
        oldest = database.execute("SELECT MIN(number) FROM block").fetchone()[0]
        if oldest != 0:
            raise sqlite3.DatabaseError(f"the oldest block is number {oldest}")
        return int(newest[0]), bytes(newest[1])

    def _insert(self, number: int, raw: bytes) -> None:
        self._connection.execute("INSERT INTO block (number, raw) VALUES (?, ?)", (number, raw))

    def _select(self, number: int) -> bytes:
        row = self._connection.execute(
            "SELECT raw FROM block WHERE number = ?", (number,)
        ).fetchone()
        if row is None:
            raise sqlite3.DatabaseError(f"block {number} is missing")
        return bytes(row[0])

    def _make_sure_of_room(self) -> None:
        """A scratch file, not the database: that one is not touched before there is room."""
        scratch = self.folder / ".room"
        try:
            _write_durably(scratch, bytes(_ROOM))
        except OSError as error:
            raise DiskFull(f"{self.folder}: {error.strerror or error}") from error
        finally:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise sqlite3.ProgrammingError("the channel's database is closed")
        return self._database

    def _remember(self, number: int, raw: bytes) -> None:
        self._cache[number] = raw
        self._cached_bytes += len(raw)
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= len(dropped)


def list_channels(location: Path) -> list[str]:
    """The channel ids with a folder under `location`, sorted; half-made ones are swept away.

    Raises:
        StoreError: the folder cannot be made or read.
    """
    folder = _channels_folder(location)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror or error}") from error
    channels = []
    for entry in entries:
        if entry.name.startswith((_JOINING, _REMOVING)):
            with contextlib.suppress(OSError):
                shutil.rmtree(entry)
        elif (entry / _DATABASE).is_file():
            channels.append(entry.name)
    return channels


def _write_durably(file: Path, content: bytes) -> None:
    with file.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _channels_folder(location: Path) -> Path:
    return location / "channels"
