"""Segments out of bytes, by the delimiters that the interchange itself declares.

ISA is the one segment of fixed width (X12.5): 106 characters, whose 4th is the element separator,
whose 83rd (ISA11) repeats, whose 105th (ISA16) parts components and whose 106th ends a segment.
Line ends after a terminator mean nothing. A file is read block by block: of a file of gigabytes no
more is held than a segment and a block.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from admin.x12.problems import Level, Place, Problem

ISA_LENGTH = 106
ISA_SEPARATORS = (3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103)
BLOCK = 1 << 16
MAX_SEGMENT = 1 << 20
"""Bytes without a terminator after which a file is no X12: the guides have none near it."""
_WHITE = b"\r\n \t"
_MARK = b"\xef\xbb\xbf"
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


def is_x12(head: bytes) -> bool:
    """Whether these first bytes are those of an interchange."""
    return head.removeprefix(_MARK).lstrip()[:3] == b"ISA"


def read_text_segments(text: str) -> Iterator[Segment | Problem]:
    """Yield the segments of a text, as `read_segments` does those of a file."""
    return read_segments(io.BytesIO(text.encode()))


def read_segments(stream: BinaryIO) -> Iterator[Segment | Problem]:
    """Yield the segments of every interchange of a file, ISA to IEA.

    A Problem ends it, for what follows cannot be told apart. Positions run through the file, so
    that a problem can be found in it. Text is UTF-8, or else Latin-1, segment by segment.
    """
    source = _Source(stream)
    interchange, position = 0, 0
    while source.skip_white():
        interchange += 1
        head = source.peek(ISA_LENGTH)
        fault = _isa_fault(head.decode("latin-1"))
        if fault:
            place = Place(interchange, position=position + 1, segment="ISA")
            yield Problem(Level.INTERCHANGE, place, *fault)
            return
        element, component = chr(head[3]), chr(head[104])
        last = ""
        for raw in source.take_until(head[105:106]):
            position += 1
            segment = Segment(tuple(_decode(raw).split(element)), position, component)
            last = segment.id
            yield segment
            if last == "IEA":
                break
        if last != "IEA":
            yield Problem(
                Level.INTERCHANGE, Place(interchange, position=position), "023",
                "the interchange ends without IEA",
                "send the whole file: it was cut off, or a segment terminator is missing",
            )  # fmt: skip
            return


class _Source:
    """Bytes that were read from a file and not yet taken."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._held = stream.read(BLOCK).removeprefix(_MARK)
        self._at = 0

    def skip_white(self) -> bool:
        """Whether anything but white space is left; that before it is skipped."""
        while True:
            rest = self._held[self._at :].lstrip(_WHITE)
            if rest:
                self._held, self._at = rest, 0
                return True
            self._held, self._at = self._stream.read(BLOCK), 0
            if not self._held:
                return False

    def peek(self, count: int) -> bytes:
        """The next bytes; fewer at the end of the file."""
        while len(self._held) - self._at < count and self._more():
            pass
        return self._held[self._at : self._at + count]

    def take_until(self, terminator: bytes) -> Iterator[bytes]:
        """Yield what stands before each terminator; the rest without one is left out."""
        # ISA's own elements may hold its marks: it ends where its width says.
        yield self._held[self._at : self._at + ISA_LENGTH - 1]
        self._at += ISA_LENGTH
        while True:
            end = self._held.find(terminator, self._at)
            while end < 0:
                searched = len(self._held)
                if searched - self._at > MAX_SEGMENT or not self._more():
                    return
                end = self._held.find(terminator, self._at)
            found = self._held[self._at : end]
            self._at = end + 1
            yield found.strip(b"\r\n")

    def _more(self) -> bool:
        block = self._stream.read(BLOCK)
        self._held, self._at = self._held[self._at :] + block, 0
        return bool(block)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


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
