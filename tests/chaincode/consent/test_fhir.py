"""FHIR in and out: releases, dialects, IHE PCF's examples, and what is refused as ambiguous."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode.consent import codes, lifecycle
from chaincode.consent.elements import AmbiguousConsent, FhirVersion, MalformedConsent
from chaincode.consent.export import build_r4, build_r5
from chaincode.consent.fhir import normalise
from chaincode.consent.model import (
    Author,
    Capacity,
    Consent,
    ConsentPolicy,
    DataReference,
    Directive,
    Effect,
    Meaning,
    Party,
    Period,
    Rule,
    Status,
    Verdict,
)
from chaincode.consent.provisions import NAMES, Dialect
from chaincode.consent.rules import evaluate
from chaincode.errors import InvalidArgument
from chaincode.phi import refuse_phi
from tests.chaincode.consent.cases import GLASS, NOW, OTHER, PATIENT, RECORD, USER, VISIT, ask
from tests.chaincode.consent.generate import Generator

HANDLES = {
    "Patient/ex": f"patient:{PATIENT}",
    "Organization/clinic": "org:ClinicMSP",
    "https://payer.example/fhir/Organization/1": "org:PayerMSP",
    "http://hl7.org/fhir/sid/us-npi|1234567893": "org:HospitalMSP",
    "Practitioner/doctor": f"user:{USER}",
    "Group/emergency": "role:clinician",
    "Observation/1": RECORD,
    "Encounter/1": VISIT,
}
LOINC = "http://loinc.org"


def coding(code: str, system: str) -> dict[str, str]:
    return {"system": system, "code": code}


def concept(code: str, system: str) -> dict[str, Any]:
    return {"coding": [coding(code, system)]}


def purposes(*names: str) -> list[dict[str, str]]:
    return [coding(name, codes.ACT_REASON) for name in names]


def labels(*names: str) -> list[dict[str, str]]:
    ranked = codes.CONFIDENTIALITY_RANK
    return [
        coding(n, codes.CONFIDENTIALITY_SYSTEM if n in ranked else codes.ACT_CODE) for n in names
    ]


def actor(reference: str, role: str = "IRCP") -> dict[str, Any]:
    return {"role": concept(role, codes.PARTICIPATION), "reference": {"reference": reference}}


def r4(provision: dict[str, Any] | None = None, **elements: Any) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "resourceType": "Consent",
        "status": "active",
        "scope": concept("patient-privacy", codes.CONSENT_SCOPE),
        "category": [concept("59284-0", LOINC)],
        "patient": {"reference": "Patient/ex"},
        "dateTime": "2022-06-13",
        "policy": [{"uri": "http://example.org/policies/base"}],
    }
    if provision is not None:
        resource["provision"] = provision
    return {k: v for k, v in {**resource, **elements}.items() if v is not None}


def r5(*provisions: dict[str, Any], **elements: Any) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "resourceType": "Consent",
        "status": "active",
        "subject": {"reference": "Patient/ex"},
        "date": "2022-06-13",
        "decision": "permit",
        "provision": list(provisions),
    }
    return {k: v for k, v in {**resource, **elements}.items() if v is not None}


def read(resource: dict[str, Any], dialect: Dialect = Dialect.STRICT) -> Directive:
    return normalise(resource, HANDLES, dialect=dialect).directive


def rule_code(code: str) -> dict[str, Any]:
    return concept(code, codes.ACT_CODE)


def verdict(directive: Directive, *args: Any, **kwargs: Any) -> Verdict:
    author = Author("HospitalMSP", OTHER, Capacity.PATIENT)
    consent = Consent("c0" * 16, 1, PATIENT, Status.ACTIVE, directive, author, NOW, NOW)
    return evaluate([consent], ask(*args, **kwargs), NOW, ConsentPolicy()).verdict


class TestReading:
    def test_every_attribute_of_r4(self) -> None:
        resource = r4(
            {
                "type": "permit",
                "period": {"start": "2020", "end": "2022-12-31"},
                "actor": [actor("Organization/clinic"), actor("Practitioner/doctor", "PRCP")],
                "action": [concept("access", codes.CONSENT_ACTION)],
                "securityLabel": labels("N", "PSY"),
                "purpose": purposes("TREAT", "HPAYMT"),
                "class": [coding("Observation", codes.RESOURCE_TYPES)],
                "code": [concept("4548-4", LOINC)],
                "dataPeriod": {"start": "2019-01"},
                "data": [{"meaning": "related", "reference": {"reference": "Encounter/1"}}],
                "provision": [{"type": "deny", "purpose": purposes("HMARKT")}],
            }
        )
        found = normalise(resource, HANDLES, commitment="ab" * 32)
        assert (found.patient, found.status, found.version, found.date) == (
            PATIENT,
            Status.ACTIVE,
            FhirVersion.R4,
            "2022-06-13",
        )
        assert found.directive == Directive(
            Effect.PERMIT,
            Rule(
                period=Period("2020", "2022-12-31"),
                actors=(Party("org:ClinicMSP"), Party(f"user:{USER}", "PRCP")),
                actions=("access",),
                labels=("N", "PSY"),
                purposes=("TREAT", "HPAYMT"),
                classes=(f"{codes.RESOURCE_TYPES}|Observation",),
                codes=(f"{LOINC}|4548-4",),
                data_period=Period("2019-01"),
                data=(DataReference(VISIT, Meaning.RELATED),),
                exceptions=(Rule(purposes=("HMARKT",)),),
            ),
            policies=("http://example.org/policies/base",),
            commitment="ab" * 32,
        )
        lifecycle.validate_directive(found.directive)

    def test_r5(self) -> None:
        resource = r5(
            {
                "resourceType": [coding("Claim", codes.RESOURCE_TYPES)],
                "documentType": [coding("18842-5", LOINC)],
                "actor": [{"reference": {"reference": "Organization/clinic"}}],
                "provision": [{"purpose": purposes("HPAYMT")}],
            },
            decision="deny",
            period={"end": "2027"},
            regulatoryBasis=[concept("hipaa-auth", codes.CONSENT_POLICY)],
        )
        assert read(resource) == Directive(
            Effect.DENY,
            Rule(
                period=Period(None, "2027"),
                exceptions=(
                    Rule(
                        resource_types=("Claim",),
                        document_types=(f"{LOINC}|18842-5",),
                        actors=(Party("org:ClinicMSP"),),
                        exceptions=(Rule(purposes=("HPAYMT",)),),
                    ),
                ),
            ),
            policies=(f"{codes.CONSENT_POLICY}|hipaa-auth",),
        )

    def test_identifiers_hold_across_organisations(self) -> None:
        """FAST ID1: by identifier before reference, and our own systems without a table."""
        npi = {"identifier": {"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}}
        ours = {"identifier": {"system": f"{NAMES}org", "value": "ClinicMSP"}}
        absolute = {"reference": "https://payer.example/fhir/Organization/1"}
        found = read(r5({"actor": [{"reference": r} for r in (npi, ours, absolute)]}))
        references = [p.reference for p in found.rule.exceptions[0].actors]
        assert references == ["org:HospitalMSP", "org:ClinicMSP", "org:PayerMSP"]

    def test_nothing_that_identifies_is_taken_over(self) -> None:
        resource = r4(
            {"type": "permit", "actor": [actor("Organization/clinic")]},
            id="jane-doe-1",
            identifier=[{"system": "urn:mrn", "value": "MRN-0012345"}],
            performer=[{"reference": "Patient/ex", "display": "Jane Doe"}],
            text={"status": "generated", "div": "<div>Jane Doe</div>"},
            contained=[{"resourceType": "Patient", "name": [{"family": "Doe"}]}],
        )
        resource["patient"]["display"] = "Jane Doe"
        directive = read(resource)
        refuse_phi(directive)
        assert "Doe" not in repr(directive)
        assert "0012345" not in repr(directive)


class TestDialects:
    """Reference section 2.3: dialect normalisation."""

    @pytest.mark.parametrize(
        ("policy", "effect"),
        [
            ("OPTIN", Effect.PERMIT),
            ("OPTINR", Effect.PERMIT),
            ("IMPLIED", Effect.PERMIT),
            ("IMPLIEDD", Effect.PERMIT),
            ("OPTOUT", Effect.DENY),
            ("OPTOUTE", Effect.DENY),
            ("NOCONSENT", Effect.DENY),
        ],
    )
    def test_the_base_from_the_policy_rule(self, policy: str, effect: Effect) -> None:
        for provision in (
            None,
            {"period": {"end": "2030"}, "provision": [{"purpose": purposes("HMARKT")}]},
            {"type": effect.value, "purpose": purposes("TREAT")},
        ):
            resource = r4(provision, policyRule=rule_code(policy))
            assert read(resource).decision is effect

    @pytest.mark.parametrize("policy", ["OPTIN", "OPTOUT"])
    @pytest.mark.parametrize("dialect", Dialect)
    def test_conditions_without_a_type_beside_a_policy_rule(
        self, policy: str, dialect: Dialect
    ) -> None:
        """Whom they let in or leave out is not said; HL7's examples write so and mean both."""
        resource = r4({"purpose": purposes("TREAT")}, policyRule=rule_code(policy))
        if dialect is Dialect.STRICT:
            with pytest.raises(AmbiguousConsent, match=r"provision\.type: missing.*leap, pcf"):
                read(resource)
        else:
            assert normalise(resource, HANDLES, dialect=dialect).directive.rule.purposes

    def test_emergency_only(self) -> None:
        directive = read(r4(policyRule=rule_code("EMRGONLY")))
        assert verdict(directive, "TREAT") is Verdict.DENY
        assert verdict(directive, "ETREAT") is Verdict.PERMIT
        assert verdict(directive, "BTG") is Verdict.DENY

    @pytest.mark.parametrize("policy", ["NOPP", "GRANTORCHOICE"])
    def test_an_undetermined_base(self, policy: str) -> None:
        for provision in (None, {"purpose": purposes("TREAT")}):
            with pytest.raises(AmbiguousConsent, match=r"Consent\.provision"):
                read(r4(provision, policyRule=rule_code(policy)))

    def test_the_root_type_says_it_too(self) -> None:
        resource = r4({"type": "deny"}, policyRule=rule_code("OPTOUT"))
        assert read(resource).decision is Effect.DENY

    def test_a_contradicting_root_type(self) -> None:
        resource = r4({"type": "deny"}, policyRule=rule_code("OPTIN"))
        with pytest.raises(AmbiguousConsent, match=r"contradicts Consent\.policyRule"):
            read(resource)
        assert read(resource, Dialect.LEAP).decision is Effect.DENY

    def test_nested_types_may_be_left_out(self) -> None:
        stated = r4({"type": "permit", "provision": [{"type": "deny", "purpose": purposes("BTG")}]})
        left_out = r4({"type": "permit", "provision": [{"purpose": purposes("BTG")}]})
        assert read(stated) == read(left_out)

    def test_a_nested_type_of_its_parent(self) -> None:
        resource = r4(
            {"provision": [{"type": "deny", "purpose": purposes("TREAT")}]},
            policyRule=rule_code("OPTOUT"),
        )
        with pytest.raises(AmbiguousConsent, match=r"provision\[0\]\.type: deny inside deny"):
            read(resource)
        # LEAP's connectathon fixtures expect PERMIT here.
        assert verdict(read(resource, Dialect.LEAP), "TREAT") is Verdict.PERMIT

    def test_deep_down(self) -> None:
        innermost = {"type": "permit", "securityLabel": []}
        middle = {"type": "permit", "purpose": purposes("TREAT"), "provision": [innermost]}
        with pytest.raises(AmbiguousConsent, match=r"provision\[0\]\.provision\[0\]\.type"):
            read(r4({"type": "deny", "provision": [middle]}))

    def test_r5_needs_a_decision(self) -> None:
        with pytest.raises(AmbiguousConsent, match=r"Consent\.decision"):
            read(r5({"purpose": purposes("TREAT")}, decision=None))

    def test_self_pay(self) -> None:
        """45 CFR 164.522(a)(1)(vi): payment is kept from the payer, in both releases."""
        basis = concept(codes.SELF_PAY, codes.CONSENT_POLICY)
        for resource in (r4(policyRule=basis), r5(decision=None, regulatoryBasis=[basis])):
            directive = read(resource)
            assert (directive.decision, directive.rule.purposes) == (Effect.DENY, ("HPAYMT",))
            assert verdict(directive, "CLMATTCH") is Verdict.DENY
            assert verdict(directive, "TREAT") is Verdict.NOT_APPLICABLE


