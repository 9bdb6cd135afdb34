"""The values a network is made of, with every default written here.

The models are frozen; names are camelCase in YAML and snake_case here. Secrets have no place in a
topology. Read one from a file with `network.topology.model.load_topology`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from network.topology.defaults import fill_ca, fill_orderer, fill_organization, fill_peer
from network.topology.names import (
    validate_chaincode_name,
    validate_chaincode_version,
    validate_channel_name,
    validate_collection_name,
    validate_config_name,
    validate_domain,
    validate_endorsement,
    validate_host,
    validate_implicit_or_signature,
    validate_msp_id,
    validate_network_name,
    validate_node_name,
    validate_user_name,
    validate_version,
)
from network.topology.quantities import Duration, Size

Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Count = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Flag = Annotated[bool, Field(strict=True)]
OrgName = Annotated[str, AfterValidator(validate_config_name)]
Host = Annotated[str, AfterValidator(validate_host)]
NodeName = Annotated[str, AfterValidator(validate_node_name)]
Policy = Annotated[str, AfterValidator(validate_implicit_or_signature)]
Endorsement = Annotated[str, AfterValidator(validate_endorsement)]


class Model(BaseModel):
    """Frozen, camelCase in YAML, no unknown fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class Engine(StrEnum):
    """What runs the nodes."""

    EMBEDDED = "embedded"
    FABRIC = "fabric"


class Runtime(StrEnum):
    """How real Fabric nodes are run; only for ``engine: fabric``.

    ``process``: Fabric's programs, on this machine. The others are names kept for later.
    """

    PROCESS = "process"
    COMPOSE = "compose"
    KUBERNETES = "kubernetes"


class Role(StrEnum):
    """An organisation's part in the consortium."""

    ORDERER = "orderer"
    PROVIDER = "provider"
    PAYER = "payer"
    PATIENT_TRUST = "patient-trust"
    REGULATOR = "regulator"


class UserKind(StrEnum):
    """The NodeOU role in a user's certificate."""

    CLIENT = "client"
    ADMIN = "admin"


class Certificates(Model):
    """How long certificates are valid."""

    ca_validity: Duration = Field(
        default="3650d",
        validate_default=True,
        description="CA and TLS CA certificates; default 3650d",
    )
    validity: Duration = Field(
        default="3650d",
        validate_default=True,
        description="certificates of nodes, users and TLS; default 3650d",
    )


class Place(Model):
    """The location in certificate subjects."""

    country: Annotated[str, Field(min_length=2, max_length=2)] = "US"
    province: str = "California"
    locality: str = "San Francisco"


