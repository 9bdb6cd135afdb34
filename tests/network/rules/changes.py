"""Changes of a channel configuration, one of each kind, for comparing with configtxlator."""

from collections.abc import Callable
from functools import cache
from typing import Any

from fabric_protos.common import configtx_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2

from network.rules.channel.spec import OrgSpec, build_anchor_peers, build_application_org_group
from network.rules.policy.dsl import parse_config_policy
from tests.network.consortium import Consortium, make_org

Group = Any


@cache
def consortium() -> Consortium:
    return Consortium()


@cache
def original() -> configtx_pb2.Config:
    return consortium().config.config


def change_batch(root: Group) -> None:
    value = root.groups["Orderer"].values["BatchSize"]
    size = orderer_pb2.BatchSize.FromString(value.value)
    size.max_message_count = 7
    value.value = size.SerializeToString()


def change_policy(root: Group) -> None:
    policy = root.groups["Application"].policies["Endorsement"].policy
    policy.CopyFrom(parse_config_policy("ANY Endorsement"))


def change_mod_policy_of_group(root: Group) -> None:
    root.groups["Application"].mod_policy = "/Channel/Orderer/Admins"


def change_mod_policy_of_value(root: Group) -> None:
    root.groups["Orderer"].values["BatchTimeout"].mod_policy = "/Channel/Admins"


def set_anchor_peers(root: Group) -> None:
    value = root.groups["Application"].groups["Org1MSP"].values["AnchorPeers"]
    value.value = build_anchor_peers([("127.0.0.1", 7051)]).SerializeToString()
    value.mod_policy = "Admins"


def add_org(root: Group) -> None:
    org = make_org("Org3MSP")
    spec = OrgSpec("Org3MSP", "Org3MSP", org.msp_config)
    root.groups["Application"].groups["Org3MSP"].CopyFrom(build_application_org_group(spec))


def remove_org(root: Group) -> None:
    del root.groups["Application"].groups["Org2MSP"]


def remove_value(root: Group) -> None:
    del root.groups["Application"].values["Capabilities"]


def several(root: Group) -> None:
    change_batch(root)
    add_org(root)
    set_anchor_peers(root)
    change_policy(root)


CHANGES: dict[str, Callable[[Group], None]] = {
    change.__name__: change
    for change in (
        change_batch,
        change_policy,
        change_mod_policy_of_group,
        change_mod_policy_of_value,
        set_anchor_peers,
        add_org,
        remove_org,
        remove_value,
        several,
    )
}


def changed(change: Callable[[Group], None]) -> configtx_pb2.Config:
    config = configtx_pb2.Config()
    config.CopyFrom(original())
    change(config.channel_group)
    return config
