"""Whatever Fabric's tools write of a configuration is told by its content."""

import json
from pathlib import Path

import pytest
from fabric_protos.common import common_pb2, configtx_pb2

from admin.errors import FaultError
from admin.procedures.networks.configfiles import read_config_file, read_proposal
from network.client.configuration import Proposal, propose
from network.rules.channel.config import ChannelConfig
from network.rules.channel.configjson import format_config_json
from tests.network.consortium import CHANNEL
from tests.network.rules.changes import add_org, changed, consortium, original


def contents() -> dict[str, bytes]:
    config = ChannelConfig(CHANNEL, original())
    proposal = propose(config, changed(add_org)).sign(consortium().admin1)
    update = configtx_pb2.ConfigUpdate.FromString(proposal.update)
    messages = {
        "config": original(),
        "block": consortium().build_genesis(),
        "update": update,
        "proposal": common_pb2.Envelope.FromString(proposal.to_bytes()),
    }
    found = {name: message.SerializeToString() for name, message in messages.items()}
    return found | {
        f"{name} json": format_config_json(message).encode() for name, message in messages.items()
    }


@pytest.mark.parametrize("name", contents())
def test_its_kind_is_told(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(contents()[name])
    found = read_config_file(file)
    assert found.kind == name.partition(" ")[0]
    assert (found.config is None) is not (found.proposal is None)
    if found.kind != "config":
        assert found.channel == CHANNEL


def test_an_envelope_as_people_write_it_for_configtxlator(tmp_path: Path) -> None:
    """Without a signature header: https://hyperledger-fabric.readthedocs.io, config update."""
    update = json.loads(contents()["update json"])
    envelope = {
        "payload": {
            "header": {"channel_header": {"channel_id": CHANNEL, "type": 2}},
            "data": {"config_update": update},
        }
    }
    file = tmp_path / "envelope.json"
    file.write_text(json.dumps(envelope))
    assert read_proposal(file).channel_id == CHANNEL


def test_a_message_that_begins_as_json_does(tmp_path: Path) -> None:
    """With 123 bytes in its first field: a line feed, then a brace."""
    file = tmp_path / "update.pb"
    begun = []
    for length in range(30, 100):
        update = configtx_pb2.ConfigUpdate(channel_id=CHANNEL)
        update.write_set.groups["Application"].policies["P" * length].mod_policy = "Admins"
        proposal = Proposal(CHANNEL, update.SerializeToString(deterministic=True))
        file.write_bytes(proposal.to_bytes())
        begun.append(file.read_bytes()[:2])
        assert read_config_file(file).channel == CHANNEL
    assert b"\n{" in begun


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no channel configuration"),
        (b"members: [a]", "no channel configuration"),
        (b"{", "is no JSON"),
        (b"{}", "no channel configuration"),
        (b'{"payload": 1}', "payload"),
        (b'{"channel_group": {"groups": 3}}', "channel_group.groups should be an object"),
        (b"\x00\x01\x02", "no channel configuration"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(FaultError) as caught:
        read_config_file(file)
    assert said in caught.value.fault.message
    assert caught.value.fault.where == str(file)


def test_a_whole_configuration_is_no_change(tmp_path: Path) -> None:
    file = tmp_path / "config.pb"
    file.write_bytes(contents()["config"])
    with pytest.raises(FaultError, match="not a change"):
        read_proposal(file)
