"""The state machine, whole: every pair of action and status, and who may take it."""

from __future__ import annotations

import pytest

from chaincode.claims.states import Action, Side, Status, follow, is_reversal
from chaincode.errors import Conflict, Denied

A, P, S, D = Status.ACCEPTED, Status.PENDED, Status.SUPPLIED, Status.ADJUDICATED
M, C, V, R = Status.REMITTED, Status.RECONCILED, Status.VOIDED, Status.REPLACED
X = Status.APPEALED

EXPECTED: dict[Action, tuple[Side, dict[Status, Status | None]]] = {
    Action.PEND: (Side.PAYER, {A: P, S: P}),
    Action.SUPPLY: (Side.FILER, {P: S}),
    Action.ADJUDICATE: (Side.PAYER, {A: D, P: D, S: D}),
    Action.PAY: (Side.PAYER, {D: M}),
    Action.RECONCILE: (Side.FILER, {M: C}),
    Action.APPEAL: (Side.FILER, {D: X, M: X, C: X}),
    Action.UPHOLD: (Side.PAYER, {X: None}),
    Action.OVERTURN: (Side.PAYER, {X: D}),
    Action.VOID: (Side.FILER, {A: V, P: V, S: V, D: V, M: V, C: V}),
    Action.REPLACE: (Side.FILER, {A: R, P: R, S: R, D: R, M: R, C: R}),
    Action.CONFIRM: (Side.PAYER, {A: A, P: P, S: S, D: D, M: M, C: C}),
}
BOTH = frozenset(Side)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("action", list(Action))
def test_every_edge_and_no_other(action: Action, status: Status) -> None:
    side, edges = EXPECTED[action]
    if status not in edges:
        with pytest.raises(Conflict, match=f"takes no {action.value}"):
            follow(action, status, BOTH, before=M)
        return
    assert follow(action, status, frozenset({side}), before=M) == (edges[status] or M)
    for sides in (BOTH - {side}, frozenset[Side]()):
        with pytest.raises(Denied, match=side.value):
            follow(action, status, sides, before=M)


@pytest.mark.parametrize("status", [Status.REJECTED, Status.VOIDED, Status.REPLACED])
def test_dead_ends_have_no_way_out(status: Status) -> None:
    for action in Action:
        with pytest.raises(Conflict):
            follow(action, status, BOTH)


def test_an_upheld_appeal_needs_to_know_where_it_came_from() -> None:
    with pytest.raises(Conflict, match="where it came from"):
        follow(Action.UPHOLD, Status.APPEALED, BOTH)


def test_only_what_was_paid_is_reversed() -> None:
    assert [status for status in Status if is_reversal(status)] == [M, C]
