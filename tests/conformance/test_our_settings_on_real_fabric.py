"""Fabric's own peer and orderer start from the settings that `network up` writes.

Skipped, with the reason, where Fabric's binaries are not found.
"""

import asyncio
import os
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from network.client import channel, participation
from network.client.peer import PeerClient
from network.client.profile import load_surroundings
from network.engines import artefacts
from network.engines.choice import open_engine
from network.engines.nodefiles import Layout, write_node
from network.engines.ports import list_node_listeners, wait_until_answered
from network.engines.processplan import NodeProcess
from network.topology.values import NodeKind
from tests.fabric_binaries import fabric_binary
from tests.network.engines.free_network import write_care


def start(
    program: Sequence[str | Path], process: NodeProcess, folder: Path
) -> subprocess.Popen[bytes]:
    """The program runs with the environment that our own node would get."""
    with Path(process.log).open("wb") as log:
        return subprocess.Popen(
            [str(part) for part in program],
            cwd=folder,
            env=os.environ | dict(process.environment),
            stdout=log,
            stderr=log,
        )


@pytest.mark.network
async def test_real_nodes_run_on_our_files_and_join_our_channel(tmp_path: Path) -> None:
    programs: dict[NodeKind, list[str | Path]] = {
        NodeKind.ORDERER: [fabric_binary("orderer")],
        NodeKind.PEER: [fabric_binary("peer"), "node", "start"],
    }
    surroundings = load_surroundings(write_care(tmp_path))
    layout = Layout(surroundings.folder)
    artefacts.make(layout, surroundings.topology, datetime.now(UTC))
    genesis = open_engine(surroundings).genesis_block("care")
    orderer = surroundings.nodes(NodeKind.ORDERER)[0]
    peer = surroundings.nodes(NodeKind.PEER)[0]
    started = []
    try:
        for node in (orderer, peer):
            process = write_node(layout, surroundings.topology, node)
            started.append(start(programs[node.kind], process, tmp_path))
            for listener in list_node_listeners(node):
                assert await wait_until_answered(listener, timeout=20), process.log
        joined = await participation.join(surroundings.admin_endpoint(orderer), genesis)
        assert (joined.status, joined.relation) == ("active", "consenter")
        admin = surroundings.signer(f"{peer.organization.name}/Admin")
        async with PeerClient(surroundings.endpoint(peer), admin) as client:
            await channel.join(client, genesis)
            assert await channel.get_channels(client) == ["care"]
            assert (await channel.get_chain_info(client, "care")).height == 1
    finally:
        for child in started:
            child.terminate()
        await asyncio.gather(*(asyncio.to_thread(child.wait, 20) for child in started))
