"""Whatever well-endorsed nonsense a block holds, the ledger gives it codes and goes on.

The read-write sets here are what colluding organisations could put on a chain. Every block must be
judged, kept, and read well afterwards.
"""

import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from network.node.ledger.sqlite_store import SqliteStore
from network.node.ledger.store import BlockCommit, PrivateUpdate
from network.rules.channel.config import ChannelConfig
from network.rules.lifecycle.definitions import ChaincodeDefinition
from network.rules.policy.application import policy_reference
from network.rules.state.rwset import PrivateCollection, build_private_rwset, open_rwset
from network.rules.state.snapshot import MemorySnapshot, Version
from network.rules.validation.commit_hash import compute_commit_hash
from network.rules.validation.privatedata import (
    CollectionRules,
    PrivateNeed,
    changes_of,
    find_matching,
    list_changes,
)
from network.rules.validation.txchecks import ENDORSER_TRANSACTION, VALID, CheckedTransaction
from network.rules.validation.verdicts import LedgerView, check_block, resolve_block
from tests.network.node.ledger.test_ledger_replay import read_ledger
from tests.network.rules.lifecycle.test_calls import collections

CONFIG = ChannelConfig.from_block(read_ledger("behaviour")[0])
ANYBODY = ChaincodeDefinition(
    1,
    "1",
    validation_plugin="vscc",
    validation_parameter=policy_reference("/Channel/Application/Endorsement"),
    collections=b"\xff\xff nonsense",
)

names = st.sampled_from(["cc", "other", "_lifecycle", "", "x\x00y"])
keys = st.sampled_from(["", "a", "b", "_x", "\x00", "￿", "z\x00"])
versions = st.builds(
    kv_rwset_pb2.Version,
    block_num=st.sampled_from([0, 1, 2**63, 2**64 - 1]),
    tx_num=st.sampled_from([0, 1, 2**64 - 1]),
)
reads = st.builds(kv_rwset_pb2.KVRead, key=keys, version=st.one_of(st.none(), versions))
writes = st.builds(
    kv_rwset_pb2.KVWrite, key=keys, value=st.binary(max_size=3), is_delete=st.booleans()
)
entries = st.lists(
    st.builds(
        kv_rwset_pb2.KVMetadataEntry,
        name=st.sampled_from(["VALIDATION_PARAMETER", ""]),
        value=st.binary(max_size=3),
    ),
    max_size=2,
)
metadata = st.builds(kv_rwset_pb2.KVMetadataWrite, key=keys, entries=entries)
merkles = st.builds(
    kv_rwset_pb2.QueryReadsMerkleSummary,
    max_degree=st.sampled_from([0, 1, 2, 50, 2**32 - 1]),
    max_level=st.sampled_from([0, 1, 2, 2**32 - 1]),
    max_level_hashes=st.lists(st.binary(max_size=2), max_size=2),
)
raw_reads = st.builds(kv_rwset_pb2.QueryReads, kv_reads=st.lists(reads, max_size=2))
ranges = st.one_of(
    st.builds(
        kv_rwset_pb2.RangeQueryInfo,
        start_key=keys,
        end_key=keys,
        itr_exhausted=st.booleans(),
        raw_reads=raw_reads,
    ),
    st.builds(
        kv_rwset_pb2.RangeQueryInfo, start_key=keys, end_key=keys, reads_merkle_hashes=merkles
    ),
)
key_hashes = st.sampled_from([b"", b"1", b"2" * 32])
hashed = st.builds(
    kv_rwset_pb2.HashedRWSet,
    hashed_reads=st.lists(
        st.builds(
            kv_rwset_pb2.KVReadHash, key_hash=key_hashes, version=st.one_of(st.none(), versions)
        ),
        max_size=1,
    ),
    hashed_writes=st.lists(
        st.builds(
            kv_rwset_pb2.KVWriteHash,
            key_hash=key_hashes,
            value_hash=st.binary(max_size=2),
            is_delete=st.booleans(),
            is_purge=st.booleans(),
        ),
        max_size=2,
    ),
    metadata_writes=st.lists(
        st.builds(kv_rwset_pb2.KVMetadataWriteHash, key_hash=key_hashes, entries=entries),
        max_size=2,
    ),
)


