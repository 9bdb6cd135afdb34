"""Plans, layouts and verdicts of the gateway."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fabric_protos.msp import msp_principal_pb2
from fabric_protos.peer import proposal_pb2
from fabric_protos.peer.proposal_response_pb2 import (
    Endorsement,
    ProposalResponse,
    ProposalResponsePayload,
    Response,
)
from hypothesis import given
from hypothesis import strategies as st

from network.rules.endorsement.layouts import NoLayout, build_layouts
from network.rules.endorsement.plan import MISMATCH, Endorser, Plan
from network.rules.endorsement.reply import (
    StatusCode,
    get_result,
    judge_rejected,
    judge_reply,
    judge_unreachable,
)
from network.rules.policy.dsl import parse_policy


def peer(org: str, number: int = 0) -> Endorser:
    return Endorser(f"{org}{number}", org, f"peer{number}.{org}:7051")


A, A2, B, B2, C = peer("A"), peer("A", 1), peer("B"), peer("B", 1), peer("C")


def reply(endorser: Endorser, payload: bytes = b"payload") -> ProposalResponse:
    endorsement = Endorsement(endorser=endorser.peer_id.encode())
    return ProposalResponse(payload=payload, endorsement=endorsement)


def satisfies(endorser: Endorser, principal: msp_principal_pb2.MSPPrincipal) -> bool:
    role = msp_principal_pb2.MSPRole.FromString(principal.principal)
    return role.msp_identifier == endorser.msp_id and role.role in (0, 3)


def layouts_of(*policies: str, peers: Sequence[Endorser] = (A, B, C)) -> set[frozenset[str]]:
    """Which organisations each layout asks for, a quantity above one written as "A*2"."""
    found = build_layouts([parse_policy(policy) for policy in policies], peers, satisfies)
    return {
        frozenset(
            found.groups[group][0].msp_id + ("" if count == 1 else f"*{count}")
            for group, count in layout.items()
        )
        for layout in found.layouts
    }


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (["AND('A.peer','B.peer')"], {"AB"}),
        (["OR('A.peer','B.peer')"], {"A", "B"}),
        (["OutOf(2,'A.peer','B.peer','C.peer')"], {"AB", "AC", "BC"}),
        (["OR('A.peer',AND('A.peer','B.peer'))"], {"A"}),
        (["AND('A.peer','A.member')"], set()),
        (["OR('A.peer')", "OR('A.member','B.member')"], {"A"}),
        (["AND('A.peer','B.peer')", "OR('C.peer')"], {"ABC"}),
        (["OR('A.admin','B.peer')"], {"B"}),
        (["OR('A.peer','D.peer')"], {"A"}),
    ],
)
def test_layouts_are_the_smallest_sets_that_satisfy(
    policies: list[str], expected: set[str]
) -> None:
    wanted = {frozenset(layout) for layout in expected}
    if not wanted:
        with pytest.raises(NoLayout):
            layouts_of(*policies)
    else:
        assert layouts_of(*policies) == wanted


def test_two_of_one_organisation_need_two_peers() -> None:
    policy = "AND('A.peer','A.member')"
    assert layouts_of(policy, peers=[A, A2]) == {frozenset({"A*2"})}


def test_peers_without_the_chaincode_do_not_count() -> None:
    policy = parse_policy("OR('A.peer','B.peer')")
    found = build_layouts([policy], [A, B], satisfies, lambda endorser: endorser is B)
    assert [list(members) for members in found.groups.values() if members] == [[B]]
    with pytest.raises(NoLayout, match="required chaincodes are not installed on sufficient peers"):
        build_layouts([policy], [A, B], satisfies, lambda _: False)
    with pytest.raises(NoLayout, match="no peer combination can satisfy the endorsement policy"):
        build_layouts([policy], [C], satisfies)


@given(
    st.integers(1, 3),
    st.lists(st.sampled_from("ABCD"), min_size=1, max_size=4),
    st.sets(st.sampled_from([A, A2, B, B2, C]), min_size=1),
)
def test_a_layout_is_found_exactly_when_one_exists(
    needed: int, orgs: list[str], peers: set[Endorser]
) -> None:
    """Against a naive count: each principal takes a peer of its organisation, none twice."""
    names = ",".join(f"'{org}.peer'" for org in orgs)
    policy = parse_policy(f"OutOf({min(needed, len(orgs))},{names})")
    free = {org: sum(peer.msp_id == org for peer in peers) for org in "ABCD"}
    usable = sum(min(orgs.count(org), free[org]) for org in set(orgs))
    try:
        found = build_layouts([policy], sorted(peers, key=lambda p: p.peer_id), satisfies)
    except NoLayout:
        assert usable < min(needed, len(orgs))
    else:
        assert usable >= min(needed, len(orgs))
        assert all(sum(layout.values()) == min(needed, len(orgs)) for layout in found.layouts)


def test_a_plan_is_complete_when_a_layout_is_filled() -> None:
    plan = Plan([{"A": 1, "B": 1}], {"A": [A], "B": [B]})
    assert plan.next_endorsers() == [A, B]
    seen = [plan.complete]
    for endorser in (A, B):
        assert plan.accept(endorser, reply(endorser))
        seen.append(plan.complete)
    assert seen == [False, False, True]
    assert [e.endorser for e in plan.endorsements] == [b"A0", b"B0"]


def test_another_payload_does_not_count() -> None:
    plan = Plan([{"A": 1, "B": 1}], {"A": [A], "B": [B]})
    plan.next_endorsers()
    plan.accept(A, reply(A))
    assert not plan.accept(B, reply(B, b"other"))
    assert [error.message for error in plan.errors] == [MISMATCH]
    assert plan.next_in_group(B) is None


def test_a_failed_peer_is_replaced_and_then_its_layouts_are_given_up() -> None:
    plan = Plan([{"A": 1, "B": 1}, {"A": 1, "C": 1}], {"A": [A, A2], "B": [B], "C": [C]})
    assert plan.next_endorsers() == [A, B]
    assert plan.next_in_group(A) == A2
    plan.accept(A2, reply(A2))
    assert plan.next_in_group(B) is None
    plan.abandon([B])
    assert plan.next_endorsers() == [C]  # A's endorsement is kept
    plan.accept(C, reply(C))
    assert plan.complete


def test_a_plan_without_enough_peers_has_nobody_to_ask() -> None:
    assert Plan([{"A": 2}], {"A": [A]}).next_endorsers() == []


def test_the_first_endorser_counts_although_the_plan_did_not_name_it() -> None:
    plan = Plan([{"A": 1, "B": 1}], {"A": [A], "B": [B]})
    plan.accept(A, reply(A))
    assert plan.next_endorsers() == [B]


@pytest.mark.parametrize(
    ("status", "payload", "message", "expected"),
    [
        (200, b"p", "", (StatusCode.OK, "", False, False)),
        (399, b"", "", (StatusCode.OK, "", False, False)),
        (199, b"", "odd", (StatusCode.UNKNOWN, "chaincode response 199, odd", False, False)),
        (404, b"", "no", (StatusCode.UNKNOWN, "chaincode response 404, no", False, False)),
        (500, b"p", "no", (StatusCode.UNKNOWN, "chaincode response 500, no", False, False)),
        (500, b"", "peer", (StatusCode.ABORTED, "peer", True, False)),
        (
            500,
            b"",
            "error sending: chaincode stream terminated",
            (StatusCode.ABORTED, "error sending: chaincode stream terminated", True, True),
        ),
    ],
)
def test_verdicts_are_those_of_apiutils_go(
    status: int, payload: bytes, message: str, expected: tuple[StatusCode, str, bool, bool]
) -> None:
    verdict = judge_reply(
        ProposalResponse(response=Response(status=status, message=message), payload=payload)
    )
    assert (verdict.code, verdict.message, verdict.retry, verdict.remove) == expected


def test_no_reply_lets_another_peer_try_and_a_rejection_does_not() -> None:
    assert judge_unreachable("gone").retry
    assert not judge_rejected("bad").retry
    assert judge_rejected("bad").code is StatusCode.FAILED_PRECONDITION


def test_the_result_is_the_endorsed_one() -> None:
    action = proposal_pb2.ChaincodeAction(response=Response(payload=b"inner"))
    payload = ProposalResponsePayload(extension=action.SerializeToString())
    found = get_result(
        ProposalResponse(response=Response(payload=b"outer"), payload=payload.SerializeToString())
    )
    assert found == b"inner"
    assert get_result(ProposalResponse(payload=b"\xff")) is None
