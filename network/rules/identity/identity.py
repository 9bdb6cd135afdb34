"""An identity is an MSP id and a certificate; signing and verifying with it.

What an identity may do is decided in `rules.identity.msp`; here it is only read, compared and used
to verify. Sources: Fabric `msp/identities.go`, `msp/cert.go`, `protoutil/signeddata.go`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature as _WrongSignature
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import NameOID
from fabric_protos.msp import identities_pb2
from google.protobuf.message import DecodeError

from network.rules.cache import BoundedCache
from network.rules.identity.ecdsa import (
    MalformedSignature,
    get_curve_order,
    normalize_signature,
    open_signature,
)
from network.rules.identity.pem import first_pem
from network.rules.identity.sanitize import sanitize_certificate

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
_SHA256 = ec.ECDSA(hashes.SHA256())
# What the library raises for certificates it cannot read; several are not ValueErrors.
UNREADABLE = (
    ValueError,
    TypeError,
    NotImplementedError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class IdentityError(ValueError):
    """An identity or its signature was refused; the text is Fabric's."""


class MalformedIdentity(IdentityError):
    """The bytes are no SerializedIdentity with a PEM certificate of a known key type."""


class InvalidSignature(IdentityError):
    """The signature is not this identity's signature over the data (or has a high S)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A parsed identity. ``der`` is the certificate after Fabric's low-S rewriting, so equal
    identities are equal bytes; ``ous`` are the subject's organisational units in order."""

    msp_id: str
    der: bytes = field(repr=False)
    certificate: x509.Certificate = field(compare=False, repr=False)
    public_key: PublicKey = field(compare=False, repr=False)
    ous: tuple[str, ...] = field(compare=False)
    not_after: datetime = field(compare=False)
    digest: bytes = field(compare=False, repr=False)

    @property
    def key(self) -> tuple[str, bytes]:
        """What Fabric de-duplicates by: the MSP id and SHA-256 of the low-S DER."""
        return (self.msp_id, self.digest)

    @property
    def common_name(self) -> str:
        """The subject's common name, or "" when it has none."""
        names = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[0].value) if names else ""

    def serialize(self) -> bytes:
        """Return the SerializedIdentity a real node would write: canonical PEM of the low-S DER."""
        pem = self.certificate.public_bytes(serialization.Encoding.PEM)
        return serialize_identity(self.msp_id, pem)


def serialize_identity(msp_id: str, certificate_pem: bytes) -> bytes:
    """Return SerializedIdentity bytes around the PEM exactly as given."""
    message = identities_pb2.SerializedIdentity(mspid=msp_id, id_bytes=certificate_pem)
    return bytes(message.SerializeToString())


def open_serialized_identity(serialized: bytes) -> tuple[str, bytes]:
    """Return (MSP id, PEM bytes) of a SerializedIdentity; raises `MalformedIdentity`."""
    message = identities_pb2.SerializedIdentity()
    try:
        message.ParseFromString(serialized)
    except DecodeError as error:
        raise MalformedIdentity(f"could not deserialize a SerializedIdentity: {error}") from None
    return message.mspid, message.id_bytes


def read_identity(serialized: bytes) -> Identity:
    """Return the identity in SerializedIdentity bytes without asking any MSP whether it is valid.

    Raises `MalformedIdentity`.
    """
    msp_id, pem = open_serialized_identity(serialized)
    return build_identity(msp_id, sanitize_certificate(load_certificate(pem)))


def read_expiry(creator: bytes) -> datetime | None:
    """When a creator's certificate ends; None where it cannot be read.

    What cannot be read does not expire: other checks refuse it (common/crypto/expiration.go).
    """
    try:
        return read_identity(creator).not_after
    except IdentityError:
        return None


def build_identity(msp_id: str, certificate: x509.Certificate) -> Identity:
    """Return the identity of an MSP's certificate, which must be sanitised already.

    Raises `MalformedIdentity` for a key type Fabric cannot import.
    """
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Identity(
        msp_id=msp_id,
        der=der,
        certificate=certificate,
        public_key=get_public_key(certificate),
        ous=tuple(str(unit.value) for unit in units),
        not_after=certificate.not_valid_after_utc,
        digest=hashlib.sha256(der).digest(),
    )


