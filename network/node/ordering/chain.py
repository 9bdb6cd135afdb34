"""One channel of an orderer: its blocks on disk, who makes the next, what clients are told.

**Two duties.** The channel's leader orders (`leading`), every other orderer follows (`following`)
and passes its clients' messages on (`forwarding`). Which of the two this orderer does is said by
the config after the last block (`rules.ordering.leadership`), and changes with it. One task does
either, and through it alone the chain grows: the config, the last hash and the height change only
in `append`.

**What an acknowledgement means.** `submit` gives a future that is done once the message's block
is on the leader's disk (see `block_store`). Broadcast answers only then, so that no acknowledged
message is ever lost; Fabric's orderer answers earlier.

**A full disk** refuses whatever waits and is tried again until there is room; any other failure of
the disk, and blocks that do not fit together, stop the channel until the orderer is started again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from fabric_protos.common import common_pb2

from network.node.ordering.block_requests import BlockRequests
from network.node.ordering.block_store import BlockStore, DiskFull, StoreError
from network.node.ordering.following import Diverged, Follower
from network.node.ordering.leading import Leader
from network.node.serving.connections import Connections, Credentials
from network.rules.blocks.block import header_hash, open_block
from network.rules.channel.config import ChannelConfig, OrdererEndpoint
from network.rules.envelope import OpenedEnvelope
from network.rules.identity.identity import Signer
from network.rules.ordering.admission import Kind, Refused, admit
from network.rules.ordering.leadership import Part, find_leader, find_part

logger = logging.getLogger("orderer.chain")

# Seconds between two looks whether a full disk has room again.
DISK_PAUSE = 1.0
# Seconds between two looks whether enough other consenters answer.
QUORUM_PAUSE = 0.5
NO_QUORUM = (
    "no Raft leader: this orderer leads the channel but has not ordered before, and waits for most "
    "consenters to say that they have no later blocks"
)


class Forwarding(Protocol):
    """One client's way to leaders (network.node.ordering.forwarding.Forwarding is one)."""

    def send(self, leader: OrdererEndpoint, envelope: bytes) -> asyncio.Future[int]:
        """The future is done when the leader has ordered the message; it fails with Refused."""


@dataclass(frozen=True, slots=True)
class Node:
    """What the channels of one orderer share.

    `tls_certificate` (PEM) is how a config's consenters name this orderer, `client_certificate`
    what `connections` show. `on_config` is called after each new config has come into force,
    `on_cut` with a channel and how many seconds a batch had been open.
    """

    signer: Signer
    tls_certificate: bytes = field(default=b"", repr=False)
    client_certificate: bytes = field(default=b"", repr=False)
    connections: Connections = field(default_factory=lambda: Connections(Credentials(False)))
    checks_expiry: bool = True
    on_config: Callable[[], None] = lambda: None
    on_cut: Callable[[str, float], None] = lambda channel_id, seconds: None


