"""Which peers are on a channel, where they are, how far they are, and what they can endorse.

Each peer announces itself, signed, to the channel's anchor peers and to every peer it knows: at
once when something about it changes, and every second. Each answer carries what the other knows, so
newcomers learn of everybody from one anchor peer. A peer not heard of for a while is forgotten.
Nothing is kept on disk.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import grpc

from network.node.serving.connections import Connections
from network.rules.channel.config import ChannelConfig
from network.rules.endorsement.plan import Endorser
from network.rules.identity.identity import Identity, Signer, read_identity
from network.rules.identity.msp import UnknownMsp
from network.rules.peers.announcement import (
    Announced,
    Announcement,
    BadAnnouncement,
    build_announcement,
    compute_peer_id,
    open_announcement,
    open_channel_id,
)
from protos import membership_pb2, membership_pb2_grpc

log = logging.getLogger("membership")

MAX_EXCHANGED = 1000
"""Announcements in one message; more are not read."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between announcements (and while nobody else is known), until a silent peer is
    forgotten, and for one exchange."""

    interval: float = 1.0
    lonely_interval: float = 0.25
    expiry: float = 10.0
    timeout: float = 3.0


DEFAULT_PACE = Pace()


@dataclass(frozen=True, slots=True)
class Member:
    """A peer on a channel."""

    endorser: Endorser
    identity: Identity = field(repr=False)
    serialized_identity: bytes = field(repr=False)
    height: int
    chaincodes: dict[str, str]
    """name → sequence of the definition that it can endorse under."""


class AnnouncedChannel(Protocol):
    """A channel as this peer announces it."""

    @property
    def channel_id(self) -> str:
        """Its name."""
        ...

    @property
    def config(self) -> ChannelConfig:
        """Its newest configuration."""
        ...

    @property
    def height(self) -> int:
        """How many blocks this peer has."""
        ...


@dataclass(slots=True)
class _Known:
    signed: membership_pb2.SignedAnnouncement
    announced: Announced
    expires: float
    member: Member
    suspected: bool = False


class Membership:
    """What this peer knows of the other peers of its channels."""

    def __init__(
        self,
        signer: Signer,
        endpoint: str,
        connections: Connections,
        get_channels: Callable[[], Iterable[AnnouncedChannel]],
        get_chaincodes: Callable[[str], dict[str, str]],
        *,
        bootstrap: Sequence[str] = (),
        pace: Pace = DEFAULT_PACE,
        time_window: timedelta = timedelta(minutes=15),
    ) -> None:
        """`get_chaincodes` gives name → sequence of what this peer can endorse on a channel;
        `bootstrap` are addresses of peers of its own organisation, to meet without anchor peers."""
        self._signer = signer
        self.endpoint = endpoint
        self._connections = connections
        self._get_channels = get_channels
        self._get_chaincodes = get_chaincodes
        self._bootstrap = tuple(bootstrap)
        self._pace = pace
        self._time_window = time_window
        self.identity = read_identity(signer.creator)
        self.peer_id = compute_peer_id(self.identity)
        self._known: dict[str, dict[str, _Known]] = {}
        self._wake = asyncio.Event()
        self._leaving = False
        self._selves: dict[str, Member] = {}
        self._last_time: dict[str, datetime] = {}
        self._exchanges: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._when_silent: list[Callable[[str], None]] = []

    # --- what others ask ----------------------------------------------------------------------

    @property
    def channel_ids(self) -> list[str]:
        """The channels that this peer announces itself on."""
        return [channel.channel_id for channel in self._get_channels()]

    def members(self, channel_id: str) -> list[Member]:
        """The live peers of the channel, this one first; suspected ones are left out."""
        channel = self._find_channel(channel_id)
        if channel is None:
            return []
        others = [known.member for known in self._list_live(channel_id)]
        return [self._build_self(channel), *others]

    def get_self(self) -> Member:
        """This peer, of no channel."""
        return Member(
            Endorser(self.peer_id, self._signer.msp_id, self.endpoint),
            self.identity,
            self._signer.creator,
            0,
            {},
        )

    def suspect(self, channel_id: str, peer_id: str) -> None:
        """The peer could not be reached: it is passed over until it announces itself again."""
        known = self._known.get(channel_id, {}).get(peer_id)
        if known is not None:
            known.suspected = True

    def when_silent(self, listener: Callable[[str], None]) -> None:
        """`listener` is called with the id of a peer that has announced nothing for too long."""
        self._when_silent.append(listener)

    def wake(self) -> None:
        """Something about this peer has changed: others are told at once."""
        self._wake.set()

    # --- announcing ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Announces this peer until cancelled, and then says good-bye."""
        try:
            while True:
                self._wake.clear()
                company = self._announce()
                pause = self._pace.interval if company else self._pace.lonely_interval
                try:
                    jitter = random.uniform(0.9, 1.1)  # noqa: S311
                    await asyncio.wait_for(self._wake.wait(), pause * jitter)
                except TimeoutError:
                    continue
                await asyncio.sleep(0.02)  # several changes at once are one announcement
        finally:
            self._leaving = True
            self._announce()
            await asyncio.wait({*self._exchanges.values(), _nothing()}, timeout=1.0)

    def _announce(self) -> bool:
        """Starts telling everybody; returns whether each channel has other peers."""
        company = True
        for channel in self._get_channels():
            self._expire(channel.channel_id)
            targets = self._list_targets(channel)
            live = self._list_live(channel.channel_id)
            company = company and (bool(live) or not targets)
            request = membership_pb2.ExchangeRequest(
                announcements=[self._sign(channel), *(known.signed for known in live)]
            )
            for address, roots in targets.items():
                self._start_exchange(channel, address, roots, request)
        return company

    def _start_exchange(
        self,
        channel: AnnouncedChannel,
        address: str,
        roots: tuple[bytes, ...],
        request: membership_pb2.ExchangeRequest,
    ) -> None:
        """One exchange at a time with each peer: a slow one does not keep the others waiting."""
        key = (channel.channel_id, address)
        if key in self._exchanges and not self._leaving:
            return
        task = asyncio.create_task(self._exchange(channel, address, roots, request))
        self._exchanges[key] = task
        task.add_done_callback(lambda _: self._exchanges.pop(key, None))

    def _sign(self, channel: AnnouncedChannel) -> membership_pb2.SignedAnnouncement:
        # Always later than the one before, so that it replaces it even within a clock tick.
        now = datetime.now(UTC)
        last = self._last_time.get(channel.channel_id)
        if last is not None and now <= last:
            now = last + timedelta(microseconds=1)
        self._last_time[channel.channel_id] = now
        announcement = Announcement(
            channel_id=channel.channel_id,
            endpoint=self.endpoint,
            made_at=now,
            height=channel.height,
            chaincodes=self._get_chaincodes(channel.channel_id),
            leaving=self._leaving,
        )
        return build_announcement(announcement, self._signer)

    def _list_targets(self, channel: AnnouncedChannel) -> dict[str, tuple[bytes, ...]]:
        """Address → TLS roots of the anchor peers, of this organisation's peers that the settings
        name, and of every known peer."""
        targets: dict[str, tuple[bytes, ...]] = {}
        config = channel.config
        if self._bootstrap and config.application_org_by_msp_id(self.identity.msp_id):
            targets = dict.fromkeys(self._bootstrap, config.tls_roots(self.identity.msp_id))
        for org in config.application_orgs.values():
            for host, port in org.anchor_peers:
                targets[f"{host}:{port}"] = config.tls_roots(org.msp_id)
        for known in self._known.get(channel.channel_id, {}).values():
            try:
                roots = config.tls_roots(known.announced.identity.msp_id)
            except UnknownMsp:
                continue  # its organisation has left the channel
            targets[known.announced.announcement.endpoint] = roots
        targets.pop(self.endpoint, None)
        return targets

    async def _exchange(
        self,
        channel: AnnouncedChannel,
        address: str,
        roots: tuple[bytes, ...],
        request: membership_pb2.ExchangeRequest,
    ) -> None:
        stub = membership_pb2_grpc.MembershipStub(self._connections.get(address, roots))
        try:
            answer = await stub.Exchange(request, timeout=self._pace.timeout)
        except grpc.aio.AioRpcError as error:
            log.debug("announcing to %s: %s", address, error.code().name)
            return
        for signed in answer.announcements[:MAX_EXCHANGED]:
            self._learn(channel, signed)

    # --- learning -----------------------------------------------------------------------------

    def receive(self, request: membership_pb2.ExchangeRequest) -> membership_pb2.ExchangeResponse:
        """What this peer knows of the caller's channel, which it learns in turn.

        Raises:
            BadAnnouncement: the caller is not a peer of a channel that this peer has joined.
        """
        if not request.announcements:
            raise BadAnnouncement("nothing is announced")
        channel = self._find_channel(open_channel_id(request.announcements[0]))
        if channel is None:
            raise BadAnnouncement("this peer has not joined the channel")
        self._learn(channel, request.announcements[0], strict=True)
        for signed in request.announcements[1:MAX_EXCHANGED]:
            self._learn(channel, signed)
        live = [known.signed for known in self._list_live(channel.channel_id)]
        return membership_pb2.ExchangeResponse(announcements=[self._sign(channel), *live])

    def _learn(
        self,
        channel: AnnouncedChannel,
        signed: membership_pb2.SignedAnnouncement,
        *,
        strict: bool = False,
    ) -> None:
        """The announcement is remembered if it is good and newer than what is known.

        Raises:
            BadAnnouncement: it is bad, and `strict` is asked for.
        """
        known = self._known.setdefault(channel.channel_id, {})
        if not strict and any(signed == entry.signed for entry in known.values()):
            return  # seen and verified before
        try:
            announced = open_announcement(
                signed, channel.config, datetime.now(UTC), self._time_window
            )
        except BadAnnouncement as error:
            log.debug("announcement not believed: %s", error)
            if strict:
                raise
            return
        peer_id, announcement = announced.peer_id, announced.announcement
        if peer_id == self.peer_id:
            return
        old = known.get(peer_id)
        if old is not None and old.announced.announcement.made_at >= announcement.made_at:
            return
        if announcement.leaving:
            # Kept for a while without being a member, so that older words do not revive it.
            member = _build_member(announced)
            known[peer_id] = _Known(signed, announced, self._deadline(), member, suspected=True)
            return
        if old is None or old.suspected:
            log.info(
                "channel %s: peer %s (%s) is here",
                channel.channel_id, announcement.endpoint, announced.identity.msp_id,
            )  # fmt: skip
            # A connection to where it was before would wait out its pause before dialling again.
            self._connections.drop(announcement.endpoint)
            self._wake.set()
        known[peer_id] = _Known(signed, announced, self._deadline(), _build_member(announced))

    def _deadline(self) -> float:
        return time.monotonic() + self._pace.expiry

    def _list_live(self, channel_id: str) -> list[_Known]:
        now = time.monotonic()
        return [
            known
            for known in self._known.get(channel_id, {}).values()
            if known.expires > now and not known.suspected
        ][: MAX_EXCHANGED - 1]

    def _expire(self, channel_id: str) -> None:
        """Peers silent for too long are no members, but their last word is kept for a while:
        another peer that still believes it must not bring them back."""
        now = time.monotonic()
        known = self._known.get(channel_id, {})
        kept = self._time_window.total_seconds()
        for peer_id, entry in list(known.items()):
            if entry.expires <= now and not entry.suspected:
                entry.suspected = True
                log.info(
                    "channel %s: peer %s is silent",
                    channel_id, entry.announced.announcement.endpoint,
                )  # fmt: skip
                for listener in self._when_silent:
                    listener(peer_id)
            if entry.expires + kept <= now:
                del known[peer_id]

    def _find_channel(self, channel_id: str) -> AnnouncedChannel | None:
        return next(
            (channel for channel in self._get_channels() if channel.channel_id == channel_id), None
        )

    def _build_self(self, channel: AnnouncedChannel) -> Member:
        chaincodes, height = self._get_chaincodes(channel.channel_id), channel.height
        built = self._selves.get(channel.channel_id)
        if built is None or built.height != height or built.chaincodes != chaincodes:
            built = replace(self.get_self(), height=height, chaincodes=chaincodes)
            self._selves[channel.channel_id] = built
        return built


class MembershipService(membership_pb2_grpc.MembershipServicer):  # type: ignore[misc]
    """`medfabric.membership.Membership` over gRPC."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    async def Exchange(  # noqa: D102  the service's method
        self, request: membership_pb2.ExchangeRequest, context: Any
    ) -> membership_pb2.ExchangeResponse:
        try:
            return self._membership.receive(request)
        except BadAnnouncement as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
            raise AssertionError("abort raises") from None


def _nothing() -> asyncio.Future[None]:
    """Something that has ended already: asyncio.wait refuses an empty set."""
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


def _build_member(announced: Announced) -> Member:
    announcement = announced.announcement
    return Member(
        Endorser(announced.peer_id, announced.identity.msp_id, announcement.endpoint),
        announced.identity,
        announced.serialized_identity,
        announcement.height,
        dict(announcement.chaincodes),
    )
