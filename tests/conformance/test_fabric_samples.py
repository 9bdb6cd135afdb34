"""The gateway applications of Fabric's samples, unmodified, on our embedded network.

Applications and chaincodes are the samples' own (`samples_programs` tells where they come from);
the chaincodes run as services under Fabric's Node shim. Those in Go are built beforehand, or by the
`go` on the PATH.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from tests.conformance.samples_network import (
    SamplesNetwork,
    running_samples_network,
)
from tests.conformance.samples_programs import (
    build,
    build_go,
    build_native,
    find_samples,
    linked,
    read_collections,
)
from tests.conformance.softhsm import import_key, shown_certificate

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


def command(application: Path) -> tuple[str, ...]:
    """How an application is run in its folder."""
    if (application / "go.mod").exists():
        return (str(build_go(application)),)
    program = "dist/app.js" if (application / "tsconfig.json").exists() else "src/app.js"
    build(application)
    return "node", program


@pytest.mark.usefixtures("basic")
@pytest.mark.parametrize(
    "application",
    ["application-gateway-go", "application-gateway-typescript", "application-gateway-javascript"],
)
def test_asset_transfer_basic(application: str, samples: Path, network: SamplesNetwork) -> None:
    folder = samples / "asset-transfer-basic" / application
    printed = network.run(folder, *command(folder))
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
def test_the_rest_api_in_go(samples: Path, network: SamplesNetwork) -> None:
    """An HTTP server at its own port, 3000, that is a client of the gateway."""
    folder = samples / "asset-transfer-basic" / "rest-api-go"
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 3000), 1):
        pytest.skip("the sample's port 3000 is taken")
    with network.serving(folder, "127.0.0.1:3000", *command(folder)):
        asset = f"rest{time.time_ns()}"
        called = [("channelid", "mychannel"), ("chaincodeid", "basic")]
        arguments = [("args", part) for part in (asset, "yellow", "54", "Tom", "13005")]
        body = urllib.parse.urlencode([*called, ("function", "CreateAsset"), *arguments])
        assert fetch("http://localhost:3000/invoke", body).startswith("Transaction ID : ")
        query = urllib.parse.urlencode([*called, ("function", "ReadAsset"), ("args", asset)])
        told = fetch(f"http://localhost:3000/query?{query}")
        end = time.monotonic() + 60
        while not told.startswith("Response: "):  # its invoke does not wait for the commit
            assert time.monotonic() < end, told
            time.sleep(0.1)
            told = fetch(f"http://localhost:3000/query?{query}")
        assert json.loads(told.removeprefix("Response: "))["Owner"] == "Tom"
        query = urllib.parse.urlencode([*called, ("function", "ReadAsset"), ("args", "nothing")])
        assert "Error: " in fetch(f"http://localhost:3000/query?{query}")


def fetch(address: str, body: str | None = None) -> str:
    """What a server answers."""
    data = body.encode() if body is not None else None
    with urllib.request.urlopen(address, data, timeout=60) as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.usefixtures("basic")
@pytest.mark.parametrize("application", ["application-go", "application-typescript"])
def test_off_chain_data(
    application: str, samples: Path, network: SamplesNetwork, tmp_path: Path
) -> None:
    """Transactions in parallel; then what a listener has read off the blocks is what is there."""
    folder = samples / "off_chain_data" / application
    program = command(folder)
    store = tmp_path / "store.log"
    places = {"STORE_FILE": str(store), "CHECKPOINT_FILE": str(tmp_path / "checkpoint.json")}
    network.run(folder, *program, "transact", **places)
    network.run(folder, *program, "listen", SIMULATED_FAILURE_COUNT="5", **places)
    printed = network.run(folder, *program, "getAllAssets", **places)
    shown = json.loads(printed[printed.index("[") :])
    assert shown
    # The application in Go knows some fields of an asset only, and not all assets have the others.
    known = set.intersection(*(set(asset) for asset in shown))
    expected = {asset["ID"]: {name: asset[name] for name in known} for asset in shown}
    network.run_until(
        lambda: read_assets(store, known) == expected, folder, *program, "listen", **places
    )


def read_assets(store: Path, known: Collection[str]) -> dict[str, dict[str, object]]:
    """The assets that the writes in the listener's file leave, by id, with the fields known."""
    state: dict[str, dict[str, object]] = {}
    for line in store.read_text().splitlines():
        write = json.loads(line)
        if write["isDelete"]:
            state.pop(write["key"], None)
        else:
            asset = json.loads(write["value"])
            state[write["key"]] = {name: asset[name] for name in known}
    return state


