"""What is wrong with a file, by place, rule and remedy; never by value: values are PHI."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Level(StrEnum):
    """Where a problem belongs: which acknowledgement segment tells it (TA1, AK9, IK5, IK3, IK4)."""

    INTERCHANGE = "interchange"
    GROUP = "group"
    SET = "set"
    SEGMENT = "segment"
    ELEMENT = "element"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file; numbers count from 1, and 0 says nothing.

    `position` counts segments through the file, `in_set` from the ST.
    """

    interchange: int
    group: int = 0
    set: int = 0
    position: int = 0
    in_set: int = 0
    segment: str = ""
    loop: str = ""
    element: int = 0
    component: int = 0
    name: str = ""

    def tell(self) -> str:
        """`ST 1 segment 24 (SV1, loop 2400) element 2 (Line Item Charge Amount)`."""
        words = []
        if self.interchange > 1:
            words.append(f"interchange {self.interchange}")
        if self.set:
            words.append(f"ST {self.set}")
        if self.position:
            inside = ", ".join(
                x for x in (self.segment, f"loop {self.loop}" if self.loop else "") if x
            )
            words.append(f"segment {self.position}" + (f" ({inside})" if inside else ""))
        if self.element:
            part = f"-{self.component}" if self.component else ""
            named = f" ({self.name})" if self.name else ""
            words.append(f"element {self.element}{part}{named}")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    `code` is what the acknowledgement says for it: TA105, AK905, IK502, IK304 or IK403.
    """

    level: Level
    place: Place
    code: str
    rule: str
    remedy: str

    def tell(self) -> str:
        """Place and rule in one line."""
        where = self.place.tell()
        return f"{where}: {self.rule}" if where else self.rule

    def within(self, **named: int) -> Problem:
        """The same problem at a place that says more."""
        return replace(self, place=replace(self.place, **named))  # type: ignore[arg-type]
