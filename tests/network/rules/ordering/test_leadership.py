"""Exactly one orderer orders a channel."""

from typing import Any

import pytest

from network.rules.channel.config import ChannelConfig, Consenter
from network.rules.ordering.leadership import (
    Part,
    Start,
    find_leader,
    find_part,
    judge_start,
    list_other_consenters,
    list_sources,
)
from tests.network.consortium import Consortium


@pytest.fixture(scope="module")
def consortium() -> Consortium:
    return Consortium()


def make_config(consortium: Consortium, *certificates: bytes) -> ChannelConfig:
    consenters = [
        Consenter("127.0.0.1", 7050 + index, certificate, certificate)
        for index, certificate in enumerate(certificates)
    ]
    return ChannelConfig.from_block(consortium.build_genesis(consenters=consenters))


def test_the_first_consenter_leads(consortium: Consortium) -> None:
    first, second, other = (consortium.orderer.enrol_tls(f"orderer{n}")[0] for n in range(3))
    config = make_config(consortium, first, second)
    assert find_part(config, first) is Part.LEADER
    assert find_part(config, second) is Part.CONSENTER
    assert find_part(config, other) is Part.OUTSIDER


def test_without_tls_only_a_sole_consenter_leads(consortium: Consortium) -> None:
    first, second = (consortium.orderer.enrol_tls(f"orderer{n}")[0] for n in range(2))
    assert find_part(make_config(consortium, first), b"") is Part.LEADER
    assert find_part(make_config(consortium, first, second), b"") is Part.OUTSIDER


def test_an_unreadable_certificate_is_nobodys(consortium: Consortium) -> None:
    config = make_config(consortium, consortium.orderer_tls[0])
    assert find_part(config, b"no certificate") is Part.OUTSIDER


def test_a_bft_channel_is_not_ours(consortium: Consortium, monkeypatch: Any) -> None:
    config = make_config(consortium, consortium.orderer_tls[0])
    monkeypatch.setattr(config, "consensus_type", "BFT")
    assert find_part(config, consortium.orderer_tls[0]) is Part.OUTSIDER


def test_whom_to_ask(consortium: Consortium) -> None:
    certificates = [consortium.orderer.enrol_tls(f"orderer{n}")[0] for n in range(3)]
    config = make_config(consortium, *certificates)
    leader = find_leader(config)
    assert leader is not None
    assert (leader.address, leader.tls_roots) == ("127.0.0.1:7050", (consortium.orderer.tls_root,))
    others = list_other_consenters(config, certificates[1])
    assert [other.address for other in others] == ["127.0.0.1:7050", "127.0.0.1:7052"]
    # The endpoint of the config, 127.0.0.1:7050, is one of the consenters and is listed once.
    assert list_sources(config, certificates[1]) == others
    assert [one.address for one in list_sources(config, certificates[0])] == [
        "127.0.0.1:7051",
        "127.0.0.1:7052",
    ]
    assert len(list_sources(config, b"")) == 3


def test_without_consenters_nobody_leads(consortium: Consortium) -> None:
    assert find_leader(make_config(consortium)) is None


@pytest.mark.parametrize(
    ("height", "heights", "fresh", "expected"),
    [
        (1, [], True, Start.LEAD),
        (1, [0, None], True, Start.LEAD),
        (1, [None, None], True, Start.WAIT),
        (1, [None], True, Start.WAIT),
        (1, [0, 0, None, None], True, Start.LEAD),
        (1, [0, None, None, None], True, Start.WAIT),
        (1, [7, None], True, Start.CATCH_UP),
        (5, [None, None], False, Start.LEAD),
        (5, [5, 4], False, Start.LEAD),
        (5, [6, 4], False, Start.CATCH_UP),
    ],
)
def test_a_leader_begins_when_it_may(
    height: int, heights: list[int | None], fresh: bool, expected: Start
) -> None:
    assert judge_start(height, heights, fresh=fresh) is expected
