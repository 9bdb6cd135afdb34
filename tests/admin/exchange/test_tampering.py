"""Every kind of place in a sealed file, and every exchange of its parts, is noticed and named.

`test_sealing` flips bits anywhere; here each field of the format has its turn, and whole parts are
moved, so that no class of position is left to luck.
"""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from admin.exchange.errors import ExchangeError, NotARecipient, NotSealed, SealBroken
from admin.exchange.header import CHUNK_SIZE, build_header, key_id, wrap_context
from admin.exchange.keywrap import public_key_spki, unwrap_secret
from admin.exchange.release import BrokenRelease, Release, ReleasedKey, open_release
from admin.exchange.sealing import (
    MAGIC,
    TAG_LENGTH,
    encode_sealed_header,
    new_secret,
    read_header,
    seal,
    wrap_for,
)
from tests.admin.exchange.test_sealing import (
    CLINIC,
    SENDER_ID,
    STRANGER,
    opened,
    sealed,
    sign,
    verify,
)

CONTENT = hashlib.shake_256(b"content").digest(2 * CHUNK_SIZE + 100)
FILE = sealed(CONTENT)
OTHER = sealed(CONTENT)
LENGTH_AT = len(MAGIC)
HEADER_AT = LENGTH_AT + 4
BODY_AT = HEADER_AT + int.from_bytes(FILE[LENGTH_AT:HEADER_AT], "big")
STEP = CHUNK_SIZE + TAG_LENGTH
CHUNKS = [FILE[BODY_AT + n * STEP : BODY_AT + (n + 1) * STEP] for n in range(3)]
HEADER = FILE[HEADER_AT:BODY_AT]


def field_at(name: str) -> int:
    """The position of a header field's value."""
    return HEADER_AT + HEADER.index(f'"{name}":'.encode()) + len(name) + 4


PLACES = {
    "magic": 0,
    "format version": len(MAGIC) - 1,
    "header length": HEADER_AT - 1,
    "header length, high byte": LENGTH_AT,
    **{
        name: field_at(name)
        for name in (
            *("chunkSize", "format", "mediaType", "noncePrefix", "record", "version"),
            *("keyId", "wrappedKey", "sender", "signature"),
        )
    },
    "end of the wrapped key": HEADER_AT + HEADER.index(b'"}]'),
    "end of the signature": BODY_AT - 3,
    **{
        f"chunk {n}, {where}": BODY_AT + n * STEP + at
        for n in range(3)
        for where, at in (
            ("begin", 0),
            ("middle", len(CHUNKS[n]) // 2),
            ("tag", len(CHUNKS[n]) - 1),
        )
    },
    "tag, first byte": BODY_AT + CHUNK_SIZE,
}


@pytest.mark.parametrize("bit", [0, 3, 7])
@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_bit_in_each_place_is_refused(place: str, bit: int) -> None:
    changed = bytearray(FILE)
    changed[PLACES[place]] ^= 1 << bit
    with pytest.raises(ExchangeError):
        opened(bytes(changed))


@pytest.mark.parametrize(
    "order",
    [(0, 1), (0, 2), (1, 0, 2), (0, 0, 1, 2), (0, 1, 1, 2), (0, 1, 2, 2), (2,), (0, 1, 2, 0), ()],
)
def test_chunks_that_are_missing_moved_or_repeated_are_refused(order: tuple[int, ...]) -> None:
    with pytest.raises(SealBroken):
        opened(FILE[:BODY_AT] + b"".join(CHUNKS[n] for n in order))


def test_a_chunk_of_another_sealing_of_the_same_content_is_refused() -> None:
    other_body = len(OTHER) - 2 * STEP - len(CHUNKS[2])
    foreign = OTHER[other_body : other_body + STEP]
    with pytest.raises(SealBroken, match="chunk 0"):
        opened(FILE[:BODY_AT] + foreign + CHUNKS[1] + CHUNKS[2])


def test_anothers_header_over_these_chunks_is_refused() -> None:
    other_body = len(OTHER) - 2 * STEP - len(CHUNKS[2])
    with pytest.raises(SealBroken, match="chunk 0"):
        opened(OTHER[:other_body] + b"".join(CHUNKS))


def rewritten(change: Callable[[dict[str, Any]], None]) -> bytes:
    """The file with its header changed and in canonical form, its signature as it was."""
    document = json.loads(HEADER)
    change(document)
    raw = rfc8785.dumps(document)
    return MAGIC + len(raw).to_bytes(4, "big") + raw + FILE[BODY_AT:]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("record", "f" * 32),
        ("version", 2),
        ("mediaType", "text/html"),
        ("chunkSize", CHUNK_SIZE // 2),
        ("noncePrefix", "00" * 7),
    ],
)
def test_a_changed_manifest_is_refused(field: str, value: object) -> None:
    with pytest.raises(SealBroken, match="signature"):
        opened(rewritten(lambda document: document["manifest"].update({field: value})))


