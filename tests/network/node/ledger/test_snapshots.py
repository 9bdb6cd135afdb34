"""Snapshots of a ledger: the files are a real peer's, and a ledger goes on from any of them."""

import asyncio
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from network.node.ledger import snapshot_requests
from network.node.ledger.ledger import Ledger
from network.node.ledger.snapshot_export import ExportStopped, export_snapshot, get_snapshot_folder
from network.node.ledger.snapshot_import import ImportStopped, import_snapshot
from network.node.ledger.snapshot_requests import SnapshotRefused
from network.node.ledger.sqlite_store import LEDGER_FILE
from network.node.ledger.store import StoreError
from network.rules.identity.identity import serialize_identity
from network.rules.snapshots.form import MalformedSnapshot
from network.rules.snapshots.metadata import ADDITIONAL, SIGNABLE, open_metadata
from network.rules.validation.commit_hash import get_commit_hash
from network.rules.validation.commit_hash import get_validation_codes as codes_of
from tests.network.node.ledger.test_ledger_replay import VECTORS, as_ordered, read_ledger, replay

ORG1 = serialize_identity("Org1MSP", b"not a certificate")
IDENTITY = b""


def read_folder(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def export(ledger: Ledger, root: Path) -> Path:
    return export_snapshot(ledger.folder / LEDGER_FILE, root)


async def born_of(snapshot: Path, folder: Path, identity: bytes = ORG1) -> Ledger:
    await asyncio.to_thread(import_snapshot, folder, snapshot, identity)
    return await Ledger.open(folder, identity=identity)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", ["behaviour", "malformed"])
async def test_a_snapshot_has_the_bytes_of_a_real_peers(name: str, tmp_path: Path) -> None:
    ledger = await replay(tmp_path / "ledger", read_ledger(name))
    folder = export(ledger, tmp_path)
    assert folder == get_snapshot_folder(tmp_path, "ch", ledger.height - 1)
    assert read_folder(folder) == read_folder(VECTORS / name / "snapshot")
    assert list((tmp_path / "temp").iterdir()) == []
    await ledger.close()


@pytest.mark.parametrize("last", [1, 6, 20, 30])
async def test_a_ledger_goes_on_from_a_snapshot(last: int, tmp_path: Path) -> None:
    """Every code, commit hash and byte of the later blocks is as if all had been there."""
    blocks = read_ledger("behaviour")
    first = await replay(tmp_path / "first", blocks[: last + 1])
    ledger = await born_of(export(first, tmp_path / "s1"), tmp_path / "second")
    await first.close()
    assert (ledger.height, ledger.commit_hash) == (last + 1, get_commit_hash(blocks[last]))
    assert ledger.config.sequence == 0
    for block in blocks[last + 1 :]:
        committed = await ledger.commit(as_ordered(block))
        assert list(committed.codes) == list(codes_of(block)), block.header.number
        assert committed.raw == block.SerializeToString(), block.header.number
    folder = export(ledger, tmp_path / "s2")
    assert read_folder(folder) == read_folder(VECTORS / "behaviour" / "snapshot")
    await ledger.close()
    again = await Ledger.open(tmp_path / "second", identity=ORG1)
    assert again.origin.first_block == last + 1
    await again.close()


async def test_a_real_peers_snapshot_is_taken_over_whole(tmp_path: Path) -> None:
    real = VECTORS / "behaviour" / "snapshot"
    ledger = await born_of(real, tmp_path / "ledger")
    blocks = read_ledger("behaviour")
    assert ledger.height == 40
    assert ledger.tip_hash == ledger.origin.last_hash
    assert read_folder(export(ledger, tmp_path)) == read_folder(real)
    known = await replay(tmp_path / "known", blocks)
    definition = ledger.definition("maj")
    assert definition is not None
    assert definition == known.definition("maj")
    await known.close()
    await ledger.close()


async def test_what_went_before_a_snapshot_is_known_by_id_only(tmp_path: Path) -> None:
    ledger = await born_of(VECTORS / "behaviour" / "snapshot", tmp_path / "ledger")
    tx_id = await _any_tx_id(tmp_path)
    assert ledger.has_transaction(tx_id)
    assert ledger.tx_status(tx_id) is None
    with pytest.raises(KeyError):
        await ledger.get_block(39)
    with ledger.snapshot() as snapshot:
        assert snapshot.has_transaction(tx_id)
        assert not snapshot.has_transaction("0" * 64)
    await ledger.close()


async def test_a_replay_of_what_went_before_is_a_duplicate(tmp_path: Path) -> None:
    """Block 24 of the vectors replays a transaction of block 23, once blocks up to 23 are gone."""
    blocks = read_ledger("behaviour")
    first = await replay(tmp_path / "first", blocks[:24])
    ledger = await born_of(export(first, tmp_path), tmp_path / "second")
    codes = list((await ledger.commit(as_ordered(blocks[24]))).codes)
    assert codes == list(codes_of(blocks[24]))
    await first.close()
    await ledger.close()


async def _any_tx_id(folder: Path) -> str:
    ledger = await replay(folder / "whole", read_ledger("behaviour")[:9])
    with ledger.snapshot() as snapshot:
        rows = snapshot.select("SELECT tx_id FROM transactions WHERE block = 8 AND tx = 0", ())
    await ledger.close()
    return str(rows[0][0])


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file", ["public_state.data", "txids.metadata", "private_state_hashes.data", SIGNABLE]
)
async def test_a_changed_file_is_refused_by_name(file: str, tmp_path: Path) -> None:
    snapshot = _copy(tmp_path)
    raw = bytearray((snapshot / file).read_bytes())
    raw[-1] ^= 1
    (snapshot / file).write_bytes(raw)
    with pytest.raises(MalformedSnapshot, match=f"{file}|unmarshalling"):
        import_snapshot(tmp_path / "ledger", snapshot, IDENTITY)
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize("file", ["public_state.data", ADDITIONAL])
async def test_a_missing_file_is_refused_by_name(file: str, tmp_path: Path) -> None:
    snapshot = _copy(tmp_path)
    (snapshot / file).unlink()
    with pytest.raises(MalformedSnapshot, match=file):
        import_snapshot(tmp_path / "ledger", snapshot, IDENTITY)


