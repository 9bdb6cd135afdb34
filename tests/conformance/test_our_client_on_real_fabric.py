"""Our Gateway client and lifecycle on real Fabric peers: every stage, errors, events, offline.

Skipped, with the reason, where Fabric's binaries are not found.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from admin.errors import get_chaincode_answer
from network.client import Checkpoint, EndorseError, EvaluateError, Gateway, lifecycle
from network.client.channel import fetch, get_chain_info, get_channels
from network.client.endpoint import Endpoint
from network.client.errors import CommitStatusError, ProposalRefusedError
from network.client.lifecycle import Collection, Definition
from network.client.package import Connection, build_service_package
from network.client.peer import PeerClient
from network.rules.lifecycle.package import compute_package_id
from tests.conformance.real_fabric import Organization, RealFabric
from tests.conformance.samples_network import wait_until_served
from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = (
    b'[{"mspId":"Org1MSP","name":"One","role":"provider"},'
    b'{"mspId":"Org2MSP","name":"Two","role":"payer"}]'
)


def endpoint(organization: Organization) -> Endpoint:
    return Endpoint(
        organization.peer_address, organization.tls_root.read_bytes(), organization.peer_host
    )


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFabric]:
    with RealFabric.start(tmp_path_factory.mktemp("fabric")) as started:
        yield started


@pytest.fixture(scope="module")
def package(fabric: RealFabric) -> Iterator[bytes]:
    """A package whose chaincode server, the health chaincode, runs."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    built = build_service_package("health_1", Connection(address))
    server = subprocess.Popen(
        [sys.executable, "-m", "chaincode"],
        cwd=ROOT,
        env=os.environ
        | {
            "CHAINCODE_SERVER_ADDRESS": address,
            "CHAINCODE_ID": compute_package_id("health_1", built),
        },
        stderr=subprocess.DEVNULL,
    )
    wait_until_served(address, server)
    yield built
    server.terminate()
    server.wait(20)


async def commit_once_peers_know_each_other(
    gateway: Gateway, channel_id: str, definition: Definition
) -> None:
    """Real peers gossip for some seconds before one knows the other."""
    deadline = time.monotonic() + 90
    while True:
        try:
            await lifecycle.commit(gateway, channel_id, definition, ["Org1MSP", "Org2MSP"])
            return
        except EndorseError as failure:
            if time.monotonic() > deadline or failure.status != "UNAVAILABLE":
                raise
        await asyncio.sleep(1)


@pytest.fixture
async def gateway(fabric: RealFabric) -> AsyncIterator[Gateway]:
    first = fabric.organizations[0]
    async with Gateway.connect(endpoint=endpoint(first), signer=first.signer("Admin")) as connected:
        yield connected


async def test_the_lifecycle_deploys_step_by_step(fabric: RealFabric, package: bytes) -> None:
    definition = Definition(
        "health",
        "1",
        1,
        "OutOf(2, 'Org1MSP.peer', 'Org2MSP.peer')",
        (Collection("shared", ("Org1MSP", "Org2MSP")),),
    )
    identifier = compute_package_id("health_1", package)
    for organization in fabric.organizations:
        admin = organization.signer("Admin")
        async with (
            PeerClient(endpoint(organization), admin) as peer,
            Gateway.connect(endpoint=endpoint(organization), signer=admin) as gateway,
        ):
            assert await lifecycle.install(peer, package, "health_1") == identifier
            assert await lifecycle.install(peer, package, "health_1") == identifier
            assert [one.package_id for one in await lifecycle.get_installed(peer)] == [identifier]
            assert await lifecycle.get_package(peer, identifier) == package
            readiness = await lifecycle.get_readiness(peer, fabric.channel, definition)
            assert readiness.approvals[organization.msp_id] is False
            with pytest.raises(EndorseError, match="not agreed to by this org"):
                await lifecycle.commit(gateway, fabric.channel, definition, [organization.msp_id])
            status = await lifecycle.approve(gateway, fabric.channel, definition, identifier)
            assert status.successful
            approved = await lifecycle.get_approved_package(peer, fabric.channel, "health", 1)
            assert approved == identifier
    first = fabric.organizations[0]
    async with (
        PeerClient(endpoint(first), first.signer("Admin")) as peer,
        Gateway.connect(endpoint=endpoint(first), signer=first.signer("Admin")) as gateway,
    ):
        await commit_once_peers_know_each_other(gateway, fabric.channel, definition)
        (committed,) = await lifecycle.get_committed(peer, fabric.channel, "health")
        assert lifecycle.is_same(definition, committed)
        assert committed.approvals == {"Org1MSP": True, "Org2MSP": True}
        with pytest.raises(ProposalRefusedError, match="must be sequence 2"):
            await lifecycle.get_readiness(peer, fabric.channel, definition)