def load_certificate(pem: bytes) -> x509.Certificate:
    """Return the first PEM certificate; whatever follows it is ignored, as in Go's pem.Decode.

    Raises `MalformedIdentity` with the texts of `msp/mspimpl.go` fn deserializeIdentityInternal.
    """
    # Any label will do: only IsWellFormed, which validation does not call, wants CERTIFICATE.
    der = first_pem(pem)
    if der is None:
        raise MalformedIdentity("could not decode the PEM structure")
    try:
        certificate = x509.load_der_x509_certificate(der)
        # The library parses lazily; Go does not, so ask for all that is used later.
        _ = (certificate.subject, certificate.issuer, certificate.extensions)
    except UNREADABLE as error:
        raise MalformedIdentity(f"parseCertificate failed: {error}") from None
    return certificate


def get_public_key(certificate: x509.Certificate) -> PublicKey:
    """Return the certificate's key; raises `MalformedIdentity` as Fabric's key import would."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedIdentity(f"failed to import certificate's public key: {error}") from None
    if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        return key
    raise MalformedIdentity(
        "failed to import certificate's public key: Certificate's public key type not recognized."
        " Supported keys: [ECDSA, RSA]"
    )


_OWN: BoundedCache[tuple[bytes, bytes], bytes] = BoundedCache(4096)
"""Certificate's digest and signature → SHA-256 of the data, of what this process signed itself."""


def sign_own(signer: "Signer", identity: Identity, data: bytes) -> bytes:
    """Return the signature of ``signer``, whose identity is given, over ``data``.

    The next ones to verify it in this process need no arithmetic for that: a peer meets its own
    endorsements again in every block.
    """
    signature = signer.sign(data)
    _OWN.get((identity.digest, signature), lambda: hashlib.sha256(data).digest())
    return signature


def verify_signature(identity: Identity, data: bytes, signature: bytes) -> None:
    """Return when ``signature`` is the identity's over ``data``: ECDSA over SHA-256 with low S
    (whatever the curve), or Ed25519 over the data itself. Raises `InvalidSignature`."""
    own = _OWN.find((identity.digest, signature))
    if own is not None and own == hashlib.sha256(data).digest():
        return
    key = identity.public_key
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            _verify_ecdsa(key, data, signature)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            raise InvalidSignature(
                "could not determine the validity of the signature: Unsupported key"
            )
    except _WrongSignature:
        raise InvalidSignature("The signature is invalid") from None


def _verify_ecdsa(key: ec.EllipticCurvePublicKey, data: bytes, signature: bytes) -> None:
    failed = "could not determine the validity of the signature: Failed verifing with opts [<nil>]"
    try:
        r, s = open_signature(signature)
        order = get_curve_order(key.curve)
    except MalformedSignature as error:
        raise InvalidSignature(f"{failed}: Failed unmashalling signature [{error}]") from None
    if s > order >> 1:
        raise InvalidSignature(
            f"{failed}: Invalid S. Must be smaller than half the order [{s}][{order >> 1}]."
        )
    # Encoded anew because Go tolerates trailing bytes and the library does not.
    key.verify(encode_dss_signature(r, s), data, _SHA256)


class Signing(Protocol):
    """Who somebody acts as: an identity, and a function that signs for it.

    `Signer` is one; a signer that asks a hardware module is another.
    """

    @property
    def creator(self) -> bytes:
        """The serialised identity (`msp.SerializedIdentity`)."""

    def sign(self, data: bytes) -> bytes:
        """A low-S DER ECDSA signature over SHA-256 of `data`."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Someone who can sign: an MSP id, a certificate and a function over the raw message.

    ``sign(data)`` returns what Fabric verifies: low-S DER ECDSA over SHA-256(data).
    """

    msp_id: str
    certificate_pem: bytes = field(repr=False)
    sign: Callable[[bytes], bytes] = field(repr=False, compare=False)

    @property
    def creator(self) -> bytes:
        """The SerializedIdentity that goes into signature headers and endorsements."""
        return serialize_identity(self.msp_id, self.certificate_pem)


def signer_from_pem(msp_id: str, certificate_pem: bytes, key_pem: bytes) -> Signer:
    """Return a signer from PEM texts (key: PKCS#8 or SEC 1, unencrypted, ECDSA or Ed25519).

    Raises `MalformedIdentity` when either does not parse or they do not belong together.
    """
    certificate = load_certificate(certificate_pem)
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError):
        # No details: they could quote the key.
        raise MalformedIdentity("the private key is not an unencrypted PEM key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise MalformedIdentity("the private key is neither ECDSA nor Ed25519")
    if key.public_key() != certificate.public_key():
        raise MalformedIdentity("the private key does not belong to the certificate")
    return Signer(msp_id, certificate_pem, _build_sign(key))


def _build_sign(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
) -> Callable[[bytes], bytes]:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign
    order = get_curve_order(key.curve)
    return lambda data: normalize_signature(key.sign(data, _SHA256), order)
