"""What a simulation records, to the byte where Fabric's bytes are known."""

from hashlib import sha256
from typing import Any

import pytest
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from network.rules.state.rangequery import RangeSummary, build_read, check_range
from network.rules.state.recorder import Recorder, SimulationError, StateIterator
from network.rules.state.rwset import open_private_rwset, open_rwset
from network.rules.state.snapshot import KeyChange, MemorySnapshot, Version


@pytest.fixture
def snapshot() -> MemorySnapshot:
    found = MemorySnapshot()
    for index in range(2700):
        found.put("cc", f"k{index:04}", b"v", (1, index))
    return found


def drain(iterator: StateIterator) -> int:
    total = 0
    while True:
        page = iterator.next_page()
        total += len(page.results)
        if not page.has_more:
            return total


def kv_of(recorder: Recorder) -> Any:
    return open_rwset(recorder.results().public).namespaces[0].kv


def test_nothing_touched_is_empty_bytes() -> None:
    results = Recorder(MemorySnapshot()).results()
    assert (results.public, results.private) == (b"", b"")


def test_absent_key_has_no_version_and_block_zero_an_empty_one() -> None:
    snapshot = MemorySnapshot()
    snapshot.put("cc", "zero", b"v", (0, 0))
    recorder = Recorder(snapshot)
    assert recorder.get_state("cc", "zero") == b"v"
    assert recorder.get_state("cc", "none") is None
    reads = kv_of(recorder).reads
    assert [(r.key, r.HasField("version")) for r in reads] == [("none", False), ("zero", True)]
    assert reads[1].SerializeToString() == b"\x0a\x04zero\x12\x00"


def test_no_read_your_writes_and_last_write_of_a_key_counts() -> None:
    snapshot = MemorySnapshot()
    snapshot.put("cc", "k", b"old")
    recorder = Recorder(snapshot)
    recorder.put_state("cc", "k", b"first")
    recorder.put_state("cc", "k", b"")
    assert recorder.get_state("cc", "k") == b"old"
    (write,) = kv_of(recorder).writes
    assert write.is_delete
    assert not write.value


@pytest.mark.parametrize(
    ("count", "level", "hashes"),
    [(0, 0, 0), (50, 0, 0), (51, 1, 1), (52, 1, 2), (2601, 2, 1), (2602, 2, 2)],
)
def test_range_summary_turns_into_hashes_at_51_and_2601(
    snapshot: MemorySnapshot, count: int, level: int, hashes: int
) -> None:
    recorder = Recorder(snapshot)
    assert drain(recorder.range("cc", "k0000", f"k{count:04}")) == count
    (info,) = kv_of(recorder).range_queries_info
    assert info.itr_exhausted
    assert info.end_key == f"k{count:04}"
    merkle = info.reads_merkle_hashes
    assert (merkle.max_level, len(merkle.max_level_hashes)) == (level, hashes)
    assert len(info.raw_reads.kv_reads) == (count if level == 0 else 0)


def test_first_node_is_the_hash_of_51_reads() -> None:
    summary = RangeSummary()
    reads = [build_read(f"k{i}", Version(1, i)) for i in range(51)]
    for index in range(51):
        summary.add(f"k{index}", Version(1, index))
    _, hashes = summary.finish()
    message = kv_rwset_pb2.QueryReads(kv_reads=reads)
    assert hashes == [sha256(message.SerializeToString()).digest()]


def test_peer_reads_one_result_beyond_the_page(snapshot: MemorySnapshot) -> None:
    recorder = Recorder(snapshot)
    page = recorder.range("cc", "", "").next_page()
    assert (len(page.results), page.has_more) == (100, True)
    (info,) = kv_of(recorder).range_queries_info
    assert not info.itr_exhausted
    assert info.end_key == "k0100"


