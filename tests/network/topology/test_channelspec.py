"""Our channels beside configtxgen's: the same tree from the same MSP folders."""

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml
from fabric_protos.common import common_pb2, configtx_pb2

from network.rules.channel.config import ChannelConfig
from network.rules.channel.spec import build_channel_group
from network.topology.channelspec import build_channel_spec, build_genesis
from network.topology.folders import Folders
from network.topology.model import parse_topology
from network.topology.values import Topology
from tests.fabric_binaries import run_fabric
from tests.network.topology.examples import NOW, SMALL, small, small_materials

VERSIONS = {"3.1": "V3_0", "2.5": "V2_0"}


def topology_of(version: str) -> Topology:
    return parse_topology(SMALL + f"fabricVersion: {version}\n", "small.yaml")


def signature(rule: str) -> dict[str, str]:
    return {"Type": "Signature", "Rule": rule}


def implicit(rule: str) -> dict[str, str]:
    return {"Type": "ImplicitMeta", "Rule": rule}


def write_configtx(folder: Path, topology: Topology, materials: Path) -> None:
    """What a person would write for configtxgen to get the same channel."""
    folders = Folders(materials)
    orgs: dict[str, dict[str, Any]] = {}
    for org in topology.organizations:
        name = org.msp_id
        orgs[org.name] = {
            "Name": org.name,
            "ID": name,
            "MSPDir": str(folders.organization_msp(org)),
        }
        if org.orderers:
            orgs[org.name]["OrdererEndpoints"] = ["127.0.0.1:7050"]
            orgs[org.name]["Policies"] = {
                "Readers": signature(f"OR('{name}.member')"),
                "Writers": signature(f"OR('{name}.member')"),
                "Admins": signature(f"OR('{name}.admin')"),
            }
        else:
            orgs[org.name]["AnchorPeers"] = [{"Host": "127.0.0.1", "Port": org.peers[0].port}]
            orgs[org.name]["Policies"] = {
                "Readers": signature(f"OR('{name}.admin', '{name}.peer', '{name}.client')"),
                "Writers": signature(f"OR('{name}.admin', '{name}.client')"),
                "Admins": signature(f"OR('{name}.admin')"),
                "Endorsement": signature(f"OR('{name}.peer')"),
            }
    orderer = next(iter(topology.nodes()))
    certificate = str(folders.node_tls(orderer) / "server.crt")
    common = {
        "Readers": implicit("ANY Readers"),
        "Writers": implicit("ANY Writers"),
        "Admins": implicit("MAJORITY Admins"),
    }
    profile = {
        "Policies": common,
        "Capabilities": {VERSIONS[topology.fabric_version]: True},
        "Orderer": {
            "OrdererType": "etcdraft",
            "BatchTimeout": "2s",
            "BatchSize": {
                "MaxMessageCount": 500,
                "AbsoluteMaxBytes": "10 MB",
                "PreferredMaxBytes": "2 MB",
            },
            "EtcdRaft": {
                "Consenters": [
                    {
                        "Host": "127.0.0.1",
                        "Port": 7050,
                        "ClientTLSCert": certificate,
                        "ServerTLSCert": certificate,
                    }
                ],
                "Options": {
                    "TickInterval": "500ms",
                    "ElectionTick": 10,
                    "HeartbeatTick": 1,
                    "MaxInflightBlocks": 5,
                    "SnapshotIntervalSize": "16 MB",
                },
            },
            "Organizations": [orgs["Ord"]],
            "Policies": common | {"BlockValidation": implicit("ANY Writers")},
            "Capabilities": {"V2_0": True},
        },
        "Application": {
            "Organizations": [orgs["Alpha"], orgs["Beta"]],
            "Policies": common
            | {
                "LifecycleEndorsement": implicit("MAJORITY Endorsement"),
                "Endorsement": implicit("MAJORITY Endorsement"),
            },
            "Capabilities": {"V2_5": True},
        },
    }
    (folder / "configtx.yaml").write_text(yaml.safe_dump({"Profiles": {"Small": profile}}))


@pytest.mark.parametrize("version", VERSIONS)
def test_configtxgen_makes_the_same_tree(tmp_path: Path, version: str) -> None:
    topology = topology_of(version)
    materials = small_materials()
    write_configtx(tmp_path, topology, materials)
    run_fabric(
        "configtxgen",
        "-profile",
        "Small",
        "-channelID",
        "small",
        "-outputBlock",
        tmp_path / "fabric.block",
        FABRIC_CFG_PATH=str(tmp_path),
    )
    block = common_pb2.Block.FromString((tmp_path / "fabric.block").read_bytes())
    theirs = ChannelConfig.from_block(block)
    ours = build_channel_group(build_channel_spec(topology, topology.channels[0], materials))
    assert theirs.config == configtx_pb2.Config(channel_group=ours)


def write_block(tmp_path: Path) -> tuple[Path, bytes]:
    topology = small()
    block = build_genesis(
        topology, topology.channels[0], small_materials(), secrets.token_bytes(24), NOW
    )
    path = tmp_path / "ours.block"
    path.write_bytes(block.SerializeToString())
    return path, block.SerializeToString()


def test_configtxlator_decodes_and_encodes_to_the_same_bytes(tmp_path: Path) -> None:
    path, raw = write_block(tmp_path)
    there, back = tmp_path / "block.json", tmp_path / "again.block"
    kind = ("--type", "common.Block")
    run_fabric("configtxlator", "proto_decode", *kind, "--input", path, "--output", there)
    run_fabric("configtxlator", "proto_encode", *kind, "--input", there, "--output", back)
    assert back.read_bytes() == raw


def test_configtxgen_inspects_our_block(tmp_path: Path) -> None:
    path, _ = write_block(tmp_path)
    shown = json.loads(
        run_fabric("configtxgen", "-inspectBlock", path, FABRIC_CFG_PATH=str(tmp_path))
    )
    config = shown["data"]["data"][0]["payload"]["data"]["config"]
    assert set(config["channel_group"]["groups"]["Application"]["groups"]) == {"Alpha", "Beta"}


def test_genesis_block_as_a_channel() -> None:
    topology = small()
    block = build_genesis(topology, topology.channels[0], small_materials(), b"n" * 24, NOW)
    config = ChannelConfig.from_block(block)
    assert config.channel_id == "small"
    assert config.consensus_type == "etcdraft"
    assert [consenter.port for consenter in config.consenters] == [7050]
    assert [endpoint.address for endpoint in config.orderer_endpoints] == ["127.0.0.1:7050"]
    assert config.application_orgs["Beta"].anchor_peers == (("127.0.0.1", 7251),)
    assert config.tls_roots("OrdMSP") == config.orderer_endpoints[0].tls_roots
    assert config.capabilities.unsupported() == ()


def test_equal_input_gives_equal_bytes() -> None:
    topology = small()
    blocks = {
        build_genesis(
            topology, topology.channels[0], small_materials(), b"n" * 24, NOW
        ).SerializeToString()
        for _ in range(3)
    }
    assert len(blocks) == 1
