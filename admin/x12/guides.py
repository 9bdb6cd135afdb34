"""What the implementation guides say of a set's segments: pyx12's maps of them (docs/adr/0015).

`GuideReader` walks a map segment by segment, so a set of any length takes the memory of its longest
loop. pyx12 tells its findings in words that quote the data; only their places and codes are taken.
"""

from __future__ import annotations

from typing import Any

from admin.x12.envelope import EnvelopeReader, TransactionSet
from admin.x12.maps import load_map
from admin.x12.problems import Level, Place, Problem
from admin.x12.segments import Segment, read_text_segments

PROFESSIONAL, INSTITUTIONAL = "005010X222A1", "005010X223A2"
CLAIM_GUIDES = (PROFESSIONAL, INSTITUTIONAL)

_SEGMENT_RULES = {
    "1": ("the guide has no such segment here", "remove it, or put it where its loop is"),
    "2": ("the segment is not expected here", "put it where its loop is"),
    "3": ("a required segment is missing", "add it here"),
    "4": ("the loop occurs too often", "send fewer, or begin another loop or set"),
    "5": ("the segment occurs too often", "send fewer"),
    "6": ("the transaction has no such segment", "remove it"),
    "7": ("the segment is out of order", "put it in the guide's order"),
    "8": ("a part of the segment is missing or wrong", "correct it by the guide"),
}
_ELEMENT_RULES = {
    "1": ("a required element is missing", "fill it"),
    "2": ("the element is needed beside another one", "fill it, or leave both out"),
    "3": ("too many elements or components", "remove what the guide does not have"),
    "4": ("the element is too short", "give it its least length"),
    "5": ("the element is too long", "shorten it"),
    "6": ("the element has a character that its type does not take", "correct it"),
    "7": ("the guide does not list this code", "use one of the guide's codes"),
    "8": ("not a date of the form that its qualifier names", "write it so: D8 is CCYYMMDD"),
    "9": ("not a time of the form HHMM", "correct it"),
    "10": ("the element may not stand here", "leave it out"),
}
_COUNTS = {
    "HL1": (1, "HL01 does not count the levels one by one", "number the HL segments from 1"),
    "HL2": (2, "HL02 names no level above", "name the HL01 of the level that it belongs to"),
    "LX": (1, "LX01 does not count the lines one by one", "number the claim's lines from 1"),
}


