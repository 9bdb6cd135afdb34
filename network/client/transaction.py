"""An endorsed transaction: what a client signs and sends to be ordered."""

import builtins
import hashlib
from dataclasses import dataclass, replace
from typing import Any

from fabric_protos.gateway import gateway_pb2

from network.client.commit import Commit, new_commit
from network.client.session import Session
from network.rules.envelope import open_envelope, parse_message
from network.rules.transaction import open_response_payload, open_transaction


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction with its endorsements, signed or not yet.

    Attributes:
        message: `gateway.PreparedTransaction`; `bytes` carries it between machines.
    """

    session: Session
    message: Any
    channel_id: str

    @property
    def bytes(self) -> builtins.bytes:
        """The serialised `gateway.PreparedTransaction`."""
        raw: builtins.bytes = self.message.SerializeToString(deterministic=True)
        return raw

    @property
    def digest(self) -> builtins.bytes:
        """SHA-256 of the bytes that are to be signed."""
        return hashlib.sha256(self.message.envelope.payload).digest()

    @property
    def transaction_id(self) -> str:
        """The transaction's id."""
        return str(self.message.transaction_id)

    @property
    def is_signed(self) -> bool:
        """Whether the transaction carries its client's signature."""
        return bool(self.message.envelope.signature)

    @property
    def result(self) -> builtins.bytes:
        """What the chaincode answered; it holds only once the transaction is committed."""
        return open_result(self.message.envelope)

    def signed(self, signature: builtins.bytes | None = None) -> "Transaction":
        """The same transaction with a signature: the given one, or one by the session's signer.

        Raises:
            UnsignedError: no signature was given and the client signs offline.
        """
        if signature is None:
            if self.is_signed:
                return self
            signature = self.session.signer.sign(self.message.envelope.payload)
        message = gateway_pb2.PreparedTransaction()
        message.CopyFrom(self.message)
        message.envelope.signature = signature
        return replace(self, message=message)

    async def submit(self, *, timeout: float | None = None) -> Commit:
        """The commit to wait for, once an orderer accepted the transaction.

        Args:
            timeout: seconds; the session's deadline when None.

        Raises:
            SubmitError: no orderer accepted.
        """
        ready = self.signed()
        # Everything that could fail here is built before the transaction is on its way.
        commit = new_commit(
            self.session, self.channel_id, ready.transaction_id, result=ready.result
        )
        request = gateway_pb2.SubmitRequest(
            transaction_id=ready.transaction_id,
            channel_id=ready.channel_id,
            prepared_transaction=ready.message.envelope,
        )
        deadline = self.session.deadlines.submit if timeout is None else timeout
        await self.session.calls.submit(request, timeout=deadline)
        return commit


def open_result(envelope: Any) -> bytes:
    """The chaincode's response payload inside a prepared transaction's envelope.

    Raises:
        MalformedMessage: the envelope is not an endorser transaction.
    """
    opened = open_transaction(open_envelope(envelope.SerializeToString()).data)
    return builtins.bytes(open_response_payload(opened.response_payload).action.response.payload)


def open_prepared(session: Session, raw: bytes, signature: bytes | None = None) -> Transaction:
    """The transaction that `Transaction.bytes` (of any Fabric Gateway SDK) carried here.

    Raises:
        MalformedMessage: the bytes are not a prepared transaction.
    """
    message = parse_message(gateway_pb2.PreparedTransaction, raw)
    header = open_envelope(message.envelope.SerializeToString()).channel_header
    transaction = Transaction(session, message, header.channel_id)
    return transaction if signature is None else transaction.signed(signature)
