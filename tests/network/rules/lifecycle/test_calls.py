"""The lifecycle calls: what each refuses, in Fabric's words, and what agreement takes."""

from typing import Any

import pytest
from fabric_protos.peer import collection_pb2, policy_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2 as pb

from network.rules.channel.config import ChannelConfig
from network.rules.lifecycle.calls import invoke
from network.rules.lifecycle.collections import build_implicit_collection, channel_collections
from network.rules.lifecycle.definitions import ChaincodeDefinition
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.invocation import ChannelFacts, InstalledChaincode, Invocation
from network.rules.policy.dsl import parse_policy
from network.rules.state.recorder import Recorder
from network.rules.state.rwset import open_private_rwset, open_rwset
from network.rules.state.snapshot import MemorySnapshot, StateValue, Version
from network.rules.validation.mvcc import UpdateBatch, apply_writes
from network.rules.validation.privatedata import changes_of
from tests.network.node.ledger.test_ledger_replay import read_ledger

CONFIG = ChannelConfig.from_block(read_ledger("behaviour")[0])
ORGS = ("Org1MSP", "Org2MSP")


class Channel:
    """State of two organisations in memory; `run` invokes and commits."""

    def __init__(self) -> None:
        self.snapshot = MemorySnapshot()
        self.facts = ChannelFacts("ch", ORGS, CONFIG.msps)
        self.block = 0

    def run(self, function: str, args: Any, org: str = "Org1MSP") -> bytes:
        recorder = Recorder(self.snapshot, collections=channel_collections(ORGS))
        result = invoke(
            function,
            args.SerializeToString(),
            Invocation(org, recorder=recorder, channel=self.facts),
        )
        self.commit(recorder)
        return result

    def commit(self, recorder: Recorder) -> None:
        self.block += 1
        results, updates = recorder.results(), UpdateBatch()
        version = Version(self.block, 0)
        apply_writes(open_rwset(results.public), version, updates, self.snapshot)
        for namespace, keys in updates.public.items():
            for key, update in keys.items():
                assert update.value is not None
                self.snapshot.states[namespace, key] = StateValue(update.value, version)
        for at, hashes in updates.hashed.items():
            for key_hash, update in hashes.items():
                assert update.value is not None
                self.snapshot.hashes[(*at, key_hash)] = StateValue(update.value, version)
        for part in open_private_rwset(results.private):
            for change in changes_of(part, version):
                assert change.value is not None
                self.snapshot.privates[change[:3]] = StateValue(change.value, version)

    def approve(self, org: str, **changes: Any) -> None:
        self.run("ApproveChaincodeDefinitionForMyOrg", approval(**changes), org)

    def readiness(self, **changes: Any) -> Any:
        raw = self.run("CheckCommitReadiness", pb.CheckCommitReadinessArgs(**definition(**changes)))
        return pb.CheckCommitReadinessResult.FromString(raw)


def definition(**changes: Any) -> dict[str, Any]:
    return {"name": "cc", "version": "1", "sequence": 1} | changes


def approval(package: str = "cc:1", **changes: Any) -> Any:
    args = pb.ApproveChaincodeDefinitionForMyOrgArgs(**definition(**changes))
    args.source.local_package.package_id = package
    return args


def commit_args(**changes: Any) -> Any:
    return pb.CommitChaincodeDefinitionArgs(**definition(**changes))


def collections(*names: str, policy: str = "OR('Org1MSP.member')", **fields: Any) -> Any:
    package = collection_pb2.CollectionConfigPackage()
    for name in names:
        config = package.config.add().static_collection_config
        config.name = name
        config.member_orgs_policy.signature_policy.CopyFrom(parse_policy(policy))
        for field, value in fields.items():
            setattr(config, field, value)
    return package


@pytest.fixture
def channel() -> Channel:
    return Channel()


