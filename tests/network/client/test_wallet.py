"""Whose keys are here, and which of them may be used now."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from network.client.errors import IdentityExpiredError, ProfileError
from network.client.profile import Surroundings, load_profile, load_surroundings
from network.topology.materials import generate_materials
from tests.network.engines.free_network import write_care


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    folder = tmp_path_factory.mktemp("care")
    found = load_surroundings(write_care(folder))
    generate_materials(found.topology, found.folder, datetime.now(UTC))
    return found


def test_everybody_with_a_certificate_is_listed(surroundings: Surroundings) -> None:
    names = {one.name for one in surroundings.wallet.identities()}
    assert {"GeneralHospital/Admin", "UnitedPayer/User1", "Consortium/Admin"} <= names


@pytest.mark.parametrize(
    "name",
    ["UnitedPayer/User1", "unitedpayer/user1", "UnitedPayerMSP/User1", "payer.example/User1"],
)
def test_an_organisation_has_three_names(surroundings: Surroundings, name: str) -> None:
    assert surroundings.wallet.find(name).name == "UnitedPayer/User1"


def test_a_profile_is_the_organisations_own_peer_and_signer(surroundings: Surroundings) -> None:
    profile = load_profile(surroundings.file, "UnitedPayer/User1")
    assert profile.signer.msp_id == "UnitedPayerMSP"
    payer = surroundings.topology.organization("UnitedPayer")
    assert profile.endpoint.port == payer.peers[0].port
    assert profile.endpoint.server_name == "peer0.payer.example"
    assert "PRIVATE" not in repr(profile)


@pytest.mark.parametrize(
    ("name", "message", "remedy"),
    [
        ("UnitedPayer", "names no identity", "Organization/user"),
        ("/x", "names no identity", "Organization/user"),
        ("UnitedPaier/x", "no organisation", "did you mean UnitedPayer?"),
        ("UnitedPayer/Admn", "no user 'Admn'", "did you mean UnitedPayer/Admin?"),
        ("UnitedPayer/zz", "no user 'zz'", "here are: Admin, User1"),
        ("UnitedPayer/../../x", "no user", "here are"),
    ],
)
def test_a_wrong_name_says_what_there_is(
    surroundings: Surroundings, name: str, message: str, remedy: str
) -> None:
    with pytest.raises(ProfileError, match=message) as caught:
        surroundings.wallet.open(name)
    assert remedy in caught.value.remedy


def test_an_expired_certificate_is_refused_before_any_call(surroundings: Surroundings) -> None:
    ended = surroundings.wallet.find("UnitedPayer/User1").valid_to
    with pytest.raises(IdentityExpiredError, match="expired on") as caught:
        surroundings.wallet.open("UnitedPayer/User1", now=ended + timedelta(seconds=1))
    assert "medfabric identity renew UnitedPayer/User1" in caught.value.remedy
    begun = surroundings.wallet.find("UnitedPayer/User1").valid_from
    with pytest.raises(IdentityExpiredError, match="not valid before"):
        surroundings.wallet.open("UnitedPayer/User1", now=begun - timedelta(seconds=1))


def test_a_lost_key_is_told_with_its_folder(tmp_path: Path) -> None:
    found = load_surroundings(write_care(tmp_path))
    generate_materials(found.topology, found.folder, datetime.now(UTC))
    identity = found.wallet.find("UnitedPayer/User1")
    for key in (identity.msp_folder / "keystore").iterdir():
        key.unlink()
    with pytest.raises(ProfileError, match="cannot be read") as caught:
        found.wallet.open("UnitedPayer/User1")
    assert str(identity.msp_folder) in caught.value.remedy


def test_before_the_first_up_nobody_is_here(tmp_path: Path) -> None:
    found = load_surroundings(write_care(tmp_path))
    assert found.wallet.identities() == []
    with pytest.raises(ProfileError, match="no user 'Admin'") as caught:
        found.profile("UnitedPayer/Admin")
    assert "nobody yet" in caught.value.remedy
    with pytest.raises(ProfileError, match="no such network file"):
        load_surroundings(tmp_path / "nope.yaml")
