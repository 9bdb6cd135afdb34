"""The peer's end of the chaincode talk: every message in every state."""

from __future__ import annotations

import pytest
from fabric_protos.peer import chaincode_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage
from hypothesis import given
from hypothesis import strategies as st

from network.rules.endorsement.chaincode_talk import (
    REQUESTS,
    ChaincodeTalk,
    DuplicateTransaction,
    Features,
    Finished,
    Ready,
    Request,
    Send,
    State,
    TalkBroken,
    TransactionKey,
    build_answer,
)

KEY = TransactionKey("care", "tx1")


def message(kind: int, tx_id: str = "tx1", payload: bytes = b"") -> ChaincodeMessage:
    return ChaincodeMessage(type=kind, txid=tx_id, channel_id="care", payload=payload)


def register(name: str) -> ChaincodeMessage:
    payload = chaincode_pb2.ChaincodeID(name=name).SerializeToString()
    return ChaincodeMessage(type=ChaincodeMessage.REGISTER, payload=payload)


def ready_talk() -> ChaincodeTalk:
    talk = ChaincodeTalk("demo:1", Features())
    talk.receive(register("demo:1"))
    return talk


def test_registration_is_answered_and_features_are_told() -> None:
    steps = ChaincodeTalk("demo:1", Features(max_size_write_batch=7)).receive(register("demo:1"))
    registered, ready, event = steps
    assert isinstance(registered, Send)
    assert registered.message.type == ChaincodeMessage.REGISTERED
    assert isinstance(ready, Send)
    assert ready.message.type == ChaincodeMessage.READY
    params = chaincode_pb2.ChaincodeAdditionalParams.FromString(ready.message.payload)
    assert params.use_write_batch
    assert params.max_size_write_batch == 7
    assert event == Ready()


@pytest.mark.parametrize("name", ["", "other:1"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(TalkBroken):
        ChaincodeTalk("demo:1", Features()).receive(register(name))


@pytest.mark.parametrize("kind", sorted(REQUESTS | {ChaincodeMessage.COMPLETED}))
def test_nothing_comes_before_registration(kind: int) -> None:
    with pytest.raises(TalkBroken, match="while in created state"):
        ChaincodeTalk("demo:1", Features()).receive(message(kind))


@pytest.mark.parametrize("talk", [ChaincodeTalk("demo:1", Features()), ready_talk()])
def test_keepalives_are_ignored_always(talk: ChaincodeTalk) -> None:
    assert talk.receive(message(ChaincodeMessage.KEEPALIVE)) == []


@pytest.mark.parametrize("kind", [ChaincodeMessage.REGISTER, ChaincodeMessage.READY, 12, 99])
def test_other_messages_end_a_ready_talk(kind: int) -> None:
    with pytest.raises(TalkBroken, match="while in ready state"):
        ready_talk().receive(message(kind))


def test_a_transaction_runs_once_at_a_time() -> None:
    talk = ready_talk()
    start = message(ChaincodeMessage.TRANSACTION)
    assert talk.begin(start) == [Send(start)]
    with pytest.raises(DuplicateTransaction, match=r"txid: tx1\(care\) exists"):
        talk.begin(start)
    talk.end(KEY)
    assert talk.begin(start) == [Send(start)]


def test_one_request_a_transaction_is_answered_at_a_time() -> None:
    talk = ready_talk()
    talk.begin(message(ChaincodeMessage.TRANSACTION))
    request = message(ChaincodeMessage.GET_STATE)
    assert talk.receive(request) == [Request(KEY, request)]
    assert talk.receive(request) == []  # dropped, as Fabric does
    answer = build_answer(request, b"value")
    assert talk.answer(answer) == [Send(answer)]
    assert talk.receive(request) == [Request(KEY, request)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ChaincodeMessage.GET_STATE, b"GET_STATE failed: transaction ID: tx1: no ledger context"),
        (
            ChaincodeMessage.INVOKE_CHAINCODE,
            b"INVOKE_CHAINCODE failed: transaction ID: tx1: could not get valid transaction",
        ),
    ],
)
def test_requests_of_unknown_transactions_are_refused(kind: int, text: bytes) -> None:
    (step,) = ready_talk().receive(message(kind))
    assert isinstance(step, Send)
    assert (step.message.type, step.message.payload) == (ChaincodeMessage.ERROR, text)


def test_the_last_word_counts_while_the_transaction_runs() -> None:
    talk = ready_talk()
    talk.begin(message(ChaincodeMessage.TRANSACTION))
    last = message(ChaincodeMessage.COMPLETED)
    assert talk.receive(last) == [Finished(KEY, last)]
    talk.end(KEY)
    assert talk.receive(last) == []


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["", "a", "b"])), max_size=40))
def test_any_order_of_messages_is_taken_or_breaks_the_talk(
    script: list[tuple[int, str]],
) -> None:
    talk = ready_talk()
    talk.begin(message(ChaincodeMessage.TRANSACTION, "a"))
    for kind, tx_id in script:
        try:
            steps = talk.receive(message(kind, tx_id))
        except TalkBroken:
            assert kind not in REQUESTS
            continue
        for step in steps:
            assert isinstance(step, Send | Request | Finished)
            if isinstance(step, Request | Finished):
                assert step.key.tx_id == "a"
    assert talk.state is State.READY
