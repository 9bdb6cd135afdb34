"""The official Node SDK of Fabric 2.2 finds endorsers and orderers by our peers' discovery.

`fabric-network` comes from the npm registry; skipped, with the reason, where Node.js or the
registry is missing.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from network.topology.values import NodeKind
from tests.simulator import CHAINCODE, CHANNEL, Definition, Network, running_network

pytestmark = [pytest.mark.network, pytest.mark.asyncio(loop_scope="module")]

FOLDER = Path(__file__).parent / "node_legacy"
INSTALL = ("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")


async def run(*command: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode or 0, output.decode(), errors.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not on the PATH")
    if not (FOLDER / "node_modules" / "fabric-network").is_dir():
        code, _, errors = await run(*INSTALL)
        if code:
            pytest.skip(f"npm could not install the SDK: {errors.strip()[-300:]}")
    folder = tmp_path_factory.mktemp("legacy")
    async with running_network(folder, {"Alpha": 1, "Beta": 2}) as running:
        await running.deploy(Definition(policy="AND('AlphaMSP.peer','BetaMSP.peer')"))
        yield running


async def test_it_submits_through_discovery(network: Network) -> None:
    organization = network.topology.organization("Alpha")
    node = network.node("peer0.alpha.example")
    msp = network.folders.user_msp(organization, "User1")
    given = {
        "endpoint": f"127.0.0.1:{node.port}",
        "tlsRoot": str(network.folders.node_tls(node) / "ca.crt"),
        "certificate": str(next((msp / "signcerts").iterdir())),
        "key": str(next((msp / "keystore").iterdir())),
        "mspId": organization.msp_id,
        "channel": CHANNEL,
        "chaincode": CHAINCODE,
        "value": "found",
    }
    code, output, errors = await run("node", "legacy_client.js", json.dumps(given))
    assert code == 0, errors
    seen = json.loads(output.splitlines()[-1])
    assert seen["evaluated"] == "found"
    status = await network.client("Alpha").status(seen["transactionId"])
    assert status.result == 0
    # It was told of one peer only; the others and the orderer it has discovered.
    peers = {f"127.0.0.1:{network.node(name).port}" for name in network.peer_names}
    assert set(seen["endorsers"]) == peers
    orderer = next(n for n in network.topology.nodes() if n.kind is NodeKind.ORDERER)
    assert seen["committers"] == [f"127.0.0.1:{orderer.port}"]
