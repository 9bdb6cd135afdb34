"""A decided claim → FHIR R4 `ExplanationOfBenefit`: what the patient is told. Pure.

The lines are the claim's own with the payer's adjudication beside them, totals by category, what
the member owes (`memberliability`), and what was paid to whom. Shape after the CARIN Blue Button
profiles; references are to handles, as in `responses`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chaincode.claims.details import Adjudication, ClaimFile, Details, Line, LineDecision, Use
from chaincode.claims.model import Claim
from chaincode.claims.responses import (
    ADJUDICATION,
    CLAIM_TYPE,
    build_adjustment,
    build_amount,
    build_claim_response,
    build_concept,
    build_member,
    build_money,
)
from chaincode.errors import InvalidArgument

CARIN_ADJUDICATION = "http://hl7.org/fhir/us/carin-bb/CodeSystem/C4BBAdjudication"
PAYEE_TYPE = "http://terminology.hl7.org/CodeSystem/payeetype"
RELATED_CLAIM = "http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship"
PLACE = "https://www.cms.gov/Medicare/Coding/place-of-service-codes/Place_of_Service_Code_Set"
REVENUE = "https://www.nubc.org/CodeSystem/RevenueCodes"
PROCEDURES = "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
DIAGNOSES = "http://hl7.org/fhir/sid/icd-10-cm"
NPI = "http://hl7.org/fhir/sid/us-npi"
PATIENT_GROUP = "PR"


def build_explanation(claim: Claim, file: ClaimFile) -> dict[str, Any]:
    """The ExplanationOfBenefit of the newest decision. Raises InvalidArgument: it is not decided.

    A preauthorisation or predetermination has one too: FHIR's `use` says so.
    """
    response = build_claim_response(claim, file)
    if file.details is None:  # held by build_claim_response
        raise InvalidArgument("claim: there is no decision to explain")
    details, made = file.details.details, file.decisions[-1].adjudication
    days = [day for line in details.lines for day in (line.serviced_from, line.last_day)]
    explanation: dict[str, Any] = {
        "resourceType": "ExplanationOfBenefit",
        "id": f"{claim.claim}-{claim.decision_version}",
        "identifier": [{"system": "urn:medfabric:claim", "value": claim.claim}],
        "status": response["status"],
        "type": build_concept(CLAIM_TYPE, details.type.value),
        "use": details.use.value,
        "patient": response["patient"],
        "billablePeriod": {"start": min(days).isoformat(), "end": max(days).isoformat()},
        "created": response["created"],
        "insurer": build_member(claim.payer),
        "provider": response["requestor"],
        "payee": {
            "type": build_concept(PAYEE_TYPE, "provider"),
            "party": {"identifier": {"system": NPI, "value": details.provider_npi}},
        },
        "claim": response["request"],
        "claimResponse": {"reference": f"ClaimResponse/{response['id']}"},
        "outcome": response["outcome"],
        "disposition": response["disposition"],
        "insurance": [
            {
                "focal": item.focal,
                "coverage": {"reference": f"Coverage/{item.coverage}"},
                **(
                    {"preAuthRef": [response["preAuthRef"]]}
                    if item.focal and "preAuthRef" in response
                    else {}
                ),
            }
            for item in details.insurance
        ],
        "item": [_item(*pair, made.currency) for pair in _pairs(details, made)],
        "total": _totals(details, made),
    }
    if details.diagnoses:
        explanation["diagnosis"] = [
            {
                "sequence": one.sequence,
                "diagnosisCodeableConcept": build_concept(DIAGNOSES, one.code),
            }
            for one in details.diagnoses
        ]
    if claim.replaces:
        explanation["related"] = [
            {
                "claim": {"reference": f"Claim/{claim.replaces}"},
                "relationship": build_concept(RELATED_CLAIM, "prior"),
            }
        ]
    for name in ("payment", "processNote"):
        if name in response and details.use is Use.CLAIM:
            explanation[name] = response[name]
    return explanation


def member_owes(decision: Adjudication) -> int:
    """Cents that the patient bears: adjustments of group PR."""
    return sum(
        item.amount
        for line in decision.lines
        for item in line.adjustments
        if item.group.value == PATIENT_GROUP
    )


def _pairs(details: Details, made: Adjudication) -> Iterable[tuple[Line, LineDecision]]:
    lines = {line.sequence: line for line in details.lines}
    return ((lines[decided.sequence], decided) for decided in made.lines)


def _item(line: Line, decided: LineDecision, currency: str) -> dict[str, Any]:
    item: dict[str, Any] = {
        "sequence": line.sequence,
        "productOrService": build_concept(PROCEDURES, line.code),
        "quantity": {"value": line.quantity},
        "net": build_money(line.net, currency),
        "adjudication": [
            build_amount("submitted", decided.charge, currency),
            *(build_adjustment(one, currency) for one in decided.adjustments),
            build_amount("benefit", decided.paid, currency),
        ],
    }
    if line.modifiers:
        item["modifier"] = [build_concept("urn:medfabric:x12:modifier", x) for x in line.modifiers]
    if line.revenue:
        item["revenue"] = build_concept(REVENUE, line.revenue)
    if line.place:
        item["locationCodeableConcept"] = build_concept(PLACE, line.place)
    if line.diagnosis_sequences:
        item["diagnosisSequence"] = list(line.diagnosis_sequences)
    if line.last_day == line.serviced_from:
        item["servicedDate"] = line.serviced_from.isoformat()
    else:
        item["servicedPeriod"] = {
            "start": line.serviced_from.isoformat(),
            "end": line.last_day.isoformat(),
        }
    return item


def _totals(details: Details, made: Adjudication) -> list[dict[str, Any]]:
    currency = made.currency
    prior = sum(item.paid or 0 for item in details.insurance if not item.focal)
    totals = [
        build_amount("submitted", made.charge, currency),
        build_amount("benefit", made.paid, currency),
        {
            "category": build_concept(CARIN_ADJUDICATION, "memberliability"),
            "amount": build_money(member_owes(made), currency),
        },
    ]
    for carc, category in (("1", "deductible"), ("3", "copay")):
        cents = sum(x.amount for line in made.lines for x in line.adjustments if x.carc == carc)
        if cents:
            totals.append(
                {
                    "category": build_concept(ADJUDICATION, category),
                    "amount": build_money(cents, currency),
                }
            )
    if prior:
        totals.append(
            {
                "category": build_concept(CARIN_ADJUDICATION, "priorpayerpaid"),
                "amount": build_money(prior, currency),
            }
        )
    return totals
