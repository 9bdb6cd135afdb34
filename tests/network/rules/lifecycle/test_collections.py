"""Who may use a collection, and which reads asking costs."""

from typing import Any

import pytest

from network.rules.lifecycle.collections import (
    Permission,
    channel_collections,
    check_permission,
)
from network.rules.lifecycle.definitions import DEFINITION_TYPE, ChaincodeDefinition
from network.rules.lifecycle.structures import build_metadata, field_key, metadata_key
from network.rules.state.recorder import Recorder, SimulationError
from network.rules.state.rwset import open_rwset
from network.rules.state.snapshot import MemorySnapshot
from tests.network.rules.lifecycle.test_calls import collections


def snapshot_with(**flags: Any) -> MemorySnapshot:
    package = collections("c", **flags).SerializeToString()
    fields = ChaincodeDefinition(1, "1", collections=package).fields()
    snapshot = MemorySnapshot()
    key = metadata_key("namespaces", "cc")
    snapshot.put("_lifecycle", key, build_metadata(DEFINITION_TYPE, fields))
    for field, data in fields.items():
        snapshot.put("_lifecycle", field_key("namespaces", "cc", field), data)
    return snapshot


@pytest.mark.parametrize("member", [True, False])
@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("write", [True, False])
def test_flags_bind_those_who_are_no_members(member: bool, read: bool, write: bool) -> None:
    recorder = Recorder(snapshot_with(member_only_read=read, member_only_write=write))
    found = check_permission(recorder, "ch", "cc", "c", lambda _: member)
    assert found == Permission(read=member or not read, write=member or not write)


def test_implicit_collections_are_open_to_all_callers() -> None:
    recorder = Recorder(snapshot_with())
    found = check_permission(recorder, "ch", "cc", "_implicit_org_X", lambda _: False)
    assert found == Permission(read=True, write=True)


def test_unknown_collection() -> None:
    with pytest.raises(SimulationError, match=r"collection ch/cc/x could not be found"):
        check_permission(Recorder(snapshot_with()), "ch", "cc", "x", lambda _: True)


def test_first_private_access_reads_the_definition() -> None:
    recorder = Recorder(snapshot_with(), collections=channel_collections(["M"]))
    recorder.put_private("cc", "_implicit_org_M", "k", b"v")
    lifecycle, chaincode = open_rwset(recorder.results().public).namespaces
    assert [read.key for read in lifecycle.kv.reads] == [
        "namespaces/fields/cc/Collections",
        "namespaces/fields/cc/EndorsementInfo",
        "namespaces/fields/cc/Sequence",
        "namespaces/fields/cc/ValidationInfo",
        "namespaces/metadata/cc",
    ]
    assert (lifecycle.namespace, chaincode.namespace) == ("_lifecycle", "cc")


def test_undefined_chaincode_has_no_collections_and_reads_the_old_lifecycle() -> None:
    recorder = Recorder(MemorySnapshot(), collections=channel_collections(["M"]))
    with pytest.raises(SimulationError, match="collection config not defined for chaincode"):
        recorder.get_private("none", "c", "k")
    namespaces = [part.namespace for part in open_rwset(recorder.results().public).namespaces]
    assert namespaces == ["_lifecycle", "lscc"]
