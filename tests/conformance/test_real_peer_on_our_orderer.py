"""A real Fabric peer lives on our orderer: it joins, validates every block, survives our kill -9.

Needs Fabric's `peer`; the orderer is our own program, started as anyone would start `orderer`.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2

from network.rules.blocks.block import header_hash, open_block
from network.rules.channel.config import ChannelConfig
from network.rules.channel.spec import FABRIC_CAPABILITIES
from tests.conformance.real_fabric import choose_capabilities
from tests.fabric_binaries import fabric_binary, run_fabric
from tests.network.consortium import CHANNEL, Consortium, Org, build_message
from tests.network.updates import build_update, set_batch_size
from tests.ports import free_ports

PATIENCE = 30.0
POLICY = "OR('Org1MSP.member')"


def test_it_joins_and_takes_every_block(tmp_path: Path) -> None:
    capabilities = FABRIC_CAPABILITIES[choose_capabilities(fabric_binary("peer").parent)]
    orderer_port, peer_port, *ports = free_ports(5)
    consortium = Consortium(address=f"127.0.0.1:{orderer_port}")
    # One peer's endorsement is enough to define a chaincode.
    policies = {"LifecycleEndorsement": "ANY Endorsement"}
    genesis = consortium.build_genesis(application_policies=policies, capabilities=capabilities)
    site = Site(tmp_path, consortium, orderer_port, peer_port, tuple(ports))
    site.write_peer()
    (tmp_path / "genesis.block").write_bytes(genesis.SerializeToString())

    with site.orderer(), site.peer():
        site.join_orderer(genesis.SerializeToString())
        site.run_peer("channel", "join", "-b", str(tmp_path / "genesis.block"))
        site.approve("1", "1")
        site.commit("1", "1")
        config = ChannelConfig.from_block(genesis)
        update = build_update(consortium, config, set_batch_size, [consortium.orderer_admin])
        site.broadcast([update])
        # No orderer looks inside; each peer finds them invalid.
        site.broadcast([build_message(consortium.alice, b"")] * 2)
        site.approve("2", "2")
        site.wait_until_equal()
        before = site.get_height()

    # The peer stayed away while the orderer was killed and went on.
    with site.orderer(kill=True):
        site.broadcast([build_message(consortium.alice, b"") for _ in range(30)])
    with site.orderer(), site.peer():
        site.commit("2", "2")
        site.wait_until_equal()
        assert site.get_height() > before


@dataclass
class Site:
    """One orderer of ours and one peer of Fabric's, on this machine."""

    folder: Path
    consortium: Consortium
    orderer_port: int
    peer_port: int
    other_ports: tuple[int, ...]

    @contextmanager
    def orderer(self, *, kill: bool = False) -> Iterator[None]:
        environment = self.consortium.write_orderer(
            self.folder / "orderer",
            ORDERER_GENERAL_LISTENPORT=str(self.orderer_port),
            ORDERER_ADMIN_LISTENADDRESS=f"127.0.0.1:{self.other_ports[0]}",
        )
        command = [sys.executable, "-m", "network.node", "orderer"]
        ending = signal.SIGKILL if kill else signal.SIGTERM
        with self._running("orderer", command, environment, "Beginning to serve", ending):
            yield

    @contextmanager
    def peer(self) -> Iterator[None]:
        command = [str(fabric_binary("peer")), "node", "start"]
        with self._running("peer", command, self.peer_environment, "Started peer", signal.SIGTERM):
            yield

    @contextmanager
    def _running(
        self, name: str, command: list[str], environment: dict[str, str], line: str, ending: int
    ) -> Iterator[None]:
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=os.environ | environment, stdout=output, stderr=output
            )
            try:
                # Bytes: Fabric's log holds whatever a transaction held.
                wait_until(lambda: line.encode() in log.read_bytes() or process.poll() is not None)
                assert process.poll() is None, log.read_bytes()
                yield
                assert process.poll() is None, log.read_bytes()
            finally:
                process.send_signal(ending)
                code = process.wait(20)
        if name == "orderer" and ending == signal.SIGTERM:
            assert code == 0, log.read_bytes()

    def write_peer(self) -> None:
        org = self.consortium.org1
        write_msp(org, self.folder / "peer" / "msp", "peer0", "peer")
        write_msp(org, self.folder / "admin" / "msp", "Admin@org1", "admin")
        certificate, key = org.enrol_tls("peer0")
        for name, content in (
            ("server.crt", certificate),
            ("server.key", key),
            ("ca.crt", org.tls_root),
        ):
            (self.folder / "peer" / name).write_bytes(content)
        (self.folder / "orderer-ca.crt").write_bytes(self.consortium.orderer.tls_root)
        settings = {
            "peer": {
                "BCCSP": {"Default": "SW", "SW": {"Hash": "SHA2", "Security": 256}},
                "handlers": {
                    "endorsers": {"escc": {"name": "DefaultEndorsement"}},
                    "validators": {"vscc": {"name": "DefaultValidation"}},
                },
            },
            # A peer without Docker wants one, used or not.
            "chaincode": {
                "externalBuilders": [{"name": "none", "path": str(self.folder)}],
                "system": dict.fromkeys(("_lifecycle", "cscc", "lscc", "qscc"), "enable"),
            },
        }
        (self.folder / "core.yaml").write_text(yaml.safe_dump(settings))

    @property
    def peer_environment(self) -> dict[str, str]:
        address = f"127.0.0.1:{self.peer_port}"
        peer = self.folder / "peer"
        return {
            "FABRIC_CFG_PATH": str(self.folder),
            "CORE_PEER_ID": "peer0",
            "CORE_PEER_NETWORKID": "test",
            "CORE_PEER_ADDRESS": address,
            "CORE_PEER_LISTENADDRESS": address,
            "CORE_PEER_CHAINCODELISTENADDRESS": f"127.0.0.1:{self.other_ports[1]}",
            "CORE_PEER_GOSSIP_BOOTSTRAP": address,
            "CORE_PEER_GOSSIP_EXTERNALENDPOINT": address,
            "CORE_PEER_GOSSIP_USELEADERELECTION": "false",
            "CORE_PEER_GOSSIP_ORGLEADER": "true",
            "CORE_PEER_LOCALMSPID": "Org1MSP",
            "CORE_PEER_MSPCONFIGPATH": str(peer / "msp"),
            "CORE_PEER_TLS_ENABLED": "true",
            "CORE_PEER_TLS_CERT_FILE": str(peer / "server.crt"),
            "CORE_PEER_TLS_KEY_FILE": str(peer / "server.key"),
            "CORE_PEER_TLS_ROOTCERT_FILE": str(peer / "ca.crt"),
            "CORE_PEER_FILESYSTEMPATH": str(peer / "data"),
            "CORE_PEER_AUTHENTICATION_TIMEWINDOW": "15m",
            "CORE_PEER_DISCOVERY_ENABLED": "true",
            "CORE_LEDGER_SNAPSHOTS_ROOTDIR": str(peer / "snapshots"),
            "CORE_LEDGER_STATE_STATEDATABASE": "goleveldb",
            "CORE_LEDGER_STATE_TOTALQUERYLIMIT": "100000",
            "CORE_LEDGER_HISTORY_ENABLEHISTORYDATABASE": "true",
            "CORE_OPERATIONS_LISTENADDRESS": f"127.0.0.1:{self.other_ports[2]}",
            "CORE_CHAINCODE_EXECUTETIMEOUT": "30s",
            "CORE_VM_ENDPOINT": "",
        }

    def run_peer(self, *arguments: str) -> str:
        admin = {"CORE_PEER_MSPCONFIGPATH": str(self.folder / "admin" / "msp")}
        environment: dict[str, Any] = self.peer_environment | admin
        return run_fabric("peer", *arguments, **environment)

    def approve(self, version: str, sequence: str) -> None:
        self._lifecycle("approveformyorg", version, sequence, "--package-id", "demo_1:00")

    def commit(self, version: str, sequence: str) -> None:
        self._lifecycle("commit", version, sequence)

    def _lifecycle(self, verb: str, version: str, sequence: str, *more: str) -> None:
        """A transaction of the `peer` program, waited for until the peer has found it valid."""
        self.run_peer(
            "lifecycle", "chaincode", verb, "-o", f"127.0.0.1:{self.orderer_port}", "--tls",
            "--cafile", str(self.folder / "orderer-ca.crt"), "--channelID", CHANNEL,
            "--name", "demo", "--version", version, "--sequence", sequence,
            "--signature-policy", POLICY, *more,
        )  # fmt: skip

    def join_orderer(self, genesis: bytes) -> None:
        tls = self.folder / "orderer" / "tls"
        (self.folder / "genesis.block").write_bytes(genesis)
        run_fabric(
            "osnadmin", "channel", "join", "--channelID", CHANNEL,
            "--config-block", self.folder / "genesis.block",
            "-o", f"127.0.0.1:{self.other_ports[0]}", "--ca-file", tls / "ca.crt",
            "--client-cert", tls / "server.crt", "--client-key", tls / "server.key",
        )  # fmt: skip

    def broadcast(self, envelopes: list[bytes]) -> None:
        with self._channel() as channel:
            call = channel.stream_stream("/orderer.AtomicBroadcast/Broadcast")
            for raw in call(iter(envelopes), timeout=PATIENCE):
                answer = ab_pb2.BroadcastResponse.FromString(raw)
                assert answer.status == common_pb2.SUCCESS, answer.info

    def _channel(self) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(self.consortium.orderer.tls_root)
        return grpc.secure_channel(f"127.0.0.1:{self.orderer_port}", credentials)

    def wait_until_equal(self) -> None:
        """Both have the same newest block."""
        wait_until(lambda: self._fetch_newest() == self._fetch_newest(from_orderer=True))

    def _fetch_newest(self, *, from_orderer: bool = False) -> bytes:
        return header_hash(self._fetch(from_orderer).header)

    def get_height(self) -> int:
        return int(self._fetch(True).header.number) + 1

    def _fetch(self, from_orderer: bool) -> Any:
        file = self.folder / "fetched.block"
        orderer = (
            "-o", f"127.0.0.1:{self.orderer_port}", "--tls",
            "--cafile", str(self.folder / "orderer-ca.crt"),
        )  # fmt: skip
        self.run_peer(
            "channel", "fetch", "newest", str(file), "-c", CHANNEL,
            *(orderer if from_orderer else ()),
        )  # fmt: skip
        return open_block(file.read_bytes())


def write_msp(org: Org, folder: Path, name: str, ou: str) -> None:
    org.write_msp(folder, *org.enrol_pem(name, ou))


def wait_until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"not within {patience} s"
        time.sleep(0.2)
