"""The forms of digests and codes on the ledger; handles have theirs in `phi`.

A code has no spaces and no long numbers, so there is no room in it for words about a person. Texts
of errors name the path and the form, never the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from chaincode.errors import InvalidArgument

DIGEST_SIZE = 32
MAX_CODES = 64

_CODE = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
_LOOKS_PERSONAL = re.compile(r"\d{3}-\d{2}-\d{4}|\d{6,}")


def validate_digest(value: bytes, path: str) -> None:
    """Raise InvalidArgument unless this is 32 bytes that are not all zero."""
    if len(value) != DIGEST_SIZE or not any(value):
        raise InvalidArgument(f"{path}: expected a digest of {DIGEST_SIZE} bytes as hex")


def read_digest(value: str, path: str) -> bytes:
    """Return the digest that the text is in hex. Raises InvalidArgument."""
    try:
        digest = bytes.fromhex(value)
    except ValueError:
        digest = b""
    validate_digest(digest, path)
    return digest


def validate_code(value: str, path: str) -> None:
    """Raise InvalidArgument unless this is a short code: letters, digits, and . _ - between."""
    if len(value) > 64 or not _CODE.fullmatch(value) or _LOOKS_PERSONAL.search(value):
        raise InvalidArgument(f"{path}: expected a code of letters and digits, no text or number")


def validate_codes(values: Iterable[str], path: str) -> None:
    """Raise InvalidArgument unless each is a code, none occurs twice, and they are at most 64."""
    codes = list(values)
    if len(codes) > MAX_CODES:
        raise InvalidArgument(f"{path}: expected at most {MAX_CODES} codes")
    if len(set(codes)) != len(codes):
        raise InvalidArgument(f"{path}: the same code twice")
    for index, code in enumerate(codes):
        validate_code(code, f"{path}[{index}]")
