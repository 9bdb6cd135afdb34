"""Ordering a channel: take, cut, sign, append. Only the channel's leader does it.

**When a block is cut.** One task takes the queue in order and cuts by the channel's BatchSize, as
Fabric does. When the queue is empty it does not wait for BatchTimeout: a lone transaction is a
block at once. While a block is signed and fsynced the queue fills, and on a busy channel a batch
waits a little for more (`pace`), so that under load batches form by themselves. BatchTimeout
remains what Fabric promises with it, an upper bound: no message waits longer than it in a pending
batch, whatever the pace or a never-ending queue would have it do.

**Config updates** cut the pending batch and are a block of their own. A message admitted under an
older config than the one in force when its turn comes is judged again. When a config names another
leader, its block is the last that this orderer makes.
"""

import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Protocol

from network.node.ordering.intake import Entry, Intake, refuse
from network.node.ordering.pace import Pace
from network.node.serving.logs import one_line
from network.rules.blocks.block import build_block, sign_block
from network.rules.blocks.blockcutter import BatchLimits, BlockCutter
from network.rules.channel.config import ChannelConfig
from network.rules.envelope import NONCE_BYTES, OpenedEnvelope
from network.rules.identity.identity import Signer
from network.rules.ordering.admission import ProposedConfig, Refused, admit, propose_config

logger = logging.getLogger("orderer.chain")


class LedChain(Protocol):
    """The chain that a leader makes longer."""

    @property
    def channel_id(self) -> str:
        """Its name."""

    @property
    def config(self) -> ChannelConfig:
        """The config in force after its last block."""

    @property
    def height(self) -> int:
        """The number of the block to be made next."""

    @property
    def last_config(self) -> int:
        """The number of its newest config block."""

    @property
    def newest_hash(self) -> bytes:
        """The hash of its last block's header."""

    def leads(self) -> bool:
        """Whether this orderer may make the next block."""

    async def append(self, block: Any, config: ChannelConfig | None = None) -> None:
        """The block is on disk, and the config that it brings is in force. Raises StoreError."""


class Leader:
    """Makes a channel's blocks from what is put into `intake`."""

    def __init__(
        self,
        chain: LedChain,
        signer: Signer,
        *,
        checks_expiry: bool = True,
        on_cut: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`on_cut` is told how many seconds each batch had been open."""
        self.intake = Intake()
        self._chain = chain
        self._signer = signer
        self._checks_expiry = checks_expiry
        self._on_cut = on_cut
        self._cutter: BlockCutter[Entry] = BlockCutter(BatchLimits(1, 1))
        self._batch_began = 0.0
        self._pace = Pace()

    async def run(self) -> None:
        """Order until the intake is closed and empty, or until another leads.

        Raises:
            StoreError: the disk refuses; what is not yet in a block has to be refused.
        """
        self._cutter = BlockCutter(_get_limits(self._chain.config))
        while self._chain.leads() and (entry := await self.intake.take(None)):
            while entry is not None:
                await self._place(entry)
                if not self._chain.leads():
                    return
                entry = await self.intake.take(self._get_patience())
            await self._write(self._cutter.cut())

    def propose(self, update: OpenedEnvelope) -> ProposedConfig:
        """The config that the update leads to now. Raises Refused."""
        return propose_config(
            update,
            self._chain.config,
            self._signer,
            secrets.token_bytes(NONCE_BYTES),
            datetime.now(UTC),
            checks_expiry=self._checks_expiry,
        )

    def _get_patience(self) -> float:
        """How long the pending batch may still wait for another message."""
        if not self._cutter.is_pending:
            return 0
        timeout = self._chain.config.batch.timeout
        end = min(self._batch_began + timeout, self._pace.due)
        return max(0.0, end - monotonic())

    async def _place(self, entry: Entry) -> None:
        config = self._chain.config
        if entry.admitted.sequence != config.sequence and not self._judge_again(entry):
            return
        if entry.proposed is not None:
            await self._write(self._cutter.cut())
            await self._write([entry], entry.proposed)
            return
        now = monotonic()
        if not self._cutter.is_pending:
            self._batch_began = now
        self._pace.note_message(now)
        batches = self._cutter.order(entry, entry.admitted.size)
        for batch in batches:
            await self._write(batch)
        if batches:
            self._batch_began = monotonic()
        elif monotonic() - self._batch_began >= config.batch.timeout:
            await self._write(self._cutter.cut())

    def _judge_again(self, entry: Entry) -> bool:
        """Whether the message passes under the config that came meanwhile."""
        chain = self._chain
        try:
            source = entry.update or entry.admitted.envelope
            now = datetime.now(UTC)
            entry.admitted = admit(source, chain.config, now, checks_expiry=self._checks_expiry)
            if entry.update is not None:
                entry.proposed = self.propose(entry.update)
                entry.admitted = entry.proposed.admitted
        except Refused as refusal:
            logger.info("[channel: %s] Dropping a message: %s", chain.channel_id, one_line(refusal))
            refuse(entry.done, refusal)
            return False
        return True

    async def _write(self, batch: list[Entry], proposed: ProposedConfig | None = None) -> None:
        if not batch:
            return
        chain, number = self._chain, self._chain.height
        if proposed is None:
            self._on_cut(monotonic() - self._batch_began)
        block = build_block(number, chain.newest_hash, [entry.admitted.raw for entry in batch])
        # A config block names itself as the newest config: see sign_block.
        last_config = number if proposed else chain.last_config
        sign_block(block, last_config, self._signer, secrets.token_bytes(NONCE_BYTES))
        await chain.append(block, proposed.config if proposed else None)
        self._pace.note_block(monotonic(), len(batch))
        if proposed is not None:
            self._cutter.limits = _get_limits(proposed.config)
        for entry in batch:
            entry.accept(number)
        logger.debug("[channel: %s] Wrote block [%d]", chain.channel_id, number)


def _get_limits(config: ChannelConfig) -> BatchLimits:
    return BatchLimits(config.batch.max_messages, config.batch.preferred_max_bytes)
