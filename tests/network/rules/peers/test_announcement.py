"""Announcements, dissemination and install packages: what is believed, chosen and opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.client.package import Connection, build_package, build_service_package
from network.rules.channel.config import ChannelConfig
from network.rules.endorsement.plan import Endorser
from network.rules.identity.certificates import Validity
from network.rules.lifecycle.package import (
    BadPackage,
    get_indexes,
    open_connection,
    open_package,
)
from network.rules.peers.announcement import (
    Announcement,
    BadAnnouncement,
    build_announcement,
    open_announcement,
    open_channel_id,
)
from network.rules.peers.dissemination import (
    BadRequest,
    TooFewPeers,
    build_header,
    choose_peers,
    open_request,
    sign_request,
    validate_request,
)
from protos import membership_pb2, private_data_pb2
from tests.network.consortium import Consortium

NOW = datetime.now(UTC).replace(microsecond=0)
WINDOW = timedelta(minutes=15)
WORD = Announcement("care", "peer0.org1:7051", NOW, 7, {"demo": "1"})


@pytest.fixture(scope="module")
def consortium() -> Consortium:
    return Consortium()


@pytest.fixture(scope="module")
def config(consortium: Consortium) -> ChannelConfig:
    return consortium.config


def test_a_peers_word_is_believed(consortium: Consortium, config: ChannelConfig) -> None:
    signed = build_announcement(WORD, consortium.peer)
    assert open_channel_id(signed) == "care"
    announced = open_announcement(signed, config, NOW, WINDOW)
    assert announced.announcement == WORD
    assert announced.identity.msp_id == "Org1MSP"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (replace(WORD, channel_id="other"), "another channel"),
        (replace(WORD, endpoint="nowhere"), "host:port"),
        (replace(WORD, endpoint="h" * 300 + ":1"), "host:port"),
        (replace(WORD, made_at=NOW - timedelta(hours=1)), "too far from this peer's clock"),
        (replace(WORD, made_at=NOW + timedelta(hours=1)), "too far from this peer's clock"),
        (replace(WORD, chaincodes={str(n): "1" for n in range(1001)}), "too many chaincodes"),
    ],
)
def test_bad_words(
    consortium: Consortium, config: ChannelConfig, word: Announcement, text: str
) -> None:
    with pytest.raises(BadAnnouncement, match=text):
        open_announcement(build_announcement(word, consortium.peer), config, NOW, WINDOW)


@pytest.mark.parametrize(
    "name", ["alice", "admin1", "stranger", "orderer_signer"]
)  # a client, an administrator, another CA's, no application organisation
def test_only_peers_of_member_organisations_are_believed(
    consortium: Consortium, config: ChannelConfig, name: str
) -> None:
    signed = build_announcement(WORD, getattr(consortium, name))
    with pytest.raises(BadAnnouncement):
        open_announcement(signed, config, NOW, WINDOW)


def test_expired_peers_are_not_believed(consortium: Consortium, config: ChannelConfig) -> None:
    validity = Validity(NOW - timedelta(days=2), NOW - timedelta(days=1))
    old = consortium.org1.enrol("old", "peer", validity)
    with pytest.raises(BadAnnouncement, match="has expired"):
        open_announcement(build_announcement(WORD, old), config, NOW, WINDOW)


def test_no_changed_byte_is_believed(consortium: Consortium, config: ChannelConfig) -> None:
    signed = build_announcement(WORD, consortium.peer)
    for index in range(0, len(signed.announcement), 7):
        raw = bytearray(signed.announcement)
        raw[index] ^= 1
        changed = membership_pb2.SignedAnnouncement(
            announcement=bytes(raw), signature=signed.signature
        )
        with pytest.raises(BadAnnouncement):
            open_announcement(changed, config, NOW, WINDOW)


def test_requests_are_for_their_recipient_only(
    consortium: Consortium, config: ChannelConfig
) -> None:
    peer = consortium.peer
    request = private_data_pb2.PullRequest(header=build_header("care", peer, "b:1", NOW))
    signed = sign_request(request, peer)
    opened = open_request(private_data_pb2.PullRequest, signed)

    def validate(recipient: str, now: datetime = NOW) -> Any:
        return validate_request(opened.header, signed, config, recipient, now, WINDOW)

    assert validate("b:1").msp_id == "Org1MSP"
    with pytest.raises(BadRequest, match="meant for another peer"):
        validate("c:1")
    with pytest.raises(BadRequest, match="too far from this peer's clock"):
        validate("b:1", NOW + timedelta(hours=1))
    client = sign_request(
        private_data_pb2.PullRequest(header=build_header("care", consortium.alice, "b:1", NOW)),
        consortium.alice,
    )
    with pytest.raises(BadRequest, match="not a peer of the channel"):
        validate_request(
            open_request(private_data_pb2.PullRequest, client).header,
            client, config, "b:1", NOW, WINDOW,
        )  # fmt: skip
    with pytest.raises(BadRequest, match="cannot be read"):
        open_request(private_data_pb2.PullRequest, private_data_pb2.SignedRequest(request=b"\xff"))


def keep(_: list[Endorser]) -> None:
    """No shuffling."""


@given(st.lists(st.sampled_from("ABC"), max_size=6), st.integers(0, 4), st.integers(0, 6))
def test_data_goes_to_every_organisation_first(
    orgs: list[str], required: int, maximum: int
) -> None:
    peers = [Endorser(str(number), org, "") for number, org in enumerate(orgs)]
    maximum = max(required, maximum)
    try:
        chosen = choose_peers(peers, required, maximum, keep)
    except TooFewPeers:
        assert len(peers) < required
        return
    assert len(chosen.peers) == min(maximum, len(peers))
    assert chosen.required == required
    reached = {peer.msp_id for peer in chosen.peers}
    assert len(reached) == min(len(set(orgs)), maximum)


PACKAGE = build_service_package("demo_1", Connection("cc:9999"))


def test_a_service_package_is_opened() -> None:
    package = open_package(PACKAGE)
    assert (package.label, package.type) == ("demo_1", "ccaas")
    assert package.package_id.startswith("demo_1:")
    connection = open_connection(package, {})
    assert (connection.address, connection.dial_timeout) == ("cc:9999", 10.0)
    assert not connection.tls_required
    assert get_indexes(package) == {}


def service(connection: str, kind: str = "ccaas") -> bytes:
    return build_package("demo", kind, {"connection.json": connection.encode()})


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: b"", "error reading as gzip stream"),
        (lambda: PACKAGE[:40], "error reading as gzip stream"),
        (lambda: service("{", "ccaas"), "could not unmarshal connection.json as json"),
        (lambda: service("[]"), "not an object"),
        (lambda: service("{}"), "chaincode address not provided"),
        (lambda: service('{"address":"a:1"}', "golang"), "chaincode type should be ccaas"),
        (lambda: service('{"address":"{{.peer}}:1"}'), "which CHAINCODE_AS_A_SERVICE"),
        (lambda: service('{"address":"a:1","dial_timeout":"soon"}'), "is not a duration"),
        (lambda: service('{"address":"a:1","tls_required":true}'), "tls root cert not provided"),
        (
            lambda: service('{"address":"a:1","tls_required":true,"client_auth_required":true}'),
            "tls key not provided",
        ),
    ],
)
def test_bad_packages(make: Callable[[], bytes], text: str) -> None:
    with pytest.raises(BadPackage, match=text):
        open_connection(open_package(make()), {})


def test_templates_are_filled() -> None:
    package = open_package(service('{"address":"{{.peer}}_cc:1","dial_timeout":"500ms"}'))
    connection = open_connection(package, {"peer": "org1"})
    assert (connection.address, connection.dial_timeout) == ("org1_cc:1", 0.5)


@given(st.binary(max_size=200))
def test_any_bytes_are_opened_or_refused(raw: bytes) -> None:
    with pytest.raises(BadPackage):
        open_package(raw)
