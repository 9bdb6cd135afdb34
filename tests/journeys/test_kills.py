"""kill -9 at random under load, again and again: what a client was told stays told.

Any process of the network may be the victim: orderer, peers, CAs, chaincode servers, and the
supervisor with all of them. Afterwards every acknowledged transaction is in every ledger with the
code that the client saw, every chain is recomputed from its first block, all states are equal row
for row. CRASH_KILLS says how many (`make crash`: 200), CRASH_SEED which ones.
"""

import asyncio
import os
import random
import secrets
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from network.client import Gateway
from network.client.errors import ClientError
from network.client.profile import Surroundings, load_surroundings
from network.engines import processplan
from network.engines.nodefiles import Layout
from network.engines.processes import Process, load
from network.node.ledger.sqlite_store import LEDGER_FILE
from network.topology.values import NodeKind
from tests.journeys.care import Care, running, write_network

pytestmark = pytest.mark.network

KILLS = int(os.environ.get("CRASH_KILLS", "6"))
SEED = int(os.environ.get("CRASH_SEED", "20260501"))
CALLERS = 8
SUPERVISOR = "supervisor"
SUPERVISORS_SHARE = 0.05
PATIENCE = 300.0
TABLES = ("state", "history", "hashes", "transactions", "blocks")


@dataclass
class Told:
    """What the clients saw."""

    codes: dict[str, int] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    victims: Counter[str] = field(default_factory=Counter)
    longest_silence: float = 0.0
    last: float = field(default_factory=time.monotonic)

    def add(self, tx_id: str, code: int) -> None:
        now = time.monotonic()
        self.longest_silence = max(self.longest_silence, now - self.last)
        self.codes[tx_id], self.last = code, now


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    network = write_network(tmp_path_factory.mktemp("kills"))
    with running(network):
        network.enroll("PatientTrust/registrar", role="service")
        yield network


def test_what_was_acknowledged_outlives_any_kill(victim: Care) -> None:
    told = asyncio.run(kill_under_load(victim))
    wait_until_whole(victim)
    peers = [one["name"] for one in statuses(victim) if one["kind"] == "peer"]
    for peer in peers:
        verdict = victim.result("ledger", "verify", "--peer", peer)
        assert verdict["intact"], (peer, verdict["differences"])
        assert verdict["complete"]
    compared = victim.result("ledger", "compare")
    assert compared["agree"], compared
    victim.run("network", "down")
    ledgers = {peer: read_ledger(victim, peer) for peer in peers}
    for peer, ledger in ledgers.items():
        recorded = dict(ledger["codes"])
        lost = {tx_id for tx_id, code in told.codes.items() if recorded.get(tx_id) != code}
        assert not lost, f"{peer}: {len(lost)} of {len(told.codes)}"
        assert ledger == ledgers[peers[0]], peer
    sys.stdout.write(
        f"\n{sum(told.victims.values())} kills {dict(told.victims)}: {len(told.codes)} "
        f"transactions acknowledged, none lost; {dict(told.failures)} calls failed; longest "
        f"silence {told.longest_silence:.1f} s\n"
    )
    assert len(told.codes) > KILLS


async def kill_under_load(care: Care) -> Told:
    told = Told()
    surroundings = load_surroundings(care.folder / "network.yaml")
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            group.create_task(call(surroundings, number, told, over))
        try:
            await kill(care, told)
        finally:
            over.set()
    return told


async def call(surroundings: Surroundings, number: int, told: Told, over: asyncio.Event) -> None:
    """Register patients at one peer's gateway, one after another, until it is over."""
    peers = surroundings.nodes(NodeKind.PEER)
    endpoint = surroundings.endpoint(peers[number % len(peers)])
    signer = surroundings.signer("PatientTrust/registrar")
    async with Gateway.connect(endpoint=endpoint, signer=signer) as gateway:
        contract = gateway.network("care").contract("health", "directory")
        while not over.is_set():
            registration = {"handle": secrets.token_hex(16)}
            try:
                proposal = contract.proposal("RegisterPatient", registration)
                endorsed = await proposal.endorse(timeout=10)
                commit = await endorsed.submit(timeout=10)
                status = await commit.status(timeout=10)
            except ClientError as failure:
                told.failures[type(failure).__name__] += 1
                await asyncio.sleep(0.2)
            else:
                told.add(status.transaction_id, status.code)


async def kill(care: Care, told: Told) -> None:
    chance = random.Random(SEED)
    run = Layout(care.network).run
    while sum(told.victims.values()) < KILLS:
        await asyncio.sleep(chance.uniform(0.1, 2.0))
        if chance.random() < SUPERVISORS_SHARE:
            await asyncio.to_thread(kill_supervisor, care, run)
            told.victims[SUPERVISOR] += 1
            continue
        states = {one.name: one.process for one in processplan.load_report(run)}
        name = chance.choice(sorted(states))
        process: Process | None = states[name]
        if process is not None and process.signal(signal.SIGKILL):
            told.victims[name] += 1


def kill_supervisor(care: Care, run: Path) -> None:
    """The supervisor and with it every node is gone; then the network is brought up again."""
    found = load(run / processplan.SUPERVISOR)
    assert found is not None
    assert found.signal(signal.SIGKILL)
    care.run("network", "up", "--timeout", "170")


def statuses(care: Care) -> list[dict[str, Any]]:
    status = care.result("network", "status")
    found: list[dict[str, Any]] = status if isinstance(status, list) else status["nodes"]
    return found


def wait_until_whole(care: Care) -> None:
    """Every node runs, every ledger has the same height."""
    end = time.monotonic() + PATIENCE
    while True:
        found = statuses(care)
        heights = {one["heights"].get("care") for one in found if one.get("heights")}
        if all(one["state"] == "running" for one in found) and len(heights) == 1:
            return
        assert time.monotonic() < end, found
        time.sleep(0.5)


def read_ledger(care: Care, peer: str) -> dict[str, Any]:
    """All that a peer's database holds of what must be equal everywhere."""
    (path,) = (file for file in care.network.rglob(LEDGER_FILE) if peer in str(file))
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        found: dict[str, Any] = {
            "codes": database.execute("SELECT tx_id, code FROM transactions").fetchall()
        }
        for table in TABLES:
            found[table] = database.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()
    return found
