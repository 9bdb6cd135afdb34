"""What a chaincode says about itself: Fabric's contract metadata, a JSON document.

Valid against Fabric's contract schema (`fabric-contract-api/schema/contract-schema.json`), which
allows no `oneOf`: a parameter of several types carries a description instead.
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from chaincode import canonical
from chaincode.arguments import Parameter, unwrap

METADATA_TRANSACTION = "org.hyperledger.fabric:GetMetadata"

Schema = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class TransactionInfo:
    """What is published of one transaction."""

    name: str
    read_only: bool
    parameters: tuple[Parameter, ...]
    returns: Any
    documentation: str
    access: str


@dataclasses.dataclass(frozen=True, slots=True)
class ContractInfo:
    """What is published of one contract."""

    name: str
    documentation: str
    transactions: tuple[TransactionInfo, ...]


def build_metadata(title: str, version: str, contracts: Iterable[ContractInfo]) -> bytes:
    """The metadata document of these contracts as canonical JSON; the first is the default."""
    schemas = _Schemas()
    published = {
        info.name: _build_contract(info, version, schemas, default=index == 0)
        for index, info in enumerate(contracts)
    }
    published["org.hyperledger.fabric"] = {
        "name": "org.hyperledger.fabric",
        "info": {"title": "org.hyperledger.fabric", "version": version},
        "transactions": [
            {"name": "GetMetadata", "tag": ["evaluate"], "returns": {"type": "string"}}
        ],
    }
    return canonical.encode(
        {
            "$schema": "https://hyperledger.github.io/fabric-chaincode-node/main/api/"
            "contract-schema.json",
            "info": {"title": title, "version": version},
            "contracts": published,
            "components": {"schemas": schemas.components},
        }
    )


def _build_contract(
    info: ContractInfo, version: str, schemas: _Schemas, *, default: bool
) -> Schema:
    about = {"title": info.name, "version": version}
    if info.documentation:
        about["description"] = info.documentation
    return {
        "name": info.name,
        "default": default,
        "info": about,
        "transactions": [_build_transaction(entry, schemas) for entry in info.transactions],
    }


def _build_transaction(info: TransactionInfo, schemas: _Schemas) -> Schema:
    # Node's contract API writes both spellings: older tools look for "submitTx".
    tags = ["evaluate"] if info.read_only else ["submit", "submitTx"]
    built: Schema = {"name": info.name, "tag": tags, "x-access": info.access}
    if info.documentation:
        built["x-description"] = info.documentation
    built["parameters"] = [
        {
            "name": parameter.name,
            "required": parameter.required,
            "schema": schemas.build(parameter.annotation),
        }
        for parameter in info.parameters
    ]
    if info.returns is not type(None):
        built["returns"] = schemas.build(info.returns)
    return built


class _Schemas:
    """Builds schemas of types; dataclasses and models go to `components` and are referred to."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def build(self, annotation: Any) -> Schema:
        annotation = unwrap(annotation)
        if annotation in _SIMPLE:
            return dict(_SIMPLE[annotation])
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin is not None:
            return self._build_generic(origin, arguments)
        if isinstance(annotation, type):
            return self._build_class(annotation)
        return {}

    def _build_generic(self, origin: Any, arguments: tuple[Any, ...]) -> Schema:
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.build(arguments[1])}
        if origin in (list, set, frozenset) or (origin is tuple and arguments[1:] == (...,)):
            return {"type": "array", "items": self.build(arguments[0])}
        if origin is tuple:
            return {"type": "array", "items": [self.build(argument) for argument in arguments]}
        kinds = [argument for argument in arguments if argument is not type(None)]
        if len(kinds) == 1:
            return self.build(kinds[0])
        names = ", ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
        return {"description": f"one of {names}"}

    def _build_class(self, kind: type) -> Schema:
        if issubclass(kind, enum.Enum):
            return {"enum": [canonical.to_wire(member) for member in kind]}
        if dataclasses.is_dataclass(kind):
            return self._refer(kind, self._build_dataclass)
        if hasattr(kind, "model_json_schema"):
            return self._refer(kind, lambda model: {"type": "object"})
        if issubclass(kind, Mapping):
            return {"type": "object"}
        if issubclass(kind, list | tuple | set | frozenset):
            return {"type": "array"}
        return {}

    def _refer(self, kind: type, build: typing.Callable[[type], Schema]) -> Schema:
        name = kind.__name__
        if name not in self.components:
            self.components[name] = {"$id": name}  # first, so that a type may contain itself
            self.components[name] |= build(kind)
        return {"$ref": f"#/components/schemas/{name}"}

    def _build_dataclass(self, kind: type) -> Schema:
        hints = typing.get_type_hints(kind, include_extras=True)
        properties, required = {}, []
        for field in dataclasses.fields(typing.cast(Any, kind)):
            if not field.init:
                continue
            wire = canonical.wire_name(field.name)
            properties[wire] = self.build(hints[field.name])
            optional = type(None) in typing.get_args(hints[field.name])
            has_default = (
                field.default is not dataclasses.MISSING
                or field.default_factory is not dataclasses.MISSING
            )
            if not optional and not has_default:
                required.append(wire)
        schema: Schema = {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        return schema | ({"required": required} if required else {})


_SIMPLE: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number", "format": "double"},
    Decimal: {"type": "string", "format": "decimal"},
    bytes: {"type": "string", "format": "byte"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    Any: {},
    object: {},
}
