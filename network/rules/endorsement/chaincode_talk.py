"""The peer's end of the talk with one chaincode, as a state machine without I/O.

Messages go in, things to do come out, in order; the shell (`chaincode_link`) carries them.
States and texts follow Fabric's `core/chaincode/handler.go`: created → (REGISTER) → established →
READY sent → ready. Only `receive`, `begin`, `answer` and `end` change state.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fabric_protos.peer import chaincode_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage
from google.protobuf.message import DecodeError

REQUESTS = frozenset(
    {
        ChaincodeMessage.GET_STATE,
        ChaincodeMessage.PUT_STATE,
        ChaincodeMessage.DEL_STATE,
        ChaincodeMessage.INVOKE_CHAINCODE,
        ChaincodeMessage.GET_STATE_BY_RANGE,
        ChaincodeMessage.GET_QUERY_RESULT,
        ChaincodeMessage.QUERY_STATE_NEXT,
        ChaincodeMessage.QUERY_STATE_CLOSE,
        ChaincodeMessage.GET_HISTORY_FOR_KEY,
        ChaincodeMessage.GET_STATE_METADATA,
        ChaincodeMessage.PUT_STATE_METADATA,
        ChaincodeMessage.GET_PRIVATE_DATA_HASH,
        ChaincodeMessage.PURGE_PRIVATE_DATA,
        ChaincodeMessage.WRITE_BATCH_STATE,
        ChaincodeMessage.GET_STATE_MULTIPLE,
    }
)
"""What a chaincode may ask of the ledger while a transaction of its runs."""


class TalkBroken(Exception):
    """The chaincode said what it may not say now; the stream ends. The text is for the log."""


class DuplicateTransaction(ValueError):
    """The same transaction already runs on this chaincode: a chaincode cannot re-enter itself."""


class State(Enum):
    """How far the talk has come."""

    CREATED = "created"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class TransactionKey:
    """Names one run of a chaincode: transaction ids are unique on a channel only."""

    channel_id: str
    tx_id: str


@dataclass(frozen=True, slots=True)
class Features:
    """What this peer tells the chaincode it can do (`ChaincodeAdditionalParams`)."""

    use_write_batch: bool = True
    max_size_write_batch: int = 1000
    use_get_multiple_keys: bool = True
    max_size_get_multiple_keys: int = 1000

    def build(self) -> bytes:
        """The READY message's payload."""
        params = chaincode_pb2.ChaincodeAdditionalParams(
            use_write_batch=self.use_write_batch,
            max_size_write_batch=self.max_size_write_batch,
            use_get_multiple_keys=self.use_get_multiple_keys,
            max_size_get_multiple_keys=self.max_size_get_multiple_keys,
        )
        return bytes(params.SerializeToString())


@dataclass(frozen=True, slots=True)
class Send:
    """Write this message to the stream."""

    message: ChaincodeMessage


@dataclass(frozen=True, slots=True)
class Ready:
    """The chaincode is registered; transactions may begin."""


@dataclass(frozen=True, slots=True)
class Request:
    """The chaincode asks the ledger; give the answer to `ChaincodeTalk.answer`."""

    key: TransactionKey
    message: ChaincodeMessage


@dataclass(frozen=True, slots=True)
class Finished:
    """The transaction's last word: a COMPLETED or ERROR message."""

    key: TransactionKey
    message: ChaincodeMessage


Step = Send | Ready | Request | Finished


def build_answer(message: ChaincodeMessage, payload: bytes) -> ChaincodeMessage:
    """The RESPONSE to a request."""
    return ChaincodeMessage(
        type=ChaincodeMessage.RESPONSE,
        payload=payload,
        txid=message.txid,
        channel_id=message.channel_id,
    )


