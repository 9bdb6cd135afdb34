"""A network described by Fabric's own means only, whose nodes are ours.

cryptogen makes the keys, configtxgen the channel; every node starts from Fabric's sample core.yaml
or orderer.yaml, untouched, with CORE_* and ORDERER_* on top. Two organisations with two peers each,
three orderers; a third organisation with one peer is made ready to be added. What is done to it is
done by `peer`, `osnadmin` and `configtxlator`. `drop_in_network` skips without Fabric's programs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.conformance.network_description import signature_policies
from tests.conformance.real_fabric import (
    Package,
    _tar,
    find_binaries,
    find_config,
)
from tests.ports import free_ports

CHANNEL = "care"
ROOT = Path(__file__).resolve().parents[2]
PEERS = {"Org1": 2, "Org2": 2, "Org3": 1}
FOUNDERS = ("Org1", "Org2")
ORDERERS = 3
ADMIN = "Admin@org1.example.com"
PATIENCE = 60
COMMANDS = {
    "orderer": "import sys; from network.node.__main__ import run_orderer; sys.exit(run_orderer())",
    "peer": "import sys; from network.node.__main__ import run_peer; sys.exit(run_peer())",
}
"""What the console scripts medfabric-orderer and medfabric-peer do."""


class CommandFailed(AssertionError):
    """A program of Fabric's failed; the text is what it printed."""


