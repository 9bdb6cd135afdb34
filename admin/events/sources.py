"""Events off the ledger as deliveries: with their transaction's time, and what may be sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

from admin.events.deliveries import LooksLikeHealthInformation, build_delivery, build_withheld
from admin.events.following import DELAYS, Filter, Follower
from admin.events.forwarding import Incoming
from network.client import ChaincodeEvent
from network.client.channel import get_transaction
from network.client.checkpoint import Position
from network.client.errors import UNREACHABLE, NodeError
from network.client.peer import PeerClient
from network.rules.envelope import open_envelope


async def read_incoming(
    follower: Follower, start: Position, wanted: Filter, *, count: int | None = None
) -> AsyncIterator[Incoming]:
    """Yield every event after `start`, those that are not wanted to be passed over.

    Args:
        follower: the channel's events.
        start: where to begin.
        wanted: which are sent.
        count: end after so many wanted ones; None is never.

    Raises:
        EventsError: the gateway refuses, or cannot be reached at first.
    """
    seen = 0
    async with (
        PeerClient(follower.endpoint, follower.signer) as peer,
        aclosing(follower.follow(start)) as events,  # type: ignore[type-var]
    ):
        async for event in events:
            position = Position(event.block_number, event.transaction_id)
            if not wanted.wants(event):
                yield Incoming(position, None)
                continue
            at = await _find_time(peer, follower.network.channel_id, event)
            yield _prepare(event, position, follower.network.channel_id, at)
            seen += 1
            if seen == count:
                return


def _prepare(event: ChaincodeEvent, position: Position, channel_id: str, at: datetime) -> Incoming:
    try:
        return Incoming(position, build_delivery(event, channel_id, at))
    except LooksLikeHealthInformation as refusal:
        return Incoming(position, build_withheld(event), f"withheld: {refusal}")


async def _find_time(peer: PeerClient, channel_id: str, event: ChaincodeEvent) -> datetime:
    """The transaction's own timestamp: the same for everyone, and at every attempt."""
    failures = 0
    while True:
        try:
            found = await get_transaction(peer, channel_id, event.transaction_id)
        except NodeError as failure:
            if failure.status not in UNREACHABLE:
                raise
            await asyncio.sleep(DELAYS[min(failures, len(DELAYS) - 1)])
            failures += 1
            continue
        envelope = open_envelope(found.transactionEnvelope.SerializeToString())
        at: datetime = envelope.channel_header.timestamp.ToDatetime(tzinfo=UTC)
        return at
