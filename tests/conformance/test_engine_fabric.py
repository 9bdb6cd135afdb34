"""One network file, two engines: the same commands and chaincode on Fabric's own nodes.

The consortium of the journeys comes up as Fabric's peers and a Raft orderer, records travel, a
peer is killed, the network changes by its file, and goes on after a stop. With
JOURNEYS_ENGINE=fabric every journey of tests/journeys does the same.

Skipped, with the reason, where Fabric's programs are not found.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fabric_binaries import fabric_binary
from tests.journeys.care import Care, running, write_network

PEER = "peer0.hospital.example"
PATIENCE = 90.0  # seconds


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    """The consortium on real Fabric, with a doctor, a registrar and a patient."""
    for name in ("peer", "orderer"):
        fabric_binary(name)
    network = write_network(tmp_path_factory.mktemp("real care"), engine="fabric")
    with running(network):
        network.enroll("GeneralHospital/dr.lee", role="clinician")
        network.enroll("CityClinic/dr.kim", role="clinician")
        network.enroll("PatientTrust/registrar", role="service")
        yield network


def status(care: Care) -> dict[str, Any]:
    return {node["name"]: node for node in care.result("network", "status")}


def test_the_nodes_are_fabrics_own(real: Care) -> None:
    nodes = status(real)
    assert {node["state"] for node in nodes.values()} == {"running"}
    for name, program in ((PEER, "peer"), ("orderer0.consortium.example", "orderer")):
        assert nodes[name]["healthy"] is True
        assert nodes[name]["heights"]["care"] > 1
        executable = Path(f"/proc/{nodes[name]['pid']}/exe")
        if executable.exists():
            assert executable.resolve() == fabric_binary(program).resolve()
    assert real.result("network", "plan")["steps"] == []
    assert [one["subject"] for one in real.result("network", "doctor") if not one["ok"]] == []


def test_a_record_is_anchored_requested_opened_and_proven(real: Care) -> None:
    patient = real.run("patient", "register", "-q", "--as", "PatientTrust/registrar").out
    real.enroll("PatientTrust/amelia", role="patient", patient=patient)
    amelia = ("--as", "PatientTrust/amelia")
    real.run("consent", "grant", "amelia-hart.consent.json", "--patient", patient, *amelia)
    doctor, other = ("--as", "GeneralHospital/dr.lee"), ("--as", "CityClinic/dr.kim")
    record = real.run(
        *("record", "seal", "amelia-hart.bundle.json", "--patient", patient),
        *("--label", "N", "-q", *doctor),
    ).out
    real.run("record", "anchor", record, *doctor)
    access = real.run("record", "request", record, "--purpose", "TREAT", "-q", *other).out
    real.run("record", "open", access, "-o", "visit.json", "-q", *other)
    original = json.loads((real.folder / "amelia-hart.bundle.json").read_text())
    assert json.loads((real.folder / "visit.json").read_text()) == original
    real.run("record", "request", record, "--purpose", "HRESCH", *other, code=4)
    proof = ("--proof", "visit.proof.json", "--block", "visit.block")
    real.run("record", "prove", record, *proof, *doctor)
    trust = str(real.network / "channels" / "care.block")
    real.run("record", "verify", "visit.json", *proof, "--trust", trust)


def test_our_verdicts_are_those_of_the_real_peer(real: Care) -> None:
    found = real.result("ledger", "verify")
    assert found["differences"] == []


def test_a_killed_peer_comes_back(real: Care) -> None:
    before = status(real)[PEER]
    os.kill(before["pid"], signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while True:
        now = status(real)[PEER]
        if now["state"] == "running" and now["pid"] != before["pid"] and now["heights"]:
            break
        assert time.monotonic() < deadline, now
        time.sleep(0.5)
    assert now["restarts"] == before["restarts"] + 1
    assert now["heights"]["care"] >= before["heights"]["care"]


def test_the_network_changes_by_its_file_and_goes_on_after_a_stop(real: Care) -> None:
    file = real.folder / "network.yaml"
    file.write_text(file.read_text().replace("maxMessages: 500", "maxMessages: 50"))
    real.run("network", "plan", code=10)
    real.run("network", "apply", "--yes")
    assert real.result("network", "plan")["steps"] == []
    heights = status(real)[PEER]["heights"]
    real.run("network", "down")
    real.run("network", "up")
    assert status(real)[PEER]["heights"]["care"] >= heights["care"]
    assert real.result("channel", "show")["maxMessages"] == 50


def test_the_other_engine_leaves_these_ledgers_alone(real: Care) -> None:
    file = real.folder / "network.yaml"
    text = file.read_text()
    file.write_text(text.replace("engine: fabric ", "engine: embedded "))
    try:
        fault = real.run("network", "up", "--json", code=3).fault()
    finally:
        file.write_text(text)
    assert "those of engine: fabric" in fault["message"]
    assert {node["state"] for node in status(real).values()} == {"running"}
