"""Maintenance mode, and what may change about a channel's consensus with it and without.

Transactions rest in maintenance mode (ConsensusType.State); entering and leaving it is a config
update of that value alone. Only in it may the consensus type change, and only from etcdraft to
BFT. The order of the checks and the texts are Fabric's (orderer/common/msgprocessor/
maintenancefilter.go).

An orderer of ours runs neither: the change of type is ordered as Fabric orders it, and from then on
no orderer of ours leads the channel. It is how a channel is handed over to Fabric's own orderers.
"""

from typing import Any

from fabric_protos.common import configtx_pb2

from network.rules.channel.config import ChannelConfig, Consenter
from network.rules.envelope import MalformedMessage, parse_message

STATES = {False: "STATE_NORMAL", True: "STATE_MAINTENANCE"}


class IllegalTransition(ValueError):
    """A change of the consensus that Fabric does not allow; the text is Fabric's."""


def validate_transition(current: ChannelConfig, following: ChannelConfig, update: bytes) -> None:
    """The config update (ConfigUpdateEnvelope bytes) changes the consensus as it may.

    Raises:
        IllegalTransition: it does not.
    """
    try:
        _validate(current, following, update)
    except IllegalTransition as error:
        raise IllegalTransition(f"config transaction inspection failed: {error}") from None


def _validate(current: ChannelConfig, following: ChannelConfig, update: bytes) -> None:
    if not following.has_orderer:
        raise IllegalTransition("next config is missing orderer group")
    types = f"from {current.consensus_type} to {following.consensus_type}"
    if current.maintenance != following.maintenance:
        _validate_state_alone(update)
        states = f"from {STATES[current.maintenance]} to {STATES[following.maintenance]}"
        if current.consensus_type != following.consensus_type:
            raise IllegalTransition(
                f"attempted to change ConsensusType.Type {types}, but ConsensusType.State is "
                f"changing {states}"
            )
        if current.consensus_metadata != following.consensus_metadata:
            raise IllegalTransition(
                "attempted to change ConsensusType.Metadata, but ConsensusType.State is changing "
                f"{states}"
            )
    if current.consensus_type != following.consensus_type:
        _validate_type(current, following, f"attempted to change consensus type {types}")


def _validate_type(current: ChannelConfig, following: ChannelConfig, attempt: str) -> None:
    for config, which in ((current, "current"), (following, "next")):
        if not config.maintenance:
            raise IllegalTransition(
                f"{attempt}, but {which} config ConsensusType.State is not in maintenance mode"
            )
    if following.consensus_type != "BFT":
        raise IllegalTransition(f"{attempt}, transition not supported")
    try:
        _validate_mapping(current.consenters, following.consenters)
    except IllegalTransition as error:
        raise IllegalTransition(f"invalid BFT consenter mapping configuration: {error}") from None


def _validate_mapping(raft: tuple[Consenter, ...], bft: tuple[Consenter, ...]) -> None:
    if not bft:
        raise IllegalTransition("Invalid new config: bft consenters are missing")
    if len(raft) != len(bft):
        raise IllegalTransition(
            f"Invalid new config: the number of bft consenters: {len(bft)} is not equal to the "
            f"number of raft consenters: {len(raft)}"
        )
    known = {_get_place(consenter) for consenter in bft}
    for consenter in raft:
        if _get_place(consenter) not in known:
            raise IllegalTransition(
                f"No suitable BFT consenter for Raft consenter: {consenter.host}:{consenter.port}"
            )


def _get_place(consenter: Consenter) -> tuple[str, int, bytes, bytes]:
    return (
        consenter.host,
        consenter.port,
        consenter.server_tls_certificate,
        consenter.client_tls_certificate,
    )


def _validate_state_alone(raw: bytes) -> None:
    """ensureConsensusTypeChangeOnly."""
    try:
        envelope = parse_message(configtx_pb2.ConfigUpdateEnvelope, raw)
        write_set: Any = parse_message(configtx_pb2.ConfigUpdate, envelope.config_update).write_set
    except MalformedMessage as error:
        raise IllegalTransition(f"config update unmarshalling error: {error}") from None
    if not write_set.groups:
        raise IllegalTransition("config update contains no changes")
    if write_set.values:
        raise IllegalTransition("config update contains changes to values in group Channel")
    if len(write_set.groups) > 1:
        raise IllegalTransition("config update contains changes to more than one group")
    if "Orderer" not in write_set.groups:
        raise IllegalTransition("update does not contain the Orderer group")
    orderer = write_set.groups["Orderer"]
    if orderer.groups:
        raise IllegalTransition("config update contains changes to groups within the Orderer group")
    if "ConsensusType" not in orderer.values:
        raise IllegalTransition("config update does not contain the ConsensusType value")
    if len(orderer.values) > 1:
        raise IllegalTransition(
            "config update contain more then just the ConsensusType value in the Orderer group"
        )