class Peer(Model):
    """A peer. Its full name is ``<name>.<domain>``."""

    name: NodeName = Field(description="short host name, for example peer0")
    port: Port = Field(description="where the peer serves gRPC")
    anchor: Flag = Field(
        default=False,
        description="whether it is an anchor peer, at which other organisations reach this one; "
        "where no peer says so it is the first",
    )
    host: Host = Field(default="", description="address to serve at; default: the network's host")
    operations_port: Port = Field(
        default=0, description="metrics and health; default: port + 10000"
    )
    hosts: tuple[Host, ...] = Field(
        default=(), description="further names and addresses for the TLS certificate"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        return fill_peer(data)


class Orderer(Model):
    """An ordering node. Its full name is ``<name>.<domain>``."""

    name: NodeName = Field(description="short host name, for example orderer0")
    port: Port = Field(description="where the orderer serves gRPC")
    host: Host = Field(default="", description="address to serve at; default: the network's host")
    admin_port: Port = Field(
        default=0, description="channel participation (osnadmin); default: port + 3"
    )
    operations_port: Port = Field(
        default=0, description="metrics and health; default: port + 10000"
    )
    hosts: tuple[Host, ...] = Field(
        default=(), description="further names and addresses for the TLS certificate"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        return fill_orderer(data)


class CertificateAuthority(Model):
    """The organisation's CA service (Fabric CA's REST face)."""

    port: Port = Field(description="where the CA serves HTTPS")
    name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,64}$",
        description="what clients that name the CA must call it; default: ca. and the domain",
    )
    host: Host = Field(default="", description="address to serve at; default: the network's host")
    operations_port: Port = Field(
        default=0, description="metrics and health; default: port + 10000"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        return fill_ca(data)


class Exchange(Model):
    """The off-chain record exchange of a provider or payer."""

    port: Port = Field(description="where the organisation's exchange serves")
    host: Host = Field(default="", description="address to serve at; default: the network's host")
    store: str = Field(
        default="",
        pattern=r"^([a-z][a-z0-9+.-]*://[^\s@]+)?$",
        description="URL of the sealed records, such as s3://bucket/prefix, without credentials; "
        "default: a folder of the network's own",
    )


class ChaincodeServer(Model):
    """The organisation's chaincode server, which its peers dial."""

    port: Port = Field(description="where the chaincode server listens")
    host: Host = Field(default="", description="address to serve at; default: the network's host")


class User(Model):
    """A person or service with a certificate from the start; Admin and User1 always exist."""

    name: Annotated[str, AfterValidator(validate_user_name)]
    kind: UserKind = UserKind.CLIENT
    attributes: Mapping[str, str] = Field(
        default_factory=dict, description="certificate attributes, for example role: claims"
    )


class Organization(Model):
    """A member of the consortium with its nodes."""

    name: OrgName = Field(description="the organisation's name in channels and on the command line")
    msp_id: Annotated[str, AfterValidator(validate_msp_id)] = Field(
        default="", description="default: the name followed by MSP"
    )
    domain: Annotated[str, AfterValidator(validate_domain)] = Field(
        default="", description="default: the name in lower case followed by .example"
    )
    role: Role = Field(description="orderer, provider, payer, patient-trust or regulator")
    ca: CertificateAuthority | None = None
    peers: tuple[Peer, ...] = ()
    orderers: tuple[Orderer, ...] = ()
    exchange: Exchange | None = None
    chaincode: ChaincodeServer | None = Field(
        default=None,
        description="default for an organisation with peers: the first peer's port + 1",
    )
    users: tuple[User, ...] = ()
    place: Place = Place()

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        return fill_organization(data)

    @property
    def kind_folder(self) -> str:
        """The folder cryptogen puts the organisation in."""
        return "ordererOrganizations" if self.orderers else "peerOrganizations"

    @property
    def ca_name(self) -> str:
        """What clients call the organisation's CA."""
        return (self.ca.name if self.ca is not None else "") or f"ca.{self.domain}"

    def fqdn(self, node: Peer | Orderer) -> str:
        """Return the node's full name."""
        return f"{node.name}.{self.domain}"


class Batch(Model):
    """When an orderer cuts a block."""

    timeout: Duration = Field(default="2s", validate_default=True, description="default 2s")
    max_messages: Annotated[int, Field(strict=True, ge=1, le=2**32 - 1)] = 500
    preferred_bytes: Size = 2 * 1024 * 1024
    absolute_bytes: Size = 10 * 1024 * 1024


class ChannelPolicies(Model):
    """Policies of the Application group; each default is Fabric's own."""

    readers: Policy = "ANY Readers"
    writers: Policy = "ANY Writers"
    admins: Policy = "MAJORITY Admins"
    endorsement: Policy = "MAJORITY Endorsement"
    lifecycle_endorsement: Policy = "MAJORITY Endorsement"


class ChannelCapabilities(Model):
    """Capabilities by group; default: those that go with fabricVersion."""

    channel: tuple[str, ...] | None = None
    orderer: tuple[str, ...] | None = None
    application: tuple[str, ...] | None = None


class Collection(Model):
    """A private data collection, shared by the named organisations."""

    name: Annotated[str, AfterValidator(validate_collection_name)]
    members: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="names of organisations of the channel"
    )
    member_only_read: Flag = True
    member_only_write: Flag = True
    block_to_live: Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)] = Field(
        default=0, description="blocks after which values are purged; 0 keeps them"
    )
    required_peer_count: Count = 0
    max_peer_count: Count | None = Field(
        default=None, description="default: every other peer of the members"
    )
    endorsement: Endorsement | None = Field(
        default=None, description="default: the chaincode's policy"
    )


