"""Leaves, salts and the archive: what proves an event, and what is noticed when it was changed."""

import secrets
from collections import Counter
from pathlib import Path

import pytest

from admin.errors import FaultError
from admin.procedures.audit.logarchive import KeptBatch, LogArchive
from admin.procedures.audit.logproofs import (
    LogEventProof,
    derive_salt,
    hash_event,
    read_log_proof,
)
from admin.procedures.audit.logs import Cursor, read_lines
from admin.procedures.ledgers.evidence import NotShown
from chaincode import canonical, merkle

EVENTS = [f'{{"n":{n}}}'.encode() for n in range(9)]
SECRET = bytes(range(32))


def kept(tmp_path: Path, first: int = 1) -> tuple[LogArchive, KeptBatch]:
    leaves = [hash_event(derive_salt(SECRET, n), e) for n, e in enumerate(EVENTS, first)]
    batch = KeptBatch("ehr", first, first + 8, merkle.compute_root(leaves), SECRET, 1, 9, tx_id="t")
    archive = LogArchive(tmp_path, "ehr")
    archive.add(batch, b"".join(leaves))
    return archive, batch


def test_salts_are_never_the_same_and_need_the_secret() -> None:
    salts = Counter(derive_salt(secret, n) for secret in (SECRET, b"x" * 32) for n in range(500))
    assert set(salts.values()) == {1}
    assert len(derive_salt(SECRET, 1)) == 32


def test_the_same_event_twice_gives_different_leaves() -> None:
    """So a leaf in a neighbour's proof tells nobody that an event came again."""
    first, again = (hash_event(derive_salt(SECRET, n), EVENTS[0]) for n in (1, 2))
    assert first != again


def test_every_event_is_found_and_no_other(tmp_path: Path) -> None:
    archive, batch = kept(tmp_path)
    for number, event in enumerate(EVENTS, 1):
        assert archive.find(event) == (batch, number)
        assert archive.find(event, number) == (batch, number)
        assert archive.find(event, number % 9 + 1) is None
        for bit in range(len(event) * 8):
            changed = bytearray(event)
            changed[bit // 8] ^= 1 << bit % 8
            assert bytes(changed) in EVENTS or archive.find(bytes(changed)) is None
    assert archive.find(EVENTS[0], 10) is None


def test_the_archive_is_private_and_holds_no_event(tmp_path: Path) -> None:
    kept(tmp_path)
    files = list((tmp_path / "ehr").iterdir())
    assert len(files) == 2
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600
        assert not any(event in file.read_bytes() for event in EVENTS)


def test_changed_leaves_are_noticed(tmp_path: Path) -> None:
    archive, batch = kept(tmp_path)
    file = next((tmp_path / "ehr").glob("*.leaves"))
    raw = bytearray(file.read_bytes())
    for changed in (
        bytes(raw[:-32]),
        bytes(raw) + b"\0" * 32,
        bytes([raw[0] ^ 1]) + bytes(raw[1:]),
    ):
        file.write_bytes(changed)
        with pytest.raises(FaultError, match="the archive was changed"):
            archive.leaves(batch)


def test_what_is_no_batch_is_named(tmp_path: Path) -> None:
    archive, _ = kept(tmp_path)
    file = next((tmp_path / "ehr").glob("*.json"))
    file.write_text("{}")
    with pytest.raises(FaultError, match="no batch of the archive") as refusal:
        archive.batches()
    assert str(file) in refusal.value.fault.where


def test_unfinished_and_empty_lines_are_no_events(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\n\n  \ntwo\r\nthree")
    lines = list(read_lines(file))
    assert [(line.number, line.event) for line in lines] == [(1, b"one"), (4, b"two\r")]
    assert [line.number for line in read_lines(file, 1)] == [4]
    file.write_bytes(file.read_bytes() + b"!\n")
    last = lines[-1]
    further = list(read_lines(file, start=Cursor(0, last.number, last.end)))
    assert [(line.number, line.event) for line in further] == [(5, b"three!")]


PROOF = LogEventProof("care", "AMSP", "ehr", 1, 2, SECRET, (b"\1" * 32,), 7, "t")


@pytest.mark.parametrize(
    "changed",
    [
        {"format": "medfabric-record-proof/1"},
        {"salt": "00"},
        {"path": ["zz"]},
        {"sequence": "2"},
        {"extra": 1},
        {"path": None},
    ],
)
def test_a_proof_file_of_another_form_is_refused(changed: dict[str, object]) -> None:
    import json

    wire = {**canonical.to_wire(PROOF), **changed}
    with pytest.raises(NotShown):
        read_log_proof(json.dumps(wire).encode())
    with pytest.raises(NotShown):
        read_log_proof(secrets.token_bytes(20))
    assert read_log_proof(canonical.encode(PROOF)) == PROOF
