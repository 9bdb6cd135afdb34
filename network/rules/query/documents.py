"""Ledger values as the documents that CouchDB would hold for them.

A value that is a JSON object is a document; anything else is kept as an attachment, so that only
its key can be asked for. Fabric passes documents through Go, which makes every number a float64 and
writes it anew: 1.0 becomes 1, and integers beyond 2^53 are rounded. Keys are taken as sorted.

Source: Fabric statecouchdb/couchdoc_conv.go; CouchDB src/mango/src/{mango_doc,mango_util}.erl.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from network.rules.query.couch_errors import InvalidQuery

Path = tuple[str, ...]
"""Names from the outside in; within an array, places from 0 in decimal."""


class _Absent:
    """A marker; compared by identity."""


NOT_FOUND: Final = _Absent()
"""An object has no member of the name."""
BAD_PATH: Final = _Absent()
"""The path goes through something that is neither object nor array, or beyond an array."""

ID_FIELD = "_id"
VERSION_FIELD = "~version"
_RESERVED = (ID_FIELD, "_rev", VERSION_FIELD)
_ATTACHMENTS = "_attachments"
_PLACE = re.compile(r"[+-]?[0-9]+")
_DOT = re.compile(r"(?<!\\)\.")
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"} | {
    mark: f"\\u{ord(mark):04x}" for mark in "\u2028\u2029"
}
_ESCAPED = re.compile("[<>&\u2028\u2029]")


def parse_path(field: str) -> Path:
    """The path in a field name: dots separate, a backslash keeps a dot.

    Raises:
        InvalidQuery: a part is empty.
    """
    parts = _DOT.split(field)
    if "" in parts:
        raise InvalidQuery("invalid_field_name", f"Invalid field name: {field}")
    return tuple(part.replace("\\", "") for part in parts)


def get_field(value: Any, path: Path) -> Any:
    """What stands at the path, NOT_FOUND, or BAD_PATH."""
    for name in path:
        if isinstance(value, dict):
            if name not in value:
                return NOT_FOUND
            value = value[name]
        else:
            place = _get_place(value, name)
            if place is None:
                return BAD_PATH
            value = value[place]
    return value


def open_document(key: str, raw: bytes) -> dict[str, Any]:
    """The document that CouchDB would hold for a key and its value; not to be changed."""
    document = _parse_object(raw)
    if document is None:
        document = {_ATTACHMENTS: {"valueBytes": {}}}
    document[ID_FIELD] = key
    return document


def is_attachment(document: dict[str, Any]) -> bool:
    """Whether the value behind the document is no JSON object."""
    return _ATTACHMENTS in document


def project(document: dict[str, Any], fields: Sequence[Path]) -> dict[str, Any]:
    """The document reduced to some fields, without those that CouchDB and Fabric add."""
    reduced: dict[str, Any] = {}
    for path in fields:
        found = get_field(document, path)
        if found is not NOT_FOUND and found is not BAD_PATH:
            _set_field(reduced, path, found)
    for name in _RESERVED:
        reduced.pop(name, None)
    return reduced


def build_json(value: Any) -> bytes:
    """The value as Go's json.Marshal writes it: keys sorted, <, > and & escaped."""
    return _build_text(value).encode()


def _parse_object(raw: bytes) -> dict[str, Any] | None:
    if raw[:1] not in (b"{", b" ", b"\t", b"\r", b"\n"):
        return None
    try:
        value = _DECODER.decode(raw.decode(errors="replace"))
        if b"\\u" in raw:
            value = replace_surrogates(value)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def replace_surrogates(value: Any) -> Any:
    """The value with halves of characters replaced by U+FFFD, as Go does when it reads them."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [replace_surrogates(held) for held in value]
    if isinstance(value, dict):
        return {replace_surrogates(name): replace_surrogates(held) for name, held in value.items()}
    return value


def _read_integer(text: str) -> int | float:
    return int(text) if len(text) < 16 else _read_float(text)


def _read_float(text: str) -> int | float:
    """The number after Go has read it as float64 and written it: whole below 1e21 is an integer."""
    value = float(text)
    if abs(value) == float("inf"):
        raise ValueError("beyond float64")
    if value.is_integer() and abs(value) < 1e21:
        return int(Decimal(repr(value)))
    return value


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(
    parse_int=_read_integer, parse_float=_read_float, parse_constant=_refuse
)


def _get_place(value: Any, name: str) -> int | None:
    if not isinstance(value, list) or not _PLACE.fullmatch(name):
        return None
    place = int(name)
    return place if 0 <= place < len(value) else None


def _set_field(value: Any, path: Path, held: Any) -> None:
    """Set a field as CouchDB does: parts on the way that are no objects stay as they are."""
    for depth, name in enumerate(path[:-1]):
        if isinstance(value, dict):
            if name not in value:
                for inner in reversed(path[depth + 1 :]):
                    held = {inner: held}
                value[name] = held
                return
            # What was set before may be part of the document: change a copy.
            value[name] = _copy(value[name])
            value = value[name]
        else:
            place = _get_place(value, name)
            if place is None:
                return
            value[place] = _copy(value[place])
            value = value[place]
    if isinstance(value, dict):
        value[path[-1]] = held
        return
    place = _get_place(value, path[-1])
    if place is not None:
        value[place] = held


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | list) else value


def _build_text(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{_build_string(name)}:{_build_text(value[name])}" for name in sorted(value))
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_build_text, value))}]"
    if isinstance(value, float):
        return _build_float(value)
    if isinstance(value, str):
        return _build_string(value)
    return json.dumps(value)


def _build_string(text: str) -> str:
    raw = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], raw)


def _build_float(value: float) -> str:
    """The shortest digits, in full from 1e-6 on, else with an exponent without padding."""
    mantissa, mark, exponent = repr(value).partition("e")
    if not mark:
        return mantissa
    if -7 < int(exponent) < 0:
        return f"{Decimal(repr(value)):f}"
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"
