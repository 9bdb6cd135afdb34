"""From what a consortium wants of a channel to its configuration tree and genesis block.

The tree is the one configtxgen makes (`internal/configtxgen/encoder/encoder.go`) from its sample
profile's policies; the block is that of `common/genesis/genesis.go`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from fabric_protos.common import common_pb2, configtx_pb2, configuration_pb2, policies_pb2
from fabric_protos.msp import msp_config_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from fabric_protos.orderer.etcdraft import configuration_pb2 as etcdraft_pb2
from fabric_protos.peer import configuration_pb2 as peer_pb2
from google.protobuf.message import Message

from network.rules.channel.capabilities import Capabilities
from network.rules.channel.config import Batch, Consenter
from network.rules.channel.configtree import validate_channel_id, validate_config_name
from network.rules.duration import format_duration
from network.rules.envelope import (
    build_channel_header,
    build_envelope,
    build_payload,
    build_signature_header,
    compute_tx_id,
)
from network.rules.policy.dsl import parse_config_policy

ADMINS = "Admins"
# configtxgen's sample: 500 messages, 10 MB, 2 MB, 2 s.
DEFAULT_BATCH = Batch(500, 10 * 1024 * 1024, 2 * 1024 * 1024, 2.0)

FABRIC_CAPABILITIES: Mapping[str, Capabilities] = MappingProxyType(
    {
        "2.5": Capabilities(frozenset({"V2_0"}), frozenset({"V2_0"}), frozenset({"V2_5"})),
        "3.1": Capabilities(frozenset({"V3_0"}), frozenset({"V2_0"}), frozenset({"V2_5"})),
    }
)
CHANNEL_POLICIES: Mapping[str, str] = MappingProxyType(
    {"Readers": "ANY Readers", "Writers": "ANY Writers", "Admins": "MAJORITY Admins"}
)
ORDERER_POLICIES: Mapping[str, str] = MappingProxyType(
    {**CHANNEL_POLICIES, "BlockValidation": "ANY Writers"}
)
APPLICATION_POLICIES: Mapping[str, str] = MappingProxyType(
    {
        **CHANNEL_POLICIES,
        "LifecycleEndorsement": "MAJORITY Endorsement",
        "Endorsement": "MAJORITY Endorsement",
    }
)


@dataclass(frozen=True, slots=True)
class RaftOptions:
    """etcdraft's options with the values of Fabric's sample; sizes in bytes."""

    tick_interval: str = "500ms"
    election_tick: int = 10
    heartbeat_tick: int = 1
    max_inflight_blocks: int = 5
    snapshot_interval_size: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OrgSpec:
    """An organisation of a channel. ``msp_config`` is MSPConfig bytes (see the MSP folder rules);
    ``policies`` overrides the usual ones by name; ``endpoints`` are "host:port" of its orderers."""

    name: str
    msp_id: str
    msp_config: bytes = field(repr=False)
    endpoints: tuple[str, ...] = ()
    anchor_peers: tuple[tuple[str, int], ...] = ()
    policies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """What a channel shall be. Policies given by name replace or extend the defaults."""

    channel_id: str
    orderer_orgs: Sequence[OrgSpec]
    application_orgs: Sequence[OrgSpec]
    consenters: Sequence[Consenter]
    batch: Batch = DEFAULT_BATCH
    capabilities: Capabilities = FABRIC_CAPABILITIES["3.1"]
    channel_policies: Mapping[str, str] = field(default_factory=dict)
    orderer_policies: Mapping[str, str] = field(default_factory=dict)
    application_policies: Mapping[str, str] = field(default_factory=dict)
    acls: Mapping[str, str] = field(default_factory=dict)
    max_channels: int = 0
    raft: RaftOptions = field(default_factory=RaftOptions)


def peer_org_policies(msp_id: str) -> dict[str, str]:
    """Return the policies of a member organisation with NodeOUs, as Fabric's samples write them."""
    return {
        "Readers": f"OR('{msp_id}.admin', '{msp_id}.peer', '{msp_id}.client')",
        "Writers": f"OR('{msp_id}.admin', '{msp_id}.client')",
        "Admins": f"OR('{msp_id}.admin')",
        "Endorsement": f"OR('{msp_id}.peer')",
    }


