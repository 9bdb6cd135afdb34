"""What is asked of the peer inside one transaction, and what the transaction's own writes change.

Writes may be kept and sent together, forbidden, or read back. Keys are checked before anything is
sent. `collection` is "" for the public state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Protocol

from fabric_protos.peer import chaincode_shim_pb2
from google.protobuf.message import DecodeError

from chaincode.errors import InvalidArgument, PeerError, WriteInQuery
from chaincode.shim import compositekey
from chaincode.shim.handler import ChaincodeMessage, Limits
from chaincode.shim.iterators import (
    HistoryIterator,
    KeyValue,
    Page,
    QueryIterator,
    StateIterator,
    open_key_modification,
    open_key_value,
    open_page_metadata,
)
from chaincode.shim.overlay import OwnWrites

WriteRecord = chaincode_shim_pb2.WriteRecord

VALIDATION_PARAMETER = "VALIDATION_PARAMETER"
"""The metadata key of a key-level endorsement policy (`peer.MetaDataKeys`)."""


class Link(Protocol):
    """The way from one transaction to the peer."""

    @property
    def limits(self) -> Limits:
        """What the peer offered."""
        ...

    async def call(self, kind: int, payload: bytes) -> bytes:
        """The payload of the peer's answer. Raises PeerError with its text if it refuses."""
        ...


