"""Where the blocks of a whole chain come from: a folder of files, or a peer's Deliver service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from admin.errors import input_error
from admin.procedures.ledgers.blockfiles import BlockFolder
from network.client import channel
from network.client.peer import PeerClient
from network.client.seek import Seek


class BlockSource(Protocol):
    """Where blocks come from, the genesis block first."""

    @property
    def name(self) -> str:
        """The folder's or the peer's name."""
        ...

    @property
    def height(self) -> int:
        """How many blocks there are."""
        ...

    @property
    def faults(self) -> tuple[tuple[str, str], ...]:
        """Files that stand against the chain: name, and what is wrong."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader has to know of the source."""
        ...

    def blocks(self) -> AsyncIterator[Any]:
        """The blocks (`common.Block`) in order of their numbers."""
        ...

    def file_of(self, number: int) -> str:
        """The name of the file that holds a block, or an empty text."""
        ...


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Blocks from files."""

    folder: BlockFolder

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder.path)

    @property
    def height(self) -> int:
        """The highest number and one."""
        return max(self.folder.files, default=-1) + 1

    @property
    def faults(self) -> tuple[tuple[str, str], ...]:
        """Files that are spoilt, or say another thing than the others."""
        return self.folder.faults

    @property
    def notes(self) -> tuple[str, ...]:
        """Files that were passed over."""
        return self.folder.notes

    async def blocks(self) -> AsyncIterator[Any]:
        """The blocks, one file at a time."""
        for number in sorted(self.folder.files):
            yield await asyncio.to_thread(self.folder.read, number)

    def file_of(self, number: int) -> str:
        """The block's file."""
        found = self.folder.files.get(number)
        return found.name if found else ""


@dataclass(frozen=True, slots=True)
class PeerSource:
    """Blocks from a peer's Deliver service, up to the height it had when asked."""

    peer: PeerClient
    channel_id: str
    name: str
    height: int
    faults: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    async def open(cls, peer: PeerClient, channel_id: str, name: str) -> "PeerSource":
        """Ask the peer how many blocks it has.

        Raises:
            ProposalRefusedError: it is not in the channel, or refuses the caller.
            FaultError: its ledger begins with a snapshot.
        """
        info = await channel.get_chain_info(peer, channel_id)
        if info.first_block:
            raise input_error(
                f"{name} has no blocks before {info.first_block}: its ledger began with a snapshot",
                "verify at a peer that has them all, or from files",
            )
        return cls(peer, channel_id, name, info.height)

    async def blocks(self) -> AsyncIterator[Any]:
        """The blocks as the peer streams them."""
        found = self.peer.blocks(self.channel_id, Seek(0, self.height - 1, wait=False))
        async with aclosing(found) as blocks:  # type: ignore[type-var]
            async for block in blocks:
                yield block

    def file_of(self, number: int) -> str:
        """Nothing: no file holds it."""
        del number
        return ""
