"""Rich queries over a snapshot: SQL narrows by index or key, the selector decides.

A page of CouchDB is read at a time (`richquery.INTERNAL_LIMIT`), so a result of any size needs
little memory; rows come in batches, and other readers of the snapshot go in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from network.node.ledger.sqlite_index import Place
from network.rules.query.documents import build_json, open_document, project
from network.rules.query.plan import IndexDefinition, plan_query
from network.rules.query.richquery import (
    INTERNAL_LIMIT,
    NO_BOOKMARK,
    Bookmark,
    RichQuery,
    build_bookmark,
    open_bookmark,
    parse_query,
)
from network.rules.query.tokens import build_filter
from network.rules.state.snapshot import StateValue, Version

_BATCH = 256
"""Rows that are read at once."""
_INDEX_ORDER = ["e.place", "e.key"]

Row = tuple[Any, ...]
"""Place in the index, key, value, metadata, block, transaction."""


class Reader(Protocol):
    """The snapshot that a query reads."""

    def select(self, statement: str, values: tuple[object, ...]) -> list[Row]:
        """The rows of a statement."""
        ...

    def list_indexes(self, place: Place) -> list[tuple[int, IndexDefinition]]:
        """The indexes over a namespace's state or a collection, each with its id."""
        ...


class QueryRows:
    """The results of one rich query, in CouchDB's order, and where the next page begins."""

    def __init__(
        self, reader: Reader, place: Place, text: str, bookmark: str = "", page_size: int = 0
    ) -> None:
        """Find the first results.

        Raises:
            network.rules.state.snapshot.UnsupportedQuery: the query cannot be answered; the text
                says why in Fabric's and CouchDB's words.
        """
        self._query = parse_query(text)
        self._scan = _Scan(reader, place, self._query)
        self._page_size = page_size
        self._returned = 0
        self.bookmark = bookmark
        self._rows = self._read()
        # Mistakes show when the query is made, not when its results are read.
        self._first = next(self._rows, None)

    def __iter__(self) -> QueryRows:
        return self

    def __next__(self) -> tuple[str, StateValue]:
        found = self._first or next(self._rows, None)
        self._first = None
        if found is None:
            raise StopIteration
        return found

    def _read(self) -> Iterator[tuple[str, StateValue]]:
        """Page after page of CouchDB, as Fabric's queryScanner fetches them."""
        while True:
            limit = INTERNAL_LIMIT
            if self._page_size > 0:
                limit = min(limit, self._page_size - self._returned)
            found, self.bookmark = self._scan.find(limit, self.bookmark)
            self._returned += len(found)
            yield from found
            if len(found) < INTERNAL_LIMIT:
                return


class _Scan:
    """One query against one namespace or collection."""

    def __init__(self, reader: Reader, place: Place, query: RichQuery) -> None:
        self._reader = reader
        self._place = place
        self._query = query
        indexes = {index: number for number, index in reader.list_indexes(place)}
        self._plan = plan_query(query, list(indexes))
        self._index_id = indexes[self._plan.index] if self._plan.index else 0
        self._may_match = build_filter(query.selector)

    def find(self, limit: int, bookmark: str) -> tuple[list[tuple[str, StateValue]], str]:
        """Up to `limit` results after the bookmark, and the bookmark after them."""
        last = open_bookmark(bookmark) if bookmark else None
        if self._plan.nothing:
            return [], ""
        found: list[tuple[str, StateValue]] = []
        skip = self._query.skip
        if limit <= 0:
            return found, bookmark or NO_BOOKMARK
        for row in self._rows(last):
            value = self._select(row)
            if value is None:
                continue
            last = Bookmark(row[0], row[1].decode())
            if skip:
                skip -= 1
                continue
            found.append((last.key, value))
            if len(found) == limit:
                break
        return found, build_bookmark(last) if last else NO_BOOKMARK

    def _select(self, row: Row) -> StateValue | None:
        """The result that a row gives, if it is one."""
        _, key, value, metadata, block, tx = row
        if not self._may_match(value):
            return None
        document = open_document(key.decode(), value)
        if not self._query.selector.matches(document):
            return None
        if self._query.fields is not None:
            value = build_json(project(document, self._query.fields))
        return StateValue(value, Version(block, tx), metadata)

    def _rows(self, last: Bookmark | None) -> Iterator[Row]:
        while True:
            rows = self._reader.select(*self._build_statement(last))
            yield from rows
            if len(rows) < _BATCH:
                return
            last = Bookmark(rows[-1][0], rows[-1][1].decode())

    def _build_statement(self, last: Bookmark | None) -> tuple[str, tuple[object, ...]]:
        """The next rows of the plan's range in the query's direction."""
        plan, (namespace, collection) = self._plan, self._place
        table, metadata = ("private", "x''") if collection else ("state", "s.metadata")
        conditions = ["s.namespace = ?"]
        values: list[object] = [namespace]
        if collection:
            conditions.append("s.collection = ?")
            values.append(collection)
        source, place, order = f"{table} s", "x''", ["s.key"]
        if plan.index is not None:
            # CROSS JOIN keeps SQLite from starting with the state.
            source, place, order = f"index_entries e CROSS JOIN {source}", "e.place", _INDEX_ORDER
            conditions += ["e.index_id = ?", "s.key = e.key"]
            values.append(self._index_id)
        for bound, comparison in ((plan.low, ">="), (plan.high, "<=")):
            if bound is not None:
                conditions.append(f"{order[0]} {comparison} ?")
                values.append(bound)
        if last is not None:
            position = (last.place, last.key.encode()) if plan.index else (last.key.encode(),)
            after = "<" if self._query.descending else ">"
            conditions.append(f"({', '.join(order)}) {after} ({', '.join('?' * len(position))})")
            values += position
        direction = " DESC" if self._query.descending else ""
        columns = f"{place}, s.key, s.value, {metadata}, s.block, s.tx"
        # Only names written above are put into the statement; values are bound.
        parts = ["SELECT", columns, "FROM", source, "WHERE", " AND ".join(conditions)]
        parts += ["ORDER BY", ", ".join(column + direction for column in order)]
        return " ".join([*parts, f"LIMIT {_BATCH}"]), tuple(values)
