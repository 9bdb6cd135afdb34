"""Which elements of a FHIR Consent are carried, which stay behind, and which nobody knows.

Three fates, and no fourth: an element is carried into the directive; or it stays in the committed
original and its path is told; or the resource is refused with the element's path. Inside a
provision nothing stays behind, for whatever is said there limits the provision. Source: the
StructureDefinitions of Consent in FHIR R4 (4.0.1) and R5 (5.0.0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from chaincode.errors import InvalidArgument

OBLIGATION = "urn:medfabric:obligation"
"""The one extension that is carried: a Coding of v3 ActCode that goes with every permit."""

_RESOURCE = frozenset({"resourceType", "id", "meta", "implicitRules", "language"})
_DOMAIN = frozenset({"text", "contained", "extension", "modifierExtension"})
_BOTH = {"identifier", "category", "sourceAttachment", "sourceReference", "verification"}

ROOT_R4 = frozenset(
    _RESOURCE
    | _DOMAIN
    | _BOTH
    | {"status", "scope", "patient", "dateTime", "performer", "organization"}
    | {"policy", "policyRule", "provision"}
)
ROOT_R5 = frozenset(
    _RESOURCE
    | _DOMAIN
    | _BOTH
    | {"status", "subject", "date", "period", "grantor", "grantee", "manager", "controller"}
    | {"regulatoryBasis", "policyBasis", "policyText", "decision", "provision"}
)
_CARRIED = frozenset(
    {"resourceType", "status", "scope", "patient", "subject", "period", "decision", "provision"}
    | {"policy", "policyRule", "regulatoryBasis", "policyBasis", "extension"}
)

_ELEMENT = frozenset({"id", "extension"})
_PROVISION = _ELEMENT | {
    *("modifierExtension", "period", "actor", "action", "securityLabel", "purpose", "code"),
    *("dataPeriod", "data", "provision"),
}
PROVISION_R4 = _PROVISION | {"type", "class"}
PROVISION_R5 = _PROVISION | {"documentType", "resourceType", "expression"}
ACTOR = _ELEMENT | {"role", "reference", "modifierExtension"}
DATA = _ELEMENT | {"meaning", "reference", "modifierExtension"}
PERIOD = _ELEMENT | {"start", "end"}
CONCEPT = _ELEMENT | {"coding", "text"}
CODING = _ELEMENT | {"system", "version", "code", "display", "userSelected"}
REFERENCE = _ELEMENT | {"reference", "type", "identifier", "display"}


class FhirVersion(StrEnum):
    """The release that a resource is written in."""

    R4 = "R4"
    R5 = "R5"


class MalformedConsent(InvalidArgument):
    """The resource is no Consent that can be enforced; the text names the element."""


class AmbiguousConsent(MalformedConsent):
    """The resource can be read in more than one way; the text names the element and a remedy."""


def validate_root(resource: Mapping[str, Any], known: frozenset[str], release: str) -> None:
    """Raise MalformedConsent for an element that the release does not know, or must not be lost."""
    _validate_known(resource, known, "Consent", f"a FHIR {release} Consent")
    for name in resource:
        if name.startswith("_") and name[1:] in _CARRIED:
            raise MalformedConsent(f"Consent.{name}: cannot be enforced; take it out")
    for index, extension in enumerate(resource.get("extension") or ()):
        url = extension.get("url", "") if isinstance(extension, Mapping) else ""
        if any(f"Consent.{name}" in url for name in ("decision", "period", "provision")):
            raise MalformedConsent(
                f"Consent.extension[{index}]: states a rule in an extension; write the resource in "
                "the release that has the element"
            )


def validate_inner(element: Mapping[str, Any], known: frozenset[str], path: str, what: str) -> None:
    """Raise MalformedConsent for an element that is unknown, or says more than can be enforced."""
    _validate_known(element, known, path, what)
    for name in ("modifierExtension", "expression", "extension"):
        if element.get(name):
            raise MalformedConsent(f"{path}.{name}: changes the meaning and cannot be enforced")
    for name in element:
        if name.startswith("_"):
            raise MalformedConsent(f"{path}.{name}: cannot be enforced; take it out")


def list_left_behind(resource: Mapping[str, Any]) -> Iterator[str]:
    """The paths of the root's elements that stay in the original, in the resource's order."""
    for name, value in resource.items():
        if name == "extension":
            for index, extension in enumerate(value):
                if not _is_obligation(extension):
                    yield f"Consent.extension[{index}]"
        elif name == "policy":
            yield from (
                f"Consent.policy[{index}].authority"
                for index, policy in enumerate(value)
                if policy.get("authority")
            )
        elif name == "policyBasis":
            if value.get("reference"):
                yield "Consent.policyBasis.reference"
        elif name not in _CARRIED:
            yield f"Consent.{name}"


def list_obligations(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """The v3 ActCode obligations and refrains that the resource carries as extensions.

    Raises MalformedConsent for one without a code.
    """
    found = []
    for index, extension in enumerate(resource.get("extension") or ()):
        if _is_obligation(extension):
            coding = extension.get("valueCoding")
            if not isinstance(coding, Mapping) or not coding.get("code"):
                raise MalformedConsent(f"Consent.extension[{index}].valueCoding.code: missing")
            found.append(str(coding["code"]))
    return tuple(found)


def _is_obligation(extension: Any) -> bool:
    return isinstance(extension, Mapping) and extension.get("url") == OBLIGATION


def _validate_known(
    element: Mapping[str, Any], known: frozenset[str], path: str, what: str
) -> None:
    for name in element:
        if name.removeprefix("_") not in known:
            shown = name if name.isidentifier() and len(name) < 40 else "(unprintable)"
            near = get_close_matches(shown, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise MalformedConsent(f"{path}.{shown}: no element of {what}{hint}")
