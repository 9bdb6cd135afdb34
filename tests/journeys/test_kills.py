"""kill -9 under load, again and again: what a client was told stays told.

One process of every kind is a victim, then any at random: orderer, peers, CAs, chaincode servers,
and the supervisor with all of them. Afterwards every acknowledged transaction is in every ledger
with the code that the client saw, every chain is recomputed from its first block, all states are
equal row for row, and the network goes on from them. CRASH_KILLS says how many (`make crash`: 200),
CRASH_SEED which ones. Before, while the network is quiet, a peer with a snapshot to make is killed.
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

FIRST = ("orderer0.consortium", "peer0.hospital", "ca.clinic", "chaincode.payer")
"""One of every kind."""
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
    handle: str = ""
    """The last one that is known to be registered."""
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


def test_a_snapshot_that_was_asked_for_outlives_its_peer(victim: Care) -> None:
    """And what the command says of requests that are not right."""
    peer = next(one for one in statuses(victim) if one["name"].startswith("peer0.hospital"))
    name, block = peer["name"], peer["heights"]["care"] + 2
    snapshot = ("channel", "snapshot")
    told = victim.run(*snapshot, "request", "--block", str(block), "--peer", name).out
    assert f"will make the snapshot at block {block}" in told
    for arguments, code, expected in (
        (("request", "--block", str(block), "--peer", name), 4, "duplicate snapshot request"),
        (("request", "--block", "1", "--peer", name), 4, "cannot be less than the last committed"),
        (("request", "--block", "-1"), 2, "--block"),
        (("request", "--peer", "peer9"), 3, "peer9"),
        (("request", "--channel", "nowhere"), 3, "nowhere"),
        (("cancel", "9999", "--peer", name), 4, "no snapshot request exists for block number 9999"),
        (("cancel",), 2, "BLOCK"),
        (("list", "--channel", "nowhere"), 3, "nowhere"),
    ):
        refused = victim.run(*snapshot, *arguments, code=None)
        assert (refused.code, expected in refused.err) == (code, True), (arguments, refused)
    victim.run(*snapshot, "request", "--block", "9999", "--peer", name)
    victim.run(*snapshot, "cancel", "9999", "--peer", name)

    os.kill(peer["pid"], signal.SIGKILL)
    wait_until_whole(victim)
    pending = {one["peer"]: one["blocks"] for one in victim.result(*snapshot, "list")}
    assert pending.pop(name) == [block]
    assert not any(pending.values())
    while not get_completed(victim, name):
        register(victim)
    register(victim)  # the next block waits for the snapshot to be whole
    (made,) = get_completed(victim, name)
    shown = victim.result(*snapshot, "show", str(made))
    assert (shown["channel"], shown["lastBlock"]) == ("care", block)
    assert not any(one["blocks"] for one in victim.result(*snapshot, "list"))
    again = victim.run(*snapshot, "request", "--peer", name)
    assert "is made in" in again.out
    repeated = victim.run(*snapshot, "request", "--peer", name, code=4)
    assert "snapshot already generated for block number" in repeated.err


def register(care: Care) -> None:
    """Somebody new is registered, which makes a block."""
    handle = secrets.token_hex(16)
    care.run("patient", "register", "--handle", handle, "--as", "PatientTrust/registrar")


def get_completed(care: Care, peer: str) -> list[Path]:
    """The snapshots that a peer has made."""
    return sorted((Layout(care.network).node(peer) / "snapshots" / "completed" / "care").glob("*"))


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
    victim.run("network", "up")
    heights = {one["heights"]["care"] for one in statuses(victim) if one.get("heights")}
    assert heights == {len(ledgers[peers[0]]["blocks"])}
    for organization in ("GeneralHospital", "CityClinic", "UnitedPayer", "PatientTrust"):
        victim.run("patient", "show", told.handle, "--as", f"{organization}/Admin")


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
                if status.successful:
                    told.handle = registration["handle"]


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
        done = sum(told.victims.values())
        choice = [one for one in states if done < len(FIRST) and one.startswith(FIRST[done])]
        name = chance.choice(choice or sorted(states))
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
