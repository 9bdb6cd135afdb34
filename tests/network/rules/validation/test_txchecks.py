"""Nothing in a transaction makes the checks raise, and no mutant of a valid one passes as it."""

from typing import Any

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import transaction_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from network.rules.channel.config import ChannelConfig
from network.rules.validation.events import chaincode_events, filtered_block
from network.rules.validation.txchecks import VALID, CheckedTransaction, check_transaction
from tests.network.node.ledger.test_ledger_replay import read_ledger

BLOCKS = read_ledger("behaviour")
CONFIG = ChannelConfig.from_block(BLOCKS[0])
GOOD: bytes = BLOCKS[7].data.data[0]


def check(raw: bytes) -> CheckedTransaction:
    return check_transaction(raw, "ch", CONFIG.msps)


def test_good_transaction_is_taken_apart() -> None:
    checked = check(GOOD)
    assert (checked.form, checked.content) == (VALID, VALID)
    assert checked.chaincode == "maj"
    assert [identity.msp_id for identity in checked.endorsers] == ["Org1MSP", "Org2MSP"]
    assert len(checked.tx_id) == 64


def test_foreign_channel_has_no_creator() -> None:
    checked = check_transaction(GOOD, "other", CONFIG.msps)
    assert checked.form == transaction_pb2.BAD_CREATOR_SIGNATURE


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutants_never_raise_and_never_pass(data: Any) -> None:
    position = data.draw(st.integers(0, len(GOOD) - 1))
    mutant = bytearray(GOOD)
    match data.draw(st.sampled_from(["flip", "cut", "insert", "drop"])):
        case "flip":
            mutant[position] ^= data.draw(st.integers(1, 255))
        case "cut":
            del mutant[position:]
        case "insert":
            mutant.insert(position, data.draw(st.integers(0, 255)))
        case "drop":
            del mutant[position]
    checked = check(bytes(mutant))
    good = common_pb2.Envelope.FromString(GOOD)
    try:
        same = common_pb2.Envelope.FromString(bytes(mutant)).payload == good.payload
    except Exception:
        same = False
    assert checked.form != VALID or same


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_junk_never_raises(raw: bytes) -> None:
    assert check(raw).form != VALID
    block = common_pb2.Block(data=common_pb2.BlockData(data=[raw]))
    filtered_block("ch", block)
    chaincode_events(block)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no actions: a real peer panics when a good transaction follows"),
        (transaction_pb2.Transaction().SerializeToString(), "no actions"),
        (b"\xff\xff", "unparsable: a real peer waits for ever when a good one follows"),
    ],
)
def test_what_stops_real_peers_has_a_code(data: bytes, why: str) -> None:
    from network.rules.validation.txchecks import _Refused, _validate_form

    with pytest.raises(_Refused) as refused:
        _validate_form(common_pb2.Payload(header=common_pb2.Header(), data=data))
    assert refused.value.code == transaction_pb2.INVALID_ENDORSER_TRANSACTION, why


def test_events_of_valid_transactions_only_and_filtered_ones_have_no_payload() -> None:
    events = [event for block in BLOCKS for event in chaincode_events(block)]
    assert [(event.block, event.name, event.payload) for event in events] == [(26, "E", b"pl")]
    filtered = filtered_block("ch", BLOCKS[26])
    (transaction,) = filtered.filtered_transactions
    (action,) = transaction.transaction_actions.chaincode_actions
    assert action.chaincode_event.event_name == "E"
    assert not action.chaincode_event.payload
    assert [
        t.tx_validation_code for t in filtered_block("ch", BLOCKS[8]).filtered_transactions
    ] == [
        0,
        11,
        0,
        0,
        0,
        9,
    ]
