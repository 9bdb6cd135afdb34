"""The samples that use Fabric's SDK 2.2 and its CA client, unmodified, on our embedded network.

They enrol and register at the organisations' CAs, find peers by discovery and wait for the peers'
block events.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from admin.procedures.networks.enrolment import open_ca
from network.client.errors import ClientError
from network.client.profile import OPERATOR, load_surroundings
from network.rules.identity.enrollment import Attribute
from tests.conformance.samples_network import (
    CHANNEL,
    ORGANIZATIONS,
    SamplesNetwork,
    running_samples_network,
    wait_until_served,
)
from tests.conformance.samples_programs import build, find_samples, linked
from tests.ports import free_ports

pytestmark = pytest.mark.network

REGISTRAR = (
    Attribute("hf.Registrar.Roles", "client"),
    Attribute("hf.Registrar.Attributes", "*"),
)


ATTEMPTS = 5


@pytest.fixture(scope="module")
def samples() -> Path:
    samples = find_samples()
    if not (samples / "test-network" / "organizations" / "ccp-generate.sh").exists():
        pytest.skip(f"{samples} (FABRIC_SAMPLES) has no test-network: no connection profiles")
    return samples


@pytest.fixture(scope="module")
def network(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamplesNetwork]:
    with (
        running_samples_network(tmp_path_factory.mktemp("legacy")) as network,
        linked(samples, network),
    ):
        for organization in ORGANIZATIONS:
            asyncio.run(register_registrar(network, organization))
        yield network


async def register_registrar(network: SamplesNetwork, organization: str) -> None:
    """The CA has the registrar and the affiliation that the test network's CAs begin with."""
    surroundings = load_surroundings(network.file)
    ca, _ = open_ca(surroundings, organization)
    operator = surroundings.signer(f"{organization}/{OPERATOR}")
    await ca.add_affiliation(operator, f"{organization.lower()}.department1")
    await ca.register(operator, "admin", attributes=REGISTRAR, secret="adminpw")


@contextmanager
def no_wallet(application: Path) -> Iterator[None]:
    """There is no wallet of another network before, and none of this one after."""
    wallet = application / "wallet"
    if wallet.exists():
        pytest.skip(f"{wallet} is another network's: remove it")
    try:
        yield
    finally:
        shutil.rmtree(wallet, ignore_errors=True)


def attempt(network: SamplesNetwork, application: Path, restore: Callable[[], None]) -> str:
    """What the sample printed in the first attempt that did not fail.

    It waits for its own organisation's peer and goes on at the other's at once: where that one is
    the slower, the sample fails.
    """
    printed = ""
    with no_wallet(application):
        for _ in range(ATTEMPTS):
            with contextlib.suppress(AssertionError):
                printed = network.run(application, "node", "app.js")
                if "*** FAILED" not in printed.upper():
                    return printed
            restore()
    pytest.fail(printed[-6000:] or f"none of {ATTEMPTS} attempts ended well")


def test_state_based_endorsement(samples: Path, network: SamplesNetwork) -> None:
    folder = samples / "asset-transfer-sbe"
    network.deploy("sbe", build(folder / "chaincode-typescript"))
    printed = attempt(network, build(folder / "application-javascript"), lambda: None)
    assert printed.count("*** Successfully caught the error") == 4
    assert printed.count("*** Result: committed") == 7


def test_ledger_queries(samples: Path, network: SamplesNetwork) -> None:
    """Ranges, pages, rich queries and histories."""
    folder = samples / "asset-transfer-ledger-queries"
    network.deploy("ledger", build(folder / "chaincode-javascript"))

    def restore() -> None:
        """The asset that the sample makes and deletes is not there."""
        with contextlib.suppress(ClientError):
            asyncio.run(delete(network, "ledger", "asset7"))

    printed = attempt(network, build(folder / "application-javascript"), restore)
    for step in ("GetAssetsByRange", "QueryAssetsByOwner", "GetAssetHistory", "WithPagination"):
        assert step in printed


