"""999 (005010X231A1): what of a file's transaction sets is taken, and where the others are wrong.

Elements' values are not repeated (IK404 is left out): the place tells it.
"""

from __future__ import annotations

from collections.abc import Sequence

from admin.x12.envelope import Group, Interchange
from admin.x12.intake import Intake837
from admin.x12.problems import Level, Problem
from admin.x12.writer import Row, SetOut, composite

GUIDE = "005010X231A1"
MAX_SEGMENT_NOTES = 100
"""Segments that are told of for one set; who has more has another fault."""


def build_acknowledgements(intake: Intake837, *, whole: bool) -> tuple[SetOut, ...]:
    """A 999 for each functional group. `whole`: one bad set refuses the group, for nothing of the
    file was taken; else the good ones are accepted.
    """
    refused = intake.refused_sets
    found = []
    for interchange in intake.interchanges:
        for group in interchange.groups:
            found.append(_acknowledge(interchange, group, intake.problems, refused, whole))
    return tuple(found)


def _acknowledge(
    interchange: Interchange,
    group: Group,
    problems: Sequence[Problem],
    refused: frozenset[int],
    whole: bool,
) -> SetOut:
    rows: list[Row] = [("AK1", group.function, group.control, group.guide)]
    bad = {one.number for one in group.sets} & refused
    accepted = 0
    for one in group.sets:
        if whole and bad and one.number not in bad:
            continue  # not told of: it was not judged by itself
        rows.append(("AK2", one.kind, one.control, one.guide))
        own = [p for p in problems if p.place.set == one.number]
        rows += _notes(own)
        if one.number in bad:
            codes = dict.fromkeys(p.code for p in own if p.level is Level.SET)
            if any(p.level in (Level.SEGMENT, Level.ELEMENT) for p in own) or not codes:
                codes.setdefault("5")
            rows.append(("IK5", "R", *list(codes)[:5]))
        else:
            accepted += 1
            rows.append(("IK5", "A"))
    total = len(group.sets)
    of_group = group.problems
    if of_group or interchange.problems or (bad and whole):
        verdict, accepted = "R", 0
    elif bad:
        verdict = "P" if accepted else "R"
    else:
        verdict = "A"
    reasons = list(dict.fromkeys(p.code for p in of_group))[:5]
    rows.append(("AK9", verdict, str(total), str(total), str(accepted), *reasons))
    return SetOut("999", GUIDE, tuple(rows))


def _notes(problems: Sequence[Problem]) -> list[Row]:
    """IK3 for each segment, IK4 for each of its elements."""
    placed = [p for p in problems if p.level in (Level.SEGMENT, Level.ELEMENT)]
    placed.sort(key=lambda p: p.place.in_set)
    rows: list[Row] = []
    by_segment: dict[int, list[Problem]] = {}
    for problem in placed:
        by_segment.setdefault(problem.place.in_set, []).append(problem)
    for in_set, found in list(by_segment.items())[:MAX_SEGMENT_NOTES]:
        place = found[0].place
        whole = [p.code for p in found if p.level is Level.SEGMENT]
        rows.append(("IK3", place.segment, str(in_set), place.loop[:4], whole[0] if whole else "8"))
        for problem in found:
            if problem.level is Level.ELEMENT:
                at_element = problem.place
                position = composite(
                    str(at_element.element),
                    str(at_element.component) if at_element.component else "",
                )
                rows.append(("IK4", position, "", problem.code))
    return rows
