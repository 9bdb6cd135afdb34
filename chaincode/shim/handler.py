"""The talk with the peer as a state machine without I/O: message in, messages and events out.

    created ──REGISTERED──▸ established ──READY──▸ ready ──anything illegal──▸ closed

The shim speaks first (`start` → REGISTER). In `ready` the peer sends INIT and TRANSACTION, the
shim asks (`request`) and answers (`complete`). Only this file changes `Handler.state`.

Two rules of Fabric's peer shape it (`core/chaincode/handler.go`):
- A transaction may have one request outstanding; a second is dropped and never answered. So
  further requests wait here, in order, and go out when the answer has come.
- Every request is answered, also when its transaction is long over. So a conversation stays until
  its last answer has come, and an answer to nobody is dropped, never taken for another's.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2
from google.protobuf.message import DecodeError

Message = Any
"""`protos.ChaincodeMessage`."""
ChaincodeMessage = chaincode_shim_pb2.ChaincodeMessage

DEFAULT_BATCH_SIZE = 100
"""A smaller size offered by a peer is raised to this, as in Go's shim (`shim/handler.go`)."""

TransactionKey = tuple[str, str]
"""(channel id, transaction id)."""


class State(enum.Enum):
    """Where the talk stands."""

    CREATED = "created"
    ESTABLISHED = "established"
    READY = "ready"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the peer offered in READY; 0 means that it did not offer it."""

    write_batch: int = 0
    multiple_keys: int = 0


@dataclass(frozen=True, slots=True)
class Invocation:
    """One INIT or TRANSACTION as the peer sent it."""

    channel_id: str
    tx_id: str
    is_init: bool
    args: tuple[bytes, ...]
    decorations: Mapping[str, bytes]
    signed_proposal: Any = None
    """`protos.SignedProposal`, None for calls without a client (system chaincodes)."""
    run: int = 0
    """Tells this run from an earlier one of the same transaction."""

    @property
    def key(self) -> TransactionKey:
        """What tells this transaction from others on the same stream."""
        return self.channel_id, self.tx_id

    @property
    def size(self) -> int:
        """Bytes of the arguments."""
        return sum(map(len, self.args))


@dataclass(frozen=True, slots=True)
class Invoked:
    """Event: run this transaction, then call `Handler.complete`."""

    invocation: Invocation


@dataclass(frozen=True, slots=True)
class Answered:
    """Event: the request with this ticket got its answer."""

    ticket: int
    payload: bytes
    refused: bool
    """True if the peer answered ERROR; `payload` is then its text."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """Event: the peer started this transaction again; the first run is to be cancelled."""

    key: TransactionKey


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Event: the transaction is over, and whoever still waits for these tickets waits in vain."""

    tickets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BecameReady:
    """Event: the peer will now send transactions."""

    limits: Limits


@dataclass(frozen=True, slots=True)
class Violated:
    """Event: the peer broke the protocol; send what is to be sent and end the stream."""

    reason: str


Event = Invoked | Answered | Superseded | Abandoned | BecameReady | Violated


