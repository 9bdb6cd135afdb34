"""A real Fabric network on loopback, without Docker: one raft orderer, two organisations.

    with RealFabric.start(tmp_path) as fabric:
        package = fabric.package("health", "127.0.0.1:9999")
        # start a chaincode server with CHAINCODE_ID=package.package_id on that address
        fabric.deploy(package, policy="OR('Org1MSP.peer','Org2MSP.peer')")
        fabric.invoke("health", ["consent:Grant", "…"])
        fabric.query("health", ["consent:Get", "…"])

The binaries come from FABRIC_BIN (a folder) or PATH, the sample `core.yaml` and `orderer.yaml` from
FABRIC_CFG_PATH or from `config`, `sampleconfig` or `src/sampleconfig` beside the binaries' folder.
Fabric 3 and Fabric 2.5 both do; the channel's capabilities follow from what `peer version` says.
Where they are missing, `RealFabric.start` skips the test and says so. Every process is stopped by
its own handle.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import pytest
import yaml
from fabric_protos.peer import peer_pb2_grpc, proposal_pb2, proposal_response_pb2

from network.rules.identity.identity import Signer, signer_from_pem
from network.rules.proposal import build_proposal
from tests.conformance.network_description import describe_channel, describe_crypto
from tests.ports import free_ports

CHANNEL = "care"
READY_SECONDS = 60.0
OUR_PEER = "import sys; from network.node.__main__ import run_peer; sys.exit(run_peer())"
"""What the console script medfabric-peer does."""
_DETECT = '#!/bin/sh\ngrep -qi \'"type" *: *"ccaas"\' "$2/metadata.json"\n'
_BUILD = (
    '#!/bin/sh\ncp "$1/connection.json" "$3/"\n'
    '[ ! -d "$1/META-INF" ] || cp -r "$1/META-INF" "$3/"\n'
)
_RELEASE = (
    '#!/bin/sh\nmkdir -p "$2/chaincode/server"\n'
    'cp "$1/connection.json" "$2/chaincode/server/"\n'
    '[ ! -d "$1/META-INF" ] || cp -r "$1/META-INF/." "$2/"\n'
)


class FabricCommandError(AssertionError):
    """A Fabric program failed; the text is what it printed."""


@dataclass(frozen=True, slots=True)
class Organization:
    """An organisation with one peer and its administrator and user."""

    name: str
    domain: str
    folder: Path
    peer_port: int
    chaincode_port: int
    operations_port: int

    @property
    def msp_id(self) -> str:
        """Its MSP id, `Org1MSP`."""
        return f"{self.name}MSP"

    @property
    def peer_host(self) -> str:
        """Its peer's name, as TLS certificates have it."""
        return f"peer0.{self.domain}"

    @property
    def peer_address(self) -> str:
        """Where its peer listens."""
        return f"127.0.0.1:{self.peer_port}"

    @property
    def peer_folder(self) -> Path:
        """Cryptogen's folder of the peer."""
        return self.folder / "peers" / self.peer_host

    @property
    def tls_root(self) -> Path:
        """The CA certificate of the peer's TLS certificate."""
        return self.peer_folder / "tls" / "ca.crt"

    def user_msp(self, user: str = "Admin") -> Path:
        """The MSP folder of `Admin` or `User1`."""
        return self.folder / "users" / f"{user}@{self.domain}" / "msp"

    def signer(self, user: str = "User1") -> Signer:
        """Someone of this organisation who signs proposals."""
        msp = self.user_msp(user)
        certificate = next((msp / "signcerts").iterdir()).read_bytes()
        key = next((msp / "keystore").iterdir()).read_bytes()
        return signer_from_pem(self.msp_id, certificate, key)


@dataclass(frozen=True, slots=True)
class Package:
    """A chaincode package of type ccaas."""

    name: str
    path: Path
    package_id: str
    address: str


