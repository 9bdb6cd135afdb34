"""What a peer checks of one transaction without looking at the ledger.

`check_transaction` is a pure function of the bytes and the channel's MSPs: the costly part of
validation (parsing, signatures) that the ledger spreads over threads. It never raises: what cannot
be parsed gets a code. Order and codes are Fabric's
(core/common/validation/msgvalidation.go, …/txvalidator/v20/plugindispatcher/dispatcher.go).
"""

from dataclasses import dataclass, replace
from typing import Any

from fabric_protos.common import common_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)
from google.protobuf.message import DecodeError

from network.rules.envelope import SignedData, compute_tx_id
from network.rules.identity.identity import Identity, IdentityError, verify_signature
from network.rules.identity.msp import MspManager
from network.rules.policy.evaluation import signature_set_to_valid_identities
from network.rules.proposal import compute_proposal_hash
from network.rules.state.rwset import MalformedRwset, Rwset, open_rwset
from network.rules.wire import has_field

Code = transaction_pb2
VALID: int = Code.VALID
CONFIG: int = common_pb2.CONFIG
ENDORSER_TRANSACTION: int = common_pb2.ENDORSER_TRANSACTION


_NOTHING = Rwset(())


@dataclass(frozen=True, slots=True)
class CheckedTransaction:
    """One transaction of a block, taken apart and judged as far as its bytes go.

    `form` is the verdict on structure and creator (checks 1–7), `content` the one on what it
    carries (9–15); between the two the ledger is asked whether the id is known, and that code
    wins over `content`. `tx_id` and `type` are the header's, also of invalid transactions ("" and
    -1 when unreadable); `index_id` is the id under which the ledger finds the transaction, which a
    config transaction's header does not carry. `endorsers` are the distinct identities with a right
    signature.
    """

    form: int
    content: int = VALID
    tx_id: str = ""
    index_id: str = ""
    type: int = -1
    timestamp: bytes = b""
    creator: bytes = b""
    data: bytes = b""
    chaincode: str = ""
    rwset: Rwset = _NOTHING
    event: bytes = b""
    endorsers: tuple[Identity, ...] = ()
    endorser_ids: tuple[bytes, ...] = ()

    @property
    def is_config(self) -> bool:
        """Whether this is a well-formed config transaction."""
        return self.form == VALID and self.type == CONFIG

    @property
    def is_endorsed(self) -> bool:
        """Whether this is a well-formed endorser transaction."""
        return self.form == VALID and self.type == ENDORSER_TRANSACTION


class _Refused(Exception):
    # Not an error but a verdict on its way out.
    def __init__(self, code: int) -> None:
        self.code = code


def check_transaction(raw: bytes, channel_id: str, msps: MspManager) -> CheckedTransaction:
    """Return the transaction in the envelope `raw` with its verdicts. Never raises."""
    checked = CheckedTransaction(VALID)
    try:
        envelope = _parse(common_pb2.Envelope, raw, Code.INVALID_OTHER_REASON)
        payload = _parse(common_pb2.Payload, envelope.payload, Code.BAD_PAYLOAD)
        checked = _read_header(checked, payload)
        _validate_header(payload)
        _validate_creator(envelope, payload, channel_id, msps)
        match checked.type:
            case common_pb2.ENDORSER_TRANSACTION:
                action = _validate_form(payload)
            case common_pb2.CONFIG:
                return replace(checked, data=payload.data)
            case _:
                raise _Refused(Code.UNSUPPORTED_TX_PAYLOAD)
    except _Refused as refused:
        return replace(checked, form=refused.code)
    try:
        return _validate_content(checked, payload, action, msps)
    except _Refused as refused:
        return replace(checked, content=refused.code)


def _read_header(checked: CheckedTransaction, payload: Any) -> CheckedTransaction:
    """Take what the ledger indexes, as far as it can be read; nothing is judged here."""
    if not payload.HasField("header"):
        return checked
    try:
        header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
    except DecodeError:
        return checked
    try:
        signature = common_pb2.SignatureHeader.FromString(payload.header.signature_header)
    except DecodeError:
        return replace(checked, index_id=header.tx_id)
    return replace(
        checked,
        tx_id=header.tx_id,
        # protoutil/txutils.go fn GetOrComputeTxIDFromEnvelope
        index_id=header.tx_id or compute_tx_id(signature.nonce, signature.creator),
        type=header.type,
        timestamp=header.timestamp.SerializeToString(),
        creator=signature.creator,
    )


