"""Bytes of a proposal ↔ annotated parameters and results of a transaction.

`str`, `int`, `bool`, `float`, `Decimal`, dates, times, enums and literals travel as plain text,
`bytes` as they are, everything else (dataclasses, lists, dicts, optionals) as JSON. Results: `str`
and `bytes` as they are, None empty, everything else RFC 8785 canonical JSON.
"""

from __future__ import annotations

import enum
import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from chaincode import canonical
from chaincode.errors import ContractDefinitionError, InvalidArgument

ArgumentReader = Callable[[bytes, str], Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a transaction after `self` and the context."""

    name: str
    annotation: Any
    required: bool
    read: ArgumentReader


@dataclass(frozen=True, slots=True)
class Signature:
    """Parameters and result of a transaction."""

    parameters: tuple[Parameter, ...]
    returns: Any

    def read(self, raw: list[bytes]) -> dict[str, Any]:
        """The arguments by name. Raises InvalidArgument for a wrong number or type."""
        required = sum(parameter.required for parameter in self.parameters)
        if not required <= len(raw) <= len(self.parameters):
            raise InvalidArgument(
                f"expected {self._expected(required)}, got {len(raw)}{self._names()}"
            )
        pairs = zip(self.parameters, raw, strict=False)
        return {parameter.name: parameter.read(value, parameter.name) for parameter, value in pairs}

    def _expected(self, required: int) -> str:
        most = len(self.parameters)
        count = str(most) if required == most else f"{required} to {most}"
        return f"{count} argument{'' if count == '1' else 's'}"

    def _names(self) -> str:
        names = ", ".join(
            parameter.name if parameter.required else f"[{parameter.name}]"
            for parameter in self.parameters
        )
        return f": {names}" if names else ""


def read_signature(function: Callable[..., Any], where: str) -> Signature:
    """The signature of a transaction's method; the context needs no annotation, the rest does.

    Raises ContractDefinitionError: not async, no context, an unannotated or variadic parameter,
    a type that has no wire form.
    """
    if not inspect.iscoroutinefunction(function):
        raise ContractDefinitionError(f"{where} must be `async def`")
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) < 2:
        raise ContractDefinitionError(f"{where} must take (self, ctx, …)")
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ContractDefinitionError(
            f"{where}: the annotation {error.name} is not known when the class is defined; import "
            "it at the module's top level, outside `if TYPE_CHECKING`"
        ) from None
    read = tuple(_read_parameter(parameter, hints, where) for parameter in parameters[2:])
    return Signature(read, hints.get("return", Any))


def build_result(result: Any) -> bytes:
    """The bytes that a client receives for what a transaction returned."""
    if result is None:
        return b""
    if isinstance(result, bytes):
        return result
    if isinstance(result, str) and not isinstance(result, enum.Enum):
        return result.encode()
    return canonical.encode(result)


def is_text(annotation: Any) -> bool:
    """True if values of this type travel as plain text and not as JSON."""
    if annotation in (str, int, float, bool, Decimal, datetime, date):
        return True
    if typing.get_origin(annotation) is typing.Literal:
        return all(isinstance(choice, str) for choice in typing.get_args(annotation))
    return (
        isinstance(annotation, type)
        and issubclass(annotation, enum.Enum)
        and all(isinstance(member.value, str) for member in annotation)
    )


def unwrap(annotation: Any) -> Any:
    """The type under `Annotated` and `NewType`."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            return annotation


def _read_parameter(parameter: inspect.Parameter, hints: dict[str, Any], where: str) -> Parameter:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise ContractDefinitionError(
            f"{where}: *args and **kwargs cannot be transaction parameters"
        )
    if parameter.name not in hints:
        raise ContractDefinitionError(f"{where}: parameter {parameter.name} needs an annotation")
    annotation = hints[parameter.name]
    try:
        read = _reader(unwrap(annotation))
    except TypeError as error:
        raise ContractDefinitionError(f"{where}: parameter {parameter.name}: {error}") from None
    return Parameter(parameter.name, annotation, parameter.default is parameter.empty, read)


def _reader(annotation: Any) -> ArgumentReader:
    if annotation is bytes:
        return lambda raw, name: raw
    if annotation is str:
        return _decode
    from_wire = canonical.reader_of(annotation)
    if not is_text(annotation):
        return lambda raw, name: from_wire(canonical.parse_json(raw, name), name)
    to_json: Callable[[str, str], Any] = _NUMBERS.get(annotation, _keep)
    return lambda raw, name: from_wire(to_json(_decode(raw, name), name), name)


def _decode(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidArgument(f"{name}: not valid UTF-8") from None


def _keep(text: str, name: str) -> str:
    return text


def _read_int(text: str, name: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,20}", text):
        raise InvalidArgument(f"{name}: expected an integer in decimal digits")
    return int(text)


def _read_float(text: str, name: str) -> float:
    if not re.fullmatch(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", text):
        raise InvalidArgument(f"{name}: expected a number")
    return float(text)


def _read_bool(text: str, name: str) -> bool:
    if text not in ("true", "false"):
        raise InvalidArgument(f"{name}: expected true or false")
    return text == "true"


_NUMBERS: dict[Any, Callable[[str, str], Any]] = {
    int: _read_int,
    float: _read_float,
    bool: _read_bool,
}
