"""CouchDB selectors for unit tests of contracts: every operator, as CouchDB evaluates it.

Negations move to the fields, as in CouchDB, so that a missing field fails `$not` too, except within
`$elemMatch` and its like. Texts compare as in CouchDB as long as they are ASCII; beyond it accents
follow letters and the rest stands by code point. `$regex` is Python's `re`. An operator that is not
known is refused, never ignored.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

Matcher = Callable[[Any], bool]

_MISSING = object()
_NOWHERE = object()
_PLACE = re.compile(r"[+-]?[0-9]+")
_MARKS = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz"
_SPACES = "\t\n\v\f\r "


class _Unmatchable(Exception):
    """$nor within $elemMatch, which CouchDB accepts and cannot evaluate."""


def compile_selector(selector: Any) -> Matcher:
    """A test for documents. Raises ValueError for what CouchDB would refuse."""
    if not isinstance(selector, dict):
        raise ValueError("a selector is an object")
    if not selector:
        return lambda _: True
    if len(selector) == 1 and _is_condition(*selector):
        raise ValueError("one or more conditions is missing a field name")
    return _compile(selector, (), inverted=False, inner=False)


def get_rank(value: Any) -> tuple[int, Any]:
    """What sorts as CouchDB sorts: null, booleans, numbers, strings, arrays, objects."""
    if value is None:
        return (0, 0)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, int | float):
        return (2, value)
    if isinstance(value, str):
        return (3, _rank_text(value))
    if isinstance(value, list):
        return (4, [get_rank(item) for item in value])
    return (5, [(_rank_text(name), get_rank(value[name])) for name in sorted(value)])


def look_up(document: Any, path: tuple[str, ...]) -> Any:
    """What stands at the path, or None."""
    found = _look_up(document, path)
    return None if found is _MISSING or found is _NOWHERE else found


def has_field(document: Any, path: tuple[str, ...]) -> bool:
    """True if something stands at the path."""
    found = _look_up(document, path)
    return found is not _MISSING and found is not _NOWHERE


def split_path(name: str) -> tuple[str, ...]:
    """The parts of a field name; a backslash keeps a dot. Raises ValueError for an empty part."""
    parts = re.split(r"(?<!\\)\.", name)
    if "" in parts:
        raise ValueError(f"invalid field name: {name}")
    return tuple(part.replace("\\", "") for part in parts)


def _is_condition(name: str) -> bool:
    return name.startswith("$") and name not in _COMBINERS


def _compile(value: Any, path: tuple[str, ...], *, inverted: bool, inner: bool) -> Matcher:
    if not isinstance(value, dict) or not value:
        return _at(path, _build("$eq", value), "$eq", inverted=inverted)
    if len(value) > 1:
        parts = [{name: argument} for name, argument in sorted(value.items())]
        return _combine("$and", parts, path, inverted=inverted, inner=inner)
    ((name, argument),) = value.items()
    if name in _COMBINERS:
        if name == "$not":
            if not isinstance(argument, dict):
                raise ValueError("$not takes a selector")
            if not inner:
                return _compile(argument, path, inverted=not inverted, inner=False)
            part = _compile(argument, path, inverted=False, inner=True)
            return lambda value: not part(value)
        if not isinstance(argument, list):
            raise ValueError(f"{name} takes an array")
        return _combine(name, argument, path, inverted=inverted, inner=inner)
    if name.startswith("$"):
        return _at(path, _build(name, argument), name, inverted=inverted)
    return _compile(argument, path + split_path(name), inverted=inverted, inner=inner)


def _combine(
    name: str, arguments: list[Any], path: tuple[str, ...], *, inverted: bool, inner: bool
) -> Matcher:
    nor = name == "$nor"
    below = False if inner else inverted != nor
    parts = [_compile(part, path, inverted=below, inner=inner) for part in arguments]
    if nor and inner:
        return _refuse
    if (name == "$or") != inverted:
        return lambda value: not parts or any(part(value) for part in parts)
    return lambda value: all(part(value) for part in parts)


def _refuse(_: Any) -> bool:
    raise _Unmatchable


def _at(path: tuple[str, ...], holds: Matcher, name: str, *, inverted: bool) -> Matcher:
    """The condition asked of the field; only `$exists` has an answer where there is none."""
    absent = name == "$exists" and holds(_MISSING) != inverted

    def matches(value: Any) -> bool:
        found = _look_up(value, path)
        if found is _MISSING:
            return absent
        return found is not _NOWHERE and holds(found) != inverted

    return matches


def _look_up(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if isinstance(value, dict):
            if step not in value:
                return _MISSING
            value = value[step]
        elif isinstance(value, list) and _PLACE.fullmatch(step) and 0 <= int(step) < len(value):
            value = value[int(step)]
        else:
            return _NOWHERE
    return value


def _build(name: str, argument: Any) -> Matcher:
    if name not in _OPERATORS:
        raise ValueError(f"operator {name} is not known here")
    accepts, build = _OPERATORS[name]
    if not accepts(argument):
        raise ValueError(f"bad argument for operator {name}")
    return build(argument)


def _rank_text(text: str) -> tuple[list[int], list[bool]]:
    chars = [
        char
        for char in unicodedata.normalize("NFD", text)
        if char in _SPACES or not unicodedata.category(char).startswith("C")
    ]
    return [_rank_char(char) for char in chars], [char.isupper() for char in chars]


def _rank_char(char: str) -> int:
    if char in _SPACES:
        return _SPACES.index(char)
    place = _MARKS.find(char.lower())
    return 10 + place if place >= 0 else 1000 + ord(char.lower())


def _compare(decide: Callable[[Any, Any], bool]) -> Callable[[Any], Matcher]:
    def build(argument: Any) -> Matcher:
        rank = get_rank(argument)
        return lambda value: decide(get_rank(value), rank)

    return build


def _in(arguments: list[Any]) -> Matcher:
    ranks = [get_rank(argument) for argument in arguments]
    return lambda value: any(
        get_rank(item) in ranks for item in (value if isinstance(value, list) else [value])
    )


def _not(build: Callable[[Any], Matcher]) -> Callable[[Any], Matcher]:
    def build_inverse(argument: Any) -> Matcher:
        holds = build(argument)
        return lambda value: not holds(value)

    return build_inverse


def _mod(argument: list[int]) -> Matcher:
    divisor, remainder = argument

    def holds(value: Any) -> bool:
        if type(value) is not int:
            return False
        if divisor == 0:
            raise ValueError("the divisor of $mod is 0")
        found = abs(value) % abs(divisor)
        return (found if value >= 0 else -found) == remainder

    return holds


def _all(arguments: list[Any]) -> Matcher:
    def holds(value: Any) -> bool:
        if not arguments or not isinstance(value, list):
            return False
        if all(any(_is_same(argument, item) for item in value) for argument in arguments):
            return True
        return len(arguments) == 1 and isinstance(arguments[0], list) and arguments[0] == value

    return holds


def _is_same(left: Any, right: Any) -> bool:
    """Equal, and numbers alike in kind: in CouchDB's $all 1 is not 1.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_is_same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_is_same(left[n], right[n]) for n in left)
    return bool(left == right)


