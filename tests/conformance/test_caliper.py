"""Hyperledger Caliper with its Fabric connector, unmodified, benches our embedded network.

CALIPER names a folder where `@hyperledger/caliper-cli` is installed and bound with
`npx caliper bind --caliper-bind-sut fabric:fabric-gateway`; FABRIC_SAMPLES a checkout of Fabric's
samples, whose chaincode asset-transfer-basic is used. Skipped, with the reason, without either.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conformance.samples_network import (
    CHANNEL,
    SamplesNetwork,
    running_samples_network,
)
from tests.conformance.samples_programs import build, find_samples

pytestmark = pytest.mark.network

WORKLOAD = Path(__file__).parent / "caliper" / "workload.js"
WRITES, READS = 20, 40


@pytest.fixture(scope="module")
def caliper() -> Path:
    """The folder with Caliper."""
    named = os.environ.get("CALIPER")
    if not named:
        pytest.skip("CALIPER does not name a folder with @hyperledger/caliper-cli")
    packages = Path(named) / "node_modules" / "@hyperledger"
    for name in ("caliper-cli", "caliper-fabric", "fabric-gateway"):
        if not (packages / name).is_dir():
            pytest.skip(f"{named} (CALIPER) lacks @hyperledger/{name}")
    return Path(named)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamplesNetwork]:
    samples = find_samples()
    with running_samples_network(tmp_path_factory.mktemp("caliper")) as network:
        network.deploy("basic", build(samples / "asset-transfer-basic" / "chaincode-typescript"))
        yield network


def describe_network(network: SamplesNetwork) -> dict[str, Any]:
    """Caliper's network configuration of our network."""
    org1 = network.organizations / "peerOrganizations" / "org1.example.com"
    user = org1 / "users" / "User1@org1.example.com" / "msp"
    (key,) = (user / "keystore").iterdir()
    return {
        "name": "Medfabric",
        "version": "2.0.0",
        "caliper": {"blockchain": "fabric"},
        "channels": [{"channelName": CHANNEL, "contracts": [{"id": "basic"}]}],
        "organizations": [
            {
                "mspid": "Org1MSP",
                "identities": {
                    "certificates": [
                        {
                            "name": "User1",
                            "clientPrivateKey": {"path": str(key)},
                            "clientSignedCert": {"path": str(network.certificate("Org1", "User1"))},
                        }
                    ]
                },
                "peers": [
                    {
                        "endpoint": "localhost:7051",
                        "grpcOptions": {"grpc.ssl_target_name_override": "peer0.org1.example.com"},
                        "tlsCACerts": {
                            "path": str(org1 / "peers" / "peer0.org1.example.com/tls/ca.crt")
                        },
                    }
                ],
            }
        ],
    }


def describe_rounds() -> dict[str, Any]:
    """Two rounds by two workers: creating assets, then reading them."""

    def describe(label: str, count: int, reads: bool) -> dict[str, Any]:
        return {
            "label": label,
            "txNumber": count,
            "rateControl": {"type": "fixed-load", "opts": {"transactionLoad": 5}},
            "workload": {
                "module": WORKLOAD.name,
                "arguments": {"contract": "basic", "reads": reads},
            },
        }

    rounds = [describe("create", WRITES, False), describe("read", READS, True)]
    return {"test": {"name": "assets", "workers": {"number": 2}, "rounds": rounds}}


def test_caliper_benches_our_network(
    caliper: Path, network: SamplesNetwork, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    # Beside the workload, so that it finds caliper-core.
    (workspace / "node_modules").symlink_to(caliper / "node_modules")
    shutil.copy(WORKLOAD, workspace)
    (workspace / "network.yaml").write_text(yaml.safe_dump(describe_network(network)))
    (workspace / "rounds.yaml").write_text(yaml.safe_dump(describe_rounds()))
    printed = network.run(
        workspace,
        *("npx", "caliper", "launch", "manager", "--caliper-workspace", "."),
        *("--caliper-networkconfig", "network.yaml", "--caliper-benchconfig", "rounds.yaml"),
        "--caliper-flow-only-test",
    )
    assert (workspace / "report.html").is_file()
    results = dict(re.findall(r"^\| (create|read) +\| (\d+ +\| \d+) ", printed, re.MULTILINE))
    counts = {label: [int(n) for n in row.split("|")] for label, row in results.items()}
    assert counts == {"create": [WRITES, 0], "read": [READS, 0]}, printed[-3000:]
