"""Resources from files: JSON as written, validated against FHIR R4B, mistakes named by path.

Errors name fields and types, never values: what stands in a record must not reach a terminal's
scroll-back or a log because it was malformed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from admin.errors import input_error

Resource = dict[str, Any]
MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file's bytes and where they came from; `raw` is what is sealed and committed to."""

    name: str
    raw: bytes


def read_source(path: str) -> SourceFile:
    """Return a file's bytes; `-` is standard input. Raises FaultError."""
    if path == "-":
        import sys

        return SourceFile("standard input", sys.stdin.buffer.read())
    file = Path(path)
    if not file.is_file():
        raise input_error("no such file", "check the path", path)
    return SourceFile(path, file.read_bytes())


def parse_resource(source: SourceFile, *types: str, line: int | None = None) -> Resource:
    """Return the FHIR resource in the bytes, valid R4B and of one of `types` (any if none given).

    Numbers with a decimal point come as Decimal, with their precision. Raises FaultError.
    """
    where = source.name if line is None else f"{source.name}:{line}"
    resource = _parse_json(source.raw, where)
    kind = resource.get("resourceType")
    if not isinstance(kind, str):
        raise input_error("the JSON is no FHIR resource: it has no resourceType", "", where)
    if types and kind not in types:
        raise input_error(
            f"the file holds a {_shown(kind)}, not a {' or '.join(types)}",
            "name the right file",
            where,
        )
    _validate(kind, source.raw, where)
    return resource


def parse_json(source: SourceFile) -> Resource:
    """Return the JSON object in the bytes, without knowing what it is. Raises FaultError."""
    return _parse_json(source.raw, source.name)


def validate_r5(kind: str, source: SourceFile) -> None:
    """Raise FaultError unless the bytes are a valid FHIR R5 resource of this type."""
    _validate(kind, source.raw, source.name, release="R5")


def parse_lines(source: SourceFile, *types: str) -> Iterator[tuple[int, Resource]]:
    """Yield (line number, resource) of an NDJSON file, empty lines left out. Raises FaultError."""
    for number, raw in enumerate(source.raw.splitlines(), 1):
        if raw.strip():
            yield number, parse_resource(SourceFile(source.name, raw), *types, line=number)


def resource_types(resource: Resource) -> tuple[str, ...]:
    """Return the types that a resource holds: its own, and a Bundle's entries', sorted."""
    found = {str(resource.get("resourceType", ""))}
    for entry in resource.get("entry") or ():
        inner = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(inner, dict):
            found |= set(resource_types(inner))
    return tuple(sorted(found - {""}))


def _parse_json(raw: bytes, where: str) -> Resource:
    try:
        value = json.loads(
            raw,
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except json.JSONDecodeError as error:
        raise input_error(
            f"not JSON: {error.msg}", "", f"{where}:{error.lineno}:{error.colno}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise input_error(f"not acceptable JSON: {error}", "", where) from None
    if not isinstance(value, dict):
        raise input_error("the JSON is no FHIR resource: it is no object", "", where)
    return value


def _validate(kind: str, raw: bytes, where: str, release: str = "R4") -> None:
    # Imported here: the models of all of FHIR take a while to load.
    from fhir.resources import get_fhir_model_class as get_r5_model_class
    from fhir.resources.R4B import get_fhir_model_class as get_r4_model_class
    from pydantic import ValidationError

    try:
        model = (get_r4_model_class if release == "R4" else get_r5_model_class)(kind)
    except (LookupError, ValueError):
        raise input_error(
            f"FHIR {release} has no resource type {_shown(kind)}", "", where
        ) from None
    try:
        model.model_validate_json(raw)
    except ValidationError as error:
        problems = tuple(
            f"{kind}.{'.'.join(str(part) for part in one['loc'])}: {_said(one['type'], release)}"
            for one in error.errors(include_input=False, include_url=False)[:MAX_PROBLEMS]
        )
        more = error.error_count() - 1
        first = problems[0] + (f" (and {more} more, see -v)" if more else "")
        raise input_error(
            f"not a valid FHIR {release} {kind}: {first}", "correct the field", where, problems
        ) from None


_SAID = {
    "missing": "is missing",
    "extra_forbidden": "is no field of FHIR {release}",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "string_type": "must be text",
    "bool_type": "must be true or false",
}


def _said(kind: str, release: str) -> str:
    kind = kind.rpartition(".")[2]  # FHIR's own rules are named after pydantic's
    said = _SAID.get(kind, f"has a wrong value ({kind.replace('_', ' ')})")
    return said.format(release=release)


def _shown(kind: str) -> str:
    return kind if kind.isalnum() and len(kind) < 40 else "resource of no known type"


def _unique(pairs: list[tuple[str, Any]]) -> Resource:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names the same field twice")
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")