@pytest.fixture(scope="module")
def events(samples: Path, network: SamplesNetwork) -> None:
    folder = samples / "asset-transfer-events"
    network.deploy("events", build(folder / "chaincode-javascript"), endorsement=ANYONE)


@pytest.fixture(scope="module")
def private(samples: Path, network: SamplesNetwork) -> None:
    chaincode = build(samples / "asset-transfer-private-data" / "chaincode-typescript")
    collections = read_collections(chaincode / "collections_config.json")
    network.deploy("private", chaincode, collections, ANYONE)


GATEWAY_APPLICATIONS = ("application-gateway-go", "application-gateway-typescript")


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize("application", GATEWAY_APPLICATIONS)
def test_asset_transfer_events(application: str, samples: Path, network: SamplesNetwork) -> None:
    folder = samples / "asset-transfer-events" / application
    printed = network.run(folder, *command(folder))
    assert "*** Start chaincode event listening" in printed
    assert "*** Start chaincode event replay" in printed
    for event in ("CreateAsset", "UpdateAsset", "TransferAsset", "DeleteAsset"):
        assert f"<-- Chaincode event received: {event}" in printed
        assert f"<-- Chaincode event replayed: {event}" in printed


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("application", GATEWAY_APPLICATIONS)
def test_asset_transfer_private_data(
    application: str, samples: Path, network: SamplesNetwork
) -> None:
    folder = samples / "asset-transfer-private-data" / application
    printed = run_at_even_peers(network, folder)
    for step in (
        "Attempt TransferAsset without prior AgreeToTransfer",
        "Submit Transaction: AgreeToTransfer",
        "Attempt DeleteAsset using non-owner organization",
        "Submit Transaction: PurgeAsset",
    ):
        assert step in printed
    assert printed.count("*** Received expected error") == 2


def run_at_even_peers(network: SamplesNetwork, folder: Path) -> str:
    """What a sample printed that waits for one organisation's peer and reads at the other's.

    Where that one is the slower, it ends with what is not there yet, on Fabric's peers as on ours;
    it makes assets of its own each time, so that it can be run again.
    """
    for _ in range(4):
        with contextlib.suppress(AssertionError):
            return network.run(folder, *command(folder))
    return network.run(folder, *command(folder))


def test_the_trader_of_the_full_stack_guide(samples: Path, network: SamplesNetwork) -> None:
    guide = samples / "full-stack-asset-transfer-guide"
    network.deploy("asset-transfer", build(guide / "contracts" / "asset-transfer-typescript"))
    folder = guide / "applications" / "trader-typescript"
    program = command(folder)
    organization = network.logs / "organizations" / "peerOrganizations" / "org1.example.com"
    user = organization / "users" / "User1@org1.example.com" / "msp"
    (key,) = (user / "keystore").iterdir()
    places = {
        "ENDPOINT": "localhost:7051",
        "MSP_ID": "Org1MSP",
        "CERTIFICATE": str(user / "signcerts" / "cert.pem"),
        "PRIVATE_KEY": str(key),
        "TLS_CERT": str(organization / "peers" / "peer0.org1.example.com" / "tls" / "ca.crt"),
        "HOST_ALIAS": "peer0.org1.example.com",
    }
    asset = f"trade{time.time_ns()}"
    network.run(folder, *program, "create", asset, "Anna", "red", **places)
    assert "Anna" in network.run(folder, *program, "read", asset, **places)
    assert asset in network.run(folder, *program, "getAllAssets", **places)


@pytest.mark.usefixtures("basic")
@pytest.mark.parametrize("application", ["application-go", "application-typescript"])
def test_a_key_in_a_hardware_security_module(
    application: str, samples: Path, network: SamplesNetwork, tmp_path: Path
) -> None:
    """The client's key never leaves its PKCS#11 token."""
    module = samples / "hardware-security-module"
    folder = module / application
    user = f"HSMUser{application}"
    network.care.run("identity", "enroll", f"Org1/{user}")
    certificate = network.certificate("Org1", user)
    (key,) = (certificate.parent.parent / "keystore").iterdir()
    token = import_key(tmp_path, certificate, key)
    if (folder / "go.mod").exists():
        program = [str(build_go(folder, "-tags", "pkcs11"))]
    else:
        program = ["node", "dist/hsm-sample.js"]
        build_native(build(folder), "pkcs11js")
    with shown_certificate(module / "crypto-material" / "hsm" / "HSMUser", certificate):
        printed = network.run(folder, *program, **token)
    assert "*** Transaction committed successfully" in printed
    assert "HSM sample completed successfully" in printed.replace("Sample", "sample")
