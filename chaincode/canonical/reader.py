"""JSON values → Python values of an annotated type, strictly; forms as in `canonical`.

A reader is built once for each type and kept. Each says what is wrong and where.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Literal, Union, cast

from chaincode.canonical.writer import MAX_INTEGER, to_wire, wire_name
from chaincode.errors import InvalidArgument

Reader = Callable[[Any, str], Any]


@cache
def reader_of(kind: Any) -> Reader:
    """The function (JSON value, path) → Python value for an annotated type.

    Raises TypeError if the type has no wire form.
    """
    simple = _READERS.get(kind)
    if simple is not None:
        return simple
    origin = typing.get_origin(kind)
    if origin is not None:
        return _generic_reader(kind, origin)
    if isinstance(kind, typing.NewType):
        return reader_of(kind.__supertype__)
    if isinstance(kind, typing.TypeVar):
        return reader_of(kind.__bound__ or Any)
    if isinstance(kind, type):
        if issubclass(kind, enum.Enum):
            return _enum_reader(kind)
        if dataclasses.is_dataclass(kind):
            return _dataclass_reader(kind)
        if hasattr(kind, "model_validate"):
            return _model_reader(kind)
        if kind in (list, tuple):
            return _array_reader(kind, reader_of(Any))
        if kind in (dict, Mapping):
            return _object_reader(reader_of(Any), reader_of(str))
    raise TypeError(f"{kind!r} has no JSON form")


def _generic_reader(kind: Any, origin: Any) -> Reader:
    arguments = typing.get_args(kind)
    if origin is typing.Annotated:
        return reader_of(arguments[0])
    if origin is Literal:
        return _literal_reader(arguments)
    if origin in (Union, types.UnionType):
        return _union_reader(arguments)
    if origin is tuple and arguments[1:] != (...,):
        return _fixed_tuple_reader(tuple(reader_of(argument) for argument in arguments))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _object_reader(reader_of(arguments[1]), reader_of(arguments[0]))
    if isinstance(origin, type) and issubclass(origin, Iterable):
        maker = origin if origin in (list, tuple, set, frozenset) else list
        return _array_reader(maker, reader_of(arguments[0]))
    if isinstance(origin, type):
        return reader_of(origin)
    raise TypeError(f"{kind!r} has no JSON form")


def _kind_name(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _wrong(path: str, expected: str, value: Any) -> InvalidArgument:
    return InvalidArgument(f"{path}: expected {expected}, got {_kind_name(value)}")


def _read_str(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _wrong(path, "a string", value)
    return value


def _read_int(value: Any, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(path, "an integer", value)
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise InvalidArgument(f"{path}: an integer is at most 2**53 - 1")
    return value


def _read_float(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(path, "a number", value)
    if not math.isfinite(value):
        raise InvalidArgument(f"{path}: a number must be finite")
    return float(value)


def _read_bool(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(path, "true or false", value)
    return value


def _read_none(value: Any, path: str) -> None:
    if value is not None:
        raise _wrong(path, "null", value)


def _read_any(value: Any, path: str) -> Any:
    return value


def _read_bytes(value: Any, path: str) -> bytes:
    if not isinstance(value, str):
        raise _wrong(path, "a string of hex digits", value)
    if not re.fullmatch(r"(?:[0-9a-f]{2})*", value):
        raise InvalidArgument(f"{path}: expected lower case hex digits, two a byte")
    return bytes.fromhex(value)


def _read_decimal(value: Any, path: str) -> Decimal:
    if not isinstance(value, str):
        raise _wrong(path, 'a decimal as a string, for example "12.50"', value)
    try:
        if re.fullmatch(r"-?[0-9]{1,64}(?:\.[0-9]{1,64})?", value):
            return Decimal(value)
    except InvalidOperation:
        pass
    raise InvalidArgument(f'{path}: expected a decimal, for example "12.50"')


_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def _read_datetime(value: Any, path: str) -> datetime:
    if not isinstance(value, str):
        raise _wrong(path, "a time as a string", value)
    match = _RFC3339.fullmatch(value)
    try:
        if match:
            day, clock, fraction, zone = match.groups()
            zone = "+00:00" if zone in "Zz" else zone
            return datetime.fromisoformat(
                day + "T" + clock + (fraction or "")[:7] + zone
            ).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidArgument(
        f"{path}: expected an RFC 3339 time with a zone, for example 2026-01-02T03:04:05Z"
    )


def _read_date(value: Any, path: str) -> date:
    if not isinstance(value, str):
        raise _wrong(path, "a date as a string", value)
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise InvalidArgument(f"{path}: expected a date, for example 2026-01-02")


def _enum_reader(kind: type[enum.Enum]) -> Reader:
    by_value = {(type(to_wire(member)), to_wire(member)): member for member in kind}
    expected = ", ".join(str(to_wire(member)) for member in kind)

    def read(value: Any, path: str) -> enum.Enum:
        try:
            return by_value[type(value), value]
        except (KeyError, TypeError):
            raise InvalidArgument(f"{path}: expected one of {expected}") from None

    return read


def _literal_reader(choices: tuple[Any, ...]) -> Reader:
    by_value = {(type(choice), choice): choice for choice in choices}
    expected = ", ".join(str(choice) for choice in choices)

    def read(value: Any, path: str) -> Any:
        try:
            return by_value[type(value), value]
        except (KeyError, TypeError):
            raise InvalidArgument(f"{path}: expected one of {expected}") from None

    return read


def _union_reader(alternatives: tuple[Any, ...]) -> Reader:
    optional = type(None) in alternatives
    readers = [reader_of(kind) for kind in alternatives if kind is not type(None)]

    def read(value: Any, path: str) -> Any:
        if value is None and optional:
            return None
        failures = []
        for reader in readers:
            try:
                return reader(value, path)
            except InvalidArgument as error:
                failures.append(error)
        # The deepest path comes from the alternative that fitted best.
        raise max(failures, key=lambda error: len(error.path))

    return read


def _array_reader(maker: Callable[[Iterable[Any]], Any], member: Reader) -> Reader:
    def read(value: Any, path: str) -> Any:
        if not isinstance(value, list):
            raise _wrong(path, "an array", value)
        return maker(member(item, f"{path}[{index}]") for index, item in enumerate(value))

    return read


def _fixed_tuple_reader(members: tuple[Reader, ...]) -> Reader:
    def read(value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _wrong(path, "an array", value)
        if len(value) != len(members):
            raise InvalidArgument(f"{path}: expected {len(members)} items, got {len(value)}")
        pairs = enumerate(zip(members, value, strict=True))
        return tuple(member(item, f"{path}[{index}]") for index, (member, item) in pairs)

    return read


def _object_reader(member: Reader, name_reader: Reader) -> Reader:
    # The names are the caller's data, so a path says .* and not the name.
    def read(value: Any, path: str) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise _wrong(path, "an object", value)
        return {
            name_reader(name, f"{path}.*"): member(item, f"{path}.*")
            for name, item in value.items()
        }

    return read


@dataclasses.dataclass(frozen=True, slots=True)
class FieldPlan:
    """How a dataclass's field is read: its names, its reader, and what stands in for it."""

    name: str
    wire: str
    read: Reader
    required: bool
    default: Callable[[], Any]