def test_two_approvals_then_commit_then_query(channel: Channel) -> None:
    channel.approve("Org1MSP")
    assert dict(channel.readiness().approvals) == {"Org1MSP": True, "Org2MSP": False}
    assert list(channel.readiness().mismatches["Org2MSP"].items) == ["ChaincodeParameters"]
    channel.approve("Org2MSP")
    channel.run("CommitChaincodeDefinition", commit_args())
    raw = channel.run("QueryChaincodeDefinition", pb.QueryChaincodeDefinitionArgs(name="cc"))
    found = pb.QueryChaincodeDefinitionResult.FromString(raw)
    assert (found.sequence, found.version) == (1, "1")
    assert (found.endorsement_plugin, found.validation_plugin) == ("escc", "vscc")
    policy = policy_pb2.ApplicationPolicy.FromString(found.validation_parameter)
    assert policy.channel_config_policy_reference == "/Channel/Application/Endorsement"
    assert dict(found.approvals) == {"Org1MSP": True, "Org2MSP": True}
    raw = channel.run("QueryChaincodeDefinitions", pb.QueryChaincodeDefinitionsArgs())
    (listed,) = pb.QueryChaincodeDefinitionsResult.FromString(raw).chaincode_definitions
    assert listed.name == "cc"


def test_mismatches_name_the_fields(channel: Channel) -> None:
    channel.approve("Org1MSP", version="2", collections=collections("c"))
    mismatches = channel.readiness().mismatches["Org1MSP"].items
    assert list(mismatches) == ["EndorsementInfo", "Collections"]


def test_approved_definition_can_be_read_back(channel: Channel) -> None:
    channel.approve("Org1MSP", collections=collections("c"))
    args = pb.QueryApprovedChaincodeDefinitionArgs(name="cc")
    raw = channel.run("QueryApprovedChaincodeDefinition", args)
    found = pb.QueryApprovedChaincodeDefinitionResult.FromString(raw)
    assert found.source.local_package.package_id == "cc:1"
    assert found.collections == collections("c")
    raw = channel.run(
        "QueryApprovedChaincodeDefinitions", pb.QueryApprovedChaincodeDefinitionsArgs()
    )
    (listed,) = pb.QueryApprovedChaincodeDefinitionsResult.FromString(
        raw
    ).approved_chaincode_definitions
    assert (listed.name, listed.sequence) == ("cc", 1)


REFUSED_APPROVALS = [
    ({"sequence": 0}, "requested sequence is 0, but first definable sequence number is 1"),
    ({"sequence": 3}, "requested sequence 3 is larger than the next available sequence number 1"),
    ({"name": "a/b"}, "error validating chaincode definition: invalid chaincode name 'a/b'."),
    ({"name": "lscc"}, "chaincode name 'lscc' is the name of a system chaincode"),
    ({"version": "a b"}, "invalid chaincode version 'a b'."),
    ({"collections": collections("_x")}, "invalid collection name '_x'."),
    ({"collections": collections("c", "c")}, "collection-name: c -- found duplicate"),
    (
        {"collections": collections("c", required_peer_count=2, maximum_peer_count=1)},
        "maximum peer count (1) cannot be less than the required peer count (2)",
    ),
    (
        {"collections": collections("c", policy="OR('NopeMSP.member')")},
        "collection-name: c -- collection member 'NopeMSP' is not part of the channel",
    ),
    (
        {"collections": collections("c", policy="AND('Org1MSP.member','Org2MSP.member')")},
        "signature policy is not an OR concatenation, NOutOf 2",
    ),
]