class Chain:
    """A channel that this orderer has joined; also the DeliverSource of its blocks."""

    def __init__(self, store: BlockStore, node: Node, config: ChannelConfig) -> None:
        """`config`: what is in force, or that of the join block. Use `open`."""
        self._store = store
        self._node = node
        self._config = self._guide = config
        self._part = find_part(config, node.tls_certificate)
        self._newest: Any | None = None
        self._join_block: Any | None = None
        self._leader = Leader(
            self,
            node.signer,
            checks_expiry=node.checks_expiry,
            on_cut=lambda seconds: node.on_cut(self.channel_id, seconds),
        )
        requests = BlockRequests(node.signer, node.connections, node.client_certificate)
        self._follower = Follower(self, requests, node.tls_certificate)
        self._must_look_round = False
        self._quorum_missing = False
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @classmethod
    async def open(cls, store: BlockStore, node: Node) -> "Chain":
        """The chain in `store`, growing from its last block on.

        Raises:
            StoreError: a block cannot be read.
            InvalidConfig: the last config block is not a config we understand.
        """
        joined_with = open_block(store.join_block) if store.join_block else None
        guide = ChannelConfig.from_block(joined_with) if joined_with else None
        newest, config = await _read_tip(store)
        first = config or guide
        if first is None:
            raise StoreError(f"{store.folder}: there is no block")
        chain = cls(store, node, first)
        chain._newest = newest
        if joined_with is not None and store.height <= joined_with.header.number:
            chain._join_block, chain._guide = joined_with, guide or first
            chain._part = find_part(chain._guide, node.tls_certificate)
        # A leader that finds itself in charge, not one that is put in charge by a block.
        chain._must_look_round = chain._part is Part.LEADER
        chain._task = asyncio.create_task(chain._run(), name=f"order {chain.channel_id}")
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
    def failure(self) -> str:
        """Why the chain does not grow; empty while it may."""
        return self._store.failure

    async def get_block(self, number: int) -> bytes:
        """Block bytes, `number` below the height."""
        return await self._store.get_block(number)

    async def wait_for(self, number: int) -> None:
        """Return when block `number` exists, or `failure` says that it cannot come."""
        await self._store.wait_for(number)

    # --- what this orderer is to the channel ---

    @property
    def part(self) -> Part:
        """What the newest config known makes of this orderer; only the leader orders."""
        return self._part

    @property
    def is_onboarding(self) -> bool:
        """Whether blocks up to the one joined with are still missing; nothing is served then."""
        return self._join_block is not None

    def leads(self) -> bool:
        """Whether this orderer may make the next block, once it has looked round."""
        return self._part is Part.LEADER

    @property
    def guide(self) -> ChannelConfig:
        """The newest config known: the one in force, or the one joined with."""
        return self._guide

    @property
    def join_block(self) -> Any | None:
        """The config block joined with, while it is still to be reached."""
        return self._join_block

    @property
    def newest(self) -> Any | None:
        """The last block, of which only the header is there; None before there is any."""
        return self._newest

    @property
    def newest_hash(self) -> bytes:
        """The hash of the last block's header."""
        return header_hash(self._newest.header) if self._newest is not None else b""

    # --- intake ---

    def submit(
        self, envelope: OpenedEnvelope, forwarding: Forwarding | None = None
    ) -> asyncio.Future[int]:
        """Admit `envelope` and have it ordered; the future is its block's number once that is on
        the leader's disk. `forwarding` is how to reach another leader, None if that may not be.

        Raises:
            Refused: it is not admitted, or SERVICE_UNAVAILABLE: too much waits, nobody can order,
                or the chain has stopped. The future fails with Refused for what shows only later.
        """
        now = datetime.now(UTC)
        admitted = admit(envelope, self._config, now, checks_expiry=self._node.checks_expiry)
        self._validate_ready()
        if not self.leads():
            return self._pass_on(envelope, forwarding)
        if self._quorum_missing:
            raise Refused(common_pb2.SERVICE_UNAVAILABLE, NO_QUORUM)
        if admitted.kind is Kind.CONFIG_UPDATE:
            proposed = self._leader.propose(envelope)
            return self._leader.intake.put(proposed.admitted, envelope, proposed)
        return self._leader.intake.put(admitted, None, None)

    async def append(self, block: Any, config: ChannelConfig | None = None) -> None:
        """Store the next block; `config` is what it brings into force.

        Raises:
            StoreError: the disk refuses; nothing has changed.
        """
        await self._store.append(block, block.SerializeToString())
        self._newest = common_pb2.Block(header=block.header)
        reached = self._join_block is not None and (
            block.header.number >= self._join_block.header.number
        )
        if reached:
            # Who has just fetched the chain knows no more than what it was shown.
            self._join_block = None
            self._must_look_round = True
        if config is None and not reached:
            return
        self._config = config or self._config
        if self._join_block is None:
            self._guide = self._config
            self._set_part(find_part(self._config, self._node.tls_certificate))
            if not self.leads():
                self._must_look_round = False
                await self._store.forget_join_block()
        self._node.on_config()
        logger.info(
            "[channel: %s] Config sequence %d is in force from block %d on",
            self.channel_id, self._config.sequence, block.header.number,
        )  # fmt: skip

    async def close(self) -> None:
        """Take no more, order what was taken, close the store."""
        await self._stop_task(orders=True)
        self._store.fail("the orderer is stopping")
        self._leader.intake.refuse_all("the orderer is stopping")
        with contextlib.suppress(StoreError):
            await self._store.close()

    async def remove(self) -> None:
        """Take no more, forget what waits, delete the blocks.

        Raises:
            StoreError: the folder cannot be deleted.
        """
        self._leader.intake.refuse_all(f"channel {self.channel_id} is being removed")
        await self._stop_task(orders=True)
        self._store.fail(f"channel {self.channel_id} was removed")
        await self._store.remove()

    def _validate_ready(self) -> None:
        if self.failure:
            raise Refused(common_pb2.SERVICE_UNAVAILABLE, self.failure)
        if self._closing:
            raise Refused(common_pb2.SERVICE_UNAVAILABLE, "the orderer is stopping")

    def _pass_on(
        self, envelope: OpenedEnvelope, forwarding: Forwarding | None
    ) -> asyncio.Future[int]:
        leader = find_leader(self._config)
        if leader is None:
            raise Refused(
                common_pb2.SERVICE_UNAVAILABLE,
                f"no Raft leader: this orderer has no part in ordering channel {self.channel_id}",
            )
        if forwarding is None:
            raise Refused(
                common_pb2.SERVICE_UNAVAILABLE,
                f"no Raft leader: this orderer does not lead channel {self.channel_id}: its first "
                f"consenter, {leader.address}, does",
            )
        return forwarding.send(leader, envelope.raw)

    # --- the task ---

    async def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    await self._do_duty()
                except DiskFull as error:
                    await self._outwait(f"the orderer cannot store blocks: {error}")
        except StoreError as error:
            self._fail(f"the orderer cannot store blocks: {error}")
        except Diverged as error:
            self._fail(str(error))
        except Exception:
            # A fault of ours: stop this channel alone, loudly, rather than go on in a bad state.
            logger.exception("[channel: %s] Stopped by a fault", self.channel_id)
            self._fail("the orderer has stopped ordering this channel: see its log")

    async def _do_duty(self) -> None:
        """Lead or follow until the other is to be done."""
        if self.is_onboarding or not self.leads():
            await self._follower.run()
        elif self._must_look_round:
            fresh = self.height == 1 or self._store.join_block != b""
            if not await self._follower.look_round(fresh=fresh):
                self._refuse_for_want_of_others()
                await asyncio.sleep(QUORUM_PAUSE)
                return
            self._must_look_round = self._quorum_missing = False
            await self._store.forget_join_block()
        else:
            await self._leader.run()
            if not self.leads():
                self._leader.intake.refuse_all(
                    "no Raft leader: another orderer has begun to lead the channel; send again"
                )

    def _set_part(self, part: Part) -> None:
        if part is not self._part:
            logger.info(
                "[channel: %s] This orderer was its %s and is now its %s",
                self.channel_id, self._part.value, part.value,
            )  # fmt: skip
        self._part = part

    def _refuse_for_want_of_others(self) -> None:
        if not self._quorum_missing:
            self._quorum_missing = True
            logger.warning("[channel: %s] %s", self.channel_id, NO_QUORUM)
        self._leader.intake.refuse_all(NO_QUORUM)

    async def _outwait(self, reason: str) -> None:
        """Refuse everything until the disk has room, then go on where it stood."""
        logger.critical(
            "[channel: %s] %s. No message is accepted until there is room", self.channel_id, reason
        )
        self._store.fail(reason)
        self._leader.intake.refuse_all(reason)
        while not self._closing:
            await asyncio.sleep(DISK_PAUSE)
            try:
                await self._store.reopen()
            except DiskFull:
                continue
            self._newest, config = await _read_tip(self._store)
            if config is not None and config.sequence != self._config.sequence:
                self._config = self._guide = config
                self._set_part(find_part(config, self._node.tls_certificate))
                self._node.on_config()
            logger.warning("[channel: %s] The disk has room again", self.channel_id)
            return

    def _fail(self, reason: str) -> None:
        logger.critical(
            "[channel: %s] %s. No message is accepted until the cause is removed and the orderer "
            "is started again",
            self.channel_id, reason,
        )  # fmt: skip
        self._store.fail(reason)
        self._leader.intake.refuse_all(reason)

    async def _stop_task(self, *, orders: bool) -> None:
        self._closing = True
        self._leader.intake.close()
        if self._task is None:
            return
        if not (orders and self.leads() and not self._must_look_round and not self.failure):
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


async def _read_tip(store: BlockStore) -> tuple[Any | None, ChannelConfig | None]:
    """The last block's header, in a block, and the config in force; None and None of no blocks."""
    if store.height == 0:
        return None, None
    newest = open_block(await store.get_block(store.height - 1))
    config_block = open_block(await store.get_block(store.last_config))
    return common_pb2.Block(header=newest.header), ChannelConfig.from_block(config_block)
