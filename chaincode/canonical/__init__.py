"""Values to JSON and back: RFC 8785 canonical bytes, one wire form for every annotated type.

| Python | on the wire |
|---|---|
| `str`, `bool`, `None` | the same |
| `int` | number, at most 2**53 - 1 in size (RFC 8785 section 3.1, I-JSON) |
| `float` | number, finite; money and measures are better as `Decimal` |
| `Decimal` | string, digits kept as given |
| `bytes` | string of lower case hex |
| `datetime` | RFC 3339 in UTC, `"2026-01-02T03:04:05Z"`, fraction only if there is one |
| `date` | `"2026-01-02"` |
| `Enum` | its value |
| `list`, `tuple` | array; `set`, `frozenset`: array, sorted |
| `dict[str, X]` | object |
| dataclass | object, fields in camelCase; a field that is None is left out |
| `X \\| Y` | the first alternative that fits |

Reading is strict: an unknown field, a wrong type, a duplicate name, a lone surrogate or NaN is
refused with the path to it, never coerced.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar, cast

import rfc8785

from chaincode.canonical.quickreader import quick_reader_of
from chaincode.canonical.reader import reader_of
from chaincode.canonical.writer import MAX_INTEGER, to_wire, wire_name
from chaincode.errors import InvalidArgument

T = TypeVar("T")

__all__ = [
    "MAX_INTEGER",
    "decode",
    "encode",
    "from_wire",
    "parse_json",
    "reader_of",
    "to_wire",
    "wire_name",
]


# In ASCII and without fractions RFC 8785 asks for nothing that Python's own encoder, which is
# written in C, does not do: names by code unit, the shortest escapes, integers as they are.
_PLAIN = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)
_FRACTION = re.compile(r"(?:^|[:,\[])-?[0-9]+[.e]")
"""Where a float may stand, for a float follows one of these; in a string it is a false alarm."""


def encode(value: object) -> bytes:
    """The RFC 8785 bytes of the value's wire form. Raises InvalidArgument if it has none."""
    wire = to_wire(value)
    try:
        text = _PLAIN.encode(wire)
        if text.isascii() and not _FRACTION.search(text):
            return text.encode("ascii")
        return rfc8785.dumps(cast(Any, wire))
    except (rfc8785.CanonicalizationError, ValueError) as error:
        raise InvalidArgument(f"value has no canonical JSON form: {error}") from None


def decode(kind: type[T], raw: bytes, path: str = "$") -> T:
    """The value of type `kind` in these JSON bytes (canonical or not).

    Raises InvalidArgument with the path to the first fault.
    """
    return from_wire(kind, parse_json(raw, path), path)


def from_wire(kind: type[T], value: Any, path: str = "$") -> T:
    """The Python value of type `kind` that this JSON value stands for.

    Raises InvalidArgument, its text starting with the path to the first fault.
    """
    try:
        return cast(T, quick_reader_of(cast(Any, kind))(value))
    except (InvalidArgument, LookupError, TypeError, ValueError):
        pass  # read again below, outside, so that the refusal drags no value along as its context
    return cast(T, reader_of(cast(Any, kind))(value, path))


def parse_json(raw: bytes, path: str = "$") -> Any:
    """The JSON value in these bytes; duplicate names, NaN and lone surrogates are refused."""
    try:
        text = raw.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique_names, parse_constant=_refuse_constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise InvalidArgument(f"{path}: not valid UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidArgument(
            f"{path}: not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        raise InvalidArgument(f"{path}: nested too deeply") from None
    except ValueError as error:
        raise InvalidArgument(f"{path}: {error}") from None
    return value


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has the same name twice")
    return members


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
