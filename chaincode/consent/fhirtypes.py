"""FHIR's data types as a Consent uses them, read strictly.

Every function raises MalformedConsent for what it cannot read; the text names the element.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaincode.consent import elements
from chaincode.consent.dates import open_date, open_period
from chaincode.consent.elements import MalformedConsent
from chaincode.consent.model import Period


def read_object(element: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any]:
    """The object at `name`; refused when it is missing."""
    found = element.get(name)
    if not isinstance(found, Mapping):
        raise MalformedConsent(f"{path}.{name}: missing")
    return found


def read_list(element: Mapping[str, Any], name: str, path: str) -> list[Mapping[str, Any]]:
    """The objects in the list at `name`, none when it is missing."""
    found = element.get(name, [])
    if not isinstance(found, list) or not all(isinstance(e, Mapping) for e in found):
        raise MalformedConsent(f"{path}.{name}: expected a list of objects")
    return found


def read_texts(value: Any) -> list[str]:
    """The one text, or none."""
    return [str(value)] if value else []


def read_token(coding: Mapping[str, Any], path: str, bare: str = "") -> str:
    """The token `system|code` of a Coding; the bare code where its system is `bare` or none."""
    elements.validate_inner(coding, elements.CODING, path, "a Coding")
    code, system = coding.get("code"), coding.get("system", "")
    if coding.get("version"):
        raise MalformedConsent(f"{path}.version: a code system's version cannot be enforced")
    if not code:
        raise MalformedConsent(f"{path}.code: missing")
    if bare and system in ("", bare):
        return str(code)
    return f"{system}|{code}" if system else str(code)


def read_codings(
    element: Mapping[str, Any], name: str, path: str, bare: str = ""
) -> tuple[str, ...]:
    """The tokens of the Codings at `name`."""
    return tuple(
        read_token(c, f"{path}.{name}[{i}]", bare)
        for i, c in enumerate(read_list(element, name, path))
    )


def read_concepts(element: Mapping[str, Any], name: str, path: str) -> tuple[str, ...]:
    """The tokens of the CodeableConcepts at `name`."""
    return tuple(
        token
        for i, concept in enumerate(read_list(element, name, path))
        for token in read_concept(concept, f"{path}.{name}[{i}]")
    )


def read_concept(concept: Any, path: str) -> list[str]:
    """The tokens of a CodeableConcept, none when there is none; text alone is refused."""
    if concept is None:
        return []
    codings = read_list(concept, "coding", path) if isinstance(concept, Mapping) else []
    if codings:
        elements.validate_inner(concept, elements.CONCEPT, path, "a CodeableConcept")
    else:
        raise MalformedConsent(f"{path}: text alone cannot be enforced; give a coding")
    return [read_token(c, f"{path}.coding[{i}]") for i, c in enumerate(codings)]


def read_period(element: Mapping[str, Any], name: str, path: str) -> Period | None:
    """The Period at `name`, None when there is none."""
    found = element.get(name)
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise MalformedConsent(f"{path}.{name}: expected a Period")
    elements.validate_inner(found, elements.PERIOD, f"{path}.{name}", "a Period")
    bounds = [found.get("start"), found.get("end")]
    for side, bound in zip(("start", "end"), bounds, strict=True):
        if bound is not None:
            _validate_date(bound, f"{path}.{name}.{side}")
    try:
        open_period(*bounds)
    except ValueError as error:
        raise MalformedConsent(f"{path}.{name}: {error}") from None
    return Period(*bounds)


def read_date(resource: Mapping[str, Any], name: str) -> str | None:
    """The date at the resource's `name`, None when there is none."""
    found = resource.get(name)
    if found is not None:
        _validate_date(found, f"Consent.{name}")
    return found


def _validate_date(value: Any, path: str) -> None:
    try:
        open_date(value if isinstance(value, str) else "")
    except ValueError as error:
        raise MalformedConsent(f"{path}: {error}") from None
