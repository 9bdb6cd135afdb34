"""Streams of what was committed: chaincode events, blocks, filtered blocks.

A stream with a checkpoint delivers at least once: an item counts as handled when the next one is
asked for, so that a crash in the middle of handling brings the item again.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fabric_protos.gateway import gateway_pb2
from fabric_protos.orderer import ab_pb2

from network.client.checkpoint import Checkpoint, Position
from network.client.errors import EventsError
from network.client.seek import Seek, once, open_deliver, seek_envelope
from network.client.session import Session

RECONNECT_DELAYS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds; the last one repeats


@dataclass(frozen=True, slots=True)
class ChaincodeEvent:
    """An event that a valid transaction set.

    Attributes:
        name: the event's name.
        chaincode: the chaincode that set it.
        transaction_id: the transaction that carried it.
        block_number: the block that holds the transaction.
        payload: the event's bytes.
    """

    name: str
    chaincode: str
    transaction_id: str
    block_number: int
    payload: bytes

    def json(self) -> Any:
        """The payload read as JSON; None when it is empty.

        Raises:
            ValueError: the payload is not JSON.
        """
        return json.loads(self.payload) if self.payload else None


async def chaincode_events(
    session: Session,
    channel_id: str,
    chaincode: str,
    *,
    start: Position | None = None,
    checkpoint: Checkpoint | None = None,
    reconnect: bool = False,
) -> AsyncIterator[ChaincodeEvent]:
    """A chaincode's events from a position on; from the next commit when none is given.

    Args:
        session: the connection and identity to listen with.
        channel_id: the channel.
        chaincode: the chaincode's name.
        start: where to begin; a checkpoint with a position goes before it.
        checkpoint: keeps the position; see the module's docstring.
        reconnect: go on after the gateway was away, from where the stream broke.

    Raises:
        EventsError: the stream broke (with `reconnect`, for another reason than the gateway
            being away).
    """
    position = (checkpoint.position if checkpoint else None) or start
    failures = 0
    while True:
        try:
            async for event in _listen(session, channel_id, chaincode, position):
                failures = 0
                yield event
                position = Position(event.block_number, event.transaction_id)
                if checkpoint:
                    checkpoint.record_transaction(event.block_number, event.transaction_id)
            return
        except EventsError as failure:
            if not (reconnect and failure.status == "UNAVAILABLE"):
                raise
            await asyncio.sleep(RECONNECT_DELAYS[min(failures, len(RECONNECT_DELAYS) - 1)])
            failures += 1


async def _listen(
    session: Session, channel_id: str, chaincode: str, position: Position | None
) -> AsyncIterator[ChaincodeEvent]:
    request = gateway_pb2.ChaincodeEventsRequest(
        channel_id=channel_id, chaincode_id=chaincode, identity=session.signer.creator
    )
    if position is None:
        request.start_position.next_commit.CopyFrom(ab_pb2.SeekNextCommit())
    else:
        request.start_position.specified.number = position.block_number
        request.after_transaction_id = position.transaction_id
    raw = request.SerializeToString(deterministic=True)
    signed = gateway_pb2.SignedChaincodeEventsRequest(
        request=raw, signature=session.signer.sign(raw)
    )
    async with aclosing(session.calls.chaincode_events(signed)) as responses:
        async for response in responses:
            for event in response.events:
                yield ChaincodeEvent(
                    event.event_name,
                    event.chaincode_id,
                    event.tx_id,
                    int(response.block_number),
                    bytes(event.payload),
                )


async def blocks(
    session: Session,
    channel_id: str,
    method: str,
    seek: Seek,
    checkpoint: Checkpoint | None = None,
) -> AsyncIterator[Any]:
    """Blocks (`common.Block`, `FilteredBlock` or `BlockAndPrivateData`) from a Deliver service.

    Args:
        session: the connection and identity to listen with.
        channel_id: the channel.
        method: `Deliver`, `DeliverFiltered` or `DeliverWithPrivateData`.
        seek: which blocks; a checkpoint with a position replaces its start.
        checkpoint: keeps the position; see the module's docstring.

    Raises:
        EventsError: the stream broke, or the peer refused the request.
    """
    if checkpoint and checkpoint.position:
        seek = Seek(checkpoint.position.block_number, seek.stop, seek.wait)
    calls = session.calls
    envelope = seek_envelope(
        channel_id, seek, session.signer, tls_cert_hash=calls.endpoint.tls_cert_hash
    )
    call = calls.deliver(method, once(envelope))
    async with aclosing(open_deliver(call, calls.endpoint.address)) as found:
        async for block in found:
            yield block
            if checkpoint:
                checkpoint.record_block(block_number(block))


def block_number(block: Any) -> int:
    """The number of a block in any of the three forms that Deliver gives."""
    if hasattr(block, "header"):
        return int(block.header.number)
    return int(block.number) if hasattr(block, "number") else int(block.block.header.number)
