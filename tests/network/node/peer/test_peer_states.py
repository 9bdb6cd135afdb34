"""Full disk, wrong clock, corrupt blocks: a clear state, one line, and all is well afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from fabric_protos.peer.lifecycle import lifecycle_pb2

from network.node.serving.settings import SettingsError
from network.rules.blocks.block import open_block
from tests.simulator import CHANNEL, Definition, Network, running_network

pytestmark = [pytest.mark.network, pytest.mark.asyncio(loop_scope="module")]

ALPHA, BETA, ORDERER = "peer0.alpha.example", "peer0.beta.example", "orderer0.office.example"
ANY = Definition(policy="OR('AlphaMSP.peer','BetaMSP.peer')")
PATIENCE = 120


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with running_network(tmp_path_factory.mktemp("states")) as running:
        await running.deploy(ANY)
        yield running


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own, as large as that; skips where one may not be mounted."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run([mount, *options], check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


async def health(network: Network, port: int) -> list[str]:
    """The reasons that /healthz gives; none when all is well."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.get("/healthz")
    assert answer.status_code == (503 if "failed_checks" in answer.json() else 200)
    return [one["reason"] for one in answer.json().get("failed_checks", [])]


async def wait_for_health(network: Network, port: int, text: str) -> None:
    """/healthz says so; "" is well."""
    async with asyncio.timeout(PATIENCE):
        while True:
            told = await health(network, port)
            if (not told and not text) or any(text in one for one in told if text):
                assert all("\n" not in one for one in told)
                return
            await asyncio.sleep(0.1)


def validate_log(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """The log says so, and nothing in it is a traceback."""
    assert text in caplog.text
    assert "Traceback" not in caplog.text


async def validate_equal(network: Network) -> None:
    """All peers have the same blocks and the same state, and take another transaction."""
    await network.client("Alpha").submit("put", "after", "well")
    await network.settle()
    ledgers = [peer.channels.joined[0].ledger for peer in network.peers.values()]
    assert len({ledger.commit_hash for ledger in ledgers}) == 1
    assert await network.client("Beta").evaluate("get", "after", orgs=["BetaMSP"]) == b"well"


@asynccontextmanager
async def running_on(folder: Path) -> AsyncIterator[Network]:
    async with running_network(folder) as running:
        await running.deploy(ANY)
        yield running


async def test_a_peer_outlives_a_full_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "data" / BETA, 8) as disk:
        async with running_on(tmp_path) as network:
            alpha, beta = network.client("Alpha"), network.client("Beta")
            await alpha.submit("put", "before", "1")
            await network.settle()
            ballast = fill(disk)
            for number in range(6):
                await alpha.submit("put", f"large{number}", "x" * 50_000, orgs=["AlphaMSP"])
            port = network.peers[BETA].operations_port
            await wait_for_health(network, port, "database or disk is full. Free space")
            assert await beta.evaluate("get", "before", orgs=["BetaMSP"]) == b"1"
            ballast.unlink()
            await wait_for_health(network, port, "")
            await network.settle()
            await validate_equal(network)
            validate_log(caplog, "is not committed: ")


async def test_an_orderer_outlives_a_full_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "data" / ORDERER, 8) as disk:
        async with running_on(tmp_path) as network:
            alpha = network.client("Alpha")
            assert network.orderer is not None
            ballast = fill(disk)
            refusals = []
            for number in range(20):
                try:
                    await alpha.submit("put", f"large{number}", "x" * 50_000)
                except grpc.aio.AioRpcError as error:
                    refusals.append(error)
                    break
            assert refusals[0].code() is grpc.StatusCode.UNAVAILABLE
            await wait_for_health(network, network.orderer.operations_port, "disk is full")
            ballast.unlink()
            await wait_for_health(network, network.orderer.operations_port, "")
            await validate_equal(network)
            validate_log(caplog, "disk is full")


