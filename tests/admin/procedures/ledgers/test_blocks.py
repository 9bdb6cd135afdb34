"""Blocks as values; whatever stands in them, reading never fails and shows nothing private."""

from datetime import UTC, datetime

from fabric_protos.common.common_pb2 import ChannelHeader, Payload
from fabric_protos.peer import proposal_response_pb2
from hypothesis import given
from hypothesis import strategies as st

from admin.output import to_plain
from admin.procedures.ledgers.blocks import view_block, view_transaction
from network.rules.blocks.block import build_block
from network.rules.envelope import build_envelope, open_envelope
from network.rules.proposal import build_proposal, open_proposal
from network.rules.transaction import build_response_payload, build_transaction_payload
from tests.network.client.gateway_double import make_signer

SIGNER = make_signer("Org1MSP", "alice")


def make_envelope() -> bytes:
    built = build_proposal(
        channel_id="care",
        chaincode="health",
        args=[b"consent:Grant", b"PRIVATE ARGUMENT"],
        creator=SIGNER.creator,
        nonce=b"n" * 24,
        timestamp=datetime(2026, 1, 2, tzinfo=UTC),
    )
    payload = build_response_payload(
        proposal_hash=open_proposal(built.raw).proposal_hash,
        results=b"",
        event=b"",
        response=proposal_response_pb2.Response(status=200, payload=b"PRIVATE RESULT"),
        chaincode_name="health",
        chaincode_version="1.0",
    )
    endorsement = proposal_response_pb2.Endorsement(endorser=SIGNER.creator, signature=b"s")
    return build_envelope(build_transaction_payload(built.raw, payload, [endorsement]), b"s")


def test_a_transaction_tells_who_when_and_what() -> None:
    block = build_block(7, b"before", [make_envelope()])
    block.metadata.metadata[2] = bytes([11])
    view = view_block(block)
    (found,) = view.transactions
    assert (view.number, view.intact) == (7, True)
    assert (found.code_name, found.valid) == ("MVCC_READ_CONFLICT", False)
    assert found.submitter == "Org1MSP/alice"
    assert found.endorsers == ("Org1MSP/alice",)
    assert (found.chaincode, found.function, found.status) == ("health 1.0", "consent:Grant", 200)
    assert found.time == datetime(2026, 1, 2, tzinfo=UTC)
    assert "PRIVATE" not in str(to_plain(view))


def test_a_changed_transaction_is_seen() -> None:
    block = build_block(7, b"before", [make_envelope()])
    block.data.data[0] += b"\x00"
    assert view_block(block).intact is False


@given(raw=st.binary(max_size=200), codes=st.binary(max_size=2))
def test_any_bytes_give_a_value(raw: bytes, codes: bytes) -> None:
    view = view_transaction(raw, 1, 0, codes)
    assert view.block_number == 1
    assert view.code == (codes[0] if codes else 254)


@given(cut=st.integers(0, 400), flipped=st.integers(0, 399))
def test_spoilt_transactions_give_a_value(cut: int, flipped: int) -> None:
    raw = bytearray(make_envelope())
    raw[flipped % len(raw)] ^= 0xFF
    view_transaction(bytes(raw), 1, 0, b"\x00")
    view_transaction(bytes(raw[:cut]), 1, 0, b"\x00")


def test_a_time_that_no_calendar_has_is_left_out() -> None:
    payload = Payload.FromString(open_envelope(make_envelope()).payload)
    header = ChannelHeader.FromString(payload.header.channel_header)
    header.timestamp.seconds = 1 << 62
    payload.header.channel_header = header.SerializeToString()
    view = view_transaction(build_envelope(payload.SerializeToString(), b"s"), 1, 0, b"\x00")
    assert view.time is None
    assert view.function == "consent:Grant"
