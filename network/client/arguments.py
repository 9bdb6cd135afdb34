"""Python values as a transaction's arguments: bytes on the wire."""

from collections.abc import Mapping, Sequence

import rfc8785

Argument = str | bytes | bool | int | float | None | Sequence[object] | Mapping[str, object]
"""Text, bytes, or a value of JSON."""


def encode_argument(value: Argument) -> bytes:
    """The bytes a chaincode receives for a value.

    Text is UTF-8, bytes go as they are, None is empty, everything else is canonical JSON
    (RFC 8785), which for numbers and truth values is their usual text.

    Raises:
        ValueError: the value has no canonical JSON form.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if value is None:
        return b""
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError as failure:
        raise ValueError(f"an argument has no JSON form: {failure}") from failure


def encode_transient(values: Mapping[str, Argument] | None) -> dict[str, bytes]:
    """A transient map with each value encoded as an argument is."""
    return {name: encode_argument(value) for name, value in (values or {}).items()}
