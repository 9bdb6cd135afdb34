"""The certificate authorities of one MSP: whom they have certified, and whom they have revoked.

Source: Fabric `msp/mspimplsetup.go` (setupCAs, finalizeSetupCAs, setupTLSCAs, setupCRLs,
getCertifiersIdentifier), `msp/mspimplvalidate.go` (validateCertAgainstChain) and `msp/mspimpl.go`
(sanitizeCert, getCertificationChainForBCCSPIdentity).
"""

import hashlib
from collections.abc import Iterable

from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from fabric_protos.msp import msp_config_pb2

from network.rules.identity.chains import (
    Chain,
    InvalidChain,
    TrustAnchors,
    check_signed_by,
    get_extension,
    is_ca,
    to_der,
)
from network.rules.identity.identity import load_certificate
from network.rules.identity.revocation import RevocationList, open_revocation_list
from network.rules.identity.sanitize import is_ecdsa_signed, sanitize_certificate


class InvalidMsp(ValueError):
    """An MSP configuration that Fabric would not set up; the text is Fabric's."""


class Revoked(ValueError):
    """The certificate is on its issuer's list, or that cannot be told; the text is Fabric's."""


class Authorities:
    """Roots and intermediates with their revocation lists, checked as Fabric checks them.

    Raises `InvalidMsp`, `InvalidChain`, `MalformedIdentity` or `MalformedRevocationList`.
    """

    def __init__(self, config: msp_config_pb2.FabricMSPConfig) -> None:
        if not config.root_certs:
            raise InvalidMsp("expected at least one CA certificate")
        # First as they come, so that chains can be built to sanitise them; then sanitised.
        self._anchors = TrustAnchors(
            [load_certificate(pem) for pem in config.root_certs],
            [load_certificate(pem) for pem in config.intermediate_certs],
        )
        self._anchors = TrustAnchors(
            [self.sanitize(certificate) for certificate in self._anchors.roots],
            [self.sanitize(certificate) for certificate in self._anchors.intermediates],
        )
        self._revoked: list[RevocationList] = [
            open_revocation_list(crl) for crl in config.revocation_list
        ]
        self._validate()
        self._inner_nodes = frozenset(
            to_der(parent)
            for certificate in self._anchors.intermediates
            for parent in self._anchors.unique_chain(certificate)[1:]
        )

    def sanitize(self, certificate: x509.Certificate) -> x509.Certificate:
        """Return the certificate with low S, by the curve of the issuer that its chain names.

        Raises `InvalidChain` for a certificate of other authorities.
        """
        if not is_ecdsa_signed(certificate):
            return certificate
        if is_ca(certificate) and check_signed_by(certificate, certificate) is None:
            certificate = sanitize_certificate(certificate, certificate)
            TrustAnchors([certificate], self._anchors.intermediates).unique_chain(certificate)
            return certificate
        chain = self._anchors.unique_chain(certificate)
        if len(chain) <= 1:
            raise InvalidChain(
                "failed to traverse certificate verification chain for leaf or intermediate "
                f"certificate, with subject {certificate.subject.rfc4514_string()}"
            )
        return sanitize_certificate(certificate, chain[1])

    def chain_of(self, certificate: x509.Certificate) -> Chain:
        """Return [certificate, issuer … root] of an identity's certificate.

        Raises `InvalidChain` for CAs, strangers and those certified by an inner CA.
        """
        if is_ca(certificate):
            raise InvalidChain(
                "An X509 certificate with Basic Constraint: "
                "Certificate Authority equals true cannot be used as an identity"
            )
        try:
            chain = self._anchors.unique_chain(certificate)
        except InvalidChain as error:
            raise InvalidChain(f"failed getting validation chain: {error}") from None
        if len(chain) < 2:
            raise InvalidChain(f"expected a chain of length at least 2, got {len(chain)}")
        self._validate_leaf_authority(chain[1])
        return chain

    def validate_not_revoked(self, certificate: x509.Certificate, chain: Chain) -> None:
        """Return when no list of the direct issuer names the certificate; raises `Revoked`."""
        identifier = get_extension(chain[1], ExtensionOID.SUBJECT_KEY_IDENTIFIER)
        if not isinstance(identifier, x509.SubjectKeyIdentifier):
            raise Revoked(
                "could not obtain Subject Key Identifier for signer cert: "
                "subjectKeyIdentifier not found in certificate"
            )
        for revocations in self._revoked:
            if revocations.authority_key_id is None:
                raise Revoked(
                    "could not obtain Authority Key Identifier for crl: "
                    "authorityKeyIdentifier not found in certificate"
                )
            concerned = revocations.authority_key_id == identifier.digest
            if concerned and revocations.revokes(certificate, chain[1]):
                raise Revoked("The certificate has been revoked")

    def certifiers_of(self, pem: bytes) -> bytes:
        """Return the hash of a configured CA's own chain, itself first; raises `InvalidMsp`."""
        certificate = self.sanitize(load_certificate(pem))
        if certificate in self._anchors.roots:
            return hash_chain([certificate])
        if certificate in self._anchors.intermediates:
            chain = self._anchors.unique_chain(certificate)
            self._validate_leaf_authority(chain[0])
            return hash_chain(chain)
        raise InvalidMsp(
            "Failed adding OU. Certificate "
            f"[{certificate.subject.rfc4514_string()}] not in root or intermediate certs."
        )

    def _validate(self) -> None:
        anchors = self._anchors
        for certificate in (*anchors.roots, *anchors.intermediates):
            _validate_authority(certificate)
            try:
                chain = anchors.unique_chain(certificate)
                if len(chain) > 1:
                    self.validate_not_revoked(certificate, chain)
            except (InvalidChain, Revoked) as error:
                raise InvalidMsp(
                    f"CA Certificate is not valid, (SN: {certificate.serial_number}): {error}"
                ) from None

    def _validate_leaf_authority(self, authority: x509.Certificate) -> None:
        """A CA that has certified another configured CA may not certify identities."""
        if to_der(authority) in self._inner_nodes:
            raise InvalidChain(
                "invalid validation chain. Parent certificate should be a leaf of the "
                f"certification tree [{authority.subject.rfc4514_string()}]"
            )


