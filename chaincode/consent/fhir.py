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
from typing import Any

from chaincode.consent import codes, elements, implicit
from chaincode.consent.elements import AmbiguousConsent, FhirVersion, MalformedConsent
from chaincode.consent.fhirtypes import (
    read_concept,
    read_concepts,
    read_date,
    read_list,
    read_object,
    read_period,
    read_texts,
)
from chaincode.consent.model import Directive, Effect, Rule, Status
from chaincode.consent.provisions import Dialect, ProvisionReader, read_effect


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
        self.provisions = ProvisionReader(handles, dialect)
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
        reference = read_object(resource, subject, "Consent")
        patient = self.provisions.read_handle(reference, f"Consent.{subject}")
        return NormalisedConsent(
            patient=patient.removeprefix("patient:"),
            status=status,
            directive=replace(directive, commitment=commitment, obligations=obligations),
            version=version,
            date=read_date(resource, "date" if version is FhirVersion.R5 else "dateTime"),
            left_behind=tuple(elements.list_left_behind(resource)),
        )

    def _status(self, resource: Mapping[str, Any]) -> Status:
        try:
            return Status(resource.get("status", ""))
        except ValueError:
            raise MalformedConsent("Consent.status: missing or not a FHIR code") from None

    # --- R5: decision and period at the root, provisions are its exceptions --------------------

    def _read_r5(self, resource: Mapping[str, Any]) -> Directive:
        provisions = read_list(resource, "provision", "Consent")
        policies = [
            *read_concepts(resource, "regulatoryBasis", "Consent"),
            *read_texts((resource.get("policyBasis") or {}).get("url")),
        ]
        decision = read_effect(resource.get("decision"), "Consent.decision")
        if decision is None and codes.SELF_PAY in map(codes.code_of, policies) and not provisions:
            decision = Effect.DENY
        if decision is None:
            raise AmbiguousConsent(
                "Consent.decision: missing; R5 needs the base decision where there are provisions"
            )
        exceptions = tuple(
            self.provisions.read_rule(
                p, f"Consent.provision[{i}]", decision.flipped, FhirVersion.R5
            )
            for i, p in enumerate(provisions)
        )
        rule = Rule(period=read_period(resource, "period", "Consent"), exceptions=exceptions)
        directive = Directive(decision, rule, scope=self._scope(resource))
        return self._with_policies(directive, policies)

    # --- R4: the base decision at the root provision, or in policyRule -------------------------

    def _read_r4(self, resource: Mapping[str, Any]) -> Directive:
        policies = [
            *read_concept(resource.get("policyRule"), "Consent.policyRule"),
            *(
                u
                for p in read_list(resource, "policy", "Consent")
                for u in read_texts(p.get("uri"))
            ),
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
        named = read_concept(resource.get("scope"), "Consent.scope")
        for category in read_list(resource, "category", "Consent"):
            for coding in read_list(category, "coding", "Consent.category"):
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
        stated = read_effect(root.get("type"), f"{path}.type")
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
        if stated is None and self.dialect is Dialect.STRICT and _CONDITIONS & root.keys():
            # HL7's own R4 examples write so to name whom the consent is for, and whom it is not.
            raise AmbiguousConsent(
                f"{path}.type: missing, so that it may as well name what Consent.policyRule leaves "
                "out; state permit or deny, or choose the dialect that the author meant (leap, pcf)"
            )
        return Directive(base, self.provisions.read_rule(root, path, base, FhirVersion.R4))

    def _widened(self, root: Mapping[str, Any], base: Effect, path: str) -> Directive:
        """PCF's reading: nested rules of the same type stand beside the root."""
        nested = read_list(root, "provision", path)
        beside = [(i, p) for i, p in enumerate(nested) if p.get("type") == base.value]
        against = [(i, p) for i, p in enumerate(nested) if p.get("type") != base.value]
        own = {k: v for k, v in root.items() if k not in ("provision", "type")}
        exceptions = tuple(
            self.provisions.read_rule(p, f"{path}.provision[{i}]", base.flipped, FhirVersion.R4)
            for i, p in against
        )
        main = replace(
            self.provisions.read_rule(own, path, base, FhirVersion.R4), exceptions=exceptions
        )
        if not beside:
            return Directive(base, main)
        if base is Effect.DENY:
            raise AmbiguousConsent(f"{path}.provision[{beside[0][0]}].type: deny within deny")
        others = []
        for i, provision in beside:
            rule = self.provisions.read_rule(
                provision, f"{path}.provision[{i}]", base, FhirVersion.R4
            )
            others.append(replace(_inherit(rule, main), exceptions=rule.exceptions + exceptions))
        root_rule = Rule(period=main.period, exceptions=(replace(main, period=None), *others))
        return Directive(Effect.DENY, root_rule)

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


_CONDITIONS = elements.PROVISION_R4 - {"id", "extension", "type", "period", "provision"}


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
    verifications = read_list(resource, "verification", "Consent")
    if verifications and not any(v.get("verified") for v in verifications):
        raise MalformedConsent("Consent.verification: says that the consent is not verified")
