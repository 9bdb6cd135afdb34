"""What makes a channel configuration unusable, as Fabric's `common/channelconfig` decides it."""

from collections.abc import Callable
from typing import Any

import pytest
from fabric_protos.common import common_pb2, configtx_pb2, configuration_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from fabric_protos.peer import configuration_pb2 as peer_pb2

from network.rules.channel.config import ChannelConfig, InvalidConfig, open_config_block
from network.rules.identity.msp import MspVersion
from tests.network.consortium import CHANNEL, make_org
from tests.network.rules.changes import changed, consortium, original


def refuse(change: Callable[[Any], None]) -> str:
    with pytest.raises(InvalidConfig) as caught:
        ChannelConfig(CHANNEL, changed(change))
    return str(caught.value)


def set_value(group: Any, key: str, message: Any) -> None:
    group.values[key].value = message.SerializeToString()
    group.values[key].mod_policy = "Admins"


def capabilities(*names: str) -> configuration_pb2.Capabilities:
    value = configuration_pb2.Capabilities()
    for name in names:
        value.capabilities[name].SetInParent()
    return value


def drop_orderer_capabilities(root: Any) -> None:
    del root.groups["Orderer"].values["Capabilities"]


def add_group(root: Any) -> None:
    root.groups["Gossip"].SetInParent()


def add_value(root: Any) -> None:
    root.values["Surprise"].SetInParent()


def add_sub_group(root: Any) -> None:
    root.groups["Application"].groups["Org1MSP"].groups["Ward"].SetInParent()


def zero_batch(root: Any) -> None:
    size = orderer_pb2.BatchSize(absolute_max_bytes=1, preferred_max_bytes=1)
    set_value(root.groups["Orderer"], "BatchSize", size)


def inverted_batch(root: Any) -> None:
    size = orderer_pb2.BatchSize(max_message_count=1, absolute_max_bytes=1, preferred_max_bytes=2)
    set_value(root.groups["Orderer"], "BatchSize", size)


def bad_timeout(root: Any) -> None:
    set_value(root.groups["Orderer"], "BatchTimeout", orderer_pb2.BatchTimeout(timeout="2 s"))


def negative_timeout(root: Any) -> None:
    set_value(root.groups["Orderer"], "BatchTimeout", orderer_pb2.BatchTimeout(timeout="-2s"))


def global_addresses(root: Any) -> None:
    addresses = configuration_pb2.OrdererAddresses(addresses=["127.0.0.1:7050"])
    set_value(root, "OrdererAddresses", addresses)


def no_endpoints(root: Any) -> None:
    del root.groups["Orderer"].groups["OrdererOrg"].values["Endpoints"]


def two_msps_of_one_id(root: Any) -> None:
    twin = make_org("Org1MSP").msp_config
    root.groups["Application"].groups["Org2MSP"].values["MSP"].value = twin


def broken_msp(root: Any) -> None:
    root.groups["Application"].groups["Org2MSP"].values["MSP"].value = b"\xff"


def no_policy(root: Any) -> None:
    root.groups["Application"].policies["Readers"].ClearField("policy")


def wrong_hash(root: Any) -> None:
    set_value(root, "HashingAlgorithm", configuration_pb2.HashingAlgorithm(name="MD5"))


def wrong_width(root: Any) -> None:
    structure = configuration_pb2.BlockDataHashingStructure(width=4)
    set_value(root, "BlockDataHashingStructure", structure)


def old_application(root: Any) -> None:
    set_value(root.groups["Application"], "Capabilities", capabilities("V1_1"))
    set_value(root.groups["Application"], "ACLs", peer_pb2.ACLs())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (drop_orderer_capabilities, "without orderer support first"),
        (add_group, "Disallowed channel group: Gossip"),
        (add_value, "Unexpected key Surprise"),
        (add_sub_group, "ApplicationOrg config does not allow sub-groups"),
        (zero_batch, "batch size max message count to an invalid value: 0"),
        (inverted_batch, "greater than the absolute max bytes (1)."),
        (bad_timeout, 'time: invalid duration "2 s"'),
        (negative_timeout, "non-positive value"),
        (global_addresses, "global OrdererAddresses are not allowed with V3_0 capability"),
        (no_endpoints, "some orderer organizations endpoints are empty: [OrdererOrg]"),
        (two_msps_of_one_id, "Attempted to define two different versions of MSP: Org1MSP"),
        (broken_msp, "failed to deserialize values: MSP: "),
        (no_policy, "policy Readers at path Channel/Application was nil"),
        (wrong_hash, "Unknown hashing algorithm type: MD5"),
        (wrong_width, "BlockDataHashStructure width only supported at MaxUint32"),
        (old_application, "ACLs may not be specified without the required capability"),
    ],
)
def test_refused(change: Callable[[Any], None], text: str) -> None:
    assert text in refuse(change)


