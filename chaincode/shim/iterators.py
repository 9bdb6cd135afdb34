"""Results of range, rich and history queries, fetched from the peer page by page.

    async for entry in stub.get_state_by_range("a", "b"):
        ...

The peer holds an open query for each iterator until the last page is fetched or it is closed.
An iterator closes itself on exhaustion and on an error; after a `break` it is closed before the
transaction's next request (or at its end), and `async with` closes it at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.peer import chaincode_shim_pb2
from google.protobuf.message import DecodeError

from chaincode.errors import PeerError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One entry of a state query."""

    key: str
    value: bytes
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class KeyModification:
    """One entry of a key's history, newest first."""

    tx_id: str
    value: bytes
    timestamp: datetime
    is_delete: bool


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a paginated query. An empty bookmark means that there is no further page."""

    entries: tuple[KeyValue, ...]
    bookmark: str
    fetched_count: int

    def __iter__(self) -> Iterator[KeyValue]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class QuerySource(Protocol):
    """The requests that an iterator needs; see `requests.Requests`."""

    async def open_query(self, kind: int, payload: bytes) -> Any:
        """The first `protos.QueryResponse` of a query."""
        ...

    async def fetch_next(self, query_id: str) -> Any:
        """The next `protos.QueryResponse`."""
        ...

    async def close_query(self, query_id: str) -> None:
        """Afterwards the peer holds nothing for this query."""
        ...

    def abandon_query(self, query_id: str) -> None:
        """Note that nobody will fetch from this query again."""
        ...


class QueryIterator(Generic[T]):
    """An async iterator over query results; the query is sent when the first is asked for."""

    def __init__(
        self,
        source: QuerySource,
        opening: Callable[[], Awaitable[Any]],
        read: Callable[[bytes], T],
    ) -> None:
        self._source = source
        self._opening = opening
        self._read = read
        self._results: list[Any] = []
        self._position = 0
        self._open_query_id = ""
        self._started = False
        self._closed = False

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self._closed:
            raise StopAsyncIteration
        try:
            if not self._started:
                self._started = True
                self._take(await self._opening())
            while self._position >= len(self._results):
                if not self._open_query_id:
                    self._closed = True
                    raise StopAsyncIteration
                self._take(await self._source.fetch_next(self._open_query_id))
            result = self._results[self._position]
            self._position += 1
            return self._read(result.resultBytes)
        except StopAsyncIteration:
            raise
        except DecodeError:
            await self.close()
            raise PeerError("the peer's query result cannot be read") from None
        except Exception:
            await self.close()
            raise

    async def close(self) -> None:
        """Afterwards the peer holds nothing for this query. May be called again."""
        self._closed = True
        query_id, self._open_query_id = self._open_query_id, ""
        if query_id:
            await self._source.close_query(query_id)

    async def __aenter__(self) -> QueryIterator[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def collect(self) -> list[T]:
        """All remaining results as a list."""
        return [entry async for entry in self]

    def __del__(self) -> None:
        if self._open_query_id:
            self._source.abandon_query(self._open_query_id)

    def _take(self, response: Any) -> None:
        self._results = list(response.results)
        self._position = 0
        # With the last page the peer has already let go of the query.
        self._open_query_id = response.id if response.has_more else ""


StateIterator = QueryIterator[KeyValue]
HistoryIterator = QueryIterator[KeyModification]


def open_key_value(raw: bytes) -> KeyValue:
    """The entry in these bytes of `queryresult.KV`."""
    message = kv_query_result_pb2.KV.FromString(raw)
    return KeyValue(message.key, message.value, message.namespace)


def open_key_modification(raw: bytes) -> KeyModification:
    """The entry in these bytes of `queryresult.KeyModification`."""
    message = kv_query_result_pb2.KeyModification.FromString(raw)
    return KeyModification(
        message.tx_id, message.value, read_timestamp(message.timestamp), message.is_delete
    )


def open_page_metadata(raw: bytes) -> tuple[str, int]:
    """Bookmark and number of records fetched, from `protos.QueryResponseMetadata`."""
    message = chaincode_shim_pb2.QueryResponseMetadata.FromString(raw)
    return message.bookmark, message.fetched_records_count


def read_timestamp(timestamp: Any) -> datetime:
    """An aware UTC datetime, cut to microseconds, of a protobuf timestamp."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000
    )