TPO = purposes("TREAT", "HPAYMT", "HOPERAT")


def pcf(*nested: dict[str, Any], **root: Any) -> Directive:
    provision = {"type": "permit", "purpose": TPO, **root, "provision": list(nested)}
    return read(r4(provision), Dialect.PCF)


class TestPcf:
    """IHE PCF 1.1: the decisions that its example consents and their notes describe."""

    def test_advanced_normal(self) -> None:
        directive = pcf(securityLabel=labels("N"))
        assert verdict(directive, labels=("N",)) is Verdict.PERMIT
        assert verdict(directive, labels=("R",)) is Verdict.NOT_APPLICABLE

    def test_advanced_normal_restricted(self) -> None:
        directive = pcf(securityLabel=labels("N", "R"))
        assert verdict(directive, labels=("R",)) is Verdict.PERMIT
        assert verdict(directive, labels=("V",)) is Verdict.NOT_APPLICABLE

    def test_advanced_normal_not_restricted(self) -> None:
        directive = pcf({"type": "deny", "securityLabel": labels("R")}, securityLabel=labels("N"))
        assert verdict(directive, labels=("N",)) is Verdict.PERMIT
        assert verdict(directive, labels=("R",)) is not Verdict.PERMIT

    def test_advanced_focused_restricted(self) -> None:
        nested = {
            "type": "permit",
            "securityLabel": labels("R"),
            "actor": [actor("Practitioner/doctor")],
        }
        directive = pcf(nested, securityLabel=labels("N"))
        assert verdict(directive, labels=("R",), user=USER) is Verdict.PERMIT
        assert verdict(directive, labels=("R",), user=OTHER) is Verdict.DENY
        assert verdict(directive, labels=("N",), user=OTHER) is Verdict.PERMIT
        # The root's purposes hold for the nested rule as well.
        assert verdict(directive, "HRESCH", labels=("R",), user=USER) is Verdict.DENY

    def test_advanced_focused_psy_or_sdv(self) -> None:
        nested = {
            "type": "permit",
            "securityLabel": labels("PSY", "SDV"),
            "actor": [actor("Practitioner/doctor")],
        }
        directive = pcf(nested, securityLabel=labels("N"))
        assert verdict(directive, labels=("R", "PSY"), user=USER) is Verdict.PERMIT
        assert verdict(directive, labels=("R", "SDV"), user=USER) is Verdict.PERMIT
        assert verdict(directive, labels=("R", "HIV"), user=USER) is Verdict.DENY
        assert verdict(directive, labels=("R", "PSY"), user=OTHER) is Verdict.DENY

    def test_advanced_break_glass_restricted(self) -> None:
        nested = {
            "type": "permit",
            "purpose": purposes("BTG"),
            "securityLabel": labels("R"),
            "actor": [actor("Group/emergency")],
        }
        directive = pcf(nested, securityLabel=labels("N"))
        declared = {"labels": ("R",), "break_glass": GLASS}
        assert verdict(directive, "BTG", **declared) is Verdict.PERMIT
        assert verdict(directive, "BTG", labels=("R",)) is Verdict.DENY
        assert verdict(directive, "TREAT", labels=("R",)) is Verdict.DENY

    def test_strict_refuses_what_only_pcf_reads(self) -> None:
        nested = {"type": "permit", "securityLabel": labels("R")}
        resource = r4({"type": "permit", "securityLabel": labels("N"), "provision": [nested]})
        with pytest.raises(AmbiguousConsent, match="permit inside permit"):
            read(resource)

    def test_deny_within_deny_has_no_reading(self) -> None:
        nested = {"type": "deny", "securityLabel": labels("R")}
        with pytest.raises(AmbiguousConsent, match="deny within deny"):
            read(r4({"type": "deny", "provision": [nested]}), Dialect.PCF)

    def test_intermediate_data(self) -> None:
        related = [{"meaning": "related", "reference": {"reference": "Encounter/1"}}]
        only, but = pcf(data=related), pcf({"type": "deny", "data": related})
        assert verdict(only, contexts=(VISIT,)) is Verdict.PERMIT
        assert verdict(only) is Verdict.NOT_APPLICABLE
        assert verdict(but, contexts=(VISIT,)) is Verdict.DENY
        assert verdict(but) is Verdict.PERMIT

    def test_dissent_but_break_glass(self) -> None:
        nested = {
            "type": "permit",
            "purpose": purposes("BTG"),
            "actor": [actor("Group/emergency")],
        }
        directive = read(r4({"type": "deny", "provision": [nested]}))
        assert verdict(directive, "TREAT") is Verdict.DENY
        assert verdict(directive, "BTG", break_glass=GLASS) is Verdict.PERMIT

    @pytest.mark.parametrize(
        ("uri", "treatment"),
        [
            (codes.POLICY_BASIC_NORMAL, Verdict.PERMIT),
            (codes.POLICY_ALL_NORMAL, Verdict.PERMIT),
            (codes.POLICY_BREAK_GLASS_ONLY, Verdict.DENY),
            (codes.POLICY_DENY, Verdict.DENY),
        ],
    )
    def test_a_policy_alone(self, uri: str, treatment: Verdict) -> None:
        directive = read(r4(policy=[{"uri": uri}]))
        assert verdict(directive, "TREAT") is treatment
        lifecycle.validate_directive(directive)


