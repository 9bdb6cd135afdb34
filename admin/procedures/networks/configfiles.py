"""Files that hold a configuration or a change of one, in whatever form Fabric's tools write them.

Read: a config block, a Config, a ConfigUpdate or a CONFIG_UPDATE envelope, each as protobuf or as
configtxlator's JSON. What a file holds is told by its content, not by its name.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabric_protos.common import common_pb2, configtx_pb2
from google.protobuf.message import DecodeError

from admin.errors import input_error
from network.client.configuration import InvalidProposal, Proposal
from network.rules.channel.config import InvalidConfig, open_config_block
from network.rules.channel.configjson import InvalidConfigJson, from_tree

LARGEST = 100 * 1024 * 1024  # bytes; Fabric's largest message


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file holds: a whole configuration, or a change of one.

    Attributes:
        kind: `block`, `config`, `update` or `proposal`.
        message: the file's message as it was, for showing.
        config: the configuration (`common.Config`); None for a change.
        proposal: the change; None for a configuration.
        channel: the channel's name where the file tells it.
    """

    kind: str
    message: Any
    config: configtx_pb2.Config | None = None
    proposal: Proposal | None = None
    channel: str = ""


def read_config_file(path: Path) -> ConfigFile:
    """What the file holds.

    Raises:
        FaultError: it is none of what is read here.
        OSError: it cannot be read.
    """
    if path.stat().st_size > LARGEST:
        raise input_error("this file is larger than 100 MB", "", str(path))
    content = path.read_bytes()
    try:
        opened = _open(content)
    except (InvalidConfigJson, InvalidProposal, InvalidConfig) as error:
        raise input_error(str(error), "", str(path)) from None
    if opened is None:
        raise input_error(
            "this file holds no channel configuration and no change of one",
            "give a config block, a configuration or a proposal, as protobuf or as JSON",
            str(path),
        )
    return opened


def read_proposal(path: Path) -> Proposal:
    """The proposal in the file; a bare ConfigUpdate becomes one.

    Raises:
        FaultError: it holds none.
        OSError: it cannot be read.
    """
    found = read_config_file(path)
    if found.proposal is None:
        raise input_error(
            f"this file holds a whole configuration ({found.kind}), not a change of one",
            f"propose the change first: medfabric channel propose --config {path}",
            str(path),
        )
    return found.proposal


def _open(content: bytes) -> ConfigFile | None:
    if content.lstrip()[:1] != b"{":
        return _open_bytes(content)
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        # A message of 123 bytes begins with a line feed and a brace, too.
        found = _open_bytes(content)
        if found is None:
            raise InvalidConfigJson(f"is no JSON: {error}") from None
        return found
    return _open_tree(tree)


def _open_tree(tree: Any) -> ConfigFile | None:
    if "payload" in tree:
        envelope = from_tree(tree, common_pb2.Envelope)
        proposal = Proposal.from_bytes(envelope.SerializeToString())
        return ConfigFile("proposal", envelope, None, proposal, proposal.channel_id)
    if "channel_group" in tree:
        config = from_tree(tree, configtx_pb2.Config)
        return ConfigFile("config", config, config)
    if "config" in tree:  # a ConfigEnvelope, as it stands in a decoded block
        config = from_tree(tree["config"], configtx_pb2.Config, "", "config")
        return ConfigFile("config", config, config)
    if "write_set" in tree:
        return _wrap_update(from_tree(tree, configtx_pb2.ConfigUpdate))
    if "data" in tree and "header" in tree:
        return _open_block(from_tree(tree, common_pb2.Block))
    return None


def _open_bytes(content: bytes) -> ConfigFile | None:
    """Protobuf says nothing of its kind: the first reading that makes sense is taken."""
    try:
        proposal = Proposal.from_bytes(content)
        envelope = common_pb2.Envelope.FromString(content)
        return ConfigFile("proposal", envelope, None, proposal, proposal.channel_id)
    except InvalidProposal:
        pass
    block = _parse(common_pb2.Block, content)
    if block is not None and block.HasField("header") and block.data.data:
        return _open_block(block)
    update = _parse(configtx_pb2.ConfigUpdate, content)
    if update is not None and update.channel_id.isprintable() and update.HasField("write_set"):
        return _wrap_update(update)
    config = _parse(configtx_pb2.Config, content)
    if config is not None and config.channel_group.groups:
        return ConfigFile("config", config, config)
    return None


def _open_block(block: Any) -> ConfigFile:
    channel_id, config = open_config_block(block)
    return ConfigFile("block", block, config, None, channel_id)


def _wrap_update(update: Any) -> ConfigFile:
    if not update.channel_id:
        raise InvalidProposal("the update in it names no channel")
    proposal = Proposal(update.channel_id, update.SerializeToString(deterministic=True))
    return ConfigFile("update", update, None, proposal, update.channel_id)


def _parse(kind: Any, content: bytes) -> Any | None:
    try:
        return kind.FromString(content)
    except DecodeError:
        return None
