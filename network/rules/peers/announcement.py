"""Announcements: what a peer says of itself on a channel, and whether it may be believed.

An announcement is signed by the peer's identity and concerns one channel, so it needs no session
and can be passed on by others. Source of the shape: gossip's alive and state-info messages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fabric_protos.msp import msp_principal_pb2
from google.protobuf.message import DecodeError

from network.rules.channel.config import ChannelConfig
from network.rules.identity.identity import Identity, IdentityError, Signer, verify_signature
from network.rules.identity.principals import role_principal
from protos import membership_pb2

MAX_ENDPOINT = 260
"""Characters: a host name has at most 253, a port 5."""
MAX_CHAINCODES = 1000


class BadAnnouncement(ValueError):
    """The announcement is not believed; the text says why."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a peer says of itself."""

    channel_id: str
    endpoint: str
    made_at: datetime
    height: int
    chaincodes: Mapping[str, str] = field(default_factory=dict)
    """name → version of what it can endorse."""
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Announced:
    """A believed announcement and who made it."""

    announcement: Announcement
    identity: Identity
    serialized_identity: bytes = field(repr=False)

    @property
    def peer_id(self) -> str:
        """What tells peers apart."""
        return compute_peer_id(self.identity)


def compute_peer_id(identity: Identity) -> str:
    """Hex SHA-256 over MSP id and certificate."""
    return hashlib.sha256(identity.msp_id.encode() + b"\0" + identity.der).hexdigest()


def build_announcement(
    announcement: Announcement, signer: Signer
) -> membership_pb2.SignedAnnouncement:
    """The announcement, signed."""
    message = membership_pb2.Announcement(
        channel_id=announcement.channel_id,
        identity=signer.creator,
        endpoint=announcement.endpoint,
        ledger_height=announcement.height,
        chaincodes=[
            membership_pb2.Chaincode(name=name, version=version)
            for name, version in sorted(announcement.chaincodes.items())
        ],
        leaving=announcement.leaving,
    )
    message.timestamp.FromDatetime(announcement.made_at)
    raw = message.SerializeToString()
    return membership_pb2.SignedAnnouncement(announcement=raw, signature=signer.sign(raw))


def open_channel_id(signed: membership_pb2.SignedAnnouncement) -> str:
    """The channel that an announcement claims to be about, nothing verified yet.

    Raises:
        BadAnnouncement: it cannot be read.
    """
    return str(_parse(signed.announcement).channel_id)


def open_announcement(
    signed: membership_pb2.SignedAnnouncement,
    config: ChannelConfig,
    now: datetime,
    window: timedelta,
) -> Announced:
    """The announcement, made by a peer of the channel at most `window` from now.

    Raises:
        BadAnnouncement: it cannot be believed.
    """
    message = _parse(signed.announcement)
    if message.channel_id != config.channel_id:
        raise BadAnnouncement("the announcement is about another channel")
    if not 0 < len(message.endpoint) <= MAX_ENDPOINT or ":" not in message.endpoint:
        raise BadAnnouncement("the announced endpoint is not host:port")
    if len(message.chaincodes) > MAX_CHAINCODES:
        raise BadAnnouncement("too many chaincodes are announced")
    try:
        made_at = message.timestamp.ToDatetime(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        raise BadAnnouncement("the announcement's time cannot be read") from None
    if abs(now - made_at) > window:
        raise BadAnnouncement("the announcement's time is too far from this peer's clock")
    identity = validate_peer(message.identity, signed.announcement, signed.signature, config)
    if now > identity.not_after:
        raise BadAnnouncement(f"the certificate of the peer of {identity.msp_id} has expired")
    announcement = Announcement(
        channel_id=message.channel_id,
        endpoint=message.endpoint,
        made_at=made_at,
        height=message.ledger_height,
        chaincodes={chaincode.name: chaincode.version for chaincode in message.chaincodes},
        leaving=message.leaving,
    )
    return Announced(announcement, identity, message.identity)


def validate_peer(
    serialized: bytes, data: bytes, signature: bytes, config: ChannelConfig
) -> Identity:
    """`data` is signed by a peer of an application organisation of the channel, which is returned.

    Where an MSP has no NodeOUs, peers cannot be told from other members and any member passes,
    as in Fabric's gossip.

    Raises:
        BadAnnouncement: it is not.
    """
    try:
        identity = config.msps.identity(serialized)
        if config.application_org_by_msp_id(identity.msp_id) is None:
            raise BadAnnouncement(f"{identity.msp_id} is no member of the channel")
        roles = msp_principal_pb2.MSPRole
        told_apart = config.msps.msp(identity.msp_id).node_ous is not None
        role = roles.PEER if told_apart else roles.MEMBER
        config.msps.satisfies(identity, role_principal(identity.msp_id, role))
        verify_signature(identity, data, signature)
    except IdentityError as error:
        raise BadAnnouncement(f"the sender is not a peer of the channel: {error}") from None
    return identity


def _parse(raw: bytes) -> membership_pb2.Announcement:
    try:
        return membership_pb2.Announcement.FromString(raw)
    except DecodeError:
        raise BadAnnouncement("the announcement cannot be read") from None
