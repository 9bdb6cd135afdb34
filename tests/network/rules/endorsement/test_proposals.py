"""What an endorser refuses before running anything, and what it says afterwards."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import chaincode_event_pb2, proposal_pb2
from fabric_protos.peer.proposal_response_pb2 import Endorsement, Response

from network.rules.channel.config import ChannelConfig
from network.rules.endorsement.proposals import (
    ProposalRefused,
    build_error,
    build_event,
    build_interest,
    build_reply,
    needs_endorsement,
    validate_filters,
    validate_proposal,
)
from network.rules.identity.certificates import Validity
from network.rules.identity.identity import Signer
from network.rules.policy.dsl import parse_policy
from network.rules.proposal import build_proposal, open_proposal
from network.rules.state.recorder import SimulationResults
from tests.network.consortium import Consortium

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WINDOW = timedelta(minutes=15)


@pytest.fixture(scope="module")
def consortium() -> Consortium:
    return Consortium()


@pytest.fixture(scope="module")
def config(consortium: Consortium) -> ChannelConfig:
    return consortium.config


@pytest.fixture(scope="module")
def user(consortium: Consortium) -> Signer:
    return consortium.org1.enrol("user", "client")


def propose(user: Signer, **options: Any) -> bytes:
    fields: dict[str, Any] = {"channel_id": "care", "chaincode": "demo", "args": [b"f"]}
    fields |= {"creator": user.creator, "nonce": secrets.token_bytes(24), "timestamp": NOW}
    return build_proposal(**{**fields, **options}).raw


def change(raw: bytes, **fields: Any) -> bytes:
    """The proposal with other channel or signature header fields."""
    proposal = proposal_pb2.Proposal.FromString(raw)
    header = common_pb2.Header.FromString(proposal.header)
    channel_header = common_pb2.ChannelHeader.FromString(header.channel_header)
    signature_header = common_pb2.SignatureHeader.FromString(header.signature_header)
    for name, value in fields.items():
        setattr(signature_header if name in ("nonce", "creator") else channel_header, name, value)
    header.channel_header = channel_header.SerializeToString()
    header.signature_header = signature_header.SerializeToString()
    proposal.header = header.SerializeToString()
    return bytes(proposal.SerializeToString())


def test_a_good_proposal_passes(user: Signer, config: ChannelConfig) -> None:
    raw = propose(user)
    validate_filters(raw, NOW, WINDOW)
    identity = validate_proposal(open_proposal(raw), raw, user.sign(raw), config.msps)
    assert identity.msp_id == user.msp_id


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"type": 4}, "invalid header type ORDERER_TRANSACTION"),
        ({"type": 77}, "invalid header type 77"),
        ({"epoch": 1}, "epoch is non-zero"),
        ({"nonce": b""}, "nonce is empty"),
        ({"creator": b""}, "creator is empty"),
        ({"tx_id": "00"}, "incorrectly computed txid '00' -- expected '"),
    ],
)
def test_headers(user: Signer, config: ChannelConfig, fields: dict[str, Any], text: str) -> None:
    raw = change(propose(user), **fields)
    with pytest.raises(ProposalRefused) as caught:
        validate_proposal(open_proposal(raw), raw, user.sign(raw), config.msps)
    assert str(caught.value).startswith(f"error validating proposal: {text}")


def test_creators(user: Signer, config: ChannelConfig) -> None:
    raw = propose(user)
    opened = open_proposal(raw)
    denied = "error validating proposal: access denied: channel [care] creator org"
    for signature in (user.sign(raw + b"x"), user.sign(raw)[:-1], b"x"):
        with pytest.raises(ProposalRefused) as caught:
            validate_proposal(opened, raw, signature, config.msps)
        assert str(caught.value) == f"{denied} [{user.msp_id}]"
    with pytest.raises(ProposalRefused, match="empty signature bytes"):
        validate_proposal(opened, raw, b"", config.msps)
    stranger = Consortium().org1.enrol("stranger", "client")
    raw = propose(stranger)
    with pytest.raises(ProposalRefused) as caught:
        validate_proposal(open_proposal(raw), raw, stranger.sign(raw), config.msps)
    assert str(caught.value) == f"{denied} unknown, creator is malformed"


@pytest.mark.parametrize("offset", [timedelta(minutes=16), -timedelta(minutes=16)])
def test_clocks(user: Signer, offset: timedelta) -> None:
    with pytest.raises(ProposalRefused) as caught:
        validate_filters(propose(user), NOW + offset, WINDOW)
    later = (NOW + offset).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert caught.value.filtered
    assert str(caught.value) == (
        "request unauthorized due to incorrect timestamp 2026-01-02T03:04:05Z, peer time "
        f"{later}, peer.authentication.timewindow 15m0s"
    )


def test_expired_creators_are_filtered(consortium: Consortium) -> None:
    validity = Validity(NOW - timedelta(days=2), NOW - timedelta(days=1))
    expired = consortium.org1.enrol("old", "client", validity)
    with pytest.raises(ProposalRefused, match="proposal client identity expired"):
        validate_filters(propose(expired), NOW, WINDOW)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xff", "failed parsing proposal: "),
        (proposal_pb2.Proposal(header=b"\xff").SerializeToString(), "failed parsing header: "),
    ],
)
def test_garbage_is_filtered(raw: bytes, text: str) -> None:
    with pytest.raises(ProposalRefused, match=text):
        validate_filters(raw, NOW, WINDOW)


@pytest.mark.parametrize(
    ("channel_id", "status", "payload", "endorsed"),
    [
        ("care", 200, True, True),
        ("care", 399, True, True),
        ("care", 400, False, False),
        ("care", 499, False, False),
        ("care", 500, True, False),
        ("", 200, False, False),
        ("", 500, True, False),
    ],
)
def test_replies_by_status(channel_id: str, status: int, payload: bool, endorsed: bool) -> None:
    response = Response(status=status, message="m")
    assert needs_endorsement(channel_id, response) is endorsed
    reply = build_reply(
        channel_id=channel_id,
        response=response,
        payload=b"payload",
        interest=None,
        endorsement=Endorsement(endorser=b"e") if endorsed else None,
    )
    assert bool(reply.payload) is payload
    assert reply.HasField("endorsement") is endorsed
    assert reply.version == (1 if endorsed else 0)
    assert reply.response == response


def test_events_of_failures_are_dropped() -> None:
    event = chaincode_event_pb2.ChaincodeEvent(event_name="e")
    assert build_event(event, 200) == event.SerializeToString()
    assert build_event(event, 400) == b""
    assert build_event(None, 200) == b""


def test_a_peers_own_error_has_no_payload() -> None:
    reply = build_error("why")
    assert (reply.response.status, reply.response.message, reply.payload) == (500, "why", b"")


def test_interest_names_what_was_touched() -> None:
    policy = parse_policy("OR('A.peer')").SerializeToString()
    results = SimulationResults(
        public=b"",
        private=b"",
        private_reads=frozenset({("demo", "read")}),
        write_policies={
            ("demo", ""): frozenset({policy}),
            ("demo", "written"): frozenset({b""}),
            ("other", ""): frozenset({policy, b""}),
        },
    )
    calls = build_interest(["_lifecycle", "demo", "other", "third"], results).chaincodes
    assert [
        (
            call.name,
            list(call.collection_names),
            call.no_private_reads,
            call.disregard_namespace_policy,
            len(call.key_policies),
        )
        for call in calls
    ] == [
        ("demo", [], False, True, 1),
        ("demo", ["read"], False, False, 0),
        ("demo", ["written"], True, False, 0),
        ("other", [], False, False, 1),
        ("third", [], False, False, 0),
    ]
