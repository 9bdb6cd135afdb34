"""What an endorser checks before it runs anything, and what it says afterwards.

Order and texts are those of Fabric's `core/endorser` and of the default auth filters
(`core/handlers/auth/filter`): clients and tests compare them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Protocol

from fabric_protos.common import common_pb2, policies_pb2
from fabric_protos.peer import chaincode_event_pb2, proposal_pb2, proposal_response_pb2
from google.protobuf.message import DecodeError

from network.rules.cache import BoundedCache
from network.rules.duration import format_duration
from network.rules.envelope import MalformedMessage, compute_tx_id, parse_message
from network.rules.identity.identity import (
    Identity,
    IdentityError,
    read_expiry,
    verify_signature,
)
from network.rules.proposal import OpenedProposal
from network.rules.state.recorder import SimulationResults

ERROR_THRESHOLD = 400
"""From this status on a response is not endorsed (shim.ERRORTHRESHOLD)."""
ERROR = 500
"""From this status on a response still carries its payload (shim.ERROR)."""
SYSTEM_CHAINCODES = frozenset({"_lifecycle", "cscc", "lscc", "qscc"})
SYSTEM_CHAINCODE_VERSION = "syscc"
WITHOUT_SIMULATION = frozenset({"cscc", "qscc"})
"""Called on a channel, these two read the ledger itself and leave no read-write set."""


class ProposalRefused(ValueError):
    """The proposal itself is bad; the caller gets a gRPC error with this text.

    `filtered` tells a refusal before the endorser proper (expiry, clock): a gateway takes it for
    an unavailable peer, as Fabric's does.
    """

    def __init__(self, text: str, *, filtered: bool = False) -> None:
        super().__init__(text)
        self.filtered = filtered


class Identities(Protocol):
    """Who is known: a channel's MSPs or the local one (`network.rules.identity.msp`)."""

    def identity(self, serialized: bytes) -> Identity:
        """The identity, whose certificate chains to its MSP; raises IdentityError."""

    def validate(self, identity: Identity) -> None:
        """Raises IdentityError if the MSP does not accept it."""


def validate_filters(raw: bytes, now: datetime, window: timedelta) -> None:
    """The proposal passes the default auth filters: its creator has not expired, its time is near.

    A certificate that cannot be read is left to later checks; a missing timestamp reads as 1970.

    Raises:
        ProposalRefused: `filtered`, with the filters' texts.
    """
    try:
        header = parse_message(common_pb2.Header, parse_message(proposal_pb2.Proposal, raw).header)
        creator = parse_message(common_pb2.SignatureHeader, header.signature_header)
        channel_header = parse_message(common_pb2.ChannelHeader, header.channel_header)
    except MalformedMessage as error:
        part = _PARTS.get(error.part, "proposal")
        raise ProposalRefused(f"failed parsing {part}: {error}", filtered=True) from None
    _validate_expiry(creator.creator, now)
    _validate_time_window(channel_header, now, window)


def validate_opened_filters(opened: OpenedProposal, now: datetime, window: timedelta) -> None:
    """As `validate_filters`, for a proposal that could be opened. Raises ProposalRefused."""
    _validate_expiry(opened.signature_header.creator, now)
    _validate_time_window(opened.channel_header, now, window)


_PARTS = {
    "Header": "header",
    "SignatureHeader": "signature header",
    "ChannelHeader": "channel header",
}


_EXPIRIES: BoundedCache[bytes, datetime | None] = BoundedCache(2048)
"""When creators' certificates end: the same few creators sign most proposals."""


def _validate_expiry(creator: bytes, now: datetime) -> None:
    ends = _EXPIRIES.get(creator, lambda: read_expiry(creator))
    if ends is not None and now > ends:
        raise ProposalRefused("proposal client identity expired", filtered=True)


