"""Snapshots of a peer's ledger: asking for them, and joining a channel by one.

The calls are those of `peer snapshot …` and `peer channel joinbysnapshot`, so that any Fabric peer
answers them. They are for administrators of the peer's own organisation.
"""

from fabric_protos.peer import query_pb2, snapshot_pb2

from network.client.peer import PeerClient

LAST = 0
"""In place of a block's number: the last one."""


async def request(peer: PeerClient, channel_id: str, block: int = LAST) -> None:
    """The peer will make a snapshot of the channel's ledger at the block.

    Raises:
        NodeError: it refused, for instance because the block is past.
    """
    message = snapshot_pb2.SnapshotRequest(channel_id=channel_id, block_number=block)
    await peer.ask_snapshots("Generate", message)


async def cancel(peer: PeerClient, channel_id: str, block: int) -> None:
    """The peer will make no snapshot at the block.

    Raises:
        NodeError: it was not asked for one, or is making it.
    """
    message = snapshot_pb2.SnapshotRequest(channel_id=channel_id, block_number=block)
    await peer.ask_snapshots("Cancel", message)


async def get_pending(peer: PeerClient, channel_id: str) -> list[int]:
    """The blocks at which the peer will make, or is making, snapshots.

    Raises:
        NodeError: it refused.
    """
    message = snapshot_pb2.SnapshotQuery(channel_id=channel_id)
    return sorted((await peer.ask_snapshots("QueryPendings", message)).block_numbers)


async def join(peer: PeerClient, folder: str) -> None:
    """The peer is joining the channel of the snapshot in a folder on its own machine.

    How that ends is in the peer's log; `get_joining` tells when.

    Raises:
        ProposalRefusedError: there is nothing in the folder, or the peer is joining already.
    """
    await peer.query("cscc", [b"JoinChainBySnapshot", folder.encode()])


async def get_joining(peer: PeerClient) -> str:
    """The folder of the snapshot by which the peer is joining a channel; empty when it is not."""
    raw = await peer.query("cscc", [b"JoinBySnapshotStatus"])
    return str(query_pb2.JoinBySnapshotStatus.FromString(raw).bootstrapping_snapshot_dir)
