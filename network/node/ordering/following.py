"""Following a channel that another orderer leads: fetch its blocks, check them, append them.

Blocks come from the leader as it makes them. While it is away the other orderers are asked for
what they have more, so that the last blocks of a leader that was removed and shut down are not out
of reach. Every block is checked as a peer checks it, under the config of the block before.

**Joining late.** An orderer that joins with a later config block fetches the chain from block 0 on
and trusts it once it has led, hash by hash, to the block that it joined with.
"""

import asyncio
import logging
from contextlib import aclosing
from typing import Any, Protocol

from network.node.ordering.block_requests import BlockRequests, Unavailable
from network.rules.blocks.block import InvalidBlock, header_hash, is_config_block, validate_block
from network.rules.channel.config import ChannelConfig, InvalidConfig, OrdererEndpoint
from network.rules.ordering.leadership import (
    Start,
    find_leader,
    judge_start,
    list_other_consenters,
    list_sources,
)
from network.rules.policy.manager import BLOCK_VALIDATION

logger = logging.getLogger("orderer.chain")

# Seconds of the first and of the longest pause between two attempts, and how the pause grows.
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.1, 1.0, 1.5


class Diverged(Exception):
    """The chain here and that of the others are not one chain: no block can follow."""


class FollowedChain(Protocol):
    """The chain that grows by others' blocks."""

    @property
    def channel_id(self) -> str:
        """Its name."""

    @property
    def config(self) -> ChannelConfig:
        """The config in force after its last block."""

    @property
    def guide(self) -> ChannelConfig:
        """The newest config known, which says whom to ask: `config`, or that joined with."""

    @property
    def join_block(self) -> Any | None:
        """The config block (common.Block) joined with, while it is still to be reached."""

    @property
    def height(self) -> int:
        """The number of the block wanted next."""

    @property
    def newest(self) -> Any | None:
        """The last block (common.Block, of which only the header is there); None before any."""

    def leads(self) -> bool:
        """Whether this orderer may make the next block."""

    async def append(self, block: Any, config: ChannelConfig | None = None) -> None:
        """The block is on disk, and the config that it brings is in force. Raises StoreError."""


class Follower:
    """Fetches one channel's blocks."""

    def __init__(
        self, chain: FollowedChain, requests: BlockRequests, tls_certificate: bytes
    ) -> None:
        """`tls_certificate` (PEM) is how the config's consenters name this orderer."""
        self._chain = chain
        self._requests = requests
        self._tls_certificate = tls_certificate
        self._pause = FIRST_PAUSE
        self._troubles: dict[str, str] = {}

    async def run(self) -> None:
        """Follow until this orderer leads.

        Raises:
            Diverged: what the others have does not continue this chain.
            StoreError: the disk refuses.
        """
        while not self._is_done():
            height = self._chain.height
            leader = find_leader(self._chain.guide)
            sources = list_sources(self._chain.guide, self._tls_certificate)
            # With a join block still ahead anyone's blocks will do; so they are asked in turn.
            follows = leader is not None and self._chain.join_block is None
            for source in sources:
                try:
                    await self._fetch(source, follows=follows and source == sources[0])
                except Unavailable as error:
                    self._note(source, error)
                if self._is_done():
                    return
            await self._rest(progress=self._chain.height > height)

    async def look_round(self, *, fresh: bool) -> bool:
        """Whether this orderer, which leads by its config, may begin: all that others have more is
        fetched before. False asks to look again later: too few have answered.

        Raises Diverged and StoreError as `run`.
        """
        chain = self._chain
        while chain.leads():
            others = list_other_consenters(chain.guide, self._tls_certificate)
            heights = await asyncio.gather(
                *(self._requests.get_height(other, chain.channel_id) for other in others)
            )
            verdict = judge_start(chain.height, heights, fresh=fresh)
            if verdict is Start.WAIT:
                return False
            if verdict is Start.LEAD:
                return True
            height, source = max((height or 0, index) for index, height in enumerate(heights))
            logger.warning(
                "[channel: %s] %s has %d blocks, this orderer only %d: fetching the others before "
                "any is made here", chain.channel_id, others[source].address, height, chain.height,
            )  # fmt: skip
            try:
                await self._fetch(others[source], follows=False)
            except Unavailable as error:
                self._note(others[source], error)
                await asyncio.sleep(FIRST_PAUSE)
        return True

    def _is_done(self) -> bool:
        return self._chain.leads() and self._chain.join_block is None

    async def _fetch(self, source: OrdererEndpoint, *, follows: bool) -> None:
        """Append what `source` has; with `follows` until it is no longer the leader."""
        chain = self._chain
        wanted = chain.height
        blocks = self._requests.read_blocks(source, chain.channel_id, wanted, follows=follows)
        async with aclosing(blocks):  # type: ignore[type-var]
            async for block in blocks:
                await self._append(block, source)
                if self._troubles.pop(source.address, ""):
                    logger.info(
                        "[channel: %s] Blocks come from %s", chain.channel_id, source.address
                    )
                self._pause = FIRST_PAUSE
                if follows and (self._is_done() or find_leader(chain.guide) != source):
                    return

    async def _append(self, block: Any, source: OrdererEndpoint) -> None:
        chain, number = self._chain, block.header.number
        try:
            config = await asyncio.to_thread(_open_checked, block, chain.newest, chain.config)
        except (InvalidBlock, InvalidConfig) as error:
            follows_on = chain.newest is None or (
                block.header.previous_hash == header_hash(chain.newest.header)
            )
            if number == chain.height and not follows_on:
                raise Diverged(
                    f"block {number} of orderer {source.address} does not follow this orderer's "
                    f"block {number - 1}: one of the two has lost blocks. Remove the channel here "
                    "and join it again, if the other one is right"
                ) from None
            raise Unavailable(
                f"orderer {source.address} sent a block that is not to be trusted: {error}"
            ) from None
        wanted = chain.join_block
        if wanted is not None and _is_other(block.header, wanted.header):
            raise Diverged(
                f"the chain of orderer {source.address} does not lead to the config block {number} "
                "that this orderer joined the channel with"
            )
        await chain.append(block, config)

    async def _rest(self, *, progress: bool) -> None:
        if progress:
            self._pause = FIRST_PAUSE
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * GROWTH, LONGEST_PAUSE)

    def _note(self, source: OrdererEndpoint, trouble: Unavailable) -> None:
        """Say it once: attempts are many."""
        if self._troubles.get(source.address) != str(trouble):
            self._troubles[source.address] = str(trouble)
            logger.warning("[channel: %s] No blocks: %s", self._chain.channel_id, trouble)


def _is_other(header: Any, wanted: Any) -> bool:
    """Whether this is another block than the wanted one of that number."""
    return bool(header.number == wanted.number and header_hash(header) != header_hash(wanted))


def _open_checked(block: Any, newest: Any | None, config: ChannelConfig) -> ChannelConfig | None:
    """The config that a trustworthy block brings. Raises InvalidBlock, InvalidConfig."""
    policy = config.policies.get(BLOCK_VALIDATION)
    validate_block(block, newest, policy, config.block_signers)
    return ChannelConfig.from_block(block) if is_config_block(block) else None
