"""A claim keeps its handle and salt, in files that only their owner reads; so does the key."""

from pathlib import Path

import pytest

from admin.errors import FaultError
from admin.procedures.claims.cards import Cards
from admin.procedures.claims.keys import enrolment_handle, import_key, key_file, open_key
from network.client.profile import Surroundings, load_surroundings
from tests.journeys.care import EXAMPLE

KEY = b"\x07" * 32
NUMBER = ("UnitedPayerMSP", "system", "GH-2026-004417")


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    file = tmp_path / "network.yaml"
    file.write_text(EXAMPLE.read_text())
    return load_surroundings(file)


def cards(surroundings: Surroundings, name: str = "GeneralHospital", key: bytes = KEY) -> Cards:
    return Cards(surroundings, surroundings.topology.organization(name), key)


def test_the_same_claim_gets_the_same_card(surroundings: Surroundings) -> None:
    first = cards(surroundings).find(NUMBER)
    assert not first.known
    cards(surroundings).keep(first)
    again = cards(surroundings).find(NUMBER)
    assert (again.handle, again.salt, again.known) == (first.handle, first.salt, True)


def test_what_was_not_kept_was_not_sent(surroundings: Surroundings) -> None:
    first, second = (cards(surroundings).find(NUMBER) for _ in range(2))
    assert first.handle != second.handle
    assert first.name == second.name


def test_cards_are_told_apart_by_every_part_and_organisation(surroundings: Surroundings) -> None:
    kept = cards(surroundings).find(NUMBER)
    cards(surroundings).keep(kept)
    for other in ((*NUMBER[:2], "GH-2026-004418"), NUMBER[1:], ("", *NUMBER)):
        assert not cards(surroundings).find(other).known
    assert not cards(surroundings, "CityClinic").find(NUMBER).known
    assert not cards(surroundings, key=b"\x08" * 32).find(NUMBER).known


def test_a_renewed_card_takes_the_old_ones_place(surroundings: Surroundings) -> None:
    old = cards(surroundings).find(NUMBER)
    cards(surroundings).keep(old)
    fresh = cards(surroundings).renewed(old.name)
    cards(surroundings).keep(fresh)
    assert cards(surroundings).find(NUMBER).handle == fresh.handle != old.handle


def test_the_files_are_the_owners_and_tell_no_number(surroundings: Surroundings) -> None:
    cards(surroundings).keep(cards(surroundings).find(NUMBER))
    files = [path for path in surroundings.folder.rglob("*") if path.is_file()]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600]
    assert all(b"004417" not in path.read_bytes() and "4417" not in path.name for path in files)


def test_a_damaged_card_is_refused(surroundings: Surroundings) -> None:
    cards(surroundings).keep(cards(surroundings).find(NUMBER))
    (file,) = surroundings.folder.rglob("*.json")
    file.write_text('{"handle": "ab"}')
    with pytest.raises(FaultError, match="damaged"):
        cards(surroundings).find(NUMBER)


def test_a_network_on_one_machine_makes_its_key_once(surroundings: Surroundings) -> None:
    first = open_key(surroundings)
    assert len(first) == 32
    assert open_key(surroundings) == first
    assert key_file(surroundings).stat().st_mode & 0o777 == 0o600
    assert list(key_file(surroundings).parent.iterdir()) == [key_file(surroundings)]


def test_elsewhere_the_key_is_handed_out(tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text(
        EXAMPLE.read_text().replace("engine: embedded ", "engine: fabric\nruntime: kubernetes ")
    )
    real = load_surroundings(file)
    with pytest.raises(FaultError) as caught:
        open_key(real)
    assert "--import" in caught.value.fault.remedy
    assert import_key(real, KEY.hex().encode() + b"\n", "consortium.key") == KEY
    assert open_key(real) == KEY


def test_another_key_is_not_put_over_one_in_use(surroundings: Surroundings) -> None:
    held = open_key(surroundings)
    with pytest.raises(FaultError, match="another"):
        import_key(surroundings, KEY.hex().encode(), "k")
    assert open_key(surroundings) == held


@pytest.mark.parametrize("raw", [b"", b"07" * 31, b"zz" * 32, b"\xff\xfe"])
def test_what_is_no_key_is_refused(surroundings: Surroundings, raw: bytes) -> None:
    with pytest.raises(FaultError, match="not a fingerprint key"):
        import_key(surroundings, raw, "k")
    assert not key_file(surroundings).exists()


def test_an_enrolments_handle_has_the_form_of_one() -> None:
    handle = enrolment_handle(KEY, "UnitedPayerMSP", "1555001019")
    assert len(bytes.fromhex(handle)) == 16
    assert handle != enrolment_handle(KEY, "OtherPayerMSP", "1555001019")
    assert handle != enrolment_handle(b"\x08" * 32, "UnitedPayerMSP", "1555001019")
