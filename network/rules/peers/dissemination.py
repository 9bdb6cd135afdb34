"""To which peers private data goes, and what requests for it say.

Source of the choice: gossip/privdata/distributor.go: one peer of each eligible organisation first,
then others, up to the collection's maximum; the first of them must acknowledge, as many as the
collection requires.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import DecodeError

from network.rules.channel.config import ChannelConfig
from network.rules.endorsement.plan import Endorser
from network.rules.identity.identity import Identity, Signer
from network.rules.peers.announcement import BadAnnouncement, validate_peer
from protos import private_data_pb2


class TooFewPeers(ValueError):
    """Fewer peers may hold the data than must; the text is Fabric's."""


class BadRequest(ValueError):
    """A request for or with private data that is refused; the text says why."""


@dataclass(frozen=True, slots=True)
class Dissemination:
    """Who gets one collection's data, in this order; the first `required` must acknowledge."""

    peers: tuple[Endorser, ...]
    required: int


def choose_peers(
    eligible: Sequence[Endorser],
    required: int,
    maximum: int,
    shuffle: Callable[[list[Endorser]], None],
) -> Dissemination:
    """The peers that one collection's data is pushed to.

    Raises:
        TooFewPeers: fewer than `required` are eligible.
    """
    if len(eligible) < required:
        raise TooFewPeers(
            f"required to disseminate to at least {required} peers, but know of only "
            f"{len(eligible)} eligible peers"
        )
    mixed = list(eligible)
    shuffle(mixed)
    first: dict[str, Endorser] = {}
    for peer in mixed:
        first.setdefault(peer.msp_id, peer)
    rest = [peer for peer in mixed if first[peer.msp_id] is not peer]
    chosen = [*first.values(), *rest][: max(maximum, 0)]
    return Dissemination(tuple(chosen), min(required, len(chosen)))


def build_header(
    channel_id: str, signer: Signer, recipient: str, now: datetime
) -> private_data_pb2.RequestHeader:
    """The header of a request that only `recipient` ("host:port") will heed."""
    header = private_data_pb2.RequestHeader(
        channel_id=channel_id, identity=signer.creator, recipient=recipient
    )
    header.timestamp.FromDatetime(now)
    return header


def sign_request(request: Any, signer: Signer) -> private_data_pb2.SignedRequest:
    """The PushRequest or PullRequest, signed."""
    raw = request.SerializeToString()
    return private_data_pb2.SignedRequest(request=raw, signature=signer.sign(raw))


def open_request(kind: Any, signed: private_data_pb2.SignedRequest) -> Any:
    """The request, nothing verified yet. Raises BadRequest."""
    try:
        return kind.FromString(signed.request)
    except DecodeError:
        raise BadRequest("the request cannot be read") from None


def validate_request(
    header: private_data_pb2.RequestHeader,
    signed: private_data_pb2.SignedRequest,
    config: ChannelConfig,
    recipient: str,
    now: datetime,
    window: timedelta,
) -> Identity:
    """The request comes from a peer of the channel, is fresh and meant for us; returns the peer.

    Raises:
        BadRequest: it is refused.
    """
    if header.recipient != recipient:
        # Whoever was asked first could otherwise ask others in the caller's name.
        raise BadRequest(f"the request is meant for another peer than {recipient}")
    try:
        made_at = header.timestamp.ToDatetime(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        raise BadRequest("the request's time cannot be read") from None
    if abs(now - made_at) > window:
        raise BadRequest("the request's time is too far from this peer's clock")
    try:
        return validate_peer(header.identity, signed.request, signed.signature, config)
    except BadAnnouncement as error:
        raise BadRequest(str(error)) from None