def _validate_time_window(
    header: common_pb2.ChannelHeader, now: datetime, window: timedelta
) -> None:
    if abs(now.timestamp() - header.timestamp.seconds) + 1 < window.total_seconds():
        return
    try:
        made = header.timestamp.ToDatetime(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        made = datetime.fromtimestamp(0, tz=now.tzinfo)
    if abs(now - made) > window:
        shown = format_duration(round(window.total_seconds() * 1e9))
        raise ProposalRefused(
            f"request unauthorized due to incorrect timestamp {_rfc3339(made)}, "
            f"peer time {_rfc3339(now)}, peer.authentication.timewindow {shown}",
            filtered=True,
        )


def validate_proposal(
    opened: OpenedProposal, raw: bytes, signature: bytes, identities: Identities
) -> Identity:
    """The proposal is well formed and signed by a valid identity, which is returned.

    Raises:
        ProposalRefused: with the text of `UnpackedProposal.Validate`.
    """
    try:
        _validate_header(opened, signature)
        return _validate_creator(opened, raw, signature, identities)
    except ProposalRefused as refusal:
        raise ProposalRefused(f"error validating proposal: {refusal}") from None


def _validate_header(opened: OpenedProposal, signature: bytes) -> None:
    header, creator = opened.channel_header, opened.signature_header
    if header.type not in (common_pb2.ENDORSER_TRANSACTION, common_pb2.CONFIG):
        raise ProposalRefused(f"invalid header type {_header_type(header.type)}")
    if header.epoch != 0:
        raise ProposalRefused("epoch is non-zero")
    if not creator.nonce:
        raise ProposalRefused("nonce is empty")
    if not creator.creator:
        raise ProposalRefused("creator is empty")
    expected = compute_tx_id(creator.nonce, creator.creator)
    if header.tx_id != expected:
        raise ProposalRefused(
            f"incorrectly computed txid '{header.tx_id}' -- expected '{expected}'"
        )
    if not signature:
        raise ProposalRefused("empty signature bytes")


def _validate_creator(
    opened: OpenedProposal, raw: bytes, signature: bytes, identities: Identities
) -> Identity:
    denied = f"access denied: channel [{opened.channel_header.channel_id}] creator org"
    try:
        identity = identities.identity(opened.signature_header.creator)
    except IdentityError:
        raise ProposalRefused(f"{denied} unknown, creator is malformed") from None
    try:
        identities.validate(identity)
        verify_signature(identity, raw, signature)
    except IdentityError:
        # Which of the two failed is for the log, not for the caller.
        raise ProposalRefused(f"{denied} [{identity.msp_id}]") from None
    return identity


def build_error(message: str) -> proposal_response_pb2.ProposalResponse:
    """The peer's own 500: no payload, so that a gateway knows it from the chaincode's."""
    response = proposal_response_pb2.Response(status=ERROR, message=message)
    return proposal_response_pb2.ProposalResponse(response=response)


def build_reply(
    *,
    channel_id: str,
    response: proposal_response_pb2.Response,
    payload: bytes,
    interest: proposal_response_pb2.ChaincodeInterest | None,
    endorsement: proposal_response_pb2.Endorsement | None,
) -> proposal_response_pb2.ProposalResponse:
    """The reply to a proposal that ran (endorser.go, ProcessProposalSuccessfullyOrError).

    A status of 500 and more carries payload and interest but no endorsement, 400 to 499 and
    calls outside a channel only the response.
    """
    if response.status >= ERROR:
        return proposal_response_pb2.ProposalResponse(
            response=response, payload=payload, interest=interest
        )
    if endorsement is None or not channel_id:
        return proposal_response_pb2.ProposalResponse(response=response)
    return proposal_response_pb2.ProposalResponse(
        version=1,
        response=response,
        payload=payload,
        interest=interest,
        endorsement=endorsement,
    )


def needs_endorsement(channel_id: str, response: proposal_response_pb2.Response) -> bool:
    """Whether a reply to this response is signed."""
    return bool(channel_id) and response.status < ERROR_THRESHOLD


def build_event(event: chaincode_event_pb2.ChaincodeEvent | None, status: int) -> bytes:
    """ChaincodeEvent bytes for the action; none is kept when the chaincode failed."""
    if event is None or status >= ERROR_THRESHOLD:
        return b""
    return bytes(event.SerializeToString())


def build_interest(
    namespaces: Iterable[str], results: SimulationResults
) -> proposal_response_pb2.ChaincodeInterest:
    """Whose endorsements a simulation calls for, for the gateway (fn buildChaincodeInterest).

    One call per namespace of the public read-write set and one per collection touched. Key-level
    policies of written keys stand at the namespace's public call; when every public write has its
    own, the chaincode's policy is disregarded. System chaincodes are left out.
    """
    required: dict[str, dict[str, bool]] = {}
    policies: dict[str, list[Any]] = {}
    for (namespace, collection), raws in sorted(results.write_policies.items()):
        needs = required.setdefault(namespace, {"": False})
        policies.setdefault(namespace, []).extend(_open_key_policy(raw) for raw in raws if raw)
        if b"" in raws:
            needs[collection] = True
    for namespace in namespaces:
        required.setdefault(namespace, {"": True})
    for namespace, collection in results.private_reads:
        required.setdefault(namespace, {})[collection] = True
    calls = []
    for namespace in sorted(required.keys() - SYSTEM_CHAINCODES):
        needs, key_policies = required[namespace], policies.get(namespace, [])
        if needs.get("") or key_policies:
            calls.append(
                proposal_response_pb2.ChaincodeCall(
                    name=namespace,
                    key_policies=key_policies,
                    disregard_namespace_policy=not needs.get(""),
                )
            )
        calls.extend(
            proposal_response_pb2.ChaincodeCall(
                name=namespace,
                collection_names=[collection],
                no_private_reads=(namespace, collection) not in results.private_reads,
            )
            for collection in sorted(needs.keys() - {""})
        )
    return proposal_response_pb2.ChaincodeInterest(chaincodes=calls)


def _open_key_policy(raw: bytes) -> policies_pb2.SignaturePolicyEnvelope:
    try:
        return policies_pb2.SignaturePolicyEnvelope.FromString(raw)
    except DecodeError:
        return policies_pb2.SignaturePolicyEnvelope()  # satisfied by nobody


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _header_type(number: int) -> str:
    try:
        return str(common_pb2.HeaderType.Name(number))
    except ValueError:
        return str(number)
