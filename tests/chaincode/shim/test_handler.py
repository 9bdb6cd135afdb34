"""The state machine: scripted talks, and every sequence of messages that a peer could send."""

from __future__ import annotations

from typing import Any

from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chaincode.shim.handler import (
    Abandoned,
    Answered,
    ChaincodeMessage,
    Handler,
    Invocation,
    Invoked,
    Limits,
    Output,
    State,
    Superseded,
    Violated,
)

INPUT = chaincode_pb2.ChaincodeInput(args=[b"f", b"a"]).SerializeToString()


def message(kind: int, tx: str = "t", channel: str = "c", payload: bytes = b"") -> Any:
    return ChaincodeMessage(type=kind, txid=tx, channel_id=channel, payload=payload)


def ready_handler(payload: bytes = b"") -> Handler:
    handler = Handler("cc:1")
    handler.start()
    handler.receive(message(ChaincodeMessage.REGISTERED, "", ""))
    handler.receive(message(ChaincodeMessage.READY, "", "", payload))
    return handler


def begin(handler: Handler, tx: str = "t") -> Invocation:
    output = handler.receive(message(ChaincodeMessage.TRANSACTION, tx, payload=INPUT))
    event = output.events[-1]
    assert isinstance(event, Invoked)
    return event.invocation


def test_it_registers_first_with_its_id() -> None:
    (register,) = Handler("cc:1").start().messages
    assert register.type == ChaincodeMessage.REGISTER
    assert chaincode_pb2.ChaincodeID.FromString(register.payload).name == "cc:1"


def test_ready_negotiates_and_raises_small_sizes_as_go_does() -> None:
    params = chaincode_pb2.ChaincodeAdditionalParams(
        use_write_batch=True,
        max_size_write_batch=7,
        use_get_multiple_keys=True,
        max_size_get_multiple_keys=1000,
    )
    assert ready_handler(params.SerializeToString()).limits == Limits(100, 1000)
    assert ready_handler(b"").limits == Limits(0, 0)
    assert ready_handler(b"\xff\xff").limits == Limits(0, 0)


def test_a_second_request_waits_for_the_first_answer() -> None:
    handler = ready_handler()
    invocation = begin(handler)
    first, sent = handler.request(invocation, ChaincodeMessage.GET_STATE, b"1")
    second, held = handler.request(invocation, ChaincodeMessage.GET_STATE, b"2")
    assert [m.payload for m in sent.messages] == [b"1"]
    assert held == Output()
    output = handler.receive(message(ChaincodeMessage.RESPONSE, payload=b"one"))
    assert output.events == (Answered(first, b"one", False),)
    assert [m.payload for m in output.messages] == [b"2"]
    output = handler.receive(message(ChaincodeMessage.ERROR, payload=b"no"))
    assert output.events == (Answered(second, b"no", True),)


def test_requests_of_different_transactions_do_not_wait() -> None:
    handler = ready_handler()
    for tx in ("t1", "t2"):
        _, output = handler.request(begin(handler, tx), ChaincodeMessage.GET_STATE, b"")
        assert [m.txid for m in output.messages] == [tx]


def test_the_same_id_on_another_channel_is_another_transaction() -> None:
    handler = ready_handler()
    one = handler.receive(message(ChaincodeMessage.TRANSACTION, "t", "c1", INPUT)).events[0]
    two = handler.receive(message(ChaincodeMessage.TRANSACTION, "t", "c2", INPUT)).events
    assert isinstance(one, Invoked)
    assert len(two) == 1
    assert handler.running == 2


def test_a_late_answer_reaches_neither_the_old_run_nor_the_new_one() -> None:
    handler = ready_handler()
    old = begin(handler)
    asked, _ = handler.request(old, ChaincodeMessage.GET_STATE, b"old")
    output = handler.receive(message(ChaincodeMessage.TRANSACTION, payload=INPUT))
    assert output.events[:2] == (Superseded(("c", "t")), Abandoned((asked,)))
    assert isinstance(output.events[2], Invoked)
    new = output.events[2].invocation
    ticket, held = handler.request(new, ChaincodeMessage.GET_STATE, b"new")
    assert held == Output()  # the peer still owes the answer to the old run
    late = handler.receive(message(ChaincodeMessage.RESPONSE, payload=b"late"))
    assert late.events == ()
    assert [m.payload for m in late.messages] == [b"new"]
    answer = handler.receive(message(ChaincodeMessage.RESPONSE, payload=b"right"))
    assert answer.events == (Answered(ticket, b"right", False),)
    assert handler.complete(old, payload=b"") == Output()
    assert len(handler.complete(new, payload=b"").messages) == 1


def test_a_transaction_completes_once() -> None:
    handler = ready_handler()
    invocation = begin(handler)
    (completed,) = handler.complete(invocation, payload=b"r").messages
    assert (completed.type, completed.txid) == (ChaincodeMessage.COMPLETED, "t")
    assert handler.complete(invocation, payload=b"r") == Output()


def test_whoever_waits_when_a_transaction_is_over_is_told() -> None:
    handler = ready_handler()
    invocation = begin(handler)
    first, _ = handler.request(invocation, ChaincodeMessage.GET_STATE, b"1")
    second, _ = handler.request(invocation, ChaincodeMessage.GET_STATE, b"2")
    assert handler.complete(invocation, payload=b"").events == (Abandoned((second, first)),)
    assert handler.receive(message(ChaincodeMessage.RESPONSE)) == Output()
    assert handler.running == 0


