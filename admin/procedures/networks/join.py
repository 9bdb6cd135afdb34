"""Bring a channel to its orderers and peers; those that are in it already are left alone."""

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from network.client import channel, participation
from network.client.errors import NodeError, ProposalRefusedError
from network.client.peer import PeerClient
from network.client.profile import OPERATOR, Surroundings
from network.rules.envelope import NONCE_BYTES
from network.topology.channelspec import build_genesis
from network.topology.safefiles import write_file
from network.topology.values import Channel, Node, NodeKind

ALREADY = "already exists"


def make_genesis(surroundings: Surroundings, spec: Channel) -> bytes:
    """The channel's first block, made once and then kept in the network's folder.

    Raises:
        InvalidMspFolder: an organisation's keys are not there yet.
    """
    path = surroundings.folder / "channels" / f"{spec.name}.block"
    if not path.exists():
        block = build_genesis(
            surroundings.topology,
            spec,
            surroundings.folder,
            secrets.token_bytes(NONCE_BYTES),
            datetime.now(UTC),
        )
        write_file(path, block.SerializeToString(deterministic=True))
    return path.read_bytes()


async def join_channel(
    surroundings: Surroundings, spec: Channel, genesis_block: bytes, say: Callable[[str], None]
) -> list[str]:
    """Every orderer and peer of the channel is in it; the names of those that newly joined.

    Args:
        surroundings: the network.
        spec: the channel as the topology describes it.
        genesis_block: its first block.
        say: told what is being done.

    Raises:
        NodeError: an orderer refused or cannot be reached.
        ProposalRefusedError: a peer refused.
    """
    orderers = _nodes(surroundings, NodeKind.ORDERER, spec.orderers)
    peers = _nodes(surroundings, NodeKind.PEER, spec.members)
    say(f"channel {spec.name}: {len(orderers)} orderers, {len(peers)} peers")
    joined = await asyncio.gather(
        *(_join_orderer(surroundings, node, spec.name, genesis_block) for node in orderers)
    )
    # Peers pull from orderers, so that those come first.
    joined += await asyncio.gather(
        *(_join_peer(surroundings, node, spec.name, genesis_block) for node in peers)
    )
    return [name for name in joined if name]


async def _join_orderer(
    surroundings: Surroundings, node: Node, channel_id: str, genesis_block: bytes
) -> str:
    orderer = surroundings.admin_endpoint(node)
    if await participation.get_channel(orderer, channel_id) is not None:
        return ""
    try:
        await participation.join(orderer, genesis_block)
    except NodeError as failure:
        if failure.status != "ALREADY_EXISTS":
            raise
    return node.fqdn


async def _join_peer(
    surroundings: Surroundings, node: Node, channel_id: str, genesis_block: bytes
) -> str:
    signer = surroundings.signer(f"{node.organization.name}/{OPERATOR}")
    async with PeerClient(surroundings.endpoint(node), signer) as peer:
        if channel_id in await channel.get_channels(peer):
            return ""
        try:
            await channel.join(peer, genesis_block)
        except ProposalRefusedError as refused:
            if ALREADY not in refused.message:
                raise
    return node.fqdn


def _nodes(
    surroundings: Surroundings, kind: NodeKind, organizations: tuple[str, ...]
) -> list[Node]:
    return [
        node for node in surroundings.nodes(kind) if node.organization.name in set(organizations)
    ]
