"""HL7's own R4 examples: read whole or refused with the element named, and written back so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from chaincode.consent.elements import AmbiguousConsent, MalformedConsent
from chaincode.consent.export import build_r4
from chaincode.consent.fhir import NormalisedConsent, normalise
from chaincode.consent.model import Author, Capacity, Consent, Effect, Status
from chaincode.consent.provisions import Dialect
from tests.chaincode.consent.cases import NOW, OTHER

VECTORS = Path(__file__).parents[2] / "vectors" / "consent" / "hl7-r4"
NAMES = sorted(file.stem for file in VECTORS.glob("*.json"))
KINDS = {
    "Patient": "patient:{:032x}",
    "Organization": "org:Org{}MSP",
    "Practitioner": "user:{:064x}",
}

STRICT = {
    "basic": Effect.PERMIT,
    "notTime": Effect.PERMIT,
    # Who is named is let in by one of them and left out by the others: nothing but prose says so.
    "Out": "provision.type: missing",
    "grantor": "provision.type: missing",
    "notAuthor": "provision.type: missing",
    "notThem": "provision.type: missing",
    "notThis": "provision.type: missing",
    "pkb": "provision.type: missing",
    "Emergency": "provision.type: missing",
    "signature": "provision.type: missing",
    "notOrg": "contradicts Consent.policyRule",
    "smartonfhir": "permit inside permit",
}
"""What the default dialect makes of each: the base decision, or the refusal."""

OTHERS = {
    (Dialect.LEAP, "signature"): "not a role that can be enforced",
    (Dialect.PCF, "signature"): "not a role that can be enforced",
    (Dialect.PCF, "Emergency"): "deny within deny",
}
"""What the other dialects refuse."""


def load(name: str) -> dict[str, Any]:
    resource: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return resource


def handles_of(resource: dict[str, Any]) -> dict[str, str]:
    found = sorted(set(re.findall(r'"reference": "([^"#]+)"', json.dumps(resource))))
    return {
        reference: KINDS.get(reference.partition("/")[0], "{:032x}").format(number)
        for number, reference in enumerate(found)
    }


def read(name: str, dialect: Dialect) -> NormalisedConsent:
    resource = load(name)
    return normalise(resource, handles_of(resource), dialect=dialect)


@pytest.mark.parametrize("name", NAMES)
def test_the_default_dialect_reads_it_or_says_what_is_ambiguous(name: str) -> None:
    expected = STRICT[name]
    if isinstance(expected, Effect):
        assert read(name, Dialect.STRICT).directive.decision is expected
    else:
        with pytest.raises(AmbiguousConsent, match=expected):
            read(name, Dialect.STRICT)


@pytest.mark.parametrize("dialect", [Dialect.LEAP, Dialect.PCF])
@pytest.mark.parametrize("name", NAMES)
def test_a_chosen_dialect_reads_it_or_names_the_element(name: str, dialect: Dialect) -> None:
    refusal = OTHERS.get((dialect, name))
    if refusal is None:
        read(name, dialect)
    else:
        with pytest.raises(MalformedConsent, match=refusal):
            read(name, dialect)


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_comes_back_and_what_does_not_is_told(name: str, dialect: Dialect) -> None:
    try:
        found = read(name, dialect)
    except MalformedConsent:
        return
    author = Author("HospitalMSP", OTHER, Capacity.PATIENT)
    consent = Consent("c0" * 16, 1, found.patient, Status.ACTIVE, found.directive, author, NOW, NOW)
    written = json.loads(json.dumps(build_r4(consent)))
    assert normalise(written).directive == found.directive
    resource = load(name)
    carried = {"resourceType", "meta", "status", "patient", "provision", "scope"}
    left = {path.partition(".")[2] for path in found.left_behind}
    plain = {"policyRule"}  # opt-in or opt-out: the base decision, which is there
    assert resource.keys() <= carried | left | plain, "an element is dropped without a word"
    # Every code and every party of a provision is in what is written back.
    for code in re.findall(r'"code": "([^"]+)"', json.dumps(resource.get("provision", {}))):
        assert f'"{code}"' in json.dumps(written)
    for reference, handle in handles_of({"p": resource.get("provision", {})}).items():
        told = handles_of(resource)[reference]
        assert told.partition(":")[2] in json.dumps(written) or handle in json.dumps(written)
