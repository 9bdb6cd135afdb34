"""Collecting endorsements: which peers to ask next, and when enough have answered.

A plan has groups of interchangeable endorsers and layouts, each saying how many endorsements of
which groups suffice. It is Fabric's `internal/pkg/gateway/endorsement.go`, without locks: one task
owns a plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fabric_protos.peer import proposal_response_pb2

MISMATCH = "ProposalResponsePayloads do not match"


@dataclass(frozen=True, slots=True)
class Endorser:
    """A peer that can endorse: who it is and where the network knows it to be."""

    peer_id: str
    """Distinguishes peers: hex SHA-256 over MSP id and certificate."""
    msp_id: str
    address: str
    """host:port as advertised; named so in error details."""


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """Why one endorser or orderer failed (gateway.ErrorDetail)."""

    address: str
    msp_id: str
    message: str


@dataclass(slots=True)
class _Layout:
    required: dict[str, int]
    endorsements: list[proposal_response_pb2.Endorsement] = field(default_factory=list)


class Plan:
    """The state of one collection of endorsements."""

    def __init__(
        self, layouts: Iterable[Mapping[str, int]], groups: Mapping[str, Sequence[Endorser]]
    ) -> None:
        """Layouts are tried in the given order, and in each group the endorsers likewise."""
        self._layouts: list[_Layout | None] = [_Layout(dict(layout)) for layout in layouts]
        self._waiting = {group: list(endorsers) for group, endorsers in groups.items()}
        self._group_of = {
            endorser.peer_id: group for group, members in groups.items() for endorser in members
        }
        self._next = 0
        self.response_payload: bytes | None = None
        self.errors: list[ErrorDetail] = []
        self._completed: _Layout | None = None

    @property
    def complete(self) -> bool:
        """A layout has all its endorsements."""
        return self._completed is not None

    @property
    def endorsements(self) -> list[proposal_response_pb2.Endorsement]:
        """The completed layout's endorsements, one an endorser, in the order they came."""
        unique: dict[bytes, proposal_response_pb2.Endorsement] = {}
        for endorsement in self._completed.endorsements if self._completed else ():
            unique.setdefault(endorsement.endorser, endorsement)
        return list(unique.values())

    def next_endorsers(self) -> list[Endorser]:
        """Those to ask now for the next layout that can still be filled; empty when none can."""
        while self._next < len(self._layouts):
            layout = self._layouts[self._next]
            if layout is not None and self._can_fill(layout):
                return [
                    self._waiting[group].pop(0)
                    for group, quantity in layout.required.items()
                    for _ in range(quantity)
                ]
            self._layouts[self._next] = None
            self._next += 1
        return []

    def next_in_group(self, failed: Endorser) -> Endorser | None:
        """Another endorser in place of one that failed; None when its group has no more."""
        waiting = self._waiting.get(self._group_of.get(failed.peer_id, ""), [])
        return waiting.pop(0) if waiting else None

    def add_error(self, endorser: Endorser, message: str) -> None:
        """The failure is remembered for the caller's error details."""
        self.errors.append(ErrorDetail(endorser.address, endorser.msp_id, message))

    def accept(self, endorser: Endorser, reply: proposal_response_pb2.ProposalResponse) -> bool:
        """The endorsement counts in every layout that wants its group.

        Returns:
            False if the endorsed payload differs from the first one's: it cannot be used.
        """
        group = self._group_of.get(endorser.peer_id, "")
        waiting = self._waiting.get(group, [])
        if endorser in waiting:  # the first endorser was asked before this plan was made
            waiting.remove(endorser)
        if self.response_payload is None:
            self.response_payload = bytes(reply.payload)
        elif self.response_payload != reply.payload:
            self.add_error(endorser, MISMATCH)
            return False
        for layout in self._layouts[self._next :]:
            if layout is not None and layout.required.get(group):
                layout.required[group] -= 1
                layout.endorsements.append(reply.endorsement)
                if layout.required[group] == 0:
                    del layout.required[group]
                if not layout.required:
                    self._completed = layout
                    return True
        return True

    def abandon(self, exhausted: Iterable[Endorser]) -> None:
        """The current layout is over, and with it every layout that needs an exhausted group."""
        groups = {self._group_of.get(endorser.peer_id, "") for endorser in exhausted}
        for index in range(self._next, len(self._layouts)):
            layout = self._layouts[index]
            if layout is not None and groups & layout.required.keys():
                self._layouts[index] = None
        self._next += 1

    def _can_fill(self, layout: _Layout) -> bool:
        return all(
            len(self._waiting.get(group, [])) >= quantity
            for group, quantity in layout.required.items()
        )
