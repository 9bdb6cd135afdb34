"""A sealed record opens for its recipients only, and only as it was sealed."""

import hashlib
import io

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.exchange.errors import ExchangeError, NotARecipient, NotSealed, SealBroken
from admin.exchange.header import CHUNK_SIZE
from admin.exchange.keywrap import RecordSecret, public_key_spki
from admin.exchange.sealing import MAGIC, new_secret, read_header, seal, unseal, unwrap_for

SENDER = ec.generate_private_key(ec.SECP256R1())
CLINIC = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())
SENDER_ID = public_key_spki(SENDER)


def sign(data: bytes) -> bytes:
    return SENDER.sign(data, ec.ECDSA(hashes.SHA256()))


def verify(sender: bytes, data: bytes, signature: bytes) -> None:
    assert sender == SENDER_ID, "unknown sender"
    SENDER.public_key().verify(signature, data, ec.ECDSA(hashes.SHA256()))


def sealed(content: bytes, secret: RecordSecret | None = None) -> bytes:
    target = io.BytesIO()
    result = seal(
        io.BytesIO(content),
        target,
        record="r" * 32,
        version=1,
        media_type="application/fhir+json",
        recipients=[public_key_spki(CLINIC)],
        sender=SENDER_ID,
        sign=sign,
        secret=secret or new_secret(),
    )
    assert result.size == len(content)
    assert result.sealed_size == len(target.getvalue())
    return target.getvalue()


def opened(file: bytes, key: ec.EllipticCurvePrivateKey = CLINIC) -> bytes:
    source = io.BytesIO(file)
    header = read_header(source, verify)
    target = io.BytesIO()
    unseal(source, target, header=header, secret=unwrap_for(header, key))
    return target.getvalue()


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE, 3 * CHUNK_SIZE + 7]
)
def test_what_was_sealed_is_what_is_opened(size: int) -> None:
    content = hashlib.shake_256(str(size).encode()).digest(size)
    assert opened(sealed(content)) == content


def test_a_sealed_file_does_not_contain_its_content() -> None:
    assert b"Observation" not in sealed(b'{"resourceType": "Observation"}')


def test_another_key_is_told_to_request_access() -> None:
    with pytest.raises(NotARecipient, match="request access"):
        opened(sealed(b"content"), STRANGER)


FILE = sealed(hashlib.shake_256(b"tamper").digest(2 * CHUNK_SIZE + 100))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(FILE) - 1), st.integers(0, 7))
def test_no_flipped_bit_goes_unnoticed(position: int, bit: int) -> None:
    changed = bytearray(FILE)
    changed[position] ^= 1 << bit
    with pytest.raises(ExchangeError):
        opened(bytes(changed))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(FILE) - 1))
def test_no_truncation_goes_unnoticed(length: int) -> None:
    with pytest.raises(ExchangeError):
        opened(FILE[:length])


def test_every_bit_of_the_header_counts() -> None:
    header_end = len(MAGIC) + 4 + int.from_bytes(FILE[len(MAGIC) : len(MAGIC) + 4], "big")
    for position in range(0, header_end, 3):
        changed = bytearray(FILE)
        changed[position] ^= 1
        with pytest.raises(ExchangeError):
            opened(bytes(changed))


def test_truncation_at_a_chunk_border_and_swapped_chunks_are_noticed() -> None:
    body = len(MAGIC) + 4 + int.from_bytes(FILE[len(MAGIC) : len(MAGIC) + 4], "big")
    step = CHUNK_SIZE + 16
    with pytest.raises(SealBroken, match="chunk 0"):
        opened(FILE[: body + step])
    swapped = (FILE[:body] + FILE[body + step : body + 2 * step] + FILE[body : body + step]) + FILE[
        body + 2 * step :
    ]
    with pytest.raises(SealBroken, match="chunk 0"):
        opened(swapped)
    with pytest.raises(SealBroken):
        opened(FILE + FILE[-116:])


def test_a_file_that_is_not_ours_is_named_so() -> None:
    with pytest.raises(NotSealed):
        opened(b'{"resourceType": "Bundle"}')


def test_a_stripped_signature_is_refused() -> None:
    start = FILE.index(b'"signature":"') + len(b'"signature":"')
    end = FILE.index(b'"', start)
    header_length = int.from_bytes(FILE[len(MAGIC) : len(MAGIC) + 4], "big") - (end - start)
    stripped = MAGIC + header_length.to_bytes(4, "big") + FILE[len(MAGIC) + 4 : start] + FILE[end:]
    with pytest.raises(SealBroken, match="no signature"):
        opened(stripped)


def test_nobody_to_open_it_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one recipient"):
        seal(
            io.BytesIO(b""),
            io.BytesIO(),
            record="r",
            version=1,
            media_type="text/plain",
            recipients=[],
            sender=SENDER_ID,
            sign=sign,
            secret=new_secret(),
        )


def test_a_secret_does_not_print_itself() -> None:
    assert repr(RecordSecret(b"k" * 32, b"s" * 32)) == "RecordSecret(…)"
