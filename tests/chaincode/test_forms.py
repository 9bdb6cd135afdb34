"""What may stand on the ledger as a code or a digest, and what may not."""

from __future__ import annotations

import pytest

from chaincode.errors import InvalidArgument
from chaincode.forms import validate_code, validate_codes, validate_digest


@pytest.mark.parametrize(
    "code", ["TREAT", "N", "34133-9", "entered-in-error", "Policy.v1", "J20.9"]
)
def test_codes(code: str) -> None:
    validate_code(code, "code")


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "Jane Doe", "MRN 123", "123-45-6789", "19840503", "a|b", "a--b", "-a", "ü"),
        *("jane.doe@example.org", "x" * 65, "a\n", "1984-05-03T00:00"),
    ],
)
def test_what_could_be_about_a_person_is_no_code(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^InvalidArgument: code: ") as caught:
        validate_code(text, "code")
    assert not text.strip() or text not in str(caught.value)


def test_codes_are_few_and_different() -> None:
    with pytest.raises(InvalidArgument, match="twice"):
        validate_codes(["N", "N"], "codes")
    with pytest.raises(InvalidArgument, match="at most 64"):
        validate_codes([f"c{n}" for n in range(65)], "codes")


@pytest.mark.parametrize("value", [b"", b"\x01" * 31, b"\x01" * 33, bytes(32)])
def test_digests(value: bytes) -> None:
    validate_digest(b"\x01" * 32, "digest")
    with pytest.raises(InvalidArgument, match="digest: expected"):
        validate_digest(value, "digest")