async def delete(network: SamplesNetwork, chaincode: str, asset: str) -> None:
    """The asset is gone. Raises ClientError: there was none."""
    async with network.gateway("Org1") as gateway:
        contract = gateway.network(CHANNEL).contract(chaincode)
        await contract.submit("DeleteAsset", asset)


def test_the_rest_api_in_typescript(samples: Path, network: SamplesNetwork) -> None:
    """A queue in Redis, whose jobs submit transactions."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not on the PATH")
    folder = samples / "asset-transfer-basic"
    network.deploy("basic", build(folder / "chaincode-typescript"))
    application = build(folder / "rest-api-typescript")
    port, redis = free_ports(2)
    with running_redis(server, redis, network.logs):
        settings = {"PORT": str(port), "REDIS_PORT": str(redis), **settings_of(network)}
        with network.serving(application, f"127.0.0.1:{port}", "node", "dist/index.js", **settings):
            address = f"http://localhost:{port}"
            assert wait_for(lambda: call(address, "GET", "/ready"))["status"] == "OK"
            asset = {"ID": f"rest{time.time_ns()}", "Color": "red", "Size": 42, "Owner": "Jean"}
            asset["AppraisedValue"] = 101
            made = call(address, "POST", "/api/assets", asset)
            finish_job(address, made["jobId"])
            path = f"/api/assets/{asset['ID']}"
            assert call(address, "GET", path)["Owner"] == "Jean"
            change = [{"op": "replace", "path": "/Owner", "value": "Ashleigh"}]
            finish_job(address, call(address, "PATCH", path, change)["jobId"])
            assert call(address, "GET", path)["Owner"] == "Ashleigh"
            finish_job(address, call(address, "DELETE", path)["jobId"])
            with pytest.raises(urllib.error.HTTPError, match="404"):
                call(address, "GET", path)


def settings_of(network: SamplesNetwork) -> Mapping[str, str]:
    """What the sample's `generateEnv.sh` writes, as environment variables, with our profiles."""
    settings = {"ORG1_APIKEY": "one", "ORG2_APIKEY": "two", "LOG_LEVEL": "info"}
    for organization in ORGANIZATIONS:
        lower, upper = organization.lower(), organization.upper()
        folder = network.logs / "organizations" / "peerOrganizations" / f"{lower}.example.com"
        msp = folder / "users" / f"User1@{lower}.example.com" / "msp"
        (key,) = (msp / "keystore").iterdir()
        settings |= {
            f"HLF_CERTIFICATE_{upper}": (msp / "signcerts" / "cert.pem").read_text(),
            f"HLF_PRIVATE_KEY_{upper}": key.read_text(),
            f"HLF_CONNECTION_PROFILE_{upper}": network.care.run("org", "profile", organization).out,
        }
    return settings


@contextmanager
def running_redis(server: str, port: int, folder: Path) -> Iterator[None]:
    """A Redis of our own, in memory."""
    command = [server, "--port", str(port), "--save", "", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--maxmemory-policy", "noeviction"], stdout=log, stderr=log
        )
    try:
        wait_until_served(f"127.0.0.1:{port}", process)
        yield
    finally:
        process.terminate()
        process.wait(10)


def call(address: str, method: str, path: str, body: object = None) -> Any:
    """The server's answer; fails unless it is a good one."""
    request = urllib.request.Request(
        address + path,
        json.dumps(body).encode() if body is not None else None,
        {"X-Api-Key": "one", "Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def finish_job(address: str, job: str) -> None:
    """The job's transaction was committed."""
    (transaction,) = wait_for(
        lambda: call(address, "GET", f"/api/jobs/{job}").get("transactionIds")
    )
    status = wait_for(lambda: call(address, "GET", f"/api/transactions/{transaction}"))
    assert status["validationCode"] == "VALID"


def wait_for(ask: Callable[[], Any]) -> Any:
    """The first answer that is one."""
    end = time.monotonic() + 120
    while True:
        with contextlib.suppress(urllib.error.URLError):
            if answer := ask():
                return answer
        assert time.monotonic() < end, "there is no answer"
        time.sleep(0.1)