def test_empty_config() -> None:
    with pytest.raises(InvalidConfig, match="config must contain a channel group"):
        ChannelConfig(CHANNEL, configtx_pb2.Config())


@pytest.mark.parametrize("name", ["", "Care", "care_1", "1care", "x" * 250])
def test_channel_names(name: str) -> None:
    with pytest.raises(InvalidConfig):
        ChannelConfig(name, original())


def test_acls_override_the_defaults() -> None:
    def add_acls(root: Any) -> None:
        acls = peer_pb2.ACLs()
        acls.acls["event/Block"].policy_ref = "Admins"
        acls.acls["peer/Propose"].policy_ref = "/Channel/Admins"
        acls.acls["event/FilteredBlock"].policy_ref = ""
        set_value(root.groups["Application"], "ACLs", acls)

    config = ChannelConfig(CHANNEL, changed(add_acls))
    assert config.acl("event/Block") == "/Channel/Application/Admins"
    assert config.acl("peer/Propose") == "/Channel/Admins"
    assert config.acl("event/FilteredBlock") == "/Channel/Application/Readers"
    assert config.acl("_lifecycle/CommitChaincodeDefinition") == "/Channel/Application/Writers"
    with pytest.raises(KeyError):
        config.acl("unknown/Resource")


@pytest.mark.parametrize(
    ("names", "version"),
    [
        (["V3_0"], MspVersion.V3_0),
        (["V2_0"], MspVersion.V1_4_3),
        (["V1_4_3"], MspVersion.V1_4_3),
        (["V1_4_2"], MspVersion.V1_3),
        (["V1_3"], MspVersion.V1_3),
        (["V1_1"], MspVersion.V1_1),
        ([], MspVersion.V1_0),
    ],
)
def test_msp_rules_follow_the_channel_capability(names: list[str], version: MspVersion) -> None:
    def change(root: Any) -> None:
        set_value(root, "Capabilities", capabilities(*names))
        if version < MspVersion.V1_4_3:
            # Older channels name their orderers globally and cannot have endpoints below V1_4_2.
            global_addresses(root)
            no_endpoints(root)

    config = ChannelConfig(CHANNEL, changed(change))
    assert config.capabilities.msp_version is version
    assert config.msps.msp("Org1MSP").version is version


def test_global_addresses_serve_where_no_org_has_endpoints() -> None:
    def change(root: Any) -> None:
        set_value(root, "Capabilities", capabilities("V2_0"))
        global_addresses(root)
        no_endpoints(root)

    (endpoint,) = ChannelConfig(CHANNEL, changed(change)).orderer_endpoints
    assert endpoint.address == "127.0.0.1:7050"
    assert endpoint.tls_roots == (consortium().orderer.tls_root,)


def test_unsupported_capabilities_are_named() -> None:
    def change(root: Any) -> None:
        set_value(root.groups["Application"], "Capabilities", capabilities("V9_9"))

    assert ChannelConfig(CHANNEL, changed(change)).capabilities.unsupported() == (
        "Application capability V9_9 is required but not supported",
    )


def test_blocks_that_hold_no_configuration() -> None:
    for data in ([], [b""], [b"\xff"]):
        block = common_pb2.Block(data=common_pb2.BlockData(data=data))
        with pytest.raises(InvalidConfig, match="no config block"):
            open_config_block(block)


def test_application_policies_are_compiled_once() -> None:
    config = ChannelConfig(CHANNEL, original())
    reference = b"\x12\x20/Channel/Application/Endorsement"
    assert config.application_policy(reference) is config.application_policy(reference)
    assert config.application_org_by_msp_id("Org2MSP") is config.application_orgs["Org2MSP"]
    assert config.application_org_by_msp_id("NobodyMSP") is None
