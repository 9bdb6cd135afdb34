"""A member that came later: its nodes run, its peers are in the channel and have caught up."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from admin.procedures.care.directory import bootstrap_directory
from admin.procedures.networks.bootstrap import HEALTH
from admin.procedures.networks.deployment import deploy_channel
from admin.procedures.networks.join import join_channel
from admin.procedures.networks.membership import with_member
from network.client import channel
from network.client.errors import GatewayError
from network.client.orderer import OrdererClient
from network.client.peer import PeerClient
from network.client.profile import OPERATOR, Surroundings
from network.engines.choice import open_engine
from network.engines.engine import Engine
from network.topology.values import Channel, Node, NodeKind

Say = Callable[[str], None]

READY = 60.0  # seconds for nodes to come up
CATCH_UP = 120.0  # seconds for a late peer to fetch the blocks before it
PAUSE = 0.1


async def bring_up_member(engine: Engine, channel_id: str, name: str, say: Say) -> list[str]:
    """The organisation's nodes run, its peers have joined the channel and all of its blocks, and
    the channel's chaincodes are installed and approved there; the peers that newly joined.

    Raises:
        EngineError: the nodes could not be brought up.
        ClientError: a node refused a step; those before it stay done.
    """
    surroundings = engine.surroundings
    topology = with_member(surroundings.topology, channel_id, name)
    widened = open_engine(replace(surroundings, topology=topology))
    await widened.up(say, timeout=READY)
    spec = topology.channel(channel_id)
    block = await fetch_genesis(widened.surroundings, channel_id)
    joined = await join_channel(widened.surroundings, spec, block, say)
    say("its peers catch up")
    await await_peers(widened.surroundings, spec)
    await deploy_channel(widened, spec, say)
    if any(chaincode.name == HEALTH for chaincode in spec.chaincodes):
        await bootstrap_directory(widened.surroundings, spec)
    return joined


async def fetch_genesis(surroundings: Surroundings, channel_id: str) -> bytes:
    """The channel's first block, which a late peer joins with, from an orderer.

    Raises:
        GatewayError: no orderer gives it.
    """
    signer = surroundings.signer(surroundings.operator_name)
    trouble: GatewayError | None = None
    for node in surroundings.nodes(NodeKind.ORDERER):
        async with OrdererClient(surroundings.endpoint(node), signer) as orderer:
            try:
                block = await channel.fetch(orderer, channel_id, 0)
                return bytes(block.SerializeToString(deterministic=True))
            except GatewayError as failure:
                trouble = failure
    assert trouble is not None
    raise trouble


async def await_peers(surroundings: Surroundings, spec: Channel) -> None:
    """Every member's peers have as many blocks as the orderer has now.

    Raises:
        TimeoutError: one does not get there.
    """
    signer = surroundings.signer(surroundings.operator_name)
    orderers = surroundings.nodes(NodeKind.ORDERER)
    async with OrdererClient(surroundings.endpoint(orderers[0]), signer) as orderer:
        newest = await channel.fetch(orderer, spec.name, "newest")
    height = int(newest.header.number) + 1
    peers = [
        node for node in surroundings.nodes(NodeKind.PEER) if node.organization.name in spec.members
    ]
    await asyncio.gather(*(_await_peer(surroundings, node, spec.name, height) for node in peers))


async def _await_peer(surroundings: Surroundings, node: Node, name: str, height: int) -> None:
    signer = surroundings.signer(f"{node.organization.name}/{OPERATOR}")
    deadline = asyncio.get_running_loop().time() + CATCH_UP
    async with PeerClient(surroundings.endpoint(node), signer) as peer:
        while True:
            reached, trouble = 0, ""
            try:
                reached = (await channel.get_chain_info(peer, name)).height
            except GatewayError as failure:
                # Its own config block, which lets its administrator in, may still be to come.
                trouble = f": {failure.message}"
            if reached >= height:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(
                    f"{node.fqdn} has {reached} of {height} blocks of channel {name}{trouble}"
                )
            await asyncio.sleep(PAUSE)
