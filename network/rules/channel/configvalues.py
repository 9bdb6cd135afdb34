"""The values in a channel's configuration groups, opened and checked one by one.

Source: Fabric `common/channelconfig/*.go` (which keys a group may hold and what their messages
are; in `orderer.go` validateBatchSize, validateBatchTimeout).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fabric_protos.common import configtx_pb2, configuration_pb2
from fabric_protos.msp import msp_config_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from fabric_protos.orderer.etcdraft import configuration_pb2 as etcdraft_pb2
from fabric_protos.peer import configuration_pb2 as peer_pb2
from google.protobuf.message import DecodeError

from network.rules.duration import parse_duration


class InvalidConfig(ValueError):
    """A channel configuration that Fabric would refuse; the text is Fabric's where it has one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """How an orderer fills blocks. Sizes in bytes, ``timeout`` in seconds."""

    max_messages: int
    absolute_max_bytes: int
    preferred_max_bytes: int
    timeout: float


@dataclass(frozen=True, slots=True)
class Consenter:
    """An ordering node that takes part in consensus; certificates are PEM."""

    host: str
    port: int
    client_tls_certificate: bytes = field(repr=False)
    server_tls_certificate: bytes = field(repr=False)
    id: int = 0
    msp_id: str = ""
    identity: bytes = field(default=b"", repr=False)


CHANNEL_VALUES: Mapping[str, Any] = {
    "HashingAlgorithm": configuration_pb2.HashingAlgorithm,
    "BlockDataHashingStructure": configuration_pb2.BlockDataHashingStructure,
    "OrdererAddresses": configuration_pb2.OrdererAddresses,
    "Orderers": configuration_pb2.Orderers,
    "Consortium": configuration_pb2.Consortium,
    "Capabilities": configuration_pb2.Capabilities,
}
ORDERER_VALUES: Mapping[str, Any] = {
    "ConsensusType": orderer_pb2.ConsensusType,
    "BatchSize": orderer_pb2.BatchSize,
    "BatchTimeout": orderer_pb2.BatchTimeout,
    "KafkaBrokers": orderer_pb2.KafkaBrokers,
    "ChannelRestrictions": orderer_pb2.ChannelRestrictions,
    "Capabilities": configuration_pb2.Capabilities,
    "Orderers": configuration_pb2.Orderers,
}
ORDERER_ORG_VALUES: Mapping[str, Any] = {
    "Endpoints": configuration_pb2.OrdererAddresses,
    "MSP": msp_config_pb2.MSPConfig,
}
APPLICATION_VALUES: Mapping[str, Any] = {
    "ACLs": peer_pb2.ACLs,
    "Capabilities": configuration_pb2.Capabilities,
}
APPLICATION_ORG_VALUES: Mapping[str, Any] = {
    "AnchorPeers": peer_pb2.AnchorPeers,
    "MSP": msp_config_pb2.MSPConfig,
}


def open_values(group: configtx_pb2.ConfigGroup, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message for every known key, empty where the group has none.

    Raises `InvalidConfig` for an unknown key and for a value that is no such message.
    """
    values = {key: kind() for key, kind in kinds.items()}
    for key, entry in group.values.items():
        if key not in values:
            raise InvalidConfig(f"failed to deserialize values: Unexpected key {key}")
        try:
            values[key].ParseFromString(entry.value)
        except DecodeError as error:
            raise InvalidConfig(f"failed to deserialize values: {key}: {error}") from None
    return values


def read_batch(size: orderer_pb2.BatchSize, timeout: str) -> Batch:
    """Return the batch rules; raises `InvalidConfig` with Fabric\'s text."""
    for name, value in (
        ("max message count", size.max_message_count),
        ("absolute max bytes", size.absolute_max_bytes),
        ("preferred max bytes", size.preferred_max_bytes),
    ):
        if value == 0:
            raise InvalidConfig(f"Attempted to set the batch size {name} to an invalid value: 0")
    if size.preferred_max_bytes > size.absolute_max_bytes:
        raise InvalidConfig(
            f"Attempted to set the batch size preferred max bytes ({size.preferred_max_bytes}) "
            f"greater than the absolute max bytes ({size.absolute_max_bytes})."
        )
    try:
        nanoseconds = parse_duration(timeout)
    except ValueError as error:
        raise InvalidConfig(
            f"Attempted to set the batch timeout to a invalid value: {error}"
        ) from None
    if nanoseconds <= 0:
        raise InvalidConfig(
            f"Attempted to set the batch timeout to a non-positive value: {timeout}"
        )
    return Batch(
        size.max_message_count,
        size.absolute_max_bytes,
        size.preferred_max_bytes,
        nanoseconds / 1_000_000_000,
    )


def read_consenters(
    consensus: orderer_pb2.ConsensusType, orderers: configuration_pb2.Orderers
) -> tuple[Consenter, ...]:
    """Return the consenters of an etcdraft or BFT channel; raises DecodeError."""
    if consensus.type == "etcdraft":
        metadata = etcdraft_pb2.ConfigMetadata.FromString(consensus.metadata)
        return tuple(
            Consenter(entry.host, entry.port, entry.client_tls_cert, entry.server_tls_cert)
            for entry in metadata.consenters
        )
    return tuple(
        Consenter(
            entry.host,
            entry.port,
            entry.client_tls_cert,
            entry.server_tls_cert,
            entry.id,
            entry.msp_id,
            entry.identity,
        )
        for entry in orderers.consenter_mapping
    )
