"""Whose signatures and TLS certificates count off the chain: the channel's own members'."""

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from network.rules.channel.config import ChannelConfig
from network.rules.identity.identity import Identity, verify_signature


class ForeignCertificate(ValueError):
    """A TLS certificate that is not of the identity that it came with."""


class ChannelTrust:
    """The members of a channel as its newest known configuration says."""

    def __init__(self, config: ChannelConfig) -> None:
        self._config = config

    def replace(self, config: ChannelConfig) -> None:
        """From now on this configuration counts: its members, and its revocation lists."""
        self._config = config

    def identify(self, serialized: bytes, *, now: datetime | None = None) -> Identity:
        """Return the valid identity of a member; with `now` its certificate must be in force.

        Raises IdentityError with Fabric's reason.
        """
        identity = self._config.msps.identity(serialized)
        self._config.msps.validate(identity)
        if now is not None and identity.not_after < now:
            raise ValueError(f"the certificate of {identity.common_name} has expired")
        return identity

    def verify(self, serialized: bytes, data: bytes, signature: bytes) -> None:
        """Raise unless a member of the channel signed `data`.

        Expiry is left out on purpose: what was signed while the certificate was valid stays signed.
        """
        verify_signature(self.identify(serialized), data, signature)

    def tls_client_roots(self) -> bytes:
        """Return what members' TLS client certificates chain to, PEM.

        Their TLS CAs, and their CAs: what fabric-ca issues under the profile `tls` is signed by
        the CA that enrols.
        """
        roots: dict[bytes, None] = {}
        for org in self._config.application_orgs.values():
            roots.update(dict.fromkeys(self._issuers(org.msp_id)))
        return b"\n".join(roots)

    def validate_tls_client(self, pem: bytes, identity: Identity) -> None:
        """Raise ForeignCertificate unless the TLS certificate is this very identity's.

        That it chains to a member the handshake has shown; that its key is here it has shown too.
        """
        certificate = x509.load_pem_x509_certificate(pem)
        if not any(_issued(certificate, root) for root in self._issuers(identity.msp_id)):
            raise ForeignCertificate("the TLS certificate is another organisation's")
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if [name.value for name in names] != [identity.common_name]:
            raise ForeignCertificate("the TLS certificate is another person's")

    def _issuers(self, msp_id: str) -> list[bytes]:
        config = self._config.msps.msp(msp_id).config
        return [
            *self._config.tls_roots(msp_id),
            *config.root_certs,
            *config.intermediate_certs,
        ]


def _issued(certificate: x509.Certificate, issuer_pem: bytes) -> bool:
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(issuer_pem))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
