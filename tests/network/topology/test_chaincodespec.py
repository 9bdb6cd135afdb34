"""Chaincode definitions of a topology: policies and collections as `peer` would send them."""

from fabric_protos.msp import msp_principal_pb2
from fabric_protos.peer import policy_pb2

from network.rules.policydsl import format_policy, parse_policy
from network.topology.chaincodespec import build_collections, build_endorsement_policy
from network.topology.model import parse_topology
from tests.network.topology.examples import SMALL, care

COLLECTIONS = SMALL.replace(
    "members: [Alpha, Beta]}",
    """members: [Alpha, Beta], chaincodes: [{name: health, collections: [
      {name: z, members: [Beta, Alpha], blockToLive: 7, memberOnlyRead: false,
       endorsement: "OR('BetaMSP.peer')"},
      {name: a, members: [Alpha], maxPeerCount: 3}]}]}""",
)


def test_endorsement_policies() -> None:
    text = "AND('AlphaMSP.peer', 'BetaMSP.peer')"
    own = policy_pb2.ApplicationPolicy.FromString(build_endorsement_policy(text))
    assert own.signature_policy == parse_policy(text)
    path = "/Channel/Application/Endorsement"
    reference = policy_pb2.ApplicationPolicy.FromString(build_endorsement_policy(path))
    assert reference.channel_config_policy_reference == path
    assert build_endorsement_policy(None) == b""


def test_collections_keep_the_files_order() -> None:
    topology = parse_topology(COLLECTIONS)
    package = build_collections(topology, topology.channels[0].chaincodes[0])
    first, second = (config.static_collection_config for config in package.config)
    assert (first.name, first.block_to_live, first.member_only_read) == ("z", 7, False)
    assert (first.member_only_write, first.maximum_peer_count) == (True, 1)
    assert format_policy(first.endorsement_policy.signature_policy) == "OR('BetaMSP.peer')"
    assert (second.name, second.maximum_peer_count) == ("a", 3)
    assert not second.HasField("endorsement_policy")


def test_member_policy_is_any_member_of_the_named_orgs() -> None:
    topology = care()
    package = build_collections(topology, topology.channels[0].chaincodes[0])
    policy = package.config[0].static_collection_config.member_orgs_policy.signature_policy
    assert format_policy(policy) == "OR('GeneralHospitalMSP.member', 'UnitedPayerMSP.member')"
    roles = [msp_principal_pb2.MSPRole.FromString(p.principal).role for p in policy.identities]
    assert roles == [msp_principal_pb2.MSPRole.MEMBER] * 2
