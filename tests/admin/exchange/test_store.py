"""Sealed files, releases and keys on disk: whole or not there, and nobody else's to read."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from admin.exchange.errors import NotARecipient, StoreAway
from admin.exchange.header import key_id
from admin.exchange.keyring import KeyRing
from admin.exchange.keywrap import public_key_spki
from admin.exchange.release import BrokenRelease, Release, ReleasedKey, open_release
from admin.exchange.store import (
    STALE,
    NotStored,
    RecordStore,
    UnusableStore,
    validate_store_url,
)
from network.rules.identity.certificates import private_key_pem
from tests.admin.exchange.objectstore import serving_bucket

RECORD, ACCESS = "ab" * 16, "cd" * 32
RELEASE = Release(ACCESS, (ReleasedKey(RECORD, 1, "ef" * 32, b"wrapped", b"d" * 32),))


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with serving_bucket("records") as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RecordStore:
    if request.param == "folder":
        return RecordStore(tmp_path.as_uri())
    bucket = request.getfixturevalue("bucket")
    return RecordStore(f"{bucket}/{tmp_path.name}")


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


def test_a_large_write_that_fails_leaves_nothing_and_a_later_one_succeeds(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large enough that an object store has taken parts of it already."""
    part = bytes(2 << 20)
    monkeypatch.setattr("admin.exchange.store.UPLOAD_PART", 5 << 20)

    def write_half() -> None:
        with store.writing(RECORD, 1) as target:
            for _ in range(8):
                target.write(part)
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk"):
        write_half()
    assert store.versions(RECORD) == []
    with store.writing(RECORD, 1) as target:
        for _ in range(8):
            target.write(part)
    assert store.size(RECORD, 1) == 8 * len(part)
    assert store.versions(RECORD) == [1]


def test_what_is_replaced_is_replaced_whole(store: RecordStore) -> None:
    for content in (b"first, and longer", b"second"):
        with store.writing(RECORD, 1) as target:
            target.write(content)
    with store.reading(RECORD, 1) as source:
        assert source.read() == b"second"


def test_reading_begins_where_it_is_told(store: RecordStore) -> None:
    with store.writing(RECORD, 3) as target:
        target.write(b"0123456789")
    with store.reading(RECORD, 3, offset=7) as source:
        assert source.read() == b"789"


def test_versions_are_told_in_order(store: RecordStore) -> None:
    assert store.versions(RECORD) == []
    for version in (2, 10, 1):
        with store.writing(RECORD, version) as target:
            target.write(b"x")
    assert store.versions(RECORD) == [1, 2, 10]
    store.erase(RECORD, 2)
    assert store.versions(RECORD) == [1, 10]


def test_releases_are_listed(store: RecordStore) -> None:
    assert store.releases() == []
    store.put_release(ACCESS, RELEASE.encode())
    assert store.releases() == [ACCESS]
    store.remove_release(ACCESS)
    assert store.releases() == []


def test_what_a_killed_writer_left_is_removed_a_day_later(tmp_path: Path) -> None:
    store = RecordStore(tmp_path.as_uri())
    left = tmp_path / "unfinished" / "1-abc"
    left.parent.mkdir()
    left.write_bytes(b"half")
    store.remove_abandoned()
    assert left.exists()
    old = time.time() - STALE - 60
    os.utime(left, (old, old))
    store.remove_abandoned()
    assert not left.exists()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("records", "no URL"),
        ("memory://records", "cannot keep"),
        ("https://example.org/records", "cannot keep"),
        ("s3://key:secret@records", "no password"),
    ],
)
def test_a_url_that_cannot_keep_records_is_refused(url: str, text: str) -> None:
    with pytest.raises(UnusableStore, match=text):
        validate_store_url(url)


def test_an_object_store_that_is_away_is_told_so(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client's own errors, whichever they are, come as one; a source's stay what they are."""

    def write(store: RecordStore) -> None:
        with store.writing(RECORD, 1) as target:
            target.write(b"sealed")

    with pytest.raises(StoreAway, match="s3://nosuchbucket"):
        write(RecordStore("s3://nosuchbucket/x"))
    with pytest.raises(OSError, match="disk"), RecordStore(bucket).writing(RECORD, 7):
        raise OSError("disk full")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    away = RecordStore(f"{bucket}/away")
    for ask in (
        lambda: write(away),
        lambda: away.size(RECORD, 1),
        lambda: away.versions(RECORD),
        lambda: away.get_release(ACCESS),
        lambda: away.erase(RECORD, 1),
    ):
        with pytest.raises(StoreAway, match="EndpointConnectionError"):
            ask()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_protocol_without_its_package_is_told_so() -> None:
    with pytest.raises(UnusableStore, match="nosuch"):
        RecordStore("nosuch://records")


def test_a_handle_cannot_leave_the_store(store: RecordStore) -> None:
    for handle in ("../../etc/passwd", "ab" * 16 + "/..", "AB" * 16, ""):
        with pytest.raises(NotStored, match="hex"), store.reading(handle, 1):
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
