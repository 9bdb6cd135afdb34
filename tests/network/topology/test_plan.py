"""What a changed topology means for a running channel."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from network.rules.channel.config import ChannelConfig
from network.rules.channel.configedit import edit_config
from network.topology.channelspec import build_genesis
from network.topology.materials import generate_materials
from network.topology.model import parse_topology
from network.topology.plan import ChannelPlan, Phase, plan_channel
from network.topology.values import Topology
from tests.network.topology.examples import NOW, SMALL


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plan")
    generate_materials(parse_topology(SMALL), place, NOW)
    return place


@pytest.fixture(scope="module")
def config(folder: Path) -> ChannelConfig:
    topology = parse_topology(SMALL)
    block = build_genesis(topology, topology.channels[0], folder, b"n" * 24, NOW)
    return ChannelConfig.from_block(block)


def change(*edits: Callable[[Any], None]) -> Topology:
    network = yaml.safe_load(SMALL)
    for edit in edits:
        edit(network)
    return parse_topology(yaml.safe_dump(network))


def plan(topology: Topology, folder: Path, config: ChannelConfig) -> ChannelPlan:
    return plan_channel(topology, topology.channels[0], folder, config)


def tell(found: ChannelPlan) -> list[str]:
    return [one.text for one in found.updates]


def member(name: str, port: int) -> dict[str, Any]:
    return {"name": name, "role": "provider", "peers": [{"name": "peer0", "port": port}]}


def add_member(network: Any) -> None:
    network["organizations"].append(member("Third", 20_000))
    network["channels"][0]["members"].append("Third")


def add_orderers(network: Any) -> None:
    orderers = next(one for one in network["organizations"] if one.get("orderers"))["orderers"]
    orderers += [{"name": "more1", "port": 21_000}, {"name": "more2", "port": 22_000}]


def apply(
    topology: Topology, folder: Path, config: ChannelConfig
) -> tuple[ChannelConfig, list[str]]:
    """Every update in turn, planned anew after each, as the command line does it."""
    done: list[str] = []
    for _ in range(30):
        found = plan(topology, folder, config)
        assert found.refusals == ()
        if not found.updates:
            return config, done
        first = found.updates[0]
        done.append(first.text)
        following = edit_config(config.config, first.changes)
        config = ChannelConfig(config.channel_id, following)
    raise AssertionError(done)


def test_nothing_is_to_do_for_what_is_so(folder: Path, config: ChannelConfig) -> None:
    assert plan(parse_topology(SMALL), folder, config) == ChannelPlan(config.channel_id, (), ())


def test_settings_are_told_and_done(folder: Path, config: ChannelConfig) -> None:
    def edit(network: Any) -> None:
        channel = network["channels"][0]
        channel["batch"] = {"timeout": "3s", "maxMessages": 7}
        channel["policies"] = {"endorsement": "ANY Endorsement"}
        channel["acls"] = {"event/Block": "/Channel/Application/Admins"}

    topology = change(edit)
    assert tell(plan(topology, folder, config)) == [
        "cut blocks at 7 transactions, 2097152 bytes or 3 s",
        "change policy Endorsement from MAJORITY Endorsement to ANY Endorsement",
        "guard event/Block by /Channel/Application/Admins",
    ]
    after, done = apply(topology, folder, config)
    assert len(done) == 3
    assert (after.batch.max_messages, after.batch.timeout) == (7, 3.0)
    back, _ = apply(parse_topology(SMALL), folder, after)
    assert back.own_acls == {}
    assert back.batch == config.batch


def test_who_comes_is_told_before_there_are_keys(folder: Path, config: ChannelConfig) -> None:
    topology = change(add_member, add_orderers)
    told = tell(plan(topology, folder, config))
    assert "take Third in as a member" in told
    assert [text for text in told if text.endswith(" order")] == [
        "let 127.0.0.1:21000 order",
        "let 127.0.0.1:22000 order",
    ]


def test_who_comes_and_goes_one_consenter_at_a_time(
    tmp_path: Path, folder: Path, config: ChannelConfig
) -> None:
    (tmp_path / "organizations").symlink_to(folder / "organizations")
    topology = change(add_member, add_orderers)
    generate_materials(topology, tmp_path, NOW)
    after, done = apply(topology, tmp_path, config)
    assert "Third" in after.application_orgs
    assert len(after.consenters) == 3
    back, undone = apply(parse_topology(SMALL), tmp_path, after)
    assert undone[-1] == "remove Third from the members"
    assert len(back.consenters) == 1
    assert {one.phase for one in plan(parse_topology(SMALL), tmp_path, after).updates} >= {
        Phase.SHRINK
    }
    assert len(done) >= 4


def test_a_renewed_certificate_comes_before_everything(
    tmp_path: Path, folder: Path, config: ChannelConfig
) -> None:
    shutil.copytree(folder / "organizations", tmp_path / "organizations")
    for name in ("server.crt", "server.key"):
        for file in tmp_path.glob(f"organizations/ordererOrganizations/*/orderers/*/tls/{name}"):
            file.unlink()
    generate_materials(parse_topology(SMALL), tmp_path, NOW + timedelta(days=1))
    found = plan(change(add_orderers), tmp_path, config)
    assert found.updates[0].phase is Phase.CERTIFY
    assert "has a new TLS certificate" in found.updates[0].text
    after, _ = apply(parse_topology(SMALL), tmp_path, config)
    assert after.consenters[0].server_tls_certificate != config.consenters[0].server_tls_certificate


def test_what_is_not_possible(tmp_path: Path, folder: Path, config: ChannelConfig) -> None:
    def rename(network: Any) -> None:
        name = network["channels"][0]["members"][0]
        org = next(one for one in network["organizations"] if one["name"] == name)
        org["mspId"] = "OtherMSP"

    def lower(network: Any) -> None:
        network["fabricVersion"] = "2.5"

    for edit, said in ((rename, "an MSP id never changes"), (lower, "back to V2_0")):
        found = plan(change(edit), folder, config)
        assert found.updates == ()
        assert any(said in refusal for refusal in found.refusals), found.refusals

    generate_materials(parse_topology(SMALL), tmp_path, NOW)
    others = plan(parse_topology(SMALL), tmp_path, config)
    assert any("has another CA here" in refusal for refusal in others.refusals)


def test_an_anchor_peer_says_so_itself(folder: Path, config: ChannelConfig) -> None:
    def edit(network: Any) -> None:
        name = network["channels"][0]["members"][0]
        org = next(one for one in network["organizations"] if one["name"] == name)
        org["peers"].append({"name": "gate", "port": 23_000, "anchor": True})

    told = tell(plan(change(edit), folder, config))
    assert [text for text in told if text.startswith("reach ")]
    assert "127.0.0.1:23000" in told[-1]
