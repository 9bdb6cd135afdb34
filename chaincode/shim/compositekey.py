"""Composite keys and the checks on keys, exactly as Go's shim has them (`shim/stub.go`).

A composite key is U+0000, the object type, U+0000, then each attribute followed by U+0000. The
leading U+0000 is a namespace: simple keys cannot enter it, and a range over simple keys that starts
at the beginning starts at U+0001.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaincode.errors import InvalidKey

MIN_UNICODE_RUNE = "\u0000"
MAX_UNICODE_RUNE = "\U0010ffff"
COMPOSITE_KEY_NAMESPACE = "\u0000"
EMPTY_KEY_SUBSTITUTE = "\u0001"


def create_composite_key(object_type: str, attributes: Sequence[str]) -> str:
    """The composite key of these parts. Empty attributes are allowed, as in Go.

    Raises InvalidKey: the object type is empty; a part holds U+0000 or U+10FFFF (they would make
    two different lists of attributes into one key) or is not valid Unicode; the attributes are a
    single string.
    """
    if isinstance(attributes, str | bytes):
        raise InvalidKey("attributes of a composite key are a list of strings, not one string")
    if object_type == "":
        raise InvalidKey("the object type of a composite key must not be empty")
    _validate_part(object_type, "object type")
    for index, attribute in enumerate(attributes):
        _validate_part(attribute, f"attribute {index}")
    parts = (object_type, *attributes)
    return COMPOSITE_KEY_NAMESPACE + "".join(part + MIN_UNICODE_RUNE for part in parts)


def split_composite_key(composite_key: str) -> tuple[str, list[str]]:
    """The object type and the attributes of a composite key. Raises InvalidKey if it is none."""
    if not composite_key.startswith(COMPOSITE_KEY_NAMESPACE) or len(composite_key) < 2:
        raise InvalidKey("not a composite key: it does not start with U+0000")
    if not composite_key.endswith(MIN_UNICODE_RUNE):
        raise InvalidKey("not a composite key: it does not end with U+0000")
    object_type, *attributes = composite_key[1:-1].split(MIN_UNICODE_RUNE)
    return object_type, attributes


def partial_composite_key_range(object_type: str, attributes: Sequence[str]) -> tuple[str, str]:
    """First (included) and last (excluded) key of all that begin with these parts."""
    start = create_composite_key(object_type, attributes)
    return start, start + MAX_UNICODE_RUNE


def simple_key_range(start_key: str, end_key: str) -> tuple[str, str]:
    """The range as the peer shall read it: simple keys only, an empty start means the first.

    Raises InvalidKey if either key lies in the namespace of composite keys.
    """
    for name, key in (("start key", start_key), ("end key", end_key)):
        validate_unicode(key, name)
        if key.startswith(COMPOSITE_KEY_NAMESPACE):
            raise InvalidKey(f"the first character of the {name} is U+0000, which is not allowed")
    return start_key or EMPTY_KEY_SUBSTITUTE, end_key


def validate_key(key: str) -> None:
    """Raise InvalidKey unless `key` can be written: a non-empty string of valid Unicode."""
    if not isinstance(key, str):
        raise InvalidKey(f"a key is a str, not {type(key).__name__}")
    if key == "":
        raise InvalidKey("key must not be an empty string")
    validate_unicode(key, "key")


def validate_unicode(text: str, name: str) -> None:
    """Raise InvalidKey if `text` has no UTF-8 form (it holds a lone surrogate)."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidKey(f"{name} is not valid Unicode at position {error.start}") from None


def _validate_part(part: str, name: str) -> None:
    if not isinstance(part, str):
        raise InvalidKey(f"{name} of a composite key is a str, not {type(part).__name__}")
    validate_unicode(part, name)
    for rune, label in ((MIN_UNICODE_RUNE, "U+0000"), (MAX_UNICODE_RUNE, "U+10FFFF")):
        position = part.find(rune)
        if position >= 0:
            raise InvalidKey(
                f"{name} contains {label} at position {position}; U+0000 and U+10FFFF are not "
                "allowed in a composite key"
            )
