"""Nested messages: golden transactions of a real network, round trips, and malformed bytes."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import proposal_pb2, proposal_response_pb2, transaction_pb2
from hypothesis import given
from hypothesis import strategies as st

from network.rules.envelope import (
    MalformedMessage,
    build_channel_header,
    build_envelope,
    compute_tx_id,
    open_envelope,
)
from network.rules.identity.identity import read_identity, verify_signature
from network.rules.proposal import build_proposal, compute_proposal_hash, open_proposal
from network.rules.transaction import (
    build_response_payload,
    build_transaction_payload,
    open_response_payload,
    open_transaction,
)
from tests.network.rules.vectors import APPROVE, APPROVE_AGAIN, COMMIT, CONFIG, read_block

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
TRANSACTIONS = (APPROVE, COMMIT, APPROVE_AGAIN)


@pytest.mark.parametrize("number", TRANSACTIONS)
class TestRealTransactions:
    def test_the_transaction_id_is_the_hash_of_nonce_and_creator(self, number: int) -> None:
        envelope = open_envelope(read_block(number).data.data[0])
        header = envelope.signature_header
        assert envelope.channel_header.tx_id == compute_tx_id(header.nonce, header.creator)

    def test_the_client_signed_the_payload(self, number: int) -> None:
        signed = open_envelope(read_block(number).data.data[0]).signed_data
        verify_signature(read_identity(signed.identity), signed.data, signed.signature)

    def test_the_proposal_hash_is_over_headers_and_stripped_payload(self, number: int) -> None:
        envelope = open_envelope(read_block(number).data.data[0])
        transaction = open_transaction(envelope.data)
        response = open_response_payload(transaction.response_payload)
        assert response.proposal_hash == compute_proposal_hash(
            envelope.channel_header_bytes,
            transaction.action_header,
            transaction.chaincode_proposal_payload,
        )

    def test_the_endorsers_signed_the_response_and_themselves(self, number: int) -> None:
        transaction = open_transaction(open_envelope(read_block(number).data.data[0]).data)
        assert transaction.endorsement_signed_data
        for signed in transaction.endorsement_signed_data:
            verify_signature(read_identity(signed.identity), signed.data, signed.signature)

    def test_rebuilding_from_the_parts_gives_the_same_bytes(self, number: int) -> None:
        raw = read_block(number).data.data[0]
        envelope = open_envelope(raw)
        transaction = open_transaction(envelope.data)
        header = common_pb2.Header(
            channel_header=envelope.channel_header_bytes,
            signature_header=envelope.signature_header_bytes,
        )
        proposal = proposal_pb2.Proposal(
            header=header.SerializeToString(), payload=transaction.chaincode_proposal_payload
        ).SerializeToString()
        payload = build_transaction_payload(
            proposal, transaction.response_payload, transaction.endorsements
        )
        assert payload == envelope.payload
        assert build_envelope(payload, envelope.signature) == raw

    def test_the_response_payload_is_rebuilt_from_its_parts(self, number: int) -> None:
        transaction = open_transaction(open_envelope(read_block(number).data.data[0]).data)
        opened = open_response_payload(transaction.response_payload)
        assert opened.raw == build_response_payload(
            proposal_hash=opened.proposal_hash,
            results=opened.results,
            event=opened.event,
            response=opened.action.response,
            chaincode_name=opened.action.chaincode_id.name,
            chaincode_version=opened.action.chaincode_id.version,
        )


def test_a_real_config_envelope_opens() -> None:
    envelope = open_envelope(read_block(CONFIG).data.data[0])
    assert envelope.channel_header.type == common_pb2.CONFIG
    assert envelope.channel_header.channel_id == "care"


class TestProposal:
    def build(self, **changes: object) -> bytes:
        values: dict[str, object] = {
            "channel_id": "care",
            "chaincode": "health",
            "args": [b"records:Anchor", b"\x00\xff"],
            "creator": b"creator",
            "nonce": b"n" * 24,
            "timestamp": MOMENT,
        }
        return build_proposal(**(values | changes)).raw  # type: ignore[arg-type]

    def test_what_was_built_is_what_is_opened(self) -> None:
        opened = open_proposal(
            self.build(transient={"key": b"secret"}, is_init=True, tls_cert_hash=b"h" * 32)
        )
        assert opened.chaincode_name == "health"
        assert opened.args == (b"records:Anchor", b"\x00\xff")
        assert opened.is_init
        assert opened.transient == {"key": b"secret"}
        assert opened.channel_header.tx_id == compute_tx_id(b"n" * 24, b"creator")
        assert opened.channel_header.tls_cert_hash == b"h" * 32
        assert opened.channel_header.timestamp.ToDatetime(UTC) == MOMENT

    def test_transient_data_does_not_change_the_proposal_hash(self) -> None:
        plain, secret = (
            open_proposal(self.build()),
            open_proposal(self.build(transient={"a": b"b"})),
        )
        assert plain.proposal_hash == secret.proposal_hash
        assert plain.payload != secret.payload

    def test_transient_data_is_not_in_the_transaction(self) -> None:
        proposal = self.build(transient={"name": b"Jane Roe"})
        endorsement = proposal_response_pb2.Endorsement(endorser=b"peer", signature=b"s")
        payload = build_transaction_payload(proposal, b"response", [endorsement])
        assert b"Jane Roe" in proposal
        assert b"Jane Roe" not in payload

    def test_the_committers_hash_is_the_endorsers(self) -> None:
        proposal = self.build(transient={"name": b"Jane Roe"})
        endorsement = proposal_response_pb2.Endorsement(endorser=b"peer", signature=b"s")
        envelope = open_envelope(
            build_envelope(build_transaction_payload(proposal, b"r", [endorsement]), b"sig")
        )
        transaction = open_transaction(envelope.data)
        assert transaction.action_header == envelope.signature_header_bytes
        assert open_proposal(proposal).proposal_hash == compute_proposal_hash(
            envelope.channel_header_bytes,
            transaction.action_header,
            transaction.chaincode_proposal_payload,
        )

    def test_an_endorser_counts_once(self) -> None:
        twice = [
            proposal_response_pb2.Endorsement(endorser=b"peer", signature=bytes([i]))
            for i in range(2)
        ]
        envelope = build_envelope(build_transaction_payload(self.build(), b"r", twice), b"s")
        assert len(open_transaction(open_envelope(envelope).data).endorsements) == 1

    def test_a_transaction_needs_an_endorsement(self) -> None:
        with pytest.raises(ValueError, match="at least one endorsement"):
            build_transaction_payload(self.build(), b"r", [])

    @pytest.mark.parametrize(
        ("proposal", "text"),
        [
            (b"", "ChaincodeHeaderExtension.ChaincodeId is nil"),
            (b"\xff", "error unmarshalling Proposal"),
            (
                proposal_pb2.Proposal(header=b"\xff").SerializeToString(),
                "error unmarshalling Header",
            ),
        ],
    )
    def test_what_is_missing_is_named(self, proposal: bytes, text: str) -> None:
        with pytest.raises(MalformedMessage, match=text):
            open_proposal(proposal)

    def test_a_chaincode_without_a_name_is_refused(self) -> None:
        with pytest.raises(MalformedMessage, match=r"ChaincodeId\.Name is empty"):
            open_proposal(self.build(chaincode=""))


def test_a_transaction_with_two_actions_is_refused() -> None:
    action = transaction_pb2.TransactionAction()
    data = transaction_pb2.Transaction(actions=[action, action]).SerializeToString()
    with pytest.raises(MalformedMessage, match="tx contains 2"):
        open_transaction(data)


def test_an_envelope_without_header_is_refused_and_the_part_named() -> None:
    with pytest.raises(MalformedMessage, match="must have a Header") as caught:
        open_envelope(build_envelope(b"", b""))
    assert caught.value.part == "Header"


def test_a_timestamp_without_zone_is_utc() -> None:
    aware = build_channel_header(type=3, channel_id="c", timestamp=MOMENT)
    naive = build_channel_header(type=3, channel_id="c", timestamp=MOMENT.replace(tzinfo=None))
    assert aware == naive


@pytest.mark.parametrize(
    "open_it", [open_envelope, open_proposal, open_transaction, open_response_payload]
)
@given(data=st.data())
def test_any_bytes_open_or_are_malformed(
    open_it: Callable[[bytes], object], data: st.DataObject
) -> None:
    """Random bytes, and real messages with a piece cut out or changed."""
    raw = data.draw(st.binary(max_size=200) | mutated_transactions())
    assert "\n" not in get_refusal(open_it, raw)


def get_refusal(open_it: Callable[[bytes], object], raw: bytes) -> str:
    try:
        open_it(raw)
    except MalformedMessage as error:
        return str(error)
    return ""


@st.composite
def mutated_transactions(draw: st.DrawFn) -> bytes:
    envelope = open_envelope(read_block(APPROVE).data.data[0])
    raw = bytearray(draw(st.sampled_from([envelope.raw, envelope.payload, envelope.data])))
    start = draw(st.integers(0, len(raw) - 1))
    raw[start : start + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(raw)
