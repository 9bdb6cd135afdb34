"""A rich query as Fabric hands it to CouchDB, and the page that comes back.

Fabric reads the chaincode's JSON, puts its own limit in place of the chaincode's, adds `_id` and
`~version` to `fields`, and sets the bookmark of the page wanted; everything else goes to CouchDB as
it is. What CouchDB knows but a ledger has no use for (`conflicts`, `stale`, `update`, `stable`,
`execution_stats`, `r`, `partition`, `allow_fallback`) is checked and has no effect.

Source: Fabric statecouchdb/statecouchdb.go fn applyAdditionalQueryOptions; CouchDB
src/mango/src/{mango_opts,mango_sort,mango_fields}.erl.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from network.rules.query.couch_errors import InvalidQuery, format_readable_term, format_term
from network.rules.query.documents import Path, parse_path, replace_surrogates
from network.rules.query.selector import Selector, parse_selector
from network.rules.state.snapshot import UnsupportedQuery

INTERNAL_LIMIT = 1000
"""Results that Fabric asks CouchDB for at once (ledger.state.couchDBConfig.internalQueryLimit)."""
NO_BOOKMARK = "nil"
"""CouchDB's bookmark when there was nothing to mark."""


@dataclass(frozen=True, slots=True)
class RichQuery:
    """A query that CouchDB would accept."""

    selector: Selector
    sort: tuple[str, ...] = ()
    """Field names as written."""
    descending: bool = False
    fields: tuple[Path, ...] | None = None
    """The parts of a document wanted; None for all of it as it is on the ledger."""
    skip: int = 0
    """Results left out at the start of every page."""
    use_index: tuple[str, ...] = ()
    """Design document, and perhaps the index in it."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """The last row of a page: its place in the index (hexadecimal sort key) and its key."""

    place: bytes
    key: str


def parse_query(text: str) -> RichQuery:
    """The query in a chaincode's text.

    Raises:
        UnsupportedQuery: it is not JSON; the text is Go's.
        InvalidQuery: CouchDB would refuse it.
    """
    options = _sort_names(_open_json(text))
    fields = options.get("fields")
    if "fields" in options and not isinstance(fields, list):
        raise UnsupportedQuery("fields definition must be an array")
    if "selector" not in options:
        raise InvalidQuery("missing_required_key", "Missing required key: selector")
    selector = parse_selector(options["selector"])
    use_index = _parse_use_index(options.get("use_index"))
    skip = _parse_skip(options.get("skip", 0))
    sort, descending = _parse_sort(options.get("sort", []))
    paths = None if fields is None else tuple(map(_parse_field, fields))
    for name, validate in _OTHERS.items():
        if name in options:
            validate(options[name])
    for name in options:
        if name not in _KNOWN and name not in _OTHERS:
            raise InvalidQuery("invalid_key", f"Invalid key {name} for this request.")
    return RichQuery(selector, sort, descending, paths, skip, use_index)


def build_bookmark(bookmark: Bookmark) -> str:
    """The text that stands for a place; chaincodes pass it on unread."""
    raw = json.dumps([bookmark.place.hex(), bookmark.key], separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def open_bookmark(text: str) -> Bookmark:
    """The place that a bookmark stands for. Raises InvalidQuery."""
    try:
        raw = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
        place, key = json.loads(raw)
        if not isinstance(key, str):
            raise TypeError
        return Bookmark(bytes.fromhex(place), key)
    except (ValueError, TypeError, RecursionError):
        raise InvalidQuery(
            "invalid_bookmark", f"Invalid bookmark value: {json.dumps(text)}"
        ) from None


def _open_json(text: str) -> dict[str, Any]:
    """The first JSON value in the text, as Go's json.Decoder takes it; more may follow."""
    start = text.lstrip(" \t\r\n")
    if not start:
        raise UnsupportedQuery("EOF")
    try:
        value, _ = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode(start)
    except json.JSONDecodeError as error:
        raise UnsupportedQuery(_explain(error)) from None
    except (ValueError, RecursionError):
        raise UnsupportedQuery("the query cannot be read as JSON") from None
    if isinstance(value, dict):
        return value
    kinds = {bool: "bool", str: "string", list: "array", type(None): "null"}
    kind = kinds.get(type(value), "number")
    raise UnsupportedQuery(
        f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    )


