"""A submitted transaction's place in the ledger: in which block, valid or not and why."""

import builtins
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import transaction_pb2

from network.client.errors import CommitError
from network.client.session import Session
from network.rules.envelope import parse_message

VALID = 0  # TxValidationCode


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """The ledger's verdict on one transaction.

    Attributes:
        transaction_id: the transaction.
        code: Fabric's `TxValidationCode`; 0 is valid.
        block_number: the block that holds it.
        result: what the chaincode answered when it was endorsed.
    """

    transaction_id: str
    code: int
    block_number: int
    result: builtins.bytes = b""

    @property
    def successful(self) -> bool:
        """Whether the transaction is valid and its writes are in the state."""
        return self.code == VALID

    @property
    def code_name(self) -> str:
        """The code's name, such as `MVCC_READ_CONFLICT`."""
        return code_name(self.code)

    def json(self) -> Any:
        """The result read as JSON; None when it is empty.

        Raises:
            ValueError: the result is not JSON.
        """
        return json.loads(self.result) if self.result else None

    def validate(self) -> "CommitStatus":
        """This status, if it is successful.

        Raises:
            CommitError: the ledger marked the transaction invalid.
        """
        if not self.successful:
            raise CommitError(self.transaction_id, self.code, self.code_name, self.block_number)
        return self


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction that was accepted for ordering; asks when and how it committed.

    Attributes:
        message: `gateway.SignedCommitStatusRequest`; `bytes` carries it between machines.
        result: what the chaincode answered when the transaction was endorsed.
    """

    session: Session
    message: Any
    transaction_id: str
    result: builtins.bytes = b""

    @property
    def bytes(self) -> builtins.bytes:
        """The serialised `gateway.SignedCommitStatusRequest`."""
        raw: builtins.bytes = self.message.SerializeToString(deterministic=True)
        return raw

    @property
    def digest(self) -> builtins.bytes:
        """SHA-256 of the bytes that are to be signed."""
        return hashlib.sha256(self.message.request).digest()

    @property
    def is_signed(self) -> bool:
        """Whether the question carries a signature."""
        return bool(self.message.signature)

    def signed(self, signature: builtins.bytes | None = None) -> "Commit":
        """The same commit with a signature: the given one, or one by the session's signer.

        Raises:
            UnsignedError: no signature was given and the client signs offline.
        """
        if signature is None:
            if self.is_signed:
                return self
            signature = self.session.signer.sign(self.message.request)
        message = gateway_pb2.SignedCommitStatusRequest(
            request=self.message.request, signature=signature
        )
        return replace(self, message=message)

    async def status(self, *, timeout: float | None = None) -> CommitStatus:
        """The ledger's verdict, valid or not, once the gateway's peer has committed it.

        Args:
            timeout: seconds; the session's deadline when None.

        Raises:
            CommitStatusError: the verdict is not known (yet); the transaction may still commit.
        """
        deadline = self.session.deadlines.commit if timeout is None else timeout
        response = await self.session.calls.commit_status(
            self.signed().message, self.transaction_id, timeout=deadline
        )
        return CommitStatus(
            self.transaction_id, int(response.result), int(response.block_number), self.result
        )


def new_commit(
    session: Session, channel_id: str, transaction_id: str, *, result: builtins.bytes = b""
) -> Commit:
    """The unsigned question for one transaction's status; works for anybody's transaction."""
    request = gateway_pb2.CommitStatusRequest(
        transaction_id=transaction_id, channel_id=channel_id, identity=session.signer.creator
    )
    message = gateway_pb2.SignedCommitStatusRequest(
        request=request.SerializeToString(deterministic=True)
    )
    return Commit(session, message, transaction_id, result)


def open_commit(session: Session, raw: bytes, signature: bytes | None = None) -> Commit:
    """The commit that `Commit.bytes` (of any Fabric Gateway SDK) carried here.

    Raises:
        MalformedMessage: the bytes are not a commit status request.
    """
    message = parse_message(gateway_pb2.SignedCommitStatusRequest, raw)
    request = parse_message(gateway_pb2.CommitStatusRequest, message.request)
    commit = Commit(session, message, request.transaction_id)
    return commit if signature is None else commit.signed(signature)


def code_name(code: int) -> str:
    """The name of a `TxValidationCode`; the number as text when Fabric has none for it."""
    try:
        return str(transaction_pb2.TxValidationCode.Name(code))
    except ValueError:
        return str(code)
