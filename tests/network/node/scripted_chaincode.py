"""A chaincode that speaks `protos.Chaincode/Connect` by hand, without any shim.

Its functions do one ledger request each, so that a test can provoke every message a peer has to
answer. `python -m tests.network.node.scripted_chaincode PACKAGE_ID ADDRESS` serves it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    chaincode_pb2,
    chaincode_shim_pb2,
    chaincode_shim_pb2_grpc,
    proposal_pb2,
)
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage
from fabric_protos.peer.proposal_response_pb2 import Response

shim = chaincode_shim_pb2


class Refusal(Exception):
    """The peer answered with ERROR."""


@dataclass
class Call:
    """One transaction as the chaincode sees it."""

    stream: Stream
    message: ChaincodeMessage
    args: list[bytes]
    event: chaincode_event_pb2.ChaincodeEvent | None = None

    @property
    def transient(self) -> dict[str, bytes]:
        proposal = proposal_pb2.Proposal.FromString(self.message.proposal.proposal_bytes)
        payload = proposal_pb2.ChaincodeProposalPayload.FromString(proposal.payload)
        return dict(payload.TransientMap)

    async def ask(self, kind: int, payload: Any) -> bytes:
        return await self.stream.ask(self.message, kind, payload.SerializeToString())


@dataclass
class Stream:
    """One peer's stream."""

    outbox: asyncio.Queue[ChaincodeMessage] = field(default_factory=asyncio.Queue)
    waiting: dict[tuple[str, str], asyncio.Future[ChaincodeMessage]] = field(default_factory=dict)

    async def ask(self, message: ChaincodeMessage, kind: int, payload: bytes) -> bytes:
        key = (message.channel_id, message.txid)
        self.waiting[key] = asyncio.get_running_loop().create_future()
        self.outbox.put_nowait(
            ChaincodeMessage(
                type=kind, payload=payload, txid=message.txid, channel_id=message.channel_id
            )
        )
        answer = await self.waiting[key]
        if answer.type == ChaincodeMessage.ERROR:
            raise Refusal(answer.payload.decode())
        return bytes(answer.payload)


class ScriptedChaincode(chaincode_shim_pb2_grpc.ChaincodeServicer):  # type: ignore[misc]
    """Serves any number of peers; `calls` counts the transactions begun."""

    def __init__(self, package_id: str = "") -> None:
        self.package_id = package_id
        self.calls = 0
        self.features: list[chaincode_pb2.ChaincodeAdditionalParams] = []
        self._server: grpc.aio.Server | None = None

    async def start(self, address: str = "127.0.0.1:0", credentials: Any = None) -> int:
        self._server = grpc.aio.server(
            options=[("grpc.http2.min_ping_interval_without_data_ms", 30_000)]
        )
        chaincode_shim_pb2_grpc.add_ChaincodeServicer_to_server(self, self._server)
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, credentials)
        await self._server.start()
        return int(port)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)

    async def Connect(
        self, request_iterator: AsyncIterator[ChaincodeMessage], context: Any
    ) -> AsyncIterator[ChaincodeMessage]:
        stream = Stream()
        registration = chaincode_pb2.ChaincodeID(name=self.package_id).SerializeToString()
        yield ChaincodeMessage(type=ChaincodeMessage.REGISTER, payload=registration)
        reader = asyncio.create_task(self._read(stream, request_iterator))
        try:
            while True:
                yield await stream.outbox.get()
        finally:
            reader.cancel()

    async def _read(self, stream: Stream, messages: AsyncIterator[ChaincodeMessage]) -> None:
        tasks = set()
        async for message in messages:
            if message.type in (ChaincodeMessage.TRANSACTION, ChaincodeMessage.INIT):
                task = asyncio.create_task(self._run(stream, message))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            elif message.type in (ChaincodeMessage.RESPONSE, ChaincodeMessage.ERROR):
                stream.waiting.pop((message.channel_id, message.txid)).set_result(message)
            elif message.type == ChaincodeMessage.READY:
                params = chaincode_pb2.ChaincodeAdditionalParams.FromString(message.payload)
                self.features.append(params)

    async def _run(self, stream: Stream, message: ChaincodeMessage) -> None:
        self.calls += 1
        args = list(chaincode_pb2.ChaincodeInput.FromString(message.payload).args)
        call = Call(stream, message, args[1:])
        kind, response = ChaincodeMessage.COMPLETED, Response(status=200)
        name = args[0].decode(errors="replace") if args else "nothing"
        try:
            answer = await FUNCTIONS[name](call)
            if isinstance(answer, bytes):
                response.payload = answer
            else:
                response = answer
        except Refusal as refusal:
            response = Response(status=500, message=str(refusal))
        except (LookupError, TypeError, ValueError) as fault:
            response = Response(status=500, message=f"no such call: {type(fault).__name__}")
        payload = response.SerializeToString()
        if name == "broken":
            kind, payload = ChaincodeMessage.ERROR, b"it broke"
        stream.outbox.put_nowait(
            ChaincodeMessage(
                type=kind,
                payload=payload,
                txid=message.txid,
                channel_id=message.channel_id,
                chaincode_event=call.event,
            )
        )


