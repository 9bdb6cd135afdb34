"""What the orderer admits, in Fabric's order; what becomes of a config update."""

import secrets
from dataclasses import replace
from datetime import timedelta

import pytest
from fabric_protos.common import common_pb2, configtx_pb2
from hypothesis import given
from hypothesis import strategies as st

from network.rules.channel.config import ChannelConfig
from network.rules.channel.configtx import validate_config_envelope
from network.rules.channel.spec import DEFAULT_BATCH
from network.rules.envelope import OpenedEnvelope, build_envelope
from network.rules.identity.certificates import Validity
from network.rules.ordering.admission import (
    Kind,
    Refused,
    admit,
    get_readers_policy,
    open_message,
    propose_config,
)
from tests.network.consortium import CHANNEL, Consortium, build_message, now
from tests.network.updates import build_update, set_batch_size, set_maintenance

LIMIT = 64 * 1024


@pytest.fixture(scope="module")
def consortium() -> Consortium:
    batch = replace(DEFAULT_BATCH, absolute_max_bytes=LIMIT, preferred_max_bytes=LIMIT)
    return Consortium(batch=batch)


@pytest.fixture(scope="module")
def config(consortium: Consortium) -> ChannelConfig:
    return consortium.config


def admit_message(raw: bytes, config: ChannelConfig) -> Kind:
    return admit(open_message(raw), config, now()).kind


class TestFilters:
    def test_a_members_transaction_passes(
        self, consortium: Consortium, config: ChannelConfig
    ) -> None:
        raw = build_message(consortium.alice)
        admitted = admit(open_message(raw), config, now())
        assert (admitted.kind, admitted.raw, admitted.sequence) == (Kind.NORMAL, raw, 0)
        assert admitted.size < len(raw)

    def test_a_peer_may_not_write(self, consortium: Consortium, config: ChannelConfig) -> None:
        with pytest.raises(Refused, match=r": permission denied$") as caught:
            admit_message(build_message(consortium.peer), config)
        assert caught.value.status == common_pb2.FORBIDDEN

    def test_size_is_checked_before_the_signature(
        self, consortium: Consortium, config: ChannelConfig
    ) -> None:
        with pytest.raises(Refused, match=f"exceeds maximum allowed {LIMIT} bytes"):
            admit_message(build_message(consortium.stranger, bytes(LIMIT)), config)

    def test_exactly_the_limit_passes(self, consortium: Consortium, config: ChannelConfig) -> None:
        small = open_message(build_message(consortium.alice, b""))
        overhead = len(small.payload) + len(small.signature)
        room = LIMIT - overhead - 16  # a signature's length varies by a few bytes
        assert admit_message(build_message(consortium.alice, bytes(room)), config) is Kind.NORMAL

    def test_an_expired_creator_is_refused_unless_expiry_is_not_checked(
        self, consortium: Consortium, config: ChannelConfig
    ) -> None:
        past = Validity(now() - timedelta(hours=2), now() - timedelta(hours=1))
        envelope = open_message(build_message(consortium.org1.enrol("old", "client", past)))
        with pytest.raises(Refused, match="broadcast client identity expired"):
            admit(envelope, config, now())
        assert admit(envelope, config, now(), checks_expiry=False)
        assert admit(envelope, config, now() - timedelta(minutes=90))

    def test_maintenance_mode_refuses_transactions(
        self, consortium: Consortium, config: ChannelConfig
    ) -> None:
        update = build_update(consortium, config, set_maintenance, [consortium.orderer_admin])
        quiet = propose(consortium, update, config)
        assert get_readers_policy(config) == "/Channel/Readers"
        assert get_readers_policy(quiet) == "/Channel/Orderer/Readers"
        with pytest.raises(Refused, match="maintenance mode") as caught:
            admit_message(build_message(consortium.alice), quiet)
        assert caught.value.status == common_pb2.SERVICE_UNAVAILABLE

    def test_what_is_stored_is_canonical(
        self, consortium: Consortium, config: ChannelConfig
    ) -> None:
        good = open_message(build_message(consortium.alice))
        signature_first = build_envelope(b"", good.signature) + build_envelope(good.payload, b"")
        assert signature_first != good.raw
        admitted = admit(open_message(signature_first), config, now())
        assert admitted.raw == good.raw


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_status(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        open_message(raw)
    assert caught.value.status == common_pb2.BAD_REQUEST


class TestConfigUpdate:
    def test_it_becomes_a_config_envelope_signed_by_the_orderer(
        self, consortium: Consortium, config: ChannelConfig
    ) -> None:
        update = build_update(consortium, config, set_batch_size, [consortium.orderer_admin])
        opened = open_message(update)
        assert admit(opened, config, now()).kind is Kind.CONFIG_UPDATE
        proposed = propose_config(
            opened, config, consortium.orderer_signer, secrets.token_bytes(24), now()
        )
        envelope = proposed.admitted.envelope
        assert envelope.channel_header.type == common_pb2.CONFIG
        assert envelope.channel_header.tx_id == ""
        assert envelope.signature_header.creator == consortium.orderer_signer.creator
        assert proposed.config.sequence == 1
        assert proposed.config.batch.max_messages == 7
        message = configtx_pb2.ConfigEnvelope.FromString(envelope.data)
        assert message.last_update.SerializeToString() == update

    def test_a_peer_comes_to_the_same_config(
        self, consortium: Consortium, config: ChannelConfig
    ) -> None:
        update = build_update(consortium, config, set_batch_size, [consortium.orderer_admin])
        proposed = propose_config(
            open_message(update), config, consortium.orderer_signer, b"n" * 24, now()
        )
        message = configtx_pb2.ConfigEnvelope.FromString(proposed.admitted.envelope.data)
        following = validate_config_envelope(config, message)
        assert following.config == proposed.config.config

    def test_without_the_admins_signature_it_is_refused(
        self, consortium: Consortium, config: ChannelConfig
    ) -> None:
        update = build_update(consortium, config, set_batch_size, [consortium.admin1])
        text = f"error applying config update to existing channel '{CHANNEL}'.*not satisfied"
        with pytest.raises(Refused, match=text) as caught:
            propose(consortium, update, config)
        assert caught.value.status == common_pb2.BAD_REQUEST

    def test_a_sender_who_may_not_write_is_told_so(
        self, consortium: Consortium, config: ChannelConfig
    ) -> None:
        update = build_update(
            consortium, config, set_batch_size, [consortium.orderer_admin], consortium.peer
        )
        with pytest.raises(Refused, match=r"did not pass initial checks: .*permission denied"):
            admit(open_message(update), config, now())

    def test_an_orderer_that_may_not_write_is_told_so(
        self, consortium: Consortium, config: ChannelConfig
    ) -> None:
        update = build_update(consortium, config, set_batch_size, [consortium.orderer_admin])
        with pytest.raises(Refused, match=r"did not pass final checks: .*permission denied"):
            propose_config(open_message(update), config, consortium.stranger, b"n", now())


def propose(consortium: Consortium, update: bytes, config: ChannelConfig) -> ChannelConfig:
    signer = consortium.orderer_signer
    return propose_config(open_message(update), config, signer, b"n" * 24, now()).config


def test_the_opened_envelope_keeps_its_bytes(consortium: Consortium) -> None:
    raw = build_message(consortium.alice)
    opened: OpenedEnvelope = open_message(raw)
    assert opened.raw == raw
