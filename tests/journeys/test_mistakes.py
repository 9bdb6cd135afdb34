"""What people get wrong: one clear line, what to do, the exit code, and nothing half-written."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from network.rules.identity.certificates import (
    Authority,
    Validity,
    build_leaf,
    certificate_pem,
    private_key_pem,
)
from network.topology.materials import load_authority
from tests.journeys.care import Answer, Care, write_network

pytestmark = pytest.mark.network

USAGE, INVALID, REFUSED, UNREACHABLE = 2, 3, 4, 6


def clear(answer: Answer, *said: str) -> None:
    """The error is one line with what and where, and at most one with what to do."""
    lines = [line for line in answer.err.splitlines() if line.strip()]
    mistakes = [line for line in lines if line.startswith("✗")]
    assert len(mistakes) == 1, answer.err
    assert all(line.startswith(("✗", "  ")) for line in lines), answer.err
    for text in said:
        assert text in answer.err, answer.err
    assert answer.out == ""


@pytest.fixture(scope="module")
def patient(people: Care) -> str:
    return people.run("patient", "register", "--as", "PatientTrust/registrar").out


def height(care: Care) -> int:
    nodes = care.result("network", "status")
    nodes = nodes if isinstance(nodes, list) else nodes["nodes"]
    return max(int(node["heights"]["care"]) for node in nodes if node.get("heights"))


@pytest.mark.parametrize("name", ["nothing.json", "no/such/folder/x.json"])
def test_an_unknown_file(people: Care, patient: str, name: str) -> None:
    before = height(people)
    for command in (
        ("consent", "grant", name, "--patient", patient, "--as", "PatientTrust/registrar"),
        ("record", "seal", name, "--patient", patient, "--as", "GeneralHospital/dr.lee"),
    ):
        clear(people.run(*command, code=INVALID), name, "no such file")
    assert height(people) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("[]", "no FHIR resource"),
        ('{"resourceType": "Patient"}', "not a Consent"),
        ('{"resourceType": "Consent", "status": "active"}', "Consent"),
        ('{"resourceType": "Consent", "resourceType": "Consent"}', "twice"),
    ],
)
def test_malformed_fhir(people: Care, patient: str, content: str, said: str) -> None:
    (people.folder / "broken.json").write_text(content)
    before = height(people)
    answer = people.run(
        "consent", "grant", "broken.json",
        "--patient", patient, "--as", "PatientTrust/registrar", code=INVALID,
    )  # fmt: skip
    clear(answer, "broken.json", said)
    assert height(people) == before


def test_a_value_never_stands_in_an_error(people: Care, patient: str) -> None:
    text = (people.folder / "amelia-hart.bundle.json").read_text()
    (people.folder / "secret.json").write_text(text.replace('"1971-03-14"', '"born 1971"'))
    answer = people.run(
        "record", "seal", "secret.json", "--patient", patient, "-v",
        "--as", "GeneralHospital/dr.lee", code=INVALID,
    )  # fmt: skip
    assert "birthDate" in answer.err
    assert "1971" not in answer.err + answer.out
    assert "Amelia" not in answer.err + answer.out


def test_the_wrong_organisation(people: Care, patient: str) -> None:
    """A payer's clerk keeps no records."""
    people.enroll("UnitedPayer/doctor", role="clinician")
    answer = people.run(
        "record", "seal", "amelia-hart.bundle.json", "--patient", patient,
        "--as", "UnitedPayer/doctor", code=None,
    )  # fmt: skip
    if answer.code == 0:
        answer = people.run(
            "record", "anchor", answer.out, "--as", "UnitedPayer/doctor", code=REFUSED
        )
    assert answer.code == REFUSED
    clear(answer, "provider")


def test_a_missing_attribute(people: Care) -> None:
    people.enroll("PatientTrust/nobody")
    before = height(people)
    answer = people.run("patient", "register", "--as", "PatientTrust/nobody", code=REFUSED)
    clear(answer, "Denied", "attribute role=")
    assert height(people) == before


