"""A record's way from a hospital's file to a clinic's screen, and every way it is refused."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from admin.procedures.care.proofs import NotShown, RecordProof, read_proof, verify_record
from network.rules.blocks.block import open_block
from network.rules.channel.config import ChannelConfig
from tests.journeys.care import Care

pytestmark = pytest.mark.network

BUNDLE = "amelia-hart.bundle.json"
TRUST = ".medfabric/care/channels/care.block"


@pytest.fixture(scope="module")
def patient(people: Care) -> str:
    handle = people.run("patient", "register", "--as", "PatientTrust/registrar").out
    people.enroll("PatientTrust/amelia", role="patient", patient=handle)
    return handle


@pytest.fixture(scope="module")
def consent(people: Care, patient: str) -> str:
    receipt = people.result(
        "consent", "grant", "amelia-hart.consent.json",
        "--patient", patient, "--as", "PatientTrust/amelia",
    )  # fmt: skip
    return str(receipt["id"])


@pytest.fixture(scope="module")
def record(people: Care, patient: str, consent: str) -> str:
    handle = people.run(
        "record", "seal", BUNDLE, "--patient", patient, "--label", "N",
        "--as", "GeneralHospital/dr.lee",
    ).out  # fmt: skip
    people.run("record", "anchor", handle[:10], "--as", "GeneralHospital/dr.lee")
    return handle


@pytest.fixture(scope="module")
def opened(people: Care, record: str) -> Path:
    access = people.run(
        "record", "request", record, "--purpose", "TREAT", "--as", "CityClinic/dr.kim"
    ).out
    people.run("record", "open", access, "-o", "opened.json", "--as", "CityClinic/dr.kim")
    return people.folder / "opened.json"


def test_the_clinic_opens_what_the_hospital_sealed(people: Care, opened: Path) -> None:
    assert opened.read_bytes() == (people.folder / BUNDLE).read_bytes()
    assert opened.stat().st_mode & 0o777 == 0o600


def test_another_purpose_is_denied_and_recorded(people: Care, patient: str, record: str) -> None:
    refusal = people.run(
        "record", "request", record, "--purpose", "HRESCH", "--as", "CityClinic/dr.kim", code=4
    )
    assert "denied" in refusal.err
    trail = people.result("audit", "trail", patient, "--as", "PatientTrust/amelia")
    assert [e["verdict"] for e in trail if e["purpose"] == "HRESCH"] == ["NOT_APPLICABLE"]


def test_another_person_cannot_open_an_access(people: Care, record: str, opened: Path) -> None:
    people.enroll("CityClinic/dr.nosy", role="clinician")
    accesses = people.result(
        "record", "accesses", "--record", record, "--as", "PatientTrust/auditor"
    )
    access = next(v for v in accesses["accesses"] if v.get("release"))["access"]["id"]
    refusal = people.run(
        "record", "open", access, "-o", "stolen.json", "--as", "CityClinic/dr.nosy", code=4
    )
    assert "Denied" in refusal.err or "another requester" in refusal.err
    assert not (people.folder / "stolen.json").exists()


def test_a_record_is_verified_offline(people: Care, record: str, opened: Path) -> None:
    people.run(
        "record", "prove", record, "--proof", "p.json", "--block", "b.block",
        "--as", "GeneralHospital/dr.lee",
    )  # fmt: skip
    verify = ("record", "verify", "opened.json", "--proof", "p.json", "--block", "b.block")
    shown = people.result(*verify, "--trust", TRUST)
    assert shown["record"] == record
    assert shown["custodian"] == "GeneralHospitalMSP"
    assert len(set(shown["endorsedBy"])) >= 2


@pytest.mark.parametrize("spoiled", ["file", "salt", "block", "transaction"])
def test_what_was_changed_is_not_verified(
    people: Care, record: str, opened: Path, spoiled: str
) -> None:
    people.run(
        "record", "prove", record, "--proof", "p2.json", "--block", "b2.block",
        "--as", "GeneralHospital/dr.lee",
    )  # fmt: skip
    proof = json.loads((people.folder / "p2.json").read_text())
    content, block = opened.read_bytes(), (people.folder / "b2.block").read_bytes()
    if spoiled == "file":
        content = content.replace(b"134", b"184", 1)
    elif spoiled == "salt":
        proof["salt"] = "00" * 32
    elif spoiled == "block":
        middle = len(block) // 2
        block = block[:middle] + bytes([block[middle] ^ 1]) + block[middle + 1 :]
    else:
        proof["transactionId"] = "ab" * 32
    (people.folder / "s.json").write_bytes(content)
    (people.folder / "sp.json").write_text(json.dumps(proof))
    (people.folder / "sb.block").write_bytes(block)
    answer = people.run(
        "record", "verify", "s.json", "--proof", "sp.json", "--block", "sb.block",
        "--trust", TRUST, code=None,
    )  # fmt: skip
    assert answer.code in (3, 5), answer


def test_a_proof_with_any_field_changed_shows_nothing(
    people: Care, patient: str, opened: Path
) -> None:
    """Of a record in a batch, whose proof has every field that there is."""
    folder = people.folder / "proven" / patient
    folder.mkdir(parents=True)
    for name in ("a", "b", "c"):
        (folder / f"{name}.json").write_bytes(opened.read_bytes())
    people.run(
        "record", "anchor-batch", "proven", "--handles", "proven.csv",
        "--as", "GeneralHospital/dr.lee",
    )  # fmt: skip
    record = (people.folder / "proven.csv").read_text().splitlines()[2].rpartition(",")[2]
    people.run(
        "record", "prove", record, "--proof", "f.json", "--block", "f.block",
        "--as", "GeneralHospital/dr.lee",
    )  # fmt: skip
    trusted = ChannelConfig.from_block(open_block((people.folder / TRUST).read_bytes()))
    block = open_block((people.folder / "f.block").read_bytes())

    def read(proof: object) -> RecordProof | None:
        with contextlib.suppress(NotShown):
            return read_proof(json.dumps(proof).encode())
        return None

    def verify(proof: object) -> None:
        with opened.open("rb") as content:
            verify_record(content, read_proof(json.dumps(proof).encode()), block, trusted)

    whole = json.loads((people.folder / "f.json").read_text())
    verify(whole)
    changed = 0
    for spoiled in spoil(whole):
        if read(spoiled) == read(whole):
            continue  # what was left out is what its absence means: version 1, no classes
        with pytest.raises(NotShown):
            verify(spoiled)
        changed += 1
    assert changed > 100


def spoil(value: Any) -> Iterator[Any]:
    """The value with one thing in it changed, added or left out, in every way that we know."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield {key: kept for key, kept in value.items() if key != name}
            yield from ({**value, name: other} for other in spoil(inner))
        yield {**value, "more": 1}
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield value[:index] + value[index + 1 :]
            yield from ([*value[:index], other, *value[index + 1 :]] for other in spoil(inner))
        yield [*value, *(value[-1:] or [""])]
    elif isinstance(value, str):
        for at in {0, len(value) // 2, len(value) - 1} & set(range(len(value))):
            yield value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]
        yield value[:-1]
    elif isinstance(value, int):
        yield from (value + 1, value - 1)


def test_revoking_stops_the_next_request(
    people: Care, patient: str, consent: str, record: str, opened: Path
) -> None:
    people.run(
        "consent", "revoke", consent[:10], "--patient", patient, "--yes",
        "--as", "PatientTrust/amelia",
    )  # fmt: skip
    people.run(
        "record", "request", record, "--purpose", "TREAT", "--as", "CityClinic/dr.kim", code=4
    )
    trail = people.result("audit", "trail", patient, "--as", "PatientTrust/auditor")
    kinds = [entry["kind"] for entry in trail]
    assert kinds.index("consent-revoked") > kinds.index("access-received")
    assert next(e["verdict"] for e in trail if e["kind"] == "access-decided") == "PERMIT"
