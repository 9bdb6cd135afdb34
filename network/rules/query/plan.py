"""Which index CouchDB would answer a query from, and what range of it.

The index decides the order of the results and whether a sort is possible at all, so it is chosen
exactly as CouchDB chooses: among those whose columns the selector requires, the one that leaves the
fewest restricted fields over, then the narrowest, then the first by name. Without one the keys
themselves are the index. Rows are then filtered by the selector, so a range may only be too wide.

Source: CouchDB src/mango/src/{mango_idx,mango_idx_view,mango_idx_special,mango_cursor,
mango_cursor_view}.erl; Fabric statecouchdb/statecouchdb.go fn ProcessIndexesForChaincodeDeploy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any

from network.rules.query.collation import AFTER_ALL, HIGHEST, build_sort_key
from network.rules.query.conditions import (
    BeginsWith,
    Compare,
    Comparison,
    Condition,
    Exists,
    Node,
    Text,
    build_compare,
)
from network.rules.query.couch_errors import InvalidQuery, format_term
from network.rules.query.documents import (
    BAD_PATH,
    NOT_FOUND,
    Path,
    get_field,
    is_attachment,
    parse_path,
)
from network.rules.query.richquery import RichQuery, parse_query
from network.rules.query.selector import And, Field, Or, Selector, parse_selector

_ID = ("_id",)
_NO_INDEX = "No index exists for this sort, try indexing by the sort fields."


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """A JSON index as a chaincode package brings it."""

    design: str
    name: str
    columns: tuple[Path, ...]
    partial: Selector | None = None
    """Only documents that match stand in the index."""

    def build_entry(self, document: dict[str, Any]) -> bytes | None:
        """Where the document stands in the index; None when it has not all columns."""
        if is_attachment(document) or (self.partial and not self.partial.matches(document)):
            return None
        values = [get_field(document, path) for path in self.columns]
        if any(value is NOT_FOUND or value is BAD_PATH for value in values):
            return None
        return b"".join(map(build_sort_key, values))


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range of values; `operand` None with an empty `key` is the open end."""

    comparison: Comparison
    key: bytes
    operand: Any = None


