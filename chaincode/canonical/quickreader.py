"""JSON values → Python values, for what is well formed: no paths, and any failure is only a no.

Most of what is read was written by this house and is right, so it is read by these first; the
careful `reader` is asked where they fail. They accept nothing that it refuses. A LookupError, a
TypeError or a ValueError is a no.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Union

from chaincode.canonical.reader import get_plan, reader_of

QuickReader = Callable[[Any], Any]


@cache
def quick_reader_of(kind: Any) -> QuickReader:
    """The function JSON value → Python value for an annotated type."""
    if kind is str:
        return _read_str
    if isinstance(kind, type):
        if issubclass(kind, enum.Enum) and issubclass(kind, str):
            return _enum_reader(kind)
        if dataclasses.is_dataclass(kind):
            return _dataclass_reader(kind)
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is list or (origin is tuple and arguments[1:] == (...,)):
        return _array_reader(origin, quick_reader_of(arguments[0]))
    if origin in (Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:
        return _optional_reader(
            quick_reader_of(arguments[arguments[0] is type(None)]),
        )
    careful = reader_of(kind)
    return lambda value: careful(value, "")


def _read_str(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _enum_reader(kind: type[enum.Enum]) -> QuickReader:
    return {member.value: member for member in kind}.__getitem__


def _array_reader(maker: Callable[[Iterable[Any]], Any], member: QuickReader) -> QuickReader:
    def read(value: Any) -> Any:
        if type(value) is not list:
            raise TypeError
        return maker(map(member, value)) if value else maker(())

    return read


def _optional_reader(reader: QuickReader) -> QuickReader:
    def read(value: Any) -> Any:
        return None if value is None else reader(value)

    return read


def _dataclass_reader(kind: type) -> QuickReader:
    plan: dict[str, tuple[str, QuickReader]] = {}
    fallback: dict[str, Any] = {}

    def prepare() -> None:  # late, so that a type may contain itself
        hints = typing.get_type_hints(kind, include_extras=True)
        for wire, field in get_plan(kind).items():
            plan[wire] = (field.name, quick_reader_of(hints[field.name]))
            if not field.required and field.default() is None:
                fallback[field.name] = None

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise TypeError
        if not plan:
            prepare()
        members = fallback.copy()
        for wire, member in value.items():
            name, reader = plan[wire]
            members[name] = reader(member)
        return kind(**members)

    return read
