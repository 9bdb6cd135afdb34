"""Chaincode lifecycle: the steps of `peer lifecycle chaincode`, on any Fabric peer.

Install and queries go to one peer's Endorser; approve and commit are transactions of `_lifecycle`
that the gateway endorses and submits. Wait for one before the next, as these functions do:
two definitions in one block conflict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fabric_protos.peer import collection_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2

from network.client.commit import CommitStatus
from network.client.errors import ProposalRefusedError
from network.client.gateway import Gateway
from network.client.peer import PeerClient
from network.client.retry import Retry
from network.rules.identity.identity import open_serialized_identity
from network.rules.lifecycle.names import LIFECYCLE
from network.rules.lifecycle.package import compute_package_id
from network.rules.policy.application import policy_reference, signature_policy
from network.rules.policy.dsl import parse_policy
from network.rules.policy.manager import ENDORSEMENT

ALREADY_INSTALLED = "chaincode already successfully installed"
# A channel that was just made has no leader among its orderers yet.
NEW_CHANNEL = Retry(attempts=1, patience=60.0)
INSTALL_TIMEOUT = 300.0  # seconds; a peer may build the chaincode


@dataclass(frozen=True, slots=True)
class Collection:
    """A private data collection.

    Attributes:
        name: the collection's name.
        members: MSP ids that hold the data.
        required_peers: peers of other members that must have it before an endorsement counts.
        maximum_peers: peers of other members to send it to.
        block_to_live: blocks after which it is purged; 0 keeps it.
        member_only_read: whether only members' clients may read.
        member_only_write: whether only members' clients may write.
        endorsement: policy for writes, as text; empty leaves it to the chaincode's.
    """

    name: str
    members: tuple[str, ...]
    required_peers: int = 0
    maximum_peers: int = 1
    block_to_live: int = 0
    member_only_read: bool = True
    member_only_write: bool = True
    endorsement: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """What organisations agree on about a chaincode.

    Attributes:
        name: the chaincode's name.
        version: a text of their own.
        sequence: counts the definitions of this name, from 1.
        endorsement: a signature policy, or a policy's path (`/Channel/…`); empty takes
            `/Channel/Application/Endorsement`.
        collections: private data collections.
        init_required: whether an `is_init` transaction must come first.
    """

    name: str
    version: str
    sequence: int
    endorsement: str = ""
    collections: tuple[Collection, ...] = ()
    init_required: bool = False


@dataclass(frozen=True, slots=True)
class Installed:
    """A package on a peer, and the chaincodes that use it by channel."""

    package_id: str
    label: str
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Which organisations have approved a definition, by MSP id, and what differs where not."""

    approvals: Mapping[str, bool]
    mismatches: Mapping[str, tuple[str, ...]]

    @property
    def approved_by(self) -> tuple[str, ...]:
        """MSP ids of those that have approved, sorted."""
        return tuple(sorted(msp for msp, approved in self.approvals.items() if approved))


@dataclass(frozen=True, slots=True)
class Committed:
    """A definition on a channel.

    Attributes:
        validation_parameter: the endorsement policy's bytes (`protos.ApplicationPolicy`).
        collections: the collections' bytes (`protos.CollectionConfigPackage`).
        approvals: which organisations approved, by MSP id; only when asked for one name.
    """

    name: str
    version: str
    sequence: int
    init_required: bool
    validation_parameter: bytes
    collections: bytes
    approvals: Mapping[str, bool]


async def install(peer: PeerClient, package: bytes, label: str) -> str:
    """The package is on the peer, newly or already; its package id.

    Raises:
        ProposalRefusedError: the peer refused it.
    """
    request = lifecycle_pb2.InstallChaincodeArgs(chaincode_install_package=package)
    try:
        raw = await _query(peer, "InstallChaincode", request, timeout=INSTALL_TIMEOUT)
    except ProposalRefusedError as refused:
        if ALREADY_INSTALLED in refused.message:
            return compute_package_id(label, package)
        raise
    return str(lifecycle_pb2.InstallChaincodeResult.FromString(raw).package_id)


