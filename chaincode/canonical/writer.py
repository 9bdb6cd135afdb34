"""Python values → JSON values; the table of forms is in `canonical`."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import Any, cast

import rfc8785

from chaincode.errors import InvalidArgument

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8785 section 3.1, I-JSON)."""


def to_wire(value: object) -> Any:
    """The JSON value (str, int, float, bool, None, list, dict) of a Python value."""
    writer = _WRITERS.get(type(value))
    if writer is None:
        kind: Any = type(value)  # hashable, as classes are
        writer = _writer_of(kind)
    return writer(value)


def wire_name(name: str) -> str:
    """The camelCase name of a snake_case field: `consent_id` → `consentId`."""
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


@cache
def _writer_of(kind: type) -> Callable[[Any], Any]:
    """What writes the values of a type; found once for each."""
    if issubclass(kind, enum.Enum):
        return _enum_writer(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass_writer(kind)
    if issubclass(kind, Mapping):
        return lambda value: {_object_name(name): to_wire(x) for name, x in value.items()}
    if issubclass(kind, set | frozenset):
        return lambda value: sorted(map(to_wire, value), key=rfc8785.dumps)
    if issubclass(kind, Sequence) and not issubclass(kind, str | bytes | bytearray):
        return lambda value: [to_wire(member) for member in value]
    for known, writer in _WRITERS.items():
        if issubclass(kind, known):
            return writer
    if hasattr(kind, "model_dump"):
        return lambda value: to_wire(value.model_dump(by_alias=True, exclude_none=True))
    raise InvalidArgument(f"a value of type {kind.__name__} has no JSON form")


def _dataclass_writer(kind: type) -> Callable[[Any], Any]:
    fields = [field.name for field in dataclasses.fields(cast(Any, kind))]
    names = tuple((name, wire_name(name)) for name in fields)
    known = _WRITERS

    def write(value: Any) -> dict[str, Any]:
        # A third of a claim's processor time was spent here: no generator, and text is as it is.
        found = {}
        for name, wire in names:
            member = getattr(value, name)
            if member is None:
                continue
            of: Any = type(member)
            found[wire] = member if of is str else (known.get(of) or _writer_of(of))(member)
        return found

    return write


def _enum_writer(kind: type[enum.Enum]) -> Callable[[Any], Any]:
    if all(type(member.value) is str for member in kind):
        return attrgetter("_value_")  # what `value` is, without Python's way to it
    return lambda value: to_wire(value.value)


def _object_name(name: object) -> str:
    if isinstance(name, enum.Enum):
        name = name.value
    if not isinstance(name, str):
        raise InvalidArgument(f"an object's names are strings, not {type(name).__name__}")
    return name


def _write_float(value: Any) -> float:
    if not math.isfinite(value):
        raise InvalidArgument("a number must be finite")
    return float(value)


def _write_int(value: Any) -> int:
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise InvalidArgument("an integer is larger than 2**53 - 1; send it as a Decimal or str")
    return int(value)


def _write_datetime(value: Any) -> str:
    if value.tzinfo is None:
        raise InvalidArgument("a time without a zone has no wire form; use an aware datetime")
    moment = value.astimezone(UTC)
    fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + fraction + "Z"


def _write_decimal(value: Any) -> str:
    if not value.is_finite():
        raise InvalidArgument("a decimal must be finite")
    return format(value, "f")


def _same(value: Any) -> Any:
    return value


# The order matters for subclasses: bool before int, datetime before date.
_WRITERS: dict[type, Callable[[Any], Any]] = {
    str: _same,
    bool: _same,
    int: _write_int,
    type(None): _same,
    float: _write_float,
    Decimal: _write_decimal,
    bytes: lambda value: value.hex(),
    datetime: _write_datetime,
    date: lambda value: value.isoformat(),
}
