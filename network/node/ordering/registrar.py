"""The channels of one orderer: opened at start, joined, removed (orderer/common/multichannel).

Everything here happens in one event loop; joining and removing are serialised by a lock.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any

from network.node.ordering.block_store import BlockStore, StoreError, list_channels
from network.node.ordering.chain import Chain, Node
from network.rules.channel.config import InvalidConfig
from network.rules.ordering.joining import validate_join_block

logger = logging.getLogger("orderer.common.multichannel")


class ChannelExists(ValueError):
    """The orderer has joined the channel already."""


class ChannelUnknown(ValueError):
    """The orderer has not joined the channel."""


class Registrar:
    """The orderer's chains by channel id."""

    def __init__(self, location: Path, node: Node) -> None:
        """`node.on_config` is also called when a channel is joined or removed."""
        self._location = location
        self._node = node
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
                self._chains[channel_id] = await Chain.open(store, self._node)
            except InvalidConfig as error:
                raise StoreError(f"{store.folder}: {error}") from error
            logger.info("Opened channel '%s' at height %d", channel_id, store.height)

    def get(self, channel_id: str) -> Chain | None:
        """The chain of a channel; None where it was not joined."""
        return self._chains.get(channel_id)

    def get_serving(self, channel_id: str) -> Chain | None:
        """The chain of a channel that clients may see: not while its blocks are being fetched."""
        chain = self._chains.get(channel_id)
        return None if chain is None or chain.is_onboarding else chain

    def list(self) -> list[Chain]:
        """Every chain, by channel id."""
        return [self._chains[channel_id] for channel_id in sorted(self._chains)]

    async def join(self, block: Any) -> Chain:
        """Start the channel that the config block `block` is of; it is durable on return.

        From a later block than the genesis the chain is fetched from other orderers first.

        Raises:
            InvalidRequest: the block is no config block of an application channel.
            ChannelExists: the channel was joined before.
            StoreError: the disk refuses.
        """
        channel_id = validate_join_block(block)
        async with self._changing:
            if channel_id in self._chains:
                raise ChannelExists(channel_id)
            store = await BlockStore.create(self._location, channel_id, block.SerializeToString())
            chain = self._chains[channel_id] = await Chain.open(store, self._node)
        self._node.on_config()
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
        self._node.on_config()
        logger.info("Removed channel '%s'", channel_id)

    async def close(self) -> None:
        """Order what was taken, close every store."""
        await asyncio.gather(*(chain.close() for chain in self._chains.values()))

    async def check_health(self) -> str:
        """The first failing channel and why; empty while all are well."""
        failed = [f"channel {c.channel_id}: {c.failure}" for c in self.list() if c.failure]
        return "; ".join(failed)
