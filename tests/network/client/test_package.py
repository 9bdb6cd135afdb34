"""Packages: the same bytes each time, and what Fabric's own tools read in them."""

import json
import subprocess
from pathlib import Path

import pytest

from network.client.package import Connection, build_package, build_service_package
from network.rules.lifecycle.package import compute_package_id, open_package

CONNECTION = Connection(
    "chaincode.hospital.example:7052", root_cert="PEM", client_cert="C", client_key="K"
)


def test_the_same_input_gives_the_same_package() -> None:
    first = build_service_package("health_1.0", CONNECTION, {"a.json": b"{}"})
    assert first == build_service_package("health_1.0", CONNECTION, {"a.json": b"{}"})
    assert compute_package_id("health_1.0", first).startswith("health_1.0:")


def test_the_peer_reads_it() -> None:
    opened = open_package(build_service_package("health_1.0", CONNECTION))
    assert opened.label == "health_1.0"


def test_connection_names_tls_only_where_it_is() -> None:
    plain = json.loads(Connection("a:1").to_json())
    assert plain == {"address": "a:1", "dial_timeout": "10s", "tls_required": False}
    full = json.loads(CONNECTION.to_json())
    assert full["tls_required"] is True
    assert full["client_auth_required"] is True
    assert (full["root_cert"], full["client_cert"], full["client_key"]) == ("PEM", "C", "K")


def test_a_label_that_fabric_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="label"):
        build_package("no spaces", "ccaas", {})


def test_fabrics_peer_calculates_the_same_package_id(tmp_path: Path) -> None:
    from tests.fabric_binaries import fabric_binary

    peer = fabric_binary("peer")
    package = build_service_package("health_1.0", CONNECTION)
    file = tmp_path / "health.tar.gz"
    file.write_bytes(package)
    (tmp_path / "core.yaml").write_text("peer: {}\n")
    answer = subprocess.run(
        [peer, "lifecycle", "chaincode", "calculatepackageid", str(file)],
        env={"FABRIC_CFG_PATH": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.strip() == compute_package_id("health_1.0", package), answer.stderr
