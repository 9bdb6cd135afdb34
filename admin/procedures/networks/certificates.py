"""Every certificate in a network's folder, and when it ends."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

WARNING = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """A certificate on disk.

    Attributes:
        subject: its common name.
        use: `ca`, `tls-ca`, `tls` or `identity`.
        expires: when it ends.
        days_left: whole days until then; negative when it has ended.
        file: the file, below the network's folder.
    """

    subject: str
    use: str
    expires: datetime
    days_left: int
    file: str


def list_certificates(
    folder: Path, within: int | None = None, now: datetime | None = None
) -> list[CertificateFile]:
    """The network's certificates, each once, the first to end first.

    Args:
        folder: the network's folder.
        within: only those that end in so many days.
        now: the time to count from.
    """
    moment = now or datetime.now(UTC)
    found: dict[bytes, CertificateFile] = {}
    root = folder / "organizations"
    for path in sorted([*root.rglob("*.pem"), *root.rglob("*.crt")]):
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
        except ValueError:
            continue
        key = certificate.fingerprint(certificate.signature_hash_algorithm)  # type: ignore[arg-type]
        if key not in found:
            found[key] = _describe(certificate, path.relative_to(folder), moment)
    listed = sorted(found.values(), key=lambda one: (one.expires, one.subject, one.file))
    return [one for one in listed if within is None or one.days_left <= within]


def _describe(certificate: x509.Certificate, file: Path, now: datetime) -> CertificateFile:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    expires = certificate.not_valid_after_utc
    return CertificateFile(
        subject=str(names[0].value) if names else "",
        use=_use(file),
        expires=expires,
        days_left=(expires - now).days,
        file=str(file),
    )


def _use(file: Path) -> str:
    if file.name.startswith("tlsca."):
        return "tls-ca"
    if "tls" in file.parts:
        return "tls-ca" if file.name == "ca.crt" else "tls"
    return "ca" if file.name.startswith("ca.") else "identity"
