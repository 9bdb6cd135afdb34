"""One process at a time on a data folder."""

import asyncio
import sys
from pathlib import Path

import pytest

from network.node.serving.folder_lock import LOCK_FILE, FolderLock
from network.node.serving.settings import SettingsError

HOLD = (
    "import fcntl, sys, time; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX);"
    " print('held', flush=True); time.sleep(60)"
)


async def test_a_second_one_is_refused_until_the_first_has_let_go(tmp_path: Path) -> None:
    first, second = (FolderLock(tmp_path / "new", "peer.fileSystemPath") for _ in range(2))
    await first.take()
    with pytest.raises(SettingsError) as refused:
        await second.take(patience=0.1)
    assert str(refused.value) == (
        f"peer.fileSystemPath: {tmp_path / 'new'} is in use by another process: stop it, or give"
        " this node a folder of its own"
    )
    first.release()
    await second.take(patience=0)
    second.release()


async def test_it_waits_for_a_process_that_ends_however_it_ends(tmp_path: Path) -> None:
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, str(tmp_path / LOCK_FILE), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    lock = FolderLock(tmp_path, "FileLedger.Location")
    waiting = asyncio.create_task(lock.take())
    await asyncio.sleep(0.2)
    assert not waiting.done()
    holder.kill()
    await holder.wait()
    await asyncio.wait_for(waiting, 60)
    lock.release()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"peer\.fileSystemPath: .*file/under: Not a directory"):
        await FolderLock(tmp_path / "file" / "under", "peer.fileSystemPath").take()
