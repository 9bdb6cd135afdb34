"""A key in a token of SoftHSM, as Fabric's HSM samples expect it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TOKEN, PIN = "ForFabric", "98765432"
"""What the samples call the token and open it with."""


def import_key(folder: Path, certificate: Path, key: Path) -> Mapping[str, str]:
    """The key of a certificate is in a new token; the environment in which it is found.

    As everything of Fabric's that uses PKCS#11 looks for it: by the digest of its public point.
    """
    utility = shutil.which("softhsm2-util")
    if utility is None:
        pytest.skip("softhsm2-util is not on the PATH")
    tokens = folder / "tokens"
    tokens.mkdir(parents=True)
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {tokens}\n")
    environment = {"SOFTHSM2_CONF": str(settings)}
    public = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    opened = ["--token", TOKEN, "--pin", PIN]
    for step in (
        ["--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "1234"],
        ["--import", str(key), *opened, "--label", "user", "--id", digest.finalize().hex()],
    ):
        subprocess.run(
            [utility, *step], env=environment, check=True, capture_output=True, timeout=60
        )
    return environment


@contextmanager
def shown_certificate(place: Path, certificate: Path) -> Iterator[None]:
    """The certificate lies in a folder as `fabric-ca-client` lays it, until the block ends."""
    if place.exists():
        pytest.skip(f"{place} is of another network: remove it")
    (place / "signcerts").mkdir(parents=True)
    shutil.copy(certificate, place / "signcerts" / "cert.pem")
    try:
        yield
    finally:
        shutil.rmtree(place)
