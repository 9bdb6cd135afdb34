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
from network.node.ledger.block_commit import CommittedBlock
from network.node.ledger.channel import PeerChannel
from network.node.ledger.snapshot_import import ImportStopped, import_snapshot, load_metadata
from network.node.ledger.store import DEFAULT_STATE, StateOptions, StoreError
from network.node.peering.block_puller import BlockPuller
from network.rules.channel.config import ChannelConfig, InvalidConfig
from network.rules.snapshots.form import MalformedSnapshot

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
        snapshots: Path,
        state: StateOptions = DEFAULT_STATE,
    ) -> None:
        """`identity` is the peer's SerializedIdentity; the callbacks run in the event loop.

        `when_joined` is also called for each channel opened from disk. Ledgers make their snapshots
        below `snapshots`.
        """
        self._folder = folder
        self._identity = identity
        self._snapshots = snapshots
        self._state = state
        self._build_puller = build_puller
        self._when_joined = when_joined
        self._when_committed = when_committed
        self._channels: dict[str, PeerChannel] = {}
        self._pullers: dict[str, tuple[BlockPuller, asyncio.Task[None]]] = {}
        self._joining = asyncio.Lock()
        self._closing = False
        self._joining_snapshot: tuple[str, asyncio.Task[None]] | None = None

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
        self._validate_idle("cannot create ledger from genesis block")
        async with self._joining:
            try:
                config = ChannelConfig.from_block(genesis)
                self._validate(genesis, config)
                channel = await self._create(genesis, config.channel_id)
            except (InvalidConfig, StoreError, OSError) as error:
                raise JoinRefused(f"cannot create ledger from genesis block: {error}") from error
            self._begin(channel)

    def join_by_snapshot(self, folder: str) -> None:
        """The channel of the snapshot in `folder` is being joined; how that ends is in the log.

        Raises:
            JoinRefused: another is being joined so, or there is nothing in the folder.
        """
        failed = f"cannot create ledger from snapshot {folder}"
        try:
            if not any(Path(folder).iterdir()):
                raise JoinRefused(f"{failed}: snapshot dir {folder} is empty")
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise JoinRefused(
                f"{failed}: error opening dir [{folder}]: open {folder}: {reason}"
            ) from None
        self._validate_idle(failed)
        task = asyncio.create_task(self._join_by_snapshot(folder), name=f"join {folder}")
        self._joining_snapshot = (folder, task)

    @property
    def joining_snapshot(self) -> str | None:
        """The folder of the snapshot by which a channel is being joined, or None."""
        return self._joining_snapshot[0] if self._joining_snapshot else None

    def check_health(self) -> str:
        """Which channel cannot go on, and why; empty when all is well."""
        failures = {
            channel_id: puller.fault for channel_id, (puller, _) in self._pullers.items()
        } | {name: channel.failure for name, channel in self._channels.items() if channel.failure}
        return "; ".join(f"channel {name}: {why}" for name, why in failures.items() if why)

    async def close(self) -> None:
        """No more blocks are pulled, and every ledger is closed."""
        if self._joining_snapshot is not None:
            self._closing = True
            await self._joining_snapshot[1]
        tasks = [task for _, task in self._pullers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    def _validate(self, genesis: common_pb2.Block, config: ChannelConfig) -> None:
        self._validate_new(config.channel_id, "cannot create ledger from genesis block")
        if genesis.header.number != 0:
            raise JoinRefused("the block is not block 0 of its channel")
        _validate_usable(config)

    def _validate_new(self, channel_id: str, failed: str) -> None:
        if channel_id in self._channels:
            raise JoinRefused(f"{failed}: ledger [{channel_id}] already exists with state [ACTIVE]")

    def _validate_idle(self, failed: str) -> None:
        if self._joining_snapshot is not None:
            raise JoinRefused(
                f"{failed}: a ledger is being created from a snapshot at"
                f" {self._joining_snapshot[0]}. Call ledger creation again after it is done."
            )

    async def _create(self, genesis: common_pb2.Block, channel_id: str) -> PeerChannel:
        temporary = await self._clear(channel_id)
        new = await PeerChannel.create(temporary, genesis, self._identity, self._state)
        await new.close()
        return await self._open_new(temporary, channel_id)

    async def _join_by_snapshot(self, folder: str) -> None:
        snapshot = Path(folder)
        log.info("Creating ledger from snapshot at %s", folder)
        try:
            async with self._joining:
                metadata = await asyncio.to_thread(load_metadata, snapshot)
                self._validate_new(metadata.channel_id, "error while creating ledger id")
                channel = await self._import(snapshot, metadata.channel_id)
                self._begin(channel)
        except (JoinRefused, MalformedSnapshot, InvalidConfig, StoreError, OSError) as error:
            log.error("Error creating ledger from snapshot at %s: %s", folder, error)
        except ImportStopped:
            log.warning("Creating ledger from snapshot at %s was broken off", folder)
        except Exception:
            log.exception("Error creating ledger from snapshot at %s", folder)
        finally:
            self._joining_snapshot = None

    async def _import(self, snapshot: Path, channel_id: str) -> PeerChannel:
        temporary = await self._clear(channel_id)
        try:
            await asyncio.to_thread(
                import_snapshot, temporary, snapshot, self._identity, lambda: self._closing
            )
            new = await PeerChannel.open(temporary, self._identity, self._state)
            await new.close()
            _validate_usable(new.config)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True)
            raise
        return await self._open_new(temporary, channel_id)

    async def _clear(self, channel_id: str) -> Path:
        """The folder in which a channel is made ready; what an interruption left is gone."""
        temporary = self._folder / f"{_JOINING}{channel_id}"
        if temporary.exists():
            await asyncio.to_thread(shutil.rmtree, temporary)
        return temporary

    async def _open_new(self, temporary: Path, channel_id: str) -> PeerChannel:
        final = self._folder / channel_id
        await asyncio.to_thread(temporary.rename, final)
        return await PeerChannel.open(final, self._identity, self._state)

    def _begin(self, channel: PeerChannel) -> None:
        self._add(channel)
        self._start_pulling(channel)
        self._when_joined(channel)
        log.info("joined channel %s", channel.channel_id)

    def _add(self, channel: PeerChannel) -> None:
        channel.ledger.snapshots.enable(self._snapshots)
        self._channels[channel.channel_id] = channel
        channel.add_listener(lambda block: self._when_committed(channel, block))

    def _start_pulling(self, channel: PeerChannel) -> None:
        puller = self._build_puller(channel)
        task = asyncio.create_task(puller.run(), name=f"pull {channel.channel_id}")
        self._pullers[channel.channel_id] = (puller, task)


def _validate_usable(config: ChannelConfig) -> None:
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
