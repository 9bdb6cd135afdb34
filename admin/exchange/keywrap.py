"""Data keys wrapped for their recipients with HPKE (RFC 9180).

Suite: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, single-shot base mode. Base mode does
not authenticate the sender; the signature over the header does (`admin.exchange.header`).
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from admin.exchange.errors import NotARecipient

DATA_KEY_LENGTH = 32
SALT_LENGTH = 32
_INFO_TAG = b"medfabric/record-key/v1\x00"
_SUITE = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class RecordSecret:
    """What opens one version of a record: its data key and the salt of its commitment.

    Destroying both is the erasure of that version: neither content nor commitment can then be
    linked to anybody.
    """

    data_key: bytes
    salt: bytes

    def __repr__(self) -> str:
        return "RecordSecret(…)"


def wrap_secret(secret: RecordSecret, recipient_spki: bytes, context: bytes) -> bytes:
    """Return `secret` encrypted to the P-256 public key `recipient_spki` (DER), bound to `context`.

    The wrap is 145 bytes: a 65-byte encapsulated key, 64 bytes of secret and a 16-byte tag.
    """
    public_key = _public_key(recipient_spki)
    return _SUITE.encrypt(secret.data_key + secret.salt, public_key, _INFO_TAG + context)


def unwrap_secret(
    wrapped: bytes, private_key: ec.EllipticCurvePrivateKey, context: bytes
) -> RecordSecret:
    """Return the secret that `wrap_secret` gave to this key in this context.

    Raises NotARecipient if the wrap is for another key, another context, or was changed.
    """
    try:
        plain = _SUITE.decrypt(wrapped, private_key, _INFO_TAG + context)
    except (InvalidTag, ValueError) as error:
        raise NotARecipient("the record's key was not wrapped for this key") from error
    if len(plain) != DATA_KEY_LENGTH + SALT_LENGTH:
        raise NotARecipient("the record's wrapped key has a wrong length")
    return RecordSecret(plain[:DATA_KEY_LENGTH], plain[DATA_KEY_LENGTH:])


def public_key_spki(private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a private key, the form the directory publishes."""
    return private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_key(spki: bytes) -> ec.EllipticCurvePublicKey:
    key = load_der_public_key(spki)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("a record can be sealed only for a P-256 public key")
    return key
