"""A chaincode that a real peer launches and that dials the peer back, over mutual TLS."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conformance.real_fabric import RealFabric

ROOT = Path(__file__).resolve().parents[2]
# An external builder's `run` gets the peer's address and key material in chaincode.json.
LAUNCHER = f"""#!{sys.executable}
import json, os, sys
folder = sys.argv[2]
given = json.load(open(folder + "/chaincode.json"))
for name in ("client_cert", "client_key", "root_cert"):
    open(f"{{folder}}/{{name}}.pem", "w").write(given[name])
os.environ.update(
    CORE_CHAINCODE_ID_NAME=given["chaincode_id"],
    CORE_PEER_ADDRESS=given["peer_address"],
    CORE_PEER_TLS_ENABLED="true",
    CORE_PEER_TLS_ROOTCERT_FILE=folder + "/root_cert.pem",
    CORE_TLS_CLIENT_KEY_FILE=folder + "/client_key.pem",
    CORE_TLS_CLIENT_CERT_FILE=folder + "/client_cert.pem",
)
os.chdir({str(ROOT)!r})
stub = "tests.conformance.stub_contract:chaincode"
os.execv(sys.executable, [sys.executable, "-m", "chaincode", "--chaincode", stub])
"""


def test_a_launched_chaincode_registers_with_its_peer(tmp_path: Path) -> None:
    with RealFabric.start(tmp_path, launcher=LAUNCHER) as fabric:
        package = fabric.package("launched", "127.0.0.1:1")
        fabric.deploy(package, policy="OR('Org1MSP.peer','Org2MSP.peer')")
        fabric.invoke("launched", ["Put", "k", "1"])
        assert fabric.query("launched", ["Get", "k"], organization=0) == "1"
        assert fabric.query("launched", ["Get", "k"], organization=1) == "1"
