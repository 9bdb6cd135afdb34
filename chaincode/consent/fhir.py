"""FHIR R4 and R5 `Consent` in: one normalised directive out, or a clear refusal.

Three readings of `provision.type` are in use, because R4's text and R4's practice disagree; see
`Dialect`. What cannot be read in exactly one way is refused: an ignored attribute would widen a
consent. References become handles through the caller's `handles`; nothing else that could identify
a person is taken over: `left_behind` lists what stays in the original alone. Pure: dictionaries in,
values out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from chaincode.consent import codes, elements, implicit
from chaincode.consent.dates import open_date, open_period
from chaincode.consent.elements import MalformedConsent
from chaincode.consent.model import (
    DataReference,
    Directive,
    Effect,
    Meaning,
    Party,
    Period,
    Rule,
    Status,
)

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


class FhirVersion(StrEnum):
    """The release that a resource is written in."""

    R4 = "R4"
    R5 = "R5"


class AmbiguousConsent(MalformedConsent):
    """The resource can be read in more than one way; the text names the element and a remedy."""


class UnknownReference(MalformedConsent):
    """Nobody said what a reference stands for; the text names the element."""


@dataclass(frozen=True, slots=True)
class NormalisedConsent:
    """What a FHIR Consent says: the patient's handle, status, and the directive.

    `left_behind` are the paths of elements that are in the original and nowhere else (who signed,
    attachments, narrative): none of them limits what the directive permits.
    """

    patient: str
    status: Status
    directive: Directive
    version: FhirVersion
    date: str | None = None
    left_behind: tuple[str, ...] = ()


def normalise(
    resource: Mapping[str, Any],
    handles: Mapping[str, str] | None = None,
    *,
    dialect: Dialect = Dialect.STRICT,
    commitment: str = "",
) -> NormalisedConsent:
    """Return the normalised form of a FHIR R4 or R5 Consent.

    `handles` maps a reference (`Organization/clinic`, an absolute URL, or `system|value` of an
    identifier) to a handle (`org:CityClinicMSP`, `user:<digest>`; for data a record handle).

    Raises:
        AmbiguousConsent: more than one reading is possible in this dialect.
        MalformedConsent: anything else that keeps it from being enforced as it is written.
    """
    return _Reader(dict(handles or {}), dialect).read(resource, commitment)


class _Reader:
    def __init__(self, handles: Mapping[str, str], dialect: Dialect) -> None:
        self.handles = handles
        self.dialect = dialect

    def read(self, resource: Mapping[str, Any], commitment: str) -> NormalisedConsent:
        if resource.get("resourceType") != "Consent":
            raise MalformedConsent("resourceType: expected Consent")
        _refuse(resource, "Consent", "modifierExtension", "implicitRules")
        version = read_version(resource)
        known = elements.ROOT_R5 if version is FhirVersion.R5 else elements.ROOT_R4
        elements.validate_root(resource, known, version.value)
        status = self._status(resource)
        _refuse_unverified(resource)
        if version is FhirVersion.R5:
            directive, subject = self._read_r5(resource), "subject"
        else:
            directive, subject = self._read_r4(resource), "patient"
        obligations = elements.list_obligations(resource)
        # R4's invariants ppc-2 to ppc-5 never fire, so the patient's presence is checked here.
        patient = self._handle(_object(resource, subject, "Consent"), f"Consent.{subject}")
        return NormalisedConsent(
            patient=patient.removeprefix("patient:"),
            status=status,
            directive=replace(directive, commitment=commitment, obligations=obligations),
            version=version,
            date=_date(resource, "date" if version is FhirVersion.R5 else "dateTime"),
            left_behind=tuple(elements.list_left_behind(resource)),
        )

    def _status(self, resource: Mapping[str, Any]) -> Status:
        try:
            return Status(resource.get("status", ""))
        except ValueError:
            raise MalformedConsent("Consent.status: missing or not a FHIR code") from None

    # --- R5: decision and period at the root, provisions are its exceptions --------------------

    def _read_r5(self, resource: Mapping[str, Any]) -> Directive:
        provisions = _list(resource, "provision", "Consent")
        policies = [
            *self._concepts(resource, "regulatoryBasis", "Consent"),
            *_texts((resource.get("policyBasis") or {}).get("url")),
        ]
        decision = _effect(resource.get("decision"), "Consent.decision")
        if decision is None and codes.SELF_PAY in map(codes.code_of, policies) and not provisions:
            decision = Effect.DENY
        if decision is None:
            raise AmbiguousConsent(
                "Consent.decision: missing; R5 needs the base decision where there are provisions"
            )
        exceptions = tuple(
            self._rule(p, f"Consent.provision[{i}]", decision.flipped, FhirVersion.R5)
            for i, p in enumerate(provisions)
        )
        rule = Rule(period=_period(resource, "period", "Consent"), exceptions=exceptions)
        directive = Directive(decision, rule, scope=self._scope(resource))
        return self._with_policies(directive, policies)

    # --- R4: the base decision at the root provision, or in policyRule -------------------------

    def _read_r4(self, resource: Mapping[str, Any]) -> Directive:
        policies = [
            *self._concepts_of(resource.get("policyRule"), "Consent.policyRule"),
            *(u for p in _list(resource, "policy", "Consent") for u in _texts(p.get("uri"))),
        ]
        if not policies:
            raise MalformedConsent("Consent.policy: R4 needs a policy or a policyRule (ppc-1)")
        implied = _implied_by(policies)
        root = resource.get("provision")
        directive = (
            self._without_provision(policies, implied)
            if root is None
            else self._with_root(root, implied)
        )
        directive = replace(directive, scope=self._scope(resource))
        if codes.EMERGENCY_ONLY_POLICY in map(codes.code_of, policies):
            directive = _emergency_only(directive)
        return self._with_policies(directive, policies)

    def _scope(self, resource: Mapping[str, Any]) -> str:
        """R4's scope; R5, and R4 where it has none, names it among the categories."""
        named = self._concepts_of(resource.get("scope"), "Consent.scope")
        for category in _list(resource, "category", "Consent"):
            for coding in _list(category, "coding", "Consent.category"):
                if coding.get("system") == codes.CONSENT_SCOPE and not named:
                    named = [str(coding.get("code", ""))]
        return codes.code_of(named[0]) if named else Directive(None).scope

    def _without_provision(self, policies: Sequence[str], implied: Effect | None) -> Directive:
        if implied is not None:
            return Directive(implied)
        for uri in policies:
            if uri in implicit.RULES:
                effect, rule = implicit.RULES[uri]
                return Directive(effect, rule)
        if codes.SELF_PAY in map(codes.code_of, policies):
            return Directive(Effect.DENY)
        raise AmbiguousConsent(
            "Consent.provision: missing, and the policy does not say permit or deny"
        )

    def _with_root(self, root: Mapping[str, Any], implied: Effect | None) -> Directive:
        path = "Consent.provision"
        stated = _effect(root.get("type"), f"{path}.type")
        contradicts = stated is not None and implied is not None and stated is not implied
        if contradicts and self.dialect is Dialect.STRICT:
            raise AmbiguousConsent(
                f"{path}.type: contradicts Consent.policyRule; state the base decision once, in "
                "the root provision's type"
            )
        base = stated or implied
        if base is None:
            raise AmbiguousConsent(
                f"{path}.type: missing, and Consent.policyRule does not say opt-in or opt-out"
            )
        if self.dialect is Dialect.PCF:
            return self._widened(root, base, path)
        return Directive(base, self._rule(root, path, base, FhirVersion.R4))

    def _widened(self, root: Mapping[str, Any], base: Effect, path: str) -> Directive:
        """PCF's reading: nested rules of the same type stand beside the root."""
        nested = _list(root, "provision", path)
        beside = [(i, p) for i, p in enumerate(nested) if p.get("type") == base.value]
        against = [(i, p) for i, p in enumerate(nested) if p.get("type") != base.value]
        own = {k: v for k, v in root.items() if k not in ("provision", "type")}
        exceptions = tuple(
            self._rule(p, f"{path}.provision[{i}]", base.flipped, FhirVersion.R4)
            for i, p in against
        )
        main = replace(self._rule(own, path, base, FhirVersion.R4), exceptions=exceptions)
        if not beside:
            return Directive(base, main)
        if base is Effect.DENY:
            raise AmbiguousConsent(f"{path}.provision[{beside[0][0]}].type: deny within deny")
        others = []
        for i, provision in beside:
            rule = self._rule(provision, f"{path}.provision[{i}]", base, FhirVersion.R4)
            others.append(replace(_inherit(rule, main), exceptions=rule.exceptions + exceptions))
        root_rule = Rule(period=main.period, exceptions=(replace(main, period=None), *others))
        return Directive(Effect.DENY, root_rule)

    # --- one provision -------------------------------------------------------------------------

    def _rule(
        self, provision: Mapping[str, Any], path: str, effect: Effect, version: FhirVersion
    ) -> Rule:
        r5 = version is FhirVersion.R5
        known = elements.PROVISION_R5 if r5 else elements.PROVISION_R4
        elements.validate_inner(provision, known, path, f"a FHIR {version.value} provision")
        stated = _effect(provision.get("type"), f"{path}.type")
        if stated is not None and stated is not effect and self.dialect is not Dialect.LEAP:
            raise AmbiguousConsent(
                f"{path}.type: {stated.value} inside {stated.value}; an exception turns its "
                "parent's decision. Leave it out, state the opposite, or choose the dialect that "
                "the author meant (leap, pcf)"
            )
        nested = tuple(
            self._rule(p, f"{path}.provision[{i}]", effect.flipped, version)
            for i, p in enumerate(_list(provision, "provision", path))
        )
        return Rule(
            period=_period(provision, "period", path),
            actors=tuple(
                self._party(a, f"{path}.actor[{i}]")
                for i, a in enumerate(_list(provision, "actor", path))
            ),
            actions=self._actions(provision, path),
            purposes=self._purposes(provision, path),
            labels=self._labels(provision, path),
            classes=self._codings(provision, "class", path, ""),
            resource_types=tuple(
                codes.code_of(c) for c in self._codings(provision, "resourceType", path, "")
            ),
            document_types=self._codings(provision, "documentType", path, ""),
            codes=self._concepts(provision, "code", path),
            data_period=_period(provision, "dataPeriod", path),
            data=tuple(
                self._data(d, f"{path}.data[{i}]")
                for i, d in enumerate(_list(provision, "data", path))
            ),
            exceptions=nested,
        )

    def _party(self, actor: Mapping[str, Any], path: str) -> Party:
        elements.validate_inner(actor, elements.ACTOR, path, "an actor")
        found = [codes.code_of(c) for c in self._concepts_of(actor.get("role"), f"{path}.role")]
        roles = [code for code in found if code in codes.PARTY_ROLES]
        if found and not roles:
            raise MalformedConsent(
                f"{path}.role: not a role that can be enforced; use one of "
                + ", ".join(sorted(codes.PARTY_ROLES))
            )
        reference = self._handle(_object(actor, "reference", path), f"{path}.reference")
        if reference.partition(":")[0] not in _KINDS:
            raise MalformedConsent(f"{path}.reference: names data, not a party")
        return Party(reference, roles[0] if roles else "IRCP")

    def _data(self, data: Mapping[str, Any], path: str) -> DataReference:
        elements.validate_inner(data, elements.DATA, path, "a provision's data")
        try:
            meaning = Meaning(data.get("meaning", ""))
        except ValueError:
            raise MalformedConsent(f"{path}.meaning: missing or not a FHIR code") from None
        handle = self._handle(_object(data, "reference", path), f"{path}.reference")
        return DataReference(handle.removeprefix("record:"), meaning)

    def _handle(self, reference: Mapping[str, Any], path: str) -> str:
        """The handle of a reference; by identifier first, since that holds across organisations."""
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

    # --- codes ---------------------------------------------------------------------------------

    def _labels(self, provision: Mapping[str, Any], path: str) -> tuple[str, ...]:
        found = []
        for i, coding in enumerate(_list(provision, "securityLabel", path)):
            elements.validate_inner(
                coding, elements.CODING, f"{path}.securityLabel[{i}]", "a Coding"
            )
            code, system = coding.get("code", ""), coding.get("system", "")
            known = code in codes.CONFIDENTIALITY_RANK or code in codes.SENSITIVITIES
            if not known or system not in ("", codes.CONFIDENTIALITY_SYSTEM, codes.ACT_CODE):
                raise MalformedConsent(
                    f"{path}.securityLabel[{i}]: not a confidentiality or sensitivity that can be "
                    "enforced"
                )
            found.append(code)
        return tuple(found)

    def _codings(
        self, element: Mapping[str, Any], name: str, path: str, bare: str
    ) -> tuple[str, ...]:
        return tuple(
            _token(c, f"{path}.{name}[{i}]", bare) for i, c in enumerate(_list(element, name, path))
        )

    def _purposes(self, provision: Mapping[str, Any], path: str) -> tuple[str, ...]:
        found = self._codings(provision, "purpose", path, codes.ACT_REASON)
        for i, purpose in enumerate(found):
            if "|" not in purpose and purpose not in codes.PURPOSES:
                raise MalformedConsent(
                    f"{path}.purpose[{i}].code: no purpose of v3 ActReason{_near(purpose)}"
                )
        return found

    def _actions(self, provision: Mapping[str, Any], path: str) -> tuple[str, ...]:
        found = []
        for i, concept in enumerate(_list(provision, "action", path)):
            coded = [
                str(coding.get("code", ""))
                for coding in _list(concept, "coding", f"{path}.action[{i}]")
                if coding.get("system") in (None, codes.CONSENT_ACTION)
            ]
            if not coded or coded[0] not in codes.ACTIONS:
                raise MalformedConsent(
                    f"{path}.action[{i}]: no code of {codes.CONSENT_ACTION}; expected one of "
                    + ", ".join(sorted(codes.ACTIONS))
                )
            found.append(coded[0])
        return tuple(found)

    def _concepts(self, element: Mapping[str, Any], name: str, path: str) -> tuple[str, ...]:
        return tuple(
            token
            for i, concept in enumerate(_list(element, name, path))
            for token in self._concepts_of(concept, f"{path}.{name}[{i}]")
        )

    def _concepts_of(self, concept: Any, path: str) -> list[str]:
        if concept is None:
            return []
        codings = _list(concept, "coding", path) if isinstance(concept, Mapping) else []
        if codings:
            elements.validate_inner(concept, elements.CONCEPT, path, "a CodeableConcept")
        else:
            raise MalformedConsent(f"{path}: text alone cannot be enforced; give a coding")
        return [_token(c, f"{path}.coding[{i}]", "") for i, c in enumerate(codings)]

    def _with_policies(self, directive: Directive, policies: Sequence[str]) -> Directive:
        # A plain opt-in or opt-out says no more than the decision that is kept already.
        plain = {f"{codes.ACT_CODE}|OPTIN", f"{codes.ACT_CODE}|OPTOUT"}
        listed = tuple(p for p in dict.fromkeys(policies) if p not in plain)
        if codes.SELF_PAY in map(codes.code_of, listed) and not directive.rule.purposes:
            # What the patient paid for in full is kept from the health plan, and from it alone.
            if directive.decision is Effect.PERMIT:
                raise AmbiguousConsent("Consent.policyRule: hipaa-self-pay restricts, not permits")
            rule = replace(directive.rule, purposes=(codes.PAYMENT,))
            directive = replace(directive, rule=rule)
        return replace(directive, policies=listed)