async def get_installed(peer: PeerClient) -> list[Installed]:
    """All packages on the peer."""
    request = lifecycle_pb2.QueryInstalledChaincodesArgs()
    raw = await _query(peer, "QueryInstalledChaincodes", request)
    answer = lifecycle_pb2.QueryInstalledChaincodesResult.FromString(raw)
    return [
        Installed(
            found.package_id,
            found.label,
            {
                channel: tuple(f"{one.name} {one.version}" for one in used.chaincodes)
                for channel, used in found.references.items()
            },
        )
        for found in answer.installed_chaincodes
    ]


async def get_package(peer: PeerClient, identifier: str) -> bytes:
    """An installed package's bytes.

    Raises:
        ProposalRefusedError: no such package (404).
    """
    request = lifecycle_pb2.GetInstalledChaincodePackageArgs(package_id=identifier)
    raw = await _query(peer, "GetInstalledChaincodePackage", request)
    answer = lifecycle_pb2.GetInstalledChaincodePackageResult.FromString(raw)
    return bytes(answer.chaincode_install_package)


async def approve(
    gateway: Gateway, channel_id: str, definition: Definition, package: str | None
) -> CommitStatus:
    """The gateway's organisation has approved the definition, and it is committed.

    Args:
        gateway: connected as an administrator of the approving organisation, to its own peer.
        channel_id: the channel.
        definition: what is approved.
        package: the package id that this organisation's peers run; None runs none.

    Raises:
        EndorseError: the peer refused.
        CommitError: the ledger refused, for instance because another approval came between.
    """
    request = lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs(**_fields(definition))
    if package is None:
        request.source.unavailable.SetInParent()
    else:
        request.source.local_package.package_id = package
    own = open_serialized_identity(gateway.session.signer.creator)[0]
    # An approval goes into the endorsing peer's own organisation's collection, hence only there.
    return await _submit(gateway, channel_id, "ApproveChaincodeDefinitionForMyOrg", request, [own])


async def get_readiness(peer: PeerClient, channel_id: str, definition: Definition) -> Readiness:
    """Who has approved exactly this definition, and what differs for those who have not.

    Raises:
        ProposalRefusedError: the sequence is not the next one.
    """
    request = lifecycle_pb2.CheckCommitReadinessArgs(**_fields(definition))
    raw = await _query(peer, "CheckCommitReadiness", request, channel_id)
    answer = lifecycle_pb2.CheckCommitReadinessResult.FromString(raw)
    return Readiness(
        dict(answer.approvals),
        {msp: tuple(found.items) for msp, found in answer.mismatches.items() if found.items},
    )


async def commit(
    gateway: Gateway, channel_id: str, definition: Definition, organizations: Sequence[str]
) -> CommitStatus:
    """The definition is committed: from the next block on it is the channel's.

    Args:
        gateway: connected as an administrator.
        channel_id: the channel.
        definition: what was approved.
        organizations: MSP ids whose peers endorse; they must have approved, and be enough for
            the channel's LifecycleEndorsement policy.

    Raises:
        EndorseError: an organisation has not approved, or the sequence is wrong.
        CommitError: the ledger refused.
    """
    request = lifecycle_pb2.CommitChaincodeDefinitionArgs(**_fields(definition))
    return await _submit(gateway, channel_id, "CommitChaincodeDefinition", request, organizations)


async def get_committed(peer: PeerClient, channel_id: str, name: str = "") -> list[Committed]:
    """The channel's definitions, or the one of this name; empty when there is none."""
    if not name:
        raw = await _query(
            peer,
            "QueryChaincodeDefinitions",
            lifecycle_pb2.QueryChaincodeDefinitionsArgs(),
            channel_id,
        )
        answer = lifecycle_pb2.QueryChaincodeDefinitionsResult.FromString(raw)
        return [_committed(found.name, found, {}) for found in answer.chaincode_definitions]
    request = lifecycle_pb2.QueryChaincodeDefinitionArgs(name=name)
    try:
        raw = await _query(peer, "QueryChaincodeDefinition", request, channel_id)
    except ProposalRefusedError as refused:
        if refused.response_status == 404:
            return []
        raise
    found = lifecycle_pb2.QueryChaincodeDefinitionResult.FromString(raw)
    return [_committed(name, found, dict(found.approvals))]