def provision(**elements: Any) -> dict[str, Any]:
    return r4({"type": "permit", **elements})


LIMIT = [{"url": "http://example.org/only-on-weekdays", "valueBoolean": True}]
UNKNOWN: list[tuple[dict[str, Any], str]] = [
    (provision(purposes=purposes("TREAT")), r"Consent\.provision\.purposes: .*mean purpose\?"),
    (provision(resourceType=[]), r"Consent\.provision\.resourceType: no element of a FHIR R4"),
    (provision(expression={"language": "text/cql"}), r"Consent\.provision\.expression: no element"),
    (provision(extension=LIMIT), r"Consent\.provision\.extension: changes the meaning"),
    (provision(_type={"extension": LIMIT}), r"Consent\.provision\._type"),
    (provision(provision=[{"clas": []}]), r"provision\[0\]\.clas: .*mean class\?"),
    (provision(period={"begin": "2026"}), r"provision\.period\.begin: no element of a Period"),
    (provision(period={"start": 2026}), r"provision\.period\.start: not a FHIR date"),
    (provision(period={"start": "2026-13"}), r"provision\.period\.start: month"),
    (provision(period={"start": "2027", "end": "2026"}), r"provision\.period: the period ends"),
    (provision(dataPeriod={"end": "soon"}), r"provision\.dataPeriod\.end: not a FHIR date"),
    (provision(purpose=[{"code": "TREAT", "extension": LIMIT}]), r"purpose\[0\]\.extension"),
    (provision(code=[{"coding": [{"code": "1", "version": "2"}]}]), r"code\[0\].*\.version"),
    (provision(purpose=purposes("TREATT")), r"purpose\[0\]\.code: .*did you mean TREAT\?"),
    (provision(action=[concept("read", codes.CONSENT_ACTION)]), r"action\[0\]: .*expected one of"),
    (provision(actor=[{"name": "x"}]), r"actor\[0\]\.name: no element of an actor"),
    (provision(data=[{"meaning": "instance", "extension": LIMIT}]), r"data\[0\]\.extension"),
    (
        r4({"type": "permit"}, purpose=purposes("TREAT")),
        r"Consent\.purpose: no element of a FHIR R4",
    ),
    (r4({"type": "permit"}, _status={"extension": LIMIT}), r"Consent\._status"),
    (r4({"type": "permit"}, dateTime="yesterday"), r"Consent\.dateTime: not a FHIR date"),
    (r4({"type": "permit"}, dateTime=["2026"]), r"Consent\.dateTime: not a FHIR date"),
    (
        r4(
            {"type": "permit"},
            extension=[{"url": "http://hl7.org/fhir/5.0/StructureDefinition/Consent.decision"}],
        ),
        r"Consent\.extension\[0\]: states a rule",
    ),
    (r5({"class": []}), r"provision\[0\]\.class: no element of a FHIR R5 provision"),
    (r5({"type": "deny"}), r"provision\[0\]\.type: no element of a FHIR R5 provision"),
    (r5(sourceReference={}, grantors=[]), r"Consent\.grantors: .*did you mean grantor\?"),
]


