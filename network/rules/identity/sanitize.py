"""Certificates with their ECDSA signature moved to low S, which is the form Fabric compares.

Source: Fabric `msp/cert.go` fn sanitizeECDSASignedCert. Only the signature BIT STRING is replaced;
every signed byte stays.
"""

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import SignatureAlgorithmOID

from network.rules.identity.ecdsa import (
    MalformedSignature,
    get_curve_order,
    guess_order,
    normalize_signature,
    open_signature,
)

ECDSA_OIDS = frozenset(
    {
        SignatureAlgorithmOID.ECDSA_WITH_SHA1,
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
    }
)


def is_ecdsa_signed(certificate: x509.Certificate) -> bool:
    """Tell whether the certificate's issuer signed with ECDSA over SHA-1 or SHA-2."""
    return certificate.signature_algorithm_oid in ECDSA_OIDS


def sanitize_certificate(
    certificate: x509.Certificate,
    issuer: x509.Certificate | None = None,
    *,
    signer: ec.EllipticCurvePublicKey | None = None,
) -> x509.Certificate:
    """Return the certificate with a low-S signature, itself when it has one already.

    Without the issuer or the signing key the curve is told from the size of the signature's
    numbers. A signature that cannot be read leaves the certificate as it is: whether it is valid
    is the MSP's question.
    """
    if not is_ecdsa_signed(certificate):
        return certificate
    try:
        r, s = open_signature(certificate.signature)
        order = _find_order(r, s, issuer, signer)
        low = normalize_signature(certificate.signature, order)
    except MalformedSignature:
        return certificate
    if low == certificate.signature:
        return certificate
    der = certificate.public_bytes(serialization.Encoding.DER)
    return x509.load_der_x509_certificate(replace_signature(der, certificate.signature, low))


def replace_signature(der: bytes, old: bytes, new: bytes) -> bytes:
    """Return a signed DER structure (certificate or CRL) with its last BIT STRING replaced."""
    content = der[_header_length(der) :]
    kept = content[: len(content) - len(_der(0x03, b"\0" + old))]
    return _der(0x30, kept + _der(0x03, b"\0" + new))


def _find_order(
    r: int, s: int, issuer: x509.Certificate | None, signer: ec.EllipticCurvePublicKey | None
) -> int:
    key = signer if issuer is None else issuer.public_key()
    if key is None:
        return guess_order(r, s)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise MalformedSignature("the issuer's key is not ECDSA")
    return get_curve_order(key.curve)


def _header_length(der: bytes) -> int:
    return 2 if der[1] < 0x80 else 2 + (der[1] & 0x7F)


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content
