"""The `health` chaincode on a real Fabric network: every contract answers a real peer.

The journey is a consortium's first: founding, a patient, a consent, a decision, an anchored record,
an access. Skipped, with the reason, where Fabric's binaries are not found.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.real_fabric import FabricCommandError, RealFabric
from tests.conformance.samples_network import wait_until_served
from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
PATIENT = secrets.token_hex(16)


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFabric]:
    folder = tmp_path_factory.mktemp("health")
    with RealFabric.start(folder) as network:
        package = network.package("health", f"127.0.0.1:{free_ports(1)[0]}")
        with (folder / "health.log").open("wb") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "chaincode"],
                cwd=ROOT,
                env=os.environ
                | {
                    "CHAINCODE_SERVER_ADDRESS": package.address,
                    "CHAINCODE_ID": package.package_id,
                    "CHAINCODE_TLS_DISABLED": "true",
                },
                stdout=log,
                stderr=log,
            )
        try:
            wait_until_served(package.address, server)
            network.deploy(package, policy="AND('Org1MSP.peer','Org2MSP.peer')")
            yield network
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(40) == 0


def invoke(fabric: RealFabric, transaction: str, *arguments: object) -> None:
    texts = [a if isinstance(a, str) else json.dumps(a) for a in arguments]
    fabric.invoke("health", [transaction, *texts])


def query(fabric: RealFabric, transaction: str, *arguments: object) -> Any:
    texts = [a if isinstance(a, str) else json.dumps(a) for a in arguments]
    return json.loads(fabric.query("health", [transaction, *texts]))


@pytest.fixture(scope="module")
def founded(fabric: RealFabric) -> RealFabric:
    """The consortium is founded and a patient registered, endorsed by both organisations."""
    organizations = [
        {"mspId": "Org1MSP", "name": "Org1", "role": "provider"},
        {"mspId": "Org2MSP", "name": "Org2", "role": "payer"},
    ]
    invoke(fabric, "directory:Bootstrap", organizations)
    invoke(fabric, "directory:RegisterPatient", {"handle": PATIENT})
    return fabric


def test_it_publishes_its_metadata(fabric: RealFabric) -> None:
    metadata = query(fabric, "org.hyperledger.fabric:GetMetadata")
    assert {"directory", "consent", "records", "claims", "audit"} <= set(metadata["contracts"])


def test_a_consortium_is_founded_and_read_back(founded: RealFabric) -> None:
    listed = query(founded, "directory:ListOrganizations")["organizations"]
    assert [o["mspId"] for o in listed] == ["Org1MSP", "Org2MSP"]
    assert query(founded, "directory:GetPatient", PATIENT)["custodian"] == "Org1MSP"


def test_a_decision_is_made(founded: RealFabric) -> None:
    decision = query(
        founded, "consent:Evaluate", {"patient": PATIENT, "purpose": "TREAT", "action": "access"}
    )
    assert decision["verdict"] == "NOT_APPLICABLE"


def test_a_refusal_reaches_the_caller_with_its_reason(founded: RealFabric) -> None:
    with pytest.raises(FabricCommandError, match="NotFound"):
        query(founded, "directory:GetPatient", "0" * 32)
    with pytest.raises(FabricCommandError, match="attribute role="):
        invoke(
            founded,
            "records:Anchor",
            {
                "record": secrets.token_hex(16),
                "patient": PATIENT,
                "commitment": "11" * 32,
                "size": 100,
                "locator": "22" * 32,
            },
        )


def test_every_contract_answers(founded: RealFabric) -> None:
    """A wrong call is answered by the contract itself, not by a fault."""
    for transaction in ("consent:Get", "records:Get", "claims:Get", "directory:GetPatient"):
        with pytest.raises(FabricCommandError, match=r"InvalidArgument|NotFound"):
            query(founded, transaction, "f" * 32)
    with pytest.raises(FabricCommandError, match="Denied"):
        query(founded, "audit:Trail", PATIENT)