@st.composite
def rwsets(draw: Any) -> bytes:
    message = rwset_pb2.TxReadWriteSet()
    for name in draw(st.lists(names, max_size=2, unique=True)):
        kv = kv_rwset_pb2.KVRWSet(
            reads=draw(st.lists(reads, max_size=1)),
            writes=draw(st.lists(writes, max_size=3)),
            metadata_writes=draw(st.lists(metadata, max_size=2)),
            range_queries_info=draw(st.lists(ranges, max_size=1)),
        )
        part = message.ns_rwset.add(namespace=name, rwset=kv.SerializeToString())
        for collection in draw(st.lists(st.sampled_from(["", "c", "_implicit_org_X"]), max_size=2)):
            part.collection_hashed_rwset.add(
                collection_name=collection, hashed_rwset=draw(hashed).SerializeToString()
            )
    return bytes(message.SerializeToString())


def transaction(index: int, results: bytes) -> CheckedTransaction:
    return CheckedTransaction(
        VALID,
        tx_id=f"tx{index}",
        type=ENDORSER_TRANSACTION,
        chaincode="cc",
        rwset=open_rwset(results),
    )


@settings(max_examples=150, deadline=None)
@given(blocks=st.lists(st.lists(rwsets(), max_size=4), min_size=1, max_size=3))
def test_every_block_is_judged_and_kept(blocks: list[list[bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore.create(Path(folder), "ch")
        for number, results in enumerate(blocks):
            transactions = [transaction(index, raw) for index, raw in enumerate(results)]
            with store.snapshot() as snapshot:
                view = LedgerView(snapshot, snapshot.has_transaction, lambda _: ANYBODY)
                judged = check_block(transactions, CONFIG, view).codes
                assert all(code in (10, 25) for code in judged)  # nobody endorsed these
                codes = [VALID] * len(transactions)
                updates = resolve_block(number, transactions, codes, snapshot)
            assert all(code in (0, 11, 12) for code in codes)
            digest = compute_commit_hash(bytes(codes), updates, store.commit_hash)
            hash_ = sha256(bytes([number])).digest()
            store.commit(BlockCommit(number, hash_, b"raw", [], updates, digest))
            with store.snapshot() as after:
                for namespace, changed in updates.public.items():
                    for key, update in changed.items():
                        found = after.get_state(namespace, key)
                        assert (found.value if found else None) == update.value
        store.close()


def candidates() -> Iterator[bytes]:
    yield b"\xff"
    yield b""
    yield build_private_rwset([PrivateCollection("cc", "c", b"\xff junk")])


def test_private_set_that_is_no_set_changes_nothing() -> None:
    digest = sha256(b"\xff junk").digest()
    need = PrivateNeed(1, 0, "tx", "cc", "c", digest, ())
    part = find_matching(need, candidates())
    assert part is not None
    assert list(changes_of(part, Version(1, 0))) == []
    empty = resolve_block(1, [], [], _nothing())
    assert list_changes(1, [VALID], {0: [part]}, empty, _nothing()) == []
    assert PrivateUpdate("cc", "c", "k", None, Version(1, 0)).value is None


def test_nonsense_definitions_have_no_collections_and_huge_lifetimes_never_end() -> None:
    rules = CollectionRules(lambda _: ANYBODY, lambda _: True)
    assert rules.find("cc", "c") is None
    assert not rules.is_eligible("cc", "c")
    for blocks, expires in ((2**64 - 1, None), (3, 9), (0, None)):
        package = collections("c", block_to_live=blocks).SerializeToString()
        definition = ChaincodeDefinition(1, "1", collections=package)
        rules = CollectionRules({"cc": definition}.get, lambda _: True)
        assert rules.expires("cc", "c", 5) == expires


def _nothing() -> Any:
    return MemorySnapshot()
