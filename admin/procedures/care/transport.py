"""The way to another organisation's exchange: mutual TLS with a certificate of who acts.

The certificate comes from the organisation's own CA under fabric-ca's profile `tls`, over a key of
its own, and lies where Fabric's tools look for it: `users/<user>@<domain>/tls/client.{crt,key}`.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from admin.exchange.place import exchange_endpoint
from admin.procedures.networks.enrolment import open_ca
from network.client.endpoint import Endpoint
from network.client.profile import Profile, Surroundings
from network.topology.safefiles import write_file
from network.topology.values import Organization

MARGIN = timedelta(hours=12)
"""A certificate that ends sooner is renewed before it is used."""


async def open_exchange(
    surroundings: Surroundings, profile: Profile, custodian: Organization
) -> Endpoint:
    """Return where a custodian serves its records, with the TLS certificate of who asks.

    A certificate is enrolled or renewed where none is here that holds.

    Raises:
        FaultError: the custodian serves none, or the organisation has no CA to enrol at.
        NodeError: the CA refused or does not answer.
    """
    endpoint = exchange_endpoint(surroundings, custodian)
    folder = await ensure_tls(surroundings, profile)
    return replace(
        endpoint,
        client_certificate=(folder / "client.crt").read_bytes(),
        client_key=(folder / "client.key").read_bytes(),
    )


async def ensure_tls(surroundings: Surroundings, profile: Profile) -> Path:
    """Return the folder with `client.crt` and `client.key` of who acts; both hold now."""
    user = profile.identity.partition("/")[2]
    folder = surroundings.folders.user_tls(profile.organization, user)
    if not _holds(folder, _common_name(profile.signer.certificate_pem)):
        ca, _ = open_ca(surroundings, profile.organization.name)
        enrolled = await ca.enroll_tls(profile.signer)
        # The key first: whenever the certificate is there, its key is.
        (folder / "client.crt").unlink(missing_ok=True)
        write_file(folder / "client.key", enrolled.key_pem, secret=True)
        write_file(folder / "client.crt", enrolled.certificate_pem)
        write_file(folder / "ca.crt", enrolled.chain_pem)
    return folder


def _holds(folder: Path, name: str) -> bool:
    try:
        pem = (folder / "client.crt").read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
    except (OSError, ValueError):
        return False
    if not (folder / "client.key").is_file() or _common_name(pem) != name:
        return False
    return certificate.not_valid_after_utc - MARGIN > datetime.now(UTC)


def _common_name(pem: bytes) -> str:
    names = x509.load_pem_x509_certificate(pem).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
