"""Maintenance mode: what may change about a channel's consensus, with Fabric's texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fabric_protos.common import common_pb2, configuration_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2

from network.rules.channel.config import ChannelConfig
from network.rules.ordering.admission import Refused, open_message, propose_config
from network.rules.ordering.leadership import Part, find_part
from tests.network.consortium import Consortium, now
from tests.network.updates import build_update, change_consensus, set_batch_size

NORMAL, MAINTENANCE = (
    orderer_pb2.ConsensusType.STATE_NORMAL,
    orderer_pb2.ConsensusType.STATE_MAINTENANCE,
)


@pytest.fixture(scope="module")
def consortium() -> Consortium:
    return Consortium()


def change(
    consortium: Consortium, config: ChannelConfig, *changes: Callable[[Any], None]
) -> ChannelConfig:
    def apply(group: Any) -> None:
        for one in changes:
            one(group)

    update = build_update(consortium, config, apply, [consortium.orderer_admin])
    signer = consortium.orderer_signer
    return propose_config(open_message(update), config, signer, b"n" * 24, now()).config


def refuse(
    consortium: Consortium, config: ChannelConfig, text: str, *changes: Callable[[Any], None]
) -> None:
    with pytest.raises(Refused) as caught:
        change(consortium, config, *changes)
    assert caught.value.status == common_pb2.BAD_REQUEST
    assert text in caught.value.info


@pytest.fixture(scope="module")
def resting(consortium: Consortium) -> ChannelConfig:
    return change(consortium, consortium.config, change_consensus(state=MAINTENANCE))


def test_it_is_entered_and_left(consortium: Consortium, resting: ChannelConfig) -> None:
    assert resting.maintenance
    assert not change(consortium, resting, change_consensus(state=NORMAL)).maintenance


def test_nothing_else_changes_with_it(consortium: Consortium) -> None:
    enter = change_consensus(state=MAINTENANCE)
    config = consortium.config
    refuse(
        consortium, config, "did not pass maintenance checks: config transaction inspection failed:"
        " config update contain more then just the ConsensusType value", enter, set_batch_size,
    )  # fmt: skip
    refuse(
        consortium, config, "attempted to change ConsensusType.Metadata, but ConsensusType.State "
        "is changing from STATE_NORMAL to STATE_MAINTENANCE", enter, change_consensus(metadata=b""),
    )  # fmt: skip


def test_the_type_changes_only_in_it(consortium: Consortium) -> None:
    refuse(
        consortium, consortium.config, "attempted to change consensus type from etcdraft to solo, "
        "but current config ConsensusType.State is not in maintenance mode",
        change_consensus(type="solo"),
    )  # fmt: skip


def test_the_type_changes_only_to_bft(consortium: Consortium, resting: ChannelConfig) -> None:
    refuse(
        consortium, resting, "attempted to change consensus type from etcdraft to solo, transition "
        "not supported", change_consensus(type="solo"),
    )  # fmt: skip


def test_bft_needs_every_consenter(consortium: Consortium, resting: ChannelConfig) -> None:
    refuse(
        consortium, resting, "invalid BFT consenter mapping configuration: Invalid new config: bft "
        "consenters are missing", change_consensus(type="BFT", metadata=b""),
    )  # fmt: skip


def test_handed_over_to_bft_nobody_of_ours_leads(
    consortium: Consortium, resting: ChannelConfig
) -> None:
    certificate = consortium.orderer_tls[0]
    consenter = configuration_pb2.Orderers(
        consenter_mapping=[
            configuration_pb2.Consenter(
                id=1,
                host="127.0.0.1",
                port=7050,
                msp_id="OrdererMSP",
                identity=consortium.orderer_pem[0],
                client_tls_cert=certificate,
                server_tls_cert=certificate,
            )
        ]
    )

    def list_consenters(group: Any) -> None:
        group.values["Orderers"].value = consenter.SerializeToString()
        group.values["Orderers"].mod_policy = "Admins"

    following = change(
        consortium, resting, change_consensus(type="BFT", metadata=b""), list_consenters
    )
    assert following.consensus_type == "BFT"
    assert find_part(following, certificate) is Part.OUTSIDER
