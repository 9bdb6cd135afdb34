"""837P and 837I → FHIR R4 Claims: the same facts, so that everything after goes one way.

What a claim refers to becomes references that handles stand for: `Patient/<member id>` (a dependent
`Patient/<member id>.<birth date>.<given name>`), `Coverage/<member id>`,
`DocumentReference/<PWK06>` and `Authorization/<REF G1>`. The payer is known by NM109, as
`urn:medfabric:x12:payer`. What another payer decided (loops 2320, 2430) becomes a contained
ClaimResponse, and REF F8 the claim before (`related`). Amounts are in dollars: the guides have no
other currency by default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from admin.x12.envelope import TransactionSet
from admin.x12.guides import INSTITUTIONAL
from admin.x12.problems import Level, Place, Problem
from admin.x12.segments import Segment
from chaincode.claims.fhir import AUTHORIZATION_URL, NPI_SYSTEM

PAYER_SYSTEM = "urn:medfabric:x12:payer"
NUMBER_SYSTEM = "urn:medfabric:x12:clm01"
FREQUENCY_SYSTEM = "urn:medfabric:x12:clm05-3"
BILL_SYSTEM = "urn:medfabric:x12:clm05-1"
CODING = "http://terminology.hl7.org/CodeSystem/"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
PLACE = "https://www.cms.gov/Medicare/Coding/place-of-service-codes/Place_of_Service_Code_Set"
REVENUE = "https://www.nubc.org/CodeSystem/RevenueCodes"
PROCEDURES = {
    "HC": "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "HP": "urn:medfabric:x12:hipps",
    "N4": "http://hl7.org/fhir/sid/ndc",
}
MODIFIERS = "urn:medfabric:x12:modifier"
ORIGINAL, REPLACEMENT, VOID = "1", "7", "8"
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


@dataclass(frozen=True, slots=True)
class Claim837:
    """One claim of a set. `position` is its CLM's; `notes` say what of it is not read."""

    resource: dict[str, Any]
    set: int
    position: int
    frequency: str
    prior: str
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Other:
    """Another payer of the claim (loop 2320) and what it decided."""

    order: str
    member: str = ""
    payer: str = ""
    paid: Decimal | None = None
    adjusted: Decimal = Decimal(0)
    lines: dict[int, Decimal] = field(default_factory=dict)


@dataclass(slots=True)
class _Line:
    number: int
    at: Segment
    service: Segment | None = None
    days: tuple[str, str] | None = None
    authorization: str = ""
    control: str = ""


@dataclass(slots=True)
class _Claim:
    """A claim while its segments go by."""

    clm: Segment
    header: dict[str, str]
    lines: list[_Line] = field(default_factory=list)
    diagnoses: list[tuple[str, str]] = field(default_factory=list)
    others: list[_Other] = field(default_factory=list)
    attachments: list[str] = field(default_factory=list)
    days: tuple[str, str] | None = None
    authorization: str = ""
    prior: str = ""
    rendering: str = ""
    facility: str = ""
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_claims(held: TransactionSet, loops: dict[int, str]) -> Iterator[Claim837]:
    """Yield the claims of an 837 whose guide found nothing wrong; `loops` is by position."""
    reader = _Reader(held)
    for segment in held.segments:
        reader.take(segment, loops.get(segment.position, ""))
    for claim in reader.claims:
        yield _Builder(held, claim).build()


