"""The consortium's own keys change with a majority's endorsement, on real Fabric's word.

The chaincode's policy is content with one organisation; the key-level policy that `Bootstrap` puts
on the consortium's keys is not. Real peers judge: too few endorsements are
ENDORSEMENT_POLICY_FAILURE and change nothing; and a gateway, Fabric's or ours, finds by itself who
must endorse. Skipped, with the reason, where Fabric's binaries are not found.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from network.client import Gateway
from network.client.endpoint import Endpoint
from network.client.errors import CommitError
from tests.conformance.real_fabric import FabricCommandError, RealFabric
from tests.conformance.served import ANYONE, Served
from tests.ports import free_ports

ORGANIZATIONS = [
    {"mspId": "Org1MSP", "name": "Org1", "role": "provider"},
    {"mspId": "Org2MSP", "name": "Org2", "role": "payer"},
]
NEWCOMER = {"mspId": "Org3MSP", "name": "Org3", "role": "regulator", "endorses": False}
GOSSIP_SECONDS = 60.0
START_SECONDS = 60.0


@pytest.fixture(
    scope="module",
    params=[frozenset(), frozenset({"Org1"})],
    ids=["fabrics-gateway", "our-gateway"],
)
def fabric(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealFabric]:
    """Two organisations with real peers; in the second run the first one's is ours."""
    folder = tmp_path_factory.mktemp("majority")
    ours = frozenset({request.param} - {""})
    with RealFabric.start(folder, ours=ours) as network:
        package = network.package("health", f"127.0.0.1:{free_ports(1)[0]}")
        server = Served(
            package, folder, place="chaincode.health:chaincode", CHAINCODE_TLS_DISABLED="true"
        )
        try:
            network.deploy(package, policy=ANYONE)
            wait_for(package.address)
            network.invoke("health", ["directory:Bootstrap", json.dumps(ORGANIZATIONS)])
            yield network
        finally:
            server.stop()


def wait_for(address: str) -> None:
    """Until somebody listens there: a busy machine takes its time to start a server."""
    host, _, port = address.partition(":")
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


def read(fabric: RealFabric, transaction: str, *, organization: int = 1) -> Any:
    return json.loads(fabric.query("health", [transaction], organization=organization))


def count_members(fabric: RealFabric) -> int:
    return len(read(fabric, "directory:ListOrganizations")["organizations"])


def change_policy(fabric: RealFabric, minutes: int) -> str:
    held = read(fabric, "directory:GetPolicy")
    return json.dumps(held | {"breakGlassMinutes": minutes})


@pytest.mark.parametrize("endorser", [0, 1])
def test_one_of_two_cannot_change_the_policy(fabric: RealFabric, endorser: int) -> None:
    before = read(fabric, "directory:GetPolicy")
    change = change_policy(fabric, 45)
    with pytest.raises(FabricCommandError, match="ENDORSEMENT_POLICY_FAILURE"):
        fabric.invoke("health", ["directory:SetPolicy", change], endorsers=[endorser])
    assert read(fabric, "directory:GetPolicy") == before


def test_one_of_two_cannot_bring_in_a_newcomer(fabric: RealFabric) -> None:
    """Whose key has no policy yet: the consortium's own key is what guards it."""
    before = count_members(fabric)
    change = json.dumps(NEWCOMER)
    with pytest.raises(FabricCommandError, match="ENDORSEMENT_POLICY_FAILURE"):
        fabric.invoke("health", ["directory:SetOrganization", change], endorsers=[0])
    assert count_members(fabric) == before


def test_a_majority_can(fabric: RealFabric) -> None:
    held = read(fabric, "directory:GetPolicy")
    fabric.invoke("health", ["directory:SetPolicy", change_policy(fabric, 30)])
    changed = read(fabric, "directory:GetPolicy")
    assert (changed["version"], changed["breakGlassMinutes"]) == (held["version"] + 1, 30)
    fabric.invoke("health", ["directory:SetOrganization", json.dumps(NEWCOMER)])
    assert count_members(fabric) == 3


async def test_the_gateway_finds_the_endorsers(fabric: RealFabric) -> None:
    """It asks one peer, learns from its answer which keys' policies count, and asks the others."""
    first = fabric.organizations[0]
    place = Endpoint(first.peer_address, first.tls_root.read_bytes(), first.peer_host)
    held = read(fabric, "directory:GetPolicy")
    async with Gateway.connect(endpoint=place, signer=first.signer("Admin")) as gateway:
        contract = gateway.network(fabric.channel).contract("health", "directory")
        deadline = time.monotonic() + GOSSIP_SECONDS
        while True:  # real peers gossip for some seconds before one knows the other
            try:
                change = change_policy(fabric, 20)
                status = await contract.submit("SetPolicy", change)
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
        assert status.successful
        with pytest.raises(CommitError, match="ENDORSEMENT_POLICY_FAILURE"):
            await contract.submit(
                "SetPolicy", change_policy(fabric, 10), organizations=("Org1MSP",)
            )
    changed = read(fabric, "directory:GetPolicy")
    assert changed["breakGlassMinutes"] == 20
    assert changed["version"] == held["version"] + 1