async def test_a_clock_that_is_wrong_is_named(
    network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(hours=1)

    await network.stop_peer(BETA)
    with monkeypatch.context() as wrong:
        wrong.setattr("network.node.peering.block_puller.datetime", Ahead)
        peer = await network.start_peer(BETA)
        await wait_for_health(network, peer.operations_port, "is this machine's clock right?")
        await network.client("Alpha").submit("put", "meanwhile", "1", orgs=["AlphaMSP"])
    await wait_for_health(network, peer.operations_port, "")
    await validate_equal(network)
    validate_log(caplog, "answered BAD_REQUEST")


async def test_a_client_whose_clock_is_wrong_is_told_both_times(network: Network) -> None:
    client = network.client("Alpha")
    for hours in (-1, 1):
        moment = datetime.now(UTC) + timedelta(hours=hours)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.process("get", "before", timestamp=moment)
        told = refused.value.details()
        assert "request unauthorized due to incorrect timestamp" in told
        assert moment.strftime("%Y-%m-%d %H:%M") in told or moment.strftime("%H:%M") in told


@pytest.mark.parametrize("place", ["data", "signature"])
async def test_a_block_corrupt_at_the_orderer_is_not_taken(
    network: Network, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    assert network.orderer is not None
    store = network.orderer.registrar.get(CHANNEL)._store  # type: ignore[union-attr]
    await network.stop_peer(BETA)
    await network.client("Alpha").submit("put", place, "1", orgs=["AlphaMSP"])
    number = store.height - 1
    good = await store.get_block(number)
    block = open_block(good)
    if place == "data":
        block.data.data[0] = block.data.data[0][:-1] + b"\x00"
    else:
        metadata = block.metadata.metadata[0]
        block.metadata.metadata[0] = metadata[:-1] + bytes([metadata[-1] ^ 1])
    store._cache[number] = block.SerializeToString()
    peer = await network.start_peer(BETA)
    await wait_for_health(network, peer.operations_port, "block that is not to be trusted")
    assert peer.channels.joined[0].height == number
    store._cache[number] = good
    await wait_for_health(network, peer.operations_port, "")
    await validate_equal(network)
    validate_log(caplog, f"channel {CHANNEL}: orderer ")


async def test_a_ledger_cut_short_keeps_its_peer_from_starting(network: Network) -> None:
    await network.stop_peer(BETA)
    folder = network.folder / "data" / BETA
    (file,) = folder.rglob("ledger.db")
    kept = file.read_bytes()
    with file.open("r+b") as database:
        database.truncate(len(kept) // 2)
    with pytest.raises(SettingsError) as refused:
        await network.start_peer(BETA)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)
    # What to do is what it says: remove the channel's folder, join again, agree on a sequence.
    shutil.rmtree(file.parent)
    await network.start_peer(BETA)
    await network.join(BETA)
    await catch_up(network)
    await upgrade(network)
    await validate_equal(network)


async def catch_up(network: Network) -> None:
    """Every peer has as many blocks as the orderer."""
    assert network.orderer is not None
    chain = network.orderer.registrar.get(CHANNEL)
    async with asyncio.timeout(PATIENCE):
        for peer in network.peers.values():
            await peer.channels.joined[0].wait_for(chain.height - 1)  # type: ignore[union-attr]


async def upgrade(network: Network) -> None:
    """Sequence 2 is defined, although Beta's peer does not know what it approved before."""
    fields = network._build_fields(replace(ANY, version="2", sequence=2))
    approval = lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs(**fields)
    approval.source.local_package.package_id = network.package_id
    commit = lifecycle_pb2.CommitChaincodeDefinitionArgs(**fields)
    for fqdn, function, args, orgs in (
        (ALPHA, "ApproveChaincodeDefinitionForMyOrg", approval, ["AlphaMSP"]),
        (BETA, "ApproveChaincodeDefinitionForMyOrg", approval, ["BetaMSP"]),
        (ALPHA, "CommitChaincodeDefinition", commit, ["AlphaMSP", "BetaMSP"]),
    ):
        raw = args.SerializeToString()
        await network.admin(fqdn).submit(function, raw, chaincode="_lifecycle", orgs=orgs)
        await catch_up(network)


async def test_a_page_lost_under_a_running_peer_is_told_and_no_block_goes_on_it(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk gives back other bytes than were written: SQLite finds the page malformed."""
    peer = network.peers[BETA]
    (file,) = (network.folder / "data" / BETA).rglob("ledger.db")
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = database.execute("PRAGMA page_size").fetchone()
        (root,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'transactions'"
        ).fetchone()
    database.close()
    content = bytearray(file.read_bytes())
    good = bytes(content)
    content[(root - 1) * size : root * size] = b"\xee" * size
    await network.stop_peer(BETA)
    file.write_bytes(bytes(content))
    peer = await network.start_peer(BETA)
    height = peer.channels.joined[0].height
    await network.client("Alpha").submit("put", "lost page", "1", orgs=["AlphaMSP"])
    await wait_for_health(network, peer.operations_port, "malformed. Restore the file")
    assert peer.channels.joined[0].height == height
    reply = await network.client("Beta").process("put", "k", "v")
    told = "this peer's ledger cannot be used: its log says why"
    assert (reply.response.status, reply.response.message) == (500, told)
    await network.stop_peer(BETA)
    for leftover in file.parent.glob("ledger.db-*"):
        leftover.unlink()
    file.write_bytes(good)
    await network.start_peer(BETA)
    await validate_equal(network)
    validate_log(caplog, "malformed")
