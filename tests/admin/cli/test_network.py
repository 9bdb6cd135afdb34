"""A whole network through the command line: up, use, break, repair, down."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from network.client import blocking
from network.client.profile import load_surroundings
from network.engines import processes, processplan
from tests.admin.command import Ran, medfabric
from tests.network.engines.free_network import write_care

LIMIT = 120.0  # seconds; nothing here takes longer on the busiest machine


class Care:
    """The example consortium, brought up in a folder."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, *arguments: str, code: int = 0) -> Ran:
        ran = medfabric(*arguments, "--network", str(self.file))
        assert ran.code == code, ran.err + ran.out
        return ran

    def result(self, *arguments: str) -> Any:
        return self(*arguments, "--json").json["result"]

    def nodes(self) -> dict[str, Any]:
        return {node["name"]: node for node in self.result("network", "status")}

    def wait_until_running(self, name: str) -> None:
        deadline = time.monotonic() + LIMIT
        while self.nodes()[name]["state"] != "running":
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture(scope="module")
def care(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    made = Care(write_care(tmp_path_factory.mktemp("care")))
    made("network", "up")
    yield made
    made("network", "down", "--wipe", "--yes")
    assert not (made.file.parent / ".medfabric" / "care").exists()


@pytest.mark.network
def test_every_node_runs_and_every_peer_has_the_chain(care: Care) -> None:
    nodes = care.nodes()
    assert {node["state"] for node in nodes.values()} == {"running"}
    peers = [node for node in nodes.values() if node["kind"] == "peer"]
    assert len(peers) == 4
    assert all(node["healthy"] for node in peers)
    assert len({node["heights"]["care"] for node in peers}) == 1
    assert all(node["certificateExpires"] > "2026" for node in peers)
    assert care.result("ledger", "compare")["agree"] is True


@pytest.mark.network
def test_up_again_does_nothing(care: Care) -> None:
    before = care.nodes()
    again = care.result("network", "up")
    assert again["joined"] == []
    assert not any(
        one["installed"] or one["approved"] or one["committed"] for one in again["deployed"]
    )
    after = care.nodes()
    assert {n: s["pid"] for n, s in before.items()} == {n: s["pid"] for n, s in after.items()}
    assert care("network", "plan").out == "nothing to do\n"


@pytest.mark.network
def test_the_health_chaincode_is_deployed_and_knows_the_consortium(care: Care) -> None:
    found = care.result("chaincode", "list")
    assert [(one["name"], one["sequence"], len(one["approvedBy"])) for one in found] == [
        ("health", 1, 4)
    ]
    assert found[0]["endorsement"].startswith("2 of GeneralHospitalMSP.peer")
    listed = care.result(
        "chaincode", "query", "directory:ListOrganizations", "--as", "CityClinic/User1"
    )
    assert {one["mspId"] for one in listed["organizations"]} == {
        "GeneralHospitalMSP", "CityClinicMSP", "UnitedPayerMSP", "PatientTrustMSP",
    }  # fmt: skip


@pytest.mark.network
def test_refusals_are_one_line_with_the_right_exit_code(care: Care) -> None:
    denied = care(
        "chaincode", "invoke", "directory:Bootstrap", "[]", "--as", "UnitedPayer/User1", code=4
    )
    assert denied.err.startswith("✗ Denied: ")
    unknown = care("chaincode", "query", "nope:X", "--as", "UnitedPayer/User1", code=3)
    assert "Traceback" not in unknown.err
    missing = care("block", "show", "99999", code=3)
    assert "its newest block is" in missing.err


@pytest.mark.network
def test_blocks_and_transactions_can_be_read_and_explained(care: Care) -> None:
    newest = care.result("block", "list", "--count", "1")[0]
    block = care.result("block", "show", str(newest["number"]))
    assert block["intact"] is True
    identifier = block["transactions"][0]["transactionId"]
    assert care.result("tx", "show", identifier[:10])["transactionId"] == identifier
    assert care.result("tx", "show", identifier)["codeName"] == "VALID"
    assert care("tx", "explain", identifier[:10]).out.startswith("VALID  block ")
    assert care("tx", "show", "zz", code=3).err.startswith("✗ channel care has no transaction")
    genesis = care.file.parent / "genesis.block"
    care("channel", "fetch", "oldest", "--out", str(genesis))
    kept = care.file.parent / ".medfabric" / "care" / "channels" / "care.block"
    assert load_block(genesis).header == load_block(kept).header


def load_block(file: Path) -> Any:
    from fabric_protos.common import common_pb2

    return common_pb2.Block.FromString(file.read_bytes())


@pytest.mark.network
def test_too_few_endorsements_are_the_ledgers_no_and_are_explained(care: Care) -> None:
    change = (
        '{"mspId":"CityClinicMSP","name":"City","role":"provider","domain":"","endorses":true,'
        '"active":true,"version":1}'
    )
    ran = care(
        "chaincode", "invoke", "directory:SetOrganization", change,
        "--endorse-by", "GeneralHospital", "--as", "GeneralHospital/Admin", "--json", code=5,
    )  # fmt: skip
    error = ran.json["error"]
    assert error["code"] == "ENDORSEMENT_POLICY_FAILURE"
    identifier = error["where"].split()[1].rstrip(",")
    told = care("tx", "explain", identifier[:12]).out
    assert told.startswith("INVALID  ENDORSEMENT_POLICY_FAILURE  block ")
    assert "health requires 2 of GeneralHospitalMSP.peer, CityClinicMSP.peer" in told
    assert "endorsed by: GeneralHospitalMSP/peer0.hospital.example" in told
    assert "missing: 1 more of CityClinicMSP, UnitedPayerMSP, PatientTrustMSP" in told


@pytest.mark.network
@pytest.mark.parametrize(
    "node", ["orderer0.consortium.example", "peer0.hospital.example", "chaincode.hospital.example"]
)
def test_a_killed_node_comes_back_and_nothing_is_lost(care: Care, node: str) -> None:
    before = care.nodes()
    os.kill(before[node]["pid"], signal.SIGKILL)
    deadline = time.monotonic() + LIMIT
    while care.nodes()[node]["pid"] in (None, before[node]["pid"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    care.wait_until_running(node)
    found = care.result("ledger", "compare")
    assert found["agree"] is True
    assert found["commonHeight"] >= before["peer0.hospital.example"]["heights"]["care"]
    care("chaincode", "query", "directory:ListOrganizations", "--as", "GeneralHospital/User1")


@pytest.mark.network
def test_the_sdk_connects_by_the_network_file(care: Care) -> None:
    with blocking.Gateway.connect(care.file, identity="GeneralHospital/User1") as gateway:
        contract = gateway.network("care").contract("health", "directory")
        assert b"UnitedPayerMSP" in contract.evaluate("ListOrganizations")


@pytest.mark.network
def test_a_peer_that_is_down_is_unreachable_and_says_so(care: Care) -> None:
    surroundings = load_surroundings(care.file)
    supervisor = processes.load(surroundings.folder / "run" / processplan.SUPERVISOR)
    assert supervisor is not None
    supervisor.signal(signal.SIGSTOP)  # so that it starts nothing again
    try:
        os.kill(care.nodes()["peer0.payer.example"]["pid"], signal.SIGKILL)
        ran = care("ledger", "show", "--as", "UnitedPayer/Admin", code=6)
        assert "medfabric network status" in ran.err
    finally:
        supervisor.signal(signal.SIGCONT)
    care.wait_until_running("peer0.payer.example")


@pytest.mark.network
def test_down_and_up_keep_the_ledger(care: Care) -> None:
    before = care.result("ledger", "show")
    assert care.result("network", "down")["wasUp"] is True
    assert {node["state"] for node in care.nodes().values()} == {"stopped"}
    for node in load_surroundings(care.file).topology.nodes():
        with socket.socket() as probe:
            assert probe.connect_ex((node.host, node.port)) != 0
    care("network", "up")
    after = care.result("ledger", "show")
    assert after["newestHash"] == before["newestHash"]


@pytest.mark.network
def test_logs_doctor_certs_and_render(care: Care) -> None:
    assert "Beginning to serve requests" in care("network", "logs", "orderer0", "-n", "200").out
    assert all(one["ok"] for one in care.result("network", "doctor"))
    certificates = care.result("network", "certs")
    assert {one["use"] for one in certificates} == {"ca", "tls-ca", "tls", "identity"}
    assert "mspConfigPath" in care("network", "render", "peer0.hospital").out
    folder = care.file.parent / ".medfabric"
    modes = subprocess.run(
        ["find", str(folder), "-name", "*_sk", "-perm", "/077"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert modes.stdout == ""


@pytest.mark.network
def test_an_interrupted_up_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file = write_care(tmp_path)
    command = [sys.executable, "-m", "admin.cli", "network", "up", "--network", str(file)]
    try:
        for seconds in (0.1, 1.0, 2.0):
            with subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
            ) as child:
                assert child.stderr is not None
                child.stderr.readline()  # it has begun
                time.sleep(seconds)
                child.send_signal(signal.SIGINT)
                _, err = child.communicate(timeout=LIMIT)
            assert child.returncode in (0, 130)
            assert b"Traceback" not in err
        care = Care(file)
        care("network", "up")
        assert care.result("ledger", "compare")["agree"] is True
        assert len(care.result("chaincode", "list")) == 1
    finally:
        medfabric("network", "down", "--wipe", "--yes", "--network", str(file))


@pytest.mark.network
def test_a_killed_supervisor_leaves_nothing_that_up_cannot_mend(care: Care) -> None:
    before = care.result("ledger", "show")
    supervisor = processes.load(
        load_surroundings(care.file).folder / "run" / processplan.SUPERVISOR
    )
    assert supervisor is not None
    supervisor.signal(signal.SIGKILL)
    deadline = time.monotonic() + LIMIT
    while {node["state"] for node in care.nodes().values()} != {"stopped"}:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    care("network", "up")
    assert {node["state"] for node in care.nodes().values()} == {"running"}
    assert care.result("ledger", "show")["newestHash"] == before["newestHash"]
