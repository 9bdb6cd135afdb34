"""A chaincode that says anything: its caller gets an answer, the peer goes on, no other suffers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2, chaincode_shim_pb2_grpc
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage
from fabric_protos.peer.proposal_response_pb2 import Response

from tests.network.fuzz.mutation import EXAMPLES, SEED, mutate
from tests.simulator import running_network

pytestmark = pytest.mark.network

shim = chaincode_shim_pb2
REQUESTS = {
    ChaincodeMessage.GET_STATE: shim.GetState(key="k"),
    ChaincodeMessage.PUT_STATE: shim.PutState(key="k", value=b"v"),
    ChaincodeMessage.DEL_STATE: shim.DelState(key="k"),
    ChaincodeMessage.GET_STATE_BY_RANGE: shim.GetStateByRange(startKey="a", endKey="z"),
    ChaincodeMessage.GET_QUERY_RESULT: shim.GetQueryResult(query='{"selector":{"a":1}}'),
    ChaincodeMessage.QUERY_STATE_NEXT: shim.QueryStateNext(id="1"),
    ChaincodeMessage.QUERY_STATE_CLOSE: shim.QueryStateClose(id="1"),
    ChaincodeMessage.GET_HISTORY_FOR_KEY: shim.GetHistoryForKey(key="k"),
    ChaincodeMessage.GET_STATE_METADATA: shim.GetStateMetadata(key="k"),
    ChaincodeMessage.PUT_STATE_METADATA: shim.PutStateMetadata(
        key="k", metadata=shim.StateMetadata(metakey="VALIDATION_PARAMETER", value=b"v")
    ),
    ChaincodeMessage.GET_PRIVATE_DATA_HASH: shim.GetState(key="k", collection="c"),
    ChaincodeMessage.PURGE_PRIVATE_DATA: shim.DelState(key="k", collection="c"),
    ChaincodeMessage.INVOKE_CHAINCODE: chaincode_pb2.ChaincodeSpec(
        chaincode_id=chaincode_pb2.ChaincodeID(name="demo")
    ),
    ChaincodeMessage.COMPLETED: Response(status=200, payload=b"done"),
    ChaincodeMessage.ERROR: Response(status=500, message="no"),
}


class Hostile(chaincode_shim_pb2_grpc.ChaincodeServicer):  # type: ignore[misc]
    """Answers each transaction with a few mutants, and mostly ends it in the end."""

    def __init__(self, package_id: str, chance: Random) -> None:
        self.package_id = package_id
        self.chance = chance

    async def Connect(self, messages: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        name = chaincode_pb2.ChaincodeID(name=self.package_id).SerializeToString()
        yield ChaincodeMessage(type=ChaincodeMessage.REGISTER, payload=name)
        async for message in messages:
            if message.type != ChaincodeMessage.TRANSACTION:
                continue
            for _ in range(self.chance.randint(0, 4)):
                yield self.make(message)
            if self.chance.random() < 0.8:
                done = REQUESTS[ChaincodeMessage.COMPLETED].SerializeToString()
                yield ChaincodeMessage(
                    type=ChaincodeMessage.COMPLETED, payload=done,
                    txid=message.txid, channel_id=message.channel_id,
                )  # fmt: skip
            if self.chance.random() < 0.05:
                return  # hangs up

    def make(self, message: Any) -> Any:
        kind = self.chance.choice(list(REQUESTS))
        found = ChaincodeMessage(
            type=kind,
            payload=mutate(REQUESTS[kind].SerializeToString(), self.chance),
            txid=message.txid,
            channel_id=message.channel_id,
        )
        draw = self.chance.random()
        if draw < 0.1:
            found.txid = self.chance.choice(["", "other", message.txid + "x"])
        elif draw < 0.2:
            found.channel_id = self.chance.choice(["", "other"])
        elif draw < 0.3:
            found.type = self.chance.randint(-5, 60)
        elif draw < 0.4:
            found.chaincode_event.chaincode_id = self.chance.choice(["", "other", "demo"])
            found.chaincode_event.event_name = "\x00"
        return found


async def test_a_hostile_chaincode_harms_itself_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chance = Random(f"{SEED} chaincode")
    async with running_network(
        tmp_path, {"Alpha": 1}, CORE_CHAINCODE_EXECUTETIMEOUT="1s"
    ) as network:
        await network.deploy()
        client = network.client("Alpha")
        await client.submit("put", "k", "v")
        await network.chaincode.stop()
        server = grpc.aio.server()
        hostile = Hostile(network.package_id, chance)
        chaincode_shim_pb2_grpc.add_ChaincodeServicer_to_server(hostile, server)
        server.add_insecure_port(f"127.0.0.1:{network.chaincode_port}")
        await server.start()
        for number in range(EXAMPLES * 2):
            answers = await asyncio.gather(
                *(
                    client.process(
                        "put",
                        str(number),
                        "v",
                    )
                    for _ in range(3)
                ),
                return_exceptions=True,
            )
            for answer in answers:
                assert not isinstance(answer, BaseException), answer
                assert answer.HasField("response")
        await server.stop(0)
        await network.chaincode.start(f"127.0.0.1:{network.chaincode_port}")
        async with asyncio.timeout(60):
            while (await client.process("get", "k")).response.payload != b"v":
                await asyncio.sleep(0.1)
        await client.submit("put", "after", "1")
        assert "Traceback" not in caplog.text, caplog.text[-3000:]