class _Reader:
    """Takes the segments of one set in order."""

    def __init__(self, held: TransactionSet) -> None:
        self._held = held
        self.claims: list[_Claim] = []
        self._header: dict[str, str] = {}

    def take(self, segment: Segment, loop: str) -> None:
        if segment.id == "HL":
            self._level(segment)
        elif segment.id == "BHT":
            self._header["created"] = segment[4]
        elif segment.id == "CLM":
            self.claims.append(_Claim(segment, dict(self._header)))
        elif loop.startswith(("23", "24")) and self.claims:
            self._of_claim(segment, loop, self.claims[-1])
        else:
            self._of_header(segment, loop)

    def _level(self, hl: Segment) -> None:
        kept = {
            "20": ("created",),
            "22": ("created", "npi"),
            "23": ("created", "npi", "member", "order", "payer"),
        }.get(hl[3], ())
        self._header = {name: self._header[name] for name in kept if name in self._header}

    def _of_header(self, segment: Segment, loop: str) -> None:
        header = self._header
        if segment.id == "SBR":
            header["order"] = segment[1]
        elif segment.id == "NM1" and loop == "2010AA":
            header["npi"] = segment[9] if segment[8] == "XX" else ""
        elif segment.id == "NM1" and loop == "2010BA":
            header["member"] = segment[9]
        elif segment.id == "NM1" and loop in ("2010BB", "2010BC") and segment[1] == "PR":
            header["payer"] = segment[9]
        elif segment.id == "NM1" and loop == "2010CA":
            header["given"] = segment[4]
        elif segment.id == "DMG" and loop == "2010CA":
            header["birth"] = segment[2]

    def _of_claim(self, segment: Segment, loop: str, claim: _Claim) -> None:
        if segment.id not in _READ:
            claim.notes.append(f"{segment.shown_id} at segment {segment.position} is not read")
        elif loop.startswith("24"):
            self._of_line(segment, loop, claim)
        elif loop.startswith(("2320", "2330")):
            self._of_other(segment, loop, claim)
        else:
            self._of_head(segment, claim)

    def _of_head(self, segment: Segment, claim: _Claim) -> None:
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
            case "PWK", _ if segment[6]:
                claim.attachments.append(segment[6])
            case "NM1", "82" if segment[8] == "XX":
                claim.rendering = segment[9]
            case "NM1", "77" if segment[8] == "XX":
                claim.facility = segment[9]

    def _of_other(self, segment: Segment, loop: str, claim: _Claim) -> None:
        if segment.id == "SBR":
            claim.others.append(_Other(segment[1]))
            return
        if not claim.others:
            return
        other = claim.others[-1]
        if segment.id == "AMT" and segment[1] == "D":
            other.paid = _amount(segment[2])
        elif segment.id == "CAS":
            other.adjusted += sum((x for x in map(_amount, _cas(segment)) if x), Decimal(0))
        elif segment.id == "NM1" and loop == "2330A":
            other.member = segment[9]
        elif segment.id == "NM1" and loop == "2330B":
            other.payer = segment[9]

    def _of_line(self, segment: Segment, loop: str, claim: _Claim) -> None:
        if segment.id == "LX":
            claim.lines.append(_Line(len(claim.lines) + 1, segment))
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
                    paid = _amount(segment[2]) or Decimal(0)
                    other.lines[line.number] = other.lines.get(line.number, Decimal(0)) + paid