@dataclass
class Process:
    """One of our nodes."""

    role: str
    environment: dict[str, str]
    log: Path
    line: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """It serves, having printed Fabric's line."""
        arguments = ["node", "start"] if self.role == "peer" else []
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", COMMANDS[self.role], *arguments],
                env={**_kept(), "PYTHONPATH": str(ROOT), **self.environment},
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + PATIENCE
        while self.line not in self.log.read_text(errors="replace"):
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            assert time.monotonic() < end, self.log.read_text(errors="replace")
            time.sleep(0.1)

    def kill(self) -> None:
        """It is gone at once, as by a power cut."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def stop(self) -> None:
        """It has ended by itself, with exit code 0."""
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(20) == 0, self.log.read_text(errors="replace")
            self.process = None


@dataclass
class DropIn:
    """The network; `nodes` by name: orderer0 …, peer0.Org1 …"""

    folder: Path
    binaries: Path
    config: Path
    ports: Iterator[int]
    nodes: dict[str, Process] = field(default_factory=dict)
    listening: dict[str, int] = field(default_factory=dict)
    admin: dict[int, int] = field(default_factory=dict)

    # --- Fabric's programs --------------------------------------------------------------------

    def run(self, program: str, *arguments: str, **environment: str) -> str:
        """What the program printed, standard error after standard output. Raises CommandFailed."""
        done = subprocess.run(
            [str(self.binaries / program), *arguments],
            env=_kept() | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise CommandFailed(
                f"{program} {' '.join(arguments[:3])}:\n{done.stdout}{done.stderr}"[-4000:]
            )
        return done.stdout + done.stderr

    def peer(self, org: str, *arguments: str, at: int = 0) -> str:
        """What `peer` printed for the organisation's administrator, at one of its peers."""
        return self.run(
            "peer",
            *arguments,
            FABRIC_CFG_PATH=str(self.config),
            FABRIC_LOGGING_SPEC="error:cli=info:chaincodeCmd=info",
            CORE_PEER_LOCALMSPID=f"{org}MSP",
            CORE_PEER_MSPCONFIGPATH=str(self.org_folder(org) / f"users/Admin@{_domain(org)}/msp"),
            CORE_PEER_ADDRESS=self.address(f"peer{at}.{org}"),
            CORE_PEER_TLS_ENABLED="true",
            CORE_PEER_TLS_ROOTCERT_FILE=str(self.tls_root(org)),
        )

    def osnadmin(self, number: int, *arguments: str) -> dict[str, Any]:
        """The status and the body that `osnadmin channel …` printed, the status as "Status"."""
        tls = self.orderer_folder(number) / "tls"
        printed = self.run(
            "osnadmin", "channel", *arguments,
            *("-o", f"127.0.0.1:{self.admin[number]}", "--ca-file", str(tls / "ca.crt")),
            *("--client-cert", str(tls / "server.crt"), "--client-key", str(tls / "server.key")),
        )  # fmt: skip
        status, _, body = printed.partition("\n")
        told: dict[str, Any] = json.loads(body or "{}")
        return {"Status": status.removeprefix("Status: ")} | told

    def ordered(self, number: int = 0) -> list[str]:
        """The flags that name an orderer."""
        root = str(self.orderer_folder(number) / "tls/ca.crt")
        return ["-o", self.address(f"orderer{number}"), "--tls", "--cafile", root]

    def endorsers(self, *orgs: str, at: int = 0) -> list[str]:
        """The flags that name one peer of each organisation."""
        flags: list[str] = []
        for org in orgs:
            flags += ["--peerAddresses", self.address(f"peer{at}.{org}")]
            flags += ["--tlsRootCertFiles", str(self.tls_root(org))]
        return flags

    # --- channel ------------------------------------------------------------------------------

    def fetch_config(self, number: int = 0) -> dict[str, Any]:
        """The channel's config as `configtxlator` shows it, fetched from an orderer."""
        self.peer("Org1", *("channel", "fetch", "config", "config.pb", "-c", CHANNEL),
                  *self.ordered(number))  # fmt: skip
        self.run("configtxlator", "proto_decode", "--type=common.Block", "--input=config.pb",
                 "--output=config.json")  # fmt: skip
        block = json.loads((self.folder / "config.json").read_text())
        config: dict[str, Any] = block["data"]["data"][0]["payload"]["data"]["config"]
        return config

    def update(
        self, changed: dict[str, Any], signers: Sequence[str], sender: str, number: int = 0
    ) -> None:
        """The config is ordered: computed by configtxlator, signed by `peer channel signconfigtx`
        for each signer, sent by `peer channel update` to the orderer."""
        original = self.fetch_config(number)
        for name, content in (("original", original), ("changed", changed)):
            (self.folder / f"{name}.json").write_text(json.dumps(content))
            self.run("configtxlator", "proto_encode", "--type=common.Config",
                     f"--input={name}.json", f"--output={name}.pb")  # fmt: skip
        self.run(
            *("configtxlator", "compute_update", f"--channel_id={CHANNEL}"),
            *("--original=original.pb", "--updated=changed.pb", "--output=update.pb"),
        )
        self.run("configtxlator", "proto_decode", "--type=common.ConfigUpdate",
                 "--input=update.pb", "--output=update.json")  # fmt: skip
        envelope = {
            "payload": {
                "header": {"channel_header": {"channel_id": CHANNEL, "type": 2}},
                "data": {"config_update": json.loads((self.folder / "update.json").read_text())},
            }
        }
        (self.folder / "envelope.json").write_text(json.dumps(envelope))
        self.run("configtxlator", "proto_encode", "--type=common.Envelope",
                 "--input=envelope.json", "--output=envelope.pb")  # fmt: skip
        for org in signers:
            self.sign(org, "envelope.pb")
        self.submit(sender, "channel", "update", "-f", "envelope.pb", "-c", CHANNEL, number=number)

    def sign(self, org: str, file: str) -> None:
        """`peer channel signconfigtx` by an organisation's administrator, or the orderers'."""
        if org != "Orderer":
            self.peer(org, "channel", "signconfigtx", "-f", file)
            return
        msp = self.orderer_org_folder / "users/Admin@example.com/msp"
        self.run("peer", "channel", "signconfigtx", "-f", file,
                 FABRIC_CFG_PATH=str(self.config), CORE_PEER_LOCALMSPID="OrdererMSP",
                 CORE_PEER_MSPCONFIGPATH=str(msp))  # fmt: skip

    def submit(self, org: str, *arguments: str, number: int = 0) -> str:
        """`peer` with an orderer's address."""
        return self.peer(org, *arguments, *self.ordered(number))

    def height(self, org: str, at: int = 0) -> int:
        """What `peer channel getinfo` says."""
        printed = self.peer(org, "channel", "getinfo", "-c", CHANNEL, at=at)
        return int(json.loads(printed[printed.index("{") :].splitlines()[0])["height"])

    def invoke(self, org: str, *args: str, number: int = 0, at: int = 0) -> str:
        """`peer chaincode invoke --waitForEvent`, endorsed by both founders."""
        return self.submit(
            org, "chaincode", "invoke", "-C", CHANNEL, "-n", "stub", "--waitForEvent",
            "-c", json.dumps({"Args": list(args)}), *self.endorsers(*FOUNDERS, at=at),
            number=number,
        )  # fmt: skip

    def query(self, org: str, *args: str, at: int = 0) -> str:
        """`peer chaincode query` at one peer."""
        call = json.dumps({"Args": list(args)})
        printed = self.peer(
            org, "chaincode", "query", "-C", CHANNEL, "-n", "stub", "-c", call, at=at
        )
        return printed.splitlines()[0]

    # --- places -------------------------------------------------------------------------------

    def address(self, name: str) -> str:
        """Where a node listens."""
        return f"127.0.0.1:{self.listening[name]}"

    def org_folder(self, org: str) -> Path:
        """cryptogen's folder of a member organisation."""
        return self.folder / "crypto/peerOrganizations" / _domain(org)

    @property
    def orderer_org_folder(self) -> Path:
        """cryptogen's folder of the orderers' organisation."""
        return self.folder / "crypto/ordererOrganizations/example.com"

    def orderer_folder(self, number: int) -> Path:
        """cryptogen's folder of an orderer."""
        return self.orderer_org_folder / f"orderers/orderer{number}.example.com"

    def tls_root(self, org: str) -> Path:
        """What clients of the organisation's peers trust."""
        return self.org_folder(org) / f"tlsca/tlsca.{_domain(org)}-cert.pem"

    def package(self, name: str, address: str) -> Package:
        """A package of type ccaas, with the id that `peer` computes."""
        connection = {"address": address, "dial_timeout": "10s", "tls_required": False}
        code = _tar({"connection.json": json.dumps(connection).encode()})
        metadata = json.dumps({"type": "ccaas", "path": "", "label": name}).encode()
        path = self.folder / f"{name}.tar.gz"
        path.write_bytes(_tar({"metadata.json": metadata, "code.tar.gz": code}))
        printed = self.run(
            "peer", "lifecycle", "chaincode", "calculatepackageid", str(path),
            FABRIC_CFG_PATH=str(self.config),
            CORE_PEER_MSPCONFIGPATH=str(self.org_folder("Org1") / f"users/{ADMIN}/msp"),
            CORE_PEER_LOCALMSPID="Org1MSP",
        )  # fmt: skip
        return Package(name, path, printed.strip().splitlines()[0], address)

    # --- making it ----------------------------------------------------------------------------

    def make(self) -> None:
        """Keys, channel and settings are on disk; nothing runs."""
        for number in range(ORDERERS):
            self.listening[f"orderer{number}"] = next(self.ports)
            self.admin[number] = next(self.ports)
        for org, count in PEERS.items():
            for number in range(count):
                self.listening[f"peer{number}.{org}"] = next(self.ports)
        (self.folder / "crypto.yaml").write_text(yaml.safe_dump(_describe_crypto()))
        self.run("cryptogen", "generate", "--config=crypto.yaml", "--output=crypto")
        text = yaml.safe_dump(self._describe_channel(), sort_keys=False)
        (self.folder / "configtx.yaml").write_text(text)
        self.run(
            "configtxgen", "-configPath", str(self.folder), "-profile", "Channel",
            "-channelID", CHANNEL, "-outputBlock", "channel.block",
        )  # fmt: skip
        for number in range(ORDERERS):
            name = f"orderer{number}"
            self.nodes[name] = Process(
                "orderer", self._orderer_environment(number), self.folder / f"{name}.log",
                "Beginning to serve requests",
            )  # fmt: skip
        for org, count in PEERS.items():
            for number in range(count):
                name = f"peer{number}.{org}"
                self.nodes[name] = Process(
                    "peer", self._peer_environment(org, number), self.folder / f"{name}.log",
                    f"Started peer with ID=[peer{number}.{_domain(org)}]",
                )  # fmt: skip

    def describe_org(self, org: str) -> dict[str, Any]:
        """A member organisation, as configtxgen reads it."""
        return {
            "Name": f"{org}MSP",
            "ID": f"{org}MSP",
            "MSPDir": str(self.org_folder(org) / "msp"),
            "Policies": signature_policies(f"{org}MSP"),
        }

    def _orderer_environment(self, number: int) -> dict[str, str]:
        home, data = self.orderer_folder(number), self.folder / f"data/orderer{number}"
        tls = home / "tls"
        certificate, key, root = (
            str(tls / name) for name in ("server.crt", "server.key", "ca.crt")
        )
        values = {
            "GENERAL_LISTENADDRESS": "127.0.0.1",
            "GENERAL_LISTENPORT": str(self.listening[f"orderer{number}"]),
            "GENERAL_LOCALMSPID": "OrdererMSP",
            "GENERAL_LOCALMSPDIR": str(home / "msp"),
            "GENERAL_TLS_ENABLED": "true",
            "GENERAL_TLS_PRIVATEKEY": key,
            "GENERAL_TLS_CERTIFICATE": certificate,
            "GENERAL_TLS_ROOTCAS": f"[{root}]",
            "GENERAL_CLUSTER_CLIENTCERTIFICATE": certificate,
            "GENERAL_CLUSTER_CLIENTPRIVATEKEY": key,
            "GENERAL_CLUSTER_ROOTCAS": f"[{root}]",
            "GENERAL_BOOTSTRAPMETHOD": "none",
            "CHANNELPARTICIPATION_ENABLED": "true",
            "ADMIN_LISTENADDRESS": f"127.0.0.1:{self.admin[number]}",
            "ADMIN_TLS_ENABLED": "true",
            "ADMIN_TLS_PRIVATEKEY": key,
            "ADMIN_TLS_CERTIFICATE": certificate,
            "ADMIN_TLS_ROOTCAS": f"[{root}]",
            "ADMIN_TLS_CLIENTROOTCAS": f"[{root}]",
            "OPERATIONS_LISTENADDRESS": "127.0.0.1:0",
            "METRICS_PROVIDER": "prometheus",
            "FILELEDGER_LOCATION": str(data / "ledger"),
            "CONSENSUS_WALDIR": str(data / "wal"),
            "CONSENSUS_SNAPDIR": str(data / "snap"),
        }
        named = {f"ORDERER_{name}": value for name, value in values.items()}
        return named | {"FABRIC_CFG_PATH": str(self.config), "FABRIC_LOGGING_SPEC": "INFO"}

    def _peer_environment(self, org: str, number: int) -> dict[str, str]:
        name, host = f"peer{number}.{org}", f"peer{number}.{_domain(org)}"
        home, data = self.org_folder(org) / "peers" / host, self.folder / "data" / name
        other = f"peer{1 - number if PEERS[org] > 1 else number}.{org}"
        values = {
            "PEER_ID": host,
            "PEER_ADDRESS": self.address(name),
            "PEER_LISTENADDRESS": self.address(name),
            "PEER_CHAINCODEADDRESS": "127.0.0.1:0",
            "PEER_CHAINCODELISTENADDRESS": "127.0.0.1:0",
            "PEER_GOSSIP_BOOTSTRAP": self.address(other),
            "PEER_GOSSIP_EXTERNALENDPOINT": self.address(name),
            "PEER_LOCALMSPID": f"{org}MSP",
            "PEER_MSPCONFIGPATH": str(home / "msp"),
            "PEER_TLS_ENABLED": "true",
            "PEER_PROFILE_ENABLED": "false",
            "PEER_TLS_CERT_FILE": str(home / "tls/server.crt"),
            "PEER_TLS_KEY_FILE": str(home / "tls/server.key"),
            "PEER_TLS_ROOTCERT_FILE": str(home / "tls/ca.crt"),
            "PEER_FILESYSTEMPATH": str(data),
            "LEDGER_SNAPSHOTS_ROOTDIR": str(data / "snapshots"),
            "OPERATIONS_LISTENADDRESS": "127.0.0.1:0",
            "METRICS_PROVIDER": "prometheus",
            "CHAINCODE_EXECUTETIMEOUT": "300s",
            "VM_ENDPOINT": "unix:///host/var/run/docker.sock",
            "VM_DOCKER_HOSTCONFIG_NETWORKMODE": "fabric_test",
        }
        named = {f"CORE_{key}": value for key, value in values.items()}
        return named | {"FABRIC_CFG_PATH": str(self.config), "FABRIC_LOGGING_SPEC": "INFO"}

    def _describe_channel(self) -> dict[str, Any]:
        implicit = {
            "Readers": {"Type": "ImplicitMeta", "Rule": "ANY Readers"},
            "Writers": {"Type": "ImplicitMeta", "Rule": "ANY Writers"},
            "Admins": {"Type": "ImplicitMeta", "Rule": "MAJORITY Admins"},
        }
        validation = {"BlockValidation": {"Type": "ImplicitMeta", "Rule": "ANY Writers"}}
        majority = {"Type": "ImplicitMeta", "Rule": "MAJORITY Endorsement"}
        certificates = [
            str(self.orderer_folder(number) / "tls/server.crt") for number in range(ORDERERS)
        ]
        consenters = [
            {
                "Host": "127.0.0.1",
                "Port": self.listening[f"orderer{number}"],
                "ClientTLSCert": certificate,
                "ServerTLSCert": certificate,
            }
            for number, certificate in enumerate(certificates)
        ]
        orderer_org = {
            "Name": "OrdererOrg",
            "ID": "OrdererMSP",
            "MSPDir": str(self.orderer_org_folder / "msp"),
            "OrdererEndpoints": [self.address(f"orderer{n}") for n in range(ORDERERS)],
            "Policies": signature_policies("OrdererMSP"),
        }
        return {
            "Profiles": {
                "Channel": {
                    "Policies": implicit,
                    "Capabilities": {"V2_0": True},
                    "Orderer": {
                        "OrdererType": "etcdraft",
                        "BatchTimeout": "2s",
                        "BatchSize": {
                            "MaxMessageCount": 10,
                            "AbsoluteMaxBytes": "99 MB",
                            "PreferredMaxBytes": "512 KB",
                        },
                        "EtcdRaft": {"Consenters": consenters},
                        "Organizations": [orderer_org],
                        "Policies": implicit | validation,
                        "Capabilities": {"V2_0": True},
                    },
                    "Application": {
                        "Organizations": [self.describe_org(org) for org in FOUNDERS],
                        "Policies": implicit
                        | {"LifecycleEndorsement": majority, "Endorsement": majority},
                        "Capabilities": {"V2_5": True},
                    },
                }
            }
        }


@contextmanager
def drop_in_network(folder: Path) -> Iterator[DropIn]:
    """The network's orderers and the founders' peers run; no channel is joined."""
    binaries = find_binaries()
    network = DropIn(folder, binaries, find_config(binaries), iter(free_ports(16)))
    try:
        network.make()
        for name, node in network.nodes.items():
            if not name.endswith("Org3"):
                node.start()
        yield network
    finally:
        for node in network.nodes.values():
            node.kill()


def _describe_crypto() -> dict[str, Any]:
    names = ["localhost", "127.0.0.1"]
    return {
        "OrdererOrgs": [
            {
                "Name": "Orderer",
                "Domain": "example.com",
                "EnableNodeOUs": True,
                "Specs": [{"Hostname": f"orderer{n}", "SANS": names} for n in range(ORDERERS)],
            }
        ],
        "PeerOrgs": [
            {
                "Name": org,
                "Domain": _domain(org),
                "EnableNodeOUs": True,
                "Template": {"Count": count, "SANS": names},
                "Users": {"Count": 1},
            }
            for org, count in PEERS.items()
        ],
    }


def _domain(org: str) -> str:
    return f"{org.lower()}.example.com"


def _kept() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
