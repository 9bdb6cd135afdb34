"""A chaincode that dials the peer: taken in development mode, and refused in Fabric's words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2_grpc
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from tests.network.node.scripted_chaincode import ScriptedChaincode
from tests.simulator import Client, Definition, Network, running_network

pytestmark = [pytest.mark.network, pytest.mark.asyncio(loop_scope="module")]

NAME = "fresh:2"


class Dialler:
    """A scripted chaincode that dials."""

    def __init__(self, client: Client, name: str = NAME) -> None:
        self._script = ScriptedChaincode(name)
        stub = chaincode_shim_pb2_grpc.ChaincodeSupportStub(client.channel)
        self._call: Any = stub.Register(self._script.Connect(self._receive(), None))

    async def _receive(self) -> AsyncIterator[ChaincodeMessage]:
        await asyncio.sleep(0)
        while isinstance(message := await self._call.read(), ChaincodeMessage):
            yield message

    @property
    def over(self) -> bool:
        return bool(self._call.done())

    def hang_up(self) -> None:
        self._call.cancel()


async def register(client: Client, name: str, kind: int = ChaincodeMessage.REGISTER) -> str:
    """What a refused chaincode is told."""
    payload = chaincode_pb2.ChaincodeID(name=name).SerializeToString()
    call = chaincode_shim_pb2_grpc.ChaincodeSupportStub(client.channel).Register()
    await call.write(ChaincodeMessage(type=kind, payload=payload))
    async with asyncio.timeout(60):
        return str(await call.details())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    """Approved under the name alone: nothing is installed."""
    folder = tmp_path_factory.mktemp("development")
    settings = {"CORE_CHAINCODE_MODE": "dev", "CORE_PEER_CHAINCODELISTENADDRESS": "127.0.0.1:0"}
    async with running_network(folder, {"Alpha": 1}, **settings) as running:
        running.package_id = NAME
        await running.deploy(Definition(name="fresh", version="2"), install=False)
        yield running


async def test_it_runs_transactions(network: Network) -> None:
    client = network.client("Alpha")
    dialler = Dialler(client)
    async with asyncio.timeout(60):
        while True:
            reply = await client.process("get", "nothing", chaincode="fresh")
            if reply.response.status == 200:
                break
            await asyncio.sleep(0.05)
    client.chaincode = "fresh"
    await client.submit("put", "fruit", "pear")
    assert await client.evaluate("get", "fruit") == b"pear"
    assert await register(client, NAME) == f"duplicate chaincodeID: {NAME}"
    dialler.hang_up()
    async with asyncio.timeout(60):
        while (await client.process("get", "fruit")).response.status == 200:
            await asyncio.sleep(0.05)
    async with asyncio.timeout(60):
        while (await client.process("get", "fruit")).response.payload != b"pear":
            if dialler.over:  # it may come before the peer has seen the first one go
                dialler = Dialler(client)
            await asyncio.sleep(0.05)
    dialler.hang_up()


async def test_it_listens_where_chaincodes_dial(network: Network) -> None:
    assert network.peers["peer0.alpha.example"].chaincode_port > 0


async def test_what_is_no_registration(network: Network) -> None:
    client = network.client("Alpha")
    text = await register(client, NAME, ChaincodeMessage.GET_STATE)
    assert text == "First message needs to be a register"
    text = await register(client, "")
    assert text == "error in handling register chaincode, chaincodeID name is empty"


async def test_outside_development_it_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running_network(tmp_path_factory.mktemp("net"), {"Alpha": 1}) as running:
        text = await register(running.client("Alpha"), NAME)
        assert (
            text
            == f"peer will not accept external chaincode connection {NAME} (except in dev mode)"
        )
        assert running.peers["peer0.alpha.example"].chaincode_port == 0
