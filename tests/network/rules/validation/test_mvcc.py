"""MVCC against a naive serial model: one dictionary, one transaction after another."""

from typing import Any

from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from network.rules.state.recorder import Recorder
from network.rules.state.rwset import Rwset, build_metadata, open_rwset
from network.rules.state.snapshot import MemorySnapshot, StateValue, Version
from network.rules.validation.mvcc import (
    MVCC_READ_CONFLICT,
    PHANTOM_READ_CONFLICT,
    VALID,
    UpdateBatch,
    apply_writes,
    check_reads,
)

KEYS = ["a", "b", "c", "d", "e"]
Step = tuple[str, ...]

steps = st.one_of(
    st.tuples(st.just("get"), st.sampled_from(KEYS)),
    st.tuples(st.just("put"), st.sampled_from(KEYS), st.sampled_from(["1", "2", ""])),
    st.tuples(st.just("range"), st.sampled_from(KEYS), st.sampled_from(KEYS)),
    st.tuples(st.just("first"), st.sampled_from(KEYS), st.sampled_from(KEYS)),
)
transactions = st.lists(st.lists(steps, max_size=4), min_size=1, max_size=6)


def simulate(snapshot: MemorySnapshot, script: list[Step]) -> Rwset:
    recorder = Recorder(snapshot, page_size=1)
    for step in script:
        match step:
            case "get", key:
                recorder.get_state("cc", key)
            case "put", key, value:
                recorder.put_state("cc", key, value.encode())
            case "range", start, end:
                iterator = recorder.range("cc", start, end)
                while iterator.next_page().has_more:
                    pass
            case "first", start, end:
                recorder.range("cc", start, end).next_page()
    return open_rwset(recorder.results().public)


class Naive:
    """Fabric's rule in plain words: what was read must be exactly what is there now."""

    def __init__(self, state: dict[str, tuple[bytes, Version]]) -> None:
        self.state = dict(state)
        self.written: set[str] = set()

    def judge(self, rwset: Rwset, version: Version) -> int:
        for part in rwset.namespaces:
            for read in part.kv.reads:
                if read.key in self.written or self._version(read.key) != _version(read):
                    return MVCC_READ_CONFLICT
            for info in part.kv.range_queries_info:
                if self._range(info) != [(r.key, _version(r)) for r in info.raw_reads.kv_reads]:
                    return PHANTOM_READ_CONFLICT
        for part in rwset.namespaces:
            for write in part.kv.writes:
                self.written.add(write.key)
                if write.is_delete:
                    self.state.pop(write.key, None)
                else:
                    self.state[write.key] = (write.value, version)
        return VALID

    def _range(self, info: Any) -> list[tuple[str, Version | None]]:
        def inside(key: str) -> bool:
            below = key < info.end_key or not info.end_key
            return info.start_key <= key and below

        keys = sorted(key for key in self.state if inside(key))
        if not info.itr_exhausted and info.end_key in self.state:
            keys.append(info.end_key)
        return [(key, self._version(key)) for key in keys]

    def _version(self, key: str) -> Version | None:
        return self.state[key][1] if key in self.state else None


def _version(read: Any) -> Version | None:
    if not read.HasField("version"):
        return None
    return Version(read.version.block_num, read.version.tx_num)


@settings(max_examples=300, deadline=None)
@given(initial=st.sets(st.sampled_from(KEYS)), block=transactions, later=transactions)
def test_verdicts_equal_the_naive_model(
    initial: set[str], block: list[list[Step]], later: list[list[Step]]
) -> None:
    snapshot = MemorySnapshot()
    for key in initial:
        snapshot.put("cc", key, b"0", (1, 0))
    stale = [simulate(snapshot, script) for script in later]
    for number, rwsets in ((2, [simulate(snapshot, s) for s in block]), (3, stale)):
        naive = Naive({key: (v.value, v.version) for (_, key), v in snapshot.states.items()})
        updates = UpdateBatch()
        for index, rwset in enumerate(rwsets):
            code = check_reads(rwset, updates, snapshot)
            assert code == naive.judge(rwset, Version(number, index))
            if code == VALID:
                apply_writes(rwset, Version(number, index), updates, snapshot)
        commit(snapshot, updates)
        found = {key: (v.value, v.version) for (_, key), v in snapshot.states.items()}
        assert found == naive.state


def commit(snapshot: MemorySnapshot, updates: UpdateBatch) -> None:
    for namespace, keys in updates.public.items():
        for key, update in keys.items():
            if update.value is None:
                snapshot.states.pop((namespace, key), None)
            else:
                value = StateValue(update.value, update.version, update.metadata)
                snapshot.states[namespace, key] = value


def rwset_of(**fields: Any) -> Rwset:
    message = rwset_pb2.TxReadWriteSet()
    message.ns_rwset.add(namespace="cc", rwset=kv_rwset_pb2.KVRWSet(**fields).SerializeToString())
    return open_rwset(message.SerializeToString())


def metadata_write(key: str, value: bytes) -> Any:
    entry = kv_rwset_pb2.KVMetadataEntry(name="VALIDATION_PARAMETER", value=value)
    return kv_rwset_pb2.KVMetadataWrite(key=key, entries=[entry])


def test_value_alone_keeps_metadata_and_metadata_alone_keeps_the_value() -> None:
    snapshot = MemorySnapshot()
    stored = build_metadata(metadata_write("k", b"policy").entries)
    snapshot.states["cc", "k"] = StateValue(b"old", Version(1, 0), stored)
    updates = UpdateBatch()
    write = kv_rwset_pb2.KVWrite(key="k", value=b"new")
    apply_writes(rwset_of(writes=[write]), Version(2, 0), updates, snapshot)
    assert updates.public["cc"]["k"] == (b"new", stored, Version(2, 0))
    other = metadata_write("k", b"other")
    apply_writes(rwset_of(metadata_writes=[other]), Version(2, 1), updates, snapshot)
    assert updates.public["cc"]["k"] == (b"new", build_metadata(other.entries), Version(2, 1))


def test_metadata_of_a_missing_or_just_deleted_key_changes_nothing() -> None:
    snapshot = MemorySnapshot()
    snapshot.put("cc", "k", b"v")
    updates = UpdateBatch()
    apply_writes(
        rwset_of(metadata_writes=[metadata_write("none", b"p")]), Version(2, 0), updates, snapshot
    )
    assert updates.public == {}
    delete = kv_rwset_pb2.KVWrite(key="k", is_delete=True)
    apply_writes(rwset_of(writes=[delete]), Version(2, 1), updates, snapshot)
    apply_writes(
        rwset_of(metadata_writes=[metadata_write("k", b"p")]), Version(2, 2), updates, snapshot
    )
    assert updates.public["cc"]["k"].value is None
