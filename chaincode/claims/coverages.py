"""FHIR R4 `Coverage` → what a payer states of it. Pure.

Cost sharing comes from `costToBeneficiary`: `copay` and `deductible` as money, `copaypct` as a
percentage (http://terminology.hl7.org/CodeSystem/coverage-copay-type). Other kinds are refused: a
rule of payment that would be lost here would be lost in every decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaincode.claims.details import Coverage
from chaincode.claims.fhir import read_code, read_date, read_decimal, read_money
from chaincode.errors import InvalidArgument

PERCENT = 100
"""Basis points in one percent."""


def read_coverage(resource: Mapping[str, Any], handle: str, patient: str) -> Coverage:
    """The coverage's facts under its handle. Raises InvalidArgument, naming the FHIR path."""
    if resource.get("resourceType") != "Coverage":
        raise InvalidArgument("Coverage.resourceType: expected Coverage")
    if resource.get("status") != "active":
        raise InvalidArgument("Coverage.status: only an active coverage can be stated")
    period = resource.get("period")
    if not isinstance(period, Mapping):
        raise InvalidArgument("Coverage.period: missing; a coverage is stated for a time")
    end = period.get("end")
    shares = _shares(resource)
    return Coverage(
        coverage=handle,
        patient=patient,
        start=read_date(period.get("start"), "Coverage.period.start"),
        end=read_date(end, "Coverage.period.end") if end is not None else None,
        primacy=_primacy(resource),
        deductible=shares.get("deductible", 0),
        copay=shares.get("copay", 0),
        coinsurance=shares.get("copaypct", 0),
    )


def _primacy(resource: Mapping[str, Any]) -> int:
    order = resource.get("order", 1)
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise InvalidArgument("Coverage.order: expected a positive integer")
    return order


def _shares(resource: Mapping[str, Any]) -> dict[str, int]:
    """Cents by kind; basis points for `copaypct`."""
    found: dict[str, int] = {}
    listed = resource.get("costToBeneficiary", [])
    if not isinstance(listed, list):
        raise InvalidArgument("Coverage.costToBeneficiary: expected an array")
    for index, item in enumerate(listed):
        path = f"Coverage.costToBeneficiary[{index}]"
        if not isinstance(item, Mapping):
            raise InvalidArgument(f"{path}: expected an object")
        kind = read_code(item.get("type"), f"{path}.type")
        if kind in found:
            raise InvalidArgument(f"{path}.type: the same kind twice")
        if kind in ("copay", "deductible"):
            found[kind] = read_money(item.get("valueMoney"), f"{path}.valueMoney", "USD")
        elif kind == "copaypct":
            quantity = item.get("valueQuantity")
            value = quantity.get("value") if isinstance(quantity, Mapping) else None
            points = read_decimal(value, f"{path}.valueQuantity.value") * PERCENT
            if points != points.to_integral_value() or not 0 <= points <= 100 * PERCENT:
                raise InvalidArgument(f"{path}.valueQuantity.value: expected 0 to 100 percent")
            found[kind] = int(points)
        else:
            raise InvalidArgument(
                f"{path}.type: not understood; known are copay, copaypct and deductible"
            )
    return found
