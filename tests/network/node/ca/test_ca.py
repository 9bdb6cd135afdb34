"""Our CA over real TLS: who it knows, what it issues, what it refuses."""

import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from network.client.ca import CaClient
from network.client.errors import NodeError
from network.client.rest import RestEndpoint, request
from network.node.ca.service import CertificateAuthority, load_settings, open_authority
from network.node.serving.logs import LogSpec
from network.node.serving.settings import SettingsError
from network.rules.identity.certificates import (
    Authority,
    build_ca,
    build_leaf,
    build_tls_leaf,
    certificate_pem,
    private_key_pem,
    read_attributes,
    validity_from,
)
from network.rules.identity.enrollment import Attribute, AttributeRequest
from network.rules.identity.identity import Signer, signer_from_pem

MSP = "GeneralHospitalMSP"


@dataclass(frozen=True)
class RunningCa:
    client: CaClient
    admin: Signer
    endpoint: RestEndpoint
    home: Path


def write_home(home: Path) -> tuple[bytes, bytes]:
    """A CA's home as `network up` writes it, with one administrator; returns its PEM and key."""
    now = datetime.now(UTC)
    key, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    validity = validity_from(now, 30)
    root = build_ca(
        common_name="ca.hospital.example",
        organization="hospital.example",
        key=key,
        serial=7,
        validity=validity,
    )
    issuer = Authority(root, key)
    admin = build_leaf(
        common_name="Admin@hospital.example",
        public_key=leaf.public_key(),
        issuer=issuer,
        serial=8,
        validity=validity,
        ous=("admin",),
    )
    tls = build_tls_leaf(
        common_name="localhost",
        public_key=leaf.public_key(),
        issuer=issuer,
        serial=9,
        validity=validity,
        hosts=("localhost", str(ipaddress.ip_address("127.0.0.1"))),
    )
    signcerts = home / "users" / "Admin@hospital.example" / "msp" / "signcerts"
    signcerts.mkdir(parents=True)
    (signcerts / "cert.pem").write_bytes(certificate_pem(admin))
    (home / "ca.pem").write_bytes(certificate_pem(root))
    (home / "ca.key").write_bytes(private_key_pem(key))
    (home / "tls.pem").write_bytes(certificate_pem(tls))
    (home / "tls.key").write_bytes(private_key_pem(leaf))
    (home / "fabric-ca-server-config.yaml").write_text(
        "port: 0\n"
        "tls: {enabled: true, certfile: tls.pem, keyfile: tls.key}\n"
        "ca: {name: ca-hospital, certfile: ca.pem, keyfile: ca.key, imports: [users]}\n"
        "registry:\n"
        "  identities:\n"
        "    - {name: boot, pass: bootpw, type: client, attrs: {hf.Registrar.Roles: client}}\n"
        "affiliations: {ward: {east: [icu]}}\n"
    )
    return certificate_pem(admin), private_key_pem(leaf)


@pytest.fixture
async def ca(tmp_path: Path) -> AsyncIterator[RunningCa]:
    certificate, key = write_home(tmp_path)
    running = CertificateAuthority(
        load_settings({"FABRIC_CA_SERVER_HOME": str(tmp_path)}), LogSpec()
    )
    await running.start()
    endpoint = RestEndpoint(f"localhost:{running.port}", tls_root=tmp_path / "ca.pem")
    admin = signer_from_pem(MSP, certificate, key)
    yield RunningCa(CaClient(endpoint, "ca-hospital"), admin, endpoint, tmp_path)
    await running.stop()


