"""Segments out of bytes, by the delimiters that the interchange itself declares.

ISA is the one segment of fixed width (X12.5): 106 characters, whose 4th is the element separator,
whose 83rd (ISA11) repeats, whose 105th (ISA16) parts components and whose 106th ends a segment.
Line ends after a terminator mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from admin.x12.problems import Level, Place, Problem

ISA_LENGTH = 106
ISA_SEPARATORS = (3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103)
_WHITE = "\r\n \t"
_IDENTIFIER = re.compile(r"[A-Z][A-Z0-9]{1,2}")


@dataclass(frozen=True, slots=True)
class Delimiters:
    """What parts elements, repetitions and components, and ends a segment."""

    element: str = "*"
    repetition: str = "^"
    component: str = ":"
    terminator: str = "~"


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment. `elements[0]` is its identifier; `position` counts from the ISA, which is 1."""

    elements: tuple[str, ...]
    position: int
    component_separator: str = ":"

    @property
    def id(self) -> str:
        """The segment's identifier, as it stands."""
        return self.elements[0]

    @property
    def shown_id(self) -> str:
        """The identifier if it has the form of one: what else stands there is not shown."""
        return self.id if _IDENTIFIER.fullmatch(self.id) else "segment"

    def __getitem__(self, index: int) -> str:
        """Element `index` (1 is the first, as in CLM01); "" if it is not there."""
        return self.elements[index] if index < len(self.elements) else ""

    def component(self, index: int, part: int) -> str:
        """Component `part` (from 1) of an element; "" if it is not there."""
        parts = self[index].split(self.component_separator)
        return parts[part - 1] if part <= len(parts) else ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One interchange as text, with its segments; `number` counts those of the file from 1."""

    number: int
    text: str
    delimiters: Delimiters
    segments: tuple[Segment, ...]


def is_x12(raw: bytes) -> bool:
    """Whether the bytes begin as an interchange does."""
    return raw.lstrip()[:3] == b"ISA"


def decode_text(raw: bytes) -> str:
    """The text of a file: UTF-8, or else Latin-1, in which every byte is a character."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def open_chunks(text: str) -> Iterator[Chunk | Problem]:
    """Yield each interchange of a file; a Problem ends it, for what follows cannot be told apart.

    Positions run through the file, so that a problem can be found in it.
    """
    rest, number, position = text.lstrip(_WHITE), 0, 0
    while rest:
        number += 1
        place = Place(number, position=position + 1, segment="ISA")
        fault = _isa_fault(rest)
        if fault:
            yield Problem(Level.INTERCHANGE, place, *fault)
            return
        delimiters = Delimiters(rest[3], rest[82], rest[104], rest[105])
        taken, segments = _take(rest, delimiters, position)
        if not segments or segments[-1].id != "IEA":
            last = Place(number, position=position + len(segments))
            yield Problem(
                Level.INTERCHANGE, last, "023", "the interchange ends without IEA",
                "send the whole file: it was cut off, or a segment terminator is missing",
            )  # fmt: skip
            return
        yield Chunk(number, rest[:taken], delimiters, tuple(segments))
        position += len(segments)
        rest = rest[taken:].lstrip(_WHITE)


def _isa_fault(text: str) -> tuple[str, str, str] | None:
    """TA1 note code, rule and remedy, None if the ISA has its form."""
    if not text.startswith("ISA"):
        return "022", "an interchange begins with ISA", "remove what stands before it"
    if len(text) < ISA_LENGTH:
        return "022", "ISA has 106 characters", "pad its elements to their fixed widths"
    element = text[3]
    marks = (element, text[82], text[104], text[105])
    if any(text[at] != element for at in ISA_SEPARATORS) or element in text[105]:
        return "022", "ISA's 16 elements have fixed widths", "pad each of them with spaces"
    if any(mark.isalnum() or mark == " " for mark in marks) or len(set(marks)) != len(marks):
        return "025", "four different delimiters are needed", "choose marks such as * ^ : ~"
    return None


def _take(text: str, delimiters: Delimiters, before: int) -> tuple[int, list[Segment]]:
    """How much of the text the interchange takes, and its segments."""
    segments: list[Segment] = []
    at = 0
    while at < len(text):
        end = text.find(delimiters.terminator, at)
        if end < 0:
            break
        body = text[at:end].strip("\r\n")
        at = end + 1
        elements = tuple(body.split(delimiters.element))
        position = before + len(segments) + 1
        segments.append(Segment(elements, position, delimiters.component))
        if elements[0] == "IEA":
            break
    return at, segments
