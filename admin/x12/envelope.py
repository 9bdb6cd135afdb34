"""Envelopes: ISA, GS and ST close with the right counts and control numbers, each of them once.

`EnvelopeReader` is shown one segment after another and keeps of a set what an acknowledgement
needs: its number, control number and what is wrong with it, never its segments.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from admin.x12.problems import Level, Place, Problem
from admin.x12.segments import Segment

INTERCHANGE_VERSION = "00501"


@dataclass(slots=True)
class TransactionSet:
    """ST to SE. `number` counts the file's sets from 1, `position` is its ST's.

    `problems` is why its envelope cannot be taken.
    """

    number: int
    control: str
    kind: str
    guide: str
    position: int
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class Group:
    """GS to GE."""

    number: int
    function: str
    sender: str
    receiver: str
    control: str
    guide: str
    sets: list[TransactionSet] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class Interchange:
    """ISA to IEA."""

    number: int
    isa: Segment
    groups: list[Group] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def control(self) -> str:
        """ISA13."""
        return self.isa[13]

    @property
    def envelope_problems(self) -> list[Problem]:
        """What is wrong with the envelopes, from the outside in."""
        found = list(self.problems)
        for group in self.groups:
            found += group.problems
            for one in group.sets:
                found += one.problems
        return found


class EnvelopeReader:
    """Follows the envelopes of a file; what is wrong is noted at its own."""

    def __init__(self) -> None:
        self.interchanges: list[Interchange] = []
        self.set: TransactionSet | None = None
        """The set that the last segment belongs to, its ST and SE included."""
        self._open = False
        self._sets = 0
        self._group: Group | None = None
        self._controls: set[str] = set()
        self._repeated = False
        self._last: Segment | None = None
        self._lost = False

    @property
    def interchange(self) -> Interchange:
        """The interchange that the last segment belongs to."""
        return self.interchanges[-1]

    def take(self, segment: Segment) -> None:
        """The next segment is seen; `set` says where it belongs."""
        self._see(segment)
        self._last = segment

    def _see(self, segment: Segment) -> None:
        if self._open and segment.id in ("ST", "GE", "GS", "IEA"):
            self._fault_of_set(self._last or segment, 0, "2", "the set ends without SE", "close it "
                               "with SE")  # fmt: skip
            self._open = False
        if not self._open:
            self.set = None
        match segment.id:
            case "ISA" if self._last is None or self._last.id == "IEA":
                self._begin(segment)
            case "IEA":
                self._end(segment)
            case "GS":
                self._begin_group(segment)
            case "GE" if self._group is not None:
                self._end_group(segment)
            case "ST" if self._group is not None:
                self._begin_set(segment)
            case "SE" if self._open:
                self._end_set(segment)
            case _ if not self._open:
                self._stray(segment)

    def _begin(self, isa: Segment) -> None:
        self._lost = False
        self.interchanges.append(Interchange(len(self.interchanges) + 1, isa))
        if isa[12] != INTERCHANGE_VERSION:
            self._fault(isa, 12, "017", "the interchange is not version 00501", "send 5010")

    def _end(self, iea: Segment) -> None:
        if self._group is not None:
            self._close_group(self._last or iea, ended=False)
        of = self.interchange
        if _number(iea[1]) != len(of.groups) and not of.problems:
            self._fault(iea, 1, "021", "IEA01 is not the number of groups", "count the GS")
        if iea[2] != of.isa[13]:
            self._fault(iea, 2, "001", "IEA02 is not ISA13", "repeat the control number")

    def _begin_group(self, gs: Segment) -> None:
        if self._group is not None:
            self._close_group(self._last or gs, ended=False)
        of = self.interchange
        self._group = Group(len(of.groups) + 1, gs[1], gs[2], gs[3], gs[6], gs[8])
        of.groups.append(self._group)
        self._controls, self._repeated = set(), False

    def _end_group(self, ge: Segment) -> None:
        assert self._group is not None  # held by _see
        self._close_group(ge, ended=True)

    def _close_group(self, end: Segment, *, ended: bool) -> None:
        group = self._group
        assert group is not None  # held by the callers

        def fault(at: int, code: str, rule: str, remedy: str) -> None:
            group.problems.append(self._problem(end, at, code, rule, remedy, Level.GROUP))

        if not ended:
            fault(0, "3", "the group ends without GE", "close it with GE")
        else:
            if _number(end[1]) != len(group.sets):
                fault(1, "5", "GE01 is not the number of sets", "count the ST")
            if end[2] != group.control:
                fault(2, "4", "GE02 is not GS06", "repeat the control number")
            if self._repeated:
                fault(0, "19", "two sets have one ST02", "number the sets of a group")
        self._group = None

    def _begin_set(self, st: Segment) -> None:
        group = self._group
        assert group is not None  # held by _see
        self._sets += 1
        self._repeated |= st[2] in self._controls
        self._controls.add(st[2])
        held = TransactionSet(self._sets, st[2], st[1], st[3] or group.guide, st.position)
        group.sets.append(held)
        self.set, self._open = held, True
        if held.guide != group.guide:
            self._fault_of_set(st, 3, "I6", "ST03 is not GS08", "name one implementation guide")

    def _end_set(self, se: Segment) -> None:
        held = self.set
        assert held is not None  # held by _see
        if _number(se[1]) != se.position - held.position + 1:
            self._fault_of_set(
                se, 1, "4", "SE01 is not the number of segments", "count ST to SE, both too"
            )
        if se[2] != held.control:
            self._fault_of_set(se, 2, "3", "SE02 is not ST02", "repeat the control number")
        self._open = False

    def _stray(self, segment: Segment) -> None:
        """A segment outside of every set: told of once for a run of them."""
        last = self._last.id if self._last else ""
        if self._group is not None:
            if last in ("GS", "SE"):
                self._group.problems.append(
                    self._problem(
                        segment, 0, "3", "expected ST or GE", "put every segment within ST and SE",
                        Level.GROUP,
                    )
                )  # fmt: skip
        elif not self._lost:
            self._lost = True
            self._fault(segment, 0, "024", "expected GS or IEA", "put every set within GS and GE")

    def _fault(self, segment: Segment, element: int, code: str, rule: str, remedy: str) -> None:
        self.interchange.problems.append(self._problem(segment, element, code, rule, remedy))

    def _fault_of_set(
        self, segment: Segment, element: int, code: str, rule: str, remedy: str
    ) -> None:
        held = self.set
        assert held is not None  # held by the callers
        place = Place(
            self.interchange.number, self._group.number if self._group else 0, held.number,
            segment.position, segment.position - held.position + 1, segment.shown_id, "", element,
        )  # fmt: skip
        held.problems.append(Problem(Level.SET, place, code, rule, remedy))

    def _problem(
        self,
        segment: Segment,
        element: int,
        code: str,
        rule: str,
        remedy: str,
        level: Level = Level.INTERCHANGE,
    ) -> Problem:
        group = self._group.number if self._group and level is Level.GROUP else 0
        place = Place(
            self.interchange.number, group, 0, segment.position, 0, segment.shown_id, "", element
        )
        return Problem(level, place, code, rule, remedy)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
