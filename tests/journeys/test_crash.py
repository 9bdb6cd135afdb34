"""After kill -9 of any node and a restart nothing committed is lost and the peers agree."""

import json
import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.care import Care, running, write_network

pytestmark = pytest.mark.network

NODES = ("orderer0.consortium", "peer0.hospital", "peer0.clinic", "chaincode.payer")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    network = write_network(tmp_path_factory.mktemp("crash"))
    with running(network):
        network.enroll("PatientTrust/registrar", role="service")
        yield network


def nodes(care: Care) -> list[dict[str, Any]]:
    status = care.result("network", "status")
    found: list[dict[str, Any]] = status if isinstance(status, list) else status["nodes"]
    return found


def register(care: Care) -> str:
    """Register a patient; returns the handle once it is committed."""
    handle = secrets.token_hex(16)
    for _ in range(20):
        answer = care.run(
            "patient", "register", "--handle", handle, "--as", "PatientTrust/registrar", code=None
        )
        if answer.code == 0 or "already" in answer.err or "Conflict" in answer.err:
            return handle
        time.sleep(0.5)
    raise AssertionError(answer)


def heights(care: Care) -> set[int]:
    return {node["heights"]["care"] for node in nodes(care) if node.get("heights")}


@pytest.mark.parametrize("victim", NODES)
def test_nothing_committed_is_lost(fresh: Care, victim: str) -> None:
    kept = [register(fresh) for _ in range(2)]
    node = next(one for one in nodes(fresh) if one["name"].startswith(victim))
    os.kill(node["pid"], signal.SIGKILL)
    kept.append(register(fresh))  # while it is down or coming back
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        now = next(one for one in nodes(fresh) if one["name"] == node["name"])
        if now["state"] == "running" and now["pid"] != node["pid"] and len(heights(fresh)) == 1:
            break
        time.sleep(0.3)
    assert now["pid"] != node["pid"]
    assert now["restarts"] >= 1
    assert len(heights(fresh)) == 1, nodes(fresh)
    for organization in ("GeneralHospital", "CityClinic", "UnitedPayer", "PatientTrust"):
        for handle in kept:
            fresh.run("patient", "show", handle, "--as", f"{organization}/Admin")


def test_the_whole_network_goes_down_and_comes_back(fresh: Care) -> None:
    kept = register(fresh)
    before = heights(fresh)
    fresh.run("network", "down")
    assert all(one["state"] == "stopped" for one in nodes(fresh))
    fresh.run("network", "up")
    assert heights(fresh) == before
    fresh.run("patient", "show", kept, "--as", "CityClinic/Admin")
    report = Path(fresh.network / "run" / "state.json")
    assert json.loads(report.read_text())
