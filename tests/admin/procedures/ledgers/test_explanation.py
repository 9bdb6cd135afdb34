"""Policies and conflicts in words."""

import pytest

from admin.procedures.ledgers.blocks import (
    BlockView,
    KeyVersion,
    NamespaceView,
    TransactionView,
    find_writer,
    show_key,
)
from admin.procedures.ledgers.explanation import describe_policy, get_missing
from network.client.lifecycle import build_validation_parameter

TWO_OF_THREE = build_validation_parameter("OutOf(2, 'AMSP.peer', 'BMSP.peer', 'CMSP.peer')")
NESTED = build_validation_parameter("OR('AMSP.peer', AND('BMSP.peer', 'CMSP.peer'))")
REFERENCE = build_validation_parameter("/Channel/Application/Endorsement")


def test_a_flat_policy_reads_as_a_sentence() -> None:
    assert describe_policy(TWO_OF_THREE) == "2 of AMSP.peer, BMSP.peer, CMSP.peer"


def test_other_policies_keep_their_own_form() -> None:
    assert "BMSP.peer" in describe_policy(NESTED)
    assert describe_policy(REFERENCE) == "the channel's policy /Channel/Application/Endorsement"


@pytest.mark.parametrize(
    ("endorsers", "missing"),
    [
        ((), "missing: 2 more of AMSP, BMSP, CMSP"),
        (("AMSP/peer0", "AMSP/peer1"), "missing: 1 more of BMSP, CMSP"),
        (("AMSP/peer0", "CMSP/peer0"), ""),
        (("XMSP/peer0",), "missing: 2 more of AMSP, BMSP, CMSP"),
    ],
)
def test_what_lacks_is_named(endorsers: tuple[str, ...], missing: str) -> None:
    """Two peers of one organisation count once."""
    assert get_missing(TWO_OF_THREE, endorsers) == missing


def test_nothing_is_claimed_of_policies_that_are_not_flat() -> None:
    assert get_missing(NESTED, ()) == ""
    assert get_missing(REFERENCE, ()) == ""


def transaction(
    identifier: str, block: int, position: int, code: int, *writes: str
) -> TransactionView:
    namespace = NamespaceView("health", (KeyVersion("k", "1:0"),), writes, 0, ())
    return TransactionView(
        identifier, block, position, code, "", "endorser", namespaces=(namespace,)
    )


def test_the_writer_of_a_key_is_the_last_valid_one() -> None:
    blocks = [
        BlockView(1, b"", b"", b"", True, (transaction("a", 1, 0, 0, "k"),)),
        BlockView(
            2, b"", b"", b"", True,
            (transaction("b", 2, 0, 0, "k"), transaction("c", 2, 1, 11, "k")),
        ),
    ]  # fmt: skip
    writer = find_writer(blocks, "health", frozenset({"k"}))
    assert writer is not None
    assert writer.transaction_id == "b"
    assert find_writer(blocks, "health", frozenset({"other"})) is None
    assert find_writer(blocks, "lscc", frozenset({"k"})) is None


def test_composite_keys_are_readable() -> None:
    assert show_key("\x00claim\x00c1\x00\U0010ffff") == "claim/c1/~"
    assert show_key("plain") == "plain"
