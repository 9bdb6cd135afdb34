"""Differences of configurations in words, and changes that nobody could undo."""

from collections.abc import Callable
from typing import Any

import pytest

from network.rules.channel.config import ChannelConfig
from network.rules.channel.configdiff import describe_changes, find_lockouts
from network.rules.channel.configedit import edit_config, remove_org, set_policy
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
