"""837P and 837I, segment by segment → the facts of one claim after another.

A claim is done when the next one, another level or the end of the set begins; what stands above it
(billing provider, subscriber, patient) is kept, and nothing else of the set.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from admin.x12.problems import Problem
from admin.x12.segments import Segment

ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
ICD9 = "http://hl7.org/fhir/sid/icd-9-cm"
_DIAGNOSES = {"ABK": ICD10, "BK": ICD9, "ABF": ICD10, "BF": ICD9}
_READ = frozenset(
    (
        *("ST", "BHT", "SE", "HL", "SBR", "NM1", "DMG", "CLM", "DTP", "HI", "LX", "SV1", "SV2"),
        *("REF", "PWK", "AMT", "CAS", "SVD", "N2", "N3", "N4", "PER", "PRV", "PAT", "OI", "CL1"),
        "CUR",
    )
)
"""Segments that are read, or of which a claim's facts need nothing; any other is noted."""
_OF_SET = ("created", "batch", "sender", "senderId", "senderKind", "receiver", "receiverId")
_OF_PROVIDER = (*_OF_SET, "npi", "provider", "providerKind", "providerGiven")
_KEPT = {
    "22": _OF_PROVIDER,
    "23": (*_OF_PROVIDER, "member", "family", "name", "order", "payer"),
}
"""What is still known when a level begins, by HL03."""


@dataclass(slots=True)
class OtherPayer:
    """Another payer of the claim (loop 2320) and what it decided."""

    order: str
    member: str = ""
    payer: str = ""
    paid: Decimal | None = None
    adjusted: Decimal = Decimal(0)
    lines: dict[int, Decimal] = field(default_factory=dict)


@dataclass(slots=True)
class LineFacts:
    """A service line; `at` is its LX."""

    number: int
    at: Segment
    service: Segment | None = None
    days: tuple[str, str] | None = None
    authorization: str = ""
    control: str = ""

    @property
    def charge(self) -> str:
        """SV102 or SV203, "" if the line has neither."""
        if self.service is None:
            return ""
        return self.service[3] if self.service.id == "SV2" else self.service[2]

    @property
    def quantity(self) -> str:
        """SV104 or SV205, "" if the line has neither."""
        if self.service is None:
            return ""
        return self.service[5] if self.service.id == "SV2" else self.service[4]


@dataclass(slots=True)
class ClaimFacts:
    """A claim while its segments go by."""

    clm: Segment
    header: dict[str, str]
    lines: list[LineFacts] = field(default_factory=list)
    diagnoses: list[tuple[str, str]] = field(default_factory=list)
    others: list[OtherPayer] = field(default_factory=list)
    attachments: list[str] = field(default_factory=list)
    days: tuple[str, str] | None = None
    authorization: str = ""
    prior: str = ""
    clearing: str = ""
    rendering: str = ""
    facility: str = ""
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def served(self) -> tuple[str, str]:
        """The first and the last day of its services, CCYYMMDD; empty if it tells none."""
        days = [line.days for line in self.lines if line.days]
        days += [self.days] if self.days else []
        return (min(d[0] for d in days), max(d[1] for d in days)) if days else ("", "")


