"""What each node starts from, in Fabric's own format: core.yaml, orderer.yaml, the CA's file.

The files name every key that an operator of Fabric expects to find; Fabric's own `peer` and
`orderer` start from them as ours do. All paths are absolute: a node may be started by hand from
anywhere with `FABRIC_CFG_PATH`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from network.engines.fabricsettings import adapt_core
from network.engines.processes import write_whole
from network.engines.processplan import NodeProcess
from network.topology.folders import Folders
from network.topology.values import Engine, Node, NodeKind, Topology

LOG = "node.log"
ENGINE = "engine"
MATERIAL = "MEDFABRIC_MATERIAL"  # environment variable; a node does not read it
CA_FILE = "fabric-ca-server-config.yaml"
HEADER = (
    "# Written by `medfabric network up` from the network file; changes here are overwritten.\n"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a network's folder.

    Attributes:
        folder: `.medfabric/<network>`.
    """

    folder: Path

    @property
    def keys(self) -> Folders:
        """Keys and certificates, in cryptogen's layout."""
        return Folders(self.folder)

    @property
    def channels(self) -> Path:
        """Genesis blocks."""
        return self.folder / "channels"

    @property
    def run(self) -> Path:
        """Process ids and the supervisor's files."""
        return self.folder / "run"

    @property
    def builder(self) -> Path:
        """The external builder with which Fabric's own peers take chaincode as a service."""
        return self.folder / "builder"

    @property
    def engine(self) -> str | None:
        """The engine whose ledgers lie here; None where there are none."""
        try:
            return (self.folder / ENGINE).read_text().strip()
        except FileNotFoundError:
            # Networks that were made before engines left their name are the embedded one's.
            return Engine.EMBEDDED.value if (self.folder / "nodes").is_dir() else None

    def keep_engine(self, name: str) -> None:
        """The folder tells whose ledgers lie in it."""
        if not (self.folder / ENGINE).exists():
            write_whole(self.folder / ENGINE, f"{name}\n")

    def node(self, name: str) -> Path:
        """A node's folder: its settings, ledger and log."""
        return self.folder / "nodes" / name

    def log(self, name: str) -> Path:
        """A node's log."""
        return self.node(name) / LOG


def write_node(layout: Layout, topology: Topology, node: Node) -> NodeProcess:
    """The node's folder holds its settings; returns the process that runs on them."""
    folder = layout.node(node.fqdn)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name, text = build_settings(layout, topology, node)
    write_settings(folder / name, text)
    variable = "FABRIC_CA_SERVER_HOME" if node.kind is NodeKind.CA else "FABRIC_CFG_PATH"
    material = digest_material(layout, node, name, text)
    return NodeProcess(
        name=node.fqdn,
        module="network.node",
        arguments=(str(node.kind.value),),
        folder=str(folder),
        log=str(layout.log(node.fqdn)),
        # A node reads its files once: with others in their place it is another process to run.
        environment={variable: str(folder), MATERIAL: material},
    )


def write_settings(path: Path, text: str) -> None:
    """The file holds the settings; it is left alone when it does already."""
    if not path.exists() or path.read_text() != text:
        write_whole(path, text)


def build_settings(layout: Layout, topology: Topology, node: Node) -> tuple[str, str]:
    """The name and the text of the file that the node starts from."""
    if node.kind is NodeKind.ORDERER:
        name, settings = "orderer.yaml", orderer_yaml(layout, node)
    elif node.kind is NodeKind.PEER:
        name, settings = "core.yaml", core_yaml(layout, topology, node)
    else:
        name, settings = CA_FILE, ca_yaml(layout, node)
    return name, HEADER + yaml.safe_dump(settings, sort_keys=False, width=100)


def digest_material(layout: Layout, node: Node, name: str, settings: str) -> str:
    """What the node starts from in one number: it changes with its settings and certificates."""
    digest = hashlib.sha256(f"{name}\n{settings}".encode())
    for folder in (layout.keys.node_msp(node), layout.keys.node_tls(node)):
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".pem", ".crt"):
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def orderer_yaml(layout: Layout, node: Node) -> dict[str, Any]:
    """An orderer's settings (Fabric: sampleconfig/orderer.yaml)."""
    keys, data = layout.keys, layout.node(node.fqdn)
    tls = keys.node_tls(node)
    pair = {"PrivateKey": str(tls / "server.key"), "Certificate": str(tls / "server.crt")}
    roots = [str(tls / "ca.crt")]
    return {
        "General": {
            "ListenAddress": node.host,
            "ListenPort": node.port,
            "TLS": {"Enabled": True, **pair, "RootCAs": roots, "ClientAuthRequired": False},
            "Keepalive": {
                "ServerMinInterval": "60s",
                "ServerInterval": "7200s",
                "ServerTimeout": "20s",
            },
            "MaxRecvMsgSize": 104857600,
            "MaxSendMsgSize": 104857600,
            "Cluster": {
                "SendBufferSize": 100,
                "ClientCertificate": pair["Certificate"],
                "ClientPrivateKey": pair["PrivateKey"],
                "RootCAs": roots,
            },
            "BootstrapMethod": "none",
            "LocalMSPDir": str(keys.node_msp(node)),
            "LocalMSPID": node.organization.msp_id,
            "BCCSP": {"Default": "SW", "SW": {"Hash": "SHA2", "Security": 256}},
            "Authentication": {"TimeWindow": "15m", "NoExpirationChecks": False},
        },
        "FileLedger": {"Location": str(data / "ledger")},
        "Consensus": {"WALDir": str(data / "wal"), "SnapDir": str(data / "snapshots")},
        "Operations": {
            "ListenAddress": f"{node.host}:{node.operations_port}",
            "TLS": {"Enabled": False},
        },
        "Metrics": {"Provider": "prometheus"},
        "Admin": {
            "ListenAddress": f"{node.host}:{node.admin_port}",
            "TLS": {
                "Enabled": True,
                **pair,
                "RootCAs": roots,
                "ClientAuthRequired": True,
                "ClientRootCAs": roots,
            },
        },
        "ChannelParticipation": {"Enabled": True, "MaxRequestBodySize": "1 MB"},
    }


