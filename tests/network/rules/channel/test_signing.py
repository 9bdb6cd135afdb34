"""Whose signatures are missing, checked against what authorising the update then says."""

import itertools
import secrets

import pytest
from fabric_protos.common import common_pb2

from network.rules.channel.config import ChannelConfig
from network.rules.channel.configedit import edit_config, set_policy
from network.rules.channel.configtx import (
    RefusedUpdate,
    authorize_update,
    build_update_envelope,
    compute_update,
    sign_update,
)
from network.rules.channel.signing import Requirement, judge_signatures, list_signatures
from network.rules.identity.identity import Signer
from tests.network.consortium import CHANNEL, build_message
from tests.network.rules.changes import CHANGES, changed, consortium, original


def signers() -> dict[str, Signer]:
    return {
        "Org1MSP": consortium().admin1,
        "Org2MSP": consortium().org2.enrol("Admin@org2", "admin"),
        "OrdererMSP": consortium().orderer_admin,
    }


def judge(name: str, *by: Signer) -> list[Requirement]:
    update = compute_update(original(), changed(CHANGES[name]), CHANNEL).SerializeToString()
    signatures = [sign_update(one, update, secrets.token_bytes(24)) for one in by]
    config = ChannelConfig(CHANNEL, original())
    return judge_signatures(config, build_update_envelope(update, signatures))


def test_two_of_two_members_are_missing_then_one_then_none() -> None:
    known = signers()
    [first] = judge("add_org")
    assert (first.policy, first.missing, first.candidates) == (
        "/Channel/Application/Admins",
        2,
        ("Org1MSP", "Org2MSP"),
    )
    [second] = judge("add_org", known["Org1MSP"])
    assert (second.missing, second.candidates, second.satisfied) == (1, ("Org2MSP",), False)
    assert str(second) == "/Channel/Application/Admins: still needs Org2MSP"
    [third] = judge("add_org", known["Org1MSP"], known["Org2MSP"])
    assert (third.satisfied, third.candidates) == (True, ())


def test_only_the_organisation_itself_changes_its_anchor_peers() -> None:
    [found] = judge("set_anchor_peers", signers()["Org2MSP"])
    assert found.candidates == ("Org1MSP",)


def test_a_member_who_is_no_admin_has_not_helped() -> None:
    [found] = judge("set_anchor_peers", consortium().alice)
    assert (found.missing, found.candidates) == (1, ("Org1MSP",))


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("count", range(4))
def test_satisfied_is_what_an_orderer_accepts(name: str, count: int) -> None:
    """Whoever signs: an update is refused for want of signatures exactly when one is missing."""
    known = signers()
    update = compute_update(original(), changed(CHANGES[name]), CHANNEL).SerializeToString()
    config = ChannelConfig(CHANNEL, original())
    for chosen in itertools.combinations(known.values(), count):
        signatures = [sign_update(one, update, secrets.token_bytes(24)) for one in chosen]
        envelope = build_update_envelope(update, signatures)
        complete = all(one.satisfied for one in judge_signatures(config, envelope))
        raw = build_message(
            consortium().alice, envelope.SerializeToString(), type=common_pb2.CONFIG_UPDATE
        )
        try:
            authorize_update(config, raw)
            refused = False
        except RefusedUpdate as error:
            refused = "not satisfied" in str(error)
        assert complete is not refused


def test_signers_whom_it_names_are_enough() -> None:
    """Adding a signature of each candidate satisfies everything."""
    known = signers()
    for name in CHANGES:
        missing = {one for found in judge(name) for one in found.candidates}
        assert all(one.satisfied for one in judge(name, *(known[one] for one in missing)))


def test_a_policy_that_counts() -> None:
    rule = "OutOf(2, 'Org1MSP.admin', 'Org2MSP.admin', 'OrdererMSP.admin')"
    ruled = edit_config(original(), [set_policy(("Application",), "Admins", rule)])
    config = ChannelConfig(CHANNEL, ruled)
    after = edit_config(ruled, [CHANGES["add_org"]])
    update = compute_update(ruled, after, CHANNEL).SerializeToString()
    known = signers()
    signed = [sign_update(known["Org1MSP"], update, b"n" * 24)]
    [none] = judge_signatures(config, build_update_envelope(update, []))
    [one] = judge_signatures(config, build_update_envelope(update, signed))
    assert (none.missing, len(none.candidates)) == (2, 3)
    assert (one.missing, one.candidates) == (1, ("Org2MSP", "OrdererMSP"))


def test_signatures_that_do_not_count_are_told() -> None:
    update = compute_update(original(), changed(CHANGES["add_org"]), CHANNEL).SerializeToString()
    good = sign_update(consortium().admin1, update, b"n" * 24)
    other = sign_update(consortium().admin1, b"another update", b"n" * 24)
    stranger = sign_update(consortium().stranger, update, b"n" * 24)
    envelope = build_update_envelope(update, [good, good, other, stranger])
    found = list_signatures(ChannelConfig(CHANNEL, original()), envelope)
    assert [one.valid for one in found] == [True, False, False, False]
    assert found[0].name == "Admin@org1"