@pytest.mark.parametrize(("resource", "message"), UNKNOWN)
def test_nothing_is_dropped_silently(resource: dict[str, Any], message: str) -> None:
    """An element that is not carried is refused by its path, or told to stay behind."""
    with pytest.raises(MalformedConsent, match=message):
        read(resource)


SECRET = {"reference": "Practitioner/jane"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"resourceType": "Patient"}, "resourceType"),
    (r4({"type": "permit"}, status="valid"), r"Consent\.status"),
    (r4({"type": "permit"}, patient=None), r"Consent\.patient: missing"),
    (r4({"type": "permit"}, policy=None), "ppc-1"),
    (r4({"type": "permit"}, decision="permit"), "mixes elements of R4 and R5"),
    (r4({"type": "allow"}), r"provision\.type"),
    (r4({"type": "permit"}, modifierExtension=[{"url": "x"}]), "modifierExtension"),
    (r4({"type": "permit", "modifierExtension": [{"url": "x"}]}), r"provision\.modifierExtension"),
    (r4({"type": "permit"}, implicitRules="http://x"), "implicitRules"),
    (r4({"type": "permit"}, verification=[{"verified": False}]), "verification"),
    (r4({"type": "permit", "actor": [actor("Practitioner/jane")]}), "no handle is known"),
    (r4({"type": "permit", "actor": [{"role": concept("IRCP", "x")}]}), r"actor\[0\]\.reference"),
    (r4({"type": "permit", "actor": [actor("Organization/clinic", "CHILD")]}), r"actor\[0\]\.role"),
    (r4({"type": "permit", "actor": [actor("Observation/1")]}), "names data"),
    (r4({"type": "permit", "action": [{"text": "read"}]}), r"action\[0\]"),
    (r4({"type": "permit", "code": [{"text": "diabetes"}]}), r"code\[0\]: text alone"),
    (r4({"type": "permit", "purpose": [{"system": "x"}]}), r"purpose\[0\]\.code"),
    (r4({"type": "permit", "securityLabel": [coding("X", "x")]}), r"securityLabel\[0\]"),
    (r4({"type": "permit", "data": [{"meaning": "like", "reference": SECRET}]}), r"meaning"),
    (r4({"type": "permit", "data": [{"meaning": "instance", "reference": SECRET}]}), "no handle"),
    (r4({"type": "permit", "period": "2026"}), r"provision\.period"),
    (r4({"type": "permit", "provision": {"type": "deny"}}), "expected a list"),
    (r5({"expression": {"language": "text/cql"}}), r"provision\[0\]\.expression"),
    (r5(subject=None), r"Consent\.subject: missing"),
    (r4(policyRule={"coding": [coding("OPTIN", "x"), coding("OPTOUT", "x")]}), "in and out"),
    (r4({"type": "permit"}, policyRule=concept(codes.SELF_PAY, "x")), "restricts, not permits"),
]