Answer: TypeAlias = bytes | Response
FUNCTIONS: dict[str, Callable[[Call], Awaitable[Answer]]] = {}


def function(run: Callable[[Call], Awaitable[Answer]]) -> Callable[[Call], Awaitable[Answer]]:
    FUNCTIONS[run.__name__] = run
    return run


@function
async def nothing(call: Call) -> Answer:
    return b""


@function
async def echo(call: Call) -> Answer:
    return b" ".join(call.args)


@function
async def put(call: Call) -> Answer:
    request = shim.PutState(key=call.args[0].decode(), value=call.args[1])
    await call.ask(ChaincodeMessage.PUT_STATE, request)
    return b""


@function
async def get(call: Call) -> Answer:
    request = shim.GetState(key=call.args[0].decode())
    return await call.ask(ChaincodeMessage.GET_STATE, request)


@function
async def get_many(call: Call) -> Answer:
    request = shim.GetStateMultiple(keys=[arg.decode() for arg in call.args])
    raw = await call.ask(ChaincodeMessage.GET_STATE_MULTIPLE, request)
    return b",".join(shim.GetStateMultipleResult.FromString(raw).values)


@function
async def batch(call: Call) -> Answer:
    """key value key value …; an empty value deletes."""
    pairs = zip(call.args[::2], call.args[1::2], strict=True)
    records = [
        shim.WriteRecord(
            key=key.decode(),
            value=value,
            type=shim.WriteRecord.PUT_STATE if value else shim.WriteRecord.DEL_STATE,
        )
        for key, value in pairs
    ]
    await call.ask(ChaincodeMessage.WRITE_BATCH_STATE, shim.WriteBatchState(rec=records))
    return b""


@function
async def add(call: Call) -> Answer:
    """Read, then write: conflicts with another such transaction in the same block."""
    key = call.args[0].decode()
    raw = await call.ask(ChaincodeMessage.GET_STATE, shim.GetState(key=key))
    total = str(int(raw or b"0") + int(call.args[1])).encode()
    await call.ask(ChaincodeMessage.PUT_STATE, shim.PutState(key=key, value=total))
    return total


@function
async def scan(call: Call) -> Answer:
    start, end = (arg.decode() for arg in call.args[:2])
    request = shim.GetStateByRange(startKey=start or "\x01", endKey=end)
    raw = await call.ask(ChaincodeMessage.GET_STATE_BY_RANGE, request)
    keys: list[str] = []
    while True:
        page = shim.QueryResponse.FromString(raw)
        keys += [kv_query_result_pb2.KV.FromString(row.resultBytes).key for row in page.results]
        if not page.has_more:
            return ",".join(keys).encode()
        request = shim.QueryStateNext(id=page.id)
        raw = await call.ask(ChaincodeMessage.QUERY_STATE_NEXT, request)


