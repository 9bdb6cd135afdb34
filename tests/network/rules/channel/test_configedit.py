"""Changes of a configuration: each does its own and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from network.rules.channel.config import ChannelConfig
from network.rules.channel.configdiff import describe_changes
from network.rules.channel.configedit import (
    ImpossibleChange,
    add_application_org,
    add_consenter,
    add_revocation_lists,
    edit_config,
    remove_consenter,
    remove_org,
    replace_consenter,
    set_acls,
    set_anchor_peers,
    set_batch,
    set_capabilities,
    set_endpoints,
    set_policy,
)
from network.rules.channel.configtx import NoDifference, compute_update
from network.rules.channel.configvalues import Batch, Consenter
from network.rules.channel.spec import OrgSpec
from network.rules.identity.certificates import Revocation, build_crl
from network.rules.policy.dsl import InvalidPolicyText
from tests.network.consortium import CHANNEL, make_org, now
from tests.network.rules.changes import consortium, original

Change = Callable[[Any], None]


def edit(*changes: Change) -> ChannelConfig:
    return ChannelConfig(CHANNEL, edit_config(original(), changes))


def test_what_is_so_already_is_left_alone() -> None:
    present = ChannelConfig(CHANNEL, original())
    same = [
        set_batch(present.batch),
        set_policy(("Application",), "Writers", "ANY Writers"),
        set_capabilities("application", present.capabilities.application),
        set_acls({}),
        set_anchor_peers("Org1MSP", []),
    ]
    edited = edit_config(original(), same)
    with pytest.raises(NoDifference):
        compute_update(original(), edited, CHANNEL)


def test_the_original_stays() -> None:
    before = original().SerializeToString(deterministic=True)
    edit(remove_org("Application", "Org2MSP"))
    assert original().SerializeToString(deterministic=True) == before


def test_settings() -> None:
    batch = Batch(9, 4096, 2048, 0.25)
    found = edit(
        set_batch(batch),
        set_anchor_peers("Org1MSP", [("a", 1), ("b", 2)]),
        set_acls({"event/Block": "/Channel/Application/Admins"}),
        set_policy(("Application", "Org1MSP"), "Admins", "OR('Org1MSP.member')"),
    )
    assert found.batch == batch
    assert found.application_orgs["Org1MSP"].anchor_peers == (("a", 1), ("b", 2))
    assert found.acl("event/Block") == "/Channel/Application/Admins"
    again = edit_config(found.config, [set_acls({"event/Block": None})])
    assert ChannelConfig(CHANNEL, again).acl("event/Block") == "/Channel/Application/Readers"


def test_organisations_and_consenters_come_and_go() -> None:
    org = make_org("Org3MSP")
    spec = OrgSpec("Org3", "Org3MSP", org.msp_config)
    second = Consenter("second", 7051, b"certificate", b"certificate")
    found = edit(add_application_org(spec), add_consenter(second))
    assert "Org3" in found.application_orgs
    assert [one.host for one in found.consenters][1:] == ["second"]
    first = found.consenters[0]
    renewed = Consenter(first.host, first.port, b"new", b"new")
    after = edit_config(
        found.config,
        [replace_consenter((first.host, first.port), renewed), remove_consenter("second", 7051)],
    )
    consenters = ChannelConfig(CHANNEL, after).consenters
    assert [one.server_tls_certificate for one in consenters] == [b"new"]


def test_a_newer_list_of_a_ca_takes_the_place_of_the_older() -> None:
    def crl(*serials: int) -> bytes:
        return build_crl(
            issuer=consortium().org1.ca,
            revocations=[Revocation(serial, now()) for serial in serials],
            this_update=now(),
            next_update=now(),
        )

    once = edit_config(original(), [add_revocation_lists("Org1MSP", [crl(1)])])
    twice = edit_config(once, [add_revocation_lists("Org1MSP", [crl(1, 2)])])
    assert [str(one) for one in describe_changes(once, twice)] == [
        "+ Application/Org1MSP/MSP/revoked/2: revoked"
    ]
    assert len(ChannelConfig(CHANNEL, twice).msps.msp("Org1MSP").config.revocation_list) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (remove_org("Application", "Org9MSP"), "no organisation of Application"),
        (remove_org("Orderer", "OrdererOrg"), "last organisation of Orderer"),
        (set_anchor_peers("Org9MSP", [("a", 1)]), "has no group Org9MSP"),
        (set_endpoints("Org1MSP", ["a:1"]), "has no group Org1MSP"),
        (remove_consenter("nobody", 1), "is no consenter"),
        (set_policy(("Weather",), "Admins", "ANY Admins"), "has no group Weather"),
    ],
)
def test_what_is_not_possible(change: Change, said: str) -> None:
    with pytest.raises(ImpossibleChange, match=said):
        edit(change)


def test_the_last_consenter_stays() -> None:
    [only] = ChannelConfig(CHANNEL, original()).consenters
    with pytest.raises(ImpossibleChange, match="last consenter"):
        edit(remove_consenter(only.host, only.port))
    with pytest.raises(ImpossibleChange, match="is a consenter already"):
        edit(add_consenter(only))


def test_a_policy_has_to_be_one() -> None:
    with pytest.raises(InvalidPolicyText):
        set_policy(("Application",), "Admins", "MOST Admins")