def test_a_message_out_of_place_ends_the_talk_with_a_reason() -> None:
    handler = Handler("cc:1")
    output = handler.receive(message(ChaincodeMessage.TRANSACTION, payload=INPUT))
    assert output.messages[0].type == ChaincodeMessage.ERROR
    assert output.events == (Violated("message TRANSACTION is not allowed in state created"),)
    assert handler.state is State.CLOSED
    assert handler.receive(message(ChaincodeMessage.REGISTERED)) == Output()


def test_an_unreadable_input_is_answered_with_an_error() -> None:
    handler = ready_handler()
    output = handler.receive(message(ChaincodeMessage.TRANSACTION, payload=b"\xff"))
    assert [m.type for m in output.messages] == [ChaincodeMessage.ERROR]
    assert output.events == ()
    assert handler.running == 0


KINDS = st.sampled_from([*ChaincodeMessage.Type.values(), 99])
MESSAGES = st.builds(
    message,
    KINDS,
    st.sampled_from(["", "t1", "t2"]),
    st.sampled_from(["", "c"]),
    st.sampled_from([b"", b"\xff", INPUT]),
)


@given(st.lists(MESSAGES, max_size=40))
def test_no_sequence_of_messages_raises(sequence: list[Any]) -> None:
    handler = Handler("cc:1")
    handler.start()
    for entry in sequence:
        handler.receive(entry)


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_no_payload_raises(payloads: list[bytes]) -> None:
    handler = ready_handler()
    for payload in payloads:
        handler.receive(message(ChaincodeMessage.TRANSACTION, payload=payload))
        handler.receive(message(ChaincodeMessage.INIT, "u", payload=payload))


class Talk(RuleBasedStateMachine):
    """A peer by Fabric's rules and a chaincode in any order: nothing is lost, mixed up or left."""

    def __init__(self) -> None:
        super().__init__()
        self.handler = ready_handler()
        self.owed: dict[str, bytes] = {}  # what the peer has still to answer, by transaction
        self.live: dict[str, Invocation] = {}
        self.expected: dict[int, bytes] = {}  # ticket → the payload that was asked

    @rule(tx=st.sampled_from("abc"))
    def invoke(self, tx: str) -> None:
        output = self.handler.receive(message(ChaincodeMessage.TRANSACTION, tx, payload=INPUT))
        if tx in self.live:
            assert output.events[0] == Superseded(("c", tx))
            self._forget(tx)
        event = output.events[-1]
        assert isinstance(event, Invoked)
        self.live[tx] = event.invocation

    @precondition(lambda self: self.live)
    @rule(data=st.data(), asked=st.binary(max_size=4))
    def request(self, data: st.DataObject, asked: bytes) -> None:
        tx = data.draw(st.sampled_from(sorted(self.live)))
        unique = asked + str(self.handler._next_ticket).encode()
        ticket, output = self.handler.request(self.live[tx], ChaincodeMessage.GET_STATE, unique)
        self.expected[ticket] = unique
        self._sent(output)

    @precondition(lambda self: self.owed)
    @rule(data=st.data(), kind=st.sampled_from(["RESPONSE", "ERROR"]))
    def answer(self, data: st.DataObject, kind: str) -> None:
        tx = data.draw(st.sampled_from(sorted(self.owed)))
        asked = self.owed.pop(tx)
        reply = message(ChaincodeMessage.Type.Value(kind), tx, payload=asked)
        output = self.handler.receive(reply)
        for event in output.events:
            assert isinstance(event, Answered)
            assert self.expected.pop(event.ticket) == asked == event.payload
            assert event.refused == (kind == "ERROR")
        self._sent(output)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.expected)))
        for invocation in self.live.values():
            self.handler.withdraw(invocation, ticket)
        del self.expected[ticket]

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        tx = data.draw(st.sampled_from(sorted(self.live)))
        (completed,) = self.handler.complete(self.live.pop(tx), payload=b"").messages
        assert completed.type == ChaincodeMessage.COMPLETED
        self._forget(tx)

    @invariant()
    def nothing_is_kept_that_is_over(self) -> None:
        assert self.handler.running == len(self.live)
        assert set(self.handler._conversations) == {("c", tx) for tx in {*self.live, *self.owed}}

    def teardown(self) -> None:
        while self.owed:
            tx, asked = self.owed.popitem()
            output = self.handler.receive(message(ChaincodeMessage.RESPONSE, tx, payload=asked))
            for event in output.events:
                assert isinstance(event, Answered)
                del self.expected[event.ticket]
            self._sent(output)
        assert self.expected == {}  # every request was answered

    def _sent(self, output: Output) -> None:
        for entry in output.messages:
            assert entry.txid not in self.owed, "a second request while one is outstanding"
            self.owed[entry.txid] = entry.payload

    def _forget(self, tx: str) -> None:
        """A run that is over waits for no answers; which tickets were its own shows itself."""
        gone = {t for t, asked in self.expected.items() if not self._is_live(tx, t, asked)}
        for ticket in gone:
            del self.expected[ticket]

    def _is_live(self, tx: str, ticket: int, asked: bytes) -> bool:
        for key, conversation in self.handler._conversations.items():
            waiting = {entry[0] for entry in conversation.waiting}
            if ticket in waiting or (
                conversation.outstanding == ticket and not conversation.outstanding_is_stale
            ):
                return key[1] != tx or conversation.live
        return False


TestTalk = Talk.TestCase
TestTalk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_batch_record_has_the_peers_types() -> None:
    # The peer switches on these numbers (`core/chaincode/handler.go` HandleWriteBatch).
    kinds = chaincode_shim_pb2.WriteRecord.Type
    assert (kinds.Value("PUT_STATE"), kinds.Value("DEL_STATE")) == (9, 10)
    assert (kinds.Value("PUT_STATE_METADATA"), kinds.Value("PURGE_PRIVATE_DATA")) == (21, 23)
