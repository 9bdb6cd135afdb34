"""What a channel is: its configuration, read from a peer; blocks as files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from admin.errors import input_error
from admin.procedures.ledgers.ledger import open_peer
from network.client import channel
from network.client.orderer import OrdererClient
from network.client.profile import Profile, Surroundings
from network.rules.channel.config import ChannelConfig
from network.rules.policy.dsl import format_config_policy
from network.topology.values import NodeKind


@dataclass(frozen=True, slots=True)
class JoinedChannel:
    """A channel that a peer has joined, and the height of its ledger."""

    channel: str
    height: int


@dataclass(frozen=True, slots=True)
class MemberView:
    """An organisation of a channel."""

    name: str
    msp_id: str
    anchor_peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel's configuration.

    Attributes:
        channel: its name.
        sequence: how often it was changed, from 0.
        consensus: the ordering type.
        orderers: the orderers' addresses.
        max_messages: transactions in a block at most.
        preferred_bytes: size at which a block is cut.
        timeout_seconds: how long a block waits to fill.
        capabilities: of channel, orderer and application.
        organizations: the members.
        policies: the application's policies, by name.
    """

    channel: str
    sequence: int
    consensus: str
    orderers: tuple[str, ...]
    max_messages: int
    preferred_bytes: int
    timeout_seconds: float
    capabilities: tuple[str, ...]
    organizations: tuple[MemberView, ...]
    policies: Mapping[str, str]


async def list_channels(profile: Profile) -> list[JoinedChannel]:
    """The channels that the profile's peer has joined, by name."""
    async with open_peer(profile) as peer:
        return [
            JoinedChannel(name, (await channel.get_chain_info(peer, name)).height)
            for name in await channel.get_channels(peer)
        ]


async def get_channel_view(profile: Profile, channel_id: str) -> ChannelView:
    """The channel's present configuration, as the profile's peer has it."""
    async with open_peer(profile) as peer:
        config = await channel.get_config(peer, channel_id)
    return view_config(ChannelConfig.from_config(channel_id, config))


def view_config(config: ChannelConfig) -> ChannelView:
    """A configuration as a value to show."""
    root = config.config.channel_group
    application = root.groups["Application"]
    return ChannelView(
        channel=config.channel_id,
        sequence=config.sequence,
        consensus=config.consensus_type,
        orderers=tuple(one.address for one in config.orderer_endpoints),
        max_messages=config.batch.max_messages,
        preferred_bytes=config.batch.preferred_max_bytes,
        timeout_seconds=config.batch.timeout,
        capabilities=tuple(sorted(_capabilities(root))),
        organizations=tuple(
            MemberView(
                one.name, one.msp_id, tuple(f"{host}:{port}" for host, port in one.anchor_peers)
            )
            for one in config.application_orgs.values()
        ),
        policies={
            name: format_config_policy(policy.policy)
            for name, policy in application.policies.items()
        },
    )


def _capabilities(root: Any) -> set[str]:
    from fabric_protos.common import configuration_pb2

    groups = {
        "channel": root,
        "orderer": root.groups["Orderer"],
        "application": root.groups["Application"],
    }
    found = set()
    for name, group in groups.items():
        known = configuration_pb2.Capabilities.FromString(group.values["Capabilities"].value)
        found |= {f"{name} {capability}" for capability in known.capabilities}
    return found


async def fetch_block(
    surroundings: Surroundings,
    profile: Profile,
    channel_id: str,
    which: str,
    from_orderer: bool,
) -> Any:
    """One block (`common.Block`) of the peer or of the network's first orderer.

    Raises:
        FaultError: the network has no orderer.
        EventsError: there is no such block, or the node refused.
    """
    if not from_orderer:
        async with open_peer(profile) as peer:
            return await channel.fetch(peer, channel_id, which)
    orderers = surroundings.nodes(NodeKind.ORDERER)
    if not orderers:
        raise input_error("the network has no orderer", "fetch from the peer")
    async with OrdererClient(surroundings.endpoint(orderers[0]), profile.signer) as orderer:
        return await channel.fetch(orderer, channel_id, which)
