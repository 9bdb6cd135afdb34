"""A channel of the topology as configuration: from names and folders to a genesis block."""

from datetime import datetime
from pathlib import Path

from fabric_protos.common import common_pb2

from network.rules.channel.capabilities import Capabilities
from network.rules.channel.config import Batch as ConfigBatch
from network.rules.channel.config import Consenter
from network.rules.channel.spec import (
    FABRIC_CAPABILITIES,
    ChannelSpec,
    OrgSpec,
    build_channel_group,
    build_genesis_block,
)
from network.topology.folders import Folders
from network.topology.mspfolder import InvalidMspFolder, load_msp_config
from network.topology.values import Channel, Node, NodeKind, Organization, Topology


def build_channel_spec(
    topology: Topology, channel: Channel, folder: Path, *, planned: bool = False
) -> ChannelSpec:
    """Return what the channel's configuration shall be, with MSPs read from the network's folder.

    Every orderer of the channel's orderer organisations is a consenter; a member's anchor peers
    are those that say so, else its first. With ``planned``, keys that are still to be made are
    stood in for by nothing, for telling what will be done; otherwise raises `InvalidMspFolder`.
    """
    folders = Folders(Path(folder))
    nodes = list(topology.nodes())
    policies = channel.policies
    return ChannelSpec(
        channel_id=channel.name,
        orderer_orgs=[
            build_org_spec(topology, topology.organization(name), folder, planned=planned)
            for name in channel.orderers
        ],
        application_orgs=[
            build_org_spec(topology, topology.organization(name), folder, planned=planned)
            for name in channel.members
        ],
        consenters=[
            _build_consenter(node, folders, planned=planned)
            for name in channel.orderers
            for node in nodes
            if node.kind is NodeKind.ORDERER and node.organization.name == name
        ],
        batch=ConfigBatch(
            channel.batch.max_messages,
            channel.batch.absolute_bytes,
            channel.batch.preferred_bytes,
            channel.batch.timeout.total_seconds(),
        ),
        capabilities=_build_capabilities(topology, channel),
        application_policies={
            "Readers": policies.readers,
            "Writers": policies.writers,
            "Admins": policies.admins,
            "Endorsement": policies.endorsement,
            "LifecycleEndorsement": policies.lifecycle_endorsement,
        },
        acls=channel.acls,
    )


def build_org_spec(
    topology: Topology, org: Organization, folder: Path, *, planned: bool = False
) -> OrgSpec:
    """Return one organisation as a channel sees it; raises as `build_channel_spec`."""
    nodes = [node for node in topology.nodes() if node.organization is org]
    peers = [node for node in nodes if node.kind is NodeKind.PEER]
    named = {peer.name for peer in org.peers if peer.anchor}
    anchors = [peer for peer in peers if peer.name in named] or peers[:1]
    msp = Folders(Path(folder)).organization_msp(org)
    is_made = (msp / "cacerts").is_dir() or not planned
    return OrgSpec(
        name=org.name,
        msp_id=org.msp_id,
        msp_config=load_msp_config(msp, org.msp_id) if is_made else b"",
        endpoints=tuple(node.address for node in nodes if node.kind is NodeKind.ORDERER),
        anchor_peers=tuple((peer.host, peer.port) for peer in anchors),
    )


def build_genesis(
    topology: Topology, channel: Channel, folder: Path, nonce: bytes, timestamp: datetime
) -> common_pb2.Block:
    """Return the channel's genesis block; raises `InvalidMspFolder`."""
    group = build_channel_group(build_channel_spec(topology, channel, folder))
    return build_genesis_block(channel.name, group, nonce, timestamp)


def _build_capabilities(topology: Topology, channel: Channel) -> Capabilities:
    usual, own = FABRIC_CAPABILITIES[topology.fabric_version], channel.capabilities
    return Capabilities(
        channel=usual.channel if own.channel is None else frozenset(own.channel),
        orderer=usual.orderer if own.orderer is None else frozenset(own.orderer),
        application=usual.application if own.application is None else frozenset(own.application),
    )


def _build_consenter(node: Node, folders: Folders, *, planned: bool) -> Consenter:
    path = folders.node_tls(node) / "server.crt"
    if planned and not path.exists():
        return Consenter(node.host, node.port, b"", b"")
    try:
        certificate = path.read_bytes()
    except OSError as error:
        raise InvalidMspFolder(f"could not read file {path}: {error.strerror}") from None
    # One certificate serves and dials, as cryptogen's does.
    return Consenter(node.host, node.port, certificate, certificate)
