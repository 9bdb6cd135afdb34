"""Keeping an enrolled identity: certificate and key in an MSP folder that Fabric reads too.

The key is written before the certificate that names it, and both by rename: whenever the folder
is read, the certificate in it has its key.
"""

import shutil
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from network.rules.identity.certificates import subject_key_id
from network.topology.safefiles import write_file

CERTIFICATE = "cert.pem"


def store_identity(
    msp_folder: Path, certificate_pem: bytes, key_pem: bytes, *, like: Path | None = None
) -> None:
    """The folder signs with this certificate and key from now on; older keys stay beside it.

    Args:
        msp_folder: `users/<user>@<domain>/msp`, made if it is not there.
        certificate_pem: the enrolment certificate.
        key_pem: its key, PKCS#8; written with mode 0600 into a folder of mode 0700.
        like: an MSP folder of the same organisation whose `cacerts`, `tlscacerts` and `config.yaml`
            a new folder takes over.

    Raises:
        ValueError: the certificate cannot be read, or its key is no ECDSA key.
    """
    public_key = x509.load_pem_x509_certificate(certificate_pem).public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise ValueError("an identity's key is an ECDSA key")
    msp_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if like is not None:
        _take_over(msp_folder, like)
    key_name = f"{subject_key_id(public_key).hex()}_sk"
    write_file(msp_folder / "keystore" / key_name, key_pem, secret=True)
    write_file(msp_folder / "signcerts" / CERTIFICATE, certificate_pem, secret=True)
    for older in (msp_folder / "signcerts").glob("*.pem"):
        if older.name != CERTIFICATE:
            older.unlink()


def _take_over(folder: Path, like: Path) -> None:
    for part in ("cacerts", "intermediatecerts", "tlscacerts", "tlsintermediatecerts"):
        if (like / part).is_dir() and not (folder / part).exists():
            shutil.copytree(like / part, folder / part)
    if (like / "config.yaml").is_file() and not (folder / "config.yaml").exists():
        shutil.copy(like / "config.yaml", folder / "config.yaml")
