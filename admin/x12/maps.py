"""The maps of implementation guides that pyx12 ships, each loaded once (docs/adr/0015).

Its map of the 277 of 005010X212 is not in its index, and could not be: it names another guide's
group header, has SE outside of the transaction set and lays the levels beside one another that the
guide nests by HL02. It is put right here as it is read; nothing of it is written anywhere.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

STATUS_GUIDE = "005010X212"
STATUS_FUNCTION = "HN"
_STATUS_MAP = "277.5010.X212.xml"
_LEVELS = ("2000A", "2000B", "2000C", "2000D", "2000E")
_VERSION = "00501"
_AFTER_EVERYTHING = "9000"


@cache
def load_map(function: str, guide: str) -> Any:
    """The map of a guide as GS01 and GS08 name it, None if there is none."""
    # Imported here: the maps' parser takes a while to load, and FHIR never needs it.
    from pyx12.map_if import load_map_file
    from pyx12.params import ParamsBase

    if (function, guide) == (STATUS_FUNCTION, STATUS_GUIDE):
        return _load_status_map()
    name = _index().get_filename(_VERSION, guide, function)
    return load_map_file(name, ParamsBase()) if name else None


@cache
def _index() -> Any:
    from pyx12.map_index import map_index

    silence()
    return map_index()


def silence() -> None:
    """pyx12 logs what it finds with the data beside it: nobody may see that."""
    logger = logging.getLogger("pyx12")
    if not logger.disabled:
        logger.disabled, logger.propagate = True, False
        logger.handlers[:] = [logging.NullHandler()]
    for name in list(logging.Logger.manager.loggerDict):
        if name.startswith("pyx12."):
            logging.getLogger(name).disabled = True


def _load_status_map() -> Any:
    from pyx12.map_if._root import map_if
    from pyx12.params import ParamsBase

    silence()
    raw = files("pyx12").joinpath("map", _STATUS_MAP).read_bytes()
    root = ElementTree.fromstring(raw)  # noqa: S314  (the installed package's own file)
    _correct_header(root)
    _nest_levels(root)
    _close_set(root)
    return map_if(root, ParamsBase())


def _correct_header(root: ElementTree.Element) -> None:
    for name, code in (("GS01", STATUS_FUNCTION), ("GS08", STATUS_GUIDE)):
        element = _find(root, "element", name)
        for found in element.iter("code"):
            found.text = code


def _nest_levels(root: ElementTree.Element) -> None:
    """Each level within the one above, after everything that stands there."""
    parents = {child: parent for parent in root.iter() for child in parent}
    for outer, inner in pairwise(_LEVELS):
        level = _find(root, "loop", inner)
        parents[level].remove(level)
        position = level.find("pos")
        assert position is not None  # every loop of a map has one
        position.text = _AFTER_EVERYTHING
        _find(root, "loop", outer).append(level)
    for loop in list(root.iter("loop")):
        if str(loop.get("xid")).startswith("TABLE2AREA") and loop.find("loop") is None:
            parents[loop].remove(loop)


def _close_set(root: ElementTree.Element) -> None:
    parents = {child: parent for parent in root.iter() for child in parent}
    end = _find(root, "segment", "SE")
    around = parents[end]
    around.remove(end)
    _find(root, "loop", "ST_LOOP").append(end)
    parents[around].remove(around)


def _find(root: ElementTree.Element, kind: str, name: str) -> ElementTree.Element:
    return next(one for one in root.iter(kind) if one.get("xid") == name)
