"""A file of X12 in a payer's or provider's hands → its 837 claims, or what is wrong with it.

ISA's form, counts and control numbers, the guide, and then what a claim needs that no guide says:
everything is looked at while the segments go by, claim by claim, so a file of gigabytes takes no
more memory than its longest claim and a line for each of its sets. What an outer envelope has
wrong hides what is within. A transaction set is taken whole or not at all, as a 999 tells it; so a
file is read once to judge it, and, if its claims are too many to be held, again to take them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from admin.x12.claims import Claim837, build_claim
from admin.x12.envelope import EnvelopeReader, Interchange, TransactionSet
from admin.x12.guides import CLAIM_GUIDES, GuideReader
from admin.x12.problems import Level, Place, Problem
from admin.x12.reading import ClaimReader
from admin.x12.segments import Segment, read_segments

CLAIM_FUNCTION, CLAIM_KIND = "HC", "837"
MAX_OF_SET = 100
"""Problems that are told of one set; who has more has another fault."""
MAX_NOTES = 20


@dataclass(frozen=True, slots=True)
class Intake837:
    """What a file holds. `problems` name every set that is refused, by its number, or the file.

    `count` is how many claims the taken sets have; `held` those claims, None if they are too many.
    """

    interchanges: tuple[Interchange, ...] = ()
    count: int = 0
    held: tuple[Claim837, ...] | None = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

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
    def taken(self) -> tuple[Claim837, ...]:
        """The claims of the sets that have no problem, if they are held."""
        return self.held or ()


def read_837(raw: bytes) -> Intake837:
    """The claims of a file in memory, with everything that is wrong with it."""
    return judge_837(io.BytesIO(raw), hold=len(raw))


def judge_837(stream: BinaryIO, *, hold: int) -> Intake837:
    """What a file holds, with everything that is wrong with it. Raises nothing for bad data."""
    judge = _Judge(hold)
    for item in read_segments(stream):
        judge.take(item)
    return judge.finish()


def take_837(stream: BinaryIO, refused: frozenset[int]) -> Iterator[Claim837]:
    """Yield the claims of a file that was judged, but for those of the refused sets."""
    reader = _SetReader(refused)
    for item in read_segments(stream):
        if isinstance(item, Segment):
            claim, _ = reader.take(item)
            if claim is not None:
                yield claim


class _SetReader:
    """Follows a file into its sets: each against its guide, and its claims out of it."""

    def __init__(self, refused: frozenset[int] = frozenset()) -> None:
        self.envelopes = EnvelopeReader()
        self._refused = refused
        self._guide: GuideReader | None = None
        self._claims = ClaimReader()
        self._within: TransactionSet | None = None

    def take(self, segment: Segment) -> tuple[Claim837 | None, list[Problem]]:
        """The claim that this segment ends, and what is wrong with the segment."""
        envelopes = self.envelopes
        envelopes.take(segment)
        held = envelopes.set
        if held is None:
            self._within = None
            return None, []
        found: list[Problem] = []
        if held is not self._within:
            found = self._begin(held)
        if self._guide is None:
            return None, found
        loop, wrong = self._guide.read(segment)
        facts = self._claims.take(segment, loop)
        claim = build_claim(envelopes.interchange.number, held, facts) if facts else None
        return claim, found + wrong

    def _begin(self, held: TransactionSet) -> list[Problem]:
        self._within, self._guide, self._claims = held, None, ClaimReader()
        interchange = self.envelopes.interchange
        function = interchange.groups[-1].function
        wrong = _not_ours(interchange, held, function)
        if not wrong and held.number not in self._refused:
            self._guide = GuideReader(interchange.number, held, function)
        return wrong


class _Judge:
    """Keeps of a file what its verdict needs."""

    def __init__(self, hold: int) -> None:
        self._reader = _SetReader()
        self._hold = hold
        self._held: list[Claim837] | None = []
        self._counts: dict[int, int] = {}
        self._found: dict[int, list[Problem]] = {}
        self._of_claims: dict[int, list[Problem]] = {}
        self._broken: list[Problem] = []
        self._notes: list[str] = []

    def take(self, item: Segment | Problem) -> None:
        if isinstance(item, Problem):
            self._broken.append(item)
            return
        claim, problems = self._reader.take(item)
        for problem in problems:
            self._note(problem, self._found)
        if claim is not None:
            self._take_claim(claim)

    def _take_claim(self, claim: Claim837) -> None:
        for problem in claim.problems:
            self._note(problem, self._of_claims)
        self._notes += claim.notes[: MAX_NOTES - len(self._notes)]
        if claim.set in self._found or claim.set in self._of_claims:
            return  # the set is refused, whatever else it holds
        self._counts[claim.set] = self._counts.get(claim.set, 0) + 1
        if self._held is not None:
            self._held.append(claim)
            if len(self._held) > self._hold:
                self._held = None

    @staticmethod
    def _note(problem: Problem, found: dict[int, list[Problem]]) -> None:
        of_set = found.setdefault(problem.place.set, [])
        if len(of_set) < MAX_OF_SET:
            of_set.append(problem)

    def finish(self) -> Intake837:
        interchanges = self._reader.envelopes.interchanges
        problems: list[Problem] = []
        for interchange in interchanges:
            problems += self._of_interchange(interchange)
        intake = Intake837(tuple(interchanges), problems=(*problems, *self._broken))
        refused = intake.refused_sets
        held = self._held
        return Intake837(
            interchanges=intake.interchanges,
            count=sum(n for number, n in self._counts.items() if number not in refused),
            held=None if held is None else tuple(one for one in held if one.set not in refused),
            problems=intake.problems,
            notes=tuple(self._notes),
        )

    def _of_interchange(self, interchange: Interchange) -> list[Problem]:
        """What its envelopes have wrong; if nothing, what its sets have."""
        found = interchange.envelope_problems
        if found:
            return found
        sets = (one.number for group in interchange.groups for one in group.sets)
        # What a claim needs beyond the guide is only told where the guide finds nothing.
        return [
            problem
            for number in sets
            for problem in self._found.get(number, self._of_claims.get(number, []))
        ]


def _not_ours(interchange: Interchange, held: TransactionSet, function: str) -> list[Problem]:
    """What says that the set is no 837P or 837I of version 5010."""
    if held.kind != CLAIM_KIND or function != CLAIM_FUNCTION:
        return [
            _fault(
                interchange, held, 1, "the set is no 837",
                "claims come as 837P or 837I; ask for what else is taken: medfabric claim -h",
            )
        ]  # fmt: skip
    if held.guide not in CLAIM_GUIDES:
        return [
            _fault(
                interchange, held, 3, "the guide is neither 005010X222A1 nor 005010X223A2",
                "send professional or institutional claims in version 5010",
            )
        ]  # fmt: skip
    return []


def _fault(
    interchange: Interchange, held: TransactionSet, element: int, rule: str, remedy: str
) -> Problem:
    place = Place(interchange.number, 0, held.number, held.position, 1, "ST", "", element)
    return Problem(Level.SET, place, "I6" if element == 3 else "1", rule, remedy)
