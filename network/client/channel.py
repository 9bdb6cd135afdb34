"""Channels of a peer or an orderer: join, list, height, configuration, blocks.

Each function is one call that `peer channel …` makes too, to the system chaincodes `cscc` and
`qscc` or to a Deliver service, so that any Fabric node answers it.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from fabric_protos.common import common_pb2, configtx_pb2, ledger_pb2
from fabric_protos.peer import query_pb2, transaction_pb2

from network.client.errors import EventsError
from network.client.peer import PeerClient
from network.client.seek import NEWEST, Seek
from network.rules.blocks.block import last_config_index


@dataclass(frozen=True, slots=True)
class ChainInfo:
    """How far a peer's ledger of a channel is.

    Attributes:
        height: number of blocks; the newest is `height - 1`.
        current_hash: the newest block's header hash.
        previous_hash: the one before it.
        first_block: the first that is kept; not 0 where the ledger begins with a snapshot.
    """

    height: int
    current_hash: bytes
    previous_hash: bytes
    first_block: int = 0


class BlockSource(Protocol):
    """A peer or an orderer: who delivers blocks."""

    def blocks(self, channel_id: str, seek: Seek) -> AsyncIterator[Any]:
        """The blocks asked for."""
        ...


async def join(peer: PeerClient, genesis_block: bytes) -> None:
    """The peer has joined the channel of this genesis (or configuration) block.

    Raises:
        ProposalRefusedError: it refused, for instance because it joined before.
    """
    await peer.query("cscc", [b"JoinChain", genesis_block], timeout=60)


async def get_channels(peer: PeerClient) -> list[str]:
    """Names of the channels the peer has joined, sorted."""
    answer = query_pb2.ChannelQueryResponse.FromString(await peer.query("cscc", [b"GetChannels"]))
    return sorted(channel.channel_id for channel in answer.channels)


async def get_chain_info(peer: PeerClient, channel_id: str) -> ChainInfo:
    """The height and newest hashes of the peer's ledger.

    Raises:
        ProposalRefusedError: the peer has not joined the channel, or refuses the caller.
    """
    raw = await peer.query("qscc", [b"GetChainInfo", channel_id.encode()])
    info = ledger_pb2.BlockchainInfo.FromString(raw)
    first = 0
    if info.HasField("bootstrappingSnapshotInfo"):
        first = int(info.bootstrappingSnapshotInfo.lastBlockInSnapshot) + 1
    return ChainInfo(int(info.height), info.currentBlockHash, info.previousBlockHash, first)


async def get_config(peer: PeerClient, channel_id: str) -> Any:
    """The channel's configuration in force (`common.Config`), which no block need hold."""
    arguments = [b"GetChannelConfig", channel_id.encode()]
    raw = await peer.query("cscc", arguments, channel_id=channel_id)
    return configtx_pb2.Config.FromString(raw)


async def get_block(peer: PeerClient, channel_id: str, number: int) -> Any:
    """One block (`common.Block`) with the peer's validation codes in its metadata."""
    arguments = [b"GetBlockByNumber", channel_id.encode(), str(number).encode()]
    return common_pb2.Block.FromString(await peer.query("qscc", arguments, channel_id=channel_id))


async def get_block_of(peer: PeerClient, channel_id: str, transaction_id: str) -> Any:
    """The block (`common.Block`) that holds a transaction."""
    arguments = [b"GetBlockByTxID", channel_id.encode(), transaction_id.encode()]
    return common_pb2.Block.FromString(await peer.query("qscc", arguments, channel_id=channel_id))


async def get_transaction(peer: PeerClient, channel_id: str, transaction_id: str) -> Any:
    """A transaction with its validation code (`protos.ProcessedTransaction`)."""
    arguments = [b"GetTransactionByID", channel_id.encode(), transaction_id.encode()]
    raw = await peer.query("qscc", arguments, channel_id=channel_id)
    return transaction_pb2.ProcessedTransaction.FromString(raw)


async def fetch(source: BlockSource, channel_id: str, which: str | int) -> Any:
    """One block (`common.Block`), as `peer channel fetch` gets it.

    Args:
        source: a peer or an orderer.
        channel_id: the channel.
        which: a number, `newest`, `oldest` or `config`.

    Raises:
        EventsError: the node refused, or has no such block.
        ValueError: `which` is none of these.
    """
    if which == "config":
        newest = await fetch(source, channel_id, "newest")
        return await fetch(source, channel_id, last_config_index(newest))
    names = {"newest": NEWEST, "oldest": 0}
    number = names[which] if which in names else int(which)
    found = source.blocks(channel_id, Seek(number, number, wait=False))
    async with aclosing(found) as blocks:  # type: ignore[type-var]
        async for block in blocks:
            return block
    raise EventsError("NOT_FOUND", f"channel {channel_id} has no block {which}")