def read_version(resource: Mapping[str, Any]) -> FhirVersion:
    """The release in which a Consent is written, by the elements that only one release has.

    Raises:
        AmbiguousConsent: it has elements of both.
    """
    r5 = {"decision", "subject", "date", "period", "regulatoryBasis", "policyBasis", "policyText"}
    r5 |= {"grantor", "grantee", "manager", "controller"}
    r4 = {"scope", "patient", "policyRule", "policy", "dateTime", "performer", "organization"}
    listed = isinstance(resource.get("provision"), list)
    if (r5 & resource.keys() or listed) and not r4 & resource.keys():
        return FhirVersion.R5
    if not r5 & resource.keys() and not listed:
        return FhirVersion.R4
    raise AmbiguousConsent("Consent: mixes elements of R4 and R5; write it in one release")


def _implied_by(policies: Sequence[str]) -> Effect | None:
    """The base decision in an R4 policyRule code; EMRGONLY denies all but an emergency."""
    found = {codes.code_of(p) for p in policies}
    permits = bool(found & codes.PERMITTING_POLICIES)
    denies = bool(found & (codes.DENYING_POLICIES | {codes.EMERGENCY_ONLY_POLICY}))
    if permits and denies:
        raise AmbiguousConsent("Consent.policyRule: opts in and out at once")
    return Effect.PERMIT if permits else Effect.DENY if denies else None