class Requests:
    """The requests of one transaction."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._batch: dict[tuple[str, str, bool], Any] | None = None
        self._abandoned: list[str] = []
        self._read_only = False
        self._own: OwnWrites | None = None

    async def call(self, kind: int, request: Any) -> bytes:
        """The payload of the peer's answer. Raises PeerError with its text if it refuses."""
        return await self._call_raw(kind, request.SerializeToString())

    # --- what writes and reads mean ---------------------------------------------------------

    def forbid_writes(self) -> None:
        """Afterwards every write and event raises WriteInQuery."""
        self._read_only = True

    def validate_writable(self) -> None:
        """Raise WriteInQuery if writes are forbidden."""
        if self._read_only:
            raise WriteInQuery("a transaction declared as @query must not write; use @transaction")

    def read_own_writes(self) -> None:
        """Afterwards reads of keys answer what this transaction wrote to them (see `overlay`)."""
        if self._own is None:
            self._own = OwnWrites()

    def start_write_batch(self) -> None:
        """From here on writes are kept and sent together, if the peer can take them so.

        Their errors then come from `finish_write_batch` (or the transaction's end), not from the
        write itself.
        """
        if self._link.limits.write_batch and self._batch is None:
            self._batch = {}

    async def finish_write_batch(self) -> None:
        """Send the writes that are kept, in as many messages as the peer's limit needs."""
        batch, self._batch = self._batch, None
        records = list((batch or {}).values())
        size = max(self._link.limits.write_batch, 1)
        for start in range(0, len(records), size):
            request = chaincode_shim_pb2.WriteBatchState(rec=records[start : start + size])
            await self.call(ChaincodeMessage.WRITE_BATCH_STATE, request)

    async def finish(self, *, succeeded: bool) -> None:
        """Send what is still kept and close what is still open.

        After a failure nothing is written: the peer would throw it away.
        """
        if succeeded:
            await self.finish_write_batch()
        await self._close_abandoned()

    # --- keys -------------------------------------------------------------------------------

    async def get(self, key: str, collection: str) -> bytes | None:
        """The committed value of a key, None if there is none; or what was written, if so asked."""
        compositekey.validate_unicode(key, "key")
        if self._own is not None and self._own.has(collection, key):
            return self._own.get(collection, key)
        request = chaincode_shim_pb2.GetState(key=key, collection=collection)
        return await self.call(ChaincodeMessage.GET_STATE, request) or None

    async def get_multiple(self, keys: Sequence[str], collection: str) -> list[bytes | None]:
        """The values of these keys, in their order; in few messages if the peer can."""
        for key in keys:
            compositekey.validate_unicode(key, "key")
        size = self._link.limits.multiple_keys
        if not size or self._own is not None:
            return [await self.get(key, collection) for key in keys]
        values: list[bytes | None] = []
        for start in range(0, len(keys), size):
            asked = keys[start : start + size]
            request = chaincode_shim_pb2.GetStateMultiple(keys=asked, collection=collection)
            raw = await self.call(ChaincodeMessage.GET_STATE_MULTIPLE, request)
            result = _open(chaincode_shim_pb2.GetStateMultipleResult, raw)
            if len(result.values) != len(asked):
                raise PeerError("the peer answered another number of values than it was asked for")
            values.extend(value or None for value in result.values)
        return values

    async def get_hash(self, key: str, collection: str) -> bytes | None:
        """SHA-256 of a private value, None if there is none."""
        compositekey.validate_unicode(key, "key")
        request = chaincode_shim_pb2.GetState(key=key, collection=collection)
        return await self.call(ChaincodeMessage.GET_PRIVATE_DATA_HASH, request) or None

    async def put(self, key: str, value: bytes, collection: str) -> None:
        """Write a value when the transaction commits."""
        self.validate_writable()
        compositekey.validate_key(key)
        if self._batch is not None:
            self._keep(WriteRecord.PUT_STATE, collection, key, value=value)
        else:
            request = chaincode_shim_pb2.PutState(key=key, value=value, collection=collection)
            await self.call(ChaincodeMessage.PUT_STATE, request)
        self._note_own(collection, key, value)

    async def delete(self, key: str, collection: str) -> None:
        """Delete a key when the transaction commits."""
        self.validate_writable()
        compositekey.validate_unicode(key, "key")
        if self._batch is not None:
            self._keep(WriteRecord.DEL_STATE, collection, key)
        else:
            request = chaincode_shim_pb2.DelState(key=key, collection=collection)
            await self.call(ChaincodeMessage.DEL_STATE, request)
        self._note_own(collection, key, None)

    async def purge(self, key: str, collection: str) -> None:
        """Delete a private key and its history when the transaction commits."""
        self.validate_writable()
        compositekey.validate_unicode(key, "key")
        if self._batch is not None:
            self._keep(WriteRecord.PURGE_PRIVATE_DATA, collection, key)
        else:
            request = chaincode_shim_pb2.PurgePrivateState(key=key, collection=collection)
            await self.call(ChaincodeMessage.PURGE_PRIVATE_DATA, request)
        self._note_own(collection, key, None)

    async def put_metadata(self, key: str, value: bytes, collection: str) -> None:
        """Set a key's own endorsement policy."""
        self.validate_writable()
        compositekey.validate_unicode(key, "key")
        metadata = chaincode_shim_pb2.StateMetadata(metakey=VALIDATION_PARAMETER, value=value)
        if self._batch is not None:
            self._keep(WriteRecord.PUT_STATE_METADATA, collection, key, metadata=metadata)
            return
        request = chaincode_shim_pb2.PutStateMetadata(
            key=key, collection=collection, metadata=metadata
        )
        await self.call(ChaincodeMessage.PUT_STATE_METADATA, request)

    async def get_metadata(self, key: str, collection: str) -> bytes | None:
        """A key's own endorsement policy, None if it has none."""
        compositekey.validate_unicode(key, "key")
        request = chaincode_shim_pb2.GetStateMetadata(key=key, collection=collection)
        raw = await self.call(ChaincodeMessage.GET_STATE_METADATA, request)
        result = _open(chaincode_shim_pb2.StateMetadataResult, raw)
        for entry in result.entries:
            if entry.metakey == VALIDATION_PARAMETER:
                value: bytes = entry.value
                return value or None
        return None

    # --- queries ----------------------------------------------------------------------------

    def scan(self, start_key: str, end_key: str, collection: str) -> StateIterator:
        """The keys from start (included) to end (excluded)."""
        self._validate_queryable(collection)
        request = chaincode_shim_pb2.GetStateByRange(
            startKey=start_key, endKey=end_key, collection=collection
        ).SerializeToString()
        return QueryIterator(
            self,
            lambda: self.open_query(ChaincodeMessage.GET_STATE_BY_RANGE, request),
            open_key_value,
        )

    async def scan_page(self, start_key: str, end_key: str, page_size: int, bookmark: str) -> Page:
        """One page of a range of the public state."""
        request = chaincode_shim_pb2.GetStateByRange(
            startKey=start_key, endKey=end_key, metadata=_build_page_request(page_size, bookmark)
        )
        return await self._page(ChaincodeMessage.GET_STATE_BY_RANGE, request)

    def query(self, query: str, collection: str) -> StateIterator:
        """The results of a rich query."""
        self._validate_queryable(collection)
        request = chaincode_shim_pb2.GetQueryResult(
            query=query, collection=collection
        ).SerializeToString()
        return QueryIterator(
            self,
            lambda: self.open_query(ChaincodeMessage.GET_QUERY_RESULT, request),
            open_key_value,
        )

    async def query_page(self, query: str, page_size: int, bookmark: str) -> Page:
        """One page of a rich query over the public state."""
        request = chaincode_shim_pb2.GetQueryResult(
            query=query, metadata=_build_page_request(page_size, bookmark)
        )
        return await self._page(ChaincodeMessage.GET_QUERY_RESULT, request)

    def history(self, key: str) -> HistoryIterator:
        """All committed changes of a key, newest first."""
        compositekey.validate_unicode(key, "key")
        request = chaincode_shim_pb2.GetHistoryForKey(key=key).SerializeToString()
        return QueryIterator(
            self,
            lambda: self.open_query(ChaincodeMessage.GET_HISTORY_FOR_KEY, request),
            open_key_modification,
        )

    async def open_query(self, kind: int, payload: bytes) -> Any:
        """See `iterators.QuerySource`."""
        return _open_query_response(await self._call_raw(kind, payload))

    async def fetch_next(self, query_id: str) -> Any:
        """See `iterators.QuerySource`."""
        request = chaincode_shim_pb2.QueryStateNext(id=query_id)
        return _open_query_response(await self.call(ChaincodeMessage.QUERY_STATE_NEXT, request))

    async def close_query(self, query_id: str) -> None:
        """See `iterators.QuerySource`."""
        request = chaincode_shim_pb2.QueryStateClose(id=query_id)
        await self._link.call(ChaincodeMessage.QUERY_STATE_CLOSE, request.SerializeToString())

    def abandon_query(self, query_id: str) -> None:
        """See `iterators.QuerySource`."""
        self._abandoned.append(query_id)

    # --- helpers ----------------------------------------------------------------------------

    async def _call_raw(self, kind: int, payload: bytes) -> bytes:
        if self._abandoned:
            await self._close_abandoned()
        return await self._link.call(kind, payload)

    async def _close_abandoned(self) -> None:
        while self._abandoned:
            # The query's results were not wanted, so neither is an error in letting go of them.
            with contextlib.suppress(PeerError):
                await self.close_query(self._abandoned.pop())

    async def _page(self, kind: int, request: Any) -> Page:
        response = await self.open_query(kind, request.SerializeToString())
        try:
            bookmark, count = open_page_metadata(response.metadata)
            entries: list[KeyValue] = []
            while True:
                entries.extend(open_key_value(result.resultBytes) for result in response.results)
                if not response.has_more:
                    return Page(tuple(entries), bookmark, count)
                response = await self.fetch_next(response.id)
        except DecodeError:
            raise PeerError("the peer's query result cannot be read") from None

    def _keep(self, kind: int, collection: str, key: str, **content: Any) -> None:
        """Put a write into the batch, in place of an earlier one to the same key."""
        assert self._batch is not None
        record = WriteRecord(key=key, collection=collection, type=kind, **content)
        self._batch[collection, key, kind == WriteRecord.PUT_STATE_METADATA] = record

    def _note_own(self, collection: str, key: str, value: bytes | None) -> None:
        if self._own is not None:
            self._own.note(collection, key, value)

    def _validate_queryable(self, collection: str) -> None:
        if self._own is not None:
            self._own.validate_unwritten(collection)


def _build_page_request(page_size: int, bookmark: str) -> bytes:
    if page_size <= 0:
        raise InvalidArgument("page size must be positive")
    raw: bytes = chaincode_shim_pb2.QueryMetadata(
        pageSize=page_size, bookmark=bookmark
    ).SerializeToString()
    return raw


def _open_query_response(raw: bytes) -> Any:
    return _open(chaincode_shim_pb2.QueryResponse, raw)


def _open(kind: Any, raw: bytes) -> Any:
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise PeerError("the peer's answer cannot be read") from None
