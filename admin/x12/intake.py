"""A file of X12 in a payer's or provider's hands → its 837 claims, or what is wrong with it.

Order matters: ISA's form, then counts and control numbers, then the guide, then what a claim needs
that no guide says. What fails early is not looked at further. A transaction set is taken whole or
not at all, as a 999 tells it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from admin.x12.claims import Claim837, read_claims
from admin.x12.envelope import Group, Interchange, TransactionSet, open_envelopes
from admin.x12.guides import CLAIM_GUIDES, read_by_guides
from admin.x12.problems import Level, Place, Problem
from admin.x12.segments import decode_text, open_chunks

CLAIM_FUNCTION, CLAIM_KIND = "HC", "837"
MAX_NOTES = 20


@dataclass(frozen=True, slots=True)
class Intake837:
    """What a file holds. `problems` name every set that is refused, by its number, or the file."""

    interchanges: tuple[Interchange, ...] = ()
    claims: tuple[Claim837, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def refused_sets(self) -> frozenset[int]:
        """The numbers of the sets that have problems."""
        whole = {p.place.interchange for p in self.problems if not p.place.set}
        sets = {p.place.set for p in self.problems if p.place.set}
        for interchange in self.interchanges:
            if interchange.number in whole:
                sets |= {one.number for group in interchange.groups for one in group.sets}
        return frozenset(sets)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not read, by place."""
        return tuple(note for claim in self.claims for note in claim.notes)

    @property
    def taken(self) -> tuple[Claim837, ...]:
        """The claims of the sets that have no problem."""
        refused = self.refused_sets
        return tuple(claim for claim in self.claims if claim.set not in refused)


@dataclass(slots=True)
class _Found:
    interchanges: list[Interchange] = field(default_factory=list)
    claims: list[Claim837] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_837(raw: bytes) -> Intake837:
    """The claims of a file, with everything that is wrong with it. Raises nothing for bad data."""
    found = _Found()
    sets = 0
    for item in open_chunks(decode_text(raw)):
        if isinstance(item, Problem):
            found.problems.append(item)
            break
        interchange = open_envelopes(item, sets)
        sets += sum(len(group.sets) for group in interchange.groups)
        found.interchanges.append(interchange)
        _read(interchange, found)
    return Intake837(tuple(found.interchanges), tuple(found.claims), tuple(found.problems))


def _read(interchange: Interchange, found: _Found) -> None:
    problems = list(interchange.problems)
    for group in interchange.groups:
        problems += group.problems
        problems += _not_ours(interchange, group)
        for one in group.sets:
            problems += one.problems
    if problems or not interchange.groups:
        found.problems += problems
        return
    reading = read_by_guides(interchange)
    found.problems += reading.problems
    refused = {problem.place.set for problem in reading.problems}
    if 0 in refused:
        return
    for group in interchange.groups:
        for one in group.sets:
            if one.number not in refused:
                for claim in read_claims(one, reading.loops):
                    found.claims.append(claim)
                    found.problems += (_within(p, interchange) for p in claim.problems)


def _within(problem: Problem, interchange: Interchange) -> Problem:
    return replace(problem, place=replace(problem.place, interchange=interchange.number))


def _not_ours(interchange: Interchange, group: Group) -> list[Problem]:
    """What says that the group's sets are no 837P or 837I of version 5010."""
    found = []
    for one in group.sets:
        if one.problems:
            continue
        if one.kind != CLAIM_KIND or group.function != CLAIM_FUNCTION:
            found.append(
                _fault(
                    interchange, one, 1, "the set is no 837",
                    "claims come as 837P or 837I; ask for what else is taken: medfabric claim -h",
                )
            )  # fmt: skip
        elif one.guide not in CLAIM_GUIDES:
            found.append(
                _fault(
                    interchange, one, 3, "the guide is neither 005010X222A1 nor 005010X223A2",
                    "send professional or institutional claims in version 5010",
                )
            )  # fmt: skip
    return found


def _fault(
    interchange: Interchange, held: TransactionSet, element: int, rule: str, remedy: str
) -> Problem:
    st = held.segments[0]
    place = Place(interchange.number, 0, held.number, st.position, 1, "ST", "", element)
    return Problem(Level.SET, place, "I6" if element == 3 else "1", rule, remedy)
