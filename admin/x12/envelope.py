"""Envelopes: ISA, GS and ST close with the right counts and control numbers, each of them once."""

from __future__ import annotations

from dataclasses import dataclass

from admin.x12.problems import Level, Place, Problem
from admin.x12.segments import Chunk, Delimiters, Segment

INTERCHANGE_VERSION = "00501"


@dataclass(frozen=True, slots=True)
class TransactionSet:
    """ST to SE. `number` counts the file's sets from 1; `problems` is why it cannot be taken."""

    number: int
    control: str
    kind: str
    guide: str
    segments: tuple[Segment, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """GS to GE."""

    number: int
    function: str
    sender: str
    receiver: str
    control: str
    guide: str
    sets: tuple[TransactionSet, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Interchange:
    """ISA to IEA, with its text as it came."""

    number: int
    isa: Segment
    text: str
    delimiters: Delimiters
    groups: tuple[Group, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def control(self) -> str:
        """ISA13."""
        return self.isa[13]


class _Reader:
    """Walks one interchange's segments; what is wrong is noted at its envelope."""

    def __init__(self, chunk: Chunk, sets_before: int) -> None:
        self._chunk = chunk
        self._sets = sets_before

    def read(self) -> Interchange:
        chunk = self._chunk
        isa, iea = chunk.segments[0], chunk.segments[-1]
        problems = []
        if isa[12] != INTERCHANGE_VERSION:
            problems.append(
                self._fault(isa, 12, "017", "the interchange is not version 00501", "send 5010")
            )
        groups: list[Group] = []
        at = 1
        while at < len(chunk.segments) - 1:
            segment = chunk.segments[at]
            if segment.id != "GS":
                problems.append(
                    self._fault(
                        segment, 0, "024", "expected GS or IEA", "put every set within GS and GE"
                    )
                )
                break
            group, at = self._group(at, len(groups) + 1)
            groups.append(group)
        if _number(iea[1]) != len(groups) and not problems:
            problems.append(
                self._fault(iea, 1, "021", "IEA01 is not the number of groups", "count the GS")
            )
        if iea[2] != isa[13]:
            problems.append(
                self._fault(iea, 2, "001", "IEA02 is not ISA13", "repeat the control number")
            )
        return Interchange(
            chunk.number, isa, chunk.text, chunk.delimiters, tuple(groups), tuple(problems)
        )

    def _group(self, at: int, number: int) -> tuple[Group, int]:
        segments = self._chunk.segments
        gs = segments[at]
        at += 1
        sets: list[TransactionSet] = []
        problems: list[Problem] = []
        end = gs
        while at < len(segments) - 1:
            segment = segments[at]
            if segment.id == "ST":
                found, at = self._set(at, gs, number)
                sets.append(found)
                continue
            if segment.id == "GE":
                end, at = segment, at + 1
                break
            problems.append(
                self._fault(
                    segment, 0, "3", "expected ST or GE", "put every segment within ST and SE",
                    Level.GROUP, number,
                )
            )  # fmt: skip
            at = self._skip(at)
        problems += self._end_of_group(gs, end, sets, number)
        return Group(number, gs[1], gs[2], gs[3], gs[6], gs[8], tuple(sets), tuple(problems)), at

    def _end_of_group(
        self, gs: Segment, end: Segment, sets: list[TransactionSet], number: int
    ) -> list[Problem]:
        def fault(at: int, code: str, rule: str, remedy: str) -> Problem:
            return self._fault(end, at, code, rule, remedy, Level.GROUP, number)

        if end is gs:
            return [fault(0, "3", "the group ends without GE", "close it with GE")]
        found = []
        if _number(end[1]) != len(sets):
            found.append(fault(1, "5", "GE01 is not the number of sets", "count the ST"))
        if end[2] != gs[6]:
            found.append(fault(2, "4", "GE02 is not GS06", "repeat the control number"))
        controls = [one.control for one in sets]
        if len(set(controls)) != len(controls):
            found.append(fault(0, "19", "two sets have one ST02", "number the sets of a group"))
        return found

    def _set(self, at: int, gs: Segment, group: int) -> tuple[TransactionSet, int]:
        segments = self._chunk.segments
        self._sets += 1
        start, st = at, segments[at]
        at += 1
        while at < len(segments) and segments[at].id not in ("SE", "ST", "GE", "GS", "IEA"):
            at += 1
        inside = segments[start : at + 1]
        problems = []

        def fault(segment: Segment, element: int, code: str, rule: str, remedy: str) -> None:
            place = Place(
                self._chunk.number, group, self._sets, segment.position,
                segment.position - st.position + 1, segment.shown_id, "", element,
            )  # fmt: skip
            problems.append(Problem(Level.SET, place, code, rule, remedy))

        end = segments[at] if at < len(segments) else st
        if end.id != "SE":
            fault(segments[at - 1], 0, "2", "the set ends without SE", "close it with SE")
            inside = segments[start:at]
            at -= 1
        else:
            if _number(end[1]) != len(inside):
                fault(end, 1, "4", "SE01 is not the number of segments", "count ST to SE, both too")
            if end[2] != st[2]:
                fault(end, 2, "3", "SE02 is not ST02", "repeat the control number")
        guide = st[3] or gs[8]
        if guide != gs[8]:
            fault(st, 3, "I6", "ST03 is not GS08", "name one implementation guide")
        return TransactionSet(
            self._sets, st[2], st[1], guide, tuple(inside), tuple(problems)
        ), at + 1

    def _skip(self, at: int) -> int:
        segments = self._chunk.segments
        while at < len(segments) - 1 and segments[at].id not in ("ST", "GE", "GS"):
            at += 1
        return at

    def _fault(
        self,
        segment: Segment,
        element: int,
        code: str,
        rule: str,
        remedy: str,
        level: Level = Level.INTERCHANGE,
        group: int = 0,
    ) -> Problem:
        place = Place(
            self._chunk.number, group, 0, segment.position, 0, segment.shown_id, "", element
        )
        return Problem(level, place, code, rule, remedy)


def open_envelopes(chunk: Chunk, sets_before: int = 0) -> Interchange:
    """The interchange's groups and sets; each says what is wrong with its own envelope."""
    return _Reader(chunk, sets_before).read()


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
