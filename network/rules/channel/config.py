"""A channel's configuration as one consistent, immutable bundle.

Read from a config block, checked as Fabric checks it (`common/channelconfig/*.go`), with the MSPs
and the policies that it implies. Building one is in `network.rules.channel.spec`, changing one in
`network.rules.channel.configtx`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from fabric_protos.common import common_pb2, configtx_pb2
from fabric_protos.msp import msp_config_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from google.protobuf.message import DecodeError

from network.rules.cache import BoundedCache
from network.rules.channel.acls import DEFAULT_POLICIES, resolve_acl_reference
from network.rules.channel.capabilities import Capabilities
from network.rules.channel.configtree import (
    InvalidConfigTree,
    validate_channel_id,
    validate_tree_keys,
)
from network.rules.channel.configvalues import (
    APPLICATION_ORG_VALUES,
    APPLICATION_VALUES,
    CHANNEL_VALUES,
    ORDERER_ORG_VALUES,
    ORDERER_VALUES,
    Batch,
    Consenter,
    InvalidConfig,
    open_values,
    read_batch,
    read_consenters,
)
from network.rules.envelope import MalformedMessage, open_envelope
from network.rules.identity.identity import serialize_identity
from network.rules.identity.msp import InvalidMsp, Msp, MspManager, open_msp_config
from network.rules.policy.application import compile_application_policy
from network.rules.policy.evaluation import MalformedPolicy, Policy
from network.rules.policy.manager import PolicyManager

__all__ = [
    "ApplicationOrg",
    "Batch",
    "ChannelConfig",
    "Consenter",
    "InvalidConfig",
    "OrdererEndpoint",
    "OrdererOrg",
    "open_config_block",
]


_IN_ORDERER = "could not create channel Orderer sub-group config"
_IN_APPLICATION = "could not create channel Application sub-group config"


@dataclass(frozen=True, slots=True)
class OrdererEndpoint:
    """Where an orderer serves ("host:port") and which TLS roots (PEM) to trust there."""

    address: str
    msp_id: str
    tls_roots: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OrdererOrg:
    """An organisation that runs orderers."""

    name: str
    msp_id: str
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApplicationOrg:
    """A member organisation and its anchor peers (host, port)."""

    name: str
    msp_id: str
    anchor_peers: tuple[tuple[str, int], ...]


class ChannelConfig:
    """Everything the configuration at one sequence number says. Immutable.

    Raises `InvalidConfig` where Fabric's NewBundle fails.
    """

    def __init__(self, channel_id: str, config: configtx_pb2.Config) -> None:
        self.channel_id = channel_id
        self.config = config
        self.sequence: int = config.sequence
        self._compiled: BoundedCache[bytes, Policy] = BoundedCache(1024)
        try:
            self._read(config)
        except (InvalidMsp, InvalidConfigTree, MalformedPolicy, DecodeError) as error:
            raise InvalidConfig(f"channel {channel_id}: {error}") from None

    @classmethod
    def from_block(cls, block: common_pb2.Block) -> "ChannelConfig":
        """Return the configuration in a config block; raises `InvalidConfig`."""
        channel_id, config = open_config_block(block)
        return cls(channel_id, config)

    @classmethod
    def from_config(cls, channel_id: str, config: configtx_pb2.Config) -> "ChannelConfig":
        """Return the configuration in a Config message; raises `InvalidConfig`."""
        return cls(channel_id, config)

    # What the configuration holds

    msps: MspManager
    policies: PolicyManager
    capabilities: Capabilities
    application_orgs: Mapping[str, ApplicationOrg]
    orderer_orgs: Mapping[str, OrdererOrg]
    consensus_type: str
    consensus_metadata: bytes
    maintenance: bool
    consenters: tuple[Consenter, ...]
    orderer_endpoints: tuple[OrdererEndpoint, ...]
    max_channels: int
    batch: Batch
    own_acls: Mapping[str, str]  # as they are written: a policy's path or name by resource
    has_application: bool
    has_orderer: bool

    def find_policy(self, path: str) -> Policy | None:
        """Return the policy at an absolute path, or None when there is none."""
        return self.policies.find(path)

    def application_policy(self, data: bytes) -> Policy:
        """Return the policy in ApplicationPolicy bytes, compiled once per configuration.

        Raises `network.rules.policy.evaluation.MalformedPolicy`.
        """
        return self._compiled.get(data, lambda: compile_application_policy(data, self))

    def acl(self, resource: str) -> str:
        """Return the path of the policy that guards a channel resource such as "event/Block".

        Raises KeyError for a resource Fabric does not know.
        """
        reference = self._acls.get(resource)
        return reference if reference is not None else DEFAULT_POLICIES[resource]

    @property
    def block_signers(self) -> Mapping[int, bytes]:
        """Who may sign blocks of a BFT channel, by consenter id; empty for any other."""
        return {
            consenter.id: serialize_identity(consenter.msp_id, consenter.identity)
            for consenter in self.consenters
            if consenter.identity
        }

    def tls_roots(self, msp_id: str) -> tuple[bytes, ...]:
        """Return the PEM TLS roots and intermediates of an MSP; raises `UnknownMsp`."""
        return self.msps.msp(msp_id).tls_certificates

    def application_org_by_msp_id(self, msp_id: str) -> ApplicationOrg | None:
        """Return the member organisation of an MSP id, or None."""
        for org in self.application_orgs.values():
            if org.msp_id == msp_id:
                return org
        return None

    # Reading, in the order of Fabric's NewBundle

    def _read(self, config: configtx_pb2.Config) -> None:
        if not config.HasField("channel_group"):
            raise InvalidConfig("config must contain a channel group")
        validate_channel_id(self.channel_id)
        root = config.channel_group
        _validate_capabilities_order(root)
        with _wrapped("initializing channelconfig failed"):
            self._read_channel(root)
        with _wrapped("initializing policymanager failed"):
            self.policies = PolicyManager("Channel", root, self.msps)
        with _wrapped("initializing configtx manager failed"):
            validate_tree_keys(root)
        self.orderer_endpoints = self._list_endpoints()

    def _read_channel(self, root: configtx_pb2.ConfigGroup) -> None:
        self._values = open_values(root, CHANNEL_VALUES)
        groups = dict(root.groups.items())
        for name in groups:
            if name not in ("Application", "Orderer", "Consortiums"):
                raise InvalidConfig(f"Disallowed channel group: {name}")
        self.has_orderer, self.has_application = "Orderer" in groups, "Application" in groups
        orderer = groups.get("Orderer", configtx_pb2.ConfigGroup())
        application = groups.get("Application", configtx_pb2.ConfigGroup())
        with _wrapped(_IN_ORDERER):
            orderer_values = open_values(orderer, ORDERER_VALUES)
        with _wrapped(_IN_APPLICATION):
            application_values = open_values(application, APPLICATION_VALUES)
        self.capabilities = Capabilities(
            channel=frozenset(self._values["Capabilities"].capabilities),
            orderer=frozenset(orderer_values["Capabilities"].capabilities),
            application=frozenset(application_values["Capabilities"].capabilities),
        )
        self._validate_channel_values()
        msps = _Msps(self.capabilities)
        with _wrapped(_IN_ORDERER):
            self._read_orderer(orderer, orderer_values, msps)
        with _wrapped(_IN_APPLICATION):
            self._read_application(application, application_values, msps)
        self.msps = MspManager(msps.defined.values())

    def _validate_channel_values(self) -> None:
        algorithm = self._values["HashingAlgorithm"].name
        if algorithm not in ("SHA256", "SHA3_256"):
            raise InvalidConfig(f"Unknown hashing algorithm type: {algorithm}")
        if self._values["BlockDataHashingStructure"].width != 0xFFFFFFFF:
            raise InvalidConfig(
                "BlockDataHashStructure width only supported at MaxUint32 in this version"
            )
        addresses = self._values["OrdererAddresses"].addresses
        if self.capabilities.bft and addresses:
            raise InvalidConfig(
                "global OrdererAddresses are not allowed with V3_0 capability, "
                "use org specific addresses only"
            )
        if not self.capabilities.org_orderer_endpoints and not addresses:
            raise InvalidConfig("Must set some OrdererAddresses")

    def _read_orderer(
        self, group: configtx_pb2.ConfigGroup, values: dict[str, Any], msps: "_Msps"
    ) -> None:
        consensus = values["ConsensusType"]
        self.consensus_type = consensus.type
        self.consensus_metadata = consensus.metadata
        self.maintenance = consensus.state == orderer_pb2.ConsensusType.STATE_MAINTENANCE
        self.max_channels = values["ChannelRestrictions"].max_count
        self.batch = Batch(0, 0, 0, 0.0)
        self.consenters = ()
        orgs = {}
        if self.has_orderer:
            self.batch = read_batch(values["BatchSize"], values["BatchTimeout"].timeout)
            self.consenters = read_consenters(consensus, values["Orderers"])
        for name, org in sorted(group.groups.items()):
            _validate_no_subgroups(org, "OrdererOrg config does not allow sub-groups")
            found = open_values(org, ORDERER_ORG_VALUES)
            endpoints = tuple(found["Endpoints"].addresses)
            if "Endpoints" in org.values and not self.capabilities.org_orderer_endpoints:
                raise InvalidConfig(
                    f"Orderer Org {name} cannot contain endpoints value until V1_4_2+ "
                    "capabilities have been enabled"
                )
            orgs[name] = OrdererOrg(name, msps.define(name, found["MSP"]), endpoints)
        missing = [org.name for org in orgs.values() if not org.endpoints]
        if self.capabilities.bft and missing:
            raise InvalidConfig(
                f"some orderer organizations endpoints are empty: [{' '.join(missing)}]"
            )
        self.orderer_orgs = MappingProxyType(orgs)

    def _read_application(
        self, group: configtx_pb2.ConfigGroup, values: dict[str, Any], msps: "_Msps"
    ) -> None:
        if "ACLs" in group.values and not self.capabilities.acls:
            raise InvalidConfig("ACLs may not be specified without the required capability")
        self.own_acls = MappingProxyType(
            {name: acl.policy_ref for name, acl in values["ACLs"].acls.items() if acl.policy_ref}
        )
        self._acls = {name: resolve_acl_reference(policy) for name, policy in self.own_acls.items()}
        orgs = {}
        for name, org in sorted(group.groups.items()):
            _validate_no_subgroups(org, "ApplicationOrg config does not allow sub-groups")
            found = open_values(org, APPLICATION_ORG_VALUES)
            anchors = tuple((peer.host, peer.port) for peer in found["AnchorPeers"].anchor_peers)
            orgs[name] = ApplicationOrg(name, msps.define(name, found["MSP"]), anchors)
        self.application_orgs = MappingProxyType(orgs)

    def _list_endpoints(self) -> tuple[OrdererEndpoint, ...]:
        endpoints = [
            OrdererEndpoint(address, org.msp_id, self.tls_roots(org.msp_id))
            for org in self.orderer_orgs.values()
            for address in org.endpoints
        ]
        if not endpoints:
            # Global addresses belong to no organisation: trust any orderer organisation's roots.
            roots = tuple(
                root for org in self.orderer_orgs.values() for root in self.tls_roots(org.msp_id)
            )
            endpoints = [
                OrdererEndpoint(address, "", roots)
                for address in self._values["OrdererAddresses"].addresses
            ]
        return tuple(endpoints)


def open_config_block(block: common_pb2.Block) -> tuple[str, configtx_pb2.Config]:
    """Return (channel id, Config) of a config block; raises `InvalidConfig`."""
    if not block.data.data:
        raise InvalidConfig("the block is no config block: it holds no transaction")
    try:
        envelope = open_envelope(block.data.data[0])
        message = configtx_pb2.ConfigEnvelope.FromString(envelope.data)
    except (MalformedMessage, DecodeError) as error:
        raise InvalidConfig(f"the block is no config block: {error}") from None
    if envelope.channel_header.type != common_pb2.CONFIG:
        raise InvalidConfig("the block is no config block: its transaction is of another type")
    return envelope.channel_header.channel_id, message.config


@contextmanager
def _wrapped(stage: str) -> Iterator[None]:
    """Failures inside name the stage, as Fabric wraps them."""
    try:
        yield
    except (InvalidConfig, InvalidMsp, InvalidConfigTree, MalformedPolicy) as error:
        raise InvalidConfig(f"{stage}: {error}") from None


class _Msps:
    """Sets MSPs up while groups are read; one MSP id may appear twice only if equal."""

    def __init__(self, capabilities: Capabilities) -> None:
        self._version = capabilities.msp_version
        self._configs: dict[str, msp_config_pb2.MSPConfig] = {}
        self.defined: dict[str, Msp] = {}

    def define(self, org: str, config: msp_config_pb2.MSPConfig) -> str:
        try:
            fabric = open_msp_config(config.SerializeToString())
            known = self._configs.get(fabric.name)
            if known is not None and known != config:
                raise InvalidConfig(
                    f"Attempted to define two different versions of MSP: {fabric.name}"
                )
            if known is None:
                self.defined[fabric.name] = Msp(fabric, self._version)
                self._configs[fabric.name] = config
        except InvalidMsp as error:
            raise InvalidConfig(f"setting up the MSP manager failed: {error}") from None
        if not fabric.name:
            raise InvalidConfig(f"MSP for org {org} has empty MSP ID")
        return str(fabric.name)


def _validate_capabilities_order(root: configtx_pb2.ConfigGroup) -> None:
    """`common/channelconfig/bundle.go` fn preValidate."""
    if "Orderer" not in root.groups or "Capabilities" in root.groups["Orderer"].values:
        return
    if "Capabilities" in root.values:
        raise InvalidConfig("cannot enable channel capabilities without orderer support first")
    if "Application" in root.groups and "Capabilities" in root.groups["Application"].values:
        raise InvalidConfig("cannot enable application capabilities without orderer support first")


def _validate_no_subgroups(group: configtx_pb2.ConfigGroup, text: str) -> None:
    if group.groups:
        raise InvalidConfig(text)
