"""Reading a channel's ledger from a peer: its height, blocks, transactions by shortened id."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from admin.errors import input_error
from admin.procedures.ledgers.blocks import BlockView, TransactionView, view_block
from network.client import channel
from network.client.errors import EventsError, ProposalRefusedError
from network.client.peer import PeerClient
from network.client.profile import Profile
from network.client.seek import Seek

CHUNK = 200  # blocks asked for at a time when searching backwards
FULL_ID = 64  # hexadecimal digits of a transaction id


@dataclass(frozen=True, slots=True)
class LedgerView:
    """A peer's ledger.

    Attributes:
        channel: the channel.
        peer: whom it was asked of.
        height: number of blocks.
        newest_hash: the newest block's header hash.
        previous_hash: the one before.
    """

    channel: str
    peer: str
    height: int
    newest_hash: bytes
    previous_hash: bytes


@asynccontextmanager
async def open_peer(profile: Profile) -> AsyncIterator[PeerClient]:
    """The profile's peer, called in the profile's name."""
    async with PeerClient(profile.endpoint, profile.signer) as peer:
        yield peer


async def get_ledger(peer: PeerClient, channel_id: str) -> LedgerView:
    """The peer's height and newest hashes.

    Raises:
        ProposalRefusedError: the peer is not in the channel, or refuses the caller.
    """
    info = await channel.get_chain_info(peer, channel_id)
    return LedgerView(
        channel_id, peer.endpoint.address, info.height, info.current_hash, info.previous_hash
    )


async def get_block_view(peer: PeerClient, channel_id: str, number: int) -> BlockView:
    """One block.

    Raises:
        FaultError: there is no such block.
    """
    try:
        return view_block(await channel.get_block(peer, channel_id, number))
    except ProposalRefusedError as refused:
        height = (await channel.get_chain_info(peer, channel_id)).height
        if number >= height:
            raise input_error(
                f"channel {channel_id} has no block {number}",
                f"its newest block is {height - 1}",
            ) from refused
        raise


async def read_blocks(
    peer: PeerClient, channel_id: str, first: int, last: int
) -> AsyncIterator[Any]:
    """Blocks (`common.Block`) from `first` to `last`, both included."""
    found = peer.blocks(channel_id, Seek(first, last, wait=False))
    async with aclosing(found) as blocks:  # type: ignore[type-var]
        async for block in blocks:
            yield block


async def list_blocks(peer: PeerClient, channel_id: str, count: int) -> list[BlockView]:
    """The newest blocks, the newest first."""
    height = (await channel.get_chain_info(peer, channel_id)).height
    first = max(0, height - count)
    if height == 0 or count == 0:
        return []
    found = [view_block(one) async for one in read_blocks(peer, channel_id, first, height - 1)]
    return found[::-1]


async def find_transaction(
    peer: PeerClient, channel_id: str, identifier: str, *, depth: int = 20_000
) -> tuple[TransactionView, BlockView]:
    """The transaction whose id begins so, and its block.

    A whole id is looked up; a shortened one is searched for from the newest block back.

    Args:
        peer: whom to ask.
        channel_id: the channel.
        identifier: the id or its beginning.
        depth: how many blocks to search.

    Raises:
        FaultError: there is none, or more than one.
    """
    wanted = identifier.lower()
    if len(wanted) == FULL_ID:
        try:
            found = [view_block(await channel.get_block_of(peer, channel_id, wanted))]
        except ProposalRefusedError as refused:
            raise input_error(f"channel {channel_id} has no transaction {wanted}") from refused
    else:
        found = await _search(peer, channel_id, wanted, depth)
    hits = [
        (transaction, block)
        for block in found
        for transaction in block.transactions
        if transaction.transaction_id.startswith(wanted)
    ]
    distinct = {transaction.transaction_id for transaction, _ in hits}
    if not hits:
        raise input_error(
            f"channel {channel_id} has no transaction that begins with {identifier}",
            "list the newest: medfabric block list",
        )
    if len(distinct) > 1:
        raise input_error(
            f"{len(distinct)} transactions begin with {identifier}",
            "give more of the id",
            details=tuple(sorted(distinct)),
        )
    # The same id can stand twice, the second time marked as a duplicate: the first one counts.
    return min(hits, key=lambda hit: hit[1].number)


async def _search(peer: PeerClient, channel_id: str, wanted: str, depth: int) -> list[BlockView]:
    height = (await channel.get_chain_info(peer, channel_id)).height
    lowest = max(0, height - depth)
    found: list[BlockView] = []
    end = height - 1
    while end >= lowest:
        first = max(lowest, end - CHUNK + 1)
        numbers = await _holding(peer, channel_id, wanted, first, end)
        found += [view_block(await channel.get_block(peer, channel_id, one)) for one in numbers]
        end = first - 1
    return found


async def _holding(
    peer: PeerClient, channel_id: str, wanted: str, first: int, last: int
) -> list[int]:
    """Numbers of blocks that hold a transaction whose id begins so; reads ids only."""
    stream = peer.blocks(channel_id, Seek(first, last, wait=False), method="DeliverFiltered")
    numbers = []
    try:
        async with aclosing(stream) as blocks:  # type: ignore[type-var]
            async for block in blocks:
                if any(one.txid.startswith(wanted) for one in block.filtered_transactions):
                    numbers.append(int(block.number))
    except EventsError:
        if not numbers:
            raise
    return numbers