class _Builder:
    """Makes the FHIR Claim of what was read."""

    def __init__(self, held: TransactionSet, claim: _Claim) -> None:
        self._held = held
        self._claim = claim
        self._header = claim.header

    def build(self) -> Claim837:
        claim = self._claim
        self._validate()
        frequency = claim.clm.component(5, 3)
        resource: dict[str, Any] = {}
        if not claim.problems:
            resource = self._resource(frequency)
        return Claim837(
            resource,
            self._held.number,
            claim.clm.position,
            frequency,
            claim.prior,
            tuple(claim.notes),
            tuple(claim.problems),
        )

    def _validate(self) -> None:
        claim, header = self._claim, self._header
        clm = claim.clm
        if not header.get("npi"):
            self._fault(clm, 0, "1", "the billing provider has no NPI (NM108 XX)", "give it in "
                        "loop 2010AA")  # fmt: skip
        if not header.get("member"):
            self._fault(clm, 0, "1", "the subscriber has no member id", "give it in loop 2010BA")
        if clm.component(5, 3) not in (ORIGINAL, REPLACEMENT, VOID):
            self._fault(clm, 5, "7", "only frequencies 1, 7 and 8 are taken", "send one of them", 3)
        elif clm.component(5, 3) != ORIGINAL and not claim.prior:
            self._fault(
                clm, 5, "2", "a replacement or void names the payer's claim number",
                "add REF F8 with it", 3,
            )  # fmt: skip
        total = _amount(clm[2])
        charges = [_amount(self._charge(line)) for line in claim.lines]
        if total is None or None in charges or sum(c for c in charges if c is not None) != total:
            self._fault(clm, 2, "I12", "CLM02 is not the sum of the lines' charges", "add them up")
        for line in claim.lines:
            self._validate_line(line)

    def _validate_line(self, line: _Line) -> None:
        if line.service is None:
            self._fault(line.at, 0, "1", "the line has no SV1 or SV2", "add it")
            return
        quantity = _amount(self._quantity(line))
        if quantity is None or quantity <= 0:
            at = 4 if line.service.id == "SV1" else 5
            self._fault(line.service, at, "7", "the quantity is not above 0", "correct it")
        if line.days is None and self._claim.days is None:
            self._fault(
                line.service, 0, "1", "the line has no date of service",
                "add DTP 472 to the line, or DTP 434 to the claim",
            )  # fmt: skip

    def _resource(self, frequency: str) -> dict[str, Any]:
        claim, header = self._claim, self._header
        institutional = self._held.guide == INSTITUTIONAL
        kind = "institutional" if institutional else "professional"
        npi = header["npi"]
        resource: dict[str, Any] = {
            "resourceType": "Claim",
            "identifier": [
                {"system": f"{NUMBER_SYSTEM}:{npi}", "value": claim.clm[1]},
            ],
            "status": "active",
            "type": _concept(f"{CODING}claim-type", kind),
            "subType": _concept(BILL_SYSTEM, claim.clm.component(5, 1)),
            "use": "claim",
            "patient": {"reference": f"Patient/{self._patient()}"},
            "created": _iso(header.get("created", "")),
            "insurer": {"identifier": {"system": PAYER_SYSTEM, "value": header.get("payer", "")}},
            "provider": _npi(npi),
            "priority": _concept(f"{CODING}processpriority", "normal"),
            "total": _money(_amount(claim.clm[2]) or Decimal(0)),
        }
        if claim.facility:
            resource["facility"] = _npi(claim.facility)
        if frequency != ORIGINAL:
            resource["related"] = [
                {
                    "claim": {"reference": f"Claim/{claim.prior}"},
                    "relationship": _concept(f"{CODING}ex-relatedclaimrelationship", "prior"),
                }
            ]
        if claim.rendering:
            resource["careTeam"] = [{"sequence": 1, "provider": _npi(claim.rendering)}]
        if claim.diagnoses:
            resource["diagnosis"] = [
                {"sequence": n, "diagnosisCodeableConcept": _concept(*coded)}
                for n, coded in enumerate(claim.diagnoses, 1)
            ]
        if claim.attachments:
            resource["supportingInfo"] = [
                {
                    "sequence": n,
                    "category": _concept(f"{CODING}claiminformationcategory", "attachment"),
                    "valueReference": {"reference": f"DocumentReference/{number}"},
                }
                for n, number in enumerate(claim.attachments, 1)
            ]
        resource["insurance"], contained = self._insurance()
        if contained:
            resource["contained"] = contained
        resource["item"] = [self._item(line, institutional) for line in claim.lines]
        return resource

    def _patient(self) -> str:
        header = self._header
        member = header["member"]
        if "birth" not in header and "given" not in header:
            return member
        given = re.sub(r"[^A-Z0-9]", "", header.get("given", "").upper())
        return ".".join((member, header.get("birth", ""), given))

    def _insurance(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The insurances in their order of primacy (SBR01), and what other payers decided."""
        own = self._header.get("order", "P")
        listed: list[tuple[str, _Other | None]] = [(own, None)]
        listed += [(other.order, other) for other in self._claim.others]
        listed.sort(key=lambda item: _primacy(item[0]))
        insurances, contained = [], []
        for number, (_, other) in enumerate(listed, 1):
            member = other.member if other else self._header["member"]
            item: dict[str, Any] = {
                "sequence": number,
                "focal": other is None,
                "coverage": {"reference": f"Coverage/{member}"},
            }
            if other is not None and other.paid is not None:
                name = f"prior-{number}"
                contained.append(self._response(name, other))
                item["claimResponse"] = {"reference": f"#{name}"}
            if other is None and self._claim.authorization:
                item["preAuthRef"] = [self._claim.authorization]
            insurances.append(item)
        return insurances, contained

    def _response(self, name: str, other: _Other) -> dict[str, Any]:
        paid = other.paid or Decimal(0)
        charge = _amount(self._claim.clm[2]) or Decimal(0)
        response: dict[str, Any] = {
            "resourceType": "ClaimResponse",
            "id": name,
            "status": "active",
            "type": _concept(f"{CODING}claim-type", "professional"),
            "use": "claim",
            "patient": {"reference": f"Patient/{self._patient()}"},
            "created": _iso(self._header.get("created", "")),
            "insurer": {"identifier": {"system": PAYER_SYSTEM, "value": other.payer}},
            "outcome": "complete",
            "total": [
                {"category": _concept(f"{CODING}adjudication", "submitted"),
                 "amount": _money(charge)},
                {"category": _concept(f"{CODING}adjudication", "benefit"), "amount": _money(paid)},
            ],
        }  # fmt: skip
        if other.lines:
            response["item"] = [
                {
                    "itemSequence": number,
                    "adjudication": [
                        {
                            "category": _concept(f"{CODING}adjudication", "benefit"),
                            "amount": _money(amount),
                        }
                    ],
                }
                for number, amount in sorted(other.lines.items())
            ]
        return response

    def _item(self, line: _Line, institutional: bool) -> dict[str, Any]:
        service = line.service
        assert service is not None  # held by _validate
        at = 2 if institutional else 1
        qualifier, code = service.component(at, 1), service.component(at, 2)
        revenue = service[1] if institutional else ""
        procedure = (
            _concept(PROCEDURES.get(qualifier, f"urn:medfabric:x12:{qualifier}"), code)
            if code
            else _concept(REVENUE, revenue)
        )
        net = _amount(self._charge(line)) or Decimal(0)
        quantity = _amount(self._quantity(line)) or Decimal(1)
        item: dict[str, Any] = {
            "sequence": line.number,
            "productOrService": procedure,
            "quantity": {"value": quantity},
            **_price(net, quantity),
            "net": _money(net),
        }
        if line.control:
            item["id"] = line.control
        if revenue:
            item["revenue"] = _concept(REVENUE, revenue)
        modifiers = [service.component(at, n) for n in range(3, 7)]
        if any(modifiers):
            item["modifier"] = [_concept(MODIFIERS, one) for one in modifiers if one]
        place = service[5] if not institutional else ""
        place = place or ("" if institutional else self._claim.clm.component(5, 1))
        if place:
            item["locationCodeableConcept"] = _concept(PLACE, place)
        if not institutional:
            pointers = service[7].split(service.component_separator)
            wanted = [int(p) for p in pointers if p.isdecimal()]
            if wanted:
                item["diagnosisSequence"] = wanted
        first, last = line.days or self._claim.days or ("", "")
        if first == last:
            item["servicedDate"] = _iso(first)
        else:
            item["servicedPeriod"] = {"start": _iso(first), "end": _iso(last)}
        authorization = line.authorization or self._claim.authorization
        if authorization:
            item["extension"] = [
                {"url": AUTHORIZATION_URL, "valueReference": {"reference": f"Authorization/"
                 f"{authorization}"}}
            ]  # fmt: skip
        return item

    def _charge(self, line: _Line) -> str:
        if line.service is None:
            return ""
        return line.service[3] if line.service.id == "SV2" else line.service[2]

    def _quantity(self, line: _Line) -> str:
        if line.service is None:
            return ""
        return line.service[5] if line.service.id == "SV2" else line.service[4]

    def _fault(
        self, at: Segment, element: int, code: str, rule: str, remedy: str, component: int = 0
    ) -> None:
        start = self._held.segments[0].position
        place = Place(
            interchange=1, set=self._held.number, position=at.position,
            in_set=at.position - start + 1, segment=at.shown_id, element=element,
            component=component,
        )  # fmt: skip
        level = Level.ELEMENT if element else Level.SEGMENT
        self._claim.problems.append(Problem(level, place, code if element else "8", rule, remedy))


def _price(net: Decimal, quantity: Decimal) -> dict[str, Any]:
    """Unit price and, where the charge is no whole number of cents a unit, a factor.

    X12 charges a line as a whole; FHIR multiplies. 15 digits of factor round to the very cent.
    """
    if quantity == 1:
        return {"unitPrice": _money(net)}
    each = net / quantity
    if each == each.quantize(Decimal("0.01")):
        return {"unitPrice": _money(each.quantize(Decimal("0.01")))}
    return {"unitPrice": _money(net), "factor": (1 / quantity).quantize(Decimal(10) ** -15)}


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


def _primacy(code: str) -> int:
    return "PSTABCDEFGH".find(code) if code and code in "PSTABCDEFGH" else 99


def _amount(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _iso(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:8]}"


def _money(value: Decimal) -> dict[str, Any]:
    return {"value": value, "currency": "USD"}


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _npi(number: str) -> dict[str, Any]:
    return {"identifier": {"system": NPI_SYSTEM, "value": number}}
