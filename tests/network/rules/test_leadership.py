"""Exactly one orderer orders a channel."""

from typing import Any

import pytest

from network.rules.config import ChannelConfig, Consenter
from network.rules.leadership import Part, find_part
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