@pytest.mark.parametrize(("resource", "message"), REFUSED)
def test_refused(resource: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedConsent, match=message) as refusal:
        read(resource)
    assert "jane" not in str(refusal.value)


def kept(directive: Directive) -> Consent:
    author = Author("HospitalMSP", OTHER, Capacity.PATIENT)
    return Consent("c0" * 16, 1, PATIENT, Status.ACTIVE, directive, author, NOW, NOW)


def clean(directive: Directive) -> Directive:
    """A directive of the generator as it can be written."""

    def tidy(rule: Rule) -> Rule:
        nested = tuple(tidy(n) for n in rule.exceptions)
        nested = tuple(n for n in nested if n != replace(Rule(), exceptions=n.exceptions))
        period = rule.period if rule.period != Period() else None
        data_period = rule.data_period if rule.data_period != Period() else None
        classes = tuple(f"{codes.RESOURCE_TYPES}|{c}" if ":" not in c else c for c in rule.classes)
        return replace(
            rule,
            period=period,
            data_period=data_period,
            classes=tuple(dict.fromkeys(classes)),
            exceptions=nested,
        )

    decision = directive.decision or Effect.DENY
    return Directive(decision, tidy(directive.rule))


class TestWriting:
    @given(st.integers(0, 2**40))
    @settings(max_examples=300, deadline=None)
    def test_out_and_in_again(self, seed: int) -> None:
        directive = replace(clean(Generator(seed).directive()), obligations=("MINEC", "ORCON"))
        as_r5 = replace(
            directive,
            rule=Rule(period=directive.rule.period, exceptions=directive.rule.exceptions),
        )
        if any(map(_has_more_than_types, as_r5.rule.exceptions)):
            with pytest.raises(InvalidArgument, match=r"classes: .* export as R4"):
                build_r5(kept(as_r5))
        else:
            resource = json.loads(json.dumps(build_r5(kept(as_r5))))
            assert read(resource) == _with_resource_types(as_r5)

        def mixes(rule: Rule) -> bool:
            kinds = (rule.classes, rule.resource_types, rule.document_types)
            return sum(map(bool, kinds)) > 1 or any(map(mixes, rule.exceptions))

        if mixes(directive.rule):
            with pytest.raises(InvalidArgument, match="export as R5"):
                build_r4(kept(directive))
            return
        back = read(json.loads(json.dumps(build_r4(kept(directive)))))
        assert back == _with_classes(directive)

    @pytest.mark.parametrize("scope", sorted(codes.SCOPES))
    def test_the_scope_goes_along(self, scope: str) -> None:
        directive = Directive(Effect.PERMIT, scope=scope)
        for build in (build_r4, build_r5):
            assert read(build(kept(directive))) == directive

    def test_what_stays_behind_is_named(self) -> None:
        resource = build_r4(kept(Directive(Effect.PERMIT, obligations=("AOD",))))
        resource |= {
            "performer": [{"reference": "Patient/ex"}],
            "sourceAttachment": {"contentType": "application/pdf"},
            "extension": [*resource["extension"], {"url": "http://hl7.org/x", "valueCode": "y"}],
            "policy": [{"uri": "http://example.org/p", "authority": "http://example.org"}],
        }
        found = normalise(resource, HANDLES)
        assert found.directive.obligations == ("AOD",)
        assert set(found.left_behind) == {
            *("Consent.id", "Consent.meta", "Consent.identifier", "Consent.category"),
            *("Consent.dateTime", "Consent.performer", "Consent.sourceAttachment"),
            *("Consent.extension[1]", "Consent.policy[0].authority"),
        }

    def test_r5_has_no_context_for_its_base(self) -> None:
        directive = Directive(Effect.PERMIT, Rule(purposes=("TREAT",)))
        with pytest.raises(InvalidArgument, match="export as R4"):
            build_r5(kept(directive))

    def test_it_is_fhir(self) -> None:
        """fhir.resources (R4B has R4's shape) accepts what is written."""
        from fhir.resources.consent import Consent as R5Consent
        from fhir.resources.R4B.consent import Consent as R4Consent

        exceptions = (
            Rule(purposes=("HMARKT",), labels=("R",), actors=(Party("org:ClinicMSP"),)),
            Rule(
                codes=(f"{LOINC}|4548-4",),
                data=(DataReference(RECORD),),
                data_period=Period("2020", "2021-05"),
                actions=("access",),
                period=Period("2020"),
            ),
        )
        directive = Directive(
            Effect.PERMIT, Rule(period=Period("2020", "2030"), exceptions=exceptions)
        )
        R4Consent.model_validate(build_r4(kept(directive)))
        R5Consent.model_validate(build_r5(kept(directive)))


def _has_more_than_types(rule: Rule) -> bool:
    types = [c for c in rule.classes if c.startswith(codes.RESOURCE_TYPES + "|")]
    own = len(types) < len(rule.classes) or bool(types and rule.resource_types)
    return own or any(map(_has_more_than_types, rule.exceptions))


def _with_resource_types(directive: Directive) -> Directive:
    """R5 says resource types where R4 says classes."""

    def move(rule: Rule) -> Rule:
        types = tuple(codes.code_of(c) for c in rule.classes)
        return replace(
            rule,
            classes=(),
            resource_types=types + rule.resource_types,
            exceptions=tuple(map(move, rule.exceptions)),
        )

    return replace(directive, rule=move(directive.rule))


def _with_classes(directive: Directive) -> Directive:
    """R4 has one attribute for resource types, document types and profiles."""

    def merge(rule: Rule) -> Rule:
        types = tuple(f"{codes.RESOURCE_TYPES}|{t}" for t in rule.resource_types)
        return replace(
            rule,
            classes=rule.classes + types + rule.document_types,
            resource_types=(),
            document_types=(),
            exceptions=tuple(map(merge, rule.exceptions)),
        )

    return replace(directive, rule=merge(directive.rule))
