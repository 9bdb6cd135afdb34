"""The conditions of a Mango selector: what one value must fulfil.

Comparisons follow the order of `network.rules.query.collation`. Source: CouchDB
src/mango/src/mango_selector.erl fn negate and match.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from network.rules.query.collation import build_sort_key
from network.rules.query.couch_errors import InvalidQuery, format_term

REGEX_TIMEOUT = 1.0
"""Seconds that one search for a $regex may take in one value."""


class Node(Protocol):
    """A part of a selector, asked about a value."""

    def matches(self, value: Any) -> bool:
        """Whether `value` matches."""
        ...


class Condition(Protocol):
    """What a value must fulfil."""

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        ...


class Comparison(Enum):
    """How a value stands to the operand."""

    LESS = "$lt"
    AT_MOST = "$lte"
    EQUAL = "$eq"
    UNEQUAL = "$ne"
    AT_LEAST = "$gte"
    GREATER = "$gt"


@dataclass(frozen=True, slots=True)
class Compare:
    """The value stands so to the operand; `key` is the operand's sort key."""

    comparison: Comparison
    operand: Any = field(compare=False)
    key: bytes

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        return _COMPARERS[self.comparison](build_sort_key(value), self.key)


@dataclass(frozen=True, slots=True)
class In:
    """The value, or one of an array's elements, equals an operand; or, `inverted`, none does."""

    operands: tuple[Any, ...] = field(compare=False)
    keys: frozenset[bytes]
    inverted: bool

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        candidates = value if isinstance(value, list) else (value,)
        found = any(build_sort_key(candidate) in self.keys for candidate in candidates)
        return found != self.inverted


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is there, or is not. A field that is there is all that a condition ever sees."""

    wanted: bool

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        return self.wanted


@dataclass(frozen=True, slots=True)
class OfType:
    """The value is of a JSON type."""

    name: str

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        return _get_type(value) == self.name


@dataclass(frozen=True, slots=True)
class Mod:
    """The value is an integer with this remainder; the remainder has the value's sign."""

    divisor: int
    remainder: int

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it. Raises InvalidQuery for the divisor 0, as CouchDB fails."""
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        if self.divisor == 0:
            raise InvalidQuery("badarith", "the divisor of $mod is 0", 500)
        remainder = abs(value) % abs(self.divisor)
        return (remainder if value >= 0 else -remainder) == self.remainder


@dataclass(frozen=True, slots=True)
class Size:
    """The value is an array of so many elements."""

    count: int

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        return isinstance(value, list) and len(value) == self.count


@dataclass(frozen=True, slots=True)
class All:
    """The value is an array that holds every operand; numbers must be alike in kind, too."""

    operands: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        if not self.operands or not isinstance(value, list):
            return False
        if all(any(_is_same(operand, held) for held in value) for operand in self.operands):
            return True
        only = self.operands[0]
        return len(self.operands) == 1 and isinstance(only, list) and _is_equal(only, value)


@dataclass(frozen=True, slots=True)
class BeginsWith:
    """The value is a text that begins with whole characters as the reader sees them."""

    prefix: str

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        if not isinstance(value, str) or not value.startswith(self.prefix):
            return False
        rest = value[len(self.prefix) :]
        # A mark that would join the last character makes it another one.
        return not (self.prefix and rest and _joins(self.prefix[-1], rest[0]))


@dataclass(frozen=True, slots=True)
class Regex:
    """The value is a text in which the expression is found."""

    pattern: str
    compiled: Any = field(compare=False, repr=False)

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it. Raises InvalidQuery when the search takes too long."""
        if not isinstance(value, str):
            return False
        try:
            text = value.encode().decode("latin-1")
            found = self.compiled.search(text, timeout=REGEX_TIMEOUT, concurrent=True)
        except TimeoutError:
            raise InvalidQuery(
                "timeout", f"a $regex took more than {REGEX_TIMEOUT:g} s; simplify it", 500
            ) from None
        return found is not None


@dataclass(frozen=True, slots=True)
class ElemMatch:
    """Some element of the array matches."""

    part: Node

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        return isinstance(value, list) and _is_any(self.part, value)


@dataclass(frozen=True, slots=True)
class AllMatch:
    """Every element of the array matches, and there is one."""

    part: Node

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        if not isinstance(value, list) or not value:
            return False
        try:
            return all(self.part.matches(held) for held in value)
        except Unmatchable:
            return False


@dataclass(frozen=True, slots=True)
class KeyMapMatch:
    """Some name in the object matches."""

    part: Node

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        return isinstance(value, dict) and _is_any(self.part, sorted(value))


@dataclass(frozen=True, slots=True)
class Text:
    """$text, which only a text index can answer."""

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        return True


@dataclass(frozen=True, slots=True)
class Negated:
    """The condition does not hold."""

    condition: Condition

    def holds(self, value: Any) -> bool:
        """Whether `value` fulfils it."""
        return not self.condition.holds(value)


class Unmatchable(Exception):
    """A part that CouchDB cannot evaluate; within $elemMatch and its like it means no match."""


def build_compare(comparison: Comparison, operand: Any) -> Compare:
    """The comparison with an operand."""
    return Compare(comparison, operand, build_sort_key(operand))


def negate(condition: Condition) -> Condition:
    """The condition that holds where this one does not. Raises InvalidQuery for $text."""
    match condition:
        case Compare(comparison, operand, key):
            return Compare(_OPPOSITES[comparison], operand, key)
        case In(operands, keys, inverted):
            return In(operands, keys, not inverted)
        case Exists(wanted):
            return Exists(not wanted)
        case Text():
            raise bad_argument("$not", {"$default": {"$text": ""}})
    return Negated(condition)


def bad_argument(name: str, argument: Any) -> InvalidQuery:
    """What CouchDB says of an operator's argument."""
    return InvalidQuery("bad_arg", f"Bad argument for operator {name}: {format_term(argument)}")


_COMPARERS: dict[Comparison, Callable[[bytes, bytes], bool]] = {
    Comparison.LESS: bytes.__lt__,
    Comparison.AT_MOST: bytes.__le__,
    Comparison.EQUAL: bytes.__eq__,
    Comparison.UNEQUAL: bytes.__ne__,
    Comparison.AT_LEAST: bytes.__ge__,
    Comparison.GREATER: bytes.__gt__,
}
_OPPOSITES = {
    Comparison.LESS: Comparison.AT_LEAST,
    Comparison.AT_LEAST: Comparison.LESS,
    Comparison.AT_MOST: Comparison.GREATER,
    Comparison.GREATER: Comparison.AT_MOST,
    Comparison.EQUAL: Comparison.UNEQUAL,
    Comparison.UNEQUAL: Comparison.EQUAL,
}


def _is_any(part: Node, values: list[Any]) -> bool:
    try:
        return any(part.matches(held) for held in values)
    except Unmatchable:
        return False


def _get_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _is_same(left: Any, right: Any) -> bool:
    """Equal bit by bit, as Erlang's =:= is: 1 is not 1.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_is_same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_is_same(left[k], right[k]) for k in left)
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


def _is_equal(left: Any, right: Any) -> bool:
    """Equal as Erlang's == is: 1 is 1.0, but no boolean."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_is_equal(left[k], right[k]) for k in left)
    return bool(left == right)


def _joins(last: str, following: str) -> bool:
    return unicodedata.category(following).startswith("M") or (last, following) == ("\r", "\n")
