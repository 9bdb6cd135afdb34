"""Whether the peers of a channel have the same ledger, and where they part.

A chain is a chain of hashes: equal header hashes at a height mean equal blocks up to there. The
commit hash, which each peer records for itself, is one over every validation code and every public
write so far: equal commit hashes mean equal state.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.message import DecodeError

from admin.errors import input_error
from network.client import channel
from network.client.errors import ClientError
from network.client.peer import PeerClient
from network.client.profile import OPERATOR, Surroundings
from network.rules.blocks.block import header_hash
from network.rules.validation.commit_hash import get_commit_hash
from network.topology.values import Node, NodeKind


@dataclass(frozen=True, slots=True)
class PeerLedger:
    """One peer's ledger.

    Attributes:
        peer: its name.
        height: number of blocks; 0 when it could not be asked.
        hash: the header hash of the newest block that all peers have.
        commit_hash: what this peer recorded there over its codes and its state; empty before
            block 1, and from peers whose ledger Fabric 1.x began.
        note: why it could not be asked, empty when it could.
    """

    peer: str
    height: int = 0
    hash: bytes = b""
    commit_hash: bytes = b""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All peers' ledgers, compared where all have blocks.

    Attributes:
        channel: the channel.
        common_height: how many blocks all have.
        agree: whether blocks and state are the same up to there, and every peer answered so.
        peers: the ledgers.
        blocks_agree: whether the blocks are the same.
        states_agree: whether the commit hashes are.
        first_difference: the first block at which two of them differ, none where they agree.
    """

    channel: str
    common_height: int
    agree: bool
    peers: tuple[PeerLedger, ...]
    blocks_agree: bool = False
    states_agree: bool = False
    first_difference: int | None = None


def find_peer(surroundings: Surroundings, channel_id: str, name: str) -> Node:
    """The channel's peer of a name, or of a part of one.

    Raises:
        FaultError: there is none, or more than one.
    """
    nodes = _peers(surroundings, channel_id)
    exact = [one for one in nodes if name in (one.fqdn, one.address)]
    found = exact or [one for one in nodes if name in one.fqdn]
    if len(found) == 1:
        return found[0]
    names = ", ".join(one.fqdn for one in found or nodes)
    if not found:
        raise input_error(f"channel {channel_id} has no peer {name}", f"its peers are: {names}")
    raise input_error(f"{name} is a part of several peers' names", f"give more: {names}")


async def compare_peers(
    surroundings: Surroundings, channel_id: str, names: Sequence[str] = ()
) -> Comparison:
    """The channel's peers, asked each in the name of its own organisation's administrator.

    Args:
        surroundings: the network.
        channel_id: the channel.
        names: the peers to compare; none means all.

    Raises:
        FaultError: a name is no peer's.
    """
    nodes = [find_peer(surroundings, channel_id, name) for name in names]
    nodes = list(dict.fromkeys(nodes)) or _peers(surroundings, channel_id)
    heights = await asyncio.gather(*(_height(surroundings, node, channel_id) for node in nodes))
    common = min((one.height for one in heights if not one.note), default=0)
    if common == 0:
        return Comparison(channel_id, 0, False, tuple(heights))
    asked = [(node, one) for node, one in zip(nodes, heights, strict=True) if not one.note]
    found = await _tips(surroundings, channel_id, asked, common - 1)
    by_name = {one.peer: one for one in found}
    ledgers = tuple(by_name.get(one.peer, one) for one in heights)
    good = [one for one in found if not one.note]
    blocks = len({one.hash for one in good}) == 1
    states = len({one.commit_hash for one in good}) == 1
    first = None
    if good and not (blocks and states):
        able = [node for node, one in zip(nodes, ledgers, strict=True) if not one.note]
        first = await _find_first(surroundings, channel_id, able, common - 1)
    return Comparison(channel_id, common, blocks and states, ledgers, blocks, states, first)


def open_peer_of(surroundings: Surroundings, node: Node) -> PeerClient:
    """The peer, called in the name of its own organisation's administrator."""
    signer = surroundings.signer(f"{node.organization.name}/{OPERATOR}")
    return PeerClient(surroundings.endpoint(node), signer, timeout=10.0)


def _peers(surroundings: Surroundings, channel_id: str) -> list[Node]:
    members = set(surroundings.topology.channel(channel_id).members)
    return [one for one in surroundings.nodes(NodeKind.PEER) if one.organization.name in members]


async def _height(surroundings: Surroundings, node: Node, channel_id: str) -> PeerLedger:
    try:
        async with open_peer_of(surroundings, node) as peer:
            info = await channel.get_chain_info(peer, channel_id)
    except ClientError as failure:
        return PeerLedger(node.fqdn, note=str(failure).partition("\n")[0])
    return PeerLedger(node.fqdn, info.height)


async def _tips(
    surroundings: Surroundings,
    channel_id: str,
    asked: Sequence[tuple[Node, PeerLedger]],
    number: int,
) -> list[PeerLedger]:
    return await asyncio.gather(
        *(_tip(surroundings, node, channel_id, ledger, number) for node, ledger in asked)
    )


async def _tip(
    surroundings: Surroundings, node: Node, channel_id: str, ledger: PeerLedger, number: int
) -> PeerLedger:
    try:
        async with open_peer_of(surroundings, node) as peer:
            block = await channel.get_block(peer, channel_id, number)
    except ClientError as failure:
        return replace(ledger, note=str(failure).partition("\n")[0])
    return replace(ledger, hash=header_hash(block.header), commit_hash=_commit_hash(block))


async def _find_first(
    surroundings: Surroundings, channel_id: str, nodes: Sequence[Node], last: int
) -> int | None:
    """The first block that two peers have differently, by halving: both hashes are chained.

    None when a peer lacks the early blocks (it began from a snapshot) or goes away meanwhile.
    """
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        found = await _tips(
            surroundings, channel_id, [(one, PeerLedger(one.fqdn)) for one in nodes], middle
        )
        if any(one.note for one in found):
            return None
        if len({(one.hash, one.commit_hash) for one in found}) == 1:
            low = middle + 1
        else:
            high = middle
    return low


def _commit_hash(block: Any) -> bytes:
    try:
        return get_commit_hash(block)
    except DecodeError:
        return b""
