"""A real orderer and a real peer start from our folders and join our channel.

Needs Fabric's orderer, peer and osnadmin; takes about ten seconds.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from network.topology.channelspec import build_genesis
from network.topology.folders import Folders
from network.topology.materials import generate_materials
from network.topology.model import parse_topology
from network.topology.values import Node, Topology
from tests.fabric_binaries import fabric_binary, run_fabric
from tests.network.topology.examples import NOW, SMALL
from tests.ports import free_ports

PORTS = ("7050", "7151", "7251")


@pytest.fixture
def topology() -> Topology:
    ports = free_ports(8)
    text = SMALL
    for old in PORTS:
        extra = f", operationsPort: {ports.pop()}"
        if old == "7050":
            extra += f", adminPort: {ports.pop()}"
        text = text.replace(f"port: {old}", f"port: {ports.pop()}{extra}")
    return parse_topology(text)


def orderer_environment(node: Node, folders: Folders, data: Path) -> dict[str, str]:
    tls = folders.node_tls(node)
    certificate, key, root = (str(tls / name) for name in ("server.crt", "server.key", "ca.crt"))
    values = {
        "GENERAL_LISTENADDRESS": node.host,
        "GENERAL_LISTENPORT": str(node.port),
        "GENERAL_LOCALMSPID": node.organization.msp_id,
        "GENERAL_LOCALMSPDIR": str(folders.node_msp(node)),
        "GENERAL_BOOTSTRAPMETHOD": "none",
        "CHANNELPARTICIPATION_ENABLED": "true",
        "OPERATIONS_LISTENADDRESS": f"{node.host}:{node.operations_port}",
        "ADMIN_LISTENADDRESS": f"{node.host}:{node.admin_port}",
        "ADMIN_TLS_ENABLED": "true",
        "ADMIN_TLS_CERTIFICATE": certificate,
        "ADMIN_TLS_PRIVATEKEY": key,
        "ADMIN_TLS_CLIENTAUTHREQUIRED": "true",
        "ADMIN_TLS_CLIENTROOTCAS": f"[{root}]",
        "GENERAL_TLS_ENABLED": "true",
        "GENERAL_TLS_CERTIFICATE": certificate,
        "GENERAL_TLS_PRIVATEKEY": key,
        "GENERAL_TLS_ROOTCAS": f"[{root}]",
        "GENERAL_CLUSTER_CLIENTCERTIFICATE": certificate,
        "GENERAL_CLUSTER_CLIENTPRIVATEKEY": key,
        "GENERAL_CLUSTER_ROOTCAS": f"[{root}]",
        "FILELEDGER_LOCATION": str(data),
        "CONSENSUS_WALDIR": str(data / "wal"),
        "CONSENSUS_SNAPDIR": str(data / "snap"),
    }
    return {f"ORDERER_{name}": value for name, value in values.items()}


def peer_environment(node: Node, folders: Folders, data: Path, msp: Path) -> dict[str, str]:
    tls = folders.node_tls(node)
    values = {
        "PEER_ID": node.fqdn,
        "PEER_ADDRESS": node.address,
        "PEER_LISTENADDRESS": node.address,
        "PEER_CHAINCODELISTENADDRESS": f"{node.host}:{free_ports(1)[0]}",
        "PEER_GOSSIP_BOOTSTRAP": node.address,
        "PEER_LOCALMSPID": node.organization.msp_id,
        "PEER_MSPCONFIGPATH": str(msp),
        "PEER_TLS_ENABLED": "true",
        "PEER_TLS_CERT_FILE": str(tls / "server.crt"),
        "PEER_TLS_KEY_FILE": str(tls / "server.key"),
        "PEER_TLS_ROOTCERT_FILE": str(tls / "ca.crt"),
        "PEER_FILESYSTEMPATH": str(data),
        "LEDGER_SNAPSHOTS_ROOTDIR": str(data / "snapshots"),
        "OPERATIONS_LISTENADDRESS": f"{node.host}:{node.operations_port}",
        "VM_ENDPOINT": "unix:///nowhere.sock",
    }
    return {f"CORE_{name}": value for name, value in values.items()}


class Processes:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str | Path, ready: str, **environment: str) -> None:
        log = self._folder / f"{len(self._running)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                list(map(str, command)),
                env=os.environ | environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )
        self._running.append(process)
        deadline = time.monotonic() + 60
        while ready not in log.read_text(errors="replace"):
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.2)

    def stop(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(timeout=30)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    running = Processes(tmp_path)
    yield running
    running.stop()


@pytest.mark.network
def test_real_nodes_join_our_channel(
    tmp_path: Path, topology: Topology, processes: Processes
) -> None:
    sample = os.environ.get("FABRIC_CFG_PATH") or _sample_config()
    folders = Folders(tmp_path / "network")
    generate_materials(topology, folders.root, NOW)
    block = tmp_path / "small.block"
    channel = topology.channels[0]
    block.write_bytes(
        build_genesis(topology, channel, folders.root, b"n" * 24, NOW).SerializeToString()
    )
    orderer, alpha, beta = topology.nodes()
    processes.start(
        fabric_binary("orderer"),
        ready="Beginning to serve requests",
        FABRIC_CFG_PATH=sample,
        **orderer_environment(orderer, folders, tmp_path / "orderer"),
    )
    client = folders.user_tls(orderer.organization, "Admin")
    joined = run_fabric(
        *("osnadmin", "channel", "join", "--channelID", channel.name, "--config-block", block),
        *("-o", f"{orderer.host}:{orderer.admin_port}"),
        *("--ca-file", folders.tls_root(orderer.organization)),
        *("--client-cert", client / "client.crt", "--client-key", client / "client.key"),
    )
    assert "Status: 201" in joined
    assert '"consensusRelation": "consenter"' in joined
    for peer in (alpha, beta):
        data = tmp_path / peer.fqdn
        local = peer_environment(peer, folders, data, folders.node_msp(peer))
        processes.start(
            *(fabric_binary("peer"), "node", "start"),
            ready="Started peer with ID",
            FABRIC_CFG_PATH=sample,
            **local,
        )
        admin = folders.user_msp(peer.organization, "Admin")
        environment = {**peer_environment(peer, folders, data, admin), "FABRIC_CFG_PATH": sample}
        run_fabric("peer", "channel", "join", "-b", block, **environment)
        info = run_fabric("peer", "channel", "getinfo", "-c", channel.name, **environment)
        assert '"height":1' in info


def _sample_config() -> str:
    """Fabric's own core.yaml and orderer.yaml: beside its programs, where its releases put them."""
    beside = fabric_binary("peer").parent.parent / "config"
    if not (beside / "core.yaml").is_file():
        pytest.skip(f"Fabric's core.yaml is not here: set FABRIC_CFG_PATH or put it into {beside}")
    return str(beside)
