"""A CouchDB selector over JSON values, as far as unit tests of contracts need it.

Equality and the operators below, `sort` by one or more fields, `limit` and `skip`. An operator
that is not known is refused, never ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from chaincode.simulator.world import Entry

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed rich query."""

    selector: dict[str, Any]
    sort: tuple[tuple[str, bool], ...] = field(default=())
    limit: int | None = None
    skip: int = 0


def parse_query(text: str) -> Query:
    """The query in this JSON text. Raises ValueError if it is none."""
    document = json.loads(text)
    if not isinstance(document, dict) or not isinstance(document.get("selector"), dict):
        raise ValueError("a query is an object with a selector")
    sort = tuple(_parse_sort(entry) for entry in document.get("sort", ()))
    query = Query(document["selector"], sort, document.get("limit"), document.get("skip", 0))
    _validate_operators(query.selector)
    return query


def run_query(query: Query, entries: Iterable[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
    """The entries whose values are JSON objects that match, in the order asked for."""
    found = []
    for key, entry in entries:
        try:
            document = json.loads(entry.value)
        except ValueError:
            continue
        if isinstance(document, dict) and matches(query.selector, document):
            found.append((key, entry, document))
    for path, descending in reversed(query.sort):
        found.sort(key=lambda item: _rank(_lookup(item[2], path)), reverse=descending)
    pairs = [(key, entry) for key, entry, _ in found][query.skip :]
    return pairs if query.limit is None else pairs[: query.limit]


def matches(selector: dict[str, Any], document: Any) -> bool:
    """True if the document fulfils every condition of a validated selector."""
    return all(_matches_member(name, wanted, document) for name, wanted in selector.items())


def _matches_member(name: str, wanted: Any, document: Any) -> bool:
    if name in _COMBINERS:
        return _COMBINERS[name](wanted, document)
    return _matches_value(_lookup(document, name), wanted)


def _matches_value(value: Any, wanted: Any) -> bool:
    if not isinstance(wanted, dict):
        return bool(value == wanted)
    if any(name.startswith("$") for name in wanted):
        return all(_apply(name, value, operand) for name, operand in wanted.items())
    return matches(wanted, value if isinstance(value, dict) else {})


def _apply(name: str, value: Any, operand: Any) -> bool:
    if name == "$exists":
        return bool((value is not _MISSING) == operand)
    return value is not _MISSING and _OPERATORS[name](value, operand)


def _validate_operators(part: Any) -> None:
    if isinstance(part, dict):
        for name, operand in part.items():
            if name.startswith("$") and name not in _COMBINERS and name not in _OPERATORS:
                raise ValueError(f"operator {name} is not known here")
            _validate_operators(operand)
    elif isinstance(part, list):
        for item in part:
            _validate_operators(item)


def _lookup(document: Any, path: str) -> Any:
    for step in path.split("."):
        if not isinstance(document, dict) or step not in document:
            return _MISSING
        document = document[step]
    return document


def _rank(value: Any) -> tuple[int, Any]:
    """CouchDB's collation of kinds: null, booleans, numbers, strings, arrays, objects."""
    if value is _MISSING:
        return (-1, 0)
    if value is None:
        return (0, 0)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, int | float):
        return (2, value)
    if isinstance(value, str):
        return (3, value)
    if isinstance(value, list):
        return (4, [_rank(item) for item in value])
    return (5, sorted((name, _rank(item)) for name, item in value.items()))


def _parse_sort(entry: Any) -> tuple[str, bool]:
    if isinstance(entry, str):
        return entry, False
    ((path, direction),) = entry.items()
    return path, direction == "desc"


_COMBINERS: dict[str, Callable[[Any, Any], bool]] = {
    "$and": lambda parts, document: all(matches(part, document) for part in parts),
    "$or": lambda parts, document: any(matches(part, document) for part in parts),
    "$nor": lambda parts, document: not any(matches(part, document) for part in parts),
    "$not": lambda part, document: not matches(part, document),
}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, operand: bool(value == operand),
    "$ne": lambda value, operand: bool(value != operand),
    "$gt": lambda value, operand: _rank(value) > _rank(operand),
    "$gte": lambda value, operand: _rank(value) >= _rank(operand),
    "$lt": lambda value, operand: _rank(value) < _rank(operand),
    "$lte": lambda value, operand: _rank(value) <= _rank(operand),
    "$in": lambda value, operand: value in operand,
    "$nin": lambda value, operand: value not in operand,
    "$exists": lambda value, operand: bool(operand),
    "$all": lambda value, operand: isinstance(value, list) and all(x in value for x in operand),
    "$size": lambda value, operand: isinstance(value, list) and len(value) == operand,
    "$elemMatch": lambda value, operand: (
        isinstance(value, list) and any(_matches_value(item, operand) for item in value)
    ),
    "$not": lambda value, operand: not _matches_value(value, operand),
}
