"""One channel of an orderer: admit, order, cut, sign, store.

**When a block is cut.** A message is queued once it is admitted. One task takes the queue in
order and cuts by the channel's BatchSize, as Fabric does. When the queue is empty it does not wait
for BatchTimeout: a lone transaction is a block at once. While a block is signed and fsynced the
queue fills, so that under load batches form by themselves, the larger the busier the disk. So that
a steady trickle does not make a block a message, a batch is cut no earlier than `PACE` after the
block before it. BatchTimeout remains what Fabric promises with it, an upper bound: no message
waits longer than it in a pending batch, whatever PACE or a never-ending queue would have it do.

**What an acknowledgement means.** `submit` gives a future that is done once the message's block
is on disk (see `block_store`). Broadcast answers only then, so that no acknowledged message is
ever lost; Fabric's orderer answers earlier.

**Config updates** are turned into the config they lead to when they arrive, so that their sender
learns of a refusal; ordering cuts the pending batch and puts them in a block of their own. A
message admitted under an older config than the one in force when its turn comes is judged again.

Nothing else writes to the chain: the task is the only writer, and the config, the last hash and
the height change only there.
"""

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from fabric_protos.common import common_pb2

from network.node.block_store import BlockStore, StoreError
from network.node.logs import one_line
from network.rules.block import build_block, header_hash, open_block, sign_block
from network.rules.blockcutter import BatchLimits, BlockCutter
from network.rules.config import ChannelConfig
from network.rules.envelope import OpenedEnvelope
from network.rules.identity import Signer
from network.rules.leadership import Part, find_part
from network.rules.ordering import (
    Admitted,
    Kind,
    ProposedConfig,
    Refused,
    admit,
    propose_config,
)

logger = logging.getLogger("orderer.chain")

# Seconds between two blocks of a channel, unless the batch is full.
PACE = 0.005
# What may wait for its turn, a channel: messages and bytes.
MAX_WAITING = 10_000
MAX_WAITING_BYTES = 128 * 1024 * 1024
NONCE_BYTES = 24


@dataclass(slots=True)
class _Entry:
    """A message on its way into a block."""

    admitted: Admitted
    update: OpenedEnvelope | None  # the CONFIG_UPDATE that `proposed` was made from
    proposed: ProposedConfig | None
    done: asyncio.Future[int]  # the block's number


