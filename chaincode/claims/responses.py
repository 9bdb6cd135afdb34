"""A decided claim → FHIR R4 `ClaimResponse`. Pure; amounts come as `Decimal` with two places.

References are to handles (`Patient/<handle>`, `Claim/<handle>`): whoever holds the originals knows
what they stand for. An adjustment (835 CAS) is an `adjudication` whose category is its group code,
and FHIR's own where there is one (deductible, copay), and whose reason is CARC and RARC.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from chaincode.claims.details import (
    Adjudication,
    Adjustment,
    ClaimFile,
    Details,
    LineDecision,
    Use,
)
from chaincode.claims.model import Claim
from chaincode.claims.states import Outcome, Status
from chaincode.errors import InvalidArgument

ADJUDICATION = "http://terminology.hl7.org/CodeSystem/adjudication"
CLAIM_TYPE = "http://terminology.hl7.org/CodeSystem/claim-type"
CARC_SYSTEM = "https://x12.org/codes/claim-adjustment-reason-codes"
RARC_SYSTEM = "https://x12.org/codes/remittance-advice-remark-codes"
GROUP_SYSTEM = "https://x12.org/codes/claim-adjustment-group-codes"
MEMBER_SYSTEM = "urn:medfabric:org"
_CATEGORIES = {"1": "deductible", "3": "copay"}


def build_claim_response(claim: Claim, file: ClaimFile) -> dict[str, Any]:
    """The ClaimResponse of the newest decision. Raises InvalidArgument: it is not decided."""
    if file.details is None or not file.decisions or claim.outcome is None:
        raise InvalidArgument("claim: there is no decision to answer with")
    details, made = file.details.details, file.decisions[-1].adjudication
    response: dict[str, Any] = {
        "resourceType": "ClaimResponse",
        "id": f"{claim.claim}-{claim.decision_version}",
        "status": "cancelled" if claim.status in (Status.VOIDED, Status.REPLACED) else "active",
        "type": build_concept(CLAIM_TYPE, details.type.value),
        "use": details.use.value,
        "patient": {"reference": f"Patient/{claim.patient}"},
        "created": claim.updated_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "insurer": build_member(claim.payer),
        "requestor": {
            "identifier": {
                "system": "http://hl7.org/fhir/sid/us-npi",
                "value": details.provider_npi,
            }
        },
        "request": {"reference": f"Claim/{claim.claim}"},
        # FHIR's outcome tells of the processing, which is complete; the disposition tells the rest.
        "outcome": "complete",
        "disposition": (_AUTHORIZED if details.use is Use.PREAUTHORIZATION else _DISPOSITIONS)[
            claim.outcome
        ],
        "item": [_item(line, made.currency) for line in made.lines],
        "total": _totals(made),
    }
    if insurance := _insurance(details):
        response["insurance"] = insurance
    if details.use is Use.PREAUTHORIZATION and claim.outcome is not Outcome.DENIED:
        # The payer registers the authorisation under the claim's own handle (claims:Authorize).
        days = [day for line in details.lines for day in (line.serviced_from, line.last_day)]
        response["preAuthRef"] = claim.claim
        response["preAuthPeriod"] = {"start": min(days).isoformat(), "end": max(days).isoformat()}
    if file.remittances:
        paid = file.remittances[-1].remittance
        response["payment"] = {
            "type": build_concept(
                "http://terminology.hl7.org/CodeSystem/ex-paymenttype", "complete"
            ),
            "date": paid.paid_on.isoformat(),
            "amount": build_money(paid.paid, paid.currency),
            "identifier": {"value": paid.trace},
        }
    if notes := _notes(claim):
        response["processNote"] = notes
    return response


_AUTHORIZED = {
    Outcome.PAID: "Authorised as asked.",
    Outcome.PARTIAL: "Authorised in part; see the adjustments.",
    Outcome.DENIED: "Not authorised; see the adjustments.",
}
_DISPOSITIONS = {
    Outcome.PAID: "Claim settled as per contract.",
    Outcome.PARTIAL: "Claim settled in part; see the adjustments.",
    Outcome.DENIED: "Claim denied; see the adjustments.",
}


def _item(line: LineDecision, currency: str) -> dict[str, Any]:
    return {
        "itemSequence": line.sequence,
        "adjudication": [
            build_amount("submitted", line.charge, currency),
            *(build_adjustment(one, currency) for one in line.adjustments),
            build_amount("benefit", line.paid, currency),
        ],
    }


def build_amount(category: str, cents: int, currency: str) -> dict[str, Any]:
    """An adjudication or total of FHIR's own category."""
    return {
        "category": build_concept(ADJUDICATION, category),
        "amount": build_money(cents, currency),
    }


def build_adjustment(one: Adjustment, currency: str) -> dict[str, Any]:
    """CAS: group and CARC; FHIR's own category where it has one."""
    category = build_concept(GROUP_SYSTEM, one.group.value)
    if one.carc in _CATEGORIES:
        category["coding"].append({"system": ADJUDICATION, "code": _CATEGORIES[one.carc]})
    reason = build_concept(CARC_SYSTEM, one.carc)
    if one.rarc:
        reason["coding"].append({"system": RARC_SYSTEM, "code": one.rarc})
    return {"category": category, "reason": reason, "amount": build_money(one.amount, currency)}


def _totals(made: Adjudication) -> list[dict[str, Any]]:
    return [
        build_amount("submitted", made.charge, made.currency),
        build_amount("benefit", made.paid, made.currency),
    ]


def _insurance(details: Details) -> list[dict[str, Any]]:
    return [
        {
            "sequence": item.sequence,
            "focal": item.focal,
            "coverage": {"reference": f"Coverage/{item.coverage}"},
        }
        for item in details.insurance
    ]


def _notes(claim: Claim) -> list[dict[str, Any]]:
    if claim.appeal_deadline is None:
        return []
    text = f"The decision can be appealed until {claim.appeal_deadline:%Y-%m-%d}."
    return [{"number": 1, "type": "display", "text": text}]


def build_member(msp_id: str) -> dict[str, Any]:
    """A reference to an organisation of the consortium."""
    return {"identifier": {"system": MEMBER_SYSTEM, "value": msp_id}}


def build_concept(system: str, code: str) -> dict[str, Any]:
    """A CodeableConcept of one code."""
    return {"coding": [{"system": system, "code": code}]}


def build_money(cents: int, currency: str) -> dict[str, Any]:
    """Money with two decimals."""
    return {"value": Decimal(cents).scaleb(-2).quantize(Decimal("0.01")), "currency": currency}
