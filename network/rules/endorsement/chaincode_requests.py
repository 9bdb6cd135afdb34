"""Answers what a running chaincode asks of the ledger: message in, payload out.

Everything but INVOKE_CHAINCODE, which another chaincode has to answer, is here; checks and texts
are those of Fabric's `core/chaincode/handler.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage
from google.protobuf.message import DecodeError

from network.rules.lifecycle.collections import Permission
from network.rules.state.recorder import Page, Recorder, SimulationError, StateIterator
from network.rules.state.snapshot import UnsupportedQuery


class RequestRefused(Exception):
    """The request gets an ERROR with this text."""


@dataclass(slots=True)
class TransactionContext:
    """One run of one chaincode: where its requests go and what they may do."""

    channel_id: str
    namespace: str
    recorder: Recorder
    permission: Callable[[str, str], Permission]
    """(namespace, collection) → what the creator may do; raises SimulationError when unknown."""
    is_init: bool = False
    may_set_key_policies: bool = True
    """Application capability V1_3 or later."""
    may_purge: bool = True
    """Application capability V2_5 or later."""
    iterators: dict[str, StateIterator] = field(default_factory=dict)
    _permissions: dict[str, Permission] = field(default_factory=dict)
    _issued: int = 0

    def open_iterator(self, iterator: StateIterator) -> str:
        """The iterator is kept under the returned id until it ends or is closed."""
        self._issued += 1
        name = str(self._issued)
        self.iterators[name] = iterator
        return name

    def validate_private(self, collection: str, *, write: bool) -> None:
        """The creator may use the collection so, and private data may be used at all now.

        Raises:
            RequestRefused: with Fabric's text.
        """
        if self.is_init:
            raise RequestRefused("private data APIs are not allowed in chaincode Init()")
        allowed = self._permissions.get(collection)
        if allowed is None:
            allowed = self._permissions[collection] = self.permission(self.namespace, collection)
        if not (allowed.write if write else allowed.read):
            kind = "write" if write else "read"
            raise RequestRefused(
                f"tx creator does not have {kind} access permission on privatedata in "
                f"chaincodeName:{self.namespace} collectionName: {collection}"
            )


@dataclass(frozen=True, slots=True)
class Call:
    """One chaincode calls another."""

    chaincode: str
    channel_id: str
    input: chaincode_pb2.ChaincodeInput


def open_call(message: ChaincodeMessage, channel_id: str) -> Call:
    """The call in an INVOKE_CHAINCODE message; a name is "chaincode:version/channel".

    The version is ignored, and a missing channel is the caller's.

    Raises:
        RequestRefused: the payload cannot be read.
    """
    spec = _parse(chaincode_pb2.ChaincodeSpec, message.payload)
    name, _, channel = spec.chaincode_id.name.partition("/")
    return Call(name.partition(":")[0], channel or channel_id, spec.input)


def answer_request(message: ChaincodeMessage, context: TransactionContext) -> bytes:
    """The payload of the RESPONSE to a request.

    Raises:
        RequestRefused: the request gets an ERROR with the exception's text.
    """
    answer = _ANSWERS.get(message.type)
    if answer is None:
        raise RequestRefused(f"unknown request type {message.type}")
    try:
        return answer(message.payload, context)
    except SimulationError as error:
        raise RequestRefused(str(error)) from error


def _get_state(payload: bytes, context: TransactionContext) -> bytes:
    request = _parse(chaincode_shim_pb2.GetState, payload)
    if request.collection:
        context.validate_private(request.collection, write=False)
        value = context.recorder.get_private(context.namespace, request.collection, request.key)
    else:
        value = context.recorder.get_state(context.namespace, request.key)
    return value or b""


def _get_states(payload: bytes, context: TransactionContext) -> bytes:
    request = _parse(chaincode_shim_pb2.GetStateMultiple, payload)
    keys = list(request.keys)
    if request.collection:
        context.validate_private(request.collection, write=False)
        values = context.recorder.get_privates(context.namespace, request.collection, keys)
    else:
        values = context.recorder.get_states(context.namespace, keys)
    result = chaincode_shim_pb2.GetStateMultipleResult(values=[value or b"" for value in values])
    return bytes(result.SerializeToString())


def _get_private_hash(payload: bytes, context: TransactionContext) -> bytes:
    # Hashes are on the chain for all to see: no permission is asked.
    request = _parse(chaincode_shim_pb2.GetState, payload)
    if context.is_init:
        raise RequestRefused("private data APIs are not allowed in chaincode Init()")
    return (
        context.recorder.get_private_hash(context.namespace, request.collection, request.key) or b""
    )


def _get_metadata(payload: bytes, context: TransactionContext) -> bytes:
    _validate_key_policies(context)
    request = _parse(chaincode_shim_pb2.GetStateMetadata, payload)
    recorder, namespace = context.recorder, context.namespace
    if request.collection:
        context.validate_private(request.collection, write=False)
        found = recorder.get_private_metadata(namespace, request.collection, request.key)
    else:
        found = recorder.get_metadata(namespace, request.key)
    entries = [
        chaincode_shim_pb2.StateMetadata(metakey=name, value=value) for name, value in found.items()
    ]
    return bytes(chaincode_shim_pb2.StateMetadataResult(entries=entries).SerializeToString())


def _put_state(payload: bytes, context: TransactionContext) -> bytes:
    request = _parse(chaincode_shim_pb2.PutState, payload)
    _write(context, request.collection, request.key, request.value)
    return b""


def _delete_state(payload: bytes, context: TransactionContext) -> bytes:
    request = _parse(chaincode_shim_pb2.DelState, payload)
    _delete(context, request.collection, request.key)
    return b""


def _purge_private(payload: bytes, context: TransactionContext) -> bytes:
    # PURGE_PRIVATE_DATA carries a DelState: the field numbers of PurgePrivateState are the same.
    request = _parse(chaincode_shim_pb2.DelState, payload)
    _purge(context, request.collection, request.key)
    return b""


def _put_metadata(payload: bytes, context: TransactionContext) -> bytes:
    request = _parse(chaincode_shim_pb2.PutStateMetadata, payload)
    metadata = {request.metadata.metakey: request.metadata.value}
    _write_metadata(context, request.collection, request.key, metadata)
    return b""


def _write_batch(payload: bytes, context: TransactionContext) -> bytes:
    kinds = chaincode_shim_pb2.WriteRecord
    for record in _parse(chaincode_shim_pb2.WriteBatchState, payload).rec:
        if record.type == kinds.PUT_STATE:
            _write(context, record.collection, record.key, record.value)
        elif record.type == kinds.DEL_STATE:
            _delete(context, record.collection, record.key)
        elif record.type == kinds.PURGE_PRIVATE_DATA:
            _purge(context, record.collection, record.key)
        elif record.type == kinds.PUT_STATE_METADATA:
            metadata = {record.metadata.metakey: record.metadata.value}
            _write_metadata(context, record.collection, record.key, metadata)
        else:
            raise RequestRefused("unknown operation type")
    return b""


def _write(context: TransactionContext, collection: str, key: str, value: bytes) -> None:
    if collection:
        context.validate_private(collection, write=True)
        context.recorder.put_private(context.namespace, collection, key, value)
    else:
        context.recorder.put_state(context.namespace, key, value)


def _delete(context: TransactionContext, collection: str, key: str) -> None:
    if collection:
        context.validate_private(collection, write=True)
        context.recorder.delete_private(context.namespace, collection, key)
    else:
        context.recorder.delete_state(context.namespace, key)


def _purge(context: TransactionContext, collection: str, key: str) -> None:
    if not context.may_purge:
        raise RequestRefused(
            "purge private data is not enabled, channel application capability of V2_5 or later "
            "is required"
        )
    if not collection:
        raise RequestRefused("only applicable for private data")
    context.validate_private(collection, write=True)
    context.recorder.purge_private(context.namespace, collection, key)


def _write_metadata(
    context: TransactionContext, collection: str, key: str, metadata: Mapping[str, bytes]
) -> None:
    _validate_key_policies(context)
    if collection:
        context.validate_private(collection, write=True)
        context.recorder.put_private_metadata(context.namespace, collection, key, metadata)
    else:
        context.recorder.put_metadata(context.namespace, key, metadata)


def _range(payload: bytes, context: TransactionContext) -> bytes:
    request = _parse(chaincode_shim_pb2.GetStateByRange, payload)
    start, end, recorder = request.startKey, request.endKey, context.recorder
    paging = _open_paging(request.metadata)
    if request.collection:
        context.validate_private(request.collection, write=False)
        iterator = recorder.private_range(context.namespace, request.collection, start, end)
        return _first_page(iterator, context)
    if paging is None:
        return _first_page(recorder.range(context.namespace, start, end), context)
    size, bookmark = paging
    page = recorder.range_page(context.namespace, start, end, size, bookmark)
    return _first_page(page, context, paged=True)


def _query(payload: bytes, context: TransactionContext) -> bytes:
    request = _parse(chaincode_shim_pb2.GetQueryResult, payload)
    query, recorder = request.query, context.recorder
    paging = _open_paging(request.metadata)
    try:
        if request.collection:
            context.validate_private(request.collection, write=False)
            found = recorder.private_query(context.namespace, request.collection, query)
            return _first_page(found, context)
        if paging is None:
            return _first_page(recorder.query(context.namespace, query), context)
        size, bookmark = paging
        found = recorder.query_page(context.namespace, query, size, bookmark)
        return _first_page(found, context, paged=True)
    except UnsupportedQuery as error:
        raise RequestRefused(str(error)) from error


def _history(payload: bytes, context: TransactionContext) -> bytes:
    request = _parse(chaincode_shim_pb2.GetHistoryForKey, payload)
    return _first_page(context.recorder.history(context.namespace, request.key), context)


def _next(payload: bytes, context: TransactionContext) -> bytes:
    name = _parse(chaincode_shim_pb2.QueryStateNext, payload).id
    iterator = context.iterators.get(name)
    if iterator is None:
        raise RequestRefused("query iterator not found")
    try:
        return _build_page(name, iterator.next_page(), context)
    except UnsupportedQuery as error:
        raise RequestRefused(str(error)) from error


def _close(payload: bytes, context: TransactionContext) -> bytes:
    name = _parse(chaincode_shim_pb2.QueryStateClose, payload).id
    context.iterators.pop(name, None)
    return bytes(chaincode_shim_pb2.QueryResponse(id=name).SerializeToString())


def _first_page(
    iterator: StateIterator, context: TransactionContext, *, paged: bool = False
) -> bytes:
    name = context.open_iterator(iterator)
    return _build_page(name, iterator.next_page(), context, paged=paged)


def _build_page(
    name: str, page: Page, context: TransactionContext, *, paged: bool = False
) -> bytes:
    if not page.has_more:
        context.iterators.pop(name, None)
    response = chaincode_shim_pb2.QueryResponse(
        results=[chaincode_shim_pb2.QueryResultBytes(resultBytes=row) for row in page.results],
        has_more=page.has_more,
        id=name,
    )
    if paged:
        metadata = chaincode_shim_pb2.QueryResponseMetadata(
            fetched_records_count=page.fetched, bookmark=page.bookmark
        )
        response.metadata = metadata.SerializeToString()
    return bytes(response.SerializeToString())


def _open_paging(raw: bytes) -> tuple[int, str] | None:
    """(page size, bookmark) if the chaincode pages explicitly."""
    metadata = _parse(chaincode_shim_pb2.QueryMetadata, raw)
    if metadata.pageSize == 0 and not metadata.bookmark:
        return None
    return metadata.pageSize, metadata.bookmark


def _validate_key_policies(context: TransactionContext) -> None:
    if not context.may_set_key_policies:
        raise RequestRefused(
            "key level endorsement is not enabled, channel application capability of V1_3 or "
            "later is required"
        )


def _parse(kind: Any, raw: bytes) -> Any:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise RequestRefused(
            "unmarshal failed: proto: cannot parse invalid wire-format data"
        ) from error


_ANSWERS: Mapping[int, Callable[[bytes, TransactionContext], bytes]] = {
    ChaincodeMessage.GET_STATE: _get_state,
    ChaincodeMessage.GET_STATE_MULTIPLE: _get_states,
    ChaincodeMessage.GET_PRIVATE_DATA_HASH: _get_private_hash,
    ChaincodeMessage.GET_STATE_METADATA: _get_metadata,
    ChaincodeMessage.GET_STATE_BY_RANGE: _range,
    ChaincodeMessage.GET_QUERY_RESULT: _query,
    ChaincodeMessage.GET_HISTORY_FOR_KEY: _history,
    ChaincodeMessage.QUERY_STATE_NEXT: _next,
    ChaincodeMessage.QUERY_STATE_CLOSE: _close,
    ChaincodeMessage.PUT_STATE: _put_state,
    ChaincodeMessage.DEL_STATE: _delete_state,
    ChaincodeMessage.PURGE_PRIVATE_DATA: _purge_private,
    ChaincodeMessage.PUT_STATE_METADATA: _put_metadata,
    ChaincodeMessage.WRITE_BATCH_STATE: _write_batch,
}
