"""Callers are read as Go's `pkg/cid` reads them (vectors from the Go code)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fabric_protos.msp import identities_pb2

from chaincode.errors import Denied, MalformedIdentity
from chaincode.identity import read_client_identity

VECTORS = Path(__file__).parents[1] / "vectors" / "chaincode" / "go_shim.json"
IDENTITIES: dict[str, Any] = json.loads(VECTORS.read_text())["identities"]


def creator(pem: bytes, msp_id: str = "Org1MSP") -> bytes:
    raw: bytes = identities_pb2.SerializedIdentity(mspid=msp_id, id_bytes=pem).SerializeToString()
    return raw


@pytest.mark.parametrize("name", sorted(IDENTITIES))
def test_id_attributes_and_units_equal_gos(name: str) -> None:
    vector = IDENTITIES[name]
    client = read_client_identity(creator(vector["certificate"].encode()))
    assert client.id == vector["id"]
    assert dict(client.attributes) == vector["attributes"]
    assert list(client.ous) == (vector["ous"] or [])
    assert client.msp_id == "Org1MSP"


def test_assertions_raise_and_name_what_is_missing() -> None:
    pem = IDENTITIES["fabric-ca-user"]["certificate"].encode()
    client = read_client_identity(creator(pem))
    client.assert_attribute("role", "clinician")
    client.assert_ou("client")
    client.assert_msp("OtherMSP", "Org1MSP")
    with pytest.raises(Denied, match="role=auditor is missing"):
        client.assert_attribute("role", "auditor")
    with pytest.raises(Denied, match="attribute none=x"):
        client.assert_attribute("none", "x")
    with pytest.raises(Denied, match="unit admin"):
        client.assert_ou("admin")
    with pytest.raises(Denied, match="not of OtherMSP"):
        client.assert_msp("OtherMSP")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xff",
        creator(b""),
        creator(b"no pem"),
        creator(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        creator(IDENTITIES["cryptogen-user"]["certificate"].encode(), msp_id=""),
    ],
)
def test_what_is_no_certificate_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedIdentity):
        read_client_identity(raw)
