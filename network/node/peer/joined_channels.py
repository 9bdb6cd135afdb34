"""The channels a peer has joined: opening them at start, joining more, following their blocks.

`<fileSystemPath>/channels/<channel id>` holds one channel's ledger. A folder appears by rename, so
that a crash while joining leaves either the channel or nothing.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from fabric_protos.common import common_pb2

from network.node.endorsing.system_chaincodes import JoinRefused
from network.node.ledger.channel import PeerChannel
from network.node.ledger.ledger import CommittedBlock
from network.node.ledger.store import DEFAULT_STATE, StateOptions, StoreError
from network.node.peering.block_puller import BlockPuller
from network.rules.channel.config import ChannelConfig, InvalidConfig

log = logging.getLogger("peer")

_JOINING = ".joining-"


class JoinedChannels:
    """Every channel of this peer, by name."""

    def __init__(
        self,
        folder: Path,
        identity: bytes,
        build_puller: Callable[[PeerChannel], BlockPuller],
        when_joined: Callable[[PeerChannel], None],
        when_committed: Callable[[PeerChannel, CommittedBlock], None],
        state: StateOptions = DEFAULT_STATE,
    ) -> None:
        """`identity` is the peer's SerializedIdentity; the callbacks run in the event loop.

        `when_joined` is also called for each channel opened from disk.
        """
        self._folder = folder
        self._identity = identity
        self._state = state
        self._build_puller = build_puller
        self._when_joined = when_joined
        self._when_committed = when_committed
        self._channels: dict[str, PeerChannel] = {}
        self._pullers: dict[str, tuple[BlockPuller, asyncio.Task[None]]] = {}
        self._joining = asyncio.Lock()

    @property
    def joined(self) -> tuple[PeerChannel, ...]:
        """Every channel."""
        return tuple(self._channels.values())

    @property
    def channel_ids(self) -> list[str]:
        """The names of all channels."""
        return sorted(self._channels)

    def get_channel(self, channel_id: str) -> PeerChannel | None:
        """The channel, or None."""
        return self._channels.get(channel_id)

    def get_config(self, channel_id: str) -> ChannelConfig | None:
        """The channel's newest configuration, or None."""
        channel = self._channels.get(channel_id)
        return channel.config if channel else None

    async def open(self) -> None:
        """Every channel on disk is open; none pulls blocks yet.

        Raises:
            StoreError: a ledger cannot be used; the text says which and what to do.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(self._folder.iterdir()):
                if path.name.startswith(_JOINING):
                    await asyncio.to_thread(shutil.rmtree, path)
                elif path.is_dir():
                    channel = await PeerChannel.open(path, self._identity, self._state)
                    self._add(channel)
                    self._when_joined(channel)
        except (OSError, InvalidConfig) as error:
            raise StoreError(f"{self._folder}: {error}") from error

    def start(self) -> None:
        """Every channel pulls blocks from its orderers."""
        for channel in self._channels.values():
            self._start_pulling(channel)

    async def join(self, genesis: common_pb2.Block) -> None:
        """The channel of the genesis block is joined and pulls blocks.

        Raises:
            JoinRefused: it is joined already, or its block cannot be used.
        """
        async with self._joining:
            try:
                config = ChannelConfig.from_block(genesis)
                self._validate(genesis, config)
                channel = await self._create(genesis, config.channel_id)
            except (InvalidConfig, StoreError, OSError) as error:
                raise JoinRefused(f"cannot create ledger from genesis block: {error}") from error
            self._add(channel)
        self._start_pulling(channel)
        self._when_joined(channel)
        log.info("joined channel %s", channel.channel_id)

    def check_health(self) -> str:
        """Which channel cannot go on, and why; empty when all is well."""
        failures = [
            f"channel {channel.channel_id}: {channel.failure}"
            for channel in self._channels.values()
            if channel.failure
        ]
        return "; ".join(failures)

    async def close(self) -> None:
        """No more blocks are pulled, and every ledger is closed."""
        tasks = [task for _, task in self._pullers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    def _validate(self, genesis: common_pb2.Block, config: ChannelConfig) -> None:
        if config.channel_id in self._channels:
            raise JoinRefused(
                "cannot create ledger from genesis block: ledger "
                f"[{config.channel_id}] already exists with state [ACTIVE]"
            )
        if genesis.header.number != 0:
            raise JoinRefused("the block is not block 0 of its channel")
        unsupported = config.capabilities.unsupported()
        if unsupported:
            raise JoinRefused(
                f'"JoinChain" for channelID = {config.channel_id} failed because of validation of '
                f"configuration block, because of Failed capabilities check: [{unsupported[0]}]"
            )
        if not config.has_orderer:
            raise JoinRefused(
                f"[channel {config.channel_id}] cannot create channel because ChannelConfig is "
                "missing OrdererConfig"
            )

    async def _create(self, genesis: common_pb2.Block, channel_id: str) -> PeerChannel:
        temporary, final = self._folder / f"{_JOINING}{channel_id}", self._folder / channel_id
        if temporary.exists():
            await asyncio.to_thread(shutil.rmtree, temporary)
        new = await PeerChannel.create(temporary, genesis, self._identity, self._state)
        await new.close()
        temporary.rename(final)
        return await PeerChannel.open(final, self._identity, self._state)

    def _add(self, channel: PeerChannel) -> None:
        self._channels[channel.channel_id] = channel
        channel.add_listener(lambda block: self._when_committed(channel, block))

    def _start_pulling(self, channel: PeerChannel) -> None:
        puller = self._build_puller(channel)
        task = asyncio.create_task(puller.run(), name=f"pull {channel.channel_id}")
        self._pullers[channel.channel_id] = (puller, task)
