"""kill -9 of a peer's process at each step of a snapshot: it is whole later, or not there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from network.node.ledger.ledger import Ledger
from network.node.ledger.snapshot_export import get_snapshot_folder
from network.node.ledger.snapshot_import import verify_snapshot
from tests.network.node.ledger.test_ledger_replay import as_ordered, read_ledger, replay
from tests.network.node.ledger.test_snapshots import export, read_folder, until

LAST = 4
STEPS = ("asked", "begun", "half", "written", "named", "forgotten")
PATIENCE = 60

PEER = """
import asyncio, os, signal, sys
from pathlib import Path

from network.node.ledger import snapshot_export, snapshot_requests
from network.node.ledger.ledger import Ledger

step, folder = sys.argv[1], Path(sys.argv[2])


def die(*unused):
    os.kill(os.getpid(), signal.SIGKILL)


async def main():
    ledger = await Ledger.open(folder / "ledger", identity=b"")
    ledger.snapshots.enable(folder)
    rename = Path.rename
    if step == "asked":
        snapshot_requests.SnapshotRequests._start = die
    if step == "begun":
        snapshot_export._Export._write_txids = die
    if step == "half":
        snapshot_export._Export._private_hashes = die
    if step == "written":
        Path.rename = die
    if step == "named":
        Path.rename = lambda *names: (rename(*names), die())
    if step == "forgotten":
        snapshot_requests.SnapshotRequests._forget = die
    ledger.snapshots.submit(0)
    await asyncio.sleep(60)


asyncio.run(main())
"""


@pytest.mark.parametrize("step", STEPS)
async def test_a_killed_peer_makes_its_snapshot_at_the_next_start(
    step: str, tmp_path: Path
) -> None:
    blocks = read_ledger("behaviour")
    ledger = await replay(tmp_path / "ledger", blocks[: LAST + 1])
    ledger.snapshots.enable(tmp_path)
    ledger.snapshots.submit(30)
    expected = read_folder(export(ledger, tmp_path / "expected"))
    await ledger.close()

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PEER, step, str(tmp_path), stderr=asyncio.subprocess.PIPE
    )
    _, told = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == -9, told.decode()

    final = get_snapshot_folder(tmp_path, "ch", LAST)
    assert final.exists() == (step in ("named", "forgotten"))
    again = await Ledger.open(tmp_path / "ledger", identity=b"")
    again.snapshots.enable(tmp_path)
    await until(lambda: again.snapshots.pending == [30])
    assert verify_snapshot(final).last_block == LAST
    assert read_folder(final) == expected
    assert not list((tmp_path / "temp").iterdir())
    await again.commit(as_ordered(blocks[LAST + 1]))  # and the ledger goes on
    await again.close()
