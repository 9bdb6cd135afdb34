"""A real Fabric network as an operator's command line of ours sees it.

    with RealFabric.start(tmp_path / "fabric") as fabric:
        care = operate(fabric, tmp_path / "operator")
        care.run("channel", "config")

A network file that describes it, with cryptogen's folder where our own keys would be.
"""

from pathlib import Path

import yaml

from tests.conformance.real_fabric import Organization, RealFabric
from tests.journeys.care import Care

NAME = "real"


def operate(fabric: RealFabric, folder: Path) -> Care:
    """The folder holds a network file for the network and links to its keys."""
    ours = folder / ".medfabric" / NAME
    ours.mkdir(parents=True)
    (ours / "organizations").symlink_to(fabric.folder / "crypto")
    describe(fabric, folder, fabric.organizations)
    return Care(folder)


def describe(fabric: RealFabric, folder: Path, members: tuple[Organization, ...]) -> None:
    """The network file names these members."""
    orderer = {
        "name": "Orderer",
        "mspId": "OrdererMSP",
        "domain": "example.com",
        "role": "orderer",
        "orderers": [
            {"name": "orderer", "port": fabric.orderer_port, "adminPort": fabric.admin_port}
        ],
    }
    peers = [
        {
            "name": one.name,
            "mspId": one.msp_id,
            "domain": one.domain,
            "role": "provider",
            "peers": [
                {
                    "name": "peer0",
                    "port": one.peer_port,
                    "operationsPort": one.operations_port,
                }
            ],
            "chaincode": {"port": one.chaincode_port},
        }
        for one in members
    ]
    network = {
        "version": 1,
        "name": NAME,
        "organizations": [orderer, *peers],
        "channels": [
            {
                "name": fabric.channel,
                "orderers": ["Orderer"],
                "members": [one.name for one in members],
            }
        ],
    }
    (folder / "network.yaml").write_text(yaml.safe_dump(network, sort_keys=False))
