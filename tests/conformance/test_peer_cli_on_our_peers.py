"""Fabric's own `peer` program does an administrator's and a user's whole day on our peers.

Needs `peer` (FABRIC_BIN or PATH); skips elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fabric_protos.common import common_pb2

from network.topology.values import NodeKind
from tests.fabric_binaries import fabric_binary
from tests.simulator import Network, running_network

pytestmark = [pytest.mark.network, pytest.mark.asyncio(loop_scope="module")]

_CORE = """
peer:
  BCCSP: {Default: SW, SW: {Hash: SHA2, Security: 256, FileKeyStore: {KeyStore: ""}}}
"""


class Cli:
    """The `peer` program as one user, at one peer."""

    def __init__(self, network: Network, org: str, user: str = "Admin") -> None:
        self._network = network
        organization = network.topology.organization(org)
        node = network.node(f"peer0.{organization.domain}")
        self.address = f"127.0.0.1:{node.port}"
        self.root = str(network.folders.node_tls(node) / "ca.crt")
        self._environment = {
            "PATH": os.environ["PATH"],
            "FABRIC_CFG_PATH": str(network.folder / "cli"),
            "FABRIC_LOGGING_SPEC": "error",
            "CORE_PEER_TLS_ENABLED": "true",
            "CORE_PEER_TLS_ROOTCERT_FILE": self.root,
            "CORE_PEER_ADDRESS": self.address,
            "CORE_PEER_LOCALMSPID": organization.msp_id,
            "CORE_PEER_MSPCONFIGPATH": str(network.folders.user_msp(organization, user)),
        }

    async def run(self, *args: str, fails: bool = False) -> str:
        """What the program printed, standard error included."""
        process = await asyncio.create_subprocess_exec(
            str(fabric_binary("peer")),
            *args,
            env=self._environment,
            cwd=self._network.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        text = output.decode()
        assert (process.returncode != 0) is fails, text
        return text

    async def ordered(self, *args: str) -> str:
        """The same, with where the orderer is."""
        node = next(n for n in self._network.topology.nodes() if n.kind is NodeKind.ORDERER)
        root = str(self._network.folders.node_tls(node) / "ca.crt")
        orderer = f"127.0.0.1:{node.port}"
        return await self.run(*args, "-o", orderer, "--tls", "--cafile", root)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    fabric_binary("peer")
    folder = tmp_path_factory.mktemp("cli")
    async with running_network(folder) as running:
        (folder / "cli").mkdir()
        (folder / "cli" / "core.yaml").write_text(_CORE)
        yield running


async def test_channels(network: Network) -> None:
    cli = Cli(network, "Alpha")
    assert await cli.run("channel", "list") == "Channels peers has joined: \ncare\n"
    info = await cli.run("channel", "getinfo", "-c", "care")
    assert json.loads(info.partition(": ")[2])["height"] == 1
    assert network.genesis is not None
    (network.folder / "genesis.block").write_bytes(network.genesis.SerializeToString())
    again = await cli.run("channel", "join", "-b", "genesis.block", fails=True)
    assert "ledger [care] already exists with state [ACTIVE]" in again
    await cli.run("channel", "fetch", "oldest", "fetched.block", "-c", "care")
    fetched = common_pb2.Block.FromString((network.folder / "fetched.block").read_bytes())
    assert fetched.header == network.genesis.header
    await cli.run("channel", "fetch", "config", "config.block", "-c", "care")


async def test_a_chaincode_from_package_to_query(network: Network) -> None:
    (network.folder / "demo.tgz").write_bytes(network.package)
    definition = ("-C", "care", "-n", "demo", "-v", "1", "--sequence", "1")
    alpha, beta = Cli(network, "Alpha"), Cli(network, "Beta")
    for cli in (alpha, beta):
        await cli.run("lifecycle", "chaincode", "install", "demo.tgz")
        twice = await cli.run("lifecycle", "chaincode", "install", "demo.tgz", fails=True)
        assert f"already successfully installed (package ID '{network.package_id}')" in twice
        installed = await cli.run("lifecycle", "chaincode", "queryinstalled")
        assert f"Package ID: {network.package_id}, Label: demo_1" in installed
        await cli.ordered(
            *("lifecycle", "chaincode", "approveformyorg", *definition),
            *("--package-id", network.package_id),
        )
    ready = await alpha.run("lifecycle", "chaincode", "checkcommitreadiness", *definition)
    assert "AlphaMSP: true\nBetaMSP: true" in ready
    both = (
        *("--peerAddresses", alpha.address, "--tlsRootCertFiles", alpha.root),
        *("--peerAddresses", beta.address, "--tlsRootCertFiles", beta.root),
    )
    await alpha.ordered("lifecycle", "chaincode", "commit", *definition, *both)
    committed = await beta.run(
        "lifecycle", "chaincode", "querycommitted", "-C", "care", "-n", "demo"
    )
    assert "Version: 1, Sequence: 1, Endorsement Plugin: escc" in committed
    call = ("chaincode", "invoke", "-C", "care", "-n", "demo", "--waitForEvent")
    user = Cli(network, "Alpha", "User1")
    await user.ordered(*call, *both, "-c", '{"Args":["put","fruit","pear"]}')
    query = ("chaincode", "query", "-C", "care", "-n", "demo")
    found = await Cli(network, "Beta", "User1").run(*query, "-c", '{"Args":["get","fruit"]}')
    assert found == "pear\n"
    refused = await user.run(*query, "-c", '{"Args":["fail","404","no such fruit"]}', fails=True)
    assert 'response: status:404 message:"no such fruit"' in refused


async def test_what_only_administrators_may(network: Network) -> None:
    refused = await Cli(network, "Alpha", "User1").run(
        "lifecycle", "chaincode", "queryinstalled", fails=True
    )
    assert (
        "The identity is not an admin under this MSP [AlphaMSP]: "
        "The identity does not contain OU [ADMIN], MSP: [AlphaMSP]" in refused
    )


async def test_what_is_not_there(network: Network) -> None:
    cli = Cli(network, "Alpha")
    missing = await cli.run(
        "lifecycle", "chaincode", "querycommitted", "-C", "care", "-n", "nothing", fails=True
    )
    assert "query failed with status: 404 - namespace nothing is not defined" in missing
    unknown = await cli.run("channel", "getinfo", "-c", "nowhere", fails=True)
    assert "Invalid chain ID, nowhere" in unknown