class ClaimReader:
    """Takes the segments of one set in order, and gives each claim when it is over."""

    def __init__(self) -> None:
        self._claim: ClaimFacts | None = None
        self._header: dict[str, str] = {}

    def take(self, segment: Segment, loop: str) -> ClaimFacts | None:
        """The claim that this segment ends: one that a claim, a level or SE comes after."""
        done = None
        if segment.id in ("CLM", "HL", "SE"):
            done, self._claim = self._claim, None
        if segment.id == "HL":
            self._level(segment)
        elif segment.id == "BHT":
            self._header |= {"created": segment[4], "batch": segment[3]}
        elif segment.id == "CLM":
            self._claim = ClaimFacts(segment, dict(self._header))
        elif loop.startswith(("23", "24")) and self._claim is not None:
            self._of_claim(segment, loop, self._claim)
        else:
            self._of_header(segment, loop)
        return done

    def _level(self, hl: Segment) -> None:
        kept = _KEPT.get(hl[3], _OF_SET)
        self._header = {name: self._header[name] for name in kept if name in self._header}

    def _of_header(self, segment: Segment, loop: str) -> None:
        header = self._header
        if segment.id == "SBR":
            header["order"] = segment[1]
        elif segment.id == "DMG" and loop == "2010CA":
            header["birth"] = segment[2]
        elif segment.id == "NM1":
            self._of_name(segment, loop)

    def _of_name(self, nm1: Segment, loop: str) -> None:
        header = self._header
        if loop == "1000A":
            header |= {"sender": nm1[3], "senderId": nm1[9], "senderKind": nm1[2]}
        elif loop == "1000B":
            header |= {"receiver": nm1[3], "receiverId": nm1[9]}
        elif loop == "2010AA":
            header["npi"] = nm1[9] if nm1[8] == "XX" else ""
            header |= {"provider": nm1[3], "providerKind": nm1[2], "providerGiven": nm1[4]}
        elif loop == "2010BA":
            header |= {"member": nm1[9], "family": nm1[3], "name": nm1[4]}
        elif loop in ("2010BB", "2010BC") and nm1[1] == "PR":
            header["payer"] = nm1[9]
        elif loop == "2010CA":
            header |= {"given": nm1[4], "family": nm1[3], "name": nm1[4]}

    def _of_claim(self, segment: Segment, loop: str, claim: ClaimFacts) -> None:
        if segment.id not in _READ:
            claim.notes.append(f"{segment.shown_id} at segment {segment.position} is not read")
        elif loop.startswith("24"):
            self._of_line(segment, loop, claim)
        elif loop.startswith(("2320", "2330")):
            self._of_other(segment, loop, claim)
        else:
            self._of_head(segment, claim)

    def _of_head(self, segment: Segment, claim: ClaimFacts) -> None:
        """Loops 2300 and 2310: what is said of the claim as a whole."""
        match segment.id, segment[1]:
            case "HI", _:
                claim.diagnoses += _diagnoses(segment)
            case "DTP", "434":
                claim.days = _days(segment)
            case "REF", "G1":
                claim.authorization = segment[2]
            case "REF", "F8":
                claim.prior = segment[2]
            case "REF", "D9":
                claim.clearing = segment[2]
            case "PWK", _ if segment[6]:
                claim.attachments.append(segment[6])
            case "NM1", "82" if segment[8] == "XX":
                claim.rendering = segment[9]
            case "NM1", "77" if segment[8] == "XX":
                claim.facility = segment[9]

    def _of_other(self, segment: Segment, loop: str, claim: ClaimFacts) -> None:
        if segment.id == "SBR":
            claim.others.append(OtherPayer(segment[1]))
            return
        if not claim.others:
            return
        other = claim.others[-1]
        if segment.id == "AMT" and segment[1] == "D":
            other.paid = amount_of(segment[2])
        elif segment.id == "CAS":
            other.adjusted += sum((x for x in map(amount_of, _cas(segment)) if x), Decimal(0))
        elif segment.id == "NM1" and loop == "2330A":
            other.member = segment[9]
        elif segment.id == "NM1" and loop == "2330B":
            other.payer = segment[9]

    def _of_line(self, segment: Segment, loop: str, claim: ClaimFacts) -> None:
        if segment.id == "LX":
            claim.lines.append(LineFacts(len(claim.lines) + 1, segment))
            return
        if not claim.lines:
            return
        line = claim.lines[-1]
        if segment.id in ("SV1", "SV2"):
            line.service = segment
        elif segment.id == "DTP" and segment[1] == "472":
            line.days = _days(segment)
        elif segment.id == "REF" and segment[1] == "6R":
            line.control = segment[2]
        elif segment.id == "REF" and segment[1] == "G1":
            line.authorization = segment[2]
        elif segment.id == "SVD":
            for other in claim.others:
                if other.payer == segment[1]:
                    paid = amount_of(segment[2]) or Decimal(0)
                    other.lines[line.number] = other.lines.get(line.number, Decimal(0)) + paid


def _diagnoses(hi: Segment) -> Iterable[tuple[str, str]]:
    """System and code of each diagnosis; HI also has procedures, values and conditions."""
    for element in hi.elements[1:]:
        parts = element.split(hi.component_separator)
        if parts[0] in _DIAGNOSES and len(parts) > 1:
            yield _DIAGNOSES[parts[0]], _dotted(parts[1])


def _dotted(code: str) -> str:
    """ICD-10-CM with its point: E119 → E11.9. X12 leaves it out."""
    return code if "." in code or len(code) <= 3 else f"{code[:3]}.{code[3:]}"


def _days(dtp: Segment) -> tuple[str, str]:
    first, _, last = dtp[3].partition("-")
    return first, last or first


def _cas(segment: Segment) -> list[str]:
    """The amounts of a CAS: its third element and every third after."""
    return [segment[at] for at in range(3, len(segment.elements), 3)]


def amount_of(text: str) -> Decimal | None:
    """The amount that an element holds, None if it holds none."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