@function
async def page(call: Call) -> Answer:
    """start end size bookmark → keys|bookmark."""
    start, end, size, bookmark = (arg.decode() for arg in call.args)
    metadata = shim.QueryMetadata(pageSize=int(size), bookmark=bookmark).SerializeToString()
    request = shim.GetStateByRange(startKey=start, endKey=end, metadata=metadata)
    raw = await call.ask(ChaincodeMessage.GET_STATE_BY_RANGE, request)
    found = shim.QueryResponse.FromString(raw)
    keys = [kv_query_result_pb2.KV.FromString(row.resultBytes).key for row in found.results]
    following = shim.QueryResponseMetadata.FromString(found.metadata).bookmark
    return f"{','.join(keys)}|{following}".encode()


@function
async def history(call: Call) -> Answer:
    request = shim.GetHistoryForKey(key=call.args[0].decode())
    raw = await call.ask(ChaincodeMessage.GET_HISTORY_FOR_KEY, request)
    rows = shim.QueryResponse.FromString(raw).results
    changes = [kv_query_result_pb2.KeyModification.FromString(row.resultBytes) for row in rows]
    return b",".join(change.value for change in changes)


@function
async def private_put(call: Call) -> Answer:
    """collection key; the value is the transient field "value"."""
    request = shim.PutState(
        collection=call.args[0].decode(),
        key=call.args[1].decode(),
        value=call.transient["value"],
    )
    await call.ask(ChaincodeMessage.PUT_STATE, request)
    return b""


@function
async def private_get(call: Call) -> Answer:
    request = shim.GetState(collection=call.args[0].decode(), key=call.args[1].decode())
    return await call.ask(ChaincodeMessage.GET_STATE, request)


@function
async def private_hash(call: Call) -> Answer:
    request = shim.GetState(collection=call.args[0].decode(), key=call.args[1].decode())
    return await call.ask(ChaincodeMessage.GET_PRIVATE_DATA_HASH, request)


@function
async def key_policy(call: Call) -> Answer:
    metadata = shim.StateMetadata(metakey="VALIDATION_PARAMETER", value=call.args[1])
    request = shim.PutStateMetadata(key=call.args[0].decode(), metadata=metadata)
    await call.ask(ChaincodeMessage.PUT_STATE_METADATA, request)
    return b""


@function
async def emit(call: Call) -> Answer:
    """name payload; also writes, so that the transaction has something to commit."""
    name, payload = call.args[0].decode(), call.args[1]
    call.event = chaincode_event_pb2.ChaincodeEvent(event_name=name, payload=payload)
    await call.ask(ChaincodeMessage.PUT_STATE, shim.PutState(key=name, value=payload))
    return b""


@function
async def fail(call: Call) -> Answer:
    """status text."""
    return Response(status=int(call.args[0]), message=call.args[1].decode(), payload=b"more")


@function
async def broken(call: Call) -> Answer:
    return b""


@function
async def who(call: Call) -> Answer:
    """Differs between chaincode servers: endorsements do not match."""
    return str(id(call.stream)).encode()


class Gate:
    """Transactions wait before it until it is opened."""

    def __init__(self) -> None:
        self.waiting = 0
        self.opened = asyncio.Event()


GATES: dict[bytes, Gate] = {}


@function
async def pass_gate(call: Call) -> Answer:
    gate = GATES[call.args[0]]
    gate.waiting += 1
    await gate.opened.wait()
    return b"passed"


@function
async def sleep(call: Call) -> Answer:
    await asyncio.sleep(float(call.args[0]))
    return b"awake"


@function
async def call(call: Call) -> Answer:
    """chaincode[/channel] function args…"""
    spec = chaincode_pb2.ChaincodeSpec(
        chaincode_id=chaincode_pb2.ChaincodeID(name=call.args[0].decode()),
        input=chaincode_pb2.ChaincodeInput(args=call.args[1:]),
    )
    raw = await call.ask(ChaincodeMessage.INVOKE_CHAINCODE, spec)
    inner = ChaincodeMessage.FromString(raw)
    if inner.type == ChaincodeMessage.ERROR:
        raise Refusal(inner.payload.decode())
    return Response.FromString(inner.payload)


async def main(package_id: str, address: str) -> None:
    chaincode = ScriptedChaincode(package_id)
    await chaincode.start(address)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
