"""One transaction as a peer simulates it: each request of the stub → its answer, reads and writes
recorded. Texts and order of checks follow Fabric's `core/chaincode/handler.go` and
`kvledger/txmgmt/txmgr/tx_simulator.go`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.peer import chaincode_shim_pb2 as shim

from chaincode.shim.handler import ChaincodeMessage
from chaincode.simulator.query import parse_query, run_query
from chaincode.simulator.world import Entry, ReadWriteSet, Space, World, Write

PAGE_SIZE = 100
"""Results in one answer (`core/chaincode/chaincode_support.go` maxResultLimit)."""


class Refused(Exception):
    """The peer answers ERROR with this text."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A private data collection as far as a chaincode notices it."""

    members: frozenset[str]
    member_only_read: bool = True
    member_only_write: bool = True


class Simulation:
    """The reads and writes of one transaction, over all namespaces it touches."""

    def __init__(
        self,
        world: World,
        tx_id: str,
        msp_id: str,
        collections: Mapping[str, Collection] | None,
        *,
        is_init: bool = False,
    ) -> None:
        self.rwset = ReadWriteSet()
        self.open_queries: dict[str, list[bytes]] = {}
        self._world = world
        self._tx_id = tx_id
        self._msp_id = msp_id
        self._collections = collections
        self._is_init = is_init
        self._wrote = False
        self._queried_private = False
        self._paginated = False
        self._next_query = 1

    def answer(self, namespace: str, kind: int, payload: bytes) -> bytes:
        """The payload of RESPONSE. Raises Refused with the text of ERROR."""
        try:
            return _ANSWERS[kind](self, namespace, payload)
        except Refused as error:
            name = ChaincodeMessage.Type.Name(kind)
            raise Refused(f"{name} failed: transaction ID: {self._tx_id}: {error}") from None

    def _answer_get_state(self, namespace: str, payload: bytes) -> bytes:
        request = shim.GetState.FromString(payload)
        return self._read(self._space(namespace, request.collection, read=True), request.key)

    def _answer_get_multiple(self, namespace: str, payload: bytes) -> bytes:
        request = shim.GetStateMultiple.FromString(payload)
        space = self._space(namespace, request.collection, read=True)
        values = [self._read(space, key) for key in request.keys]
        return _build(shim.GetStateMultipleResult(values=values))

    def _answer_get_hash(self, namespace: str, payload: bytes) -> bytes:
        request = shim.GetState.FromString(payload)
        self._find_collection(namespace, request.collection)
        value = self._read((namespace, request.collection), request.key)
        return hashlib.sha256(value).digest() if value else b""

    def _answer_put(self, namespace: str, payload: bytes) -> bytes:
        request = shim.PutState.FromString(payload)
        self._write(namespace, request.collection, request.key, Write(request.value))
        return b""

    def _answer_delete(self, namespace: str, payload: bytes) -> bytes:
        request = shim.DelState.FromString(payload)
        self._write(namespace, request.collection, request.key, Write(None))
        return b""

    def _answer_purge(self, namespace: str, payload: bytes) -> bytes:
        request = shim.PurgePrivateState.FromString(payload)
        if not request.collection:
            raise Refused("only applicable for private data")
        self._write(namespace, request.collection, request.key, Write(None, is_purge=True))
        return b""

    def _answer_put_metadata(self, namespace: str, payload: bytes) -> bytes:
        request = shim.PutStateMetadata.FromString(payload)
        self._write_metadata(namespace, request)
        return b""

    def _answer_get_metadata(self, namespace: str, payload: bytes) -> bytes:
        request = shim.GetStateMetadata.FromString(payload)
        space = self._space(namespace, request.collection, read=True)
        self._read(space, request.key)
        entry = self._world.get(space, request.key)
        metadata = entry.metadata if entry else {}
        entries = [shim.StateMetadata(metakey=name, value=raw) for name, raw in metadata.items()]
        return _build(shim.StateMetadataResult(entries=entries))

    def _answer_write_batch(self, namespace: str, payload: bytes) -> bytes:
        for record in shim.WriteBatchState.FromString(payload).rec:
            match record.type:
                case shim.WriteRecord.PUT_STATE:
                    self._write(namespace, record.collection, record.key, Write(record.value))
                case shim.WriteRecord.DEL_STATE:
                    self._write(namespace, record.collection, record.key, Write(None))
                case shim.WriteRecord.PURGE_PRIVATE_DATA:
                    write = Write(None, is_purge=True)
                    self._write(namespace, record.collection, record.key, write)
                case shim.WriteRecord.PUT_STATE_METADATA:
                    self._write_metadata(namespace, record)
                case _:
                    raise Refused("unknown operation type")
        return b""

    def _answer_range(self, namespace: str, payload: bytes) -> bytes:
        request = shim.GetStateByRange.FromString(payload)
        space = self._query_space(namespace, request.collection)
        page = self._read_page_request(request.metadata, request.collection)
        start = (page.bookmark if page else "") or request.startKey
        entries = self._world.scan(space, start, request.endKey)
        if page is None:
            return self._open_query(_key_values(namespace, self._note_reads(space, entries)))
        found = list(entries)
        taken, rest = found[: page.pageSize], found[page.pageSize :]
        results = _key_values(namespace, self._note_reads(space, taken))
        return self._build_page(results, rest[0][0] if rest else "")

    def _answer_rich_query(self, namespace: str, payload: bytes) -> bytes:
        request = shim.GetQueryResult.FromString(payload)
        space = self._query_space(namespace, request.collection)
        page = self._read_page_request(request.metadata, request.collection)
        try:
            query = parse_query(request.query)
        except ValueError as error:
            raise Refused(f"invalid query: {error}") from None
        found = run_query(query, self._world.scan(space, "", ""))
        if page is None:
            return self._open_query(_key_values(namespace, found))
        skipped = int(page.bookmark) if page.bookmark.isdigit() else 0
        taken = found[skipped : skipped + page.pageSize]
        after = skipped + len(taken)
        bookmark = str(after) if after < len(found) else "nil"
        return self._build_page(_key_values(namespace, taken), bookmark)

    def _answer_history(self, namespace: str, payload: bytes) -> bytes:
        request = shim.GetHistoryForKey.FromString(payload)
        results = []
        for change in self._world.history(namespace, request.key):
            message = kv_query_result_pb2.KeyModification(
                tx_id=change.tx_id, value=change.value, is_delete=change.is_delete
            )
            message.timestamp.FromDatetime(change.timestamp)
            results.append(_build(message))
        return self._open_query(results)

    def _answer_next(self, namespace: str, payload: bytes) -> bytes:
        query_id = shim.QueryStateNext.FromString(payload).id
        if query_id not in self.open_queries:
            raise Refused("query iterator not found")
        return self._cut(query_id)

    def _answer_close(self, namespace: str, payload: bytes) -> bytes:
        query_id = shim.QueryStateClose.FromString(payload).id
        self.open_queries.pop(query_id, None)
        return _build(shim.QueryResponse(id=query_id))

    def _read(self, space: Space, key: str) -> bytes:
        entry = self._world.get(space, key)
        self.rwset.reads.setdefault(space, {})[key] = entry.version if entry else None
        return entry.value if entry else b""

    def _note_reads(
        self, space: Space, entries: Iterable[tuple[str, Entry]]
    ) -> Iterable[tuple[str, Entry]]:
        for key, entry in entries:
            self.rwset.reads.setdefault(space, {})[key] = entry.version
            yield key, entry

    def _write(self, namespace: str, collection: str, key: str, write: Write) -> None:
        space = self._space(namespace, collection, read=False)
        self._begin_write()
        self.rwset.writes.setdefault(space, {})[key] = write

    def _write_metadata(self, namespace: str, request: Any) -> None:
        space = self._space(namespace, request.collection, read=False)
        self._begin_write()
        changes = self.rwset.metadata_writes.setdefault(space, {}).setdefault(request.key, {})
        changes[request.metadata.metakey] = request.metadata.value

    def _begin_write(self) -> None:
        # "unsuppored" is Fabric's spelling.
        prefix = f"txid [{self._tx_id}]: unsuppored transaction. Transaction has already performed"
        if self._queried_private:
            raise Refused(f"{prefix} queries on pvt data. Writes are not allowed")
        if self._paginated:
            raise Refused(f"{prefix} a paginated query. Writes are not allowed")
        self._wrote = True

    def _space(self, namespace: str, collection: str, *, read: bool) -> Space:
        if collection:
            found = self._find_collection(namespace, collection)
            restricted = found and (found.member_only_read if read else found.member_only_write)
            if found and restricted and self._msp_id not in found.members:
                verb = "read" if read else "write"
                raise Refused(
                    f"tx creator does not have {verb} access permission on privatedata in "
                    f"chaincodeName:{namespace} collectionName: {collection}"
                )
        return namespace, collection

    def _query_space(self, namespace: str, collection: str) -> Space:
        space = self._space(namespace, collection, read=True)
        if collection:
            if self._wrote:
                raise Refused(
                    f"txid [{self._tx_id}]: unsuppored transaction. Queries on pvt data is "
                    "supported only in a read-only transaction"
                )
            self._queried_private = True
        return space

    def _find_collection(self, namespace: str, name: str) -> Collection | None:
        if self._is_init:
            raise Refused("private data APIs are not allowed in chaincode Init()")
        if self._collections is None or name.startswith("_implicit_org_"):
            return None
        if name not in self._collections:
            raise Refused(
                f"collection [{name}] not defined in the collection config for chaincode "
                f"[{namespace}]"
            )
        return self._collections[name]

    def _read_page_request(self, raw: bytes, collection: str) -> Any:
        page = shim.QueryMetadata.FromString(raw)
        if collection or (not page.pageSize and not page.bookmark):
            return None
        if self._wrote:
            raise Refused(
                f"txid [{self._tx_id}]: unsuppored transaction. Paginated queries are supported "
                "only in a read-only transaction"
            )
        self._paginated = True
        return page

    def _open_query(self, results: list[bytes]) -> bytes:
        query_id = f"query-{self._next_query}"
        self._next_query += 1
        self.open_queries[query_id] = results
        return self._cut(query_id)

    def _cut(self, query_id: str) -> bytes:
        results = self.open_queries.pop(query_id)
        rest = results[PAGE_SIZE:]
        if rest:
            self.open_queries[query_id] = rest
        return _build(
            shim.QueryResponse(
                results=[shim.QueryResultBytes(resultBytes=raw) for raw in results[:PAGE_SIZE]],
                has_more=bool(rest),
                id=query_id,
            )
        )

    def _build_page(self, results: list[bytes], bookmark: str) -> bytes:
        metadata = shim.QueryResponseMetadata(fetched_records_count=len(results), bookmark=bookmark)
        return _build(
            shim.QueryResponse(
                results=[shim.QueryResultBytes(resultBytes=raw) for raw in results],
                id="page",
                metadata=_build(metadata),
            )
        )


