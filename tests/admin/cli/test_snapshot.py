"""`medfabric channel snapshot` where no network is needed: a snapshot in a folder."""

import shutil
from pathlib import Path

from tests.admin.command import medfabric

SNAPSHOT = Path(__file__).parents[2] / "vectors" / "ledger" / "behaviour" / "snapshot"


def test_show_says_what_a_real_peers_snapshot_is_of() -> None:
    ran = medfabric("channel", "snapshot", "show", str(SNAPSHOT), "--json")
    assert ran.code == 0
    found = ran.json["result"]
    assert (found["channel"], found["lastBlock"]) == ("ch", 39)
    assert found["snapshotHash"] in (SNAPSHOT / "_snapshot_additional_metadata.json").read_text()
    assert "txids.data" in found["files"]
    assert (
        "channel ch after block 39: whole"
        in medfabric("channel", "snapshot", "show", str(SNAPSHOT)).out
    )


def test_show_names_the_file_that_was_changed(tmp_path: Path) -> None:
    changed = Path(shutil.copytree(SNAPSHOT, tmp_path / "snapshot"))
    (changed / "txids.data").write_bytes(b"\x01")
    ran = medfabric("channel", "snapshot", "show", str(changed))
    assert ran.code == 3
    assert "hash mismatch for file [txids.data]" in ran.err


def test_peers_are_named_for_a_snapshot_only() -> None:
    ran = medfabric("channel", "join", "--peer", "peer0")
    assert ran.code == 2
    assert "--peer needs --snapshot" in ran.err
