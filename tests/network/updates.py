"""Config updates of the test consortium's channel, signed by whom a test says."""

from typing import Any

from fabric_protos.common import common_pb2, configtx_pb2
from fabric_protos.orderer import configuration_pb2

from network.rules.channel.config import ChannelConfig
from network.rules.channel.configtx import build_update_envelope, compute_update, sign_update
from network.rules.identity.identity import Signer
from tests.network.consortium import CHANNEL, Consortium, build_message


def build_update(
    consortium: Consortium,
    config: ChannelConfig,
    change: Any,
    admins: list[Signer],
    sender: Signer | None = None,
) -> bytes:
    updated = configtx_pb2.Config()
    updated.CopyFrom(config.config)
    change(updated.channel_group.groups["Orderer"])
    update = compute_update(config.config, updated, CHANNEL).SerializeToString()
    signatures = [sign_update(admin, update, b"n" * 24) for admin in admins]
    data = build_update_envelope(update, signatures).SerializeToString()
    return build_message(sender or consortium.alice, data, type=common_pb2.CONFIG_UPDATE)


def set_batch_size(orderer: Any) -> None:
    size = configuration_pb2.BatchSize.FromString(orderer.values["BatchSize"].value)
    size.max_message_count = 7
    orderer.values["BatchSize"].value = size.SerializeToString()


def set_maintenance(orderer: Any) -> None:
    consensus = configuration_pb2.ConsensusType.FromString(orderer.values["ConsensusType"].value)
    consensus.state = configuration_pb2.ConsensusType.STATE_MAINTENANCE
    orderer.values["ConsensusType"].value = consensus.SerializeToString()


def change_consensus(**fields: Any) -> Any:
    """A change of ConsensusType's fields: type, metadata, state."""

    def change(orderer: Any) -> None:
        consensus = configuration_pb2.ConsensusType.FromString(
            orderer.values["ConsensusType"].value
        )
        for name, value in fields.items():
            setattr(consensus, name, value)
        orderer.values["ConsensusType"].value = consensus.SerializeToString()

    return change
