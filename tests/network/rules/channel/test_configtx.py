"""Authorising config updates: the reading of Fabric's `common/configtx/update.go`, case by case."""

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from fabric_protos.common import common_pb2, configtx_pb2

from network.rules.channel.config import ChannelConfig
from network.rules.channel.configtree import flatten, unflatten
from network.rules.channel.configtx import (
    RefusedUpdate,
    authorize_update,
    build_update_envelope,
    compute_update,
    sign_update,
    validate_config_envelope,
)
from network.rules.identity.identity import Signer
from tests.network.consortium import CHANNEL, build_message, make_org
from tests.network.rules.changes import (
    add_org,
    change_batch,
    change_mod_policy_of_group,
    changed,
    consortium,
    original,
    remove_org,
    set_anchor_peers,
)

Change = Callable[[Any], None]


def config() -> ChannelConfig:
    return ChannelConfig(CHANNEL, original())


def admin2() -> Signer:
    return consortium().org2.enrol("Admin@org2", "admin")


def envelope_of(update: bytes, *signers: Signer) -> bytes:
    signatures = [sign_update(signer, update, secrets.token_bytes(24)) for signer in signers]
    data = build_update_envelope(update, signatures).SerializeToString()
    return build_message(consortium().alice, data, type=common_pb2.CONFIG_UPDATE)


def update_of(change: Change) -> configtx_pb2.ConfigUpdate:
    return compute_update(original(), changed(change), CHANNEL)


def propose(change: Change, *signers: Signer) -> configtx_pb2.Config:
    return authorize_update(config(), envelope_of(update_of(change).SerializeToString(), *signers))


def refuse(update: configtx_pb2.ConfigUpdate, *signers: Signer) -> str:
    with pytest.raises(RefusedUpdate) as caught:
        authorize_update(config(), envelope_of(update.SerializeToString(), *signers))
    return str(caught.value)


def test_orderer_admin_changes_the_batch() -> None:
    following = propose(change_batch, consortium().orderer_admin)
    assert following.sequence == 1
    after = ChannelConfig(CHANNEL, following)
    assert after.batch.max_messages == 7
    orderer = following.channel_group.groups["Orderer"]
    assert (orderer.version, orderer.values["BatchSize"].version) == (0, 1)


def test_one_org_sets_its_own_anchor_peers() -> None:
    following = propose(set_anchor_peers, consortium().admin1)
    after = ChannelConfig(CHANNEL, following)
    assert after.application_orgs["Org1MSP"].anchor_peers == (("127.0.0.1", 7051),)
    org = following.channel_group.groups["Application"].groups["Org1MSP"]
    assert (org.version, org.values["AnchorPeers"].version) == (1, 0)


def test_the_other_org_may_not() -> None:
    text = refuse(update_of(set_anchor_peers), admin2())
    assert text == (
        "error authorizing update: error validating DeltaSet: policy for [Group]  "
        "/Channel/Application/Org1MSP not satisfied: signature set did not satisfy policy"
    )


def test_majority_of_orgs_adds_an_org() -> None:
    following = propose(add_org, consortium().admin1, admin2())
    assert "Org3MSP" in ChannelConfig(CHANNEL, following).application_orgs
    with pytest.raises(RefusedUpdate, match=r"policy for .* not satisfied") as caught:
        propose(add_org, consortium().admin1)
    unsatisfied = caught.value.unsatisfied
    assert unsatisfied is not None
    assert "Org2MSP: OR('Org2MSP.admin')" in unsatisfied.needed
    assert unsatisfied.given == ("Org1MSP/Admin@org1",)


def test_removed_org_is_gone() -> None:
    following = propose(remove_org, consortium().admin1, admin2())
    assert set(ChannelConfig(CHANNEL, following).application_orgs) == {"Org1MSP"}


def test_members_and_peers_do_not_administer() -> None:
    for signer in (consortium().alice, consortium().peer, consortium().stranger):
        assert "not satisfied" in refuse(update_of(change_batch), signer)


def test_outer_signature_does_not_count() -> None:
    update = update_of(set_anchor_peers).SerializeToString()
    data = build_update_envelope(update, []).SerializeToString()
    outer = build_message(consortium().admin1, data, type=common_pb2.CONFIG_UPDATE)
    with pytest.raises(RefusedUpdate, match="not satisfied"):
        authorize_update(config(), outer)


def test_signature_covers_header_and_update() -> None:
    update = update_of(set_anchor_peers).SerializeToString()
    other = update_of(change_batch).SerializeToString()
    stolen = sign_update(consortium().orderer_admin, update, secrets.token_bytes(24))
    data = build_update_envelope(other, [stolen]).SerializeToString()
    raw = build_message(consortium().alice, data, type=common_pb2.CONFIG_UPDATE)
    with pytest.raises(RefusedUpdate, match="not satisfied"):
        authorize_update(config(), raw)


