"""The channels of one orderer: opened at start, joined, removed (orderer/common/multichannel).

Everything here happens in one event loop; joining and removing are serialised by a lock.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from network.node.block_store import BlockStore, StoreError, list_channels
from network.node.chain import Chain
from network.rules.config import InvalidConfig
from network.rules.identity import Signer
from network.rules.joining import validate_join_block

logger = logging.getLogger("orderer.common.multichannel")


class ChannelExists(ValueError):
    """The orderer has joined the channel already."""


class ChannelUnknown(ValueError):
    """The orderer has not joined the channel."""


class CannotJoin(ValueError):
    """The block is no block to join with."""


class Registrar:
    """The orderer's chains by channel id."""

    def __init__(
        self,
        location: Path,
        signer: Signer,
        *,
        tls_certificate: bytes = b"",
        checks_expiry: bool = True,
        on_config: Callable[[], None] = lambda: None,
    ) -> None:
        """`tls_certificate` (PEM) names this orderer among a channel's consenters; `on_config` is
        called whenever a channel is joined or its config changes."""
        self._location = location
        self._tls_certificate = tls_certificate
        self._on_config = on_config
        self._signer = signer
        self._checks_expiry = checks_expiry
        self._chains: dict[str, Chain] = {}
        self._changing = asyncio.Lock()

    async def open(self) -> None:
        """Open every channel found at the location.

        Raises:
            StoreError: a channel cannot be read: better not to start than to seem to have lost it.
        """
        for channel_id in list_channels(self._location):
            store = await BlockStore.open(self._location, channel_id)
            try:
                self._chains[channel_id] = await self._open_chain(store)
            except InvalidConfig as error:
                raise StoreError(f"{store.folder}: {error}") from error
            logger.info("Opened channel '%s' at height %d", channel_id, store.height)

    def get(self, channel_id: str) -> Chain | None:
        """The chain of a channel; None where it was not joined."""
        return self._chains.get(channel_id)

    def list(self) -> list[Chain]:
        """Every chain, by channel id."""
        return [self._chains[channel_id] for channel_id in sorted(self._chains)]

    async def join(self, block: Any) -> Chain:
        """Start the channel that the genesis block `block` begins; it is durable on return.

        Raises:
            InvalidRequest: the block is no genesis of an application channel.
            CannotJoin: it is a later config block.
            ChannelExists: the channel was joined before.
            StoreError: the disk refuses.
        """
        channel_id = validate_join_block(block)
        async with self._changing:
            if channel_id in self._chains:
                raise ChannelExists(channel_id)
            if block.header.number != 0:
                raise CannotJoin(
                    f"block {block.header.number} is not a genesis block, and this orderer does "
                    "not fetch earlier blocks from others"
                )
            store = await BlockStore.create(self._location, channel_id, block.SerializeToString())
            chain = self._chains[channel_id] = await self._open_chain(store)
        self._on_config()
        logger.info("Joined channel '%s' as its %s", channel_id, chain.part.value)
        return chain

    async def remove(self, channel_id: str) -> None:
        """Stop the channel and delete its blocks.

        Raises:
            ChannelUnknown: it was not joined.
            StoreError: the disk refuses.
        """
        async with self._changing:
            chain = self._chains.pop(channel_id, None)
            if chain is None:
                raise ChannelUnknown(channel_id)
            await chain.remove()
        self._on_config()
        logger.info("Removed channel '%s'", channel_id)

    async def close(self) -> None:
        """Order what was taken, close every store."""
        await asyncio.gather(*(chain.close() for chain in self._chains.values()))

    async def check_health(self) -> str:
        """The first failing channel and why; empty while all are well."""
        failed = [f"channel {c.channel_id}: {c.failure}" for c in self.list() if c.failure]
        return "; ".join(failed)

    async def _open_chain(self, store: BlockStore) -> Chain:
        return await Chain.open(
            store,
            self._signer,
            tls_certificate=self._tls_certificate,
            checks_expiry=self._checks_expiry,
            on_config=self._on_config,
        )