def core_yaml(layout: Layout, topology: Topology, node: Node) -> dict[str, Any]:
    """A peer's settings (Fabric: sampleconfig/core.yaml)."""
    settings = _own_core_yaml(layout, topology, node)
    return adapt_core(settings, layout.builder) if topology.engine is Engine.FABRIC else settings


def _own_core_yaml(layout: Layout, topology: Topology, node: Node) -> dict[str, Any]:
    keys, data = layout.keys, layout.node(node.fqdn)
    tls = keys.node_tls(node)
    return {
        "peer": {
            "id": node.fqdn,
            "networkId": topology.name,
            "listenAddress": node.address,
            "address": node.address,
            # Chaincodes run as services that the peer dials: nothing dials the peer here.
            "chaincodeListenAddress": f"{node.host}:0",
            "addressAutoDetect": False,
            "localMspId": node.organization.msp_id,
            "localMspType": "bccsp",
            "mspConfigPath": str(keys.node_msp(node)),
            "fileSystemPath": str(data / "ledger"),
            "tls": {
                "enabled": True,
                "clientAuthRequired": False,
                "cert": {"file": str(tls / "server.crt")},
                "key": {"file": str(tls / "server.key")},
                "rootcert": {"file": str(tls / "ca.crt")},
            },
            "BCCSP": {"Default": "SW", "SW": {"Hash": "SHA2", "Security": 256}},
            "authentication": {"timewindow": "15m"},
            "keepalive": {"minInterval": "60s", "interval": "7200s", "timeout": "20s"},
            "gossip": {
                "bootstrap": node.address,
                "endpoint": node.address,
                "externalEndpoint": node.address,
                "useLeaderElection": False,
                "orgLeader": True,
                "state": {"enabled": False},
                "pvtData": {
                    "pullRetryThreshold": "60s",
                    "transientstoreMaxBlockRetention": 1000,
                    "btlPullMargin": 10,
                    "reconciliationEnabled": True,
                    "reconcileSleepInterval": "1m",
                    "reconcileBatchSize": 10,
                },
            },
            "handlers": {
                "authFilters": [{"name": "DefaultAuth"}, {"name": "ExpirationCheck"}],
                "decorators": [{"name": "DefaultDecorator"}],
                "endorsers": {"escc": {"name": "DefaultEndorsement", "library": ""}},
                "validators": {"vscc": {"name": "DefaultValidation", "library": ""}},
            },
            "gateway": {
                "enabled": True,
                "endorsementTimeout": "30s",
                "broadcastTimeout": "30s",
                "dialTimeout": "30s",
            },
            "discovery": {"enabled": True, "orgMembersAllowedAccess": False},
            "deliveryclient": {"reconnectTotalTimeThreshold": "3600s", "connTimeout": "3s"},
            "limits": {
                "concurrency": {
                    "endorserService": 2500,
                    "deliverService": 2500,
                    "gatewayService": 500,
                }
            },
            "maxRecvMsgSize": 104857600,
            "maxSendMsgSize": 104857600,
        },
        "vm": {"endpoint": ""},
        "chaincode": {
            "mode": "net",
            "startuptimeout": "300s",
            "executetimeout": "30s",
            "installTimeout": "300s",
            "externalBuilders": [
                {
                    "name": "ccaas_builder",
                    "path": "/opt/hyperledger/ccaas_builder",
                    "propagateEnvironment": ["CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG"],
                }
            ],
            "system": {"_lifecycle": "enable", "cscc": "enable", "qscc": "enable"},
        },
        "ledger": {
            "state": {"stateDatabase": "sqlite", "totalQueryLimit": 100000},
            "history": {"enableHistoryDatabase": True},
            "pvtdataStore": {"purgeInterval": 100, "purgedKeyAuditLogging": True},
            "snapshots": {"rootDir": str(data / "snapshots")},
        },
        "operations": {
            "listenAddress": f"{node.host}:{node.operations_port}",
            "tls": {"enabled": False},
        },
        "metrics": {"provider": "prometheus"},
    }


def ca_yaml(layout: Layout, node: Node) -> dict[str, Any]:
    """A CA's settings (Fabric CA: fabric-ca-server-config.yaml).

    `ca.imports` is ours: the organisation's certificates that were made before the CA ran become
    known to it, so that they can be renewed and revoked.
    """
    organization = layout.keys.organization(node.organization)
    authority, tls = layout.keys.ca(node.organization), layout.keys.node_tls(node)
    domain = node.organization.domain
    return {
        "version": "1.5",
        "address": node.host,
        "port": node.port,
        "tls": {
            "enabled": True,
            "certfile": str(tls / "server.crt"),
            "keyfile": str(tls / "server.key"),
        },
        "ca": {
            "name": node.organization.ca_name,
            "certfile": str(authority / f"ca.{domain}-cert.pem"),
            "keyfile": str(authority / "priv_sk"),
            "imports": [str(organization)],
        },
        "db": {"type": "sqlite3", "datasource": str(layout.node(node.fqdn) / "ca.db")},
        "operations": {
            "listenAddress": f"{node.host}:{node.operations_port}",
            "tls": {"enabled": False},
        },
    }