def _explain(error: json.JSONDecodeError) -> str:
    """Go's words for a mistake in JSON, as far as Python tells mistakes apart."""
    if error.pos >= len(error.doc.rstrip()) or "Unterminated" in error.msg:
        return "unexpected EOF"
    found = f"invalid character {_quote(error.doc[error.pos])}"
    for words, place in _PLACES.items():
        if words in error.msg:
            return f"{found} {place}"
    return f"{found} looking for beginning of value"


def _quote(char: str) -> str:
    return {"'": r"'\''", '"': "'\"'"}.get(char, repr(char))


def _refuse_constant(text: str) -> Any:
    raise json.JSONDecodeError("Expecting value", text, 0)


def _sort_names(value: Any) -> Any:
    """Objects with their names in order, as Fabric sends them on."""
    if isinstance(value, dict):
        return {name: _sort_names(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_sort_names(held) for held in value]
    return replace_surrogates(value) if isinstance(value, str) else value


def _parse_use_index(value: Any) -> tuple[str, ...]:
    parts: list[Any] = []
    if isinstance(value, str):
        parts = value.split("/")
        if len(parts) > 1 and parts[0] == "_design":
            del parts[0]
    elif isinstance(value, list):
        parts = value
    elif value is not None:
        parts = [None]
    if len(parts) > 2 or not all(isinstance(part, str) for part in parts):
        raise InvalidQuery("invalid_index_name", f"Invalid index name: {format_term(value)}")
    return tuple(part.removeprefix("_design/") if not at else part for at, part in enumerate(parts))


def _parse_skip(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise InvalidQuery(
            "invalid_non_neg_integer",
            f"{format_term(value)} is not an integer greater than or equal to zero",
        )
    return value


def _parse_sort(value: Any) -> tuple[tuple[str, ...], bool]:
    if not isinstance(value, list):
        raise InvalidQuery(
            "invalid_sort_json",
            f"Sort must be an array of sort specs, not: {format_readable_term(value)}",
        )
    parsed = [_parse_sort_field(entry) for entry in value]
    directions = {direction for _, direction in parsed}
    if len(directions) > 1:
        raise InvalidQuery(
            "unsupported_mixed_sort",
            "Sorts currently only support a single direction for all fields.",
        )
    return tuple(name for name, _ in parsed), directions == {"desc"}


def _parse_sort_field(entry: Any) -> tuple[str, str]:
    if isinstance(entry, str) and entry:
        return entry, "asc"
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, direction),) = entry.items()
        if direction in ("asc", "desc"):
            return name, direction
    raise InvalidQuery("invalid_sort_field", f"Invalid sort field: {format_readable_term(entry)}")


def _parse_field(entry: Any) -> Path:
    if not isinstance(entry, str):
        raise InvalidQuery("invalid_field", f"Invalid JSON for field spec: {format_term(entry)}")
    return parse_path(entry)


def _validate_boolean(value: Any) -> None:
    if not isinstance(value, bool):
        raise InvalidQuery("invalid_boolean", f"Invalid boolean value: {format_term(value)}")


def _validate_positive(value: Any) -> None:
    if type(value) is not int or value < 1:
        raise InvalidQuery(
            "invalid_pos_integer", f"{format_term(value)} is not an integer greater than zero"
        )


def _validate_stale(value: Any) -> None:
    if value not in ("ok", "false", False):
        raise InvalidQuery(
            "invalid_ok_or_false_value", f"Invalid boolean value: {format_term(value)}"
        )


def _validate_partition(value: Any) -> None:
    if value != "":
        raise InvalidQuery("bad_request", "`partition` is not supported on this database")


_KNOWN = frozenset({"selector", "use_index", "bookmark", "limit", "skip", "sort", "fields"})
_OTHERS: Mapping[str, Callable[[Any], None]] = {
    "partition": _validate_partition,
    "r": _validate_positive,
    "conflicts": _validate_boolean,
    "stale": _validate_stale,
    "update": _validate_boolean,
    "stable": _validate_boolean,
    "execution_stats": _validate_boolean,
    "allow_fallback": _validate_boolean,
}
_PLACES = {
    "property name": "looking for beginning of object key string",
    "':' delimiter": "after object key",
    "',' delimiter": "after object key:value pair",
    "control character": "in string literal",
    "\\escape": "in string escape code",
}
