"""Composite keys and key-level policies equal Go's byte for byte; bad keys are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.errors import InvalidArgument, InvalidKey
from chaincode.shim import compositekey
from chaincode.shim.statebased import KeyEndorsementPolicy, RoleType, open_key_endorsement_policy

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "chaincode" / "go_shim.json").read_text()
)
PARTS = st.text(st.characters(exclude_characters="\0\U0010ffff", codec="utf-8"))


@pytest.mark.parametrize("vector", VECTORS["compositeKeys"], ids=str)
def test_composite_keys_equal_gos(vector: dict[str, Any]) -> None:
    kind, attributes = vector["type"], vector["attributes"]
    if "error" in vector or kind == "":
        with pytest.raises(InvalidKey):
            compositekey.create_composite_key(kind, attributes)
    else:
        key = compositekey.create_composite_key(kind, attributes)
        assert key.encode().hex() == vector["key"]


@given(PARTS.filter(bool), st.lists(PARTS))
def test_a_composite_key_splits_into_its_parts(kind: str, attributes: list[str]) -> None:
    key = compositekey.create_composite_key(kind, attributes)
    assert compositekey.split_composite_key(key) == (kind, attributes)


@given(st.lists(PARTS), st.lists(PARTS))
def test_different_parts_make_different_keys(one: list[str], other: list[str]) -> None:
    keys = {compositekey.create_composite_key("t", parts) for parts in (one, other)}
    assert len(keys) == (1 if one == other else 2)


@pytest.mark.parametrize("bad", ["a\0b", "\0", "a\U0010ffff", "\ud800"])
def test_parts_that_would_alias_are_refused(bad: str) -> None:
    with pytest.raises(InvalidKey):
        compositekey.create_composite_key("t", [bad])
    with pytest.raises(InvalidKey):
        compositekey.create_composite_key(bad, [])


@pytest.mark.parametrize("bad", ["", "simple", "\0", "\0no end"])
def test_what_is_no_composite_key_is_not_split(bad: str) -> None:
    with pytest.raises(InvalidKey):
        compositekey.split_composite_key(bad)


@pytest.mark.parametrize("vector", VECTORS["policies"], ids=str)
def test_key_policies_equal_gos(vector: dict[str, Any]) -> None:
    policy = KeyEndorsementPolicy()
    policy.add_orgs(RoleType[vector["role"]], *vector["orgs"])
    raw = policy.build()
    assert raw.hex() == vector["policy"]
    reopened = open_key_endorsement_policy(raw)
    assert reopened.build() == raw
    assert reopened.list_orgs() == sorted(vector["orgs"])


def test_organisations_are_taken_out_again() -> None:
    policy = open_key_endorsement_policy(None)
    policy.add_orgs(RoleType.PEER, "A", "B")
    policy.del_orgs("A", "C")
    assert policy.list_orgs() == ["B"]
    with pytest.raises(InvalidArgument):
        open_key_endorsement_policy(b"\xff")
