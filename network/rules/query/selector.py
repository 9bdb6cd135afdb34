"""CouchDB's Mango selectors: parsed as CouchDB normalises them, matched as CouchDB matches them.

A selector becomes a tree of `And`, `Or` and `Field` in which negations stand at the leaves, because
that is where they change the result: `{"$not": {"a": {"$gt": 1}}}` does not match a document
without `a`. Other things that surprise are CouchDB's too: an empty `$or` is true, `$in` looks into
arrays, a number in a path is a place in an array, `$exists: false` is false below something that
is no object, and within `$elemMatch` and its like negations stay where they are.

Differences: `$text` needs an index kind that a Fabric peer cannot have, so it is refused as CouchDB
refuses it without one. `$regex` runs on the `regex` package instead of PCRE: like CouchDB on UTF-8
bytes taken for Latin-1, so `.` is one byte, but without verbs such as `(*SKIP)`; a search that
takes longer than `conditions.REGEX_TIMEOUT` refuses the query, where PCRE gives up and does not
match. Of several mistakes in one selector another may be named first.

Source: CouchDB src/mango/src/{mango_selector,mango_doc,mango_util}.erl.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from network.rules.query.conditions import (
    AllMatch,
    Comparison,
    Condition,
    ElemMatch,
    Exists,
    KeyMapMatch,
    Node,
    Text,
    Unmatchable,
    bad_argument,
    build_compare,
    negate,
)
from network.rules.query.couch_errors import InvalidQuery, format_term
from network.rules.query.documents import BAD_PATH, NOT_FOUND, Path, get_field, parse_path
from network.rules.query.operators import parse_condition

_LISTS = ("$and", "$or", "$nor")
_MATCHERS: dict[str, type[ElemMatch] | type[AllMatch] | type[KeyMapMatch]] = {
    "$elemMatch": ElemMatch,
    "$allMatch": AllMatch,
    "$keyMapMatch": KeyMapMatch,
}
_UNSUPPORTED = frozenset({"$where", "$geoWithin", "$geoIntersects", "$near", "$nearSphere"})


@dataclass(frozen=True, slots=True)
class Everything:
    """The empty selector."""

    def matches(self, value: Any) -> bool:
        """True."""
        return True


@dataclass(frozen=True, slots=True)
class And:
    """Every part matches."""

    parts: tuple[Node, ...]

    def matches(self, value: Any) -> bool:
        """Whether `value` matches."""
        return all(part.matches(value) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """Some part matches, or there are none."""

    parts: tuple[Node, ...]

    def matches(self, value: Any) -> bool:
        """Whether `value` matches."""
        return not self.parts or any(part.matches(value) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not match. Only within $elemMatch and its like: elsewhere it moves down."""

    part: Node

    def matches(self, value: Any) -> bool:
        """Whether `value` matches."""
        return not self.part.matches(value)


@dataclass(frozen=True, slots=True)
class Nor:
    """$nor within $elemMatch and its like, which CouchDB accepts and cannot evaluate."""

    parts: tuple[Node, ...]

    def matches(self, value: Any) -> bool:
        """Raise: there is no answer."""
        raise Unmatchable


@dataclass(frozen=True, slots=True)
class Field:
    """What stands at `path` fulfils the condition; the empty path is the value itself."""

    path: Path
    condition: Condition

    def matches(self, value: Any) -> bool:
        """Whether `value` matches."""
        found = get_field(value, self.path)
        if found is NOT_FOUND:
            return self.condition == Exists(False)
        if found is BAD_PATH:
            return False
        return self.condition.holds(found)


@dataclass(frozen=True, slots=True)
class Selector:
    """A normalised selector."""

    root: Node

    def matches(self, document: dict[str, Any]) -> bool:
        """Whether the document is selected.

        Raises:
            InvalidQuery: a condition cannot be evaluated on it.
        """
        return self.root.matches(document)


def parse_selector(value: Any) -> Selector:
    """The selector in a JSON value.

    Raises:
        InvalidQuery: CouchDB would refuse it.
    """
    if not isinstance(value, dict):
        raise InvalidQuery(
            "invalid_selector_json", f"Selector must be a JSON object, not: {format_term(value)}"
        )
    if not value:
        return Selector(Everything())
    root = _parse(value, (), inverted=False, inner=False)
    if isinstance(root, Field) and not root.path and not isinstance(root.condition, Text):
        raise InvalidQuery("invalid_selector", "One or more conditions is missing a field name.")
    return Selector(root)


def _parse(value: Any, path: Path, *, inverted: bool, inner: bool) -> Node:
    """One part below `path`, negated if `inverted`; `inner` is below $elemMatch and its like."""
    if not isinstance(value, dict) or not value:
        return _build_leaf(path, build_compare(Comparison.EQUAL, value), inverted=inverted)
    if len(value) > 1:
        each = [{name: argument} for name, argument in value.items()]
        return _parse_all(each, path, every=True, inverted=inverted, inner=inner)
    ((name, argument),) = value.items()
    if name in _LISTS or name == "$not":
        return _parse_combination(name, argument, path, inverted=inverted, inner=inner)
    if name in _MATCHERS:
        if not isinstance(argument, dict):
            raise bad_argument(name, argument)
        part = _parse(argument, (), inverted=False, inner=True)
        return _build_leaf(path, _MATCHERS[name](part), inverted=inverted)
    if name == "$text" and path:
        default = {"$default": value}
        raise InvalidQuery(
            "bad_field", f"Invalid field normalization on selector: {format_term(default)}"
        )
    if name.startswith("$"):
        return _build_leaf(path, _parse_operator(name, argument), inverted=inverted)
    return _parse(argument, path + parse_path(name), inverted=inverted, inner=inner)


def _parse_combination(
    name: str, argument: Any, path: Path, *, inverted: bool, inner: bool
) -> Node:
    if name == "$not":
        if not isinstance(argument, dict):
            raise bad_argument(name, argument)
        if inner:
            return Not(_parse(argument, path, inverted=False, inner=True))
        return _parse(argument, path, inverted=not inverted, inner=False)
    if not isinstance(argument, list):
        raise bad_argument(name, argument)
    if name == "$nor":
        if inner:
            return Nor(tuple(_parse(part, path, inverted=False, inner=True) for part in argument))
        return _parse_all(argument, path, every=True, inverted=not inverted, inner=False, nor=True)
    return _parse_all(argument, path, every=name == "$and", inverted=inverted, inner=inner)


def _parse_all(
    parts: list[Any], path: Path, *, every: bool, inverted: bool, inner: bool, nor: bool = False
) -> Node:
    """Parts of which every one or any one must match; negating swaps the two (De Morgan)."""
    parsed = tuple(_parse(part, path, inverted=inverted, inner=inner) for part in parts)
    swapped = inverted != nor
    return And(parsed) if every != swapped else Or(parsed)


def _parse_operator(name: str, argument: Any) -> Condition:
    if name in _UNSUPPORTED:
        raise InvalidQuery("not_supported", f"Unsupported operator: {name}")
    try:
        return parse_condition(name, argument)
    except KeyError:
        raise InvalidQuery("invalid_operator", f"Invalid operator: {name}") from None


def _build_leaf(path: Path, condition: Condition, *, inverted: bool) -> Field:
    return Field(path, negate(condition) if inverted else condition)
