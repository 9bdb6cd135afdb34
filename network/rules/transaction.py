"""Responses to proposals, and the transactions made of them. See `envelope` for the nesting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fabric_protos.common import common_pb2
from fabric_protos.peer import (
    chaincode_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)

from network.rules.envelope import (
    MalformedMessage,
    SignedData,
    build_message,
    build_payload,
    parse_message,
)
from network.rules.proposal import strip_transient


def build_response_payload(
    *,
    proposal_hash: bytes,
    results: bytes,
    event: bytes,
    response: Any,  # proposal_response_pb2.Response
    chaincode_name: str,
    chaincode_version: str,
) -> bytes:
    """ProposalResponsePayload bytes: every endorser of a transaction must make the same ones."""
    action = proposal_pb2.ChaincodeAction(
        results=results,
        events=event,
        response=response,
        chaincode_id=chaincode_pb2.ChaincodeID(name=chaincode_name, version=chaincode_version),
    )
    return build_message(
        proposal_response_pb2.ProposalResponsePayload(
            proposal_hash=proposal_hash, extension=build_message(action)
        )
    )


@dataclass(frozen=True, slots=True)
class OpenedResponsePayload:
    """What endorsers agreed on: the proposal they answered and the action they saw."""

    raw: bytes
    proposal_hash: bytes
    action: Any  # proposal_pb2.ChaincodeAction

    @property
    def results(self) -> bytes:
        """TxReadWriteSet bytes."""
        return bytes(self.action.results)

    @property
    def event(self) -> bytes:
        """ChaincodeEvent bytes, empty without an event."""
        return bytes(self.action.events)


def open_response_payload(raw: bytes) -> OpenedResponsePayload:
    """The ProposalResponsePayload in `raw` and its ChaincodeAction.

    Raises:
        MalformedMessage: one of the two does not parse.
    """
    payload = parse_message(proposal_response_pb2.ProposalResponsePayload, raw)
    action = parse_message(proposal_pb2.ChaincodeAction, payload.extension)
    return OpenedResponsePayload(raw, payload.proposal_hash, action)


def build_transaction_payload(
    proposal_raw: bytes, response_payload: bytes, endorsements: Sequence[Any]
) -> bytes:
    """Payload bytes of the transaction, for the proposal's creator to sign.

    The header is the proposal's own, the transient map is left out, an endorser counts once
    (protoutil/txutils.go, CreateSignedTx). That every endorser gave `response_payload` is the
    caller's check.

    Raises:
        MalformedMessage: the proposal does not parse.
        ValueError: no endorsements.
    """
    if not endorsements:
        raise ValueError("at least one endorsement is required")
    proposal = parse_message(proposal_pb2.Proposal, proposal_raw)
    header = parse_message(common_pb2.Header, proposal.header)
    payload = parse_message(proposal_pb2.ChaincodeProposalPayload, proposal.payload)
    by_endorser: dict[bytes, Any] = {}
    for endorsement in endorsements:
        by_endorser.setdefault(endorsement.endorser, endorsement)
    action = transaction_pb2.ChaincodeActionPayload(
        chaincode_proposal_payload=strip_transient(payload.input),
        action=transaction_pb2.ChaincodeEndorsedAction(
            proposal_response_payload=response_payload, endorsements=list(by_endorser.values())
        ),
    )
    transaction = transaction_pb2.Transaction(
        actions=[
            transaction_pb2.TransactionAction(
                header=header.signature_header, payload=build_message(action)
            )
        ]
    )
    return build_payload(header.channel_header, header.signature_header, build_message(transaction))


@dataclass(frozen=True, slots=True)
class OpenedTransaction:
    """A transaction's one action, with the bytes that its endorsers signed."""

    action_header: bytes  # SignatureHeader bytes; must equal the envelope's
    chaincode_proposal_payload: bytes
    response_payload: bytes
    endorsements: tuple[Any, ...]  # proposal_response_pb2.Endorsement

    @property
    def endorsement_signed_data(self) -> list[SignedData]:
        """Per endorsement: response payload and endorser, the endorser, the signature."""
        return [
            SignedData(self.response_payload + e.endorser, e.endorser, e.signature)
            for e in self.endorsements
        ]


def open_transaction(data: bytes) -> OpenedTransaction:
    """The endorser transaction in an envelope's `data`.

    Raises:
        MalformedMessage: it does not parse, has not exactly one action, or names no endorsed
            response.
    """
    transaction = parse_message(transaction_pb2.Transaction, data)
    if len(transaction.actions) != 1:
        raise MalformedMessage(
            f"only one action per transaction is supported, tx contains {len(transaction.actions)}",
            "Transaction",
        )
    action = transaction.actions[0]
    payload = parse_message(transaction_pb2.ChaincodeActionPayload, action.payload)
    if not payload.HasField("action"):
        raise MalformedMessage("no payload in ChaincodeActionPayload", "ChaincodeActionPayload")
    return OpenedTransaction(
        action_header=action.header,
        chaincode_proposal_payload=payload.chaincode_proposal_payload,
        response_payload=payload.action.proposal_response_payload,
        endorsements=tuple(payload.action.endorsements),
    )
