"""What a contract sees of the ledger: the 43 calls of Fabric's Go shim, in Python names.

Calls that talk to the peer are coroutines; range, query and history calls give async iterators.
A missing key reads as None. Reads never see the transaction's own writes: no Fabric shim does.
Errors: PeerError when the peer refuses, InvalidKey before anything is sent, WriteInQuery in a
transaction declared as `@query`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from fabric_protos.peer import (
    chaincode_event_pb2,
    chaincode_pb2,
    chaincode_shim_pb2,
)
from google.protobuf.message import DecodeError

from chaincode.errors import InvalidArgument, InvalidKey, PeerError, WriteInQuery
from chaincode.shim import compositekey
from chaincode.shim.handler import ChaincodeMessage, Invocation, Limits
from chaincode.shim.iterators import (
    HistoryIterator,
    KeyValue,
    Page,
    QueryIterator,
    QuerySource,
    StateIterator,
    open_key_modification,
    open_key_value,
    open_page_metadata,
)
from chaincode.shim.overlay import OwnWrites
from chaincode.shim.proposal import open_proposal
from chaincode.shim.response import ERROR, Response, open_response

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


class Stub(QuerySource):
    """One transaction's view of the ledger."""

    def __init__(self, invocation: Invocation, link: Link) -> None:
        """Raises InvalidArgument if the signed proposal cannot be read."""
        self._invocation = invocation
        self._link = link
        self._proposal = open_proposal(invocation.signed_proposal)
        self._event: Any = None
        self._batch: dict[tuple[str, str, bool], Any] | None = None
        self._abandoned: list[str] = []
        self._read_only = False
        self._own: OwnWrites | None = None

    # --- the invocation ---------------------------------------------------------------------

    def get_args(self) -> list[bytes]:
        """All arguments as bytes; the first is the function's name."""
        return list(self._invocation.args)

    def get_string_args(self) -> list[str]:
        """All arguments as strings. Raises InvalidArgument naming one that is not UTF-8."""
        return [decode_argument(raw, index) for index, raw in enumerate(self._invocation.args)]

    def get_function_and_parameters(self) -> tuple[str, list[str]]:
        """The function's name and its parameters; ("", []) if there are no arguments."""
        function, *parameters = self.get_string_args() or [""]
        return function, parameters

    def get_args_slice(self) -> bytes:
        """All arguments joined."""
        return b"".join(self._invocation.args)

    def get_tx_id(self) -> str:
        """The transaction's id, hex of SHA-256 over nonce and creator."""
        return self._invocation.tx_id

    def get_channel_id(self) -> str:
        """The channel the proposal names."""
        return self._invocation.channel_id

    def get_creator(self) -> bytes:
        """The signer of the proposal, `msp.SerializedIdentity` bytes."""
        return self._proposal.creator

    def get_transient(self) -> Mapping[str, bytes]:
        """Data for this transaction that stays off the ledger."""
        return self._proposal.transient

    def get_binding(self) -> bytes:
        """SHA-256 over nonce, creator and epoch: ties application data to this proposal."""
        return self._proposal.binding

    def get_decorations(self) -> Mapping[str, bytes]:
        """What the peer's decorators added."""
        return self._invocation.decorations

    def get_signed_proposal(self) -> Any:
        """The `protos.SignedProposal` as the client sent it."""
        return self._invocation.signed_proposal

    def get_tx_timestamp(self) -> datetime:
        """The client's time in the proposal, aware UTC: equal at every endorser."""
        return self._proposal.timestamp

    def set_event(self, name: str, payload: bytes = b"") -> None:
        """The transaction's event, delivered if it commits as valid. The last call wins."""
        if not name:
            raise InvalidArgument("event name can not be empty string")
        self._validate_writable()
        self._event = chaincode_event_pb2.ChaincodeEvent(event_name=name, payload=payload)

    # --- state ------------------------------------------------------------------------------

    async def get_state(self, key: str) -> bytes | None:
        """The committed value of a key, None if there is none."""
        return await self._get(key, "")

    async def get_multiple_states(self, *keys: str) -> list[bytes | None]:
        """The committed values of these keys, in their order; one message if the peer can."""
        return await self._get_multiple(keys, "")

    async def put_state(self, key: str, value: bytes) -> None:
        """Write a value when the transaction commits."""
        await self._put(key, value, "")

    async def del_state(self, key: str) -> None:
        """Delete a key when the transaction commits."""
        await self._delete(key, "")

    async def set_state_validation_parameter(self, key: str, policy: bytes) -> None:
        """Set a key's own endorsement policy (`statebased.KeyEndorsementPolicy.build()`)."""
        await self._put_metadata(key, policy, "")

    async def get_state_validation_parameter(self, key: str) -> bytes | None:
        """A key's own endorsement policy, None if the chaincode's applies."""
        return await self._get_metadata(key, "")

    def get_state_by_range(self, start_key: str, end_key: str) -> StateIterator:
        """Simple keys from start (included) to end (excluded); "" means from or to the end."""
        return self._range(*compositekey.simple_key_range(start_key, end_key), "")

    async def get_state_by_range_with_pagination(
        self, start_key: str, end_key: str, page_size: int, bookmark: str = ""
    ) -> Page:
        """One page of a range. Only for transactions that do not write."""
        bounds = compositekey.simple_key_range(start_key, end_key)
        return await self._range_page(*bounds, page_size, bookmark)

    def get_state_by_partial_composite_key(
        self, object_type: str, attributes: Sequence[str] = ()
    ) -> StateIterator:
        """All composite keys that begin with these parts."""
        bounds = compositekey.partial_composite_key_range(object_type, attributes)
        return self._range(*bounds, "")

    async def get_state_by_partial_composite_key_with_pagination(
        self, object_type: str, attributes: Sequence[str], page_size: int, bookmark: str = ""
    ) -> Page:
        """One page of the composite keys that begin with these parts."""
        bounds = compositekey.partial_composite_key_range(object_type, attributes)
        return await self._range_page(*bounds, page_size, bookmark)

    async def get_all_states_composite_key_with_pagination(
        self, page_size: int, bookmark: str = ""
    ) -> Page:
        """One page of all composite keys of the chaincode."""
        start = compositekey.COMPOSITE_KEY_NAMESPACE
        end = start + compositekey.MAX_UNICODE_RUNE
        return await self._range_page(start, end, page_size, bookmark)

    def create_composite_key(self, object_type: str, attributes: Sequence[str]) -> str:
        """See `compositekey.create_composite_key`."""
        return compositekey.create_composite_key(object_type, attributes)

    def split_composite_key(self, composite_key: str) -> tuple[str, list[str]]:
        """See `compositekey.split_composite_key`."""
        return compositekey.split_composite_key(composite_key)

    def get_query_result(self, query: str) -> StateIterator:
        """Results of a rich query (CouchDB selector as JSON); needs a state store that can."""
        return self._query(query, "")

    async def get_query_result_with_pagination(
        self, query: str, page_size: int, bookmark: str = ""
    ) -> Page:
        """One page of a rich query. Only for transactions that do not write."""
        request = chaincode_shim_pb2.GetQueryResult(
            query=query, metadata=_build_page_request(page_size, bookmark)
        )
        return await self._page(ChaincodeMessage.GET_QUERY_RESULT, request)

    def get_history_for_key(self, key: str) -> HistoryIterator:
        """All committed changes of a key, newest first; empty if the peer keeps no history."""
        compositekey.validate_unicode(key, "key")
        request = chaincode_shim_pb2.GetHistoryForKey(key=key).SerializeToString()
        return QueryIterator(
            self,
            lambda: self.open_query(ChaincodeMessage.GET_HISTORY_FOR_KEY, request),
            open_key_modification,
        )

    # --- private data -----------------------------------------------------------------------

    async def get_private_data(self, collection: str, key: str) -> bytes | None:
        """The committed private value of a key, None if there is none."""
        return await self._get(key, _validated_collection(collection))

    async def get_multiple_private_data(self, collection: str, *keys: str) -> list[bytes | None]:
        """The committed private values of these keys, in their order."""
        return await self._get_multiple(keys, _validated_collection(collection))

    async def get_private_data_hash(self, collection: str, key: str) -> bytes | None:
        """SHA-256 of a private value; works at organisations that are not members, too."""
        compositekey.validate_unicode(key, "key")
        request = chaincode_shim_pb2.GetState(key=key, collection=_validated_collection(collection))
        return await self._call(ChaincodeMessage.GET_PRIVATE_DATA_HASH, request) or None

    async def put_private_data(self, collection: str, key: str, value: bytes) -> None:
        """Write a private value when the transaction commits; only its hash is public."""
        await self._put(key, value, _validated_collection(collection))

    async def del_private_data(self, collection: str, key: str) -> None:
        """Delete a private key when the transaction commits."""
        await self._delete(key, _validated_collection(collection))

    async def purge_private_data(self, collection: str, key: str) -> None:
        """Delete a private key and its history from every peer (capability V2_5)."""
        self._validate_writable()
        compositekey.validate_unicode(key, "key")
        collection = _validated_collection(collection)
        if self._batch is not None:
            self._keep(WriteRecord.PURGE_PRIVATE_DATA, collection, key)
        else:
            request = chaincode_shim_pb2.PurgePrivateState(key=key, collection=collection)
            await self._call(ChaincodeMessage.PURGE_PRIVATE_DATA, request)
        self._note_own(collection, key, None)

    async def set_private_data_validation_parameter(
        self, collection: str, key: str, policy: bytes
    ) -> None:
        """Set a private key's own endorsement policy."""
        await self._put_metadata(key, policy, _validated_collection(collection))

    async def get_private_data_validation_parameter(
        self, collection: str, key: str
    ) -> bytes | None:
        """A private key's own endorsement policy, None if the collection's applies."""
        return await self._get_metadata(key, _validated_collection(collection))

    def get_private_data_by_range(
        self, collection: str, start_key: str, end_key: str
    ) -> StateIterator:
        """Private simple keys of a range. Only for transactions that do not write."""
        bounds = compositekey.simple_key_range(start_key, end_key)
        return self._range(*bounds, _validated_collection(collection))

    def get_private_data_by_partial_composite_key(
        self, collection: str, object_type: str, attributes: Sequence[str] = ()
    ) -> StateIterator:
        """Private composite keys that begin with these parts. For transactions without writes."""
        bounds = compositekey.partial_composite_key_range(object_type, attributes)
        return self._range(*bounds, _validated_collection(collection))

    def get_private_data_query_result(self, collection: str, query: str) -> StateIterator:
        """Results of a rich query over a collection. Only for transactions without writes."""
        return self._query(query, _validated_collection(collection))

    # --- other chaincodes and batches -------------------------------------------------------

    async def invoke_chaincode(
        self, name: str, args: Sequence[bytes | str], channel: str = ""
    ) -> Response:
        """The answer of another chaincode, whatever its status.

        On the same channel its writes join this transaction; on another one they are dropped.
        Raises PeerError if the peer cannot or may not call it.
        """
        request = chaincode_pb2.ChaincodeSpec(
            chaincode_id=chaincode_pb2.ChaincodeID(name=f"{name}/{channel}" if channel else name),
            input=chaincode_pb2.ChaincodeInput(
                args=[arg.encode() if isinstance(arg, str) else arg for arg in args]
            ),
        )
        raw = await self._call(ChaincodeMessage.INVOKE_CHAINCODE, request)
        try:
            inner = ChaincodeMessage.FromString(raw)
            if inner.type == ChaincodeMessage.COMPLETED:
                return open_response(inner.payload)
        except DecodeError:
            raise PeerError("the called chaincode's answer cannot be read") from None
        return Response(ERROR, inner.payload.decode("utf-8", "replace"))

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
            await self._call(ChaincodeMessage.WRITE_BATCH_STATE, request)

    # --- for the shim itself ----------------------------------------------------------------

    @property
    def event(self) -> Any:
        """The `protos.ChaincodeEvent` to send with the answer, or None."""
        return self._event

    def forbid_writes(self) -> None:
        """Afterwards every write and event raises WriteInQuery."""
        self._read_only = True

    def read_own_writes(self) -> None:
        """Afterwards reads of keys answer what this transaction wrote to them (see `overlay`)."""
        if self._own is None:
            self._own = OwnWrites()

    async def finish(self, *, succeeded: bool) -> None:
        """Send what is still kept and close what is still open.

        After a failure nothing is written: the peer would throw it away.
        """
        if succeeded:
            await self.finish_write_batch()
        await self._close_abandoned()

    async def open_query(self, kind: int, payload: bytes) -> Any:
        """See `QuerySource`."""
        return _open_query_response(await self._call_raw(kind, payload))

    async def fetch_next(self, query_id: str) -> Any:
        """See `QuerySource`."""
        request = chaincode_shim_pb2.QueryStateNext(id=query_id)
        return _open_query_response(await self._call(ChaincodeMessage.QUERY_STATE_NEXT, request))

    async def close_query(self, query_id: str) -> None:
        """See `QuerySource`."""
        request = chaincode_shim_pb2.QueryStateClose(id=query_id)
        await self._link.call(ChaincodeMessage.QUERY_STATE_CLOSE, request.SerializeToString())

    def abandon_query(self, query_id: str) -> None:
        """See `QuerySource`."""
        self._abandoned.append(query_id)

    # --- requests ---------------------------------------------------------------------------

    async def _call(self, kind: int, request: Any) -> bytes:
        return await self._call_raw(kind, request.SerializeToString())

    async def _call_raw(self, kind: int, payload: bytes) -> bytes:
        if self._abandoned:
            await self._close_abandoned()
        return await self._link.call(kind, payload)

    async def _close_abandoned(self) -> None:
        while self._abandoned:
            # The query's results were not wanted, so neither is an error in letting go of them.
            with contextlib.suppress(PeerError):
                await self.close_query(self._abandoned.pop())

    async def _get(self, key: str, collection: str) -> bytes | None:
        compositekey.validate_unicode(key, "key")
        if self._own is not None and self._own.has(collection, key):
            return self._own.get(collection, key)
        request = chaincode_shim_pb2.GetState(key=key, collection=collection)
        return await self._call(ChaincodeMessage.GET_STATE, request) or None

    async def _get_multiple(self, keys: Sequence[str], collection: str) -> list[bytes | None]:
        for key in keys:
            compositekey.validate_unicode(key, "key")
        size = self._link.limits.multiple_keys
        if not size or self._own is not None:
            return [await self._get(key, collection) for key in keys]
        values: list[bytes | None] = []
        for start in range(0, len(keys), size):
            asked = keys[start : start + size]
            request = chaincode_shim_pb2.GetStateMultiple(keys=asked, collection=collection)
            raw = await self._call(ChaincodeMessage.GET_STATE_MULTIPLE, request)
            result = _open(chaincode_shim_pb2.GetStateMultipleResult, raw)
            if len(result.values) != len(asked):
                raise PeerError("the peer answered another number of values than it was asked for")
            values.extend(value or None for value in result.values)
        return values

    async def _put(self, key: str, value: bytes, collection: str) -> None:
        self._validate_writable()
        compositekey.validate_key(key)
        if self._batch is not None:
            self._keep(WriteRecord.PUT_STATE, collection, key, value=value)
        else:
            request = chaincode_shim_pb2.PutState(key=key, value=value, collection=collection)
            await self._call(ChaincodeMessage.PUT_STATE, request)
        self._note_own(collection, key, value)

    async def _delete(self, key: str, collection: str) -> None:
        self._validate_writable()
        compositekey.validate_unicode(key, "key")
        if self._batch is not None:
            self._keep(WriteRecord.DEL_STATE, collection, key)
        else:
            request = chaincode_shim_pb2.DelState(key=key, collection=collection)
            await self._call(ChaincodeMessage.DEL_STATE, request)
        self._note_own(collection, key, None)

    async def _put_metadata(self, key: str, value: bytes, collection: str) -> None:
        self._validate_writable()
        compositekey.validate_unicode(key, "key")
        metadata = chaincode_shim_pb2.StateMetadata(metakey=VALIDATION_PARAMETER, value=value)
        if self._batch is not None:
            self._keep(WriteRecord.PUT_STATE_METADATA, collection, key, metadata=metadata)
            return
        request = chaincode_shim_pb2.PutStateMetadata(
            key=key, collection=collection, metadata=metadata
        )
        await self._call(ChaincodeMessage.PUT_STATE_METADATA, request)

    async def _get_metadata(self, key: str, collection: str) -> bytes | None:
        compositekey.validate_unicode(key, "key")
        request = chaincode_shim_pb2.GetStateMetadata(key=key, collection=collection)
        raw = await self._call(ChaincodeMessage.GET_STATE_METADATA, request)
        result = _open(chaincode_shim_pb2.StateMetadataResult, raw)
        for entry in result.entries:
            if entry.metakey == VALIDATION_PARAMETER:
                value: bytes = entry.value
                return value or None
        return None

    def _range(self, start_key: str, end_key: str, collection: str) -> StateIterator:
        self._validate_queryable(collection)
        request = chaincode_shim_pb2.GetStateByRange(
            startKey=start_key, endKey=end_key, collection=collection
        ).SerializeToString()
        return QueryIterator(
            self,
            lambda: self.open_query(ChaincodeMessage.GET_STATE_BY_RANGE, request),
            open_key_value,
        )

    def _query(self, query: str, collection: str) -> StateIterator:
        self._validate_queryable(collection)
        request = chaincode_shim_pb2.GetQueryResult(
            query=query, collection=collection
        ).SerializeToString()
        return QueryIterator(
            self,
            lambda: self.open_query(ChaincodeMessage.GET_QUERY_RESULT, request),
            open_key_value,
        )

    async def _range_page(
        self, start_key: str, end_key: str, page_size: int, bookmark: str
    ) -> Page:
        request = chaincode_shim_pb2.GetStateByRange(
            startKey=start_key, endKey=end_key, metadata=_build_page_request(page_size, bookmark)
        )
        return await self._page(ChaincodeMessage.GET_STATE_BY_RANGE, request)

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

    def _validate_writable(self) -> None:
        if self._read_only:
            raise WriteInQuery("a transaction declared as @query must not write; use @transaction")


def decode_argument(raw: bytes, index: int) -> str:
    """The argument as text. Raises InvalidArgument naming its position if it is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        name = f"argument {index}" if index else "the function's name"
        raise InvalidArgument(f"{name} is not valid UTF-8") from None


def _validated_collection(collection: str) -> str:
    if not collection:
        raise InvalidKey("collection must not be an empty string")
    return collection


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
