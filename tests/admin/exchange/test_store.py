"""Sealed files, releases and keys on disk: whole or not there, and nobody else's to read."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from admin.exchange.errors import NotARecipient
from admin.exchange.header import key_id
from admin.exchange.keyring import KeyRing
from admin.exchange.keywrap import public_key_spki
from admin.exchange.release import BrokenRelease, Release, ReleasedKey, open_release
from admin.exchange.store import NotStored, RecordStore
from network.rules.identity.certificates import private_key_pem

RECORD, ACCESS = "ab" * 16, "cd" * 32
RELEASE = Release(ACCESS, (ReleasedKey(RECORD, 1, "ef" * 32, b"wrapped", b"d" * 32),))


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RecordStore:
    url = tmp_path.as_uri() if request.param == "file" else f"memory://{tmp_path}"
    return RecordStore(url)


def test_a_record_is_read_back(store: RecordStore) -> None:
    with store.writing(RECORD, 1) as target:
        target.write(b"sealed")
    assert store.size(RECORD, 1) == 6
    with store.reading(RECORD, 1) as source:
        assert source.read() == b"sealed"


def test_a_write_that_fails_leaves_nothing(store: RecordStore) -> None:
    def write_half() -> None:
        with store.writing(RECORD, 1) as target:
            target.write(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk"):
        write_half()
    with pytest.raises(NotStored), store.reading(RECORD, 1):
        pass


def test_an_erased_record_is_gone(store: RecordStore) -> None:
    with store.writing(RECORD, 2) as target:
        target.write(b"sealed")
    store.erase(RECORD, 2)
    store.erase(RECORD, 2)
    with pytest.raises(NotStored):
        store.size(RECORD, 2)


def test_a_release_is_read_back_until_it_is_removed(store: RecordStore) -> None:
    store.put_release(ACCESS, RELEASE.encode())
    assert open_release(store.get_release(ACCESS), RELEASE.digest) == RELEASE
    store.remove_release(ACCESS)
    with pytest.raises(NotStored, match="not been released"):
        store.get_release(ACCESS)


@pytest.mark.parametrize("handle", ["", "../../etc/passwd", "AB" * 16, "a/b", "ab" * 100, "ab\0cd"])
def test_a_handle_cannot_name_another_file(store: RecordStore, handle: str) -> None:
    with pytest.raises(NotStored):
        store.size(handle, 1)
    with pytest.raises(NotStored):
        store.get_release(handle)


def test_a_release_that_the_ledger_did_not_record_is_refused() -> None:
    other = Release(ACCESS, (ReleasedKey(RECORD, 1, "00" * 32, b"other", b"d" * 32),))
    with pytest.raises(BrokenRelease, match="not the one that the ledger recorded"):
        open_release(other.encode(), RELEASE.digest)


def test_a_release_names_its_records() -> None:
    assert RELEASE.key(RECORD).wrapped_key == b"wrapped"
    with pytest.raises(NotARecipient):
        RELEASE.key("00" * 16)


def test_keys_are_private_and_found_by_their_id(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "encryption")
    key = ec.generate_private_key(ec.SECP256R1())
    name = ring.add(private_key_pem(key), b"certificate")
    assert name == key_id(public_key_spki(key))
    assert ring.names() == [name]
    found = ring.find(name)
    assert found is not None
    assert found.private_numbers() == key.private_numbers()
    assert ring.find("00" * 32) is None
    assert (tmp_path / "encryption" / f"{name}.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "encryption").stat().st_mode & 0o777 == 0o700
