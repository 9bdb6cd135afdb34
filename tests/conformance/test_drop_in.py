"""Our nodes in place of `orderer` and `peer node start`: Fabric's own programs do every step.

Three member organisations with five peers, three orderers. Needs Fabric's programs and its sample
core.yaml and orderer.yaml (see `real_fabric`); skips elsewhere. Takes about two minutes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.drop_in_network import (
    CHANNEL,
    FOUNDERS,
    ORDERERS,
    PEERS,
    CommandFailed,
    DropIn,
    drop_in_network,
)
from tests.conformance.served import Served
from tests.ports import free_ports

pytestmark = pytest.mark.network


@pytest.fixture
def network(tmp_path: Path) -> Iterator[DropIn]:
    with drop_in_network(tmp_path) as running:
        yield running


def test_fabrics_programs_do_a_networks_whole_life(network: DropIn, tmp_path: Path) -> None:
    join(network)
    package = network.package("stub", f"127.0.0.1:{free_ports(1)[0]}")
    server = Served(package, tmp_path)
    try:
        deploy(network, package.path, package.package_id)
        # Without anchor peers so far: an organisation's own peers meet by peer.gossip.bootstrap.
        use(network)
        set_anchor_peers(network)
        stop_and_start(network)
        add_org3(network, package.path, package.package_id)
        set_batch_size(network)
        change_the_leader(network)
        use_at_the_end(network)
    finally:
        server.stop()
    for node in network.nodes.values():
        node.stop()


def join(network: DropIn) -> None:
    block = ["--channelID", CHANNEL, "--config-block", "channel.block"]
    for number in range(ORDERERS):
        info = network.osnadmin(number, "join", *block)
        assert (info["Status"], info["status"]) == ("201", "active")
        assert info["consensusRelation"] == "consenter"
    for org in FOUNDERS:
        for at in range(PEERS[org]):
            network.peer(org, "channel", "join", "-b", "channel.block", at=at)
            assert CHANNEL in network.peer(org, "channel", "list", at=at)


def set_anchor_peers(network: DropIn) -> None:
    for number, org in enumerate(FOUNDERS):
        config = network.fetch_config(number)
        group = config["channel_group"]["groups"]["Application"]["groups"][f"{org}MSP"]
        group["values"]["AnchorPeers"] = {
            "mod_policy": "Admins",
            "value": {
                "anchor_peers": [{"host": "127.0.0.1", "port": network.listening[f"peer0.{org}"]}]
            },
            "version": "0",
        }
        network.update(config, [], sender=org, number=number)


def deploy(network: DropIn, package: Path, package_id: str) -> None:
    definition = ["--channelID", CHANNEL, "--name", "stub", "--version", "1", "--sequence", "1"]
    lifecycle = ("lifecycle", "chaincode")
    for number, org in enumerate(FOUNDERS):
        for at in range(PEERS[org]):
            network.peer(org, *lifecycle, "install", str(package), at=at)
            assert package_id in network.peer(org, *lifecycle, "queryinstalled", at=at)
        network.submit(
            org, *lifecycle, "approveformyorg", "--package-id", package_id, *definition,
            number=number,
        )  # fmt: skip
    ready = network.peer(
        "Org1", *lifecycle, "checkcommitreadiness", *definition, "--output", "json"
    )
    assert json.loads(ready)["approvals"] == {"Org1MSP": True, "Org2MSP": True}
    network.submit(
        "Org1", *lifecycle, "commit", *definition, *network.endorsers(*FOUNDERS), number=2
    )
    committed = network.peer("Org2", *lifecycle, "querycommitted", "-C", CHANNEL, "-n", "stub")
    assert "Org1MSP: true, Org2MSP: true" in committed


def use(network: DropIn) -> None:
    for number in range(ORDERERS):
        network.invoke("Org1", "stub:Put", f"key{number}", f"value{number}", number=number)
    for org in FOUNDERS:
        for at in range(PEERS[org]):
            wait_for_height(network, org, at, network.height("Org1"))
            assert network.query(org, "stub:Get", "key2", at=at) == "value2"


def stop_and_start(network: DropIn) -> None:
    """One peer an organisation is killed, an orderer stopped; the others go on."""
    network.nodes["peer1.Org1"].kill()
    network.nodes["peer0.Org2"].stop()
    network.nodes["orderer1"].kill()
    network.submit(
        "Org1", "chaincode", "invoke", "-C", CHANNEL, "-n", "stub", "--waitForEvent",
        "-c", '{"Args":["stub:Put","meanwhile","yes"]}',
        *network.endorsers("Org1"), *network.endorsers("Org2", at=1), number=2,
    )  # fmt: skip
    with pytest.raises(CommandFailed):
        network.query("Org2", "stub:Get", "meanwhile")
    for name in ("orderer1", "peer1.Org1", "peer0.Org2"):
        network.nodes[name].start()
    for org, at in (("Org1", 1), ("Org2", 0)):
        wait_for_height(network, org, at, network.height("Org1"))
        assert network.query(org, "stub:Get", "meanwhile", at=at) == "yes"
    # The leader away: Fabric's programs are told so, and nothing is lost.
    network.nodes["orderer0"].kill()
    with pytest.raises(CommandFailed, match=r"no Raft leader|SERVICE_UNAVAILABLE"):
        network.invoke("Org1", "stub:Put", "lost", "yes", number=1)
    network.nodes["orderer0"].start()
    wait_until_ordered(network, "found", 1)


def add_org3(network: DropIn, package: Path, package_id: str) -> None:
    profile = {"Organizations": [network.describe_org("Org3")]}
    folder = network.folder / "org3"
    folder.mkdir()
    (folder / "configtx.yaml").write_text(json.dumps(profile))
    printed = network.run("configtxgen", "-configPath", str(folder), "-printOrg", "Org3MSP")
    group = json.loads(printed[printed.index("{") : printed.rindex("}") + 1])
    config = network.fetch_config()
    config["channel_group"]["groups"]["Application"]["groups"]["Org3MSP"] = group
    network.update(config, ["Org1"], sender="Org2", number=1)
    network.nodes["peer0.Org3"].start()
    network.submit("Org3", "channel", "fetch", "0", "genesis.block", "-c", CHANNEL, number=2)
    network.peer("Org3", "channel", "join", "-b", "genesis.block")
    wait_for_height(network, "Org3", 0, network.height("Org1"))
    lifecycle = ("lifecycle", "chaincode")
    network.peer("Org3", *lifecycle, "install", str(package))
    network.submit(
        "Org3", *lifecycle, "approveformyorg", "--package-id", package_id,
        "--channelID", CHANNEL, "--name", "stub", "--version", "1", "--sequence", "1",
    )  # fmt: skip
    assert network.query("Org3", "stub:Get", "meanwhile") == "yes"


def set_batch_size(network: DropIn) -> None:
    config = network.fetch_config(2)
    values = config["channel_group"]["groups"]["Orderer"]["values"]
    values["BatchSize"]["value"]["max_message_count"] = 77
    network.update(config, ["Orderer"], sender="Org1", number=2)
    values = network.fetch_config()["channel_group"]["groups"]["Orderer"]["values"]
    assert values["BatchSize"]["value"]["max_message_count"] == 77


def change_the_leader(network: DropIn) -> None:
    config = network.fetch_config()
    values = config["channel_group"]["groups"]["Orderer"]["values"]
    consenters = values["ConsensusType"]["value"]["metadata"]["consenters"]
    consenters.insert(0, consenters.pop())
    network.update(config, ["Orderer"], sender="Org1")
    wait_until_ordered(network, "after", 0)
    network.nodes["orderer0"].kill()
    wait_until_ordered(network, "without", 1)
    network.nodes["orderer0"].start()


def use_at_the_end(network: DropIn) -> None:
    network.invoke("Org2", "stub:Put", "last", "one")
    height = network.height("Org1")
    for org, count in PEERS.items():
        for at in range(count):
            wait_for_height(network, org, at, height)
            assert network.query(org, "stub:Get", "last", at=at) == "one"
    for number in range(ORDERERS):
        info = network.osnadmin(number, "list", "--channelID", CHANNEL)
        assert (info["Status"], info["status"]) == ("200", "active")


def wait_for_height(network: DropIn, org: str, at: int, height: int) -> None:
    """An organisation just added may not even ask before its peer has the block that adds it."""
    end = time.monotonic() + 30
    while True:
        try:
            if network.height(org, at) >= height:
                return
        except CommandFailed:
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end
        time.sleep(0.2)


def wait_until_ordered(network: DropIn, key: str, number: int) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            network.invoke("Org1", "stub:Put", key, "yes", number=number)
            return
        except CommandFailed:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)
