"""Differences of configurations in words, and changes that nobody could undo."""

from collections.abc import Callable
from typing import Any

import pytest

from network.rules.channel.config import ChannelConfig
from network.rules.channel.configdiff import describe_changes, find_doubts, find_lockouts
from network.rules.channel.configedit import edit_config, remove_org, set_acls, set_policy
from tests.network.consortium import CHANNEL
from tests.network.rules.changes import CHANGES, changed, original

TOLD = {
    "add_org": ["+ Application/Org3MSP: organisation Org3MSP"],
    "remove_org": ["- Application/Org2MSP: organisation Org2MSP"],
    "change_batch": ["~ Orderer/BatchSize/max_message_count: 500 → 7"],
    "change_policy": ["~ Application/policies/Endorsement: MAJORITY Endorsement → ANY Endorsement"],
    "set_anchor_peers": ["+ Application/Org1MSP/AnchorPeers: 127.0.0.1:7051"],
    "remove_value": ["- Application/Capabilities: V2_5"],
}


@pytest.mark.parametrize("name", TOLD)
def test_a_change_is_told_in_words(name: str) -> None:
    found = describe_changes(original(), changed(CHANGES[name]))
    assert [str(one) for one in found] == TOLD[name]


def test_equal_configurations_have_no_difference() -> None:
    assert describe_changes(original(), original()) == []


def lockouts(*changes: Callable[[Any], None]) -> list[str]:
    following = edit_config(original(), changes)
    return find_lockouts(ChannelConfig(CHANNEL, original()), ChannelConfig(CHANNEL, following))


def test_a_member_may_go_while_others_can_sign() -> None:
    assert lockouts(remove_org("Application", "Org2MSP")) == []


@pytest.mark.parametrize(
    "rule", ["OR('GoneMSP.admin')", "AND('Org1MSP.admin', 'GoneMSP.admin')", "ANY Weather"]
)
def test_a_policy_of_nobody_locks_everybody_out(rule: str) -> None:
    assert "/Channel/Application/Admins" in lockouts(set_policy(("Application",), "Admins", rule))


def test_a_rule_of_the_one_who_leaves_locks_the_rest_out() -> None:
    ruled = set_policy(("Application",), "Admins", "OR('Org2MSP.admin')")
    assert lockouts(ruled) == []
    assert "/Channel/Application/Admins" in lockouts(ruled, remove_org("Application", "Org2MSP"))


def doubts(*changes: Callable[[Any], None]) -> list[str]:
    following = edit_config(original(), changes)
    return find_doubts(ChannelConfig(CHANNEL, original()), ChannelConfig(CHANNEL, following))


def test_an_acl_of_a_policy_that_is_nowhere_is_doubtful() -> None:
    guarded = set_acls({"qscc/GetBlockByNumber": "Payers", "event/Block": "/Channel/Readers"})
    (told,) = doubts(guarded)
    assert told.startswith("acls.qscc/GetBlockByNumber names Payers, a policy that does not exist")
    payers = set_policy(("Application",), "Payers", "OR('Org1MSP.member')")
    assert doubts(payers, guarded) == []


@pytest.mark.parametrize(
    "rule", ["OR('GoneMSP.member')", "AND('Org1MSP.peer', 'GoneMSP.peer')", "ANY Weather"]
)
def test_an_acl_that_nobody_satisfies_is_doubtful(rule: str) -> None:
    payers = set_policy(("Application",), "Payers", rule)
    guarded = set_acls({"event/Block": "Payers"})
    acl, policy = doubts(payers, guarded)
    assert "acls.event/Block names Payers, a policy that nobody can satisfy" in acl
    assert "policy /Channel/Application/Payers can be satisfied by nobody" in policy


def test_what_was_doubtful_before_is_not_told_again() -> None:
    guarded = set_acls({"event/Block": "Payers"})
    before = ChannelConfig(CHANNEL, edit_config(original(), (guarded,)))
    after = edit_config(before.config, (set_acls({"event/FilteredBlock": "Readers"}),))
    assert find_doubts(before, ChannelConfig(CHANNEL, after)) == []


@pytest.mark.parametrize("name", CHANGES)
def test_a_usual_change_is_not_doubtful(name: str) -> None:
    assert (
        find_doubts(
            ChannelConfig(CHANNEL, original()), ChannelConfig(CHANNEL, changed(CHANGES[name]))
        )
        == []
    )
