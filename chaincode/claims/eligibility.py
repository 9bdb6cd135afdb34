"""FHIR R4 `CoverageEligibilityRequest` → what is asked; → `CoverageEligibilityResponse`. Pure.

What 270 and 271 are in X12. The payer answers from what it stated of the coverage, from its book of
the benefit period and from its table: whether the coverage is in force on the day (`inforce`), what
is left of deductible, out-of-pocket and limited services (`benefit`: allowed and used), and which
services need prior authorisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from chaincode.claims.details import Accumulated, Coverage, PolicyTable
from chaincode.claims.fhir import read_code, read_date
from chaincode.claims.responses import build_concept, build_member, build_money
from chaincode.errors import InvalidArgument

PURPOSES = ("auth-requirements", "benefits", "discovery", "validation")
BENEFIT_TYPE = "http://terminology.hl7.org/CodeSystem/benefit-type"
OWN_TYPE = "urn:medfabric:benefit-type"
BENEFIT_TERM = "http://terminology.hl7.org/CodeSystem/benefit-term"
BENEFIT_CATEGORY = "http://terminology.hl7.org/CodeSystem/ex-benefitcategory"
PROCEDURES = "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
CURRENCY = "USD"


@dataclass(frozen=True, slots=True)
class Asked:
    """What an eligibility request asks. `identifier` names it; `coverages` are references."""

    identifier: str
    patient: str
    purposes: tuple[str, ...]
    day: date
    coverages: tuple[str, ...]
    codes: tuple[str, ...]


def read_request(resource: Mapping[str, Any]) -> Asked:
    """What the resource asks. Raises InvalidArgument, naming the FHIR path and the rule."""
    kind = "CoverageEligibilityRequest"
    if resource.get("resourceType") != kind:
        raise InvalidArgument(f"{kind}.resourceType: expected {kind}")
    if resource.get("status") != "active":
        raise InvalidArgument(f"{kind}.status: only an active request is answered")
    purposes = tuple(resource.get("purpose") or ())
    if not purposes or any(one not in PURPOSES for one in purposes):
        raise InvalidArgument(f"{kind}.purpose: expected some of {', '.join(PURPOSES)}")
    insurance = resource.get("insurance") or ()
    coverages = tuple(
        str((item.get("coverage") or {}).get("reference", ""))
        for item in insurance
        if isinstance(item, Mapping)
    )
    if not coverages or not all(coverages):
        raise InvalidArgument(f"{kind}.insurance[0].coverage.reference: missing")
    items = resource.get("item") or ()
    return Asked(
        identifier=str(resource.get("id") or ""),
        patient=str((resource.get("patient") or {}).get("reference", "")),
        purposes=purposes,
        day=_day(resource, kind),
        coverages=coverages,
        codes=tuple(
            read_code(item.get("productOrService"), f"{kind}.item[{index}].productOrService")
            for index, item in enumerate(items)
            if "productOrService" in item
        ),
    )


def is_in_force(coverage: Coverage, day: date) -> bool:
    """Whether the coverage covers the day."""
    return coverage.start <= day and (coverage.end is None or day <= coverage.end)


def build_response(
    asked: Asked,
    found: Accumulated,
    table: PolicyTable | None,
    *,
    payer: str,
    at: datetime,
) -> dict[str, Any]:
    """The CoverageEligibilityResponse for one coverage."""
    coverage = found.coverage
    inforce = is_in_force(coverage, asked.day)
    insurance: dict[str, Any] = {
        "coverage": {"reference": f"Coverage/{coverage.coverage}"},
        "inforce": inforce,
        "benefitPeriod": {
            "start": found.period.isoformat(),
            "end": _end_of(found.period).isoformat(),
        },
    }
    items = []
    if inforce and {"benefits", "discovery"} & set(asked.purposes):
        items.append(_plan(found))
    if inforce:
        items += [_service(code, found, table) for code in _services(asked, found)]
    if items:
        insurance["item"] = items
    return {
        "resourceType": "CoverageEligibilityResponse",
        "status": "active",
        "purpose": list(asked.purposes),
        "patient": {"reference": f"Patient/{coverage.patient}"},
        "servicedDate": asked.day.isoformat(),
        "created": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "request": {"reference": f"CoverageEligibilityRequest/{asked.identifier or 'unnamed'}"},
        "outcome": "complete",
        "disposition": "The coverage is in force." if inforce else "The coverage is not in force.",
        "insurer": build_member(payer),
        "insurance": [insurance],
    }


def _plan(found: Accumulated) -> dict[str, Any]:
    """The whole coverage: deductible, out-of-pocket, copay and coinsurance."""
    coverage, used = found.coverage, found.used
    benefits: list[dict[str, Any]] = []
    for kind, allowed, taken in (
        (build_concept(BENEFIT_TYPE, "deductible"), coverage.deductible, used.deductible),
        # FHIR's example codes have none for it.
        (build_concept(OWN_TYPE, "out-of-pocket"), coverage.out_of_pocket, used.out_of_pocket),
    ):
        if allowed:
            benefits.append(
                {
                    "type": kind,
                    "allowedMoney": build_money(allowed, CURRENCY),
                    "usedMoney": build_money(min(taken, allowed), CURRENCY),
                }
            )
    if coverage.copay:
        benefits.append(
            {
                "type": build_concept(BENEFIT_TYPE, "copay"),
                "allowedMoney": build_money(coverage.copay, CURRENCY),
            }
        )
    if coverage.coinsurance:
        percent = Decimal(coverage.coinsurance) / 100
        benefits.append(
            {
                "type": build_concept(BENEFIT_TYPE, "copay-percent"),
                # FHIR has no decimal here: a percentage goes in words.
                "allowedString": f"{percent.normalize():f} %",
            }
        )
    plan: dict[str, Any] = {
        "category": build_concept(BENEFIT_CATEGORY, "1"),
        "name": "Coverage",
        "term": build_concept(BENEFIT_TERM, "annual"),
    }
    if benefits:
        plan["benefit"] = benefits
    return plan


def _services(asked: Asked, found: Accumulated) -> list[str]:
    limited = [one.code for one in found.coverage.visits] if "benefits" in asked.purposes else []
    return list(dict.fromkeys((*asked.codes, *limited)))


def _service(code: str, found: Accumulated, table: PolicyTable | None) -> dict[str, Any]:
    coverage = found.coverage
    item: dict[str, Any] = {
        "productOrService": build_concept(PROCEDURES, code),
        "excluded": code in coverage.excluded_codes,
    }
    limit = next((one.limit for one in coverage.visits if one.code == code), None)
    if limit is not None:
        item["benefit"] = [
            {
                "type": build_concept(BENEFIT_TYPE, "visit"),
                "allowedUnsignedInt": limit,
                "usedUnsignedInt": min(found.used.visits.get(code, 0), limit),
            }
        ]
    if table is not None:
        item["authorizationRequired"] = code in table.authorization_codes
    return item


def _end_of(period: date) -> date:
    """The last day of a year that begins so."""
    try:
        return period.replace(year=period.year + 1) - timedelta(days=1)
    except ValueError:
        return date(period.year + 1, 2, 28)


def _day(resource: Mapping[str, Any], kind: str) -> date:
    if "servicedDate" in resource:
        return read_date(resource["servicedDate"], f"{kind}.servicedDate")
    if "servicedPeriod" in resource:
        start = (resource["servicedPeriod"] or {}).get("start")
        return read_date(start, f"{kind}.servicedPeriod.start")
    return read_date(resource.get("created"), f"{kind}.created")