@dataclass(frozen=True, slots=True)
class Output:
    """What to do now: send the messages in this order, then act on the events in this order."""

    messages: tuple[Message, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(slots=True)
class _Conversation:
    """The requests of one transaction."""

    run: int
    live: bool = True
    outstanding: int | None = None
    outstanding_is_stale: bool = False
    waiting: deque[tuple[int, int, bytes]] = field(default_factory=deque)


class Handler:
    """One stream's talk with one peer."""

    def __init__(self, chaincode_id: str) -> None:
        self.chaincode_id = chaincode_id
        self.state = State.CREATED
        self.limits = Limits()
        self._conversations: dict[TransactionKey, _Conversation] = {}
        self._next_ticket = 1
        self._next_run = 1

    def start(self) -> Output:
        """The REGISTER message, which the shim sends first in either direction of dialling."""
        payload = chaincode_pb2.ChaincodeID(name=self.chaincode_id).SerializeToString()
        return Output((ChaincodeMessage(type=ChaincodeMessage.REGISTER, payload=payload),))

    def receive(self, message: Message) -> Output:
        """What follows from one message of the peer. Never raises for what a peer can send."""
        kind = message.type
        if self.state is State.CLOSED:
            return Output()
        if kind == ChaincodeMessage.KEEPALIVE:
            return Output((message,))
        if self.state is State.CREATED and kind == ChaincodeMessage.REGISTERED:
            self.state = State.ESTABLISHED
            return Output()
        if self.state is State.ESTABLISHED and kind == ChaincodeMessage.READY:
            self.state = State.READY
            self.limits = _read_limits(message.payload)
            return Output(events=(BecameReady(self.limits),))
        if self.state is State.READY:
            if kind in (ChaincodeMessage.RESPONSE, ChaincodeMessage.ERROR):
                return self._receive_answer(message)
            if kind in (ChaincodeMessage.TRANSACTION, ChaincodeMessage.INIT):
                return self._receive_invocation(message)
        return self._violated(message)

    def request(self, invocation: Invocation, kind: int, payload: bytes) -> tuple[int, Output]:
        """A ticket for this request, and the message if it may go out at once.

        The answer comes as `Answered` with the ticket. Raises KeyError if the transaction is not
        running (it was completed or superseded, or the stream has ended).
        """
        key = invocation.key
        conversation = self._running(invocation)
        if conversation is None:
            raise KeyError(f"transaction {key[1]} is not running")
        ticket = self._next_ticket
        self._next_ticket += 1
        if conversation.outstanding is not None:
            conversation.waiting.append((ticket, kind, payload))
            return ticket, Output()
        conversation.outstanding = ticket
        return ticket, Output((_build_request(key, kind, payload),))

    def withdraw(self, invocation: Invocation, ticket: int) -> None:
        """Afterwards nobody waits for this ticket: a waiting request never goes out, and the
        answer to an outstanding one is dropped."""
        conversation = self._conversations.get(invocation.key)
        if conversation is None:
            return
        if conversation.outstanding == ticket:
            conversation.outstanding_is_stale = True
        else:
            conversation.waiting = deque(
                entry for entry in conversation.waiting if entry[0] != ticket
            )

    def complete(
        self,
        invocation: Invocation,
        *,
        payload: bytes,
        event: Message | None = None,
        failed: bool = False,
    ) -> Output:
        """The last message of a transaction: COMPLETED with a `Response`, or ERROR with a text.

        Once only: for a transaction that is not running nothing goes out.
        """
        key = invocation.key
        conversation = self._running(invocation)
        if conversation is None:
            return Output()
        abandoned = self._end(key, conversation)
        message = ChaincodeMessage(
            type=ChaincodeMessage.ERROR if failed else ChaincodeMessage.COMPLETED,
            payload=payload,
            txid=key[1],
            channel_id=key[0],
        )
        if event is not None:
            message.chaincode_event.CopyFrom(event)
        return Output((message,), abandoned)

    def close(self) -> None:
        """The stream has ended; nothing is sent or accepted from here on."""
        self.state = State.CLOSED
        self._conversations.clear()

    @property
    def running(self) -> int:
        """How many transactions have begun and are not completed."""
        return sum(conversation.live for conversation in self._conversations.values())

    def _running(self, invocation: Invocation) -> _Conversation | None:
        conversation = self._conversations.get(invocation.key)
        if conversation is None or not conversation.live or conversation.run != invocation.run:
            return None
        return conversation

    def _receive_answer(self, message: Message) -> Output:
        key = (message.channel_id, message.txid)
        conversation = self._conversations.get(key)
        if conversation is None or conversation.outstanding is None:
            # Go's shim ends the stream here and with it every other transaction on it. An answer
            # to nobody harms nobody: it is dropped.
            return Output()
        ticket, stale = conversation.outstanding, conversation.outstanding_is_stale
        conversation.outstanding, conversation.outstanding_is_stale = None, False
        messages: tuple[Message, ...] = ()
        if conversation.waiting:
            conversation.outstanding, kind, payload = conversation.waiting.popleft()
            messages = (_build_request(key, kind, payload),)
        elif not conversation.live:
            del self._conversations[key]
        refused = message.type == ChaincodeMessage.ERROR
        events = () if stale else (Answered(ticket, message.payload, refused),)
        return Output(messages, events)

    def _receive_invocation(self, message: Message) -> Output:
        key = (message.channel_id, message.txid)
        events: tuple[Event, ...] = ()
        conversation = self._conversations.get(key)
        if conversation is not None and conversation.live:
            # The peer gave up on the first run (its execute timeout) and the client sent the same
            # proposal again. The first run's answers must not reach the second.
            events = (Superseded(key), *self._end(key, conversation))
        try:
            chaincode_input = chaincode_pb2.ChaincodeInput.FromString(message.payload)
        except DecodeError:
            text = b"failed to unmarshal input: the payload is not a ChaincodeInput"
            return Output((_build_error(key, text),), events)
        run, self._next_run = self._next_run, self._next_run + 1
        unanswered = self._conversations.get(key)
        if unanswered is None:
            self._conversations[key] = _Conversation(run)
        else:
            unanswered.run, unanswered.live = run, True
        invocation = Invocation(
            channel_id=message.channel_id,
            tx_id=message.txid,
            is_init=message.type == ChaincodeMessage.INIT,
            args=tuple(chaincode_input.args),
            decorations=dict(chaincode_input.decorations),
            signed_proposal=message.proposal if message.HasField("proposal") else None,
            run=run,
        )
        return Output(events=(*events, Invoked(invocation)))

    def _end(self, key: TransactionKey, conversation: _Conversation) -> tuple[Event, ...]:
        """A contract may end while tasks of its own still wait for answers: they are told."""
        conversation.live = False
        abandoned = tuple(ticket for ticket, _, _ in conversation.waiting)
        conversation.waiting.clear()
        if conversation.outstanding is None:
            del self._conversations[key]
        elif not conversation.outstanding_is_stale:
            abandoned += (conversation.outstanding,)
            conversation.outstanding_is_stale = True
        return (Abandoned(abandoned),) if abandoned else ()

    def _violated(self, message: Message) -> Output:
        kind = describe_type(message.type)
        reason = f"message {kind} is not allowed in state {self.state.value}"
        error = _build_error((message.channel_id, message.txid), reason.encode())
        self.close()
        return Output((error,), (Violated(reason),))


def describe_type(kind: int) -> str:
    """Fabric's name of a message type, or its number if it has none."""
    try:
        name: str = ChaincodeMessage.Type.Name(kind)
    except ValueError:
        return str(kind)
    return name


def _read_limits(payload: bytes) -> Limits:
    """What READY offers; 2.x peers send nothing. Unreadable bytes offer nothing, as in Go."""
    try:
        params = chaincode_pb2.ChaincodeAdditionalParams.FromString(payload)
    except DecodeError:
        return Limits()
    write, read = params.max_size_write_batch, params.max_size_get_multiple_keys
    return Limits(
        write_batch=max(write, DEFAULT_BATCH_SIZE) if params.use_write_batch else 0,
        multiple_keys=max(read, DEFAULT_BATCH_SIZE) if params.use_get_multiple_keys else 0,
    )


def _build_request(key: TransactionKey, kind: int, payload: bytes) -> Message:
    return ChaincodeMessage(type=kind, payload=payload, txid=key[1], channel_id=key[0])


def _build_error(key: TransactionKey, text: bytes) -> Message:
    return ChaincodeMessage(
        type=ChaincodeMessage.ERROR, payload=text, txid=key[1], channel_id=key[0]
    )
