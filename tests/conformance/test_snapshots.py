"""Snapshots between Fabric's peer and ours, asked for and joined by with Fabric's own programs.

Both peers sit on one channel of our orderer. Each makes a snapshot of the same block: file by file
and for `ledgerutil compare` they are equal. A new peer of ours begins with the real one's, the real
peer, having lost its data, with ours; all go on to the same commit hashes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from fabric_protos.common import common_pb2

from network.rules.validation.commit_hash import get_commit_hash, get_validation_codes
from tests.conformance.real_fabric import choose_capabilities, find_binaries, find_config
from tests.conformance.test_real_peer_beside_ours import (
    COLLECTIONS,
    OURS,
    POLICY,
    REAL,
    SECRET,
    Pair,
    deploy,
    real_peer,
)
from tests.simulator import CHANNEL, Network, running_network

pytestmark = [pytest.mark.network, pytest.mark.asyncio(loop_scope="module")]

NEW = "peer1.alpha.example"
PATIENCE = 30


@dataclass
class Snapshots:
    """The network, and Fabric's programs run in it."""

    network: Network
    pair: Pair
    folder: Path

    async def run(self, program: str, *arguments: str, fqdn: str = "") -> str:
        """What the program printed, as the administrator of a peer's organisation."""
        binaries = find_binaries()
        environment = {"PATH": os.environ["PATH"], "FABRIC_CFG_PATH": str(find_config(binaries))}
        if fqdn:
            node = self.network.node(fqdn)
            organization = node.organization
            environment |= {
                "FABRIC_LOGGING_SPEC": "error",
                "CORE_PEER_LOCALMSPID": organization.msp_id,
                "CORE_PEER_MSPCONFIGPATH": str(
                    self.network.folders.user_msp(organization, "Admin")
                ),
                "CORE_PEER_ADDRESS": f"127.0.0.1:{node.port}",
                "CORE_PEER_TLS_ENABLED": "true",
                "CORE_PEER_TLS_ROOTCERT_FILE": str(self.roots(fqdn)),
            }
        process = await asyncio.create_subprocess_exec(
            *(str(binaries / program), *arguments),
            env=environment,
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await asyncio.wait_for(process.communicate(), 60)
        return printed.decode()

    def roots(self, fqdn: str) -> Path:
        return self.network.folders.node_tls(self.network.node(fqdn)) / "ca.crt"

    async def snapshot(self, fqdn: str, command: str, *arguments: str) -> str:
        """What `peer snapshot <command>` printed."""
        return await self.run(
            *("peer", "snapshot", command, "-c", CHANNEL, *arguments),
            *("--peerAddress", f"127.0.0.1:{self.network.node(fqdn).port}"),
            *("--tlsRootCertFile", str(self.roots(fqdn))),
            fqdn=fqdn,
        )

    async def made(self, fqdn: str, root: Path) -> Path:
        """The snapshot of the peer's last block."""
        assert "submitted successfully" in await self.snapshot(fqdn, "submitrequest")
        height = self.network.peers[OURS].channels.joined[0].height
        folder = root / "completed" / CHANNEL / str(height - 1)
        async with asyncio.timeout(PATIENCE):
            while not folder.exists():
                await asyncio.sleep(0.05)
        return folder

    async def join(self, fqdn: str, folder: Path) -> None:
        """`peer channel joinbysnapshot`, until the peer has the channel."""
        await self.run(
            "peer", "channel", "joinbysnapshot", "--snapshotpath", str(folder), fqdn=fqdn
        )
        async with asyncio.timeout(PATIENCE):
            while CHANNEL not in await self.run("peer", "channel", "list", fqdn=fqdn):
                await asyncio.sleep(0.2)
        printed = await self.run("peer", "channel", "joinbysnapshotstatus", fqdn=fqdn)
        assert "No joinbysnapshot operation is in progress" in printed

    async def block(self, fqdn: str, number: int) -> common_pb2.Block:
        """A block as a peer has it, waited for."""
        client = self.network.client("Alpha", peer=fqdn)
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    reply = await client.process(
                        "GetBlockByNumber", CHANNEL, str(number), chaincode="qscc"
                    )
                except grpc.aio.AioRpcError:
                    reply = None
                if reply is not None and reply.response.status == 200:
                    return common_pb2.Block.FromString(reply.response.payload)
                await asyncio.sleep(0.1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def snapshots(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Snapshots]:
    find_config(find_binaries())
    folder = tmp_path_factory.mktemp("snapshots")
    orgs = {"Alpha": 2, "Beta": 1}
    async with running_network(
        folder / "network",
        orgs,
        elsewhere=[REAL, NEW],
        fabric_version=choose_capabilities(find_binaries()),
    ) as network:
        (folder / "real").mkdir()
        pair = Pair(network, network.client("Alpha"), network.client("Alpha", peer=REAL))
        async with real_peer(network, folder / "real"):
            await network.join(REAL)
            await network.install(OURS, REAL)
            await deploy(pair)
            await fill(pair)
            found = Snapshots(network, pair, folder)
            await make_both(found)
        yield found


async def fill(pair: Pair) -> None:
    """State of every kind: composite keys, deletions, private data, a key with its own policy."""
    for args in (
        ("put", "m1", "a"),
        ("put", "m2", "b"),
        ("put", "\x00kind\x00one\x00", "c"),
        ("put", "m1", ""),
        ("key_policy", "m2", POLICY),
        ("put", "über", "ö"),
    ):
        assert await pair.submit(*args) == 0
    for key in ("p", "q", "p"):
        assert await pair.submit("private_put", COLLECTIONS[0].name, key, transient=SECRET) == 0


async def make_both(snapshots: Snapshots) -> None:
    """Each peer makes its snapshot of the last block."""
    await snapshots.made(OURS, ours_of(snapshots))
    await snapshots.made(REAL, real_of(snapshots))


def ours_of(snapshots: Snapshots, fqdn: str = OURS) -> Path:
    return snapshots.network.folder / "data" / fqdn / "snapshots"


def real_of(snapshots: Snapshots) -> Path:
    return snapshots.folder / "real" / "snapshots"


def only_folder(root: Path) -> Path:
    (folder,) = (root / "completed" / CHANNEL).iterdir()
    return folder


async def test_the_files_are_the_same(snapshots: Snapshots) -> None:
    ours, real = only_folder(ours_of(snapshots)), only_folder(real_of(snapshots))
    assert {file.name: file.read_bytes() for file in ours.iterdir()} == {
        file.name: file.read_bytes() for file in real.iterdir()
    }
    assert len(list(real.iterdir())) == 10


async def test_ledgerutil_finds_no_difference(snapshots: Snapshots) -> None:
    if not (find_binaries() / "ledgerutil").exists():
        pytest.skip(f"Fabric's ledgerutil is not in {find_binaries()}")
    printed = await snapshots.run(
        *("ledgerutil", "compare", str(only_folder(ours_of(snapshots)))),
        str(only_folder(real_of(snapshots))),
    )
    assert "Both snapshot public state and private state hashes were the same" in printed


async def test_requests_by_fabrics_program(snapshots: Snapshots) -> None:
    assert "submitted successfully" in await snapshots.snapshot(OURS, "submitrequest", "-b", "900")
    printed = await snapshots.snapshot(OURS, "listpending")
    assert "Successfully got pending snapshot requests: [900]" in printed
    again = await snapshots.snapshot(OURS, "submitrequest", "-b", "900")
    assert "duplicate snapshot request for block number 900" in again
    assert "cancelled successfully" in await snapshots.snapshot(OURS, "cancelrequest", "-b", "900")
    printed = await snapshots.snapshot(OURS, "cancelrequest", "-b", "900")
    assert "no snapshot request exists for block number 900" in printed
    printed = await snapshots.snapshot(OURS, "submitrequest")
    assert "snapshot already generated for block number" in printed


async def test_each_begins_with_the_others_and_all_go_on_alike(snapshots: Snapshots) -> None:
    network = snapshots.network
    await network.start_peer(NEW)
    await snapshots.join(NEW, only_folder(real_of(snapshots)))
    anew = snapshots.folder / "anew"
    anew.mkdir()
    async with real_peer(network, anew):
        await snapshots.join(REAL, only_folder(ours_of(snapshots)))
        await network.install(NEW, REAL)
        pair = Pair(network, network.client("Alpha"), network.client("Alpha", peer=REAL))
        height = network.peers[OURS].channels.joined[0].height
        for value in ("1", "2", "3"):
            assert await pair.submit("put", "after", value) == 0
        assert await pair.submit("private_put", COLLECTIONS[0].name, "p", transient=SECRET) == 0
        for number in range(height, network.peers[OURS].channels.joined[0].height):
            blocks = [await snapshots.block(fqdn, number) for fqdn in (OURS, NEW, REAL)]
            assert len({get_commit_hash(block) for block in blocks}) == 1, number
            assert len({get_validation_codes(block) for block in blocks}) == 1, number
        texts = [await _get_old_block(snapshots, fqdn) for fqdn in (NEW, REAL)]
        assert texts[0] == texts[1]
        assert texts[0].startswith("Failed to get block number 1, error cannot serve block [1].")


async def _get_old_block(snapshots: Snapshots, fqdn: str) -> str:
    client = snapshots.network.client("Alpha", peer=fqdn)
    reply = await client.process("GetBlockByNumber", CHANNEL, "1", chaincode="qscc")
    return str(reply.response.message)