def _key_values(namespace: str, entries: Iterable[tuple[str, Entry]]) -> list[bytes]:
    return [
        _build(kv_query_result_pb2.KV(namespace=namespace, key=key, value=entry.value))
        for key, entry in entries
    ]


def _build(message: Any) -> bytes:
    raw: bytes = message.SerializeToString()
    return raw


_ANSWERS: dict[int, Callable[[Simulation, str, bytes], bytes]] = {
    ChaincodeMessage.GET_STATE: Simulation._answer_get_state,
    ChaincodeMessage.GET_STATE_MULTIPLE: Simulation._answer_get_multiple,
    ChaincodeMessage.GET_PRIVATE_DATA_HASH: Simulation._answer_get_hash,
    ChaincodeMessage.PUT_STATE: Simulation._answer_put,
    ChaincodeMessage.DEL_STATE: Simulation._answer_delete,
    ChaincodeMessage.PURGE_PRIVATE_DATA: Simulation._answer_purge,
    ChaincodeMessage.PUT_STATE_METADATA: Simulation._answer_put_metadata,
    ChaincodeMessage.GET_STATE_METADATA: Simulation._answer_get_metadata,
    ChaincodeMessage.WRITE_BATCH_STATE: Simulation._answer_write_batch,
    ChaincodeMessage.GET_STATE_BY_RANGE: Simulation._answer_range,
    ChaincodeMessage.GET_QUERY_RESULT: Simulation._answer_rich_query,
    ChaincodeMessage.GET_HISTORY_FOR_KEY: Simulation._answer_history,
    ChaincodeMessage.QUERY_STATE_NEXT: Simulation._answer_next,
    ChaincodeMessage.QUERY_STATE_CLOSE: Simulation._answer_close,
}
