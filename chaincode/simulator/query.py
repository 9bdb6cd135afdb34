"""A rich query over JSON values, as far as unit tests of contracts need it.

Every selector operator, `sort` by one or more fields, `fields`, `limit` and `skip`; what else
CouchDB takes is ignored. Unlike a peer, a sort needs no index here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from chaincode.simulator.selector import (
    Matcher,
    compile_selector,
    get_rank,
    has_field,
    look_up,
    split_path,
)
from chaincode.simulator.world import Entry


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed rich query."""

    matches: Matcher
    sort: tuple[tuple[tuple[str, ...], bool], ...] = ()
    fields: tuple[tuple[str, ...], ...] | None = None
    limit: int | None = None
    skip: int = 0


def parse_query(text: str) -> Query:
    """The query in this JSON text. Raises ValueError if it is none."""
    document = json.loads(text)
    if not isinstance(document, dict) or not isinstance(document.get("selector"), dict):
        raise ValueError("a query is an object with a selector")
    sort = tuple(_parse_sort(entry) for entry in document.get("sort", ()))
    fields = document.get("fields")
    return Query(
        compile_selector(document["selector"]),
        sort,
        None if fields is None else tuple(split_path(name) for name in fields),
        document.get("limit"),
        document.get("skip", 0),
    )


def run_query(query: Query, entries: Iterable[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
    """The entries whose values are JSON objects that match, in the order asked for."""
    found = []
    for key, entry in entries:
        try:
            document = json.loads(entry.value)
        except ValueError:
            continue
        if isinstance(document, dict) and query.matches({**document, "_id": key}):
            found.append((key, entry, document))
    found = [row for row in found if all(has_field(row[2], path) for path, _ in query.sort)]
    for path, descending in reversed(query.sort):
        found.sort(key=lambda row: get_rank(look_up(row[2], path)), reverse=descending)
    stop = None if query.limit is None else query.skip + query.limit
    return [
        (key, entry if query.fields is None else _reduce(entry, document, query.fields))
        for key, entry, document in found[query.skip : stop]
    ]


def _reduce(entry: Entry, document: Any, fields: tuple[tuple[str, ...], ...]) -> Entry:
    """The entry with only some fields of its document."""
    reduced: dict[str, Any] = {}
    for path in fields:
        if not has_field(document, path):
            continue
        inner = reduced
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = look_up(document, path)
    value = json.dumps(reduced, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return replace(entry, value=value.encode())


def _parse_sort(entry: Any) -> tuple[tuple[str, ...], bool]:
    if isinstance(entry, str):
        return split_path(entry), False
    ((name, direction),) = entry.items()
    return split_path(name), direction == "desc"
