"""What a value must contain, byte for byte, to be selected at all.

Most values that a query meets need not be parsed to be ruled out: a document that has a field holds
the field's name, and one that equals a text holds the text. This is only said of plain values,
ASCII without backslash and DEL, in which JSON has no second way to write a text and no character
that comparing ignores; every other value is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from network.rules.query.conditions import Compare, Comparison, Exists, In, Node
from network.rules.query.selector import And, Field, Selector

_PLAIN = re.compile(r"[ !#-\[\]-~]*")
_PLACE = re.compile(r"[+-]?[0-9]+")
_Group = tuple[bytes, ...]


def build_filter(selector: Selector) -> Callable[[bytes], bool]:
    """A test that a value can be selected; False only for a value that certainly is not."""
    groups = tuple(dict.fromkeys(_find_groups(selector.root)))

    def may_match(raw: bytes) -> bool:
        for group in groups:
            if not any(token in raw for token in group):
                return not _is_plain(raw)
        return True

    return may_match


def _is_plain(raw: bytes) -> bool:
    return raw.isascii() and b"\\" not in raw and b"\x7f" not in raw


def _find_groups(part: Node) -> list[_Group]:
    """Groups of tokens; a plain value that is selected contains one token of each."""
    if isinstance(part, And):
        return [group for inner in part.parts for group in _find_groups(inner)]
    # What begins with _ or ~ may be CouchDB's or Fabric's and not in the value.
    if not isinstance(part, Field) or not part.path or part.path[0].startswith(("_", "~")):
        return []
    if part.condition == Exists(False):
        return []
    # A number may be a place in an array.
    names = [name for name in part.path if not _PLACE.fullmatch(name)]
    groups = [_build_group(name) for name in names]
    match part.condition:
        case Compare(Comparison.EQUAL, operand, _):
            groups.append(_build_group(operand))
        case In(operands, _, False) if operands:
            groups.append(_build_group(*operands))
    return [group for group in groups if group]


def _build_group(*texts: Any) -> _Group:
    """The texts as they stand in JSON; nothing if there is another way to write one."""
    if not all(isinstance(text, str) and _PLAIN.fullmatch(text) for text in texts):
        return ()
    return tuple(f'"{text}"'.encode() for text in texts)
