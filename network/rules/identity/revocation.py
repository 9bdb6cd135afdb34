"""Certificate revocation lists as an MSP consults them.

Source: Fabric `msp/mspimplvalidate.go` fn validateCertAgainstChain. The revocation date is ignored
and so is the list's own validity: what counts is issuer key, serial number and signature.
"""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtensionOID

from network.rules.identity.chains import get_extension
from network.rules.identity.ecdsa import MalformedSignature, open_signature
from network.rules.identity.pem import open_pem
from network.rules.identity.sanitize import ECDSA_OIDS, replace_signature


class MalformedRevocationList(ValueError):
    """The bytes are no certificate revocation list."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A parsed CRL: which issuer it speaks for and the serial numbers it revokes."""

    authority_key_id: bytes | None
    serials: frozenset[int] = field(repr=False)
    _crl: x509.CertificateRevocationList = field(repr=False, compare=False)

    def revokes(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        """Tell whether this list, truly signed by ``issuer``, names the certificate."""
        if certificate.serial_number not in self.serials:
            return False
        key = issuer.public_key()
        if not isinstance(
            key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
        ):
            return False
        try:
            return self._crl.is_signature_valid(key)
        except (ValueError, TypeError):
            return False


def open_revocation_list(data: bytes) -> RevocationList:
    """Return the CRL in PEM or DER bytes; raises `MalformedRevocationList`."""
    blocks = [content for label, content in open_pem(data) if label == "X509 CRL"]
    try:
        crl = _tidy_signature(x509.load_der_x509_crl(blocks[0] if blocks else data))
        identifier = get_extension(crl, ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
        serials = frozenset(entry.serial_number for entry in crl)
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise MalformedRevocationList(f"could not parse RevocationList: {error}") from None
    authority = (
        identifier.key_identifier if isinstance(identifier, x509.AuthorityKeyIdentifier) else None
    )
    return RevocationList(authority, serials, crl)


def _tidy_signature(
    crl: x509.CertificateRevocationList,
) -> x509.CertificateRevocationList:
    """Return the list with its ECDSA signature encoded anew, so that extra numbers in it are
    ignored as Go 1.14 did (`msp/mspimplsetup.go` fn setupCRLs)."""
    if crl.signature_algorithm_oid not in ECDSA_OIDS:
        return crl
    try:
        tidy = encode_dss_signature(*open_signature(crl.signature))
    except MalformedSignature as error:
        raise MalformedRevocationList(str(error)) from None
    if tidy == crl.signature:
        return crl
    der = crl.public_bytes(serialization.Encoding.DER)
    return x509.load_der_x509_crl(replace_signature(der, crl.signature, tidy))