async def test_submit_evaluate_and_events(
    fabric: RealFabric, gateway: Gateway, tmp_path: Path
) -> None:
    network = gateway.network(fabric.channel)
    directory = network.contract("health", "directory")
    status = await directory.submit("Bootstrap", MEMBERS)
    assert status.json()["organizations"][0]["mspId"] == "Org1MSP"
    assert b"Org2MSP" in await directory.evaluate("ListOrganizations")
    checkpoint = Checkpoint(tmp_path / "checkpoint.json")
    stream = network.chaincode_events("health", start_block=0, checkpoint=checkpoint)
    async with aclosing(stream) as events:  # type: ignore[type-var]
        async for event in events:
            assert event.name == "directory.PolicyChanged"
            assert event.transaction_id == status.transaction_id
            assert event.block_number == status.block_number
            break
    numbers = [
        int(block.number)
        async for block in network.filtered_block_events(start_block=0, stop_block=2)
    ]
    assert numbers == [0, 1, 2]
    assert (await network.commit(status.transaction_id).status()).successful


async def test_the_chaincodes_own_error_reaches_the_caller(
    fabric: RealFabric, gateway: Gateway
) -> None:
    directory = gateway.network(fabric.channel).contract("health", "directory")
    with pytest.raises(EndorseError) as refused:
        await directory.submit("Bootstrap", MEMBERS)
    assert get_chaincode_answer(refused.value) == (
        409,
        "Conflict: the consortium is founded already; use SetOrganization or SetPolicy",
    )
    assert refused.value.details[0].msp_id == "Org1MSP"
    with pytest.raises(EvaluateError) as missing:
        await directory.evaluate("GetOrganization", "NobodyMSP")
    answer = get_chaincode_answer(missing.value)
    assert answer is not None
    assert answer[0] == 404


async def test_an_unknown_channel_is_told_by_stage(gateway: Gateway) -> None:
    with pytest.raises(EndorseError, match="nowhere"):
        await gateway.network("nowhere").contract("health").submit("x")
    with pytest.raises(CommitStatusError) as refused:
        await gateway.network("nowhere").commit("0" * 64).status(timeout=5)
    assert refused.value.refused


async def test_signing_elsewhere(fabric: RealFabric) -> None:
    first = fabric.organizations[0]
    signer = first.signer("Admin")
    async with Gateway.connect(endpoint=endpoint(first), identity=signer.creator) as gateway:
        contract = gateway.network(fabric.channel).contract("health", "directory")
        proposal = contract.proposal("ListOrganizations")
        signature = signer.sign(proposal.message.proposal.proposal_bytes)
        signed = gateway.open_proposal(proposal.bytes, signature)
        assert b"Org1MSP" in await signed.evaluate()
        transaction = await signed.endorse()
        signature = signer.sign(transaction.message.envelope.payload)
        commit = await gateway.open_transaction(transaction.bytes, signature).submit()
        signature = signer.sign(commit.message.request)
        status = await gateway.open_commit(commit.bytes, signature).status()
    assert status.successful


async def test_the_channels_of_a_peer(fabric: RealFabric) -> None:
    first = fabric.organizations[0]
    async with PeerClient(endpoint(first), first.signer("Admin")) as peer:
        assert await get_channels(peer) == [fabric.channel]
        info = await get_chain_info(peer, fabric.channel)
        newest = await fetch(peer, fabric.channel, "newest")
        assert newest.header.number >= info.height - 1
        assert (await fetch(peer, fabric.channel, "config")).header.number == 0
        with pytest.raises(ProposalRefusedError, match="Invalid chain ID, nowhere"):
            await get_chain_info(peer, "nowhere")
