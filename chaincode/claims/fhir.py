"""FHIR R4 `Claim` → the values of `details`. Pure; nothing is guessed.

Whoever has a Claim also has the handles that stand for its references: `Handles` says which handle
is which reference's. Amounts are read as decimals and must come out in whole cents; a JSON number
that was read as a float is refused, so read the file with :func:`read_json`. What the checks would
silently lose (nested item details, a second currency, a modifier extension) is refused here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from chaincode.claims.checks.structure import compute_net
from chaincode.claims.details import (
    Details,
    Diagnosis,
    Insurance,
    Line,
    LinePaid,
    SupportingInformation,
    Type,
    Use,
)
from chaincode.errors import InvalidArgument

NPI_SYSTEM = "http://hl7.org/fhir/sid/us-npi"
AUTHORIZATION_URL = "urn:medfabric:authorization"
"""An item's extension with a `valueReference`: the line's prior authorisation (X12 REF G1)."""
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Handles:
    """Which handle (or NPI) stands for which reference of the resource.

    `authorizations` maps procedure codes, or the references of `AUTHORIZATION_URL`, to prior
    authorisations' handles: FHIR names an authorisation for an insurance (`preAuthRef`), the checks
    need it for a service.
    """

    claim: str
    patient: str
    coverages: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, str] = field(default_factory=dict)
    providers: Mapping[str, str] = field(default_factory=dict)
    authorizations: Mapping[str, str] = field(default_factory=dict)


def read_json(raw: bytes) -> Any:
    """The JSON value, its fractions as `Decimal`. Raises InvalidArgument: not JSON, names twice."""
    try:
        return json.loads(raw, parse_float=Decimal, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"Claim: not JSON: {error}") from None


def read_claim(resource: Mapping[str, Any], handles: Handles) -> Details:
    """The details of a FHIR R4 Claim. Raises InvalidArgument, naming the FHIR path and the rule."""
    if resource.get("resourceType") != "Claim":
        raise InvalidArgument("Claim.resourceType: expected Claim")
    if resource.get("status") != "active":
        raise InvalidArgument("Claim.status: only an active claim is submitted")
    if "modifierExtension" in resource:
        raise InvalidArgument("Claim.modifierExtension: not understood, so the claim is not either")
    items = _list(resource, "item", "Claim")
    currency = _currency(resource, items)
    authorizations = handles.authorizations
    lines = tuple(
        _line(item, f"Claim.item[{index}]", currency, authorizations)
        for index, item in enumerate(items)
    )
    total = resource.get("total")
    return Details(
        claim=handles.claim,
        patient=handles.patient,
        type=_member(Type, read_code(resource.get("type"), "Claim.type"), "Claim.type"),
        use=_member(Use, resource.get("use"), "Claim.use"),
        provider_npi=_npi(resource.get("provider"), "Claim.provider", handles.providers),
        facility_npi=_npi(resource["facility"], "Claim.facility", handles.providers)
        if "facility" in resource
        else "",
        created=read_date(resource.get("created"), "Claim.created"),
        currency=currency,
        number=_number(resource),
        total=read_money(total, "Claim.total", currency)
        if total is not None
        else sum(line.net for line in lines),
        lines=lines,
        diagnoses=tuple(
            _diagnosis(item, f"Claim.diagnosis[{index}]")
            for index, item in enumerate(_list(resource, "diagnosis", "Claim"))
        ),
        supporting=tuple(
            _supporting(item, f"Claim.supportingInfo[{index}]", handles.records)
            for index, item in enumerate(_list(resource, "supportingInfo", "Claim"))
        ),
        insurance=tuple(
            _insurance(item, f"Claim.insurance[{index}]", handles.coverages, resource, currency)
            for index, item in enumerate(_list(resource, "insurance", "Claim"))
        ),
    )


def prior_claim(resource: Mapping[str, Any]) -> str:
    """The reference of the claim that this one replaces (`related`, relationship prior), or ""."""
    for index, item in enumerate(_list(resource, "related", "Claim")):
        path = f"Claim.related[{index}]"
        if read_code(item.get("relationship"), f"{path}.relationship") == "prior":
            return _reference(item.get("claim"), f"{path}.claim")
    return ""


def find_authorization(item: Mapping[str, Any]) -> str:
    """The reference of the prior authorisation that an item names, or ""."""
    for extension in item.get("extension") or ():
        if isinstance(extension, Mapping) and extension.get("url") == AUTHORIZATION_URL:
            return str((extension.get("valueReference") or {}).get("reference", ""))
    return ""


def _number(resource: Mapping[str, Any]) -> str:
    """What the filer calls the claim: the value of its first identifier, or ""."""
    for item in _list(resource, "identifier", "Claim"):
        if isinstance(item.get("value"), str):
            return str(item["value"])
    return ""


def _line(
    item: Mapping[str, Any], path: str, currency: str, authorizations: Mapping[str, str]
) -> Line:
    if item.get("detail"):
        raise InvalidArgument(f"{path}.detail: nested details are not taken; send them as items")
    code = read_code(item.get("productOrService"), f"{path}.productOrService")
    first, last = _serviced(item, path)
    quantity = read_decimal((item.get("quantity") or {}).get("value", 1), f"{path}.quantity.value")
    factor = read_decimal(item.get("factor", 1), f"{path}.factor")
    if "unitPrice" in item:
        price = read_money(item["unitPrice"], f"{path}.unitPrice", currency)
    elif quantity * factor == 1:
        price = read_money(item.get("net"), f"{path}.net", currency)
    else:
        raise InvalidArgument(f"{path}.unitPrice: missing, and net is for several units")
    net = compute_net(quantity, price, factor)
    if "net" in item:
        net = read_money(item["net"], f"{path}.net", currency)
    place = item.get("locationCodeableConcept")
    return Line(
        sequence=_sequence(item, path),
        code=code,
        serviced_from=first,
        serviced_to=None if last == first else last,
        quantity=quantity,
        unit_price=price,
        factor=factor,
        net=net,
        modifiers=tuple(
            read_code(value, f"{path}.modifier[{index}]")
            for index, value in enumerate(_list(item, "modifier", path))
        ),
        place=read_code(place, f"{path}.locationCodeableConcept") if place else "",
        revenue=read_code(item["revenue"], f"{path}.revenue") if "revenue" in item else "",
        authorization=authorizations.get(find_authorization(item) or code, ""),
        control=str(item.get("id", "")),
        diagnosis_sequences=_sequences(item, "diagnosisSequence", path),
        information_sequences=_sequences(item, "informationSequence", path),
    )


def _diagnosis(item: Mapping[str, Any], path: str) -> Diagnosis:
    concept = item.get("diagnosisCodeableConcept")
    if concept is None:
        raise InvalidArgument(f"{path}.diagnosisCodeableConcept: missing; a reference is not taken")
    return Diagnosis(_sequence(item, path), read_code(concept, f"{path}.diagnosisCodeableConcept"))


def _supporting(
    item: Mapping[str, Any], path: str, records: Mapping[str, str]
) -> SupportingInformation:
    record = ""
    if "valueReference" in item:
        reference = _reference(item["valueReference"], f"{path}.valueReference")
        record = records.get(reference, "")
        if not record:
            raise InvalidArgument(f"{path}.valueReference: no anchored record stands for it")
    category = read_code(item.get("category"), f"{path}.category")
    return SupportingInformation(_sequence(item, path), category, record)


def _insurance(
    item: Mapping[str, Any],
    path: str,
    coverages: Mapping[str, str],
    resource: Mapping[str, Any],
    currency: str,
) -> Insurance:
    reference = _reference(item.get("coverage"), f"{path}.coverage")
    handle = coverages.get(reference)
    if not handle:
        raise InvalidArgument(f"{path}.coverage: no coverage handle stands for it")
    focal = item.get("focal")
    if not isinstance(focal, bool):
        raise InvalidArgument(f"{path}.focal: expected true or false")
    made = Insurance(_sequence(item, path), handle, focal)
    if "claimResponse" not in item:
        return made
    reference = _reference(item["claimResponse"], f"{path}.claimResponse")
    for index, inner in enumerate(_list(resource, "contained", "Claim")):
        if reference == f"#{inner.get('id')}" and inner.get("resourceType") == "ClaimResponse":
            return _decided_before(made, inner, f"Claim.contained[{index}]", currency)
    # Elsewhere: what is not here is read from the ledger, by the claim it coordinates with.
    return made


def _decided_before(
    made: Insurance, response: Mapping[str, Any], path: str, currency: str
) -> Insurance:
    """The insurance with what its payer decided: totals, and benefits by line if they are there."""
    totals = {
        read_code(item.get("category"), f"{path}.total[{index}].category"): read_money(
            item.get("amount"), f"{path}.total[{index}].amount", currency
        )
        for index, item in enumerate(_list(response, "total", path))
    }
    if "benefit" not in totals:
        raise InvalidArgument(f"{path}.total: no benefit; it says what the prior payer paid")
    paid = totals["benefit"]
    return replace(
        made,
        paid=paid,
        adjusted=totals["submitted"] - paid if "submitted" in totals else None,
        paid_lines=tuple(
            line
            for index, item in enumerate(_list(response, "item", path))
            for line in _line_paid(item, f"{path}.item[{index}]", currency)
        ),
    )


def _line_paid(item: Mapping[str, Any], path: str, currency: str) -> Iterator[LinePaid]:
    sequence = item.get("itemSequence")
    if isinstance(sequence, bool) or not isinstance(sequence, int):
        raise InvalidArgument(f"{path}.itemSequence: expected a positive integer")
    for index, one in enumerate(_list(item, "adjudication", path)):
        inner = f"{path}.adjudication[{index}]"
        if read_code(one.get("category"), f"{inner}.category") == "benefit":
            yield LinePaid(sequence, read_money(one.get("amount"), f"{inner}.amount", currency))


def _serviced(item: Mapping[str, Any], path: str) -> tuple[date, date]:
    if "servicedDate" in item:
        day = read_date(item["servicedDate"], f"{path}.servicedDate")
        return day, day
    period = item.get("servicedPeriod") or {}
    first = read_date(period.get("start"), f"{path}.servicedPeriod.start")
    if "end" not in period:
        return first, first
    return first, read_date(period["end"], f"{path}.servicedPeriod.end")


def _currency(resource: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> str:
    """The one currency of the claim; USD where nothing says (FHIR leaves it optional)."""
    amounts = [
        resource.get("total"),
        *(item.get(k) for item in items for k in ("net", "unitPrice")),
    ]
    found = {a["currency"] for a in amounts if isinstance(a, Mapping) and "currency" in a}
    if len(found) > 1:
        raise InvalidArgument("Claim: amounts in several currencies")
    return str(found.pop()) if found else "USD"


def read_money(value: Any, path: str, currency: str) -> int:
    """The cents of a FHIR Money in this currency. Raises InvalidArgument."""
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"{path}: expected an amount of money")
    if value.get("currency", currency) != currency:
        raise InvalidArgument(f"{path}.currency: another than the claim's")
    cents = read_decimal(value.get("value"), f"{path}.value") * 100
    if cents != cents.to_integral_value():
        raise InvalidArgument(f"{path}.value: not in whole cents")
    return int(cents)


def read_decimal(value: Any, path: str) -> Decimal:
    """A JSON number that kept its digits. Raises InvalidArgument."""
    if isinstance(value, float):
        raise InvalidArgument(f"{path}: a float has lost its digits; read the file with read_json")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InvalidArgument(f"{path}: expected a number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise InvalidArgument(f"{path}: expected a number") from None
    if not number.is_finite() or abs(number) >= 10**12:
        raise InvalidArgument(f"{path}: out of range")
    return number


def read_date(value: Any, path: str) -> date:
    """The day of a FHIR date or dateTime; a partial one is no day."""
    if not isinstance(value, str) or len(value) < 10 or value[10:11] not in ("", "T"):
        raise InvalidArgument(f"{path}: expected a whole date, for example 2026-01-02")
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        raise InvalidArgument(f"{path}: expected a date, for example 2026-01-02") from None


def read_code(concept: Any, path: str) -> str:
    """The first code of a CodeableConcept."""
    if isinstance(concept, Mapping):
        for coding in concept.get("coding") or ():
            if isinstance(coding, Mapping) and isinstance(coding.get("code"), str):
                return str(coding["code"])
    raise InvalidArgument(f"{path}.coding: no code")


def _npi(value: Any, path: str, providers: Mapping[str, str]) -> str:
    if isinstance(value, Mapping):
        identifier = value.get("identifier") or {}
        if identifier.get("system") == NPI_SYSTEM and isinstance(identifier.get("value"), str):
            return str(identifier["value"])
        if value.get("reference") in providers:
            return providers[value["reference"]]
    raise InvalidArgument(f"{path}: no NPI; give an identifier with system {NPI_SYSTEM}")


def _reference(value: Any, path: str) -> str:
    if isinstance(value, Mapping) and isinstance(value.get("reference"), str):
        return str(value["reference"])
    raise InvalidArgument(f"{path}.reference: missing")


def _sequence(item: Mapping[str, Any], path: str) -> int:
    value = item.get("sequence")
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgument(f"{path}.sequence: expected a positive integer")
    return value


def _sequences(item: Mapping[str, Any], name: str, path: str) -> tuple[int, ...]:
    values = _list(item, name, path, of=int)
    return tuple(values)


def _list(value: Mapping[str, Any], name: str, path: str, of: type = Mapping) -> list[Any]:
    found = value.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, of) for item in found):
        raise InvalidArgument(f"{path}.{name}: expected an array")
    return found


def _member(kind: type[E], value: Any, path: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise InvalidArgument(f"{path}: expected one of {', '.join(kind)}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("an object has the same name twice")
    return names
