"""Changes of consenters and Raft's options, refused with the texts of Fabric's orderer.

The texts were compared with a real 3.1.5 orderer's
(tests/conformance/test_channel_changes_on_real_fabric.py).
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from fabric_protos.orderer.etcdraft import configuration_pb2 as etcdraft_pb2

from network.rules.channel.config import ChannelConfig, Consenter
from network.rules.channel.configedit import add_consenter, edit_config, replace_consenter
from network.rules.ordering.consenters import InvalidConsensus, validate_consensus
from tests.network.consortium import CHANNEL, Consortium, now

Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def consortium() -> Consortium:
    return Consortium()


def follow(consortium: Consortium, *changes: Change, at: timedelta = timedelta()) -> None:
    following = edit_config(consortium.config.config, changes)
    validate_consensus(consortium.config, ChannelConfig(CHANNEL, following), now() + at)


def refuse(consortium: Consortium, *changes: Change, at: timedelta = timedelta()) -> str:
    with pytest.raises(InvalidConsensus) as caught:
        follow(consortium, *changes, at=at)
    return str(caught.value)


def other(consortium: Consortium, port: int, *, by: str = "orderer") -> Consenter:
    pem, _ = getattr(consortium, by).enrol_tls("orderer9")
    return Consenter("127.0.0.1", port, pem, pem)


def revise(field: str, value: Any) -> Change:
    def change(root: Any) -> None:
        entry = root.groups["Orderer"].values["ConsensusType"]
        consensus = orderer_pb2.ConsensusType.FromString(entry.value)
        metadata = etcdraft_pb2.ConfigMetadata.FromString(consensus.metadata)
        if field:
            setattr(metadata.options, field, value)
        else:
            metadata.ClearField("options")
        consensus.metadata = metadata.SerializeToString()
        entry.value = consensus.SerializeToString()

    return change


def test_one_comes_or_is_replaced(consortium: Consortium) -> None:
    [only] = consortium.config.consenters
    follow(consortium, add_consenter(other(consortium, 1)))
    successor = other(consortium, only.port)
    follow(consortium, replace_consenter((only.host, only.port), successor))


def test_two_at_a_time_do_not(consortium: Consortium) -> None:
    text = refuse(
        consortium, add_consenter(other(consortium, 1)), add_consenter(other(consortium, 2))
    )
    assert text == (
        "update of more than one consenter at a time is not supported, requested changes: "
        "add 2 node(s), remove 0 node(s)"
    )


def test_its_certificate_is_by_an_orderer_organisation(consortium: Consortium) -> None:
    text = refuse(consortium, add_consenter(other(consortium, 1, by="org1")))
    assert text.startswith(
        "invalid new config metadata: consenter 127.0.0.1:1 has invalid certificate: verifying "
        "tls client cert with serial number "
    )
    assert "x509: certificate signed by unknown authority" in text


def test_an_expired_one_may_stay_but_not_come(consortium: Consortium) -> None:
    later = timedelta(days=31)
    text = refuse(consortium, add_consenter(other(consortium, 1)), at=later)
    assert text.startswith("consenter 127.0.0.1:1 has invalid certificates: verifying tls client")
    follow(consortium, revise("election_tick", 11), at=later)


def test_no_certificate_stands_twice(consortium: Consortium) -> None:
    [only] = consortium.config.consenters
    twin = Consenter("127.0.0.1", 1, only.client_tls_certificate, only.server_tls_certificate)
    assert refuse(consortium, add_consenter(twin)).startswith(
        "invalid new config metadata: duplicate consenter: server cert: -----BEGIN CERTIFICATE"
    )


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("", None, "nil Raft config metadata options"),
        ("heartbeat_tick", 0, "none of HeartbeatTick (0), ElectionTick (10) and MaxInflightBlocks"),
        ("election_tick", 1, "ElectionTick (1) must be greater than HeartbeatTick (1)"),
        ("tick_interval", "0", "TickInterval cannot be zero"),
        ("tick_interval", "soon", "failed to parse TickInterval (soon) to time duration"),
    ],
)
def test_options(consortium: Consortium, field: str, value: Any, said: str) -> None:
    text = refuse(consortium, revise(field, value))
    assert text.startswith(f"invalid new config metadata: {said}")