class Chain:
    """A channel that this orderer orders; also the DeliverSource of its blocks."""

    def __init__(
        self,
        store: BlockStore,
        config: ChannelConfig,
        signer: Signer,
        *,
        tls_certificate: bytes = b"",
        checks_expiry: bool = True,
    ) -> None:
        """`tls_certificate` (PEM) is how the config's consenters name this orderer."""
        self._store = store
        self._tls_certificate = tls_certificate
        self._part = find_part(config, tls_certificate)
        self._config = config
        self._signer = signer
        self._checks_expiry = checks_expiry
        self._previous_hash = b""
        self._waiting: deque[_Entry] = deque()
        self._waiting_bytes = 0
        self._undone: set[asyncio.Future[int]] = set()
        self._arrived = asyncio.Event()
        self._cutter: BlockCutter[_Entry] = BlockCutter(_get_limits(config))
        self._batch_began = 0.0
        self._last_cut = 0.0
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._on_config: Callable[[], None] = lambda: None

    @classmethod
    async def open(
        cls,
        store: BlockStore,
        signer: Signer,
        *,
        tls_certificate: bytes = b"",
        checks_expiry: bool = True,
        on_config: Callable[[], None] = lambda: None,
    ) -> "Chain":
        """The chain in `store`, ordering from its last block on.

        `on_config` is called after each new config has come into force.

        Raises:
            StoreError: a block cannot be read.
            InvalidConfig: the last config block is not a config we understand.
        """
        newest = open_block(await store.get_block(store.height - 1))
        config_block = open_block(await store.get_block(store.last_config))
        chain = cls(
            store,
            ChannelConfig.from_block(config_block),
            signer,
            tls_certificate=tls_certificate,
            checks_expiry=checks_expiry,
        )
        chain._on_config = on_config
        chain._previous_hash = header_hash(newest.header)
        chain._task = asyncio.create_task(chain._order(), name=f"order {chain.channel_id}")
        return chain

    # --- what readers need (DeliverSource) ---

    @property
    def channel_id(self) -> str:
        """The channel's name."""
        return self._config.channel_id

    @property
    def config(self) -> ChannelConfig:
        """The config of the newest config block on disk."""
        return self._config

    @property
    def height(self) -> int:
        """How many blocks are on disk."""
        return self._store.height

    @property
    def last_config(self) -> int:
        """The number of the newest config block on disk."""
        return self._store.last_config

    @property
    def part(self) -> Part:
        """What this orderer is to the channel; only its leader orders."""
        return self._part

    @property
    def failure(self) -> str:
        """Why the chain orders no more; empty while it does."""
        return self._store.failure

    async def get_block(self, number: int) -> bytes:
        """Block bytes, `number` below the height."""
        return await self._store.get_block(number)

    async def wait_for(self, number: int) -> None:
        """Return when block `number` exists, or `failure` says that it cannot come."""
        await self._store.wait_for(number)

    # --- intake ---

    def submit(self, envelope: OpenedEnvelope) -> asyncio.Future[int]:
        """Admit `envelope` and queue it; the future is its block's number once that is on disk.

        Raises:
            Refused: it is not admitted, or SERVICE_UNAVAILABLE: too much waits, or the chain has
                stopped. The future fails with Refused for what shows only later.
        """
        now = datetime.now(UTC)
        admitted = admit(envelope, self._config, now, checks_expiry=self._checks_expiry)
        self._validate_ready(admitted.size)
        proposed = None
        if admitted.kind is Kind.CONFIG_UPDATE:
            proposed = self._propose(envelope)
            admitted = proposed.admitted
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._undone.add(done)
        done.add_done_callback(self._undone.discard)
        self._waiting.append(_Entry(admitted, envelope if proposed else None, proposed, done))
        self._waiting_bytes += admitted.size
        self._arrived.set()
        return done

    async def close(self) -> None:
        """Take no more, order what was taken, close the store."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        self._store.fail("the orderer is stopping")
        with contextlib.suppress(StoreError):
            await self._store.close()

    async def remove(self) -> None:
        """Take no more, forget what waits, delete the blocks.

        Raises:
            StoreError: the folder cannot be deleted.
        """
        self._closing = True
        self._waiting.clear()
        self._refuse_undone(f"channel {self.channel_id} is being removed")
        self._arrived.set()
        if self._task is not None:
            await self._task
        self._store.fail(f"channel {self.channel_id} was removed")
        await self._store.remove()

    def _validate_ready(self, size: int) -> None:
        if self.failure:
            raise Refused(common_pb2.SERVICE_UNAVAILABLE, self.failure)
        if self._closing:
            raise Refused(common_pb2.SERVICE_UNAVAILABLE, "the orderer is stopping")
        if self._part is not Part.LEADER:
            raise Refused(common_pb2.SERVICE_UNAVAILABLE, self._describe_leader())
        full = len(self._waiting) >= MAX_WAITING or (
            self._waiting and self._waiting_bytes + size > MAX_WAITING_BYTES
        )
        if full:
            raise Refused(
                common_pb2.SERVICE_UNAVAILABLE,
                f"{len(self._waiting)} messages wait to be ordered on channel "
                f"{self.channel_id}: try again later",
            )

    def _describe_leader(self) -> str:
        if not self._config.consenters or self._config.consensus_type != "etcdraft":
            return f"this orderer has no part in ordering channel {self.channel_id}"
        leader = self._config.consenters[0]
        return (
            f"this orderer does not lead channel {self.channel_id}: its first consenter, "
            f"{leader.host}:{leader.port}, does"
        )

    def _propose(self, update: OpenedEnvelope) -> ProposedConfig:
        return propose_config(
            update,
            self._config,
            self._signer,
            secrets.token_bytes(NONCE_BYTES),
            datetime.now(UTC),
            checks_expiry=self._checks_expiry,
        )

    # --- ordering: one task ---

    async def _order(self) -> None:
        try:
            while entry := await self._take(None):
                while entry is not None:
                    await self._place(entry)
                    entry = await self._take(self._get_patience())
                await self._write(self._cutter.cut())
        except StoreError as error:
            self._fail(f"the orderer cannot store blocks: {error}")
        except Exception:
            # A fault of ours: stop this channel alone, loudly, rather than order on a bad state.
            logger.exception("[channel: %s] Ordering stopped by a fault", self.channel_id)
            self._fail("the orderer has stopped ordering this channel: see its log")

    async def _take(self, patience: float | None) -> _Entry | None:
        """The next message; None after `patience` seconds without one, or when closing."""
        while not self._waiting:
            if self._closing or patience == 0:
                return None
            self._arrived.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        entry = self._waiting.popleft()
        self._waiting_bytes -= entry.admitted.size
        return entry

    def _get_patience(self) -> float:
        """How long the pending batch may still wait for another message."""
        if not self._cutter.is_pending:
            return 0
        end = min(self._batch_began + self._config.batch.timeout, self._last_cut + PACE)
        return max(0.0, end - monotonic())

    async def _place(self, entry: _Entry) -> None:
        if entry.admitted.sequence != self._config.sequence and not self._judge_again(entry):
            return
        if entry.proposed is not None:
            await self._write(self._cutter.cut())
            await self._write([entry], entry.proposed)
            return
        if not self._cutter.is_pending:
            self._batch_began = monotonic()
        batches = self._cutter.order(entry, entry.admitted.size)
        for batch in batches:
            await self._write(batch)
        if batches:
            self._batch_began = monotonic()
        elif monotonic() - self._batch_began >= self._config.batch.timeout:
            await self._write(self._cutter.cut())

    def _judge_again(self, entry: _Entry) -> bool:
        """Whether the message passes under the config that came meanwhile."""
        try:
            source = entry.update or entry.admitted.envelope
            now = datetime.now(UTC)
            entry.admitted = admit(source, self._config, now, checks_expiry=self._checks_expiry)
            if entry.update is not None:
                entry.proposed = self._propose(entry.update)
                entry.admitted = entry.proposed.admitted
        except Refused as refusal:
            logger.info("[channel: %s] Dropping a message: %s", self.channel_id, one_line(refusal))
            _refuse(entry.done, refusal)
            return False
        return True

    async def _write(self, batch: list[_Entry], proposed: ProposedConfig | None = None) -> None:
        if not batch:
            return
        number = self._store.height
        block = build_block(number, self._previous_hash, [entry.admitted.raw for entry in batch])
        # A config block names itself as the newest config: see sign_block.
        last_config = number if proposed else self._store.last_config
        sign_block(block, last_config, self._signer, secrets.token_bytes(NONCE_BYTES))
        await self._store.append(block, block.SerializeToString())
        self._previous_hash = header_hash(block.header)
        self._last_cut = monotonic()
        if proposed is not None:
            self._config = proposed.config
            self._part = find_part(proposed.config, self._tls_certificate)
            self._on_config()
            self._cutter.limits = _get_limits(proposed.config)
            logger.info(
                "[channel: %s] Config sequence %d is in force from block %d on",
                self.channel_id, proposed.config.sequence, number,
            )  # fmt: skip
        for entry in batch:
            if not entry.done.done():
                entry.done.set_result(number)
        logger.debug("[channel: %s] Wrote block [%d]", self.channel_id, number)

    def _fail(self, reason: str) -> None:
        logger.critical(
            "[channel: %s] %s. No message is accepted until the cause is removed and the orderer "
            "is started again",
            self.channel_id, reason,
        )  # fmt: skip
        self._store.fail(reason)
        self._waiting.clear()
        self._refuse_undone(reason)

    def _refuse_undone(self, reason: str) -> None:
        self._waiting_bytes = 0
        for done in list(self._undone):
            _refuse(done, Refused(common_pb2.SERVICE_UNAVAILABLE, reason))


def _refuse(done: asyncio.Future[int], refusal: Refused) -> None:
    if not done.done():
        done.set_exception(refusal)
        # Its sender may be gone: nobody has to look at it.
        done.exception()


def _get_limits(config: ChannelConfig) -> BatchLimits:
    return BatchLimits(config.batch.max_messages, config.batch.preferred_max_bytes)
