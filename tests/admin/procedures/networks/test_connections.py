"""What others' tools are given to reach the network: it names files that are there."""

import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from admin.cli.root import cli
from admin.errors import FaultError
from admin.procedures.networks import connections
from network.client.profile import Surroundings
from network.topology.model import parse_topology
from tests.network.topology.examples import SMALL, small, small_materials


@pytest.fixture
def surroundings() -> Surroundings:
    topology, folder = small(), small_materials()
    return Surroundings(topology, folder, folder / "network.yaml")


def test_the_tools_variables_name_what_is_there(surroundings: Surroundings) -> None:
    admin = surroundings.wallet.find("Alpha/Admin")
    found = connections.build_tool_environment(surroundings, admin)
    assert found["CORE_PEER_LOCALMSPID"] == "AlphaMSP"
    assert found["CORE_PEER_ADDRESS"] == "127.0.0.1:7151"
    assert found["ORDERER_ADMIN_ADDRESS"] == "127.0.0.1:7053"
    files = {name: value for name, value in found.items() if value.startswith("/")}
    files.pop("FABRIC_CFG_PATH")  # `network up` writes a node's settings
    assert len(files) == 5
    assert all(Path(value).exists() for value in files.values()), files


def test_the_samples_variables_name_what_is_there(surroundings: Surroundings) -> None:
    user = surroundings.wallet.find("Beta/User1")
    found = connections.build_sample_environment(surroundings, user)
    assert (found["MSP_ID"], found["PEER_HOST_ALIAS"]) == ("BetaMSP", "peer0.beta.example")
    assert found["CHANNEL_NAME"] == "small"
    for name in ("KEY_DIRECTORY_PATH", "CERT_DIRECTORY_PATH"):
        assert len(list(Path(found[name]).iterdir())) == 1
    assert Path(found["TLS_CERT_PATH"]).is_file()


def test_a_connection_profile_holds_addresses_and_certificates(surroundings: Surroundings) -> None:
    member = surroundings.topology.organization("Alpha")
    found = connections.build_connection_profile(surroundings, member)
    assert found["organizations"]["Alpha"]["peers"] == ["peer0.alpha.example"]
    peer = found["peers"]["peer0.alpha.example"]
    assert peer["url"] == "grpcs://127.0.0.1:7151"
    assert peer["tlsCACerts"]["pem"] == surroundings.folders.tls_root(member).read_text()
    assert peer["grpcOptions"]["ssl-target-name-override"] == "peer0.alpha.example"
    assert found["channels"] == {
        "small": {"orderers": ["orderer0.ord.example"], "peers": {"peer0.alpha.example": {}}}
    }
    assert "PRIVATE KEY" not in str(found)


def test_a_network_without_peers_is_told_so(surroundings: Surroundings) -> None:
    text = """
version: 1
name: bare
organizations:
  - {name: Alpha, domain: alpha.example, role: orderer, orderers: [{name: o, port: 7050}]}
"""
    bare = Surroundings(parse_topology(text), surroundings.folder, surroundings.file)
    admin = surroundings.wallet.find("Alpha/Admin")
    with pytest.raises(FaultError, match="no peer"):
        connections.build_tool_environment(bare, admin)


def test_a_shell_takes_the_variables_whatever_is_in_a_path(tmp_path: Path) -> None:
    topology, folder = small(), small_materials()
    home = tmp_path / "it's a folder"
    home.mkdir()
    (home / "network.yaml").write_text(SMALL)
    (home / ".medfabric").mkdir()
    (home / ".medfabric" / topology.name).symlink_to(folder)
    ran = CliRunner().invoke(
        cli, ["identity", "env", "alpha/admin", "--network", str(home / "network.yaml")]
    )
    assert ran.exit_code == 0, ran.output
    script = f'{ran.stdout}\nprintf %s "$CORE_PEER_MSPCONFIGPATH"'
    told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert Path(told).is_dir()
    assert "it's a folder" in told
    assert shlex.quote(told) in ran.stdout