def test_range_summary_is_what_validation_recomputes(snapshot: MemorySnapshot) -> None:
    recorder = Recorder(snapshot)
    drain(recorder.range("cc", "", ""))
    (info,) = kv_of(recorder).range_queries_info
    rows = [(key, value.version) for key, value in snapshot.range("cc", "", "")]
    assert check_range(info, iter(rows))
    assert not check_range(info, iter(rows[:-1]))
    assert not check_range(info, iter([*rows, ("z", Version(1, 0))]))
    assert not check_range(info, iter([(rows[0][0], Version(9, 9)), *rows[1:]]))


def test_page_of_a_range_has_a_bookmark_and_forbids_writes(snapshot: MemorySnapshot) -> None:
    recorder = Recorder(snapshot, "tx")
    page = recorder.range_page("cc", "k0000", "k0010", 4).next_page()
    assert (len(page.results), page.fetched, page.bookmark) == (4, 4, "k0004")
    last = recorder.range_page("cc", "k0000", "k0010", 7, page.bookmark).next_page()
    assert (last.fetched, last.bookmark) == (6, "")
    with pytest.raises(SimulationError, match=r"txid \[tx\]: unsuppored transaction\. Trans"):
        recorder.put_state("cc", "k", b"v")


def test_private_writes_are_hashed_and_sorted_by_plain_key() -> None:
    recorder = Recorder(MemorySnapshot())
    recorder.put_private("cc", "coll", "b", b"2")
    recorder.put_private("cc", "coll", "a", b"1")
    recorder.purge_private("cc", "coll", "c")
    results = recorder.results()
    (private,) = open_private_rwset(results.private)
    assert [write.key for write in private.open().writes] == ["a", "b", "c"]
    (collection,) = open_rwset(results.public).namespaces[0].collections
    assert collection.pvt_hash == private.digest
    assert [write.key_hash for write in collection.hashed.hashed_writes] == [
        sha256(key).digest() for key in (b"a", b"b", b"c")
    ]
    purge = collection.hashed.hashed_writes[2]
    assert (purge.is_delete, purge.is_purge, purge.value_hash) == (True, True, b"")


def test_private_value_older_than_its_hash_is_refused() -> None:
    snapshot = MemorySnapshot()
    snapshot.put_private("cc", "coll", "k", b"v")
    del snapshot.privates["cc", "coll", "k"]
    with pytest.raises(
        SimulationError,
        match=r"Public hash version = \{BlockNum: 1, TxNum: 0\}, Private data version = <nil>",
    ):
        Recorder(snapshot).get_private("cc", "coll", "k")
    assert Recorder(snapshot).get_private_hash("cc", "coll", "k") == sha256(b"v").digest()


def test_private_range_then_write_and_write_then_private_range_are_refused() -> None:
    recorder = Recorder(MemorySnapshot(), "t")
    recorder.private_range("cc", "coll", "", "")
    with pytest.raises(SimulationError, match="already performed queries on pvt data"):
        recorder.put_private("cc", "coll", "k", b"v")
    recorder = Recorder(MemorySnapshot(), "t")
    recorder.put_state("cc", "k", b"v")
    with pytest.raises(SimulationError, match="only in a read-only transaction"):
        recorder.private_range("cc", "coll", "", "")


def test_unknown_collections_have_fabrics_texts() -> None:
    recorder = Recorder(MemorySnapshot(), collections=lambda _, cc: frozenset({"known"}))
    with pytest.raises(SimulationError, match=r"collection \[other\] not defined in the coll"):
        recorder.get_private("cc", "other", "k")
    recorder = Recorder(MemorySnapshot(), collections=lambda _, cc: None)
    with pytest.raises(SimulationError, match=r"collection config not defined for chaincode \[cc"):
        recorder.get_private("cc", "other", "k")


def test_history_is_handed_out_and_not_recorded() -> None:
    snapshot = MemorySnapshot()
    snapshot.changes["cc", "k"] = [
        KeyChange("t2", b"", b"", True),
        KeyChange("t1", b"v", b"", False),
    ]
    recorder = Recorder(snapshot)
    assert len(recorder.history("cc", "k").next_page().results) == 2
    assert recorder.results().public == b""