@pytest.mark.parametrize(("changes", "text"), REFUSED_APPROVALS)
def test_refused_approvals(channel: Channel, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(LifecycleError) as refused:
        channel.approve("Org1MSP", **changes)
    prefix = "failed to invoke backing implementation of 'ApproveChaincodeDefinitionForMyOrg': "
    assert str(refused.value).startswith(prefix)
    assert text in str(refused.value)
    assert refused.value.status == 500


def test_commit_needs_ones_own_approval_and_the_next_sequence(channel: Channel) -> None:
    channel.approve("Org2MSP")
    with pytest.raises(LifecycleError, match=r"not agreed to by this org \(Org1MSP\)"):
        channel.run("CommitChaincodeDefinition", commit_args())
    with pytest.raises(LifecycleError, match="is 2, but new definition must be sequence 1"):
        channel.run("CommitChaincodeDefinition", commit_args(sequence=2))


def test_unchanged_approvals_are_refused_and_new_packages_taken(channel: Channel) -> None:
    channel.approve("Org1MSP")
    with pytest.raises(LifecycleError, match=r"uncommitted sequence \(1\) for namespace cc with"):
        channel.approve("Org1MSP")
    channel.approve("Org1MSP", package="cc:2")
    channel.run("CommitChaincodeDefinition", commit_args())
    with pytest.raises(LifecycleError, match=r"current committed sequence \(1\) for namespace cc$"):
        channel.approve("Org1MSP", package="cc:2")
    with pytest.raises(LifecycleError, match="expected Version '1' does not match passed Version"):
        channel.approve("Org1MSP", version="9")
    channel.approve("Org1MSP", package="cc:3")
    channel.approve("Org1MSP", sequence=2)


def test_upgrade_keeps_collections_and_their_lifetime(channel: Channel) -> None:
    kept = collections("c", block_to_live=5)
    channel.approve("Org1MSP", collections=kept)
    channel.run("CommitChaincodeDefinition", commit_args(collections=kept))
    for wrong, text in (
        (None, "does not contain previously defined collections"),
        (collections("d"), r"existing collection \[c\] missing"),
        (collections("c", block_to_live=6), r"BlockToLive in an existing collection \[c\] modif"),
    ):
        with pytest.raises(LifecycleError, match=text):
            channel.approve("Org1MSP", sequence=2, collections=wrong)


def test_undefined_chaincode_is_404_without_prefix(channel: Channel) -> None:
    with pytest.raises(LifecycleError) as refused:
        channel.run("QueryChaincodeDefinition", pb.QueryChaincodeDefinitionArgs(name="no"))
    assert (refused.value.status, str(refused.value)) == (404, "namespace no is not defined")


def test_unknown_function_and_undecodable_arguments(channel: Channel) -> None:
    call = Invocation("Org1MSP", recorder=Recorder(channel.snapshot), channel=channel.facts)
    with pytest.raises(LifecycleError, match=r"\*lifecycle\.Invocation\.Nope does not exist"):
        invoke("Nope", b"", call)
    with pytest.raises(LifecycleError, match="could not decode input arg"):
        invoke("CommitChaincodeDefinition", b"\xff", call)


class Packages:
    """A store with one package."""

    installed = InstalledChaincode("p:1", "p", {"ch": [("cc", "1")]})

    def install(self, package: bytes) -> InstalledChaincode:
        return self.installed

    def get(self, package_id: str) -> InstalledChaincode | None:
        return self.installed if package_id == "p:1" else None

    def load(self, package_id: str) -> bytes | None:
        return b"bytes" if package_id == "p:1" else None

    def list(self) -> list[InstalledChaincode]:
        return [self.installed]


def test_packages_are_listed_and_unknown_ones_told_apart() -> None:
    call = Invocation("Org1MSP", store=Packages())
    raw = invoke("QueryInstalledChaincodes", b"", call)
    (found,) = pb.QueryInstalledChaincodesResult.FromString(raw).installed_chaincodes
    assert found.references["ch"].chaincodes[0].name == "cc"
    args = pb.QueryInstalledChaincodeArgs(package_id="x:1").SerializeToString()
    with pytest.raises(LifecycleError) as refused:
        invoke("QueryInstalledChaincode", args, call)
    assert refused.value.status == 404
    with pytest.raises(LifecycleError) as refused:
        invoke("GetInstalledChaincodePackage", args, call)
    assert refused.value.status == 500
    with pytest.raises(LifecycleError, match="invalid channel-less operation"):
        invoke("QueryChaincodeDefinition", b"", call)


def test_empty_collections_serialize_as_go_serializes_nil() -> None:
    assert ChaincodeDefinition(1, "1").fields()["Collections"] == b"\x12\x00"
    assert build_implicit_collection("M").name == "_implicit_org_M"
