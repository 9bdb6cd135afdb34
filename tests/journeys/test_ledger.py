"""An auditor takes nobody's word: a whole chain is recomputed, from each peer and from files."""

import re

import pytest

from tests.journeys.care import Care

pytestmark = pytest.mark.network

TRUST = ".medfabric/care/channels/care.block"


@pytest.fixture(scope="module")
def worked(people: Care) -> Care:
    """The consortium after some work: two patients and a consent."""
    for _ in range(2):
        people.run("patient", "register", "--as", "PatientTrust/registrar")
    return people


def test_a_peers_whole_chain_is_recomputed(worked: Care) -> None:
    verdict = worked.result("ledger", "verify", "--trust", TRUST)
    shown = worked.result("ledger", "show")
    assert verdict["intact"], verdict["differences"]
    assert verdict["complete"]
    assert verdict["trusted"]
    assert verdict["blocks"] == shown["height"]
    assert verdict["newestHash"] == shown["newestHash"]
    assert verdict["codesCompared"] == verdict["transactions"] > 0
    assert verdict["commitHashesCompared"] == verdict["blocks"] - 1


def test_a_peer_can_be_named_and_every_peer_holds_the_same(worked: Care) -> None:
    compared = worked.result("ledger", "compare")
    assert compared["agree"]
    assert compared["blocksAgree"]
    assert compared["statesAgree"]
    assert compared["firstDifference"] is None
    names = [one["peer"] for one in compared["peers"]]
    for name in names[:2]:
        answer = worked.run("ledger", "verify", "--peer", name)
        assert re.match(rf"VERIFIED  channel care, blocks 0 to \d+, of {name}", answer.out)
    two = worked.result("ledger", "compare", *names[:2])
    assert [one["peer"] for one in two["peers"]] == names[:2]
    assert {one["commitHash"] for one in two["peers"]} == {
        one["commitHash"] for one in compared["peers"]
    }


def test_an_unknown_peer_is_told_with_those_there_are(worked: Care) -> None:
    answer = worked.run("ledger", "verify", "--peer", "nobody", code=3)
    assert "has no peer nobody" in answer.err
    assert "its peers are: " in answer.err
