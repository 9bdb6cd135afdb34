"""The operators of a Mango selector that hold no selector: argument in, condition out.

Source: CouchDB src/mango/src/mango_selector.erl fn norm_ops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import regex

from network.rules.query.collation import build_sort_key
from network.rules.query.conditions import (
    All,
    BeginsWith,
    Comparison,
    Condition,
    Exists,
    In,
    Mod,
    OfType,
    Regex,
    Size,
    Text,
    bad_argument,
    build_compare,
)

_ESCAPE = regex.compile(r"(?s)\\(?:Q.*?(?:\\E|$)|x\{[0-9a-fA-F]{1,4}\}|.)")
_ESCAPES = {"\\z": "\\Z", "\\Z": "(?=\\n?\\Z)", "\\N": "[^\\n]", "\\E": ""}


def parse_condition(name: str, argument: Any) -> Condition:
    """The condition of an operator that holds no selector.

    Raises:
        InvalidQuery: the argument is not one for the operator.
        KeyError: there is no such operator.
    """
    found = _PARSERS[name](argument)
    if found is None and name == "$beginsWith":
        raise KeyError(name)  # CouchDB takes it for an operator it does not know
    if found is None:
        raise bad_argument(name, argument)
    return found


def _parse_in(argument: Any, *, inverted: bool = False) -> In | None:
    if not isinstance(argument, list):
        return None
    return In(tuple(argument), frozenset(map(build_sort_key, argument)), inverted)


def _parse_mod(argument: Any) -> Mod | None:
    if not isinstance(argument, list) or [type(part) for part in argument] != [int, int]:
        return None
    return Mod(*argument)


def _parse_regex(argument: Any) -> Regex | None:
    if not isinstance(argument, str):
        return None
    # Erlang takes each byte for a Latin-1 character.
    text = argument.encode().decode("latin-1")
    try:
        return Regex(argument, regex.compile(_ESCAPE.sub(_translate_escape, text)))
    except (regex.error, ValueError, OverflowError, RecursionError):
        return None


def _translate_escape(found: Any) -> str:
    """What the `regex` package writes differently from PCRE."""
    whole: str = found[0]
    if whole.startswith("\\Q"):
        return str(regex.escape(whole[2:].removesuffix("\\E")))
    if whole.startswith("\\x{"):
        code = int(whole[3:-1], 16)
        if code > 0xFF:
            raise ValueError("beyond a byte")
        return f"\\x{code:02x}"
    return _ESCAPES.get(whole, whole)


def _parse_text(argument: Any) -> Text | None:
    return Text() if isinstance(argument, str | int | float) else None


def _parse_size(argument: Any) -> Size | None:
    return Size(argument) if type(argument) is int and argument >= 0 else None


_PARSERS: dict[str, Callable[[Any], Condition | None]] = {
    comparison.value: lambda argument, comparison=comparison: build_compare(comparison, argument)
    for comparison in Comparison
} | {
    "$in": _parse_in,
    "$nin": lambda argument: _parse_in(argument, inverted=True),
    "$exists": lambda argument: Exists(argument) if isinstance(argument, bool) else None,
    "$type": lambda argument: OfType(argument) if isinstance(argument, str) else None,
    "$mod": _parse_mod,
    "$regex": _parse_regex,
    "$all": lambda argument: All(tuple(argument)) if isinstance(argument, list) else None,
    "$size": _parse_size,
    "$text": _parse_text,
    "$beginsWith": lambda argument: BeginsWith(argument) if isinstance(argument, str) else None,
}