def _cut(raw: bytes) -> bytes:
    return raw[:-1]


def _lengthen(raw: bytes) -> bytes:
    return raw + b"\x00"


def _change_format(raw: bytes) -> bytes:
    return b"\x02" + raw[1:]


@pytest.mark.parametrize("change", [_cut, _lengthen, _change_format])
@pytest.mark.parametrize("name", ["txids", "confighistory", "public_state", "private_state_hashes"])
@pytest.mark.parametrize("suffix", ["data", "metadata"])
async def test_a_forged_file_with_the_right_hash_is_refused(
    name: str, suffix: str, change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    snapshot = _copy(tmp_path)
    _forge(snapshot, f"{name}.{suffix}", change((snapshot / f"{name}.{suffix}").read_bytes()))
    with pytest.raises(MalformedSnapshot):
        import_snapshot(tmp_path / "ledger", snapshot, ORG1)


async def test_a_snapshot_without_configuration_is_refused(tmp_path: Path) -> None:
    snapshot = _copy(tmp_path)
    _forge(snapshot, "public_state.data", b"\x01")
    _forge(snapshot, "public_state.metadata", b"\x01\x00")
    with pytest.raises(MalformedSnapshot, match="no channel configuration"):
        import_snapshot(tmp_path / "ledger", snapshot, ORG1)


def _copy(folder: Path) -> Path:
    return Path(shutil.copytree(VECTORS / "behaviour" / "snapshot", folder / "snapshot"))


def _forge(snapshot: Path, name: str, content: bytes) -> None:
    """The file holds the content, and the metadata vouches for it."""
    (snapshot / name).write_bytes(content)
    found = open_metadata((snapshot / SIGNABLE).read_bytes(), (snapshot / ADDITIONAL).read_bytes())
    forged = replace(found, files={**found.files, name: sha256(content).digest()})
    (snapshot / SIGNABLE).write_bytes(forged.build_signable())
    (snapshot / ADDITIONAL).write_bytes(forged.build_additional())


async def test_making_and_taking_over_end_when_the_peer_stops(tmp_path: Path) -> None:
    ledger = await replay(tmp_path / "ledger", read_ledger("behaviour")[:3])
    with pytest.raises(ExportStopped):
        export_snapshot(ledger.folder / LEDGER_FILE, tmp_path, lambda: True)
    assert list((tmp_path / "temp").iterdir()) == []
    await ledger.close()
    with pytest.raises(ImportStopped):
        import_snapshot(tmp_path / "other", VECTORS / "behaviour" / "snapshot", ORG1, lambda: True)


# --- requests -------------------------------------------------------------------------------


async def test_requests_are_kept_and_served_at_their_blocks(tmp_path: Path) -> None:
    blocks = read_ledger("behaviour")
    ledger = await replay(tmp_path / "ledger", blocks[:3])
    ledger.snapshots.enable(tmp_path)
    ledger.snapshots.submit(0)
    await until(lambda: ledger.snapshots.pending == [])
    for block in (7, 5, 100):
        ledger.snapshots.submit(block)
    assert ledger.snapshots.pending == [5, 7, 100]
    for block in blocks[3:10]:
        await ledger.commit(as_ordered(block))
    await until(lambda: ledger.snapshots.pending == [100])
    made = {int(folder.name) for folder in (tmp_path / "completed" / "ch").iterdir()}
    assert made == {2, 5, 7}
    for number in (5, 7):
        whole = await replay(tmp_path / f"whole{number}", blocks[: number + 1])
        expected = read_folder(export(whole, tmp_path / f"other{number}"))
        assert read_folder(get_snapshot_folder(tmp_path, "ch", number)) == expected
        await whole.close()
    await ledger.close()
    again = await Ledger.open(tmp_path / "ledger", identity=b"")
    again.snapshots.enable(tmp_path)
    assert again.snapshots.pending == [100]
    await again.close()


async def test_refusals_have_fabrics_words(tmp_path: Path) -> None:
    ledger = await replay(tmp_path / "ledger", read_ledger("behaviour")[:3])
    requests = ledger.snapshots
    requests.enable(tmp_path)
    requests.submit(2)
    await until(lambda: requests.pending == [])
    requests.submit(9)
    cases: list[tuple[Callable[[int], None], int, str]] = [
        (
            requests.submit,
            1,
            "requested snapshot for block number 1 cannot be less than the last committed block"
            " number 2",
        ),
        (requests.submit, 0, "snapshot already generated for block number 2"),
        (requests.submit, 9, "duplicate snapshot request for block number 9"),
        (requests.cancel, 8, "no snapshot request exists for block number 8"),
    ]
    for call, block, text in cases:
        with pytest.raises(SnapshotRefused) as refused:
            call(block)
        assert str(refused.value) == text
    requests.cancel(9)
    assert requests.pending == []
    await ledger.close()


class Held:
    """An export that waits until it is let go, or told to stop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        monkeypatch.setattr(snapshot_requests, "export_snapshot", self)

    def __call__(self, database: Path, root: Path, is_stopping: Callable[[], bool]) -> Path:
        self.begun.set()
        while not self.go.wait(0.01):
            if is_stopping():
                raise ExportStopped
        return export_snapshot(database, root)


async def test_no_block_is_committed_while_a_snapshot_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    blocks = read_ledger("behaviour")
    ledger = await replay(tmp_path / "ledger", blocks[:3])
    ledger.snapshots.enable(tmp_path)
    ledger.snapshots.submit(3)
    await ledger.commit(as_ordered(blocks[3]))  # answers although the snapshot is not made
    await asyncio.to_thread(held.begun.wait, 60)
    with pytest.raises(SnapshotRefused, match="under processing"):
        ledger.snapshots.cancel(3)
    following = asyncio.create_task(ledger.commit(as_ordered(blocks[4])))
    await asyncio.sleep(0.2)
    assert ledger.height == 4
    with pytest.raises(SnapshotRefused, match="last committed block number 4"):
        ledger.snapshots.submit(3)
    held.go.set()
    await following
    assert ledger.height == 5
    made = read_folder(get_snapshot_folder(tmp_path, "ch", 3))
    whole = await replay(tmp_path / "whole", blocks[:4])
    assert made == read_folder(export(whole, tmp_path / "other"))
    await whole.close()
    await ledger.close()


async def test_a_snapshot_that_stopping_interrupted_is_made_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    ledger = await replay(tmp_path / "ledger", read_ledger("behaviour")[:3])
    ledger.snapshots.enable(tmp_path)
    ledger.snapshots.submit(0)
    await asyncio.to_thread(held.begun.wait, 60)
    await ledger.close()
    assert not get_snapshot_folder(tmp_path, "ch", 2).exists()
    held.go.set()
    again = await Ledger.open(tmp_path / "ledger", identity=b"")
    again.snapshots.enable(tmp_path)
    await until(lambda: again.snapshots.pending == [])
    assert get_snapshot_folder(tmp_path, "ch", 2).exists()
    await again.close()


async def test_a_failing_snapshot_does_not_stop_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*unused: Any) -> Path:
        raise OSError("the disk is full")

    monkeypatch.setattr(snapshot_requests, "export_snapshot", fail)
    blocks = read_ledger("behaviour")
    ledger = await replay(tmp_path / "ledger", blocks[:3])
    ledger.snapshots.enable(tmp_path)
    ledger.snapshots.submit(0)
    await until(lambda: ledger.snapshots.pending == [])
    await ledger.commit(as_ordered(blocks[3]))
    await ledger.close()


async def test_requests_that_cannot_be_read_say_what_to_do(tmp_path: Path) -> None:
    ledger = await replay(tmp_path / "ledger", read_ledger("behaviour")[:2])
    (ledger.folder / snapshot_requests.REQUESTS).write_text("five\n")
    with pytest.raises(StoreError, match="Remove the file"):
        ledger.snapshots.enable(tmp_path)
    await ledger.close()
