"""The provisions of a FHIR Consent, read into rules; references become handles."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from chaincode.consent import codes, elements
from chaincode.consent.elements import AmbiguousConsent, FhirVersion, MalformedConsent
from chaincode.consent.fhirtypes import (
    read_codings,
    read_concept,
    read_concepts,
    read_list,
    read_object,
    read_period,
)
from chaincode.consent.model import DataReference, Effect, Meaning, Party, Rule

NAMES = "urn:medfabric:"
"""Identifier systems that carry handles: `urn:medfabric:org|<mspId>`, `…:user|…`, `…:record|…`."""

_KINDS = ("org", "user", "role", "group", "patient")


class Dialect(StrEnum):
    """How nested `provision.type` is read.

    STRICT: a nested type, where present, is the opposite of its parent's; anything else is refused.
    LEAP: a nested rule turns its parent's effect whatever its type says (LEAP's fixtures).
    PCF: a nested rule of its parent's type widens the base to what it names, inheriting what it
    does not name (IHE PCF Advanced examples); what no rule names is denied.
    """

    STRICT = "strict"
    LEAP = "leap"
    PCF = "pcf"


class UnknownReference(MalformedConsent):
    """Nobody said what a reference stands for; the text names the element."""


class ProvisionReader:
    """Reads provisions in one dialect, with what the caller says of references."""

    def __init__(self, handles: Mapping[str, str], dialect: Dialect) -> None:
        self.handles = handles
        self.dialect = dialect

    def read_rule(
        self, provision: Mapping[str, Any], path: str, effect: Effect, version: FhirVersion
    ) -> Rule:
        """The rule that a provision states where `effect` is what it has by its place.

        Raises:
            AmbiguousConsent: it states another effect, and the dialect does not say what of that.
            MalformedConsent: something in it cannot be enforced as it is written.
        """
        r5 = version is FhirVersion.R5
        known = elements.PROVISION_R5 if r5 else elements.PROVISION_R4
        elements.validate_inner(provision, known, path, f"a FHIR {version.value} provision")
        stated = read_effect(provision.get("type"), f"{path}.type")
        if stated is not None and stated is not effect and self.dialect is not Dialect.LEAP:
            raise AmbiguousConsent(
                f"{path}.type: {stated.value} inside {stated.value}; an exception turns its "
                "parent's decision. Leave it out, state the opposite, or choose the dialect that "
                "the author meant (leap, pcf)"
            )
        nested = tuple(
            self.read_rule(p, f"{path}.provision[{i}]", effect.flipped, version)
            for i, p in enumerate(read_list(provision, "provision", path))
        )
        return Rule(
            period=read_period(provision, "period", path),
            actors=tuple(
                self._party(a, f"{path}.actor[{i}]")
                for i, a in enumerate(read_list(provision, "actor", path))
            ),
            actions=_actions(provision, path),
            purposes=_purposes(provision, path),
            labels=_labels(provision, path),
            classes=read_codings(provision, "class", path),
            resource_types=tuple(
                codes.code_of(c) for c in read_codings(provision, "resourceType", path)
            ),
            document_types=read_codings(provision, "documentType", path),
            codes=read_concepts(provision, "code", path),
            data_period=read_period(provision, "dataPeriod", path),
            data=tuple(
                self._data(d, f"{path}.data[{i}]")
                for i, d in enumerate(read_list(provision, "data", path))
            ),
            exceptions=nested,
        )

    def _party(self, actor: Mapping[str, Any], path: str) -> Party:
        elements.validate_inner(actor, elements.ACTOR, path, "an actor")
        found = [codes.code_of(c) for c in read_concept(actor.get("role"), f"{path}.role")]
        roles = [code for code in found if code in codes.PARTY_ROLES]
        if found and not roles:
            raise MalformedConsent(
                f"{path}.role: not a role that can be enforced; use one of "
                + ", ".join(sorted(codes.PARTY_ROLES))
            )
        reference = self.read_handle(read_object(actor, "reference", path), f"{path}.reference")
        if reference.partition(":")[0] not in _KINDS:
            raise MalformedConsent(f"{path}.reference: names data, not a party")
        return Party(reference, roles[0] if roles else "IRCP")

    def _data(self, data: Mapping[str, Any], path: str) -> DataReference:
        elements.validate_inner(data, elements.DATA, path, "a provision's data")
        try:
            meaning = Meaning(data.get("meaning", ""))
        except ValueError:
            raise MalformedConsent(f"{path}.meaning: missing or not a FHIR code") from None
        handle = self.read_handle(read_object(data, "reference", path), f"{path}.reference")
        return DataReference(handle.removeprefix("record:"), meaning)

    def read_handle(self, reference: Mapping[str, Any], path: str) -> str:
        """The handle of a reference; by identifier first, since that holds across organisations.

        Raises:
            UnknownReference: nobody said what it stands for.
            MalformedConsent: it says more than can be enforced.
        """
        elements.validate_inner(reference, elements.REFERENCE, path, "a Reference")
        identifier = reference.get("identifier")
        if not isinstance(identifier, Mapping):
            identifier = {}
        system, value = str(identifier.get("system", "")), str(identifier.get("value", ""))
        if system.startswith(NAMES) and value:
            kind = system.removeprefix(NAMES)
            return f"{kind}:{value}" if kind in (*_KINDS, "record") else value
        for key in (f"{system}|{value}", str(reference.get("reference", ""))):
            if key in self.handles:
                return self.handles[key]
        raise UnknownReference(
            f"{path}: no handle is known for this reference; name it by an identifier of "
            f"{NAMES}org (or user, role, group, record), or pass its handle"
        )


def _labels(provision: Mapping[str, Any], path: str) -> tuple[str, ...]:
    found = []
    for i, coding in enumerate(read_list(provision, "securityLabel", path)):
        elements.validate_inner(coding, elements.CODING, f"{path}.securityLabel[{i}]", "a Coding")
        code, system = coding.get("code", ""), coding.get("system", "")
        known = code in codes.CONFIDENTIALITY_RANK or code in codes.SENSITIVITIES
        if not known or system not in ("", codes.CONFIDENTIALITY_SYSTEM, codes.ACT_CODE):
            raise MalformedConsent(
                f"{path}.securityLabel[{i}]: not a confidentiality or sensitivity that can be "
                "enforced"
            )
        found.append(code)
    return tuple(found)


def _purposes(provision: Mapping[str, Any], path: str) -> tuple[str, ...]:
    found = read_codings(provision, "purpose", path, codes.ACT_REASON)
    for i, purpose in enumerate(found):
        if "|" not in purpose and purpose not in codes.PURPOSES:
            raise MalformedConsent(
                f"{path}.purpose[{i}].code: no purpose of v3 ActReason{_near(purpose)}"
            )
    return found


def _actions(provision: Mapping[str, Any], path: str) -> tuple[str, ...]:
    found = []
    for i, concept in enumerate(read_list(provision, "action", path)):
        coded = [
            str(coding.get("code", ""))
            for coding in read_list(concept, "coding", f"{path}.action[{i}]")
            if coding.get("system") in (None, codes.CONSENT_ACTION)
        ]
        if not coded or coded[0] not in codes.ACTIONS:
            raise MalformedConsent(
                f"{path}.action[{i}]: no code of {codes.CONSENT_ACTION}; expected one of "
                + ", ".join(sorted(codes.ACTIONS))
            )
        found.append(coded[0])
    return tuple(found)


def _near(purpose: str) -> str:
    near = get_close_matches(purpose, codes.PURPOSES, 1)
    return f"; did you mean {near[0]}?" if near else ""


def read_effect(code: Any, path: str) -> Effect | None:
    """The effect of this name, None when none is stated. Raises MalformedConsent."""
    if code is None:
        return None
    try:
        return Effect(code)
    except ValueError:
        raise MalformedConsent(f"{path}: expected permit or deny") from None
