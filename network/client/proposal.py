"""A proposal: what a client asks endorsing peers to simulate."""

import builtins
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from fabric_protos.gateway import gateway_pb2

from network.client.arguments import Argument, encode_argument, encode_transient
from network.client.session import Session
from network.client.transaction import Transaction
from network.rules.envelope import NONCE_BYTES, parse_message
from network.rules.proposal import build_proposal, open_proposal


@dataclass(frozen=True, slots=True)
class Proposal:
    """A transaction proposal, signed or not yet.

    Attributes:
        message: `gateway.ProposedTransaction`; `bytes` carries it between machines.
    """

    session: Session
    message: Any
    channel_id: str

    @property
    def bytes(self) -> builtins.bytes:
        """The serialised `gateway.ProposedTransaction`, as every Fabric Gateway SDK reads it."""
        raw: builtins.bytes = self.message.SerializeToString(deterministic=True)
        return raw

    @property
    def digest(self) -> builtins.bytes:
        """SHA-256 of the bytes that are to be signed."""
        return hashlib.sha256(self.message.proposal.proposal_bytes).digest()

    @property
    def transaction_id(self) -> str:
        """The id of the transaction this proposal starts."""
        return str(self.message.transaction_id)

    @property
    def is_signed(self) -> bool:
        """Whether the proposal carries a signature."""
        return bool(self.message.proposal.signature)

    def signed(self, signature: builtins.bytes | None = None) -> "Proposal":
        """The same proposal with a signature: the given one, or one by the session's signer.

        Raises:
            UnsignedError: no signature was given and the client signs offline.
        """
        if signature is None:
            if self.is_signed:
                return self
            signature = self.session.signer.sign(self.message.proposal.proposal_bytes)
        message = gateway_pb2.ProposedTransaction()
        message.CopyFrom(self.message)
        message.proposal.signature = signature
        return replace(self, message=message)

    async def evaluate(self, *, timeout: float | None = None) -> builtins.bytes:
        """The result of simulating on one peer; nothing is written to the ledger.

        Args:
            timeout: seconds; the session's deadline when None.

        Raises:
            EvaluateError: no peer could evaluate, with what each said.
        """
        ready = self.signed()
        request = gateway_pb2.EvaluateRequest(
            transaction_id=ready.transaction_id,
            channel_id=ready.channel_id,
            proposed_transaction=ready.message.proposal,
            target_organizations=ready.message.endorsing_organizations,
        )
        deadline = self.session.deadlines.evaluate if timeout is None else timeout
        response = await self.session.calls.evaluate(request, timeout=deadline)
        return builtins.bytes(response.result.payload)

    async def endorse(self, *, timeout: float | None = None) -> Transaction:
        """The transaction that carries enough endorsements for the chaincode's policy.

        Args:
            timeout: seconds; the session's deadline when None.

        Raises:
            EndorseError: not enough peers endorsed, with what each said.
        """
        ready = self.signed()
        request = gateway_pb2.EndorseRequest(
            transaction_id=ready.transaction_id,
            channel_id=ready.channel_id,
            proposed_transaction=ready.message.proposal,
            endorsing_organizations=ready.message.endorsing_organizations,
        )
        deadline = self.session.deadlines.endorse if timeout is None else timeout
        response = await self.session.calls.endorse(request, timeout=deadline)
        prepared = gateway_pb2.PreparedTransaction(
            transaction_id=ready.transaction_id, envelope=response.prepared_transaction
        )
        return Transaction(self.session, prepared, ready.channel_id)


def new_proposal(
    session: Session,
    *,
    channel_id: str,
    chaincode: str,
    arguments: Sequence[Argument],
    transient: Mapping[str, Argument] | None = None,
    organizations: Sequence[str] = (),
    is_init: bool = False,
) -> Proposal:
    """An unsigned proposal with a fresh nonce and the present time.

    Args:
        session: the connection and identity it is made for.
        channel_id: the channel.
        chaincode: the chaincode's name.
        arguments: the transaction's name first.
        transient: private input that is never written to a block.
        organizations: MSP ids that must endorse (or evaluate); empty leaves it to the gateway.
        is_init: whether this is a chaincode's initialisation.
    """
    built = build_proposal(
        channel_id=channel_id,
        chaincode=chaincode,
        args=[encode_argument(argument) for argument in arguments],
        creator=session.signer.creator,
        nonce=secrets.token_bytes(NONCE_BYTES),
        timestamp=datetime.now(UTC),
        transient=encode_transient(transient),
        is_init=is_init,
        tls_cert_hash=session.calls.endpoint.tls_cert_hash,
    )
    message = gateway_pb2.ProposedTransaction(
        transaction_id=built.tx_id, endorsing_organizations=organizations
    )
    message.proposal.proposal_bytes = built.raw
    return Proposal(session, message, channel_id)


def open_proposed(session: Session, raw: bytes, signature: bytes | None = None) -> Proposal:
    """The proposal that `Proposal.bytes` (of any Fabric Gateway SDK) carried here.

    Raises:
        MalformedMessage: the bytes are not a proposed transaction.
    """
    message = parse_message(gateway_pb2.ProposedTransaction, raw)
    channel_id = open_proposal(message.proposal.proposal_bytes).channel_header.channel_id
    proposal = Proposal(session, message, channel_id)
    return proposal if signature is None else proposal.signed(signature)
