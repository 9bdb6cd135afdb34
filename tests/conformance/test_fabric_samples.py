"""The gateway applications of Fabric's samples, unmodified, on our embedded network.

Applications and chaincodes are the samples' own (`samples_network` tells where they come from); the
chaincodes run as services under Fabric's Node shim.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.samples_network import (
    SamplesNetwork,
    build,
    find_samples,
    linked,
    read_collections,
    running_samples_network,
)

pytestmark = pytest.mark.network


ANYONE = "OR('Org1MSP.peer','Org2MSP.peer')"
"""The policy with which the samples' own instructions deploy what uses private data."""


@pytest.fixture(scope="module")
def samples() -> Path:
    return find_samples()


@pytest.fixture(scope="module")
def network(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamplesNetwork]:
    with (
        running_samples_network(tmp_path_factory.mktemp("samples")) as network,
        linked(samples, network),
    ):
        yield network


@pytest.fixture(scope="module")
def basic(samples: Path, network: SamplesNetwork) -> None:
    network.deploy("basic", build(samples / "asset-transfer-basic" / "chaincode-typescript"))


@pytest.mark.usefixtures("basic")
@pytest.mark.parametrize(
    ("application", "program"),
    [
        ("application-gateway-typescript", "dist/app.js"),
        ("application-gateway-javascript", "src/app.js"),
    ],
)
def test_asset_transfer_basic(
    application: str, program: str, samples: Path, network: SamplesNetwork
) -> None:
    folder = build(samples / "asset-transfer-basic" / application)
    printed = network.run(folder, "node", program)
    for step in (
        "InitLedger, function creates the initial set of assets",
        "GetAllAssets, function returns all the current assets",
        "CreateAsset, creates new asset",
        "TransferAsset",
        "ReadAsset, function returns asset attributes",
        "Successfully caught the error",
    ):
        assert step in printed
    assert printed.count("*** Transaction committed successfully") == 3
    assert "The asset asset70 does not exist" in printed


@pytest.mark.usefixtures("basic")
def test_off_chain_data(samples: Path, network: SamplesNetwork, tmp_path: Path) -> None:
    """Transactions in parallel; then what a listener has read off the blocks is what is there."""
    folder = build(samples / "off_chain_data" / "application-typescript")
    store = tmp_path / "store.log"
    places = {"STORE_FILE": str(store), "CHECKPOINT_FILE": str(tmp_path / "checkpoint.json")}
    # By default it looks for the name that fabric-ca-client gives certificates.
    places["CERT_PATH"] = str(network.certificate("Org1", "User1"))
    network.run(folder, "node", "dist/app.js", "transact", **places)
    network.run(folder, "node", "dist/app.js", "listen", SIMULATED_FAILURE_COUNT="5", **places)
    printed = network.run(folder, "node", "dist/app.js", "getAllAssets", **places)
    expected = sorted(json.loads(printed[printed.index("[") :]), key=lambda asset: asset["ID"])
    assert expected
    network.run_until(
        lambda: read_assets(store) == expected, folder, "node", "dist/app.js", "listen", **places
    )


def read_assets(store: Path) -> list[dict[str, object]]:
    """The assets that the writes in the listener's file leave, by id."""
    state: dict[str, dict[str, object]] = {}
    for line in store.read_text().splitlines():
        write = json.loads(line)
        if write["isDelete"]:
            state.pop(write["key"], None)
        else:
            state[write["key"]] = json.loads(write["value"])
    return [state[key] for key in sorted(state)]


def test_asset_transfer_events(samples: Path, network: SamplesNetwork) -> None:
    folder = samples / "asset-transfer-events"
    network.deploy("events", build(folder / "chaincode-javascript"), endorsement=ANYONE)
    printed = network.run(build(folder / "application-gateway-typescript"), "node", "dist/app.js")
    assert "*** Start chaincode event listening" in printed
    assert "*** Start chaincode event replay" in printed
    for event in ("CreateAsset", "UpdateAsset", "TransferAsset", "DeleteAsset"):
        assert f"<-- Chaincode event received: {event}" in printed
        assert f"<-- Chaincode event replayed: {event}" in printed


def test_asset_transfer_private_data(samples: Path, network: SamplesNetwork) -> None:
    folder = samples / "asset-transfer-private-data"
    chaincode = build(folder / "chaincode-typescript")
    collections = read_collections(chaincode / "collections_config.json")
    network.deploy("private", chaincode, collections, ANYONE)
    printed = network.run(build(folder / "application-gateway-typescript"), "node", "dist/app.js")
    for step in (
        "Attempt TransferAsset without prior AgreeToTransfer",
        "Submit Transaction: AgreeToTransfer",
        "Attempt DeleteAsset using non-owner organization",
        "Submit Transaction: PurgeAsset",
    ):
        assert step in printed
    assert printed.count("*** Received expected error") == 2