async def get_approved_package(
    peer: PeerClient, channel_id: str, name: str, sequence: int
) -> str | None:
    """The package id that the peer's organisation approved for this sequence.

    None when it approved none, or approved without a package.
    """
    request = lifecycle_pb2.QueryApprovedChaincodeDefinitionArgs(name=name, sequence=sequence)
    try:
        raw = await _query(peer, "QueryApprovedChaincodeDefinition", request, channel_id)
    except ProposalRefusedError:
        return None  # Fabric answers 404 or 500, by version, where nothing was approved
    answer = lifecycle_pb2.QueryApprovedChaincodeDefinitionResult.FromString(raw)
    return answer.source.local_package.package_id or None


def is_same(definition: Definition, committed: Committed) -> bool:
    """Whether a committed definition is this one, whatever the sequence."""
    wanted = build_validation_parameter(definition.endorsement)
    default = build_validation_parameter(ENDORSEMENT)
    return (
        definition.version == committed.version
        and definition.init_required == committed.init_required
        and (wanted or default) == committed.validation_parameter
        and build_collections(definition.collections).SerializeToString(deterministic=True)
        == committed.collections
    )


def build_validation_parameter(policy: str) -> bytes:
    """An endorsement policy's bytes (`protos.ApplicationPolicy`); empty for the default.

    Args:
        policy: `OutOf(2, 'A.peer', …)`, a path such as `/Channel/Application/Endorsement`, or
            nothing.

    Raises:
        ValueError: the policy cannot be read.
    """
    if not policy:
        return b""
    if policy.startswith("/"):
        return policy_reference(policy)
    return signature_policy(parse_policy(policy))


def build_collections(collections: Sequence[Collection]) -> Any:
    """`protos.CollectionConfigPackage`, in the order given (organisations compare the bytes)."""
    package = collection_pb2.CollectionConfigPackage()
    for collection in collections:
        config = package.config.add().static_collection_config
        config.name = collection.name
        members = ", ".join(f"'{msp}.member'" for msp in collection.members)
        config.member_orgs_policy.signature_policy.CopyFrom(parse_policy(f"OR({members})"))
        config.required_peer_count = collection.required_peers
        config.maximum_peer_count = collection.maximum_peers
        config.block_to_live = collection.block_to_live
        config.member_only_read = collection.member_only_read
        config.member_only_write = collection.member_only_write
        if collection.endorsement:
            config.endorsement_policy.ParseFromString(
                build_validation_parameter(collection.endorsement)
            )
    return package


def _fields(definition: Definition) -> dict[str, Any]:
    return {
        "name": definition.name,
        "version": definition.version,
        "sequence": definition.sequence,
        "validation_parameter": build_validation_parameter(definition.endorsement),
        "collections": build_collections(definition.collections),
        "init_required": definition.init_required,
    }


def _committed(name: str, found: Any, approvals: Mapping[str, bool]) -> Committed:
    return Committed(
        name,
        found.version,
        int(found.sequence),
        bool(found.init_required),
        bytes(found.validation_parameter),
        found.collections.SerializeToString(deterministic=True),
        approvals,
    )


async def _query(
    peer: PeerClient, function: str, request: Any, channel_id: str = "", timeout: float = 30.0
) -> bytes:
    arguments = [function.encode(), request.SerializeToString(deterministic=True)]
    return await peer.query(LIFECYCLE, arguments, channel_id=channel_id, timeout=timeout)


async def _submit(
    gateway: Gateway,
    channel_id: str,
    function: str,
    request: Any,
    organizations: Sequence[str],
) -> CommitStatus:
    contract = gateway.network(channel_id).contract(LIFECYCLE)
    raw = request.SerializeToString(deterministic=True)
    return await contract.submit(function, raw, organizations=organizations, retry=NEW_CHANNEL)
