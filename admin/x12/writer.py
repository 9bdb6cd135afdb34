"""Interchanges out of segments: envelopes counted, one text; what a value may not hold is replaced.

A control number is the writer's to give: nine digits that a receiver sees once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from admin.x12.segments import Delimiters

MARKS = Delimiters()
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """Who sends or receives: ISA05-08 (`qualifier`, `id`), GS02 or GS03 (`application`)."""

    id: str
    qualifier: str = "ZZ"
    application: str = ""


@dataclass(frozen=True, slots=True)
class SetOut:
    """One transaction set to be written: what stands between ST and SE."""

    kind: str
    guide: str
    rows: tuple[Row, ...]


def build_interchange(
    sets: Sequence[SetOut],
    function: str,
    sender: Address,
    receiver: Address,
    *,
    at: datetime,
    control: int,
    production: bool = False,
) -> str:
    """The interchange with one group of these sets, a segment a line.

    `control` becomes ISA13 and GS06; sets are numbered from 0001.
    """
    envelope = Envelope(function, sender, receiver, at, control, production)
    written = [envelope.open(sets[0].guide)]
    written += [build_set(number, one) for number, one in enumerate(sets, 1)]
    return "".join((*written, envelope.close(len(sets))))


@dataclass(frozen=True, slots=True)
class Envelope:
    """An interchange with one group: what stands before its sets, and after them."""

    function: str
    sender: Address
    receiver: Address
    at: datetime
    control: int
    production: bool = False

    def open(self, guide: str) -> str:
        """ISA and GS."""
        sender, receiver, at = self.sender, self.receiver, self.at
        isa = (
            "ISA", "00", " " * 10, "00", " " * 10, sender.qualifier, f"{sender.id[:15]:<15}",
            receiver.qualifier, f"{receiver.id[:15]:<15}", f"{at:%y%m%d}", f"{at:%H%M}",
            MARKS.repetition, "00501", f"{self.control:09}", "0", "P" if self.production else "T",
            MARKS.component,
        )  # fmt: skip
        group: Row = (
            "GS", self.function, sender.application or sender.id,
            receiver.application or receiver.id, f"{at:%Y%m%d}", f"{at:%H%M}", str(self.control),
            "X", guide,
        )  # fmt: skip
        return f"{MARKS.element.join(isa)}{MARKS.terminator}\n{_text([group])}"

    def close(self, sets: int) -> str:
        """GE and IEA."""
        return _text([("GE", str(sets), str(self.control)), ("IEA", "1", f"{self.control:09}")])


def build_set(number: int, one: SetOut) -> str:
    """The set as text, ST to SE, under this number."""
    name = f"{number:04}"
    # An 835 alone has no ST03: its guide stands in GS08 only.
    head: Row = ("ST", one.kind, name) if one.kind == "835" else ("ST", one.kind, name, one.guide)
    return _text([head, *one.rows, ("SE", str(len(one.rows) + 2), name)])


def composite(*parts: str) -> str:
    """Components in one element, empty ones at the end left out."""
    return MARKS.component.join(clean(part) for part in parts).rstrip(MARKS.component)


def clean(text: str) -> str:
    """The text without what would be read as a delimiter, a control or another character set."""
    marks = (MARKS.element, MARKS.repetition, MARKS.component, MARKS.terminator)
    return "".join(
        " " if char in marks or not char.isprintable() or ord(char) > 126 else char for char in text
    ).strip()


def money(cents: int) -> str:
    """An amount as X12 has it: no zeros at the end of a fraction, `-62.5`, `185`."""
    sign, cents = ("-", -cents) if cents < 0 else ("", cents)
    text = f"{cents // 100}.{cents % 100:02}".rstrip("0").rstrip(".")
    return f"{sign}{text}"


def _text(rows: Iterable[Row]) -> str:
    return "".join(f"{_line(row)}{MARKS.terminator}\n" for row in rows)


def _line(row: Iterable[str]) -> str:
    # Components were cleaned one by one: their separator has to stay.
    elements = [
        MARKS.component.join(clean(part) for part in element.split(MARKS.component))
        for element in row
    ]
    return MARKS.element.join(elements).rstrip(MARKS.element)