def test_an_unknown_person_and_organisation(people: Care, patient: str) -> None:
    clear(
        people.run("patient", "show", patient, "--as", "CityClinic/dr.kimm", code=INVALID),
        "dr.kimm",
        "did you mean CityClinic/dr.kim",
    )
    clear(
        people.run("patient", "show", patient, "--as", "CityClinik/dr.kim", code=INVALID),
        "did you mean CityClinic",
    )
    clear(
        people.run("patient", "show", patient, "--as", "nobody", code=INVALID), "Organization/user"
    )


def test_an_unknown_patient(people: Care) -> None:
    answer = people.run("patient", "show", "0" * 32, "--as", "CityClinic/dr.kim", code=INVALID)
    clear(answer, "NotFound")


def test_the_same_registration_twice(people: Care) -> None:
    answer = people.run("identity", "enroll", "CityClinic/dr.kim", code=INVALID)
    clear(answer, "already registered", "renew")


def test_who_is_no_registrar(people: Care) -> None:
    answer = people.run(
        "identity", "register", "CityClinic/friend", "--as", "CityClinic/dr.kim", code=REFUSED
    )
    clear(answer, "hf.Registrar.Roles")


def test_an_expired_certificate(people: Care, patient: str) -> None:
    """It is refused before anything is sent, and says how to renew."""
    users = people.network / "organizations/peerOrganizations/clinic.example/users"
    expired = users / "late@clinic.example"
    shutil.copytree(users / "dr.kim@clinic.example", expired)
    write_expired(people, expired / "msp")
    answer = people.run("patient", "show", patient, "--as", "CityClinic/late", code=REFUSED)
    clear(answer, "expired on", "medfabric identity renew CityClinic/late")


def write_expired(care: Care, msp: Path) -> None:
    ca = care.network / "organizations/peerOrganizations/clinic.example/ca"
    authority: Authority = load_authority(ca)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    leaf = build_leaf(
        common_name="late",
        public_key=key.public_key(),
        issuer=authority,
        serial=4711,
        validity=Validity(now - timedelta(days=9), now - timedelta(days=2)),
        ous=("client",),
    )
    for old in (*(msp / "signcerts").iterdir(), *(msp / "keystore").iterdir()):
        old.unlink()
    (msp / "signcerts" / "cert.pem").write_bytes(certificate_pem(leaf))
    (msp / "keystore" / "priv_sk").touch(mode=0o600)
    (msp / "keystore" / "priv_sk").write_bytes(private_key_pem(key))


def test_no_network_here(tmp_path: Path) -> None:
    clear(Care(tmp_path).run("network", "status", code=USAGE), "network.yaml", "network init")


def test_an_invalid_network_file_names_every_mistake(tmp_path: Path) -> None:
    care = write_network(tmp_path)
    text = (tmp_path / "network.yaml").read_text()
    text = text.replace("role: payer", "role: payor").replace("name: care", "name: Care!", 1)
    (tmp_path / "network.yaml").write_text(
        text.replace("members: [GeneralHospital, C", "members: [GH, C")
    )
    answer = care.run("network", "up", code=INVALID)
    assert answer.err.startswith("✗")
    for said in ("network.yaml:", "role", "payor", "GH"):
        assert said in answer.err, answer.err
    assert not (tmp_path / ".medfabric").exists()


@contextmanager
def listening() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_in_use_is_found_before_anything_is_written(tmp_path: Path) -> None:
    care = write_network(tmp_path)
    with listening() as port:
        text = (tmp_path / "network.yaml").read_text()
        first = care.port("CityClinic")
        (tmp_path / "network.yaml").write_text(text.replace(f"port: {first}}}", f"port: {port}}}"))
        answer = care.run("network", "up", code=None)
    assert answer.code in (INVALID, UNREACHABLE)
    clear(answer, f"127.0.0.1:{port}", "peer0.clinic.example", "in use")
    assert not (tmp_path / ".medfabric").exists()


def test_a_network_that_is_down(tmp_path: Path) -> None:
    care = write_network(tmp_path)
    care.run("network", "up")
    care.run("network", "down")
    answer = care.run("patient", "show", "0" * 32, "--as", "CityClinic/Admin", code=UNREACHABLE)
    clear(answer, "no answer", "medfabric network status")
    care.run("network", "down", "--wipe", "--yes")
    assert not (tmp_path / ".medfabric" / "care").exists()
