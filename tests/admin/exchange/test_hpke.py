"""Key wrapping is RFC 9180's, word for word: its functions written out, its vector, and ours."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.exchange.errors import NotARecipient
from admin.exchange.keywrap import (
    _INFO_TAG,
    RecordSecret,
    public_key_spki,
    unwrap_secret,
    wrap_secret,
)

VECTOR: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "hpke" / "rfc9180-a3-base.json").read_text()
)
KEM_ID = (0x0010).to_bytes(2, "big")
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KEY_LENGTHS = {1: 16, 2: 32}


def value(name: str) -> bytes:
    return bytes.fromhex(VECTOR[name])


# -- RFC 9180, sections 4 to 6, as they are written ------------------------------------------------


def extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest()


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    block, out, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        out, counter = out + block, counter + 1
    return out[:length]


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def derive_key_pair(ikm: bytes) -> ec.EllipticCurvePrivateKey:
    """Section 7.1.3, for P-256."""
    suite = b"KEM" + KEM_ID
    prk = labeled_extract(suite, b"", b"dkp_prk", ikm)
    for counter in range(256):
        raw = labeled_expand(suite, prk, b"candidate", bytes([counter]), 32)
        number = int.from_bytes(raw, "big")
        if 0 < number < ORDER:
            return ec.derive_private_key(number, ec.SECP256R1())
    raise AssertionError("no key")


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def shared_secret(dh: bytes, enc: bytes, recipient: bytes) -> bytes:
    """ExtractAndExpand of section 4.1."""
    suite = b"KEM" + KEM_ID
    prk = labeled_extract(suite, b"", b"eae_prk", dh)
    return labeled_expand(suite, prk, b"shared_secret", enc + recipient, 32)


def key_schedule(shared: bytes, info: bytes, aead: int) -> tuple[bytes, bytes, bytes, bytes]:
    """KeySchedule of section 5.1 in base mode: context, secret, key, base nonce."""
    suite = b"HPKE" + KEM_ID + (1).to_bytes(2, "big") + aead.to_bytes(2, "big")
    psk_id = labeled_extract(suite, b"", b"psk_id_hash", b"")
    context = b"\0" + psk_id + labeled_extract(suite, b"", b"info_hash", info)
    secret = labeled_extract(suite, shared, b"secret", b"")
    key = labeled_expand(suite, secret, b"key", context, KEY_LENGTHS[aead])
    return context, secret, key, labeled_expand(suite, secret, b"base_nonce", context, 12)


def naive_wrap(
    plain: bytes, recipient: ec.EllipticCurvePublicKey, info: bytes, aead: int, ephemeral: Any
) -> bytes:
    """SealBase of section 6.1 with an empty aad: enc ‖ ct."""
    enc = point(ephemeral.public_key())
    shared = shared_secret(ephemeral.exchange(ec.ECDH(), recipient), enc, point(recipient))
    *_, key, nonce = key_schedule(shared, info, aead)
    return enc + AESGCM(key).encrypt(nonce, plain, b"")


def naive_unwrap(
    wrapped: bytes, private: ec.EllipticCurvePrivateKey, info: bytes, aead: int
) -> bytes:
    enc, sealed = wrapped[:65], wrapped[65:]
    ephemeral = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), enc)
    dh = private.exchange(ec.ECDH(), ephemeral)
    *_, key, nonce = key_schedule(shared_secret(dh, enc, point(private.public_key())), info, aead)
    return AESGCM(key).decrypt(nonce, sealed, b"")


# -- the vector ------------------------------------------------------------------------------------


def test_the_functions_reach_every_value_of_the_vector() -> None:
    recipient, ephemeral = derive_key_pair(value("ikmR")), derive_key_pair(value("ikmE"))
    for pair, name in ((recipient, "R"), (ephemeral, "E")):
        number = pair.private_numbers().private_value
        assert number.to_bytes(32, "big") == value(f"sk{name}m")
        assert point(pair.public_key()) == value(f"pk{name}m")
    enc = point(ephemeral.public_key())
    assert enc == value("enc")
    dh = recipient.exchange(ec.ECDH(), ephemeral.public_key())
    shared = shared_secret(dh, enc, point(recipient.public_key()))
    assert shared == value("shared_secret")
    context, secret, key, nonce = key_schedule(shared, value("info"), VECTOR["suite"]["aead"])
    assert context == value("key_schedule_context")
    assert secret == value("secret")
    assert key == value("key")
    assert nonce == value("base_nonce")
    for one in VECTOR["encryptions"]:
        at = (int.from_bytes(nonce, "big") ^ one["sequence"]).to_bytes(12, "big")
        assert at.hex() == one["nonce"]
        sealed = AESGCM(key).encrypt(at, bytes.fromhex(one["pt"]), bytes.fromhex(one["aad"]))
        assert sealed.hex() == one["ct"]


def test_the_library_opens_what_the_vectors_key_sealed() -> None:
    """Its single-shot call takes no aad, so the first encryption is made again without one."""
    plain = bytes.fromhex(VECTOR["encryptions"][0]["pt"])
    sealed = AESGCM(value("key")).encrypt(value("base_nonce"), plain, b"")
    suite = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
    private = derive_key_pair(value("ikmR"))
    assert suite.decrypt(value("enc") + sealed, private, value("info")) == plain


# -- our wraps -------------------------------------------------------------------------------------

KEY = ec.generate_private_key(ec.SECP256R1())
CONTEXT = b"manifest and recipient"
SECRET = RecordSecret(b"k" * 32, b"s" * 32)


@settings(max_examples=25)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.binary())
def test_our_wraps_and_the_functions_open_each_other(
    data_key: bytes, salt: bytes, context: bytes
) -> None:
    wrapped = wrap_secret(RecordSecret(data_key, salt), public_key_spki(KEY), context)
    assert len(wrapped) == 145
    assert naive_unwrap(wrapped, KEY, _INFO_TAG + context, aead=2) == data_key + salt
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    made = naive_wrap(data_key + salt, KEY.public_key(), _INFO_TAG + context, 2, ephemeral)
    assert unwrap_secret(made, KEY, context) == RecordSecret(data_key, salt)


def test_every_bit_of_a_wrap_counts() -> None:
    wrapped = wrap_secret(SECRET, public_key_spki(KEY), CONTEXT)
    for position in range(len(wrapped) * 8):
        changed = bytearray(wrapped)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(NotARecipient):
            unwrap_secret(bytes(changed), KEY, CONTEXT)


@pytest.mark.parametrize("length", [0, 1, 64, 65, 66, 144, 146])
def test_a_wrap_of_another_length_is_refused(length: int) -> None:
    wrapped = (wrap_secret(SECRET, public_key_spki(KEY), CONTEXT) + b"\0")[:length]
    with pytest.raises(NotARecipient):
        unwrap_secret(wrapped, KEY, CONTEXT)


def test_another_key_and_another_context_do_not_open_it() -> None:
    wrapped = wrap_secret(SECRET, public_key_spki(KEY), CONTEXT)
    with pytest.raises(NotARecipient):
        unwrap_secret(wrapped, ec.generate_private_key(ec.SECP256R1()), CONTEXT)
    with pytest.raises(NotARecipient):
        unwrap_secret(wrapped, KEY, CONTEXT + b"\0")


def test_a_key_that_is_no_p256_key_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(ValueError, match="P-256"):
        wrap_secret(SECRET, public_key_spki(other), CONTEXT)