def orderer_org_policies(msp_id: str) -> dict[str, str]:
    """Return the policies of an orderer organisation, as Fabric's samples write them."""
    return {
        "Readers": f"OR('{msp_id}.member')",
        "Writers": f"OR('{msp_id}.member')",
        "Admins": f"OR('{msp_id}.admin')",
    }


def build_channel_group(spec: ChannelSpec) -> configtx_pb2.ConfigGroup:
    """Return the configuration tree at version 0.

    Raises `InvalidConfigTree` for illegal names and `InvalidPolicyText` for policies.
    """
    validate_channel_id(spec.channel_id)
    root = _group({**CHANNEL_POLICIES, **spec.channel_policies})
    _add_value(root, "HashingAlgorithm", configuration_pb2.HashingAlgorithm(name="SHA256"))
    structure = configuration_pb2.BlockDataHashingStructure(width=0xFFFFFFFF)
    _add_value(root, "BlockDataHashingStructure", structure)
    _add_capabilities(root, spec.capabilities.channel)
    root.groups["Orderer"].CopyFrom(_orderer_group(spec))
    root.groups["Application"].CopyFrom(_application_group(spec))
    return root


def build_orderer_org_group(org: OrgSpec) -> configtx_pb2.ConfigGroup:
    """Return the group of an orderer organisation, for a new channel or an update."""
    group = _org_group(org, orderer_org_policies(org.msp_id))
    if org.endpoints:
        addresses = configuration_pb2.OrdererAddresses(addresses=org.endpoints)
        _add_value(group, "Endpoints", addresses)
    return group


def build_application_org_group(org: OrgSpec) -> configtx_pb2.ConfigGroup:
    """Return the group of a member organisation, for a new channel or an update."""
    group = _org_group(org, peer_org_policies(org.msp_id))
    if org.anchor_peers:
        _add_value(group, "AnchorPeers", build_anchor_peers(org.anchor_peers))
    return group


def build_anchor_peers(anchors: Sequence[tuple[str, int]]) -> peer_pb2.AnchorPeers:
    """Return the AnchorPeers value of (host, port) pairs."""
    peers = [peer_pb2.AnchorPeer(host=host, port=port) for host, port in anchors]
    return peer_pb2.AnchorPeers(anchor_peers=peers)


def build_genesis_block(
    channel_id: str, group: configtx_pb2.ConfigGroup, nonce: bytes, timestamp: datetime
) -> common_pb2.Block:
    """Return block 0: an unsigned CONFIG envelope, version 1, with an empty creator.

    Raises `InvalidConfigTree` for an illegal channel name.
    """
    validate_channel_id(channel_id)
    channel_header = build_channel_header(
        type=common_pb2.CONFIG,
        version=1,
        channel_id=channel_id,
        timestamp=timestamp,
        tx_id=compute_tx_id(nonce, b""),
    )
    config = configtx_pb2.ConfigEnvelope(config=configtx_pb2.Config(channel_group=group))
    payload = build_payload(
        channel_header,
        build_signature_header(b"", nonce),
        # The tree holds maps; in one order, so that equal input gives equal bytes.
        config.SerializeToString(deterministic=True),
    )
    block = common_pb2.Block()
    block.data.data.append(build_envelope(payload, b""))
    block.header.number = 0
    block.header.data_hash = hashlib.sha256(b"".join(block.data.data)).digest()
    last_config = common_pb2.LastConfig(index=0)
    signatures = common_pb2.OrdererBlockMetadata(last_config=last_config)
    block.metadata.metadata.extend(
        [
            common_pb2.Metadata(value=signatures.SerializeToString()).SerializeToString(),
            common_pb2.Metadata(value=last_config.SerializeToString()).SerializeToString(),
            b"",
            b"",
            b"",
        ]
    )
    return block


