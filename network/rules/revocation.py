"""Certificate revocation lists as an MSP consults them.

Source: Fabric `msp/mspimplvalidate.go` fn validateCertAgainstChain. The revocation date is ignored
and so is the list's own validity: what counts is issuer key, serial number and signature.
"""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtensionOID

from network.rules.chains import get_extension
from network.rules.pem import open_pem


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
        crl = x509.load_der_x509_crl(blocks[0] if blocks else data)
        identifier = get_extension(crl, ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
        serials = frozenset(entry.serial_number for entry in crl)
    except ValueError as error:
        raise MalformedRevocationList(f"could not parse RevocationList: {error}") from None
    authority = (
        identifier.key_identifier if isinstance(identifier, x509.AuthorityKeyIdentifier) else None
    )
    return RevocationList(authority, serials, crl)