@cache
def get_plan(kind: type) -> dict[str, FieldPlan]:
    """How a dataclass's fields are read, by their names on the wire."""
    hints = typing.get_type_hints(kind, include_extras=True)
    plans = {}
    for field in dataclasses.fields(cast(Any, kind)):
        if not field.init:
            continue
        annotation = hints[field.name]
        optional = type(None) in typing.get_args(annotation)
        has_default = (
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
        )
        wire = wire_name(field.name)
        plans[wire] = FieldPlan(
            name=field.name,
            wire=wire,
            read=reader_of(annotation),
            required=not has_default and not optional,
            default=_absent if has_default else lambda: None,
        )
    return plans


def _absent() -> Any:
    return dataclasses.MISSING


def _dataclass_reader(kind: type) -> Reader:
    def read(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(path, "an object", value)
        plan = get_plan(kind)  # looked up late, so that a type may contain itself
        for name in value:
            if name not in plan:
                raise InvalidArgument(f"{path}: unknown field{_suggestion(name, plan)}")
        members = {}
        for wire, field in plan.items():
            if wire in value:
                members[field.name] = field.read(value[wire], f"{path}.{wire}")
            elif field.required:
                raise InvalidArgument(f"{path}.{wire}: is required")
            elif (default := field.default()) is not dataclasses.MISSING:
                members[field.name] = default
        return _build(kind, members, path)

    return read


def _build(kind: type, members: dict[str, Any], path: str) -> Any:
    try:
        return kind(**members)
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error.text}") from None
    except ValueError as error:
        raise InvalidArgument(f"{path}: {error}") from None


def _suggestion(name: str, plan: Mapping[str, object]) -> str:
    # The name itself is the caller's text and may hold anything: only a near miss is told.
    nearest = difflib.get_close_matches(name[:80], plan, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else f"; known are {', '.join(plan)}"


def _model_reader(kind: Any) -> Reader:
    def read(value: Any, path: str) -> Any:
        try:
            return kind.model_validate(value, strict=False)
        except ValueError as error:
            first = error.errors()[0] if hasattr(error, "errors") else {"loc": (), "msg": "invalid"}
            steps = "".join(
                f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]
            )
            raise InvalidArgument(f"{path}{steps}: {first['msg']}") from None

    return read


_READERS: dict[Any, Reader] = {
    str: _read_str,
    int: _read_int,
    float: _read_float,
    bool: _read_bool,
    bytes: _read_bytes,
    Decimal: _read_decimal,
    datetime: _read_datetime,
    date: _read_date,
    type(None): _read_none,
    None: _read_none,
    Any: _read_any,
    object: _read_any,
}
