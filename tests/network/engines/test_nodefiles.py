"""What nodes start from: Fabric's own files, read by our nodes and by Fabric's."""

from pathlib import Path

import pytest
import yaml

from network.engines.nodefiles import (
    MATERIAL,
    Layout,
    build_settings,
    core_yaml,
    write_node,
    write_settings,
)
from network.node.serving.settings import Settings
from network.topology.model import load_topology
from network.topology.values import NodeKind, Topology
from tests.network.engines.free_network import write_care


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    return load_topology(write_care(tmp_path))


def test_our_settings_reader_finds_what_an_orderer_needs(
    topology: Topology, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / ".medfabric" / "care")
    node = next(one for one in topology.nodes() if one.kind is NodeKind.ORDERER)
    process = write_node(layout, topology, node)
    settings = Settings.load("orderer", process.environment)
    assert settings.get_port("General.ListenPort") == node.port
    assert settings.get_bool("General.TLS.Enabled")
    assert settings.get_text("General.LocalMSPID") == "ConsortiumMSP"
    assert settings.get_bool("Admin.TLS.ClientAuthRequired")
    assert settings.get_size("ChannelParticipation.MaxRequestBodySize") == 1 << 20


def test_no_secret_stands_in_a_settings_file(topology: Topology, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for node in topology.nodes():
        process = write_node(layout, topology, node)
        for file in Path(process.folder).iterdir():
            assert "PRIVATE KEY" not in file.read_text()
            assert file.stat().st_mode & 0o077 == 0


def test_paths_are_absolute(topology: Topology, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    peer = next(one for one in topology.nodes() if one.kind is NodeKind.PEER)
    settings = core_yaml(layout, topology, peer)["peer"]
    for path in (settings["mspConfigPath"], settings["fileSystemPath"]):
        assert Path(path).is_absolute()


def test_a_file_that_says_the_same_is_left_alone(topology: Topology, tmp_path: Path) -> None:
    node = next(one for one in topology.nodes() if one.kind is NodeKind.ORDERER)
    file = tmp_path / "orderer.yaml"
    text = build_settings(Layout(tmp_path), topology, node)[1]
    write_settings(file, text)
    before = file.stat().st_ino
    write_settings(file, text)
    assert file.stat().st_ino == before
    assert yaml.safe_load(file.read_text())["General"]["ListenPort"] == node.port


def test_a_node_with_other_certificates_is_another_process(
    topology: Topology, tmp_path: Path
) -> None:
    layout = Layout(tmp_path)
    node = next(one for one in topology.nodes() if one.kind is NodeKind.PEER)
    first = write_node(layout, topology, node)
    assert write_node(layout, topology, node) == first
    tls = layout.keys.node_tls(node)
    tls.mkdir(parents=True)
    (tls / "server.crt").write_text("renewed")
    renewed = write_node(layout, topology, node)
    assert renewed.environment[MATERIAL] != first.environment[MATERIAL]
    moved = node.__class__(**{**{f: getattr(node, f) for f in node.__slots__}, "port": 1})
    assert write_node(layout, topology, moved) != renewed