def test_relative_mod_policy_of_a_group_counts_from_the_group_itself() -> None:
    """So "Admins" on Application means the members' admins, not the channel's."""
    propose(change_mod_policy_of_group, consortium().admin1, admin2())


def test_other_channel() -> None:
    update = update_of(change_batch)
    update.channel_id = "other"
    assert refuse(update) == (
        "error authorizing update: ConfigUpdate for channel 'other' but envelope for channel 'care'"
    )


def test_stale_read_set() -> None:
    update = update_of(change_batch)
    update.read_set.groups["Orderer"].version = 3
    assert refuse(update, consortium().orderer_admin) == (
        "error authorizing update: error validating ReadSet: proposed update requires that key "
        "[Group]  /Channel/Orderer be at version 3, but it is currently at version 0"
    )


def test_unknown_element_in_the_read_set() -> None:
    update = update_of(change_batch)
    update.read_set.groups["Nobody"].SetInParent()
    assert "does not contain element for [Group]  /Channel/Nobody" in refuse(update)


def test_empty_delta() -> None:
    update = update_of(change_batch)
    update.write_set.CopyFrom(update.read_set)
    assert refuse(update).endswith("delta set was empty -- update would have no effect")


def test_skipped_version() -> None:
    update = update_of(change_batch)
    update.write_set.groups["Orderer"].values["BatchSize"].version = 5
    assert refuse(update, consortium().orderer_admin).endswith(
        "attempt to set key [Value]  /Channel/Orderer/BatchSize to version 5, "
        "but key is at version 0"
    )


def test_new_element_must_start_at_version_zero() -> None:
    update = update_of(set_anchor_peers)
    org = update.write_set.groups["Application"].groups["Org1MSP"]
    org.values["AnchorPeers"].version = 1
    assert "but key does not exist" in refuse(update, consortium().admin1)


def test_missing_mod_policy() -> None:
    update = update_of(change_batch)
    update.write_set.groups["Orderer"].values["BatchSize"].mod_policy = ""
    assert "mod_policy not set" in refuse(update, consortium().orderer_admin)


def test_illegal_names_are_refused() -> None:
    update = update_of(change_batch)
    update.write_set.groups["bad_name"].SetInParent()
    assert "contains illegal characters" in refuse(update, consortium().orderer_admin)


def test_msp_id_of_an_org_may_not_change() -> None:
    def rename(root: Any) -> None:
        renamed = make_org("RenamedMSP")
        root.groups["Application"].groups["Org1MSP"].values["MSP"].value = renamed.msp_config

    with pytest.raises(RefusedUpdate) as caught:
        propose(rename, consortium().admin1)
    assert str(caught.value) == (
        "application org Org1MSP attempted to change MSP ID from Org1MSP to RenamedMSP"
    )


def test_orderer_section_may_not_disappear() -> None:
    def drop(root: Any) -> None:
        del root.groups["Orderer"]

    everyone = (consortium().orderer_admin, consortium().admin1, admin2())
    with pytest.raises(RefusedUpdate, match="does not contain orderer config"):
        propose(drop, *everyone)


@pytest.mark.parametrize("raw", [b"", b"\xff\xff", b"\x0a\x03abc"])
def test_garbage_is_refused_in_words(raw: bytes) -> None:
    with pytest.raises(RefusedUpdate):
        authorize_update(config(), raw)


def test_transaction_of_another_type_is_refused() -> None:
    with pytest.raises(RefusedUpdate, match="invalid type"):
        authorize_update(config(), build_message(consortium().alice, b""))


def envelope_for_block(change: Change, *signers: Signer) -> configtx_pb2.ConfigEnvelope:
    raw = envelope_of(update_of(change).SerializeToString(), *signers)
    following = authorize_update(config(), raw)
    return configtx_pb2.ConfigEnvelope(
        config=following, last_update=common_pb2.Envelope.FromString(raw)
    )


def test_peer_reaches_the_same_configuration() -> None:
    envelope = envelope_for_block(change_batch, consortium().orderer_admin)
    assert validate_config_envelope(config(), envelope).batch.max_messages == 7


def test_peer_refuses_a_result_that_the_update_does_not_lead_to() -> None:
    envelope = envelope_for_block(change_batch, consortium().orderer_admin)
    change_mod_policy_of_group(envelope.config.channel_group)
    with pytest.raises(RefusedUpdate, match="did not produce the supplied config result"):
        validate_config_envelope(config(), envelope)


def test_peer_refuses_another_sequence() -> None:
    envelope = envelope_for_block(change_batch, consortium().orderer_admin)
    envelope.config.sequence = 2
    with pytest.raises(RefusedUpdate, match="cannot validate config at sequence 2"):
        validate_config_envelope(config(), envelope)


def test_tree_survives_flattening() -> None:
    assert unflatten(flatten(original().channel_group)) == original().channel_group
