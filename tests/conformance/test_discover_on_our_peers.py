"""Fabric's own `discover` program reads our peers' discovery service.

Needs `discover` (FABRIC_BIN or PATH); skips elsewhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from tests.fabric_binaries import fabric_binary
from tests.simulator import CHANNEL, Collection, Definition, Network, running_network

pytestmark = [pytest.mark.network, pytest.mark.asyncio(loop_scope="module")]

PEERS = {"Alpha": 2, "Beta": 1, "Gamma": 1}
COLLECTIONS = [
    Collection("pair", ["Alpha", "Beta"]),
    Collection("gamma", ["Gamma"]),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["tls", "mutual tls"])
async def network(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Network]:
    fabric_binary("discover")
    settings = {"CORE_PEER_TLS_CLIENTAUTHREQUIRED": "true"} if request.param != "tls" else {}
    folder = tmp_path_factory.mktemp("discover")
    async with running_network(folder, PEERS, **settings) as running:
        await running.deploy(
            Definition(policy="AND('AlphaMSP.peer','BetaMSP.peer')", collections=COLLECTIONS)
        )
        yield running


async def discover(
    network: Network, command: Sequence[str], user: str = "User1", *, fails: bool = False
) -> Any:
    """What the program prints: parsed JSON, or the text when it fails."""
    organization = network.topology.organization("Alpha")
    node = network.node("peer0.alpha.example")
    msp = network.folders.user_msp(organization, user)
    tls = network.folders.user_tls(organization, user)
    process = await asyncio.create_subprocess_exec(
        str(fabric_binary("discover")),
        *("--peerTLSCA", str(network.folders.node_tls(node) / "ca.crt")),
        *("--tlsCert", str(tls / "client.crt"), "--tlsKey", str(tls / "client.key")),
        *("--userKey", str(next((msp / "keystore").iterdir()))),
        *("--userCert", str(next((msp / "signcerts").iterdir()))),
        *("--MSP", organization.msp_id, *command, "--server", f"127.0.0.1:{node.port}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode != 0) is fails, (output + errors).decode()
    return (output + errors).decode() if fails else json.loads(output)


def addresses(network: Network) -> dict[str, str]:
    return {name: f"127.0.0.1:{network.node(name).port}" for name in network.peer_names}


async def test_peers(network: Network) -> None:
    found = await discover(network, ["peers", "--channel", CHANNEL])
    assert {peer["Endpoint"] for peer in found} == set(addresses(network).values())
    for peer in found:
        assert peer["Chaincodes"] == ["demo"]
        assert (
            peer["LedgerHeight"] == network.peers["peer0.alpha.example"].channels.joined[0].height
        )
        assert "BEGIN CERTIFICATE" in peer["Identity"]


async def test_local_peers_are_for_administrators(network: Network) -> None:
    found = await discover(network, ["peers"], "Admin")
    assert {peer["MSPID"] for peer in found} == {"AlphaMSP", "BetaMSP", "GammaMSP"}
    assert "access denied" in await discover(network, ["peers"], fails=True)


async def test_config(network: Network) -> None:
    found = await discover(network, ["config", "--channel", CHANNEL])
    assert set(found["msps"]) == {"OfficeMSP", "AlphaMSP", "BetaMSP", "GammaMSP"}
    assert found["msps"]["AlphaMSP"]["fabric_node_ous"]["enable"] is True
    orderer = next(node for node in network.topology.nodes() if node.kind.value == "orderer")
    assert found["orderers"] == {
        "OfficeMSP": {"endpoint": [{"host": "127.0.0.1", "port": orderer.port}]}
    }


async def test_endorsers_of_a_chaincode(network: Network) -> None:
    found = (await discover(network, ["endorsers", "--channel", CHANNEL, "--chaincode", "demo"]))[0]
    assert found["Chaincode"] == "demo"
    [layout] = found["Layouts"]
    assert sorted(layout["quantities_by_group"].values()) == [1, 1]
    groups = {
        frozenset(peer["MSPID"] for peer in peers): {peer["Endpoint"] for peer in peers}
        for peers in found["EndorsersByGroups"].values()
    }
    where = addresses(network)
    assert groups == {
        frozenset({"AlphaMSP"}): {where["peer0.alpha.example"], where["peer1.alpha.example"]},
        frozenset({"BetaMSP"}): {where["peer0.beta.example"]},
    }


async def test_a_collection_that_no_endorser_may_read(network: Network) -> None:
    command = ["endorsers", "--channel", CHANNEL, "--chaincode", "demo"]
    pair = await discover(network, [*command, "--collection", "demo:pair"])
    assert len(pair[0]["EndorsersByGroups"]) == 2
    refused = await discover(network, [*command, "--collection", "demo:gamma"], fails=True)
    assert "failed constructing descriptor for" in refused
    # Written, not read: who endorses need not be a member.
    written = [*command, "--collection", "demo:gamma", "--noPrivateReads", "demo"]
    assert len((await discover(network, written))[0]["EndorsersByGroups"]) == 2


async def test_unknown_channels_and_chaincodes(network: Network) -> None:
    unknown = ["--channel", "elsewhere"]
    assert "access denied" in await discover(network, ["config", *unknown], fails=True)
    command = ["endorsers", "--channel", CHANNEL, "--chaincode", "nothing"]
    refused = await discover(network, command, fails=True)
    assert 'failed constructing descriptor for chaincodes:{name:"nothing"}' in refused
