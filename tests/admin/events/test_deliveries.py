"""Deliveries are Standard Webhooks': public vectors, and everything that must not verify."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from admin.events.deliveries import (
    BadSecret,
    LooksLikeHealthInformation,
    NotAuthentic,
    build_delivery,
    build_withheld,
    format_secret,
    read_secrets,
    sign_delivery,
    validate_delivery,
)
from network.client import ChaincodeEvent

# From the test-suites of the Standard Webhooks reference libraries (standard-webhooks).
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_TIME = datetime.fromtimestamp(1614265330, UTC)
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

AT = datetime(2026, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)
SECRETS = (b"n" * 32, b"o" * 24)
PAYLOAD = {"access": "a" * 32, "patient": "b" * 32, "verdict": "PERMIT"}
EVENT = ChaincodeEvent("records.AccessDecided", "health", "c" * 64, 7, json.dumps(PAYLOAD).encode())


def test_the_public_vector() -> None:
    secrets = read_secrets(VECTOR_SECRET)
    headers = sign_delivery(VECTOR_ID, VECTOR_BODY, secrets, VECTOR_TIME)
    assert headers["webhook-signature"] == VECTOR_SIGNATURE
    assert headers["webhook-timestamp"] == "1614265330"
    assert validate_delivery(headers, VECTOR_BODY, secrets, VECTOR_TIME) == VECTOR_ID
    assert format_secret(secrets[0]) == VECTOR_SECRET


def test_a_delivery_is_the_same_at_every_attempt() -> None:
    first, again = (build_delivery(EVENT, "care", AT) for _ in range(2))
    assert first == again
    assert first.id == "evt_" + "c" * 64
    assert first.key == "records/" + "a" * 32
    body = json.loads(first.body)
    assert body == {
        "type": "records.AccessDecided",
        "timestamp": "2026-02-03T04:05:06.789000Z",
        "data": {
            "channel": "care",
            "blockNumber": 7,
            "transactionId": "c" * 64,
            "payload": PAYLOAD,
        },
    }


def test_while_secrets_rotate_either_verifies() -> None:
    headers = sign_delivery("evt_1", b"{}", SECRETS, AT)
    assert len(headers["webhook-signature"].split()) == 2
    for secret in SECRETS:
        assert validate_delivery(headers, b"{}", (secret,), AT) == "evt_1"


@pytest.mark.parametrize(
    ("changed", "body", "late"),
    [
        ({}, b"{} ", 0),
        ({"webhook-id": "evt_2"}, b"{}", 0),
        ({"webhook-timestamp": str(int(AT.timestamp()) + 1)}, b"{}", 0),
        ({"webhook-timestamp": "now"}, b"{}", 0),
        ({"webhook-signature": ""}, b"{}", 0),
        ({"webhook-signature": "v2,AAAA v1a,AAAA"}, b"{}", 0),
        ({"webhook-signature": "v1,ä"}, b"{}", 0),
        ({}, b"{}", 301),
        ({}, b"{}", -301),
    ],
)
def test_what_was_changed_replayed_or_not_signed_is_refused(
    changed: dict[str, str], body: bytes, late: int
) -> None:
    headers = {**sign_delivery("evt_1", b"{}", SECRETS, AT), **changed}
    with pytest.raises(NotAuthentic):
        validate_delivery(headers, body, SECRETS, AT + timedelta(seconds=late))


def test_every_flipped_bit_of_the_body_is_seen() -> None:
    body = build_delivery(EVENT, "care", AT).body
    headers = sign_delivery("evt_1", body, SECRETS, AT)
    for bit in range(0, len(body) * 8, 7):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NotAuthentic):
            validate_delivery(headers, bytes(flipped), SECRETS, AT)


def test_another_secret_does_not_verify() -> None:
    headers = sign_delivery("evt_1", b"{}", SECRETS, AT)
    with pytest.raises(NotAuthentic, match="no secret of ours"):
        validate_delivery(headers, b"{}", (b"x" * 32,), AT)


@pytest.mark.parametrize("text", ["", "\n", "whsec_", "whsec_!!!", "whsec_AAAA", "A" * 120])
def test_what_is_no_secret_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(BadSecret) as refusal:
        read_secrets(text)
    assert not text.strip() or text not in str(refusal.value)


@pytest.mark.parametrize(
    "payload",
    [
        {"patientName": "Amelia Hart"},
        {"note": "SSN 123-45-6789"},
        {"resource": {"resourceType": "Patient"}},
    ],
)
def test_what_looks_like_health_information_is_withheld(payload: dict[str, object]) -> None:
    leaking = replace(EVENT, payload=json.dumps(payload).encode())
    with pytest.raises(LooksLikeHealthInformation) as refusal:
        build_delivery(leaking, "care", AT)
    assert "Amelia" not in str(refusal.value)
    assert "6789" not in str(refusal.value)
    assert build_withheld(leaking).body == b""


def test_a_payload_that_nobody_can_read_is_withheld() -> None:
    with pytest.raises(LooksLikeHealthInformation):
        build_delivery(replace(EVENT, payload=b"\xff\x00"), "care", AT)