def certificate_of(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


async def enrolled_nurse(ca: RunningCa) -> Signer:
    attributes = [Attribute("role", "clinician", ecert=True), Attribute("btg", "true")]
    secret = await ca.client.register(
        ca.admin, "nurse", affiliation="ward.east", attributes=attributes
    )
    enrolled = await ca.client.enroll("nurse", secret)
    return signer_from_pem(MSP, enrolled.certificate_pem, enrolled.key_pem)


async def test_the_ca_says_who_it_is(ca: RunningCa) -> None:
    name, chain = await ca.client.info()
    assert name == "ca-hospital"
    assert chain == (ca.home / "ca.pem").read_bytes()


async def test_a_registered_identity_enrolls_with_its_attributes_and_units(ca: RunningCa) -> None:
    nurse = await enrolled_nurse(ca)
    certificate = certificate_of(nurse.certificate_pem)
    root = certificate_of((ca.home / "ca.pem").read_bytes())
    certificate.verify_directly_issued_by(root)
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    assert {u.value for u in units} == {"client", "ward", "east"}
    assert read_attributes(certificate) == {
        "role": "clinician",
        "hf.EnrollmentID": "nurse",
        "hf.Type": "client",
        "hf.Affiliation": "ward.east",
    }


async def test_attributes_are_given_only_to_whom_they_belong(ca: RunningCa) -> None:
    secret = await ca.client.register(ca.admin, "clerk")
    with pytest.raises(NodeError, match="btg"):
        await ca.client.enroll("clerk", secret, attributes=[AttributeRequest("btg")])


@pytest.mark.parametrize(("name", "secret"), [("nurse", "wrong"), ("nobody", "x"), ("nurse", "")])
async def test_a_wrong_secret_and_an_unknown_name_look_alike(
    ca: RunningCa, name: str, secret: str
) -> None:
    await ca.client.register(ca.admin, "nurse")
    with pytest.raises(NodeError) as refusal:
        await ca.client.enroll(name, secret)
    assert (refusal.value.status, refusal.value.message) == (
        "UNAUTHENTICATED",
        "Authentication failure",
    )


async def test_ten_wrong_secrets_lock_the_identity(ca: RunningCa) -> None:
    secret = await ca.client.register(ca.admin, "nurse")
    for _ in range(10):
        with pytest.raises(NodeError):
            await ca.client.enroll("nurse", "guess")
    with pytest.raises(NodeError, match="10 times"):
        await ca.client.enroll("nurse", secret)


async def test_a_secret_works_as_often_as_allowed(ca: RunningCa) -> None:
    secret = await ca.client.register(ca.admin, "nurse", max_enrollments=1)
    await ca.client.enroll("nurse", secret)
    with pytest.raises(NodeError, match="Authentication"):
        await ca.client.enroll("nurse", secret)


async def test_a_name_is_registered_once(ca: RunningCa) -> None:
    await ca.client.register(ca.admin, "nurse")
    with pytest.raises(NodeError, match="already registered") as refusal:
        await ca.client.register(ca.admin, "nurse")
    assert refusal.value.status == "ALREADY_EXISTS"


async def test_who_is_no_registrar_registers_nobody(ca: RunningCa) -> None:
    nurse = await enrolled_nurse(ca)
    with pytest.raises(NodeError, match=r"hf\.Registrar\.Roles") as refusal:
        await ca.client.register(nurse, "accomplice")
    assert refusal.value.status == "PERMISSION_DENIED"


async def test_a_certificate_is_renewed_by_its_holder(ca: RunningCa) -> None:
    nurse = await enrolled_nurse(ca)
    renewed = await ca.client.renew(nurse)
    old, new = certificate_of(nurse.certificate_pem), certificate_of(renewed.certificate_pem)
    assert new.serial_number != old.serial_number
    assert new.public_key() != old.public_key()
    assert read_attributes(new) == read_attributes(old)


async def test_an_encryption_key_is_certified_and_is_no_identity(ca: RunningCa) -> None:
    nurse = await enrolled_nurse(ca)
    key = ec.generate_private_key(ec.SECP256R1())
    certified = await ca.client.certify_encryption_key(nurse, key)
    certificate = certificate_of(certified.certificate_pem)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_agreement, usage.digital_signature) == (True, False)
    assert certificate.public_key() == key.public_key()
    with pytest.raises(NodeError, match="Authentication"):
        await ca.client.identities(
            signer_from_pem(MSP, certified.certificate_pem, certified.key_pem)
        )


async def test_a_revoked_identity_is_shut_out_and_listed(ca: RunningCa) -> None:
    nurse = await enrolled_nurse(ca)
    revoked = await ca.client.revoke(ca.admin, name="nurse", reason="keycompromise", crl=True)
    serial = certificate_of(nurse.certificate_pem).serial_number
    assert [int(s, 16) for s, _ in revoked.certificates] == [serial]
    crl = x509.load_pem_x509_crl(revoked.crl_pem)
    assert crl.get_revoked_certificate_by_serial_number(serial) is not None
    with pytest.raises(NodeError, match="Authentication"):
        await ca.client.renew(nurse)


async def test_revoking_others_needs_authority(ca: RunningCa) -> None:
    nurse = await enrolled_nurse(ca)
    await ca.client.register(ca.admin, "clerk")
    with pytest.raises(NodeError, match=r"hf\.Revoker"):
        await ca.client.revoke(nurse, name="clerk")


