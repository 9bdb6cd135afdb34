"""What a committed block tells clients: filtered blocks and chaincode events.

Source: core/peer/deliverevents.go, core/ledger/kvledger (chaincode events), internal/pkg/gateway.
"""

from dataclasses import dataclass
from typing import Any

from fabric_protos.common import common_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    events_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)
from google.protobuf.message import DecodeError

from network.rules.validation.commit_hash import get_validation_codes


@dataclass(frozen=True, slots=True)
class ChaincodeEvent:
    """An event that a valid transaction emitted."""

    block: int
    tx_id: str
    chaincode: str
    name: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Transaction:
    tx_id: str
    type: int
    channel_id: str
    events: tuple[Any, ...]


def filtered_block(channel_id: str, block: Any) -> Any:
    """Return the FilteredBlock: ids, types, codes, and events without their payload."""
    codes = get_validation_codes(block)
    filtered = events_pb2.FilteredBlock(channel_id=channel_id, number=block.header.number)
    for index, raw in enumerate(block.data.data):
        found = _open(raw)
        entry = filtered.filtered_transactions.add(
            txid=found.tx_id,
            type=found.type,
            tx_validation_code=codes[index] if index < len(codes) else 0,
        )
        if found.type != common_pb2.ENDORSER_TRANSACTION:
            continue
        entry.transaction_actions.SetInParent()
        for event in found.events:
            action = entry.transaction_actions.chaincode_actions.add()
            action.chaincode_event.CopyFrom(event)
            action.chaincode_event.ClearField("payload")
    return filtered


def chaincode_events(block: Any) -> list[ChaincodeEvent]:
    """Return the events of the block's valid transactions, in order.

    An event without chaincode, name or transaction id does not count (gateway).
    """
    codes = get_validation_codes(block)
    return [
        ChaincodeEvent(
            block.header.number, event.tx_id, event.chaincode_id, event.event_name, event.payload
        )
        for index, raw in enumerate(block.data.data)
        if index < len(codes) and codes[index] == transaction_pb2.VALID
        for event in _open(raw).events
        if event.chaincode_id and event.event_name and event.tx_id
    ]


def _open(raw: bytes) -> _Transaction:
    """Read a transaction as far as it can be read; invalid ones stand in blocks too."""
    try:
        payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(raw).payload)
        header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
    except DecodeError:
        return _Transaction("", 0, "", ())
    events: tuple[Any, ...] = ()
    if header.type == common_pb2.ENDORSER_TRANSACTION:
        events = _open_events(payload.data)
    return _Transaction(header.tx_id, header.type, header.channel_id, events)


def _open_events(data: bytes) -> tuple[Any, ...]:
    events = []
    try:
        for action in transaction_pb2.Transaction.FromString(data).actions:
            opened = transaction_pb2.ChaincodeActionPayload.FromString(action.payload)
            response = proposal_response_pb2.ProposalResponsePayload.FromString(
                opened.action.proposal_response_payload
            )
            result = proposal_pb2.ChaincodeAction.FromString(response.extension)
            event = chaincode_event_pb2.ChaincodeEvent.FromString(result.events)
            if event.chaincode_id:
                events.append(event)
    except DecodeError:
        return ()
    return tuple(events)
