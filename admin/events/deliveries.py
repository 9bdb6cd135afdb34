"""What is sent to a webhook, and its signature: Standard Webhooks 1.0 (standardwebhooks.com).

The body is canonical JSON `{"data", "timestamp", "type"}`; it is the same at every attempt, also
after a restart, since all of it comes off the ledger. Headers: `webhook-id` is unique to the event
and stays the same when it is sent again, so that a receiver can tell what it has had;
`webhook-timestamp` is the attempt's Unix time; `webhook-signature` is `v1,` and the base64 of
HMAC-SHA256 over `id.timestamp.body`, one for each secret, separated by blanks. Pure.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import rfc8785

from chaincode.errors import InvalidArgument
from chaincode.events import BY_NAME
from chaincode.phi import refuse_phi
from network.client import ChaincodeEvent

SECRET_PREFIX = "whsec_"  # noqa: S105 the scheme's own word, no secret
SECRET_SIZES = range(24, 65)
"""Bytes of a secret (Standard Webhooks, "Signature scheme")."""
TOLERANCE = 300
"""Seconds that a delivery's timestamp may differ from the receiver's clock."""

_PUBLIC_FIELDS = ("name",)  # of a payer's table


class BadSecret(ValueError):
    """The text is no secret of the scheme; it is never quoted."""


class NotAuthentic(ValueError):
    """A delivery was not signed with the secret, or not now; the text says which."""


class LooksLikeHealthInformation(ValueError):
    """The payload holds what must not leave the ledger; the text names the path, not the value."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event, ready to be sent: `key` orders it among its kin, `body` is what is signed."""

    id: str
    type: str
    key: str
    block_number: int
    transaction_id: str
    body: bytes


def read_secrets(text: str) -> tuple[bytes, ...]:
    """Return the secrets in the text, one a line: the newest first, older ones while they rotate.

    Raises:
        BadSecret: a line is no `whsec_` with the base64 of 24 to 64 bytes, or there is none.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise BadSecret("there is no secret")
    return tuple(_read_secret(line, number) for number, line in enumerate(lines, 1))


def format_secret(raw: bytes) -> str:
    """Return the secret as it is told to a receiver."""
    return SECRET_PREFIX + base64.b64encode(raw).decode()


def build_delivery(event: ChaincodeEvent, channel_id: str, at: datetime) -> Delivery:
    """Return the event as it is sent; `at` is its transaction's time.

    Raises:
        LooksLikeHealthInformation: the payload does; it must not be sent.
    """
    payload = _read_payload(event)
    data = {
        "blockNumber": event.block_number,
        "channel": channel_id,
        "payload": payload,
        "transactionId": event.transaction_id,
    }
    body = rfc8785.dumps({"type": event.name, "timestamp": _format_time(at), "data": data})
    return Delivery(
        id=f"evt_{event.transaction_id}",  # a transaction has at most one event
        type=event.name,
        key=_key(event, payload),
        block_number=event.block_number,
        transaction_id=event.transaction_id,
        body=body,
    )


def build_withheld(event: ChaincodeEvent) -> Delivery:
    """Return the event without its content, for the dead letters: its body is empty."""
    return Delivery(
        id=f"evt_{event.transaction_id}",
        type=event.name,
        key=f"{event.name.partition('.')[0]}/",
        block_number=event.block_number,
        transaction_id=event.transaction_id,
        body=b"",
    )


def sign_delivery(
    delivery_id: str, body: bytes, secrets: Sequence[bytes], at: datetime
) -> dict[str, str]:
    """Return the headers of an attempt at this moment."""
    seconds = int(at.timestamp())
    signatures = [_sign(secret, delivery_id, seconds, body) for secret in secrets]
    return {
        "content-type": "application/json",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }


def validate_delivery(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime
) -> str:
    """Return the delivery's id if one of the secrets signed it, within five minutes of now.

    For receivers; any library of Standard Webhooks does the same.

    Raises:
        NotAuthentic: it is not so.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        delivery_id, seconds = given["webhook-id"], int(given["webhook-timestamp"])
        signatures = given["webhook-signature"].split()
    except (KeyError, ValueError):
        raise NotAuthentic("a header is missing or malformed") from None
    if abs(now.timestamp() - seconds) > TOLERANCE:
        raise NotAuthentic("the delivery is too old, or the clocks differ")
    expected = [f"v1,{_sign(secret, delivery_id, seconds, body)}" for secret in secrets]
    if not any(
        hmac.compare_digest(one.encode(), signature.encode())
        for one in expected
        for signature in signatures
    ):
        raise NotAuthentic("no secret of ours signed it")
    return delivery_id


def _sign(secret: bytes, delivery_id: str, seconds: int, body: bytes) -> str:
    signed = f"{delivery_id}.{seconds}.".encode() + body
    return base64.b64encode(hmac.new(secret, signed, sha256).digest()).decode()


def _read_secret(line: str, number: int) -> bytes:
    encoded = line.removeprefix(SECRET_PREFIX)
    try:
        raw = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise BadSecret(f"line {number} is not {SECRET_PREFIX} and base64") from None
    if len(raw) not in SECRET_SIZES:
        raise BadSecret(f"line {number} holds {len(raw)} bytes; a secret has 24 to 64")
    return raw


def _read_payload(event: ChaincodeEvent) -> Any:
    try:
        payload = event.json() or {}
        refuse_phi(payload, "payload", allow=_PUBLIC_FIELDS)
    except InvalidArgument as refusal:
        raise LooksLikeHealthInformation(str(refusal).partition(";")[0]) from None
    except ValueError:
        raise LooksLikeHealthInformation(
            "payload: is not JSON, so it cannot be looked at"
        ) from None
    return payload


def _key(event: ChaincodeEvent, payload: Any) -> str:
    kind = BY_NAME.get(event.name)
    subject = payload.get(kind.subject) if kind and isinstance(payload, dict) else None
    return f"{event.name.partition('.')[0]}/{subject or ''}"


def _format_time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
