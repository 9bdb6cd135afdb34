"""Fixtures that several rooms share: one running consortium, and its people."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.journeys.care import Care, running, write_network

# A test that is slow on a busy machine is not wrong: only its answer counts.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def care(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    network = write_network(tmp_path_factory.mktemp("care"))
    with running(network):
        yield network


@pytest.fixture(scope="session")
def people(care: Care) -> Care:
    """The consortium with its people enrolled."""
    for name, role in (
        ("GeneralHospital/dr.lee", "clinician"),
        ("GeneralHospital/billing", "claims"),
        ("GeneralHospital/privacy", "privacy-officer"),
        ("CityClinic/dr.kim", "clinician"),
        ("UnitedPayer/adjudicator", "adjudicator"),
        ("UnitedPayer/intake", "claims"),
        ("PatientTrust/registrar", "service"),
        ("PatientTrust/auditor", "auditor"),
    ):
        care.enroll(name, role=role)
    return care
