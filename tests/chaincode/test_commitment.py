"""Commitments and fingerprints: bound to tag, salt, key and content."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode import commitment

SALT = bytes(range(32))


def test_is_sha256_over_tag_salt_content() -> None:
    expected = hashlib.sha256(b"medfabric/record/v1\x00" + SALT + b"content").digest()
    assert commitment.commit(commitment.RECORD, SALT, b"content") == expected
    assert commitment.opens(expected, commitment.RECORD, SALT, b"content")


@pytest.mark.parametrize(
    ("tag", "salt", "content"),
    [
        (commitment.CLAIM, SALT, b"content"),
        (commitment.RECORD, bytes(32), b"content"),
        (commitment.RECORD, SALT, b"Content"),
        (commitment.RECORD, SALT[:31], b"content"),
    ],
)
def test_anything_else_does_not_open(tag: bytes, salt: bytes, content: bytes) -> None:
    made = commitment.commit(commitment.RECORD, SALT, b"content")
    assert not commitment.opens(made, tag, salt, content)


def test_salt_and_key_have_their_size() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        commitment.commit(commitment.RECORD, b"", b"content")
    with pytest.raises(ValueError, match="at least 32 bytes"):
        commitment.fingerprint(b"short", commitment.FINGERPRINT_LINE, ["a"])


@given(st.lists(st.binary()))
def test_the_cut_of_a_stream_makes_no_difference(chunks: list[bytes]) -> None:
    whole = commitment.commit(commitment.RECORD, SALT, b"".join(chunks))
    assert commitment.commit_stream(commitment.RECORD, SALT, chunks) == whole


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_only_equal_lists_share_a_fingerprint(first: list[str], second: list[str]) -> None:
    made = [commitment.fingerprint(SALT, commitment.FINGERPRINT_LINE, x) for x in (first, second)]
    assert (made[0] == made[1]) == (first == second)


def test_domain_tags_are_prefix_free() -> None:
    tags = [v for k, v in vars(commitment).items() if k.isupper() and isinstance(v, bytes)]
    assert len(tags) >= 12
    assert all(tag.endswith(b"\x00") and tag.count(b"\x00") == 1 for tag in tags)
    assert len(set(tags)) == len(tags)
