"""Snapshots of a channel's ledger: made at one peer, joined by at others."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from admin.errors import input_error
from admin.procedures.ledgers.comparison import find_peer, open_peer_of
from network.client import channel, snapshots
from network.client.profile import Surroundings
from network.node.ledger.snapshot_export import get_snapshot_folder
from network.node.ledger.snapshot_import import verify_snapshot
from network.rules.snapshots.form import MalformedSnapshot
from network.topology.values import Channel, Node, NodeKind

PAUSE = 0.2
"""Seconds between two looks at how far a peer is."""


@dataclass(frozen=True, slots=True)
class SnapshotView:
    """A snapshot in a folder, whose files are those that its metadata vouches for.

    Attributes:
        folder: where it is.
        channel: the channel.
        last_block: the block after which it was made.
        last_block_hash: that block's header hash.
        commit_hash: the commit hash at that block.
        snapshot_hash: the hash of the whole; peers that agree on the state have the same.
        files: SHA-256 by file.
    """

    folder: Path
    channel: str
    last_block: int
    last_block_hash: bytes
    commit_hash: bytes
    snapshot_hash: bytes
    files: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class RequestedSnapshot:
    """A snapshot that a peer was asked for.

    Attributes:
        channel: the channel.
        peer: the peer.
        block: the block at which it is made.
        made: whether it is there now.
        folder: where it will be on the peer's machine; none where nobody here knows.
    """

    channel: str
    peer: str
    block: int
    made: bool
    folder: Path | None


def open_snapshot(folder: Path) -> SnapshotView:
    """What a snapshot says of itself, all its files having been compared with their hashes.

    Raises:
        FaultError: it cannot be read, or a file is not the one vouched for.
    """
    try:
        found = verify_snapshot(folder)
    except MalformedSnapshot as error:
        raise input_error(
            f"this is no whole snapshot: {error}",
            "name the folder of one block's snapshot, or fetch it anew from the peer",
            str(folder),
        ) from error
    return SnapshotView(
        folder,
        found.channel_id,
        found.last_block,
        found.last_hash,
        found.commit_hash,
        found.digest,
        dict(found.files),
    )


async def request_snapshot(
    surroundings: Surroundings, channel_id: str, node: Node, block: int | None, root: Path | None
) -> RequestedSnapshot:
    """The peer was asked for a snapshot; one of the last block is made when this returns.

    Args:
        surroundings: the network.
        channel_id: the channel.
        node: the peer.
        block: the block, the last one if None.
        root: where the peer keeps its snapshots, if this machine knows.

    Raises:
        NodeError: it refused.
    """
    async with open_peer_of(surroundings, node) as peer:
        before = (await channel.get_chain_info(peer, channel_id)).height - 1
        known = set(await snapshots.get_pending(peer, channel_id))
        await snapshots.request(peer, channel_id, block or snapshots.LAST)
        pending = await snapshots.get_pending(peer, channel_id)
        added = set(pending) - known
        # Gone already is one of the last block, as it was or, if that one grew meanwhile, is.
        number = block or min(added, default=before)
        made = number not in pending
        while not made and number <= (await channel.get_chain_info(peer, channel_id)).height - 1:
            await asyncio.sleep(PAUSE)
            made = number not in await snapshots.get_pending(peer, channel_id)
    folder = get_snapshot_folder(root, channel_id, number) if root is not None else None
    return RequestedSnapshot(channel_id, node.fqdn, number, made, folder)


async def cancel_snapshot(
    surroundings: Surroundings, channel_id: str, node: Node, block: int
) -> None:
    """The peer will make no snapshot at the block.

    Raises:
        NodeError: it was not asked for one, or is making it.
    """
    async with open_peer_of(surroundings, node) as peer:
        await snapshots.cancel(peer, channel_id, block)


async def list_pending(
    surroundings: Surroundings, channel_id: str, nodes: Sequence[Node]
) -> list[tuple[str, list[int]]]:
    """The blocks at which each of the peers will make snapshots.

    Raises:
        NodeError: one refused.
    """
    found = []
    for node in nodes:
        async with open_peer_of(surroundings, node) as peer:
            found.append((node.fqdn, await snapshots.get_pending(peer, channel_id)))
    return found


async def join_by_snapshot(
    surroundings: Surroundings,
    spec: Channel,
    folder: Path,
    names: Sequence[str],
    say: Callable[[str], None],
) -> list[str]:
    """The channel's peers have joined it by the snapshot; the names of those that newly did.

    Args:
        surroundings: the network.
        spec: the channel as the topology describes it.
        folder: the snapshot, under the path by which each peer finds it.
        names: the peers; none means all. Those that are in the channel are left alone.
        say: told what is being done.

    Raises:
        FaultError: a name is no peer's, or a peer did not manage.
        ProposalRefusedError: a peer refused.
    """
    nodes = [find_peer(surroundings, spec.name, name) for name in names]
    nodes = list(dict.fromkeys(nodes)) or peers_of(surroundings, spec)
    joined = []
    for node in nodes:
        say(node.fqdn)
        if await _join_peer(surroundings, node, spec.name, folder):
            joined.append(node.fqdn)
    return joined


def peers_of(surroundings: Surroundings, spec: Channel) -> list[Node]:
    """The peers that the topology has for a channel."""
    members = set(spec.members)
    return [one for one in surroundings.nodes(NodeKind.PEER) if one.organization.name in members]


async def _join_peer(surroundings: Surroundings, node: Node, channel_id: str, folder: Path) -> bool:
    async with open_peer_of(surroundings, node) as peer:
        if channel_id in await channel.get_channels(peer):
            return False
        await snapshots.join(peer, str(folder))
        joining = True
        while joining:
            await asyncio.sleep(PAUSE)
            joining = bool(await snapshots.get_joining(peer))
        if channel_id not in await channel.get_channels(peer):
            raise input_error(
                f"{node.fqdn} could not join channel {channel_id} by this snapshot",
                f"its log says why: medfabric network logs {node.fqdn}",
                str(folder),
            )
    return True
