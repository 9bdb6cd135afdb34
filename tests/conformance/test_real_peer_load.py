"""Many committed transactions at once through our chaincode server and a real peer's gateway.

Every worker adds one to its own key again and again, waiting for each commit, so that a lost,
doubled, overtaken or mixed-up transaction shows in the key's history. CONFORMANCE_TRANSACTIONS
says how many; the figures are printed (`pytest -s`). Skipped where Fabric's binaries are missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from network.client import Contract, Gateway
from network.client.endpoint import Endpoint
from network.client.errors import ClientError
from tests.conformance.real_fabric import RealFabric
from tests.conformance.served import ANYONE, Served
from tests.ports import free_ports

WORKERS = 400
SEEDS = [f"seed{number}" for number in range(3)]
TRANSACTIONS = int(os.environ.get("CONFORMANCE_TRANSACTIONS", "2000"))


@dataclass(slots=True)
class Tally:
    """What the workers saw."""

    committed: dict[str, list[int]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def count(self) -> int:
        return len(self.seconds)

    def report(self, title: str) -> None:
        """The figures on standard output."""
        spent = time.monotonic() - self.began
        ordered = sorted(self.seconds)
        sys.stdout.write(
            f"\n{title}: {self.count} committed in {spent:.1f} s, "
            f"{self.count / spent:.0f} a second, "
            f"latency median {statistics.median(ordered):.2f} s, "
            f"99th percentile {ordered[int(len(ordered) * 0.99)]:.2f} s; "
            f"refused and repeated: {dict(self.refused) or 'none'}\n"
        )


@dataclass(slots=True)
class Bench:
    """A network with the stub contract deployed as `stub`."""

    fabric: RealFabric
    served: Served

    def connect(self) -> Gateway:
        first = self.fabric.organizations[0]
        place = Endpoint(first.peer_address, first.tls_root.read_bytes(), first.peer_host)
        return Gateway.connect(endpoint=place, signer=first.signer())

    async def count(self, tally: Tally, prefix: str, rounds: int, *, patient: bool = False) -> None:
        """All workers at once, `rounds` commits each; a patient one repeats what was refused."""
        async with self.connect() as gateway:
            contract = gateway.network(self.fabric.channel).contract("stub")
            for seed in SEEDS:
                await contract.submit("stub:Put", seed, seed, organizations=["Org1MSP"])
            tally.began = time.monotonic()
            await asyncio.gather(
                *(
                    count_up(contract, tally, f"{prefix}{number}", rounds, patient)
                    for number in range(WORKERS)
                )
            )

    async def read_histories(self, prefix: str) -> dict[str, list[int]]:
        """By key, the values it had, oldest first."""
        async with self.connect() as gateway:
            contract = gateway.network(self.fabric.channel).contract("stub")
            gate = asyncio.Semaphore(50)

            async def one(key: str) -> list[int]:
                async with gate:
                    raw = await contract.evaluate("stub:History", key, organizations=["Org1MSP"])
                return [int(value) for value in reversed(json.loads(raw))]

            keys = [f"{prefix}{number}" for number in range(WORKERS)]
            return dict(zip(keys, await asyncio.gather(*map(one, keys)), strict=True))


async def count_up(contract: Contract, tally: Tally, key: str, rounds: int, patient: bool) -> None:
    committed = tally.committed.setdefault(key, [])
    while len(committed) < rounds:
        began = time.monotonic()
        try:
            status = await contract.submit(
                "stub:Count", key, json.dumps(SEEDS), organizations=["Org1MSP"], retry=None
            )
        except ClientError as failure:
            if not patient:
                raise
            tally.refused[type(failure).__name__] += 1
            await asyncio.sleep(0.5)
            continue
        committed.append(int(status.result))
        tally.seconds.append(time.monotonic() - began)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("fabric")
    with RealFabric.start(folder) as fabric:
        package = fabric.package("stub", f"127.0.0.1:{free_ports(1)[0]}")
        served = Served(package, folder)
        try:
            fabric.deploy(package, policy=ANYONE)
            fabric.query("stub", ["stub:Get", "k"])
            yield Bench(fabric, served)
        finally:
            served.stop()


async def test_none_is_lost_doubled_or_overtaken(bench: Bench) -> None:
    rounds = max(1, TRANSACTIONS // WORKERS)
    tally = Tally()
    await bench.count(tally, "plain", rounds)
    tally.report("undisturbed")
    expected = list(range(1, rounds + 1))
    assert all(values == expected for values in tally.committed.values())
    assert all(found == expected for found in (await bench.read_histories("plain")).values())


@pytest.mark.parametrize("disturbance", ["chaincode-drained", "chaincode-killed", "peer-restarted"])
async def test_none_is_lost_under_restarts(bench: Bench, disturbance: str) -> None:
    rounds = max(2, TRANSACTIONS // WORKERS)
    tally = Tally()
    counting = asyncio.create_task(bench.count(tally, disturbance, rounds, patient=True))
    while tally.count < rounds * WORKERS // 3:
        await asyncio.sleep(0.05)
    await asyncio.to_thread(disturbances(bench)[disturbance])
    await asyncio.wait_for(counting, 600)
    tally.report(disturbance)
    for key, values in (await bench.read_histories(disturbance)).items():
        # No commit was lost, doubled or overtaken; those whose answer was lost may be there, too.
        assert values == list(range(1, len(values) + 1))
        assert set(tally.committed[key]) <= set(values)
        assert tally.committed[key] == sorted(set(tally.committed[key]))
    assert bench.served.process.poll() is None


def disturbances(bench: Bench) -> dict[str, Callable[[], None]]:
    def restart_peer() -> None:
        bench.fabric.stop_process("peer-Org1")
        bench.fabric.start_peer(bench.fabric.organizations[0])

    return {
        "chaincode-drained": bench.served.restart,
        "chaincode-killed": bench.served.kill,
        "peer-restarted": restart_peer,
    }