def _validate_authority(certificate: x509.Certificate) -> None:
    serial = f"{certificate.serial_number:x}"
    if not is_ca(certificate):
        raise InvalidMsp(f"CA Certificate did not have the CA attribute, (SN: {serial})")
    if get_extension(certificate, ExtensionOID.SUBJECT_KEY_IDENTIFIER) is None:
        raise InvalidMsp(
            f"CA Certificate problem with Subject Key Identifier extension, (SN: {serial}): "
            "subjectKeyIdentifier not found in certificate"
        )


def validate_tls_authorities(config: msp_config_pb2.FabricMSPConfig) -> None:
    """Return when the TLS CAs are CAs with unique chains; raises `InvalidMsp`."""
    anchors = TrustAnchors(
        [load_certificate(pem) for pem in config.tls_root_certs],
        [load_certificate(pem) for pem in config.tls_intermediate_certs],
    )
    for certificate in (*anchors.roots, *anchors.intermediates):
        _validate_authority(certificate)
        try:
            anchors.unique_chain(certificate)
        except InvalidChain as error:
            raise InvalidMsp(
                f"CA Certificate is not valid, (SN: {certificate.serial_number}): "
                f"could not obtain certification chain: {error}"
            ) from None


def hash_chain(chain: Iterable[x509.Certificate]) -> bytes:
    """Return SHA-256 over the certificates' DER: Fabric's certifiers identifier."""
    digest = hashlib.sha256()
    for certificate in chain:
        digest.update(to_der(certificate))
    return digest.digest()