async def test_a_stolen_token_is_worth_one_request_only(ca: RunningCa) -> None:
    """The signature covers method, path and body (fabric-ca's token since 1.4)."""
    from network.rules.identity.enrollment_token import build_token

    token = build_token("GET", "/api/v1/identities", b"", ca.admin.certificate_pem, ca.admin.sign)
    good = await request(ca.endpoint, "GET", "/api/v1/identities", authorization=token)
    bad = await request(ca.endpoint, "GET", "/api/v1/certificates", authorization=token)
    assert (good.status, bad.status) == (200, 401)


async def test_a_certificate_of_another_ca_is_nobody(ca: RunningCa) -> None:
    (other := ca.home / "other").mkdir()
    certificate, key = write_home(other)
    with pytest.raises(NodeError, match="Authentication"):
        await ca.client.identities(signer_from_pem(MSP, certificate, key))


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "Empty"),
        (b"[1]", 400, "no JSON object"),
        (b"{", 400, "no JSON"),
        (b'{"caname": "other"}', 404, "does not exist"),
    ],
)
async def test_a_bad_body_is_one_clear_error(
    ca: RunningCa, body: bytes, status: int, text: str
) -> None:
    from network.rules.identity.enrollment_token import build_token

    token = build_token("POST", "/api/v1/register", body, ca.admin.certificate_pem, ca.admin.sign)
    answer = await request(
        ca.endpoint, "POST", "/api/v1/register", document=body, authorization=token
    )
    assert answer.status == status
    assert text in answer.body["errors"][0]["message"]
    assert answer.body["success"] is False


async def test_identities_and_certificates_are_listed(ca: RunningCa) -> None:
    await enrolled_nurse(ca)
    listed = {identity.id: identity for identity in await ca.client.identities(ca.admin)}
    assert listed["nurse"].attributes["role"] == "clinician"
    assert "Admin@hospital.example" in listed
    assert len(await ca.client.certificates(ca.admin, "nurse")) == 1


async def test_nothing_is_forgotten_and_no_secret_is_stored(ca: RunningCa) -> None:
    secret = await ca.client.register(ca.admin, "nurse", secret="correct-horse-battery")
    again = open_authority(load_settings({"FABRIC_CA_SERVER_HOME": str(ca.home)}))
    assert again.store.get_identity("nurse") is not None
    again.store.close()
    stored = b"".join(f.read_bytes() for f in ca.home.glob("fabric-ca-server.db*"))
    assert b"nurse" in stored
    assert secret.encode() not in stored
    assert (ca.home / "fabric-ca-server.db").stat().st_mode & 0o777 == 0o600


def test_a_missing_home_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="FABRIC_CA_SERVER_HOME"):
        load_settings({"FABRIC_CA_SERVER_HOME": str(tmp_path)})


def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    write_home(tmp_path)
    (tmp_path / "ca.key").write_bytes((tmp_path / "tls.key").read_bytes())
    with pytest.raises(SettingsError, match="not the key"):
        open_authority(load_settings({"FABRIC_CA_SERVER_HOME": str(tmp_path)}))


def test_an_expired_certificate_may_renew_only_where_allowed(tmp_path: Path) -> None:
    from network.rules.identity.enrollment import EnrollmentRefused
    from network.rules.identity.enrollment_token import build_token

    certificate, key = write_home(tmp_path)
    authority = open_authority(load_settings({"FABRIC_CA_SERVER_HOME": str(tmp_path)}))
    authority.now = lambda: datetime.now(UTC) + timedelta(days=60)
    signer = signer_from_pem(MSP, certificate, key)
    token = build_token("POST", "/reenroll", b"", certificate, signer.sign)
    with pytest.raises(EnrollmentRefused):
        authority.authenticate_token(token, "POST", "/reenroll", b"", allow_expired=False)
    caller = authority.authenticate_token(token, "POST", "/reenroll", b"", allow_expired=True)
    assert caller.id == "Admin@hospital.example"
    authority.store.close()


async def test_a_new_secret_enrols_and_the_old_one_no_more(ca: RunningCa) -> None:
    old = await ca.client.register(ca.admin, "exchange")
    await ca.client.set_secret(ca.admin, "exchange", "another-secret")
    with pytest.raises(NodeError):
        await ca.client.enroll("exchange", old)
    assert (await ca.client.enroll("exchange", "another-secret")).certificate_pem
