"""The bytes of a snapshot's files: what is written is read again, and nothing else is."""

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.rules.snapshots import form
from network.rules.snapshots.form import CollectionsEntry, MalformedSnapshot, Record
from network.rules.snapshots.metadata import ADDITIONAL, SIGNABLE, open_metadata
from network.rules.state.snapshot import Version
from network.rules.wire import encode_varint

VECTORS = Path(__file__).parents[3] / "vectors" / "ledger"
SNAPSHOTS = sorted(VECTORS.glob("*/snapshot"))

numbers = st.integers(0, 2**64 - 1)
versions = st.builds(Version, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
records = st.builds(Record, st.binary(), st.binary(), st.binary(), versions)


@given(numbers)
def test_numbers(number: int) -> None:
    assert form.open_number(io.BytesIO(encode_varint(number)).read) == number


@given(records)
def test_records(record: Record) -> None:
    assert form.open_record(form.encode_record(record)) == record


@given(st.lists(st.tuples(st.text(), numbers), max_size=5))
def test_namespaces(rows: list[tuple[str, int]]) -> None:
    assert form.open_namespaces(io.BytesIO(form.encode_namespaces(rows)).read) == rows


@given(st.text(min_size=1), numbers, st.binary())
def test_collections(chaincode: str, block: int, package: bytes) -> None:
    entry = CollectionsEntry(chaincode, block, package)
    assert form.open_collections(*form.encode_collections(entry)) == entry


@given(st.binary(max_size=40))
def test_anything_else_is_refused_and_never_breaks(raw: bytes) -> None:
    for read in (form.open_record, form.open_version):
        with contextlib.suppress(MalformedSnapshot):
            read(raw)
    for take in (form.open_namespaces, form.open_bytes, form.open_text, form.open_format):
        with contextlib.suppress(MalformedSnapshot):
            take(io.BytesIO(raw).read)


@pytest.mark.parametrize("raw", ["", "ff" * 10 + "01", "05abcd"])
def test_what_ends_too_soon(raw: str) -> None:
    with pytest.raises(MalformedSnapshot):
        form.open_bytes(io.BytesIO(bytes.fromhex(raw)).read)


def test_newer_collections_of_a_chaincode_come_first() -> None:
    older, newer = (form.encode_collections(CollectionsEntry("cc", block, b"")) for block in (3, 7))
    assert newer < older


@pytest.mark.parametrize("folder", SNAPSHOTS, ids=lambda folder: folder.parent.name)
def test_a_real_peers_records_are_written_as_they_are_read(folder: Path) -> None:
    for name in (form.PUBLIC_STATE, form.PRIVATE_HASHES):
        metadata = io.BytesIO((folder / f"{name}.metadata").read_bytes())
        form.open_format(metadata.read)
        rows = form.open_namespaces(metadata.read)
        data = io.BytesIO((folder / f"{name}.data").read_bytes())
        form.open_format(data.read)
        for _ in range(sum(count for _, count in rows)):
            raw = form.open_bytes(data.read)
            assert form.encode_record(form.open_record(raw)) == raw
        assert data.read() == b""
        assert metadata.getvalue()[1:] == form.encode_namespaces(rows)


@pytest.mark.parametrize("folder", SNAPSHOTS, ids=lambda folder: folder.parent.name)
def test_a_real_peers_metadata_is_written_as_it_is_read(folder: Path) -> None:
    signable, additional = (folder / SIGNABLE).read_bytes(), (folder / ADDITIONAL).read_bytes()
    metadata = open_metadata(signable, additional)
    assert metadata.channel_id == "ch"
    assert metadata.build_signable() == signable
    assert metadata.build_additional() == additional


def test_metadata_that_was_changed() -> None:
    folder = SNAPSHOTS[0]
    signable, additional = (folder / SIGNABLE).read_bytes(), (folder / ADDITIONAL).read_bytes()
    changed = signable.replace(b'"ch"', b'"other"')
    with pytest.raises(MalformedSnapshot, match=r"hash mismatch for file \[_snapshot_signable"):
        open_metadata(changed, additional)
    for nonsense in (b"", b"[]", b"{}", b'{"channel_name": 1}'):
        with pytest.raises(MalformedSnapshot, match="error while unmarshalling metadata"):
            open_metadata(nonsense, additional)