def _regex(argument: str) -> Matcher:
    pattern = re.compile(argument)
    return lambda value: isinstance(value, str) and pattern.search(value) is not None


def _inner(argument: dict[str, Any], judge: Callable[[Matcher, Any], bool]) -> Matcher:
    part = _compile(argument, (), inverted=False, inner=True)

    def holds(value: Any) -> bool:
        try:
            return judge(part, value)
        except _Unmatchable:
            return False

    return holds


def _elem_match(argument: dict[str, Any]) -> Matcher:
    return _inner(argument, lambda part, value: isinstance(value, list) and any(map(part, value)))


def _all_match(argument: dict[str, Any]) -> Matcher:
    return _inner(
        argument,
        lambda part, value: isinstance(value, list) and value != [] and all(map(part, value)),
    )


def _key_map_match(argument: dict[str, Any]) -> Matcher:
    return _inner(
        argument, lambda part, value: isinstance(value, dict) and any(map(part, sorted(value)))
    )


def _get_type(value: Any) -> str:
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}
    return "null" if value is None else kinds.get(type(value), "object")


def _is_regex(argument: Any) -> bool:
    try:
        re.compile(argument)
    except (re.error, TypeError):
        return False
    return isinstance(argument, str)


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda argument: type(argument) in kinds


def _is_pair(argument: Any) -> bool:
    return isinstance(argument, list) and [type(part) for part in argument] == [int, int]


def _anything(_: Any) -> bool:
    return True


_COMBINERS = frozenset({"$and", "$or", "$nor", "$not"})
_OPERATORS: dict[str, tuple[Callable[[Any], bool], Callable[[Any], Matcher]]] = {
    "$lt": (_anything, _compare(lambda left, right: left < right)),
    "$lte": (_anything, _compare(lambda left, right: left <= right)),
    "$eq": (_anything, _compare(lambda left, right: left == right)),
    "$ne": (_anything, _compare(lambda left, right: left != right)),
    "$gte": (_anything, _compare(lambda left, right: left >= right)),
    "$gt": (_anything, _compare(lambda left, right: left > right)),
    "$in": (_is(list), _in),
    "$nin": (_is(list), _not(_in)),
    "$exists": (_is(bool), lambda wanted: lambda value: (value is not _MISSING) == wanted),
    "$type": (_is(str), lambda name: lambda value: _get_type(value) == name),
    "$mod": (_is_pair, _mod),
    "$regex": (_is_regex, _regex),
    "$beginsWith": (
        _is(str),
        lambda prefix: lambda value: isinstance(value, str) and value.startswith(prefix),
    ),
    "$size": (
        lambda argument: type(argument) is int and argument >= 0,
        lambda count: lambda value: isinstance(value, list) and len(value) == count,
    ),
    "$all": (_is(list), _all),
    "$elemMatch": (_is(dict), _elem_match),
    "$allMatch": (_is(dict), _all_match),
    "$keyMapMatch": (_is(dict), _key_map_match),
}