@dataclass(frozen=True, slots=True)
class Range:
    """Values between two bounds."""

    low: Bound
    high: Bound


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to look: rows of `index` (None: keys) from `low` to `high`, both included.

    For an index the bounds are sort keys, `high` counting every longer one, too; for keys they are
    UTF-8. None is open. `nothing` means that no row can be a result.
    """

    index: IndexDefinition | None
    low: bytes | None = None
    high: bytes | None = None
    nothing: bool = False


_OPEN = Range(Bound(Comparison.GREATER, b""), Bound(Comparison.LESS, AFTER_ALL))


def parse_index(raw: bytes) -> IndexDefinition:
    """The index in a file of META-INF/statedb/couchdb/indexes.

    Raises:
        InvalidQuery: CouchDB would refuse it.
        ValueError: it is not JSON.
    """
    value = json.loads(raw)
    if not isinstance(value, dict):
        raise InvalidQuery("bad_request", "Request body must be a JSON object")
    definition = value.get("index")
    if value.get("type", "json") != "json":
        raise InvalidQuery("invalid_index", f"Invalid type for index: {value.get('type')}")
    if not isinstance(definition, dict) or set(definition) - {"fields", "partial_filter_selector"}:
        raise InvalidQuery(
            "invalid_index", f"JSON indexes must be an object, not: {format_term(definition)}"
        )
    # The sort of a query is what the columns of an index are checked as, too.
    fields = json.dumps({"selector": {}, "sort": definition.get("fields", "missing")})
    columns = tuple(parse_path(name) for name in parse_query(fields).sort)
    partial = definition.get("partial_filter_selector")
    digest = sha1(raw, usedforsecurity=False).hexdigest()
    return IndexDefinition(
        str(value.get("ddoc") or digest).removeprefix("_design/"),
        str(value.get("name") or digest),
        columns,
        parse_selector(partial) if partial else None,
    )


def plan_query(query: RichQuery, indexes: Sequence[IndexDefinition]) -> Plan:
    """Where to look for the results.

    Raises:
        InvalidQuery: no index gives the order asked for, or the selector needs a text index.
    """
    root = query.selector.root
    named = [index for index in indexes if _is_named(index, query.use_index)]
    offered = [index for index in indexes if index.partial is None or index in named]
    sort = tuple(parse_path(name) for name in query.sort)
    usable: list[IndexDefinition | None] = [
        index for index in offered if _is_usable(index, root, sort)
    ]
    if _are_keys_usable(root, sort):
        usable.append(None)
    if not usable or _has_text(root):
        raise InvalidQuery("no_usable_index", _NO_INDEX)
    preferred = [index for index in usable if index is not None and index in named]
    if isinstance(root, And | Or) and not root.parts:
        return Plan(None, nothing=True)
    return _choose(preferred or usable, _find_ranges(root), descending=query.descending)


def _is_named(index: IndexDefinition, use_index: tuple[str, ...]) -> bool:
    return bool(use_index) and (index.design, index.name)[: len(use_index)] == use_index


def _choose(
    usable: Sequence[IndexDefinition | None],
    ranges: dict[Path, Range | None],
    *,
    descending: bool,
) -> Plan:
    def rank(index: IndexDefinition | None) -> tuple[int, int, int, str, str]:
        columns = index.columns if index else (_ID,)
        unused = len(ranges) - len(list(_prefix(columns, ranges)))
        # CouchDB's name for the keys sorts before every design document.
        names = (1, index.design, index.name) if index else (0, "", "")
        return (unused, len(columns), *names)

    index = min(usable, key=rank)
    found = list(_prefix(index.columns if index else (_ID,), ranges))
    if None in found:
        return Plan(index, nothing=True)
    bounds = [part for part in found if part is not None]
    return _bound_index(index, bounds) if index else _bound_keys(bounds)


def _prefix(columns: Sequence[Path], ranges: dict[Path, Range | None]) -> Iterator[Range | None]:
    """The ranges of the leading columns, as far as the selector restricts them."""
    for column in columns:
        if column not in ranges:
            return
        yield ranges[column]


def _bound_index(index: IndexDefinition, ranges: Sequence[Range]) -> Plan:
    low, high = b"", b""
    for part in ranges:
        if not part.low.key:
            break
        low += part.low.key
    for part in ranges:
        if part.high.key == AFTER_ALL:
            break
        high += part.high.key
    return Plan(index, low or None, high + AFTER_ALL)


def _bound_keys(ranges: Sequence[Range]) -> Plan:
    """A range of keys, which CouchDB takes bytewise here; any other value is less than a key."""
    low = high = None
    if ranges:
        below, above = ranges[0].low, ranges[0].high
        if below.key and isinstance(below.operand, str):
            low = below.operand.encode()
        if above.key != AFTER_ALL:
            if not isinstance(above.operand, str):
                return Plan(None, nothing=True)
            high = above.operand.encode()
    return Plan(None, low, high)


# --- what a selector requires -------------------------------------------------------------------


def _is_usable(index: IndexDefinition, root: Node, sort: tuple[Path, ...]) -> bool:
    needed = set(index.columns) - set(sort) - {_ID, ("_rev",)}
    return not _find_unrequired(root, needed) and _gives_order(index.columns, sort, root)


def _are_keys_usable(root: Node, sort: tuple[Path, ...]) -> bool:
    return not sort or (sort == (_ID,) and _ID in _find_indexable(root))


def _find_unrequired(part: Node, fields: set[Path]) -> set[Path]:
    """Those of `fields` that CouchDB thinks a matching document need not have.

    It thinks an empty $or requires them all, though one is true of any document: so an index may
    answer that leaves matching documents out (mango_selector.erl fn has_required_fields_int).
    """
    match part:
        case And(parts):
            for inner in parts:
                fields = _find_unrequired(inner, fields)
        case Or(parts):
            fields = set().union(*(_find_unrequired(inner, fields) for inner in parts))
        case Field(path, condition) if condition != Exists(False):
            fields = fields - {path}
    return fields


def _gives_order(columns: Sequence[Path], sort: tuple[Path, ...], root: Node) -> bool:
    """Whether the sort begins an index's columns, after any that the selector holds constant."""
    if not sort:
        return True
    for at, column in enumerate(columns):
        if column == sort[0]:
            return tuple(columns[at : at + len(sort)]) == sort
        if not _is_constant(root, column):
            return False
    return False


