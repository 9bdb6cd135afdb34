"""No plaintext of a patient anywhere that the network writes, but in private data (tests.phi)."""

import pytest

from tests.journeys.care import Care
from tests.phi import all_secrets, search_folders

pytestmark = pytest.mark.network


def test_the_search_knows_what_to_look_for() -> None:
    known = all_secrets()
    assert {"Amelia", "Hart", "GH-48213907", "UP-7731-2098-44", "1971-03-14"} <= known
    assert any("tingling" in text for text in known)
    assert "Hemoglobin A1c/Hemoglobin.total in Blood" in known


def test_no_patient_in_any_file_of_the_network(people: Care) -> None:
    """After a whole journey (consent, record, access, refusal, claims) nothing leaked."""
    handle = people.run("patient", "register", "--as", "PatientTrust/registrar").out
    people.enroll("PatientTrust/search", role="patient", patient=handle)
    people.run(
        "consent", "grant", "amelia-hart.consent.json",
        "--patient", handle, "--as", "PatientTrust/search",
    )  # fmt: skip
    record = people.run(
        "record", "seal", "amelia-hart.bundle.json", "--patient", handle, "--label", "N",
        "--as", "GeneralHospital/dr.lee",
    ).out  # fmt: skip
    people.run("record", "anchor", record, "--as", "GeneralHospital/dr.lee")
    access = people.run(
        "record", "request", record, "--purpose", "TREAT", "--as", "CityClinic/dr.kim"
    ).out
    people.run("record", "open", access, "-o", "found.json", "--as", "CityClinic/dr.kim")
    people.run(
        "record", "request", record, "--purpose", "HMARKT", "--as", "CityClinic/dr.kim", code=4
    )
    searched, leaks = search_folders([people.folder])
    assert not leaks
    assert searched > 1_000_000
    # The search is not blind: the same needles are found where plaintext does lie.
    assert all(
        b in (people.folder / "found.json").read_bytes() for b in (b"Amelia", b"GH-48213907")
    )


def test_keys_and_folders_are_private(people: Care) -> None:
    assert people.network.stat().st_mode & 0o777 == 0o700
    keys = [*people.network.rglob("*_sk"), *people.network.rglob("*.key")]
    keys += list(people.network.rglob("encryption/*.pem"))
    assert len(keys) > 20
    for key in keys:
        assert key.stat().st_mode & 0o077 == 0, key
