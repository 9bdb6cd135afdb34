"""The difference of two configurations: as configtxlator 3.1.5 computed it, and run beside it."""

from pathlib import Path

import pytest
from fabric_protos.common import configtx_pb2

from network.rules.channel.configupdate import NoDifference, compute_update
from tests.fabric_binaries import run_fabric
from tests.network.consortium import CHANNEL
from tests.network.rules.changes import CHANGES, changed, original

VECTORS = Path(__file__).parents[3] / "vectors" / "config_updates"


def compute_with_fabric(folder: Path, updated: configtx_pb2.Config) -> bytes:
    before, after, result = (folder / name for name in ("original", "updated", "update"))
    before.write_bytes(original().SerializeToString())
    after.write_bytes(updated.SerializeToString())
    run_fabric(
        *("configtxlator", "compute_update", "--channel_id", CHANNEL),
        *("--original", before, "--updated", after, "--output", result),
    )
    return result.read_bytes()


@pytest.mark.parametrize("name", CHANGES)
def test_vectors_of_configtxlator(name: str) -> None:
    folder = VECTORS / name
    before = configtx_pb2.Config.FromString((folder / "original.pb").read_bytes())
    after = configtx_pb2.Config.FromString((folder / "updated.pb").read_bytes())
    theirs = configtx_pb2.ConfigUpdate.FromString((folder / "update.pb").read_bytes())
    assert compute_update(before, after, CHANNEL) == theirs


@pytest.mark.parametrize("name", CHANGES)
def test_configtxlator_computes_the_same(tmp_path: Path, name: str) -> None:
    updated = changed(CHANGES[name])
    theirs = compute_with_fabric(tmp_path, updated)
    ours = compute_update(original(), updated, CHANNEL)
    assert ours == configtx_pb2.ConfigUpdate.FromString(theirs)


def test_no_difference() -> None:
    with pytest.raises(NoDifference) as caught:
        compute_update(original(), original(), CHANNEL)
    assert str(caught.value) == "no differences detected between original and updated config"


def test_versions_of_the_updated_configuration_are_ignored() -> None:
    updated = changed(CHANGES["change_batch"])
    expected = compute_update(original(), updated, CHANNEL)
    updated.channel_group.version = 99
    updated.channel_group.groups["Orderer"].values["BatchSize"].version = 42
    assert compute_update(original(), updated, CHANNEL) == expected
