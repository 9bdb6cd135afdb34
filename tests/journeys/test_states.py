"""Nodes that hang, and a ledger cut short: what people see, and the way back."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from network.node.ledger.sqlite_store import LEDGER_FILE
from tests.journeys.care import Care, running, write_network

pytestmark = pytest.mark.network

HOSPITAL, CLINIC, ORDERER = (
    "peer0.hospital.example", "peer0.clinic.example", "orderer0.consortium.example",
)  # fmt: skip
REGISTER = ("patient", "register", "--as", "PatientTrust/registrar")
PATIENCE = 180


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    network = write_network(tmp_path_factory.mktemp("states"))
    with running(network):
        network.enroll("PatientTrust/registrar", role="service")
        yield network


def status(care: Care, name: str) -> dict[str, Any]:
    nodes = care.result("network", "status")
    found = nodes if isinstance(nodes, list) else nodes["nodes"]
    return next(dict(one) for one in found if one["name"] == name)


@contextmanager
def hung(care: Care, name: str) -> Iterator[None]:
    """The node's process stands still: its addresses answer, it does not."""
    pid = status(care, name)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def wait_until_equal(care: Care) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        nodes = care.result("network", "status")
        found = nodes if isinstance(nodes, list) else nodes["nodes"]
        heights = {one["heights"].get("care") for one in found if one["kind"] == "peer"}
        if len(heights) == 1 and all(one["state"] == "running" for one in found):
            break
        assert time.monotonic() < end, found
        time.sleep(0.3)
    assert care.result("ledger", "compare")["agree"]


def test_a_hung_peer_holds_nobody_up(fresh: Care) -> None:
    with hung(fresh, HOSPITAL):
        for _ in range(2):
            fresh.run(*REGISTER)
        told = status(fresh, HOSPITAL)
        assert (told["state"], told["healthy"]) != ("running", True), told
        assert told["note"], told
        assert "\n" not in told["note"]
        # Its own organisation's users are told, in one line, and nothing is half done.
        answer = fresh.run("ledger", "show", "--as", "GeneralHospital/Admin", code=None)
        assert answer.code != 0
        assert len(answer.err.splitlines()) <= 3, answer.err
    fresh.run(*REGISTER)
    wait_until_equal(fresh)


def test_a_hung_orderer_is_named_and_comes_back(fresh: Care) -> None:
    with hung(fresh, ORDERER):
        answer = fresh.run(*REGISTER, code=None)
        assert answer.code != 0
        assert len(answer.err.splitlines()) <= 4, answer.err
        # Reading goes on.
        fresh.run("ledger", "show", "--as", "CityClinic/Admin")
    fresh.run(*REGISTER)
    wait_until_equal(fresh)


def test_a_ledger_cut_short_is_named_by_up_with_what_to_do(fresh: Care) -> None:
    fresh.run("network", "down")
    file: Path = next(one for one in fresh.network.rglob(LEDGER_FILE) if CLINIC in str(one))
    good = file.read_bytes()
    with file.open("r+b") as database:
        database.truncate(len(good) // 2)
    answer = fresh.run("network", "up", code=6)
    assert f"{CLINIC} did not come up" in answer.err
    assert str(file) in answer.err
    assert "Restore the file from a backup" in answer.err
    fresh.run("network", "down")
    file.write_bytes(good)
    fresh.run("network", "up")
    fresh.run(*REGISTER)
    wait_until_equal(fresh)