def _is_constant(part: Node, column: Path) -> bool:
    if isinstance(part, And):
        return any(_is_constant(inner, column) for inner in part.parts)
    return (
        isinstance(part, Field)
        and part.path == column
        and isinstance(part.condition, Compare)
        and part.condition.comparison is Comparison.EQUAL
    )


def _has_text(part: Node) -> bool:
    if isinstance(part, And | Or):
        return any(map(_has_text, part.parts))
    return isinstance(part, Field) and isinstance(part.condition, Text)


# --- ranges -------------------------------------------------------------------------------------


def _find_indexable(part: Node) -> set[Path]:
    """The fields that the selector restricts in a way that an index can follow."""
    if isinstance(part, And):
        return set().union(*map(_find_indexable, part.parts))
    if isinstance(part, Field) and _is_indexable(part.condition):
        return {part.path}
    return set()


def _is_indexable(condition: Condition) -> bool:
    if isinstance(condition, Compare):
        return condition.comparison is not Comparison.UNEQUAL
    return isinstance(condition, BeginsWith | Exists)


def _find_ranges(root: Node) -> dict[Path, Range | None]:
    """Field → the range of its values; None, and then alone, when there can be no value."""
    found: dict[Path, Range | None] = {}
    for path in sorted(_find_indexable(root)):
        narrowed = _narrow(root, path, _OPEN)
        if narrowed is None:
            return {path: None}
        found[path] = narrowed
    return found


def _narrow(part: Node, path: Path, current: Range | None) -> Range | None:
    if current is None:
        return None
    if isinstance(part, And):
        for inner in part.parts:
            current = _narrow(inner, path, current)
        return current
    if not isinstance(part, Field) or part.path != path:
        return current
    if isinstance(part.condition, BeginsWith):
        prefix = part.condition.prefix
        narrowed = _narrow_by(build_compare(Comparison.AT_LEAST, prefix), current)
        return narrowed and _narrow_by(
            build_compare(Comparison.AT_MOST, prefix + HIGHEST), narrowed
        )
    return _narrow_by(part.condition, current) if isinstance(part.condition, Compare) else current


def _narrow_by(condition: Compare, current: Range) -> Range | None:
    bound = Bound(condition.comparison, condition.key, condition.operand)
    match condition.comparison:
        case Comparison.UNEQUAL:
            return current
        case Comparison.LESS | Comparison.AT_MOST:
            return _meet(current.low, _lower(current.high, bound))
        case Comparison.GREATER | Comparison.AT_LEAST:
            return _meet(_higher(current.low, bound), current.high)
    met = _meet(_higher(current.low, bound), _lower(current.high, bound))
    return met and Range(bound, bound)


def _lower(high: Bound, bound: Bound) -> Bound:
    if bound.key == high.key:
        return bound if bound.comparison is Comparison.LESS else high
    return min(high, bound, key=lambda one: one.key)


def _higher(low: Bound, bound: Bound) -> Bound:
    if bound.key == low.key:
        return bound if bound.comparison is Comparison.GREATER else low
    return max(low, bound, key=lambda one: one.key)


def _meet(low: Bound, high: Bound) -> Range | None:
    """The range between, or None when it is empty."""
    if low.key > high.key:
        return None
    closed = low.comparison is not Comparison.GREATER and high.comparison is not Comparison.LESS
    return Range(low, high) if low.key < high.key or closed else None
