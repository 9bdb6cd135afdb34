"""Our embedded network with the names, ports and certificates of fabric-samples' `test-network`.

`running_samples_network` skips, with the reason, where the ports of the test network are taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from network.client import Gateway, lifecycle
from network.client.lifecycle import Collection, Definition
from network.client.package import Connection, build_service_package
from network.client.peer import PeerClient
from network.client.profile import OPERATOR, load_surroundings
from network.engines.ports import get_taken, list_listeners
from network.topology.model import load_topology
from network.topology.values import NodeKind
from tests.journeys.care import Care, running
from tests.ports import free_ports

NETWORK = """\
version: 1
name: test-network
engine: embedded
organizations:
  - {name: OrdererOrg, mspId: OrdererMSP, domain: example.com, role: orderer,
     orderers: [{name: orderer, port: 7050}]}
  - {name: Org1, mspId: Org1MSP, domain: org1.example.com, role: provider,
     ca: {port: 7054, name: ca-org1}, peers: [{name: peer0, port: 7051}]}
  - {name: Org2, mspId: Org2MSP, domain: org2.example.com, role: provider,
     ca: {port: 8054, name: ca-org2}, peers: [{name: peer0, port: 9051}]}
channels:
  - name: mychannel
    orderers: [OrdererOrg]
    members: [Org1, Org2]
    batch: {timeout: 500ms, maxMessages: 100, preferredBytes: 2MB}
"""
CHANNEL = "mychannel"
PATIENCE = 400
"""Seconds in which a sample or Caliper ends, also on a busy machine."""
ORGANIZATIONS = ("Org1", "Org2")
MEMBERS = ("Org1MSP", "Org2MSP")


@dataclass
class SamplesNetwork:
    """The embedded network, with what the tests have deployed on it."""

    care: Care
    logs: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        """The network file."""
        return self.care.folder / "network.yaml"

    @property
    def organizations(self) -> Path:
        """The network's keys and certificates, in cryptogen's layout."""
        return self.care.folder / ".medfabric" / "test-network" / "organizations"

    def deploy(
        self,
        name: str,
        chaincode: Path,
        collections: Sequence[Collection] = (),
        endorsement: str = "",
    ) -> None:
        """A Node chaincode runs as a service of each organisation, and can be invoked."""
        definition = Definition(name, "1.0", 1, endorsement, tuple(collections))
        for organization in ORGANIZATIONS:
            (port,) = free_ports(1)
            address = f"127.0.0.1:{port}"
            package = build_service_package(f"{name}_1.0", Connection(address))
            package_id = asyncio.run(self._install(organization, package, f"{name}_1.0"))
            self._serve(organization, name, chaincode, address, package_id)
            asyncio.run(self._approve(organization, definition, package_id))
        asyncio.run(self._commit(definition))

    async def _install(self, organization: str, package: bytes, label: str) -> str:
        surroundings = load_surroundings(self.file)
        (node,) = surroundings.nodes(
            NodeKind.PEER, surroundings.topology.organization(organization)
        )
        signer = surroundings.signer(f"{organization}/{OPERATOR}")
        async with PeerClient(surroundings.endpoint(node), signer) as peer:
            return await lifecycle.install(peer, package, label)

    def _serve(
        self, organization: str, name: str, chaincode: Path, address: str, package_id: str
    ) -> None:
        shim = chaincode / "node_modules" / ".bin" / "fabric-chaincode-node"
        flags = [f"--chaincode-address={address}", f"--chaincode-id={package_id}"]
        with (self.logs / f"{name}.{organization}.log").open("wb") as log:
            process = subprocess.Popen(
                ["node", str(shim), "server", *flags],
                cwd=chaincode,
                # What a chaincode that is told apart by organisations reads, as beside a peer.
                env={**os.environ, "CORE_PEER_LOCALMSPID": f"{organization}MSP"},
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        wait_until_served(address, process)

    async def _approve(self, organization: str, definition: Definition, package_id: str) -> None:
        async with self.gateway(organization) as gateway:
            await lifecycle.approve(gateway, CHANNEL, definition, package_id)

    async def _commit(self, definition: Definition) -> None:
        async with self.gateway(ORGANIZATIONS[0]) as gateway:
            await lifecycle.commit(gateway, CHANNEL, definition, MEMBERS)

    def certificate(self, organization: str, user: str) -> Path:
        """A user's certificate."""
        domain = f"{organization.lower()}.example.com"
        users = self.organizations / "peerOrganizations" / domain / "users"
        (found,) = (users / f"{user}@{domain}" / "msp" / "signcerts").iterdir()
        return found

    def gateway(self, organization: str) -> Gateway:
        """The organisation's administrator at its own peer."""
        return Gateway.connect(self.file, identity=f"{organization}/{OPERATOR}")

    def run(self, folder: Path, *command: str, **environment: str) -> str:
        """What a program printed; fails the test unless it ends with 0."""
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            printed, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # npx has children
            printed, _ = process.communicate()
            pytest.fail(f"{' '.join(command)} does not end:\n{printed[-6000:]}")
        assert process.returncode == 0, printed[-6000:]
        return printed

    @contextmanager
    def serving(
        self, folder: Path, address: str, *command: str, **environment: str
    ) -> Iterator[None]:
        """A server runs until the block ends; it listens within the block."""
        with (self.logs / f"{folder.name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log
            )
        try:
            wait_until_served(address, process)
            yield
        finally:
            process.terminate()
            process.wait(10)

    def run_until(
        self, done: Callable[[], bool], folder: Path, *command: str, **environment: str
    ) -> None:
        """A program that does not end by itself runs until it is done; then it is interrupted."""
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, **environment})
        try:
            end = time.monotonic() + 60
            while not done():
                assert process.poll() is None, f"{' '.join(command)} has ended"
                assert time.monotonic() < end, f"{' '.join(command)} is not done"
                time.sleep(0.1)
        finally:
            process.terminate()
            process.wait(10)

    def stop(self) -> None:
        """The chaincodes have ended."""
        for process in self.processes:
            process.terminate()
            process.wait(10)


def wait_until_served(address: str, process: subprocess.Popen[bytes]) -> None:
    """Somebody listens at the address."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        assert process.poll() is None, f"what should serve {address} has ended"
        assert time.monotonic() < end, f"nobody serves {address}"
        time.sleep(0.1)


@contextmanager
def running_samples_network(folder: Path) -> Iterator[SamplesNetwork]:
    """The network is up on the test network's own ports; skips where they are taken."""
    care = Care(folder)
    (folder / "network.yaml").write_text(NETWORK)
    taken = get_taken(list_listeners(load_topology(folder / "network.yaml")))
    if taken:
        pytest.skip(f"the samples' addresses are taken: {', '.join(map(str, taken))}")
    network = SamplesNetwork(care, folder)
    with running(care):
        try:
            yield network
        finally:
            network.stop()