def _orderer_group(spec: ChannelSpec) -> configtx_pb2.ConfigGroup:
    group = _group({**ORDERER_POLICIES, **spec.orderer_policies})
    batch = spec.batch
    size = orderer_pb2.BatchSize(
        max_message_count=batch.max_messages,
        absolute_max_bytes=batch.absolute_max_bytes,
        preferred_max_bytes=batch.preferred_max_bytes,
    )
    timeout = format_duration(round(batch.timeout * 1_000_000_000))
    _add_value(group, "BatchSize", size)
    _add_value(group, "BatchTimeout", orderer_pb2.BatchTimeout(timeout=timeout))
    restrictions = orderer_pb2.ChannelRestrictions(max_count=spec.max_channels)
    _add_value(group, "ChannelRestrictions", restrictions)
    _add_capabilities(group, spec.capabilities.orderer)
    consensus = orderer_pb2.ConsensusType(type="etcdraft", metadata=_raft_metadata(spec))
    _add_value(group, "ConsensusType", consensus)
    for org in spec.orderer_orgs:
        validate_config_name(org.name)
        group.groups[org.name].CopyFrom(build_orderer_org_group(org))
    return group


def _raft_metadata(spec: ChannelSpec) -> bytes:
    options = spec.raft
    metadata = etcdraft_pb2.ConfigMetadata(
        consenters=[
            etcdraft_pb2.Consenter(
                host=consenter.host,
                port=consenter.port,
                client_tls_cert=consenter.client_tls_certificate,
                server_tls_cert=consenter.server_tls_certificate,
            )
            for consenter in spec.consenters
        ],
        options=etcdraft_pb2.Options(
            tick_interval=options.tick_interval,
            election_tick=options.election_tick,
            heartbeat_tick=options.heartbeat_tick,
            max_inflight_blocks=options.max_inflight_blocks,
            snapshot_interval_size=options.snapshot_interval_size,
        ),
    )
    return bytes(metadata.SerializeToString())


def _application_group(spec: ChannelSpec) -> configtx_pb2.ConfigGroup:
    group = _group({**APPLICATION_POLICIES, **spec.application_policies})
    if spec.acls:
        acls = peer_pb2.ACLs()
        for resource, policy in spec.acls.items():
            acls.acls[resource].policy_ref = policy
        _add_value(group, "ACLs", acls)
    _add_capabilities(group, spec.capabilities.application)
    for org in spec.application_orgs:
        validate_config_name(org.name)
        group.groups[org.name].CopyFrom(build_application_org_group(org))
    return group


def _org_group(org: OrgSpec, policies: Mapping[str, str]) -> configtx_pb2.ConfigGroup:
    group = _group({**policies, **org.policies})
    _add_value(group, "MSP", msp_config_pb2.MSPConfig.FromString(org.msp_config))
    return group


def _group(policies: Mapping[str, str]) -> configtx_pb2.ConfigGroup:
    group = configtx_pb2.ConfigGroup(mod_policy=ADMINS)
    for name, text in policies.items():
        validate_config_name(name)
        policy: policies_pb2.Policy = parse_config_policy(text)
        group.policies[name].CopyFrom(configtx_pb2.ConfigPolicy(policy=policy, mod_policy=ADMINS))
    return group


def _add_capabilities(group: configtx_pb2.ConfigGroup, names: frozenset[str]) -> None:
    if names:
        value = configuration_pb2.Capabilities()
        for name in sorted(names):
            value.capabilities[name].SetInParent()
        _add_value(group, "Capabilities", value)


def _add_value(group: configtx_pb2.ConfigGroup, key: str, value: Message) -> None:
    entry = configtx_pb2.ConfigValue(
        value=value.SerializeToString(deterministic=True), mod_policy=ADMINS
    )
    group.values[key].CopyFrom(entry)