def _emergency_only(directive: Directive) -> Directive:
    if directive.decision is not Effect.DENY:
        return directive
    emergency = Rule(purposes=(codes.EMERGENCY,))
    rule = replace(directive.rule, exceptions=(*directive.rule.exceptions, emergency))
    return replace(directive, rule=rule)


def _inherit(rule: Rule, root: Rule) -> Rule:
    """`rule` with the root's value wherever it has none of its own (periods stay the root's)."""
    named = {
        f.name: getattr(root, f.name)
        for f in fields(Rule)
        if f.name not in ("exceptions", "period") and not getattr(rule, f.name)
    }
    return replace(rule, **named)


def _refuse(element: Mapping[str, Any], path: str, *names: str) -> None:
    for name in names:
        if element.get(name):
            raise MalformedConsent(f"{path}.{name}: changes the meaning and cannot be enforced")


def _refuse_unverified(resource: Mapping[str, Any]) -> None:
    verifications = _list(resource, "verification", "Consent")
    if verifications and not any(v.get("verified") for v in verifications):
        raise MalformedConsent("Consent.verification: says that the consent is not verified")


def _near(purpose: str) -> str:
    near = get_close_matches(purpose, codes.PURPOSES, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _effect(code: Any, path: str) -> Effect | None:
    if code is None:
        return None
    try:
        return Effect(code)
    except ValueError:
        raise MalformedConsent(f"{path}: expected permit or deny") from None


def _token(coding: Mapping[str, Any], path: str, bare: str) -> str:
    elements.validate_inner(coding, elements.CODING, path, "a Coding")
    code, system = coding.get("code"), coding.get("system", "")
    if coding.get("version"):
        raise MalformedConsent(f"{path}.version: a code system's version cannot be enforced")
    if not code:
        raise MalformedConsent(f"{path}.code: missing")
    if bare and system in ("", bare):
        return str(code)
    return f"{system}|{code}" if system else str(code)


def _period(element: Mapping[str, Any], name: str, path: str) -> Period | None:
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


def _date(resource: Mapping[str, Any], name: str) -> str | None:
    found = resource.get(name)
    if found is not None:
        _validate_date(found, f"Consent.{name}")
    return found


def _validate_date(value: Any, path: str) -> None:
    try:
        open_date(value if isinstance(value, str) else "")
    except ValueError as error:
        raise MalformedConsent(f"{path}: {error}") from None


def _object(element: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any]:
    found = element.get(name)
    if not isinstance(found, Mapping):
        raise MalformedConsent(f"{path}.{name}: missing")
    return found


def _list(element: Mapping[str, Any], name: str, path: str) -> list[Mapping[str, Any]]:
    found = element.get(name, [])
    if not isinstance(found, list) or not all(isinstance(e, Mapping) for e in found):
        raise MalformedConsent(f"{path}.{name}: expected a list of objects")
    return found


def _texts(value: Any) -> list[str]:
    return [str(value)] if value else []