def _validate_header(payload: Any) -> None:
    bad = Code.BAD_COMMON_HEADER
    if not payload.HasField("header"):
        raise _Refused(bad)
    channel = _parse(common_pb2.ChannelHeader, payload.header.channel_header, bad)
    signature = _parse(common_pb2.SignatureHeader, payload.header.signature_header, bad)
    known = (ENDORSER_TRANSACTION, common_pb2.CONFIG_UPDATE, CONFIG)
    if channel.type not in known or channel.epoch != 0:
        raise _Refused(bad)
    if not signature.nonce or not signature.creator:
        raise _Refused(bad)


def _validate_creator(envelope: Any, payload: Any, channel_id: str, msps: MspManager) -> None:
    channel = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
    signature = common_pb2.SignatureHeader.FromString(payload.header.signature_header)
    # A foreign channel has no MSPs here, so no creator can be found; no code of its own.
    if channel.channel_id != channel_id:
        raise _Refused(Code.BAD_CREATOR_SIGNATURE)
    try:
        creator = msps.identity(signature.creator)
        msps.validate(creator)
        verify_signature(creator, envelope.payload, envelope.signature)
    except IdentityError:
        raise _Refused(Code.BAD_CREATOR_SIGNATURE) from None
    if channel.type == ENDORSER_TRANSACTION and channel.tx_id != compute_tx_id(
        signature.nonce, signature.creator
    ):
        raise _Refused(Code.BAD_PROPOSAL_TXID)


def _validate_form(payload: Any) -> Any:
    """Return the ChaincodeActionPayload of a transaction whose proposal hash is right."""
    bad = Code.INVALID_ENDORSER_TRANSACTION
    actions = _parse(transaction_pb2.Transaction, payload.data, bad).actions
    if len(actions) != 1:
        raise _Refused(bad)
    header = _parse(common_pb2.SignatureHeader, actions[0].header, bad)
    if not header.nonce or not header.creator:
        raise _Refused(bad)
    action = _parse(transaction_pb2.ChaincodeActionPayload, actions[0].payload, bad)
    # A missing action makes a real peer panic.
    if not action.HasField("action"):
        raise _Refused(bad)
    response = _parse(
        proposal_response_pb2.ProposalResponsePayload, action.action.proposal_response_payload, bad
    )
    if not action.chaincode_proposal_payload and not has_field(actions[0].payload, 1):
        raise _Refused(bad)
    expected = compute_proposal_hash(
        payload.header.channel_header, actions[0].header, action.chaincode_proposal_payload
    )
    if response.proposal_hash != expected:
        raise _Refused(bad)
    return action


def _validate_content(
    checked: CheckedTransaction, payload: Any, action: Any, msps: MspManager
) -> CheckedTransaction:
    channel = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
    extension = _parse(
        proposal_pb2.ChaincodeHeaderExtension, channel.extension, Code.BAD_HEADER_EXTENSION
    )
    raw = action.action.proposal_response_payload
    response = proposal_response_pb2.ProposalResponsePayload.FromString(raw)
    bad = Code.BAD_RESPONSE_PAYLOAD
    if not raw or not (response.extension or has_field(raw, 2)):
        raise _Refused(bad)
    result = _parse(proposal_pb2.ChaincodeAction, response.extension, bad)
    try:
        rwset = open_rwset(result.results)
    except MalformedRwset:
        raise _Refused(Code.BAD_RWSET) from None
    _validate_chaincode(extension, result)
    _validate_event(response.extension, result)
    namespaces = [part.namespace for part in rwset.namespaces]
    if len(set(namespaces)) != len(namespaces):
        raise _Refused(Code.ILLEGAL_WRITESET)
    signed = [
        SignedData(raw + entry.endorser, entry.endorser, entry.signature)
        for entry in action.action.endorsements
    ]
    return replace(
        checked,
        chaincode=result.chaincode_id.name,
        rwset=rwset,
        event=result.events,
        endorsers=tuple(signature_set_to_valid_identities(signed, msps)),
        endorser_ids=tuple(entry.endorser for entry in action.action.endorsements),
    )


def _validate_chaincode(extension: Any, result: Any) -> None:
    if not extension.HasField("chaincode_id") or not result.HasField("chaincode_id"):
        raise _Refused(Code.INVALID_OTHER_REASON)
    name = extension.chaincode_id.name
    # The version must be there but is compared with nothing: upgrades show in the rwset.
    if not name or name != result.chaincode_id.name or not result.chaincode_id.version:
        raise _Refused(Code.INVALID_CHAINCODE)


def _validate_event(raw_action: bytes, result: Any) -> None:
    if not result.events and not has_field(raw_action, 2):
        return
    event = _parse(chaincode_event_pb2.ChaincodeEvent, result.events, Code.INVALID_OTHER_REASON)
    if event.chaincode_id != result.chaincode_id.name:
        raise _Refused(Code.INVALID_OTHER_REASON)


def _parse(kind: Any, raw: bytes, code: int) -> Any:
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise _Refused(code) from None
