"""kill -9 under load: what was acknowledged is in the chain, and the chain is one a peer takes."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2

from network.node.ordering.block_store import BlockStore
from network.node.ordering.chain import Chain, Node
from network.rules.blocks.block import open_block, validate_block
from tests.network.consortium import CHANNEL, Consortium, build_message
from tests.ports import free_port

ROUNDS = 4
PATIENCE = 120


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    port = free_port()
    consortium = Consortium(address=f"127.0.0.1:{port}")
    environment = consortium.write_orderer(tmp_path, ORDERER_GENERAL_LISTENPORT=str(port))
    asyncio.run(join(tmp_path, consortium))
    chance = random.Random(20260101)
    acknowledged: set[bytes] = set()
    for _ in range(ROUNDS):
        process = start(tmp_path, environment)
        try:
            acknowledged |= broadcast_until(port, consortium, process, chance.uniform(0.2, 0.8))
        finally:
            process.kill()
            process.wait()
    blocks = asyncio.run(read_chain(tmp_path))
    stored = {raw for block in blocks for raw in block.data.data}
    assert len(acknowledged) > ROUNDS
    assert acknowledged <= stored
    policy = consortium.config.policies.get("/Channel/Orderer/BlockValidation")
    for previous, block in zip([None, *blocks], blocks, strict=False):
        validate_block(block, previous, policy)


async def join(folder: Path, consortium: Consortium) -> None:
    genesis = consortium.build_genesis().SerializeToString()
    store = await BlockStore.create(folder / "ledger", CHANNEL, genesis)
    chain = await Chain.open(store, Node(consortium.orderer_signer))
    await chain.close()


def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    log = folder / "orderer.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "network.node", "orderer"],
            env=os.environ | environment,
            stdout=output,
            stderr=output,
        )
    end = time.monotonic() + PATIENCE
    while "Beginning to serve" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


def broadcast_until(
    port: int, consortium: Consortium, process: subprocess.Popen[bytes], seconds: float
) -> set[bytes]:
    """Broadcast for so long, then kill the orderer; returns what it had acknowledged by then."""
    sent: list[bytes] = []
    answered = 0
    end = time.monotonic() + seconds

    def requests() -> Any:
        while True:
            raw = build_message(consortium.alice, b"%d" % len(sent))
            sent.append(raw)
            yield raw

    credentials = grpc.ssl_channel_credentials(consortium.orderer.tls_root)
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        call = channel.stream_stream("/orderer.AtomicBroadcast/Broadcast")(requests())
        try:
            for raw in call:
                answer = ab_pb2.BroadcastResponse.FromString(raw)
                assert answer.status == common_pb2.SUCCESS, answer.info
                answered += 1
                if process.poll() is None and time.monotonic() > end:
                    process.send_signal(signal.SIGKILL)
        except grpc.RpcError:
            assert process.wait(PATIENCE) == -signal.SIGKILL
    return set(sent[:answered])


async def read_chain(folder: Path) -> list[Any]:
    store = await BlockStore.open(folder / "ledger", CHANNEL)
    blocks = [open_block(await store.get_block(number)) for number in range(store.height)]
    await store.close()
    return blocks
