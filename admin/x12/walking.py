"""pyx12's walk through a map, with what it looks up again and again remembered.

It counts loops by paths that it writes out at every look, and reads the place of an element (`03`)
anew each time: half of what a claim's guide costs. The walk itself, and every rule, are its own.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from pyx12.map_walker import walk_tree
from pyx12.segment import Composite
from pyx12.segment import Segment as MapSegment

from admin.x12.segments import Segment

_GROUP_LOOP, _GROUP_HEAD = "/ISA_LOOP/GS_LOOP", "/ISA_LOOP/GS_LOOP/GS"
_texts: dict[int, tuple[Any, str]] = {}
"""Paths as text, by identity: a map's nodes keep theirs, and maps are kept."""


class Walk:
    """The way of one set through its map, from the group's header on."""

    def __init__(self, guide: Any) -> None:
        self.node: Any = guide.getnodebypath(_GROUP_HEAD)
        self._walker: Any = walk_tree()
        self._walker.counter = PathCounter()
        self._walker.forceWalkCounterToLoopStart(_GROUP_LOOP, _GROUP_HEAD)

    def step(self, data: Any, in_set: int) -> tuple[Any, list[Any]]:
        """The node of the next segment, None if it has none, and what is wrong with the way."""
        node, _, _, errors = self._walker.walk_errors(self.node, data, in_set, 0, None)
        if node is not None:
            self.node = node
        return node, errors


class PathCounter:
    """How often each loop and segment occurred; what pyx12's own counter does, by text."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def reset_to_node(self, path: Any) -> None:
        """What is below the path counts from nothing again."""
        below = _text_of(path).rstrip("/") + "/"
        for one in [one for one in self._counts if one.startswith(below)]:
            del self._counts[one]

    def increment(self, path: Any) -> None:
        """It occurred once more."""
        text = _text_of(path)
        self._counts[text] = self._counts.get(text, 0) + 1

    def get_count(self, path: Any) -> int:
        """How often it occurred."""
        return self._counts.get(_text_of(path), 0)


class _Data(MapSegment):  # type: ignore[misc]
    """A segment whose elements' places are read once for all segments."""

    def _parse_refdes(self, ref_des: str) -> tuple[int | None, int | None]:
        return _place_of(self.seg_id, ref_des)


def data_of(segment: Segment) -> Any:
    """The segment as pyx12 has it."""
    mark = segment.component_separator
    data = _Data("", "~", "*", mark)
    data.seg_id = segment.id
    data.elements = [Composite(one, mark) for one in segment.elements[1:]]
    return data


@cache
def loop_of(node: Any) -> str:
    """`2400` of `/ISA_LOOP/GS_LOOP/ST_LOOP/DETAIL/2000A/2000B/2300/2400/DTP[472]`."""
    path = str(node.get_path()).split("/")
    return path[-2].replace("ST_LOOP", "").replace("HEADER", "") if len(path) > 1 else ""


def _text_of(path: Any) -> str:
    if isinstance(path, str):
        return path
    found = _texts.get(id(path))
    if found is None:
        found = _texts[id(path)] = (path, path.format())
    return found[1]


@lru_cache(maxsize=4096)
def _place_of(segment: str | None, ref_des: str) -> tuple[int | None, int | None]:
    probe = MapSegment("", "~", "*", ":")
    probe.seg_id = segment
    found: tuple[int | None, int | None] = probe._parse_refdes(ref_des)
    return found
