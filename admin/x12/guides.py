"""What the implementation guides say of an interchange: pyx12's maps of them (docs/adr/0015).

pyx12 tells its findings in words that quote the data; only their places and codes are taken from
it, and its loggers are silent.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from admin.x12.envelope import Interchange, TransactionSet, open_envelopes
from admin.x12.problems import Level, Place, Problem
from admin.x12.segments import open_chunks

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
    "HL1": ("HL01 does not count the levels one by one", "number the HL segments from 1"),
    "HL2": ("HL02 names no level above", "name the HL01 of the level that it belongs to"),
    "LX": ("LX01 does not count the lines one by one", "number the claim's lines from 1"),
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
_WITHOUT_MAP = ("005010X212",)
_COUNTING = ("HL1", "HL2", "LX")


@dataclass(frozen=True, slots=True)
class Reading:
    """An interchange as its guides read it: the loop of each segment, by position, and problems."""

    loops: dict[int, str]
    problems: tuple[Problem, ...]


def read_by_guides(interchange: Interchange) -> Reading:
    """What the guides say of the interchange's sets; envelopes have to be in order already."""
    first = interchange.isa.position
    loops: dict[int, str] = {}
    paths: dict[int, str] = {}

    def seen(segment: Any, source: Any, node: Any, valid: bool) -> None:
        key = id(node)
        if key not in paths:
            paths[key] = _loop_of(str(node.get_path()))
        loops[first + len(loops)] = paths[key]

    document = _run(interchange.text, seen)
    places = {(one.segments[0].position): one for g in interchange.groups for one in g.sets}
    problems = tuple(_problems(document, interchange, places, loops))
    return Reading(loops, problems)


def find_faults(text: str) -> tuple[Problem, ...]:
    """What is wrong with an interchange of ours: its envelopes, and its guide where pyx12 has it.

    For 276 and 277 (005010X212) it has none in its index, so their envelopes alone are held.
    """
    found: list[Problem] = []
    for chunk in open_chunks(text):
        if isinstance(chunk, Problem):
            return (*found, chunk)
        interchange = open_envelopes(chunk)
        found += interchange.problems
        for group in interchange.groups:
            found += group.problems
            for one in group.sets:
                found += one.problems
        if not found and all(group.guide not in _WITHOUT_MAP for group in interchange.groups):
            found += read_by_guides(interchange).problems
    return tuple(found)


def _run(text: str, seen: Callable[..., None]) -> dict[str, Any]:
    # Imported here: the maps' parser takes a while to load, and FHIR never needs it.
    from pyx12.errors import EngineError, X12Error
    from pyx12.params import ParamsBase
    from pyx12.x12n_document import x12n_document

    _silence()
    found = io.StringIO()
    try:
        x12n_document(ParamsBase(), io.StringIO(text), None, None, fd_json=found, callback=seen)
    except (EngineError, X12Error, AssertionError):
        return {"interchanges": []}
    raw = found.getvalue()
    return dict(json.loads(raw)) if raw else {"interchanges": []}


def _silence() -> None:
    """pyx12 logs what it finds with the data beside it: nobody may see that."""
    logger = logging.getLogger("pyx12")
    if not logger.disabled:
        logger.disabled, logger.propagate = True, False
        logger.handlers[:] = [logging.NullHandler()]
    for name in list(logging.Logger.manager.loggerDict):
        if name.startswith("pyx12."):
            logging.getLogger(name).disabled = True


def _loop_of(path: str) -> str:
    """`2400` of `/ISA_LOOP/GS_LOOP/ST_LOOP/DETAIL/2000A/2000B/2300/2400/DTP[472]`."""
    return path.split("/")[-2].replace("ST_LOOP", "").replace("HEADER", "")


def _problems(
    document: dict[str, Any],
    interchange: Interchange,
    sets: dict[int, TransactionSet],
    loops: dict[int, str],
) -> list[Problem]:
    found: list[Problem] = []
    before = interchange.isa.position - 1
    if not document["interchanges"]:
        place = Place(interchange.number, position=interchange.isa.position, segment="ISA")
        return [
            Problem(
                Level.INTERCHANGE, place, "024", "the guides cannot read the interchange",
                "check its envelopes and its guide (GS08)",
            )
        ]  # fmt: skip
    for outer in document["interchanges"]:
        for group in outer["groups"]:
            for number, one in enumerate(group["transactions"]):
                held = _set_of(one, sets, before, number)
                if held is not None:
                    for segment in one["segments"]:
                        found += _of_segment(segment, interchange, held, loops)
    return found


def _set_of(
    one: dict[str, Any], sets: dict[int, TransactionSet], before: int, number: int
) -> TransactionSet | None:
    """The set that pyx12 speaks of: by its control number, which the envelope holds unique."""
    wanted = str(one["trn_set_control_num"])
    return next((held for held in sets.values() if held.control.strip() == wanted.strip()), None)


def _of_segment(
    segment: dict[str, Any], interchange: Interchange, held: TransactionSet, loops: dict[int, str]
) -> list[Problem]:
    in_set = min(int(segment["seg_count"]), len(held.segments))
    position = held.segments[0].position + in_set - 1
    actual = held.segments[in_set - 1]
    named = str(segment["seg_id"] or "")
    place = Place(
        interchange=interchange.number,
        set=held.number,
        position=position,
        in_set=in_set,
        segment=actual.shown_id,
        loop=loops.get(position, ""),
    )
    problems = []
    for one in segment["errors"]:
        code = str(one["err_cde"])
        rule, remedy = _SEGMENT_RULES.get(code, _SEGMENT_RULES["8"])
        if code == "3":
            what = f"{named} ({segment['name']})" if named else str(segment["name"])
            rule = f"a required segment is missing before this one: {what}"
            remedy = f"add {named}" if named else remedy
        if code in _COUNTING:
            element = 2 if code == "HL2" else 1
            counted = Place(
                place.interchange, 0, place.set, position, in_set, actual.shown_id, place.loop,
                element,
            )  # fmt: skip
            problems.append(Problem(Level.ELEMENT, counted, "I12", rule, remedy))
        else:
            problems.append(Problem(Level.SEGMENT, place, code, rule, remedy))
    for element in segment["elements"]:
        at = Place(
            place.interchange, 0, place.set, position, in_set, actual.shown_id, place.loop,
            int(element["ele_pos"] or 0), int(element["subele_pos"] or 0), str(element["name"]),
        )  # fmt: skip
        for one in element["errors"]:
            code = str(one["err_cde"])
            rule, remedy = _ELEMENT_RULES.get(code, ("the element is wrong", "correct it"))
            problems.append(Problem(Level.ELEMENT, at, code, rule, remedy))
    return problems