@dataclass(slots=True)
class RealFabric:
    """The running network."""

    folder: Path
    bin_folder: Path
    organizations: tuple[Organization, ...]
    orderer_port: int
    admin_port: int
    channel: str = CHANNEL
    launcher: str = ""
    """Text of an external builder's `run` script: peers then launch chaincode, dialling nobody."""
    version: tuple[int, int] = (3, 1)
    """Fabric's major and minor version."""
    ours: frozenset[str] = frozenset()
    """The organisations whose peer is our own program, started as Fabric's is."""
    _config_folder: Path = Path()
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        channel: str = CHANNEL,
        launcher: str = "",
        ours: frozenset[str] = frozenset(),
    ) -> RealFabric:
        """Bring the network up with all peers joined to the channel; skips without binaries."""
        bin_folder = find_binaries()
        config_folder = find_config(bin_folder)
        ports = free_ports(9)
        organizations = tuple(
            Organization(
                name=f"Org{number}",
                domain=f"org{number}.example.com",
                folder=folder / f"crypto/peerOrganizations/org{number}.example.com",
                peer_port=ports[3 * number - 3],
                chaincode_port=ports[3 * number - 2],
                operations_port=ports[3 * number - 1],
            )
            for number in (1, 2)
        )
        fabric = cls(
            folder=folder,
            bin_folder=bin_folder,
            organizations=organizations,
            orderer_port=ports[6],
            admin_port=ports[7],
            channel=channel,
            launcher=launcher,
            version=read_version(bin_folder),
            ours=ours,
            _config_folder=config_folder,
        )
        try:
            fabric._generate()
            fabric.start_orderer(operations_port=ports[8])
            for organization in organizations:
                fabric.start_peer(organization)
            fabric._join()
        except BaseException:
            fabric.stop()
            raise
        return fabric

    def __enter__(self) -> RealFabric:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process that this object started."""
        for name in list(self._processes):
            self.stop_process(name)

    def stop_process(self, name: str, *, kill: bool = False) -> None:
        """End one process (`orderer`, `peer-Org1`); killed if it takes more than 10 s, or at once
        if `kill`."""
        process = self._processes.pop(name)
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def log(self, name: str) -> str:
        """What a process has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def add_channel(self, name: str) -> RealFabric:
        """Another channel of the same nodes, as seen through the result; all peers have joined."""
        other = replace(self, channel=name)
        other._generate_block()
        other._join()
        return other

    # --- chaincode --------------------------------------------------------------------------

    def package(
        self, name: str, address: str, *, tls: Mapping[str, str] | None = None, version: str = "1"
    ) -> Package:
        """A ccaas package; `tls` adds to connection.json (`root_cert`, `client_cert`, …)."""
        connection: dict[str, Any] = {
            "address": address,
            "dial_timeout": "10s",
            "tls_required": tls is not None,
            "client_auth_required": bool(tls and "client_cert" in tls),
        } | dict(tls or {})
        label = f"{name}_{version}"
        code = _tar({"connection.json": json.dumps(connection).encode()})
        metadata = json.dumps({"type": "ccaas", "path": "", "label": label}).encode()
        raw = _tar({"metadata.json": metadata, "code.tar.gz": code})
        path = self.folder / f"{label}.tar.gz"
        path.write_bytes(raw)
        return Package(name, path, f"{label}:{hashlib.sha256(raw).hexdigest()}", address)

    def deploy(
        self,
        package: Package,
        *,
        policy: str = "",
        collections: Sequence[Mapping[str, Any]] = (),
        sequence: int = 1,
        version: str = "1",
        init_required: bool = False,
    ) -> None:
        """Install, approve for every organisation, and commit the chaincode's definition."""
        definition = [
            *("--channelID", self.channel, "--name", package.name, "--version", version),
            *("--sequence", str(sequence), *self._orderer_flags()),
        ]
        if policy:
            definition += ["--signature-policy", policy]
        if collections:
            path = self.folder / f"{package.name}_collections_{sequence}.json"
            path.write_text(json.dumps(list(collections)))
            definition += ["--collections-config", str(path)]
        if init_required:
            definition.append("--init-required")
        lifecycle = ("lifecycle", "chaincode")
        for organization in self.organizations:
            self.peer(organization, *lifecycle, "install", str(package.path))
            self.peer(
                organization,
                *(*lifecycle, "approveformyorg", "--package-id", package.package_id),
                *definition,
            )
        self.peer(self.organizations[0], *lifecycle, "commit", *definition, *self._peer_flags())

    def invoke(
        self,
        chaincode: str,
        args: Sequence[str],
        *,
        transient: Mapping[str, bytes] | None = None,
        is_init: bool = False,
        organization: int = 0,
        endorsers: Sequence[int] | None = None,
    ) -> str:
        """Submit a transaction and wait until it is committed; what `peer` printed."""
        flags = ["--isInit"] if is_init else []
        if transient:
            encoded = {name: base64.b64encode(raw).decode() for name, raw in transient.items()}
            flags += ["--transient", json.dumps(encoded)]
        return self.peer(
            self.organizations[organization],
            *("chaincode", "invoke", "-C", self.channel, "-n", chaincode, "--waitForEvent"),
            *("-c", json.dumps({"Args": list(args)}), *flags),
            *self._orderer_flags(),
            *self._peer_flags(endorsers),
        )

    def query(self, chaincode: str, args: Sequence[str], *, organization: int = 0) -> str:
        """Evaluate a transaction at an organisation's peer; its result as printed."""
        return self.peer(
            self.organizations[organization],
            *("chaincode", "query", "-C", self.channel, "-n", chaincode),
            *("-c", json.dumps({"Args": list(args)})),
        ).rstrip("\n")

    async def endorse(
        self,
        stub: Any,
        signer: Signer,
        chaincode: str,
        args: Sequence[bytes],
        *,
        transient: Mapping[str, bytes] | None = None,
    ) -> Any:
        """The `ProposalResponse` of one peer, over a stub of `endorser_channel`."""
        built = build_proposal(
            channel_id=self.channel,
            chaincode=chaincode,
            args=args,
            creator=signer.creator,
            nonce=secrets.token_bytes(24),
            timestamp=datetime.now(UTC),
            transient=transient or {},
        )
        signed = proposal_pb2.SignedProposal(
            proposal_bytes=built.raw, signature=signer.sign(built.raw)
        )
        return await stub.ProcessProposal(signed)

    def endorser_channel(self, organization: int = 0) -> Any:
        """A gRPC channel (grpc.aio) to an organisation's peer."""
        found = self.organizations[organization]
        return grpc.aio.secure_channel(
            found.peer_address,
            grpc.ssl_channel_credentials(found.tls_root.read_bytes()),
            options=(
                ("grpc.ssl_target_name_override", found.peer_host),
                ("grpc.max_receive_message_length", 100 * 1024 * 1024),
                ("grpc.max_send_message_length", 100 * 1024 * 1024),
            ),
        )

    # --- processes --------------------------------------------------------------------------

    def start_orderer(
        self,
        *,
        operations_port: int = 0,
        host: str = "orderer",
        port: int = 0,
        admin_port: int = 0,
    ) -> None:
        """Start the orderer, or another one that cryptogen made, and wait until it serves."""
        orderers = self.folder / "crypto/ordererOrganizations/example.com/orderers"
        home = orderers / f"{host}.example.com"
        tls = home / "tls"
        port, admin_port = port or self.orderer_port, admin_port or self.admin_port
        env = {
            "FABRIC_CFG_PATH": str(self._config_folder),
            "ORDERER_GENERAL_LISTENADDRESS": "127.0.0.1",
            "ORDERER_GENERAL_LISTENPORT": str(port),
            "ORDERER_GENERAL_LOCALMSPID": "OrdererMSP",
            "ORDERER_GENERAL_LOCALMSPDIR": str(home / "msp"),
            "ORDERER_GENERAL_TLS_ENABLED": "true",
            "ORDERER_GENERAL_TLS_PRIVATEKEY": str(tls / "server.key"),
            "ORDERER_GENERAL_TLS_CERTIFICATE": str(tls / "server.crt"),
            "ORDERER_GENERAL_TLS_ROOTCAS": f"[{tls / 'ca.crt'}]",
            "ORDERER_GENERAL_CLUSTER_CLIENTCERTIFICATE": str(tls / "server.crt"),
            "ORDERER_GENERAL_CLUSTER_CLIENTPRIVATEKEY": str(tls / "server.key"),
            "ORDERER_GENERAL_CLUSTER_ROOTCAS": f"[{tls / 'ca.crt'}]",
            "ORDERER_GENERAL_BOOTSTRAPMETHOD": "none",
            "ORDERER_CHANNELPARTICIPATION_ENABLED": "true",
            "ORDERER_ADMIN_LISTENADDRESS": f"127.0.0.1:{admin_port}",
            "ORDERER_ADMIN_TLS_ENABLED": "true",
            "ORDERER_ADMIN_TLS_PRIVATEKEY": str(tls / "server.key"),
            "ORDERER_ADMIN_TLS_CERTIFICATE": str(tls / "server.crt"),
            "ORDERER_ADMIN_TLS_CLIENTROOTCAS": f"[{tls / 'ca.crt'}]",
            "ORDERER_ADMIN_TLS_CLIENTAUTHREQUIRED": "true",
            "ORDERER_OPERATIONS_LISTENADDRESS": f"127.0.0.1:{operations_port}",
            "ORDERER_METRICS_PROVIDER": "disabled",
            "ORDERER_FILELEDGER_LOCATION": str(self.folder / host / "ledger"),
            "ORDERER_CONSENSUS_WALDIR": str(self.folder / host / "wal"),
            "ORDERER_CONSENSUS_SNAPDIR": str(self.folder / host / "snap"),
        }
        self._spawn(host, [str(self.bin_folder / "orderer")], env)
        self._wait_for(host, "Beginning to serve requests")

    def start_peer(self, organization: Organization) -> None:
        """Start an organisation's peer (again) and wait until it serves."""
        name = f"peer-{organization.name}"
        home = self.folder / name
        home.mkdir(exist_ok=True)
        core = yaml.safe_load((self._config_folder / "core.yaml").read_text())
        core["chaincode"]["externalBuilders"] = [
            {"name": "ccaas", "path": str(self._write_builder()), "propagateEnvironment": ["HOME"]}
        ]
        core["vm"]["endpoint"] = ""
        (home / "core.yaml").write_text(yaml.safe_dump(core))
        tls = organization.peer_folder / "tls"
        env = {
            "FABRIC_CFG_PATH": str(home),
            "CORE_PEER_ID": organization.peer_host,
            "CORE_PEER_NETWORKID": "conformance",
            "CORE_PEER_ADDRESS": organization.peer_address,
            "CORE_PEER_LISTENADDRESS": organization.peer_address,
            "CORE_PEER_CHAINCODELISTENADDRESS": f"127.0.0.1:{organization.chaincode_port}",
            "CORE_PEER_CHAINCODEADDRESS": f"127.0.0.1:{organization.chaincode_port}",
            "CORE_PEER_GOSSIP_BOOTSTRAP": organization.peer_address,
            "CORE_PEER_GOSSIP_ENDPOINT": organization.peer_address,
            "CORE_PEER_GOSSIP_EXTERNALENDPOINT": organization.peer_address,
            "CORE_PEER_GOSSIP_USELEADERELECTION": "false",
            "CORE_PEER_GOSSIP_ORGLEADER": "true",
            "CORE_PEER_LOCALMSPID": organization.msp_id,
            "CORE_PEER_MSPCONFIGPATH": str(organization.peer_folder / "msp"),
            "CORE_PEER_TLS_ENABLED": "true",
            "CORE_PEER_TLS_CERT_FILE": str(tls / "server.crt"),
            "CORE_PEER_TLS_KEY_FILE": str(tls / "server.key"),
            "CORE_PEER_TLS_ROOTCERT_FILE": str(tls / "ca.crt"),
            "CORE_PEER_FILESYSTEMPATH": str(home / "data"),
            "CORE_LEDGER_SNAPSHOTS_ROOTDIR": str(home / "snapshots"),
            "CORE_LEDGER_HISTORY_ENABLEHISTORYDATABASE": "true",
            "CORE_OPERATIONS_LISTENADDRESS": f"127.0.0.1:{organization.operations_port}",
            "CORE_METRICS_PROVIDER": "disabled",
        }
        (self.folder / f"{name}.log").unlink(missing_ok=True)
        if organization.name in self.ours:
            program = [sys.executable, "-c", OUR_PEER]
            env["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
        else:
            program = [str(self.bin_folder / "peer")]
        self._spawn(name, [*program, "node", "start"], env)
        self._wait_for(name, "Started peer with ID")

    def peer(self, organization: Organization, *args: str) -> str:
        """What `peer <args>` prints as the organisation's administrator. Raises if it fails."""
        env = {
            "FABRIC_CFG_PATH": str(self._config_folder),
            "FABRIC_LOGGING_SPEC": "error:cli=info:chaincodeCmd=info:lifecycle=info",
            "CORE_PEER_LOCALMSPID": organization.msp_id,
            "CORE_PEER_MSPCONFIGPATH": str(organization.user_msp()),
            "CORE_PEER_ADDRESS": organization.peer_address,
            "CORE_PEER_TLS_ENABLED": "true",
            "CORE_PEER_TLS_ROOTCERT_FILE": str(organization.tls_root),
        }
        return self._run("peer", list(args), env)

    def _generate(self) -> None:
        crypto = describe_crypto()
        (self.folder / "crypto.yaml").write_text(yaml.safe_dump(crypto))
        self._run(
            "cryptogen",
            [
                "generate",
                f"--config={self.folder / 'crypto.yaml'}",
                f"--output={self.folder / 'crypto'}",
            ],
            {},
        )
        self._generate_block()

    def _generate_block(self) -> None:
        configtx = yaml.safe_dump(describe_channel(self), sort_keys=False)
        (self.folder / "configtx.yaml").write_text(configtx)
        block = self.folder / f"{self.channel}.block"
        self._run(
            "configtxgen",
            [
                *("-configPath", str(self.folder), "-profile", "Channel"),
                *("-channelID", self.channel, "-outputBlock", str(block)),
            ],
            {"FABRIC_CFG_PATH": str(self.folder)},
        )

    def _join(self) -> None:
        tls = (
            self.folder / "crypto/ordererOrganizations/example.com/orderers/orderer.example.com/tls"
        )
        block = str(self.folder / f"{self.channel}.block")
        self._run(
            "osnadmin",
            [
                *("channel", "join", "--channelID", self.channel, "--config-block", block),
                *("-o", f"127.0.0.1:{self.admin_port}", "--ca-file", str(tls / "ca.crt")),
                *("--client-cert", str(tls / "server.crt")),
                *("--client-key", str(tls / "server.key")),
            ],
            {},
        )
        self._wait_for("orderer", "Raft leader changed: 0 -> ", f"channel={self.channel}")
        for organization in self.organizations:
            self.peer(organization, "channel", "join", "-b", block)

    def _orderer_flags(self) -> list[str]:
        home = self.folder / "crypto/ordererOrganizations/example.com/orderers/orderer.example.com"
        return [
            *("-o", f"127.0.0.1:{self.orderer_port}", "--tls"),
            *("--cafile", str(home / "tls/ca.crt")),
            *("--ordererTLSHostnameOverride", "orderer.example.com"),
        ]

    def _peer_flags(self, endorsers: Sequence[int] | None = None) -> list[str]:
        flags: list[str] = []
        for number, organization in enumerate(self.organizations):
            if endorsers is None or number in endorsers:
                flags += ["--peerAddresses", organization.peer_address]
                flags += ["--tlsRootCertFiles", str(organization.tls_root)]
        return flags

    def _write_builder(self) -> Path:
        """Fabric's own ccaas builder if it lies beside the binaries, else three small scripts."""
        official = self.bin_folder.parent / "builders" / "ccaas"
        if not self.launcher and (official / "bin" / "detect").is_file():
            return official
        folder = self.folder / "builder"
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        scripts = {"detect": _DETECT, "build": _BUILD, "release": _RELEASE}
        if self.launcher:  # without connection.json in the release the peer launches it
            scripts |= {"release": "#!/bin/sh\n", "run": self.launcher}
        for name, text in scripts.items():
            path = folder / "bin" / name
            path.write_text(text)
            path.chmod(0o755)
        return folder

    def _spawn(self, name: str, command: list[str], env: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                env=_environment(env),
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _wait_for(self, name: str, text: str, also: str = "") -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if any(text in line and also in line for line in self.log(name).splitlines()):
                return
            if self._processes[name].poll() is not None:
                break
            time.sleep(0.1)
        raise FabricCommandError(f"{name} did not print {text!r}:\n{self.log(name)[-4000:]}")

    def _run(self, program: str, args: list[str], env: dict[str, str]) -> str:
        done = subprocess.run(
            [str(self.bin_folder / program), *args],
            env=_environment(env),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if done.returncode != 0:
            command = " ".join([program, *args[:3]])
            raise FabricCommandError(f"{command} failed:\n{done.stdout}{done.stderr}"[-6000:])
        return done.stdout or done.stderr


def find_binaries() -> Path:
    """The folder that holds Fabric's programs; skips the test where one is missing."""
    needed = ("peer", "orderer", "cryptogen", "configtxgen", "osnadmin")
    given = os.environ.get("FABRIC_BIN")
    if given:
        folder = Path(given)
    else:
        found = shutil.which("peer")
        if found is None:
            pytest.skip("Fabric's peer is neither in FABRIC_BIN nor on PATH")
        folder = Path(found).resolve().parent
    for name in needed:
        if not (folder / name).is_file():
            pytest.skip(f"Fabric's {name} is not in {folder}")
    return folder


def read_version(bin_folder: Path) -> tuple[int, int]:
    """Major and minor version of the `peer` in this folder; (3, 1) where it was built without."""
    told = subprocess.run(
        [str(bin_folder / "peer"), "version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"Version: v?(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else (3, 1)


def choose_capabilities(bin_folder: Path) -> str:
    """The `fabricVersion` of a network.yaml whose channels the `peer` in this folder can join."""
    return "3.1" if read_version(bin_folder) >= (3, 0) else "2.5"


def find_config(bin_folder: Path) -> Path:
    """The folder that holds Fabric's sample core.yaml and orderer.yaml; skips without one."""
    given = os.environ.get("FABRIC_CFG_PATH")
    beside = [bin_folder.parent / name for name in ("config", "sampleconfig", "src/sampleconfig")]
    for folder in [Path(given)] if given else beside:
        if (folder / "core.yaml").is_file() and (folder / "orderer.yaml").is_file():
            return folder
    pytest.skip("Fabric's sample core.yaml and orderer.yaml are not found: set FABRIC_CFG_PATH")


def make_endorser_stub(channel: Any) -> Any:
    """A stub of `protos.Endorser`."""
    return peer_pb2_grpc.EndorserStub(channel)


def read_proposal_response(response: Any) -> tuple[int, str, bytes]:
    """Status, message and payload of a `ProposalResponse`."""
    found: proposal_response_pb2.Response = response.response
    return found.status, found.message, found.payload


def _environment(env: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | env


def _tar(files: Mapping[str, bytes]) -> bytes:
    """A gzip tar of these files, the same bytes each time."""
    raw = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return raw.getvalue()
