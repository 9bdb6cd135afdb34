"""The state machine of a claim: a table of edges, and nothing else may change a claim's status.

    accepted → pended ⇄ supplied → adjudicated → remitted → reconciled
       └ voided, replaced from all but the dead ends; appealed after a decision

A claim is born `accepted`, or `rejected` at the gate: that is no denial, has no appeal, and the
claim is corrected and sent as new. An edge names who may take it: the *filer* (the provider, or the
payer that entered a claim from its own intake) or the *payer*.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chaincode.errors import Conflict, Denied


class Status(StrEnum):
    """Where a claim stands."""

    REJECTED = "rejected"
    ACCEPTED = "accepted"
    PENDED = "pended"
    SUPPLIED = "supplied"
    ADJUDICATED = "adjudicated"
    REMITTED = "remitted"
    RECONCILED = "reconciled"
    APPEALED = "appealed"
    VOIDED = "voided"
    REPLACED = "replaced"


class Outcome(StrEnum):
    """What the payer decided."""

    PAID = "paid"
    PARTIAL = "partial"
    DENIED = "denied"


class Action(StrEnum):
    """What somebody does to a claim."""

    PEND = "pend"
    SUPPLY = "supply"
    ADJUDICATE = "adjudicate"
    PAY = "pay"
    RECONCILE = "reconcile"
    APPEAL = "appeal"
    UPHOLD = "uphold"
    OVERTURN = "overturn"
    VOID = "void"
    REPLACE = "replace"
    CONFIRM = "confirm"


class Side(StrEnum):
    """On which side of a claim somebody stands."""

    FILER = "filer"
    PAYER = "payer"


@dataclass(frozen=True, slots=True)
class Edge:
    """Who may take it and where it leads; None leads back to where the appeal came from."""

    side: Side
    to: Status | None


_OPEN = (Status.ACCEPTED, Status.PENDED, Status.SUPPLIED)
_DECIDED = (Status.ADJUDICATED, Status.REMITTED, Status.RECONCILED)

EDGES: dict[tuple[Action, Status], Edge] = {
    (Action.PEND, Status.ACCEPTED): Edge(Side.PAYER, Status.PENDED),
    (Action.PEND, Status.SUPPLIED): Edge(Side.PAYER, Status.PENDED),
    (Action.SUPPLY, Status.PENDED): Edge(Side.FILER, Status.SUPPLIED),
    # From PENDED too: what was asked for and never came is a denial (CARC 226).
    **{(Action.ADJUDICATE, s): Edge(Side.PAYER, Status.ADJUDICATED) for s in _OPEN},
    (Action.PAY, Status.ADJUDICATED): Edge(Side.PAYER, Status.REMITTED),
    (Action.RECONCILE, Status.REMITTED): Edge(Side.FILER, Status.RECONCILED),
    **{(Action.APPEAL, s): Edge(Side.FILER, Status.APPEALED) for s in _DECIDED},
    (Action.UPHOLD, Status.APPEALED): Edge(Side.PAYER, None),
    (Action.OVERTURN, Status.APPEALED): Edge(Side.PAYER, Status.ADJUDICATED),
    **{(Action.VOID, s): Edge(Side.FILER, Status.VOIDED) for s in (*_OPEN, *_DECIDED)},
    **{(Action.REPLACE, s): Edge(Side.FILER, Status.REPLACED) for s in (*_OPEN, *_DECIDED)},
    # After the payer before has decided anew: what was decided here stays.
    **{(Action.CONFIRM, s): Edge(Side.PAYER, s) for s in (*_OPEN, *_DECIDED)},
}
"""Every edge there is."""


def follow(
    action: Action, status: Status, sides: frozenset[Side], before: Status | None = None
) -> Status:
    """Return the status after the action; `before` is where an open appeal came from.

    Raises:
        Conflict: there is no such edge; the text names the statuses that have one.
        Denied: the edge is not for this side of the claim.
    """
    edge = EDGES.get((action, status))
    if edge is None:
        possible = ", ".join(start.value for act, start in EDGES if act is action)
        raise Conflict(f"a claim that is {status.value} takes no {action.value}; only {possible}")
    if edge.side not in sides:
        raise Denied(f"to {action.value} is for the claim's {edge.side.value}")
    if edge.to is not None:
        return edge.to
    if before is None:
        raise Conflict("the claim's appeal does not say where it came from")
    return before


def is_reversal(status: Status) -> bool:
    """Whether a void or replacement takes back a payment (835 CLP02 = 22)."""
    return status in (Status.REMITTED, Status.RECONCILED)
