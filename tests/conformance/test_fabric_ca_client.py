"""The official `fabric-ca-client`, unmodified, works with our CA.

Skipped, with the reason, where the program is not found.
"""

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from network.node.ca.service import CertificateAuthority, load_settings
from network.node.serving.logs import LogSpec
from network.rules.identity.certificates import read_attributes
from tests.fabric_binaries import fabric_binary
from tests.network.node.ca.test_ca import write_home


@pytest.fixture
async def ca(tmp_path: Path) -> AsyncIterator[str]:
    """A CA's URL; its administrator's keys are where the client looks for them."""
    fabric_binary("fabric-ca-client")
    (home := tmp_path / "ca").mkdir()
    certificate, key = write_home(home)
    admin = tmp_path / "client" / "admin"
    for part, content in (("signcerts/cert.pem", certificate), ("keystore/key.pem", key)):
        (admin / part).parent.mkdir(parents=True)
        (admin / part).write_bytes(content)
    running = CertificateAuthority(load_settings({"FABRIC_CA_SERVER_HOME": str(home)}), LogSpec())
    await running.start()
    yield f"localhost:{running.port}"
    await running.stop()


async def client(tmp_path: Path, *arguments: str, code: int = 0) -> str:
    """Run the program off the event loop that serves the CA; returns all it printed."""
    import asyncio

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                str(fabric_binary("fabric-ca-client")), *arguments,
                "--tls.certfiles", str(tmp_path / "ca" / "ca.pem"),
            ],
            env={**os.environ, "FABRIC_CA_CLIENT_HOME": str(tmp_path / "client")},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )  # fmt: skip

    done = await asyncio.to_thread(run)
    printed = done.stdout + done.stderr
    assert (done.returncode == 0) == (code == 0), printed
    return printed


async def test_register_enroll_renew_revoke(ca: str, tmp_path: Path) -> None:
    url = f"https://{ca}"
    nurse = tmp_path / "client" / "nurse" / "signcerts" / "cert.pem"
    printed = await client(
        tmp_path, "register", "-u", url, "-M", "admin", "--id.name", "nurse",
        "--id.secret", "nursepw", "--id.type", "client", "--id.affiliation", "ward.east",
        "--id.attrs", "role=clinician:ecert,btg=true",
    )  # fmt: skip
    assert "Password: nursepw" in printed
    await client(tmp_path, "enroll", "-u", f"https://nurse:nursepw@{ca}", "-M", "nurse")
    first = x509.load_pem_x509_certificate(nurse.read_bytes())
    assert read_attributes(first)["role"] == "clinician"
    assert "btg" not in read_attributes(first)

    await client(
        tmp_path, "enroll", "-u", f"https://nurse:nursepw@{ca}", "-M", "nurse",
        "--enrollment.attrs", "btg,role",
    )  # fmt: skip
    asked = x509.load_pem_x509_certificate(nurse.read_bytes())
    assert read_attributes(asked) == {"btg": "true", "role": "clinician"}

    await client(tmp_path, "reenroll", "-u", url, "-M", "nurse")
    renewed = x509.load_pem_x509_certificate(nurse.read_bytes())
    assert renewed.serial_number != asked.serial_number

    listed = await client(tmp_path, "identity", "list", "-u", url, "-M", "admin", "--id", "nurse")
    assert "Name: nurse, Type: client, Affiliation: ward.east" in listed
    affiliations = await client(tmp_path, "affiliation", "list", "-u", url, "-M", "admin")
    assert "ward.east.icu" in affiliations

    revoked = await client(
        tmp_path, "revoke", "-u", url, "-M", "admin", "-e", "nurse", "-r", "keycompromise",
        "--gencrl",
    )  # fmt: skip
    assert "Successfully revoked certificates" in revoked
    crl_file = tmp_path / "client" / "admin" / "crls" / "crl.pem"
    crl = x509.load_pem_x509_crl(crl_file.read_bytes())
    assert crl.get_revoked_certificate_by_serial_number(renewed.serial_number) is not None
    refused = await client(tmp_path, "reenroll", "-u", url, "-M", "nurse", code=1)
    assert "Error Code: 20 - Authentication failure" in refused


async def test_a_tls_certificate_is_enrolled(ca: str, tmp_path: Path) -> None:
    """`--enrollment.profile tls`: for clients and servers, and nobody's identity."""
    await client(
        tmp_path, "register", "-u", f"https://{ca}", "-M", "admin", "--id.name", "ward",
        "--id.secret", "wardpw", "--id.type", "client",
    )  # fmt: skip
    msp, tls = tmp_path / "client" / "ward", tmp_path / "client" / "ward-tls"
    url = f"https://ward:wardpw@{ca}"
    await client(tmp_path, "enroll", "-u", url, "-M", "ward")
    await client(
        tmp_path, "enroll", "-u", url, "-M", "ward-tls", "--enrollment.profile", "tls",
        "--csr.hosts", "exchange.example,127.0.0.1",
    )  # fmt: skip
    # As our own client gets one: with the certificate that is held already.
    await client(
        tmp_path, "reenroll", "-u", f"https://{ca}", "-M", "ward",
        "--enrollment.profile", "tls",
    )  # fmt: skip
    for folder, hosts in ((tls, ["exchange.example"]), (msp, [])):
        (file,) = (folder / "signcerts").glob("*.pem")
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH} <= set(usage)
        assert not certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        if hosts:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            assert names.value.get_values_for_type(x509.DNSName) == hosts


async def test_a_wrong_secret_is_fabrics_own_refusal(ca: str, tmp_path: Path) -> None:
    refused = await client(tmp_path, "enroll", "-u", f"https://nobody:x@{ca}", "-M", "no", code=1)
    assert "Error Code: 20 - Authentication failure" in refused
