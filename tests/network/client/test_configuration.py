"""A config update from proposal to broadcast, without a network."""

from typing import Any

import pytest
from fabric_protos.common import common_pb2, configtx_pb2

from network.client.configuration import InvalidProposal, Proposal, RefusedUpdate, propose, submit
from network.rules.channel.config import ChannelConfig
from network.rules.channel.configtx import NoDifference, authorize_update
from network.rules.envelope import open_envelope
from tests.network.consortium import CHANNEL, build_message
from tests.network.rules.changes import CHANGES, add_org, changed, consortium, original


@pytest.fixture
def config() -> ChannelConfig:
    return ChannelConfig(CHANNEL, original())


@pytest.fixture
def proposal(config: ChannelConfig) -> Proposal:
    return propose(config, changed(add_org))


def test_a_file_keeps_everything(proposal: Proposal) -> None:
    signed = proposal.sign(consortium().admin1)
    again = Proposal.from_bytes(signed.to_bytes())
    assert again == signed
    assert proposal.signatures == ()


def test_who_signs_twice_has_signed_once(proposal: Proposal) -> None:
    once = proposal.sign(consortium().admin1)
    assert once.sign(consortium().admin1) is once


def test_signed_by_enough_it_may_be_sent(config: ChannelConfig, proposal: Proposal) -> None:
    one = proposal.sign(consortium().admin1)
    with pytest.raises(RefusedUpdate, match=r"policy for .* not satisfied"):
        one.preview(config)
    two = one.sign(consortium().org2.enrol("Admin@org2", "admin"))
    assert "Org3MSP" in two.preview(config).application_orgs
    sent = two.for_broadcast(consortium().alice).SerializeToString()
    assert authorize_update(config, sent).sequence == 1


async def test_it_is_sent_as_the_sender(proposal: Proposal) -> None:
    taken: list[Any] = []

    class Orderer:
        async def broadcast(self, envelope: Any) -> None:
            taken.append(envelope)

    await submit(Orderer(), proposal, consortium().alice)
    opened = open_envelope(taken[0].SerializeToString())
    assert opened.channel_header.type == common_pb2.CONFIG_UPDATE
    assert opened.channel_header.channel_id == CHANNEL
    assert opened.signature_header.creator == consortium().alice.creator


def test_no_difference_is_no_proposal(config: ChannelConfig) -> None:
    with pytest.raises(NoDifference):
        propose(config, original())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xff", "no config update envelope"),
        (b"", "no config update envelope"),
        (original().SerializeToString(), "no config update envelope"),
    ],
)
def test_other_bytes_are_refused(content: bytes, said: str) -> None:
    with pytest.raises(InvalidProposal, match=said):
        Proposal.from_bytes(content)


def test_another_channels_update_is_refused() -> None:
    update = configtx_pb2.ConfigUpdate(channel_id="other").SerializeToString()
    data = configtx_pb2.ConfigUpdateEnvelope(config_update=update).SerializeToString()
    raw = build_message(consortium().alice, data, type=common_pb2.CONFIG_UPDATE)
    with pytest.raises(InvalidProposal, match="the update in it is for 'other'"):
        Proposal.from_bytes(raw)
    other = build_message(consortium().alice, data, type=common_pb2.ENDORSER_TRANSACTION)
    with pytest.raises(InvalidProposal, match="another type"):
        Proposal.from_bytes(other)


@pytest.mark.parametrize("name", CHANGES)
def test_equal_changes_are_equal_bytes(config: ChannelConfig, name: str) -> None:
    """So that a signature survives a file being written again."""
    updated = changed(CHANGES[name])
    assert propose(config, updated) == propose(config, updated)