class GuideReader:
    """Reads one set against its guide, ST to SE. Ask `has_guide` first."""

    def __init__(self, interchange: int, held: TransactionSet, function: str) -> None:
        from admin.x12.walking import Walk

        self._held = held
        self._interchange = interchange
        self._walk = Walk(load_map(function, held.guide))
        self._levels: list[int] = []
        self._level = 0
        self._line = 0
        self._is_claims = held.kind == "837"

    def read(self, segment: Segment) -> tuple[str, list[Problem]]:
        """The loop that the segment stands in, and what the guide says against it."""
        from pyx12.errors import EngineError, X12Error

        in_set = segment.position - self._held.position + 1
        try:
            loop, found = self._follow(segment, in_set)
        except (EngineError, X12Error, AssertionError, AttributeError, IndexError):
            return "", [
                self._problem(
                    segment, "", "8", "the guide cannot read the segment", "write it by the guide"
                )
            ]
        return loop, [*self._of_form(segment, loop), *found, *self._of_counts(segment, loop)]

    def _follow(self, segment: Segment, in_set: int) -> tuple[str, list[Problem]]:
        from admin.x12.walking import data_of, loop_of

        data = data_of(segment)
        node, errors = self._walk.step(data, in_set)
        loop = loop_of(node or self._walk.node)
        found = [self._of_segment(error, segment, loop) for error in errors]
        if node is not None:
            _, wrong = node.is_valid_errors(data)
            found += [self._of_element(error, segment, loop) for error in wrong]
        return loop, found

    def _of_form(self, segment: Segment, loop: str) -> list[Problem]:
        if len(segment.elements) > 1 and any(segment.elements[1:]):
            return []
        return [self._problem(segment, loop, "8", *_SEGMENT_RULES["8"])]

    def _of_counts(self, segment: Segment, loop: str) -> list[Problem]:
        """HL and LX number what they begin; no map says so."""
        found = []
        if segment.id == "HL":
            self._level += 1
            if _int(segment[1]) != self._level:
                found.append("HL1")
            if segment[2]:
                above = _int(segment[2])
                if above not in self._levels:
                    found.append("HL2")
                while self._levels and self._levels[-1] != above:
                    del self._levels[-1]
            self._levels.append(self._level)
        elif self._is_claims and segment.id == "CLM":
            self._line = 0
        elif self._is_claims and segment.id == "LX":
            self._line += 1
            if segment[1] != str(self._line):
                found.append("LX")
        return [self._of_count(code, segment, loop) for code in found]

    def _of_count(self, code: str, segment: Segment, loop: str) -> Problem:
        element, rule, remedy = _COUNTS[code]
        return self._problem(segment, loop, "I12", rule, remedy, element)

    def _of_segment(self, error: Any, segment: Segment, loop: str) -> Problem:
        code = str(error.err_cde)
        rule, remedy = _SEGMENT_RULES.get(code, _SEGMENT_RULES["8"])
        if code == "3" and error.map_node is not None:
            wanted = error.map_node
            named = str(wanted.id or "") if wanted.is_segment() else ""
            what = f"{named} ({wanted.name})" if named else str(wanted.name)
            rule = f"a required segment is missing before this one: {what}"
            remedy = f"add {named}" if named else remedy
        return self._problem(segment, loop, code, rule, remedy)

    def _of_element(self, error: Any, segment: Segment, loop: str) -> Problem:
        node = error.map_node
        if node is None:  # of the segment as a whole: too many elements, syntax, composites
            return self._problem(segment, loop, "8", *_SEGMENT_RULES["8"])
        rule, remedy = _ELEMENT_RULES.get(
            str(error.err_cde), ("the element is wrong", "correct it")
        )
        within = node.parent.is_composite()
        element, component = (node.parent.seq, node.seq) if within else (node.seq, 0)
        return self._problem(
            segment, loop, str(error.err_cde), rule, remedy, int(element), int(component or 0),
            str(node.name),
        )  # fmt: skip

    def _problem(
        self,
        segment: Segment,
        loop: str,
        code: str,
        rule: str,
        remedy: str,
        element: int = 0,
        component: int = 0,
        name: str = "",
    ) -> Problem:
        place = Place(
            self._interchange, 0, self._held.number, segment.position,
            segment.position - self._held.position + 1, segment.shown_id, loop, element, component,
            name,
        )  # fmt: skip
        return Problem(Level.ELEMENT if element else Level.SEGMENT, place, code, rule, remedy)


def has_guide(function: str, guide: str) -> bool:
    """Whether there is a map of the guide."""
    return load_map(function, guide) is not None


def find_faults(text: str) -> tuple[Problem, ...]:
    """What is wrong with an interchange of ours: its envelopes, and its guide where there is one.

    There is none for a 276 (005010X212): its envelopes alone are held.
    """
    envelopes, found, guide = EnvelopeReader(), [], None
    for item in read_text_segments(text):
        if isinstance(item, Problem):
            return (*(p for one in envelopes.interchanges for p in one.envelope_problems), item)
        before = envelopes.set
        envelopes.take(item)
        held = envelopes.set
        if held is None:
            continue
        function = envelopes.interchange.groups[-1].function
        if held is not before:
            known = has_guide(function, held.guide)
            guide = GuideReader(envelopes.interchange.number, held, function) if known else None
        if guide is not None:
            found += guide.read(item)[1]
    wrong = [p for one in envelopes.interchanges for p in one.envelope_problems]
    return tuple(wrong or found)


def _int(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
