"""Whether a block may begin an orderer's part in a channel, and other participation requests.

Source: orderer/common/channelparticipation/validator.go; the texts are Fabric's.
"""

from typing import Any

from fabric_protos.common import common_pb2, configtx_pb2

from network.rules.blocks.block import data_hash, is_config_block
from network.rules.channel.config import ChannelConfig, InvalidConfig
from network.rules.envelope import MalformedMessage, OpenedEnvelope, open_envelope, parse_message


class InvalidRequest(ValueError):
    """A participation request that Fabric answers with 400 and this text."""


def validate_join_block(block: Any) -> str:
    """The channel id of a config block that an orderer may join with (ValidateJoinBlock).

    Raises:
        InvalidRequest: with Fabric's text.
    """
    if not is_config_block(block):
        raise InvalidRequest("block is not a config block")
    if not block.metadata.metadata:
        raise InvalidRequest("invalid block: does not have metadata")
    if data_hash(block.data.data) != block.header.data_hash:
        raise InvalidRequest("invalid block: Header.DataHash is different from Hash(block.Data)")
    try:
        config = ChannelConfig.from_block(block)
    except InvalidConfig as error:
        raise InvalidRequest(str(error)) from error
    if "Consortiums" in config.config.channel_group.groups:
        raise InvalidRequest("invalid config: contains consortiums: system channel not supported")
    if not config.has_application:
        raise InvalidRequest("invalid config: must contain application config")
    if not config.has_orderer:
        raise InvalidRequest("invalid config: must contain orderer config")
    return config.channel_id


def open_config_update(raw: bytes) -> OpenedEnvelope:
    """The CONFIG_UPDATE envelope in `raw` (ValidateUpdateConfigEnvelope).

    Raises:
        InvalidRequest: with Fabric's text.
    """
    try:
        envelope = open_envelope(raw)
    except MalformedMessage as error:
        texts = {"Payload": "bad payload", "Header": "bad header"}
        raise InvalidRequest(texts.get(error.part, str(error))) from None
    if envelope.channel_header.type != common_pb2.CONFIG_UPDATE:
        raise InvalidRequest("bad type")
    if not envelope.channel_header.channel_id:
        raise InvalidRequest("empty channel id")
    try:
        update = parse_message(configtx_pb2.ConfigUpdateEnvelope, envelope.data)
        parse_message(configtx_pb2.ConfigUpdate, update.config_update)
    except MalformedMessage as error:
        raise InvalidRequest(str(error)) from None
    return envelope
