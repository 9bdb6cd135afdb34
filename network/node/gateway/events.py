"""`ChaincodeEvents` of the gateway: the events of valid transactions, block by block.

Source: internal/pkg/gateway/chaincodeevents.go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import chaincode_event_pb2
from google.protobuf.message import DecodeError

from network.node.endorsing.acl import AccessControl, AccessDenied
from network.node.gateway.errors import GatewayError
from network.node.ledger.channel import BlockNotFound, PeerChannel
from network.rules.blocks.block import open_block
from network.rules.endorsement.reply import StatusCode
from network.rules.envelope import SignedData
from network.rules.validation.events import ChaincodeEvent, chaincode_events


class ChaincodeEvents:
    """Streams events from the peer's ledgers."""

    def __init__(
        self, access: AccessControl, get_channel: Callable[[str], PeerChannel | None]
    ) -> None:
        self._access = access
        self._get_channel = get_channel

    async def stream(
        self, signed: gateway_pb2.SignedChaincodeEventsRequest
    ) -> AsyncIterator[gateway_pb2.ChaincodeEventsResponse]:
        """One response per block that has matching events, without end.

        Raises:
            GatewayError: the request is bad, or the caller may not listen.
        """
        request = _open(signed)
        caller = SignedData(signed.request, request.identity, signed.signature)
        try:
            self._access.validate("gateway/ChaincodeEvents", request.channel_id, caller)
        except AccessDenied as denied:
            raise GatewayError(StatusCode.PERMISSION_DENIED, str(denied)) from None
        channel = self._get_channel(request.channel_id)
        if channel is None:
            raise GatewayError(
                StatusCode.NOT_FOUND, f"channel does not exist: {request.channel_id}"
            )
        is_match = _build_match(request)
        number = await _find_start(channel, request)
        while True:
            await channel.wait_for(number)
            if number >= channel.height:
                raise GatewayError(StatusCode.ABORTED, channel.failure)
            try:
                block = open_block(await channel.get_block(number))
            except BlockNotFound as error:
                raise GatewayError(StatusCode.ABORTED, str(error)) from None
            events = [event for event in chaincode_events(block) if is_match(event)]
            if events:
                yield gateway_pb2.ChaincodeEventsResponse(
                    block_number=number, events=[_build_event(event) for event in events]
                )
            number += 1


def _open(
    signed: gateway_pb2.SignedChaincodeEventsRequest,
) -> gateway_pb2.ChaincodeEventsRequest:
    if not signed.request:
        raise GatewayError(StatusCode.INVALID_ARGUMENT, "a chaincode events request is required")
    try:
        return gateway_pb2.ChaincodeEventsRequest.FromString(signed.request)
    except DecodeError:
        raise GatewayError(
            StatusCode.INVALID_ARGUMENT,
            "invalid chaincode events request: proto: cannot parse invalid wire-format data",
        ) from None


def _build_match(
    request: gateway_pb2.ChaincodeEventsRequest,
) -> Callable[[ChaincodeEvent], bool]:
    """Whether an event is wanted; with `after_transaction_id`, only events after that one's.

    A transaction without an event never opens the gate, so nothing is delivered then: so Fabric.
    """
    after = request.after_transaction_id
    passed = not after

    def is_match(event: ChaincodeEvent) -> bool:
        nonlocal passed
        if not passed:
            passed = event.tx_id == after
            return False
        return bool(event.chaincode == request.chaincode_id)

    return is_match


async def _find_start(channel: PeerChannel, request: gateway_pb2.ChaincodeEventsRequest) -> int:
    if request.after_transaction_id:
        try:
            raw = await channel.get_block_by_tx(request.after_transaction_id)
        except BlockNotFound:
            pass
        else:
            return int(open_block(raw).header.number)
    position = request.start_position
    match position.WhichOneof("Type"):
        case "specified":
            return int(position.specified.number)
        case "next_commit" | None:
            return channel.height
        case kind:
            name = "".join(part.capitalize() for part in kind.split("_"))
            raise GatewayError(
                StatusCode.INVALID_ARGUMENT,
                f"invalid start position type: *orderer.SeekPosition_{name}",
            )


def _build_event(event: ChaincodeEvent) -> chaincode_event_pb2.ChaincodeEvent:
    return chaincode_event_pb2.ChaincodeEvent(
        chaincode_id=event.chaincode,
        tx_id=event.tx_id,
        event_name=event.name,
        payload=event.payload,
    )
