"""kill -9 on any of three orderers under load: what was acknowledged is in the one chain."""

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import grpc

from network.rules.blocks.block import open_block
from tests.network.cluster import Cluster, running_cluster
from tests.network.consortium import build_message

ROUNDS = 6
PATIENCE = 120


async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        assert await cluster.send(1) == ["SUCCESS"]
        await cluster.settle(2)
    processes = {number: start(cluster, number) for number in range(cluster.size)}
    chance = random.Random(20260102)
    acknowledged: set[bytes] = set()
    stopping = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(cluster.size):
                group.create_task(load(cluster, number, acknowledged, stopping))
            for round_ in range(ROUNDS):
                await asyncio.sleep(chance.uniform(0.3, 1.0))
                # The leader every other time.
                victim = 0 if round_ % 2 else chance.randrange(cluster.size)
                processes[victim].kill()
                processes[victim].wait()
                await asyncio.sleep(chance.uniform(0, 0.5))
                processes[victim] = await asyncio.to_thread(start, cluster, victim)
            before = len(acknowledged)
            async with asyncio.timeout(PATIENCE):
                while len(acknowledged) < before + 10:
                    await asyncio.sleep(0.1)
            stopping.set()
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    try:
        for number in range(cluster.size):
            await cluster.start(number)
        chain = cluster.chain(0)
        await cluster.settle(chain.height)
        await cluster.validate()
        stored = {
            raw
            for number in range(chain.height)
            for raw in open_block(await chain.get_block(number)).data.data
        }
    finally:
        for number in list(cluster.running):
            await cluster.stop(number)
    assert len(acknowledged) > ROUNDS
    assert acknowledged <= stored


async def load(
    cluster: Cluster, number: int, acknowledged: set[bytes], stopping: asyncio.Event
) -> None:
    counter = 0
    while not stopping.is_set():
        counter += 1
        raw = build_message(cluster.consortium.alice, b"%d %d" % (number, counter))
        try:
            if await cluster.send_raw(number, [raw]) == ["SUCCESS"]:
                acknowledged.add(raw)
        except grpc.RpcError:
            await asyncio.sleep(0.05)


def start(cluster: Cluster, number: int) -> subprocess.Popen[bytes]:
    environment = cluster.write(number)
    log = cluster.folder / f"orderer{number}.log"
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
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    return process
