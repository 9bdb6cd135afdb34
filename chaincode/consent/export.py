"""A stored consent back out as FHIR R4 or R5.

Handles leave as identifiers under `urn:medfabric:`; whoever holds the directory of names may put
names beside them. What a release cannot say is refused, never approximated.
"""

from __future__ import annotations

from typing import Any

from chaincode.consent import codes
from chaincode.consent.elements import OBLIGATION
from chaincode.consent.model import Consent, Effect, Meaning, Party, Period, Rule, Status
from chaincode.consent.provisions import NAMES
from chaincode.errors import InvalidArgument

_CATEGORY = {"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}
_R4_STATUS = {
    Status.NOT_DONE: "rejected",
    Status.UNKNOWN: "inactive",
}
_R5_STATUS = {
    Status.PROPOSED: "draft",
    Status.REJECTED: "not-done",
}


def build_r4(consent: Consent) -> dict[str, Any]:
    """Return the consent as a FHIR R4 resource, the base decision at the root provision.

    Raises:
        InvalidArgument: the directive tells resource types from document types, which R4 cannot.
    """
    directive = consent.directive
    assert directive.decision is not None
    resource: dict[str, Any] = {
        "resourceType": "Consent",
        "id": consent.id,
        "meta": {"versionId": str(consent.version)},
        "status": _R4_STATUS.get(consent.status, consent.status.value),
        "identifier": _identify(consent),
        "scope": {"coding": [{"system": codes.CONSENT_SCOPE, "code": directive.scope}]},
        "category": [_CATEGORY],
        "patient": _reference(f"patient:{consent.patient}"),
        "dateTime": consent.granted_at.isoformat().replace("+00:00", "Z"),
    }
    resource |= _extend(consent)
    rules = [p for p in directive.policies if p.rpartition("|")[0] or "/" not in p]
    uris = [p for p in directive.policies if p not in rules]
    if uris:
        resource["policy"] = [{"uri": uri} for uri in uris]
    if rules:
        resource["policyRule"] = {"coding": [_coding(p) for p in rules]}
    if not directive.policies:
        optin = "OPTIN" if directive.decision is Effect.PERMIT else "OPTOUT"
        resource["policyRule"] = {"coding": [{"system": codes.ACT_CODE, "code": optin}]}
    resource["provision"] = _provision_r4(directive.rule, directive.decision, "directive.rule")
    return resource


def build_r5(consent: Consent) -> dict[str, Any]:
    """Return the consent as a FHIR R5 resource, the base decision at `Consent.decision`.

    Raises:
        InvalidArgument: the base rule has a context beside its period, or a rule a class, which R5
            cannot say.
    """
    directive = consent.directive
    assert directive.decision is not None
    if directive.rule != Rule(period=directive.rule.period, exceptions=directive.rule.exceptions):
        raise InvalidArgument(
            "directive.rule: R5 has no context for the base decision but the period; export as R4"
        )
    resource: dict[str, Any] = {
        "resourceType": "Consent",
        "id": consent.id,
        "meta": {"versionId": str(consent.version)},
        "status": _R5_STATUS.get(consent.status, consent.status.value),
        "identifier": _identify(consent),
        "category": [
            _CATEGORY,
            {"coding": [{"system": codes.CONSENT_SCOPE, "code": directive.scope}]},
        ],
        "subject": _reference(f"patient:{consent.patient}"),
        "date": consent.granted_at.date().isoformat(),
        "decision": directive.decision.value,
    }
    resource |= _extend(consent)
    if directive.rule.period is not None:
        resource["period"] = _period(directive.rule.period)
    if directive.policies:
        resource["regulatoryBasis"] = [{"coding": [_coding(p)]} for p in directive.policies]
    if directive.rule.exceptions:
        resource["provision"] = [
            _provision_r5(rule, f"directive.rule.exceptions[{i}]")
            for i, rule in enumerate(directive.rule.exceptions)
        ]
    return resource


def _provision_r4(rule: Rule, effect: Effect, path: str) -> dict[str, Any]:
    if bool(rule.classes) + bool(rule.resource_types) + bool(rule.document_types) > 1:
        raise InvalidArgument(
            f"{path}: R4's class cannot require a resource type and a document type; export as R5"
        )
    provision: dict[str, Any] = {"type": effect.value, **_common(rule)}
    classes = [
        *(_coding(c) for c in rule.classes),
        *({"system": codes.RESOURCE_TYPES, "code": t} for t in rule.resource_types),
        *(_coding(c) for c in rule.document_types),
    ]
    if classes:
        provision["class"] = classes
    if rule.exceptions:
        provision["provision"] = [
            _provision_r4(nested, effect.flipped, f"{path}.exceptions[{i}]")
            for i, nested in enumerate(rule.exceptions)
        ]
    return provision


def _provision_r5(rule: Rule, path: str) -> dict[str, Any]:
    provision = _common(rule)
    prefix = codes.RESOURCE_TYPES + "|"
    listed = [c.removeprefix(prefix) for c in rule.classes if c.startswith(prefix)]
    if len(listed) < len(rule.classes) or (listed and rule.resource_types):
        raise InvalidArgument(
            f"{path}.classes: R5 has no class, only resource types and document types; export as R4"
        )
    types = [*listed, *rule.resource_types]
    if types:
        provision["resourceType"] = [{"system": codes.RESOURCE_TYPES, "code": t} for t in types]
    if rule.document_types:
        provision["documentType"] = [_coding(c) for c in rule.document_types]
    if rule.exceptions:
        provision["provision"] = [
            _provision_r5(nested, f"{path}.exceptions[{i}]")
            for i, nested in enumerate(rule.exceptions)
        ]
    return provision


def _common(rule: Rule) -> dict[str, Any]:
    """The attributes that R4 and R5 write alike."""
    found: dict[str, Any] = {}
    if rule.period is not None:
        found["period"] = _period(rule.period)
    if rule.actors:
        found["actor"] = [_actor(party) for party in rule.actors]
    if rule.actions:
        found["action"] = [
            {"coding": [{"system": codes.CONSENT_ACTION, "code": a}]} for a in rule.actions
        ]
    if rule.labels:
        found["securityLabel"] = [_label(label) for label in rule.labels]
    if rule.purposes:
        found["purpose"] = [
            _coding(p) if "|" in p else {"system": codes.ACT_REASON, "code": p}
            for p in rule.purposes
        ]
    if rule.codes:
        found["code"] = [{"coding": [_coding(c)]} for c in rule.codes]
    if rule.data_period is not None:
        found["dataPeriod"] = _period(rule.data_period)
    if rule.data:
        found["data"] = [
            {
                "meaning": d.meaning.value,
                "reference": _reference(
                    d.reference if d.meaning is Meaning.AUTHORED_BY else f"record:{d.reference}"
                ),
            }
            for d in rule.data
        ]
    return found


def _identify(consent: Consent) -> list[dict[str, str]]:
    """What a disclosure names: the consent's handle, and the digest of its directive."""
    names = {"consent": consent.id, "directive": consent.digest}
    return [{"system": NAMES + kind, "value": value} for kind, value in names.items() if value]


def _extend(consent: Consent) -> dict[str, Any]:
    """Obligations, for which FHIR's Consent has no element."""
    carried = [
        {"url": OBLIGATION, "valueCoding": {"system": codes.ACT_CODE, "code": code}}
        for code in consent.directive.obligations
    ]
    return {"extension": carried} if carried else {}


def _actor(party: Party) -> dict[str, Any]:
    system = codes.ROLE_CODE if party.role.startswith("DELEGAT") else codes.PARTICIPATION
    return {
        "role": {"coding": [{"system": system, "code": party.role}]},
        "reference": _reference(party.reference),
    }


def _reference(handle: str) -> dict[str, Any]:
    kind, _, name = handle.partition(":")
    return {"identifier": {"system": NAMES + kind, "value": name}}


def _label(code: str) -> dict[str, str]:
    ranked = code in codes.CONFIDENTIALITY_RANK
    system = codes.CONFIDENTIALITY_SYSTEM if ranked else codes.ACT_CODE
    return {"system": system, "code": code}


def _coding(token: str) -> dict[str, str]:
    system, _, code = token.rpartition("|")
    return {"system": system, "code": code} if system else {"code": code}


def _period(period: Period) -> dict[str, str]:
    bounds = {"start": period.start, "end": period.end}
    return {name: bound for name, bound in bounds.items() if bound is not None}
