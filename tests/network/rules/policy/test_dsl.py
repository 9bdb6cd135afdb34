"""The policy language: what Fabric's parser accepts and refuses, and the way back to text."""

import pytest
from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2
from hypothesis import given
from hypothesis import strategies as st

from network.rules.identity.principals import role_principal
from network.rules.policy.dsl import (
    InvalidPolicyText,
    format_config_policy,
    format_policy,
    n_of_members,
    out_of,
    parse_config_policy,
    parse_policy,
    signed_by,
)

ROLE = msp_principal_pb2.MSPRole


def test_and_is_all_of_its_parts() -> None:
    """policyparser_test.go TestAnd."""
    policy = parse_policy("AND('A.member', 'B.member')")
    assert policy.rule == out_of(2, [signed_by(0), signed_by(1)])
    assert list(policy.identities) == [
        role_principal("A", ROLE.MEMBER),
        role_principal("B", ROLE.MEMBER),
    ]
    assert policy.version == 0


def test_signed_by_zero_is_written() -> None:
    """Index 0 stands in a oneof: leaving it out would make another policy."""
    assert signed_by(0).SerializeToString() == b"\x08\x00"


def test_principals_are_not_deduplicated() -> None:
    """policyparser_test.go TestComplex2: one identity entry per mention, in order."""
    policy = parse_policy("OR(AND('A.member', 'B.member'), OR('C.admin', 'A.member'))")
    assert len(policy.identities) == 4
    assert policy.rule == out_of(
        1,
        [
            out_of(2, [signed_by(0), signed_by(1)]),
            out_of(1, [signed_by(2), signed_by(3)]),
        ],
    )


@pytest.mark.parametrize(
    "text",
    [
        "or('A.member')",
        "Or('A.member')",
        'OR("A.member")',
        "OutOf(1, 'A.member')",
        "outof('1', 'A.member')",
        "  OUTOF ( 1 ,\n 'A.member' )  ",
        "AND('A.member')",
    ],
)
def test_spellings_of_one_policy(text: str) -> None:
    assert parse_policy(text) == parse_policy("OR('A.member')")


def test_msp_ids_with_dots_and_dashes() -> None:
    policy = parse_policy("OR('MSP.member', 'MSP.WITH.DOTS.member', 'MSP-WITH-DASHES.admin')")
    names = [ROLE.FromString(p.principal).msp_identifier for p in policy.identities]
    assert names == ["MSP", "MSP.WITH.DOTS", "MSP-WITH-DASHES"]


def test_one_more_than_there_are_is_allowed() -> None:
    """Fabric lets t = n + 1 pass: nobody can satisfy it, but it is a policy."""
    assert parse_policy("OutOf(2, 'A.member')").rule.n_out_of.n == 2


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("'A.member'", 0),
        ("A.member", 1),
        ("AND()", 4),
        ("AND('A.member'", 14),
        ("AND('A.member') OR('B.member')", 16),
        ("AND('A.member',)", 15),
        ("XOR('A.member')", 0),
        ("OR('A.member', 'B.bitwise')", 15),
        ("OR('A_MSP.member')", 3),
        ("OR('A')", 3),
        ("OutOf('A.member')", 6),
        ("OutOf(-1, 'A.member')", 6),
        ("OutOf(4, 'A.member', 'B.member')", 0),
        ("OutOf(99999999999, 'A.member')", 6),
        ("OR('A.member", 3),
        ("OR('A.member' & 'B.member')", 14),
    ],
)
def test_mistakes_say_where(text: str, position: int) -> None:
    with pytest.raises(InvalidPolicyText) as caught:
        parse_policy(text)
    assert caught.value.position == position
    assert f"at character {position + 1}" in str(caught.value)


def test_deep_nesting_is_refused_not_crashed() -> None:
    with pytest.raises(InvalidPolicyText, match="nested too deeply"):
        parse_policy("OR(" * 5000 + "'A.member'" + ")" * 5000)


def policies() -> st.SearchStrategy[str]:
    principals = st.tuples(
        st.from_regex(r"[A-Za-z0-9.-]{1,8}", fullmatch=True),
        st.sampled_from(["admin", "member", "client", "peer", "orderer"]),
    ).map(lambda pair: f"'{pair[0]}.{pair[1]}'")

    def gate(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        lists = st.lists(parts, min_size=1, max_size=4)
        return st.one_of(
            lists.map(lambda items: f"AND({', '.join(items)})"),
            lists.map(lambda items: f"OR({','.join(items)})"),
            lists.flatmap(
                lambda items: st.integers(0, len(items) + 1).map(
                    lambda count: f"OutOf({count}, {', '.join(items)})"
                )
            ),
        )

    return gate(st.recursive(principals, gate, max_leaves=8))


@given(policies())
def test_text_and_policy_go_both_ways(text: str) -> None:
    policy = parse_policy(text)
    assert parse_policy(format_policy(policy)) == policy


@given(st.text(alphabet="ANDORutf(),'. 12member\"", max_size=40))
def test_arbitrary_text_is_refused_in_words(text: str) -> None:
    try:
        parse_policy(text)
    except InvalidPolicyText as error:
        position = error.position
    else:
        return
    assert 0 <= position <= len(text)


def test_implicit_policies() -> None:
    policy = parse_config_policy("MAJORITY Endorsement")
    assert policy.type == policies_pb2.Policy.IMPLICIT_META
    assert format_config_policy(policy) == "MAJORITY Endorsement"
    assert policies_pb2.ImplicitMetaPolicy.FromString(policy.value).rule == 2
    for wrong in ("MAJORITY", "SOME Admins", "ANY Admins Readers", "any Admins"):
        with pytest.raises(InvalidPolicyText):
            parse_config_policy(wrong)


def test_n_of_members_sorts_its_organisations() -> None:
    policy = n_of_members(2, ["B", "A", "C"])
    assert format_policy(policy) == "OutOf(2, 'A.member', 'B.member', 'C.member')"
