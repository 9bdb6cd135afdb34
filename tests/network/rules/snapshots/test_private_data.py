"""What a peer that begins with a snapshot misses of private data, and what of it it takes later."""

from hashlib import sha256
from typing import Any

import pytest
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.peer import collection_pb2
from fabric_protos.peer.lifecycle import db_pb2

from network.rules.policy.dsl import n_of_members
from network.rules.snapshots.collections import list_collections
from network.rules.snapshots.eligibility import EligibilityHistory
from network.rules.snapshots.form import CollectionsEntry, MalformedSnapshot
from network.rules.snapshots.reconciliation import trim_to_hashes
from network.rules.state.rwset import PrivateCollection


def package(*collections: tuple[str, str]) -> bytes:
    """A CollectionConfigPackage of (name, member's MSP id)."""
    message = collection_pb2.CollectionConfigPackage()
    for name, msp_id in collections:
        config = message.config.add().static_collection_config
        config.name = name
        config.member_orgs_policy.signature_policy.CopyFrom(n_of_members(1, [msp_id]))
    return bytes(message.SerializeToString())


def names_me(policy: Any) -> bool:
    return b"MeMSP" in policy.SerializeToString()


def history(*entries: tuple[int, str]) -> EligibilityHistory:
    """Of collection `c`, which belongs to the given organisation from a block on."""
    return EligibilityHistory(
        [CollectionsEntry("cc", block, package(("c", msp_id))) for block, msp_id in entries],
        "MeMSP",
        names_me,
    )


@pytest.mark.parametrize(
    ("entries", "block", "expected"),
    [
        pytest.param([(5, "MeMSP")], 6, True, id="a member always"),
        pytest.param([(5, "OtherMSP")], 6, False, id="never a member"),
        pytest.param([(5, "OtherMSP"), (9, "MeMSP")], 6, True, id="a member later"),
        pytest.param([(5, "OtherMSP"), (9, "MeMSP")], 10, True, id="a member by then"),
        pytest.param([(5, "MeMSP"), (9, "OtherMSP")], 10, False, id="a member no longer"),
        pytest.param([(5, "MeMSP"), (9, "OtherMSP")], 9, True, id="in the block of the change"),
        pytest.param([(5, "OtherMSP"), (7, "MeMSP"), (9, "OtherMSP")], 6, True, id="for a while"),
    ],
)
def test_eligibility(entries: list[tuple[int, str]], block: int, expected: bool) -> None:
    assert history(*entries).is_eligible("cc", "c", block) is expected


def test_implicit_collections_are_their_organisations() -> None:
    assert history().is_eligible("cc", "_implicit_org_MeMSP", 1)
    assert not history().is_eligible("cc", "_implicit_org_OtherMSP", 1)


@pytest.mark.parametrize("collection", ["c", "unknown"])
def test_data_of_a_collection_that_was_not_defined(collection: str) -> None:
    with pytest.raises(MalformedSnapshot, match=r"no collection config found below block number"):
        history((5, "OtherMSP")).is_eligible("cc", collection, 5)


def test_entries_that_hold_no_collections() -> None:
    with pytest.raises(MalformedSnapshot, match="cannot be read"):
        EligibilityHistory([CollectionsEntry("cc", 1, b"\xff")], "MeMSP", names_me)


# --- collections from the history of keys ---------------------------------------------------


def stored(raw: bytes) -> bytes:
    return bytes(db_pb2.StateData(Bytes=raw).SerializeToString())


SEQUENCE = "namespaces/fields/cc/Sequence"
COLLECTIONS = "namespaces/fields/cc/Collections"
FIRST, SECOND = package(("c", "MeMSP")), package(("c", "MeMSP"), ("d", "MeMSP"))


def test_each_definition_has_the_collections_of_its_block() -> None:
    writes = [(COLLECTIONS, 3, stored(FIRST)), (COLLECTIONS, 9, stored(SECOND))]
    writes += [(SEQUENCE, block, b"") for block in (3, 6, 9)]
    assert list_collections(writes, []) == [
        CollectionsEntry("cc", 3, FIRST),
        CollectionsEntry("cc", 6, FIRST),  # an upgrade that left them alone
        CollectionsEntry("cc", 9, SECOND),
    ]


def test_an_upgrade_after_a_snapshot_may_leave_its_collections_alone() -> None:
    former = [CollectionsEntry("cc", 9, SECOND), CollectionsEntry("cc", 3, FIRST)]
    found = list_collections([(SEQUENCE, 20, b"")], former)
    assert found == [*former, CollectionsEntry("cc", 20, SECOND)]


def test_definitions_without_collections_leave_no_trace() -> None:
    writes = [(SEQUENCE, 3, b""), (COLLECTIONS, 3, stored(b"")), (COLLECTIONS, 4, b"\xff")]
    writes += [("namespaces/fields/cc#1/Other", 3, b"")]
    assert list_collections(writes, []) == []


# --- late write sets ------------------------------------------------------------------------


def private(**writes: str) -> PrivateCollection:
    raw = kv_rwset_pb2.KVRWSet(
        writes=[
            kv_rwset_pb2.KVWrite(key=key, value=value.encode()) for key, value in writes.items()
        ]
    ).SerializeToString()
    return PrivateCollection("cc", "c", raw)


def hashes(**values: str) -> dict[bytes, bytes]:
    return {
        sha256(key.encode()).digest(): sha256(value.encode()).digest()
        for key, value in values.items()
    }


def test_all_that_is_expected_comes() -> None:
    assert trim_to_hashes(private(a="1", b="2"), hashes(a="1", b="2")) == private(a="1", b="2")


def test_what_was_overwritten_before_the_snapshot_is_cut_off() -> None:
    assert trim_to_hashes(private(a="1", b="2"), hashes(b="2")) == private(b="2")


def test_another_value_is_refused() -> None:
    assert trim_to_hashes(private(a="1", b="x"), hashes(a="1", b="2")) is None


def test_a_part_of_what_is_expected_is_refused() -> None:
    assert trim_to_hashes(private(a="1"), hashes(a="1", b="2")) is None


def test_a_key_given_twice_counts_once() -> None:
    twice = PrivateCollection("cc", "c", private(a="1").raw + private(a="evil").raw)
    assert trim_to_hashes(twice, hashes(a="1")) == private(a="1")


def test_nothing_is_expected_when_all_was_purged() -> None:
    assert trim_to_hashes(private(a="1"), {}) == private()


def test_what_is_no_write_set_is_refused() -> None:
    assert trim_to_hashes(PrivateCollection("cc", "c", b"\xff"), hashes(a="1")) is None