class Chaincode(Model):
    """A chaincode and its definition on the channel."""

    name: Annotated[str, AfterValidator(validate_chaincode_name)]
    version: Annotated[str, AfterValidator(validate_chaincode_version)] = "1.0"
    endorsement: Endorsement | None = Field(
        default=None,
        description="a policy such as OR('Org1MSP.peer') or /Channel/Application/Endorsement;"
        " default: the channel's Endorsement policy",
    )
    init_required: Flag = False
    collections: tuple[Collection, ...] = ()


class Channel(Model):
    """A ledger and who shares it."""

    name: Annotated[str, AfterValidator(validate_channel_name)]
    orderers: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="names of the organisations whose orderers serve the channel"
    )
    members: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="names of the organisations whose peers join the channel"
    )
    batch: Batch = Batch()
    policies: ChannelPolicies = ChannelPolicies()
    acls: Mapping[str, str] = Field(default_factory=dict)
    capabilities: ChannelCapabilities = ChannelCapabilities()
    chaincodes: tuple[Chaincode, ...] = ()


class Topology(Model):
    """A whole network."""

    version: Literal[1]
    name: Annotated[str, AfterValidator(validate_network_name)] = Field(
        description="names the network's folder and what is shown"
    )
    engine: Engine = Engine.EMBEDDED
    runtime: Runtime = Runtime.PROCESS
    fabric_version: Annotated[Literal["2.5", "3.1"], BeforeValidator(validate_version)] = Field(
        default="3.1", description="whose capabilities channels get: 2.5 or 3.1"
    )
    host: Host = Field(default="127.0.0.1", description="address that nodes serve at")
    certificates: Certificates = Certificates()
    organizations: Annotated[tuple[Organization, ...], Field(min_length=1)]
    channels: tuple[Channel, ...] = ()
    environments: Mapping[str, Any] = Field(
        default_factory=dict,
        description="changes to lay over this file, by environment name",
    )

    @property
    def is_local(self) -> bool:
        """Whether every organisation's nodes run on this machine, under this user."""
        return self.engine is Engine.EMBEDDED or self.runtime is Runtime.PROCESS

    def organization(self, name: str) -> Organization:
        """Return the organisation of that name; raises KeyError."""
        for org in self.organizations:
            if org.name == name:
                return org
        raise KeyError(name)

    def channel(self, name: str) -> Channel:
        """Return the channel of that name; raises KeyError."""
        for channel in self.channels:
            if channel.name == name:
                return channel
        raise KeyError(name)

    def nodes(self) -> Iterator["Node"]:
        """Yield every node: orderers first, then peers, then CAs."""
        for org in self.organizations:
            for orderer in org.orderers:
                yield _node(NodeKind.ORDERER, org, self, orderer, orderer.name)
        for org in self.organizations:
            for peer in org.peers:
                yield _node(NodeKind.PEER, org, self, peer, peer.name)
        for org in self.organizations:
            if org.ca is not None:
                yield _node(NodeKind.CA, org, self, org.ca, "ca")


class NodeKind(StrEnum):
    """What a node is."""

    ORDERER = "orderer"
    PEER = "peer"
    CA = "ca"


@dataclass(frozen=True, slots=True)
class Node:
    """A node with its defaults resolved. ``fqdn`` names it in files, certificates and logs."""

    kind: NodeKind
    organization: Organization
    name: str
    fqdn: str
    host: str
    port: int
    operations_port: int
    admin_port: int = 0

    @property
    def address(self) -> str:
        """host:port of the node's own service."""
        return f"{self.host}:{self.port}"


def _node(
    kind: NodeKind,
    org: Organization,
    topology: Topology,
    part: Peer | Orderer | CertificateAuthority,
    name: str,
) -> Node:
    return Node(
        kind=kind,
        organization=org,
        name=name,
        fqdn=f"{name}.{org.domain}",
        host=part.host or topology.host,
        port=part.port,
        operations_port=part.operations_port,
        admin_port=part.admin_port if isinstance(part, Orderer) else 0,
    )
