"""A chaincode of the topology as its definition on the channel: policies and collections."""

from fabric_protos.msp import msp_principal_pb2
from fabric_protos.peer import collection_pb2, policy_pb2

from network.rules.policydsl import any_of_roles, parse_policy
from network.topology.values import Chaincode, Collection, Topology

_MEMBER = msp_principal_pb2.MSPRole.MEMBER


def build_endorsement_policy(text: str | None) -> bytes:
    """Return ApplicationPolicy bytes of a policy or of a channel policy's path; b"" for None,
    which Fabric takes for /Channel/Application/Endorsement."""
    if text is None:
        return b""
    if text.startswith("/"):
        policy = policy_pb2.ApplicationPolicy(channel_config_policy_reference=text)
    else:
        policy = policy_pb2.ApplicationPolicy(signature_policy=parse_policy(text))
    return bytes(policy.SerializeToString())


def build_collections(
    topology: Topology, chaincode: Chaincode
) -> collection_pb2.CollectionConfigPackage:
    """Return the chaincode's collections, in the order of the file.

    Approvals are compared by bytes, so that order must not change between organisations.
    """
    package = collection_pb2.CollectionConfigPackage()
    for collection in chaincode.collections:
        package.config.add().static_collection_config.CopyFrom(
            _build_collection(topology, collection)
        )
    return package


def _build_collection(
    topology: Topology, collection: Collection
) -> collection_pb2.StaticCollectionConfig:
    orgs = [topology.organization(name) for name in collection.members]
    config = collection_pb2.StaticCollectionConfig(
        name=collection.name,
        member_orgs_policy=collection_pb2.CollectionPolicyConfig(
            signature_policy=any_of_roles([org.msp_id for org in orgs], _MEMBER)
        ),
        required_peer_count=collection.required_peer_count,
        maximum_peer_count=_max_peer_count(topology, collection),
        block_to_live=collection.block_to_live,
        member_only_read=collection.member_only_read,
        member_only_write=collection.member_only_write,
    )
    if collection.endorsement is not None:
        policy = build_endorsement_policy(collection.endorsement)
        config.endorsement_policy.ParseFromString(policy)
    return config


def _max_peer_count(topology: Topology, collection: Collection) -> int:
    if collection.max_peer_count is not None:
        return collection.max_peer_count
    peers = sum(len(topology.organization(name).peers) for name in collection.members)
    return max(peers - 1, collection.required_peer_count)