def build_refusal(message: ChaincodeMessage, reason: str) -> ChaincodeMessage:
    """The ERROR to a request, in Fabric's words (handler.go, HandleTransaction)."""
    name = ChaincodeMessage.Type.Name(message.type)
    text = f"{name} failed: transaction ID: {message.txid}: {reason}"
    return ChaincodeMessage(
        type=ChaincodeMessage.ERROR,
        payload=text.encode(),
        txid=message.txid,
        channel_id=message.channel_id,
    )


class ChaincodeTalk:
    """One stream to one chaincode, from REGISTER to the end."""

    def __init__(self, package_id: str, features: Features) -> None:
        self.state = State.CREATED
        self._package_id = package_id
        self._features = features
        self._running: set[TransactionKey] = set()
        self._asking: set[TransactionKey] = set()

    def receive(self, message: ChaincodeMessage) -> list[Step]:
        """What must be done about a message from the chaincode, in this order.

        Raises:
            TalkBroken: the message has no place in this state; close the stream.
        """
        if message.type == ChaincodeMessage.KEEPALIVE:
            return []
        if self.state is State.CREATED:
            return self._register(message)
        key = TransactionKey(message.channel_id, message.txid)
        if message.type in (ChaincodeMessage.COMPLETED, ChaincodeMessage.ERROR):
            # A word about a transaction that has ended (timed out) is dropped, as Fabric does.
            return [Finished(key, message)] if key in self._running else []
        if message.type in REQUESTS:
            return self._request(key, message)
        raise TalkBroken(
            f"[{message.txid[:8]}] Fabric side handler cannot handle message "
            f"({_type_name(message)}) while in ready state"
        )

    def begin(self, message: ChaincodeMessage) -> list[Step]:
        """The transaction runs: send the given TRANSACTION or INIT message.

        Raises:
            DuplicateTransaction: it already runs on this chaincode.
        """
        key = TransactionKey(message.channel_id, message.txid)
        if key in self._running:
            raise DuplicateTransaction(f"txid: {message.txid}({message.channel_id}) exists")
        self._running.add(key)
        return [Send(message)]

    def answer(self, answer: ChaincodeMessage) -> list[Step]:
        """The transaction's request is answered and the next one may come."""
        self._asking.discard(TransactionKey(answer.channel_id, answer.txid))
        return [Send(answer)]

    def end(self, key: TransactionKey) -> None:
        """Nothing of the transaction is remembered; later words about it are dropped."""
        self._running.discard(key)
        self._asking.discard(key)

    def _register(self, message: ChaincodeMessage) -> list[Step]:
        if message.type != ChaincodeMessage.REGISTER:
            raise TalkBroken(
                f"[{message.txid[:8]}] Fabric side handler cannot handle message "
                f"({_type_name(message)}) while in created state"
            )
        try:
            name = chaincode_pb2.ChaincodeID.FromString(message.payload).name
        except DecodeError as error:
            raise TalkBroken("the chaincode's registration cannot be read") from error
        if not name:
            raise TalkBroken("error in handling register chaincode, chaincodeID name is empty")
        if name != self._package_id:
            raise TalkBroken(
                f"peer will not accept external chaincode connection {name} (except in dev mode)"
            )
        self.state = State.READY
        return [
            Send(ChaincodeMessage(type=ChaincodeMessage.REGISTERED)),
            Send(ChaincodeMessage(type=ChaincodeMessage.READY, payload=self._features.build())),
            Ready(),
        ]

    def _request(self, key: TransactionKey, message: ChaincodeMessage) -> list[Step]:
        if key in self._asking:
            # One outstanding request a transaction; Fabric drops the second (fn registerTxid).
            return []
        if key not in self._running:
            reason = "no ledger context"
            if message.type == ChaincodeMessage.INVOKE_CHAINCODE:
                reason = "could not get valid transaction"
            return [Send(build_refusal(message, reason))]
        self._asking.add(key)
        return [Request(key, message)]


def _type_name(message: ChaincodeMessage) -> str:
    try:
        return str(ChaincodeMessage.Type.Name(message.type))
    except ValueError:
        return str(int(message.type))  # protobuf keeps numbers that the enum does not know
