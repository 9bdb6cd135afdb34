"""Results of a query on their way to the chaincode, page by page, and what is recorded of them.

Source: core/chaincode/query_response_generator.go, core/ledger/kvledger/txmgmt/txmgr fn resultsItr.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from network.rules.state.rangequery import RangeSummary, fill_summary
from network.rules.state.snapshot import StateValue, Version


class ReadSink(Protocol):
    """Where an iterator records what it returned; the Recorder."""

    def add_read(self, namespace: str, key: str, version: Version | None) -> None:
        """Record a read."""
        ...

    def add_range(self, namespace: str, info: Any) -> None:
        """Record a finished range read."""
        ...

    def iterator_limits(self) -> tuple[int, int]:
        """Return (results a message, results in total)."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """Results for the chaincode: marshalled KV or KeyModification messages.

    `fetched` and `bookmark` are the QueryResponseMetadata of an explicitly paged query.
    """

    results: tuple[bytes, ...]
    has_more: bool
    fetched: int = 0
    bookmark: str = ""


class StateIterator:
    """Hands results out page by page and, for ranges, records what was read.

    The peer reads one result beyond a full page before it hands the page out, so the read-write
    set shows it even if the chaincode closes the iterator (query_response_generator.go).
    """

    def __init__(
        self,
        recorder: ReadSink,
        namespace: str,
        rows: Iterator[tuple[str, StateValue]],
        *,
        start: str = "",
        end: str | None = None,
        reads: bool = False,
        page: int = 0,
        get_bookmark: Callable[[], str] | None = None,
        changes: tuple[str, Any] | None = None,
    ) -> None:
        self._recorder = recorder
        self._namespace = namespace
        self._rows = rows
        self._end = end
        self._records_reads = reads
        self._get_bookmark = get_bookmark
        self._summary = RangeSummary() if end is not None else None
        self._info = kv_rwset_pb2.RangeQueryInfo(start_key=start)
        self._changes = changes[1](namespace, changes[0]) if changes else None
        self._page, total = recorder.iterator_limits()
        self._paged = bool(page or get_bookmark)
        self._limit = min(page, total) if page > 0 else total
        self._pending: list[bytes] = []
        self._count = 0

    def next_page(self) -> Page:
        """Return the next page; `has_more` false means the iterator is done."""
        while self._count < self._limit:
            result = self._next()
            if result is None:
                break
            full = not self._paged and len(self._pending) == self._page
            batch = self._cut() if full else ()
            self._pending.append(result)
            self._count += 1
            if full:
                return Page(batch, has_more=True)
        return Page(self._cut(), False, self._count, self._next_bookmark())

    def record(self) -> None:
        """Hand the range read to the recorder; nothing happens for other iterators."""
        if self._summary is not None:
            fill_summary(self._info, self._summary)
            self._recorder.add_range(self._namespace, self._info)
            self._summary = None

    def _next(self) -> bytes | None:
        if self._changes is not None:
            return _next_change(self._changes)
        row = next(self._rows, None)
        if row is None:
            if self._end is not None:
                self._info.itr_exhausted = True
                self._info.end_key = self._end
            return None
        key, found = row
        if self._summary is not None:
            self._summary.add(key, found.version)
            # The caller may stop here, so the range ends with the last key it has seen.
            self._info.end_key = key
        if self._records_reads:
            self._recorder.add_read(self._namespace, key, found.version)
        kv = kv_query_result_pb2.KV(namespace=self._namespace, key=key, value=found.value)
        return bytes(kv.SerializeToString())

    def _next_bookmark(self) -> str:
        if self._get_bookmark is not None:
            return self._get_bookmark()
        if not self._paged or self._summary is None:
            return ""
        # The bookmark of a range is the key that the next page starts with.
        row = next(self._rows, None)
        return row[0] if row else ""

    def _cut(self) -> tuple[bytes, ...]:
        batch, self._pending = tuple(self._pending), []
        return batch


def _next_change(changes: Iterator[Any]) -> bytes | None:
    change = next(changes, None)
    if change is None:
        return None
    message = kv_query_result_pb2.KeyModification(
        tx_id=change.tx_id, value=change.value, is_delete=change.is_delete
    )
    message.timestamp.ParseFromString(change.timestamp)
    return bytes(message.SerializeToString())
