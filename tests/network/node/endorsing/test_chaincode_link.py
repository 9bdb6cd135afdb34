"""Dialling a chaincode server: TLS both ways, and every way in which it can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from fabric_protos.peer import chaincode_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage
from fabric_protos.peer.proposal_response_pb2 import Response

from network.node.endorsing import chaincode_link
from network.node.endorsing.chaincode_link import (
    ChaincodeLink,
    Execution,
    ExecutionFailed,
    LaunchFailed,
)
from network.rules.endorsement.chaincode_requests import TransactionContext
from network.rules.endorsement.chaincode_talk import Features
from network.rules.lifecycle.collections import Permission
from network.rules.lifecycle.package import Connection
from network.rules.state.recorder import Recorder
from network.rules.state.snapshot import MemorySnapshot
from tests.network.consortium import make_org
from tests.network.node.scripted_chaincode import ScriptedChaincode

ORG, OTHER = make_org("Org1MSP"), make_org("OtherMSP")


@asynccontextmanager
async def served(name: str = "demo:1", *, tls: bool = False) -> AsyncIterator[str]:
    """The address of a chaincode; with `tls` it insists on a certificate of Org1's."""
    certificate, key = ORG.enrol_tls("127.0.0.1")
    credentials = grpc.ssl_server_credentials([(key, certificate)], ORG.tls_root, True)
    chaincode = ScriptedChaincode(name)
    port = await chaincode.start(credentials=credentials if tls else None)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await chaincode.stop()


async def dial(address: str, timeout: float = 3.0, **options: bytes) -> ChaincodeLink:
    connection = Connection(address, timeout, tls_required=bool(options), **options)
    return await ChaincodeLink.open("demo:1", connection, Features(), 3.0)


async def call(link: ChaincodeLink, *args: bytes, timeout: float = 3.0) -> ChaincodeMessage:
    message = ChaincodeMessage(
        type=ChaincodeMessage.TRANSACTION,
        txid="tx",
        channel_id="care",
        payload=chaincode_pb2.ChaincodeInput(args=args).SerializeToString(),
    )
    context = TransactionContext(
        "care", "demo", Recorder(MemorySnapshot()), lambda *_: Permission(True, True)
    )

    async def refuse(_: object) -> ChaincodeMessage:
        raise ExecutionFailed("no other chaincode")

    return await link.execute(Execution(message, context, refuse), timeout)


async def test_mutual_tls() -> None:
    certificate, key = ORG.enrol_tls("peer0")
    async with served(tls=True) as address:
        link = await dial(
            address,
            root_certificate=ORG.tls_root,
            client_certificate=certificate,
            client_key=key,
        )
        assert (await call(link, b"echo", b"hello")).type == ChaincodeMessage.COMPLETED
        await link.close()
        assert link.closed.is_set()
        with pytest.raises(ExecutionFailed, match="chaincode stream terminated"):
            await call(link, b"echo")


@pytest.mark.parametrize("root", [OTHER.tls_root, ORG.tls_root])
async def test_wrong_roots_and_missing_client_certificates_fail(root: bytes) -> None:
    async with served(tls=True) as address:
        with pytest.raises(LaunchFailed):
            await dial(address, root_certificate=root)


async def test_nobody_listening_fails_at_once() -> None:
    async with served() as address:
        pass
    with pytest.raises(LaunchFailed, match=r"connection to demo:1 failed: .* connection refused"):
        await dial(address, timeout=30.0)


async def test_another_chaincode_is_not_taken() -> None:
    async with served("other:1") as address:
        with pytest.raises(LaunchFailed, match="peer will not accept external chaincode"):
            await dial(address)


async def test_a_transaction_that_takes_too_long_leaves_the_link_usable() -> None:
    async with served() as address:
        link = await dial(address)
        with pytest.raises(ExecutionFailed, match="timeout expired while executing transaction"):
            await call(link, b"sleep", b"5", timeout=0.1)
        assert (await call(link, b"echo", b"again")).type == ChaincodeMessage.COMPLETED
        await link.close()


class DeafChaincode(ScriptedChaincode):
    """Asks without end, and reads nothing of what it is answered until it is told to."""

    def __init__(self) -> None:
        super().__init__("demo:1")
        self.hears = asyncio.Event()

    async def Connect(
        self, request_iterator: AsyncIterator[ChaincodeMessage], context: Any
    ) -> AsyncIterator[ChaincodeMessage]:
        registration = chaincode_pb2.ChaincodeID(name="demo:1").SerializeToString()
        yield ChaincodeMessage(type=ChaincodeMessage.REGISTER, payload=registration)
        await anext(request_iterator)
        while not self.hears.is_set():  # of a transaction that does not run; the refusal names it
            yield ChaincodeMessage(type=ChaincodeMessage.GET_STATE, txid="t" * 20_000)
        async for message in request_iterator:
            if message.type == ChaincodeMessage.TRANSACTION:
                yield ChaincodeMessage(
                    type=ChaincodeMessage.COMPLETED,
                    txid=message.txid,
                    channel_id=message.channel_id,
                    payload=Response(status=200).SerializeToString(),
                )


async def test_a_chaincode_that_does_not_read_is_not_read_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chaincode_link, "UNREAD_BYTES", 1_000_000)
    chaincode = DeafChaincode()
    link = await dial(f"127.0.0.1:{await chaincode.start()}", 30.0)
    try:
        async with asyncio.timeout(60):
            while link._may_read.is_set():
                await asyncio.sleep(0.01)
        with pytest.raises(ExecutionFailed, match="bytes wait for the chaincode, which does not"):
            await call(link)
        assert 1_000_000 <= link._unread < 1_100_000
        chaincode.hears.set()
        async with asyncio.timeout(60):  # requests that were under way are answered first
            while not link._may_read.is_set() or link._outbox.qsize():
                await asyncio.sleep(0.01)
        assert (await call(link, timeout=60.0)).type == ChaincodeMessage.COMPLETED
    finally:
        await link.close()
        await chaincode.stop()
