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
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from admin.x12.envelope import TransactionSet
from admin.x12.guides import INSTITUTIONAL
from admin.x12.problems import Level, Place, Problem
from admin.x12.reading import ClaimFacts, LineFacts, OtherPayer, amount_of
from admin.x12.segments import Segment
from chaincode.claims.fhir import AUTHORIZATION_URL, NPI_SYSTEM

PAYER_SYSTEM = "urn:medfabric:x12:payer"
NUMBER_SYSTEM = "urn:medfabric:x12:clm01"
BILL_SYSTEM = "urn:medfabric:x12:clm05-1"
CODING = "http://terminology.hl7.org/CodeSystem/"
PLACE = "https://www.cms.gov/Medicare/Coding/place-of-service-codes/Place_of_Service_Code_Set"
REVENUE = "https://www.nubc.org/CodeSystem/RevenueCodes"
PROCEDURES = {
    "HC": "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "HP": "urn:medfabric:x12:hipps",
    "N4": "http://hl7.org/fhir/sid/ndc",
}
MODIFIERS = "urn:medfabric:x12:modifier"
ORIGINAL, REPLACEMENT, VOID = "1", "7", "8"


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody whom an acknowledgement names as the file does; `kind` is NM102."""

    id: str
    name: str
    kind: str = "2"
    given: str = ""


@dataclass(frozen=True, slots=True)
class Told837:
    """What an acknowledgement repeats of a claim: in memory only, for all of it is PHI.

    `batch` is BHT03, `number` CLM01, `clearing` REF D9, `bill` CLM05 of an institutional claim,
    `served` the first and last day of service (CCYYMMDD).
    """

    batch: str
    sender: Party
    receiver: Party
    provider: Party
    patient: Party
    number: str
    charge: Decimal
    served: tuple[str, str]
    clearing: str = ""
    bill: str = ""


@dataclass(frozen=True, slots=True)
class Claim837:
    """One claim of a set. `position` is its CLM's; `notes` say what of it is not read."""

    resource: dict[str, Any]
    set: int
    position: int
    frequency: str
    prior: str
    told: Told837
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def build_claim(interchange: int, held: TransactionSet, facts: ClaimFacts) -> Claim837:
    """The FHIR Claim of what was read; none, and its problems, if a claim needs more."""
    return _Builder(interchange, held, facts).build()


class _Builder:
    """Makes the FHIR Claim of what was read."""

    def __init__(self, interchange: int, held: TransactionSet, claim: ClaimFacts) -> None:
        self._interchange = interchange
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
            self._told(),
            tuple(claim.notes),
            tuple(claim.problems),
        )

    def _told(self) -> Told837:
        header, clm = self._header, self._claim.clm
        institutional = self._held.guide == INSTITUTIONAL
        return Told837(
            batch=header.get("batch", ""),
            sender=Party(
                header.get("senderId", ""),
                header.get("sender", ""),
                header.get("senderKind", "2"),
            ),
            receiver=Party(header.get("receiverId", ""), header.get("receiver", "")),
            provider=Party(
                header.get("npi", ""),
                header.get("provider", ""),
                header.get("providerKind", "2"),
                header.get("providerGiven", ""),
            ),
            patient=Party(
                header.get("member", ""), header.get("family", ""), "1", header.get("name", "")
            ),
            number=clm[1],
            charge=amount_of(clm[2]) or Decimal(0),
            served=self._claim.served,
            clearing=self._claim.clearing,
            bill="".join(clm.component(5, n) for n in (1, 3)) if institutional else "",
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
        total = amount_of(clm[2])
        charges = [amount_of(line.charge) for line in claim.lines]
        if total is None or None in charges or sum(c for c in charges if c is not None) != total:
            self._fault(clm, 2, "I12", "CLM02 is not the sum of the lines' charges", "add them up")
        for line in claim.lines:
            self._validate_line(line)

    def _validate_line(self, line: LineFacts) -> None:
        if line.service is None:
            self._fault(line.at, 0, "1", "the line has no SV1 or SV2", "add it")
            return
        quantity = amount_of(line.quantity)
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
            "total": _money(amount_of(claim.clm[2]) or Decimal(0)),
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
        listed: list[tuple[str, OtherPayer | None]] = [(own, None)]
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

    def _response(self, name: str, other: OtherPayer) -> dict[str, Any]:
        paid = other.paid or Decimal(0)
        charge = amount_of(self._claim.clm[2]) or Decimal(0)
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

    def _item(self, line: LineFacts, institutional: bool) -> dict[str, Any]:
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
        net = amount_of(line.charge) or Decimal(0)
        quantity = amount_of(line.quantity) or Decimal(1)
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

    def _fault(
        self, at: Segment, element: int, code: str, rule: str, remedy: str, component: int = 0
    ) -> None:
        start = self._held.position
        place = Place(
            interchange=self._interchange, set=self._held.number, position=at.position,
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


def _primacy(code: str) -> int:
    return "PSTABCDEFGH".find(code) if code and code in "PSTABCDEFGH" else 99


def _iso(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:8]}"


def _money(value: Decimal) -> dict[str, Any]:
    return {"value": value, "currency": "USD"}


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _npi(number: str) -> dict[str, Any]:
    return {"identifier": {"system": NPI_SYSTEM, "value": number}}
