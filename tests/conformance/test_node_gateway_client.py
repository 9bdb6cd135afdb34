"""The official Node client, unmodified, cannot tell our peers from Fabric's.

`@hyperledger/fabric-gateway` comes from the npm registry; skipped, with the reason, where Node.js
or the registry is missing.
"""

import json
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.care import Care

pytestmark = pytest.mark.network

FOLDER = Path(__file__).parent / "node"
USERS = "organizations/peerOrganizations/trust.example/users/registrar@trust.example/msp"


@pytest.fixture(scope="module")
def node_client() -> Path:
    """The script, with the official client installed beside it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not on the PATH")
    if not (FOLDER / "node_modules" / "@hyperledger" / "fabric-gateway").is_dir():
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"npm could not install the client: {done.stderr.strip()[-300:]}")
    return FOLDER / "gateway_client.mjs"


@pytest.fixture(scope="module")
def seen(node_client: Path, people: Care) -> dict[str, Any]:
    """What the client saw on the embedded network."""
    care = people
    msp = care.network / USERS
    given = {
        "endpoint": f"127.0.0.1:{care.port('PatientTrust')}",
        "hostAlias": "peer0.trust.example",
        "tlsRoot": str(next((msp / "tlscacerts").glob("*.pem"))),
        "certificate": str(next((msp / "signcerts").glob("*.pem"))),
        "key": str(next((msp / "keystore").glob("*_sk"))),
        "mspId": "PatientTrustMSP",
        "channel": "care",
        "chaincode": "health",
        "handle": secrets.token_hex(16),
    }
    done = subprocess.run(
        ["node", str(node_client), json.dumps(given)],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return {"handle": given["handle"], **json.loads(done.stdout)}


def test_it_submits_and_evaluates(seen: dict[str, Any]) -> None:
    submitted = seen["submitted"]
    assert submitted["successful"] is True
    assert submitted["code"] == 0
    assert submitted["result"]["handle"] == seen["handle"]
    assert seen["evaluated"]["handle"] == seen["handle"]
    assert seen["evaluated"]["txId"] == submitted["transactionId"]


def test_it_receives_chaincode_events_and_replays_them(seen: dict[str, Any]) -> None:
    event = seen["chaincodeEvent"]
    assert event["name"] == "directory.PatientRegistered"
    assert event["transactionId"] == seen["submitted"]["transactionId"] == seen["replayed"]
    assert event["chaincode"] == "health"
    assert event["blockNumber"] == seen["submitted"]["blockNumber"]
    assert event["payload"]["patient"] == seen["handle"]


def test_it_receives_blocks_and_filtered_blocks(seen: dict[str, Any]) -> None:
    number = seen["submitted"]["blockNumber"]
    assert seen["block"] == {"number": number, "transactions": 1, "flags": [0]}
    assert seen["filtered"] == {
        "number": number,
        "transactionIds": [seen["submitted"]["transactionId"]],
    }


def test_a_chaincode_error_on_evaluate_is_fabrics(seen: dict[str, Any]) -> None:
    """fabric `internal/pkg/gateway/evaluate.go`: UNKNOWN with the chaincode's answer."""
    error = seen["evaluateError"]
    assert error["isGatewayError"] is True
    assert error["code"] == "UNKNOWN"
    assert "chaincode response 404, NotFound: " in error["message"]
    (detail,) = error["details"]
    assert detail["mspId"] == "PatientTrustMSP"
    assert detail["address"].startswith(("peer0.trust.example:", "127.0.0.1:"))
    assert detail["message"].startswith("chaincode response 404, NotFound: ")


def test_a_chaincode_error_on_endorse_is_fabrics(seen: dict[str, Any]) -> None:
    """fabric `internal/pkg/gateway/endorse.go`: ABORTED, the chaincode's answer in a detail."""
    error = seen["endorseError"]
    assert error["isEndorseError"] is True
    assert error["code"] == "ABORTED"
    assert "failed to endorse transaction, see attached details for more info" in error["message"]
    assert any(
        detail["message"].startswith("chaincode response 409, Conflict: ")
        for detail in error["details"]
    )


def test_unknown_function_chaincode_and_channel_are_told_apart(seen: dict[str, Any]) -> None:
    assert "GetPatient" in seen["unknownFunction"]["message"]
    assert seen["unknownChaincode"]["code"] == "FAILED_PRECONDITION"
    assert "nothing" in seen["unknownChaincode"]["message"]
    # evaluate.go: an error of connectChannelPeers is UNAVAILABLE.
    assert seen["unknownChannel"]["code"] == "UNAVAILABLE"
    assert "nowhere" in seen["unknownChannel"]["message"]
