"""Whether the peers of a channel have the same ledger."""

import asyncio
from dataclasses import dataclass, replace

from network.client import channel
from network.client.errors import ClientError
from network.client.peer import PeerClient
from network.client.profile import OPERATOR, Surroundings
from network.rules.block import header_hash
from network.topology.values import Node, NodeKind


@dataclass(frozen=True, slots=True)
class PeerLedger:
    """One peer's ledger.

    Attributes:
        peer: its name.
        height: number of blocks; 0 when it could not be asked.
        hash: the header hash of the newest block that all peers have.
        note: why it could not be asked, empty when it could.
    """

    peer: str
    height: int = 0
    hash: bytes = b""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All peers' ledgers, compared where all have blocks."""

    channel: str
    common_height: int
    agree: bool
    peers: tuple[PeerLedger, ...]


async def compare_peers(surroundings: Surroundings, channel_id: str) -> Comparison:
    """The channel's peers, asked each in the name of its own organisation's administrator.

    A chain is a chain of hashes: equal hashes at a height mean equal blocks up to there.
    """
    members = set(surroundings.topology.channel(channel_id).members)
    nodes = [one for one in surroundings.nodes(NodeKind.PEER) if one.organization.name in members]
    heights = await asyncio.gather(*(_height(surroundings, node, channel_id) for node in nodes))
    common = min((one.height for one in heights if not one.note), default=0)
    if common == 0:
        return Comparison(channel_id, 0, False, tuple(heights))
    found = await asyncio.gather(
        *(
            _hash(surroundings, node, channel_id, ledger, common - 1)
            for node, ledger in zip(nodes, heights, strict=True)
        )
    )
    hashes = {one.hash for one in found if one.hash}
    return Comparison(channel_id, common, len(hashes) == 1, tuple(found))


async def _height(surroundings: Surroundings, node: Node, channel_id: str) -> PeerLedger:
    try:
        async with _open(surroundings, node) as peer:
            info = await channel.get_chain_info(peer, channel_id)
    except ClientError as failure:
        return PeerLedger(node.fqdn, note=str(failure).partition("\n")[0])
    return PeerLedger(node.fqdn, info.height)


async def _hash(
    surroundings: Surroundings, node: Node, channel_id: str, ledger: PeerLedger, number: int
) -> PeerLedger:
    if ledger.note:
        return ledger
    try:
        async with _open(surroundings, node) as peer:
            block = await channel.get_block(peer, channel_id, number)
    except ClientError as failure:
        return replace(ledger, note=str(failure).partition("\n")[0])
    return replace(ledger, hash=header_hash(block.header))


def _open(surroundings: Surroundings, node: Node) -> PeerClient:
    signer = surroundings.signer(f"{node.organization.name}/{OPERATOR}")
    return PeerClient(surroundings.endpoint(node), signer, timeout=10.0)