def test_a_removed_signature_is_refused() -> None:
    with pytest.raises(SealBroken, match="no signature"):
        opened(rewritten(lambda document: document.update(signature="")))
    with pytest.raises((SealBroken, NotSealed)):
        opened(rewritten(lambda document: document.pop("signature")))


def test_a_swapped_or_added_recipient_is_refused() -> None:
    manifest = read_header(io.BytesIO(FILE), verify).manifest
    mine = wrap_for(manifest, new_secret(), public_key_spki(STRANGER))
    with pytest.raises(SealBroken, match="signature"):
        opened(rewritten(lambda d: d.update(recipients=[mine.to_json()])), STRANGER)
    with pytest.raises(SealBroken, match="signature"):
        opened(rewritten(lambda d: d["recipients"].append(mine.to_json())), STRANGER)


def test_a_header_that_somebody_else_signed_is_refused() -> None:
    attacker = ec.generate_private_key(ec.SECP256R1())
    header = read_header(io.BytesIO(FILE), verify)
    forged = build_header(
        header.manifest,
        header.recipients,
        SENDER_ID,
        lambda data: attacker.sign(data, ec.ECDSA(hashes.SHA256())),
    )
    with pytest.raises(SealBroken, match="signature"):
        opened(encode_sealed_header(forged) + FILE[BODY_AT:])


def test_a_wrap_does_not_serve_for_another_key_version_or_record() -> None:
    header = read_header(io.BytesIO(FILE), verify)
    manifest, (recipient,) = header.manifest, header.recipients
    context = wrap_context(manifest, recipient.key_id)
    unwrap_secret(recipient.wrapped_key, CLINIC, context)
    for other in (
        wrap_context(replace(manifest, version=2), recipient.key_id),
        wrap_context(replace(manifest, record="f" * 32), recipient.key_id),
        wrap_context(manifest, key_id(public_key_spki(STRANGER))),
    ):
        with pytest.raises(NotARecipient):
            unwrap_secret(recipient.wrapped_key, CLINIC, other)


def test_a_header_in_another_byte_form_is_refused() -> None:
    raw = json.dumps(json.loads(HEADER)).encode()
    with pytest.raises(SealBroken, match="canonical"):
        opened(MAGIC + len(raw).to_bytes(4, "big") + raw + FILE[BODY_AT:])


def test_an_empty_record_cannot_be_made_of_a_full_one() -> None:
    empty = io.BytesIO()
    seal(
        io.BytesIO(b""),
        empty,
        record="r" * 32,
        version=1,
        media_type="text/plain",
        recipients=[public_key_spki(CLINIC)],
        sender=SENDER_ID,
        sign=sign,
        secret=new_secret(),
    )
    assert opened(empty.getvalue()) == b""
    with pytest.raises(SealBroken):
        opened(FILE[:BODY_AT] + empty.getvalue()[-TAG_LENGTH:])


# -- releases --------------------------------------------------------------------------------------

RELEASE = Release(
    "ab" * 32, (ReleasedKey("cd" * 16, 1, "ef" * 32, b"wrapped key", hashlib.sha256().digest()),)
)


def test_a_release_with_any_bit_changed_is_not_the_recorded_one() -> None:
    raw = RELEASE.encode()
    assert open_release(raw, RELEASE.digest) == RELEASE
    for position in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(BrokenRelease):
            open_release(bytes(changed), RELEASE.digest)


def test_a_release_of_another_access_is_not_the_recorded_one() -> None:
    replayed = replace(RELEASE, access="00" * 32)
    with pytest.raises(BrokenRelease):
        open_release(RELEASE.encode(), replayed.digest)
    with pytest.raises(NotARecipient):
        RELEASE.key("00" * 16)
