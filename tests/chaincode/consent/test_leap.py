"""The fixtures of LEAP's consent decision service, with the decisions that its own tests expect.

They are under GPL-3.0 and not in this repository: LEAP_CDS names a checkout of
`sdhealthconnect/leap-cds`. They are no valid FHIR as they stand and are repaired before reading: an
object where FHIR has a list is put in one, `class` is what R5 calls `resourceType`, and
`hipaa-self-pay`, with which all of them are labelled and which is honoured here as the restriction
that it is, gives way to a policy that says nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chaincode.consent.fhir import normalise
from chaincode.consent.model import (
    Author,
    Capacity,
    Consent,
    ConsentPolicy,
    DataItem,
    Decision,
    Verdict,
)
from chaincode.consent.provisions import Dialect
from chaincode.consent.rules import evaluate
from tests.chaincode.consent.cases import NOW, OTHER, PATIENT, USER, ask

FIXTURES = Path(os.environ.get("LEAP_CDS", "/nowhere")) / "test" / "fixtures" / "consents"
pytestmark = pytest.mark.skipif(
    not FIXTURES.is_dir(), reason="LEAP_CDS names no checkout of sdhealthconnect/leap-cds"
)
HANDLES = {
    "Patient/52": f"patient:{PATIENT}",
    "Organization/54": "org:GoodHealthMSP",
    "Practitioner/001": f"user:{USER}",
}
P, D, N = Verdict.PERMIT, Verdict.DENY, Verdict.NOT_APPLICABLE
NAMED = {"msp_id": "GoodHealthMSP"}
ROWS: list[tuple[str, str, dict[str, Any], Verdict]] = [
    ("optin", "TREAT", {}, P),
    ("optin", "TREAT", NAMED, D),
    ("optin-with-scope-in-category", "TREAT", {}, P),
    ("expired", "TREAT", {}, N),
    ("inactive", "TREAT", {}, N),
    ("deny-practitioner", "TREAT", {"user": USER}, D),
    ("deny-practitioner", "TREAT", {"user": OTHER}, P),
    ("deny-restricted-label", "TREAT", {**NAMED, "labels": ("R",)}, D),
    ("deny-restricted-label", "TREAT", {**NAMED, "labels": ("N",)}, P),
    ("deny-restricted-content-class-only", "TREAT",
     {**NAMED, "resource_type": "MedicationStatement"}, D),
    ("deny-restricted-content-class-only", "TREAT", {**NAMED, "resource_type": "Claim"}, P),
    ("optout", "TREAT", {}, D),
    # LEAP flips a deny inside of a deny.
    ("optout", "TREAT", NAMED, P),
    ("provision-array", "HMARKT", NAMED, D),
]  # fmt: skip
_LISTS = ("regulatoryBasis", "code", "action", "class", "securityLabel", "purpose", "actor")


def repair(value: Any) -> Any:
    if isinstance(value, list):
        return [repair(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: repair(member) for name, member in value.items()}
    for name in _LISTS:
        if isinstance(found.get(name), dict):
            found[name] = [found[name]]
    return found


def load(release: str, name: str) -> Consent:
    file = FIXTURES / release / f"consent-boris-{name}.json"
    resource = repair(json.loads(file.read_text()))
    resource.pop("policyRule", None)
    resource.pop("regulatoryBasis", None)
    if release == "r4":
        resource["policy"] = [{"uri": "http://example.org/policies/base"}]
    else:
        for provision in resource["provision"]:
            if "class" in provision:
                provision["resourceType"] = provision.pop("class")
    found = normalise(resource, HANDLES, dialect=Dialect.LEAP)
    author = Author("HospitalMSP", OTHER, Capacity.PATIENT)
    return Consent("c0" * 16, 1, PATIENT, found.status, found.directive, author, NOW, NOW)


def decide(release: str, name: str, purpose: str, changes: dict[str, Any]) -> Decision:
    return evaluate([load(release, name)], ask(purpose, **changes), NOW, ConsentPolicy())


@pytest.mark.parametrize("release", ["r4", "r5"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]} {row[2]} {row[3]}")
def test_a_decision(release: str, row: tuple[str, str, dict[str, Any], Verdict]) -> None:
    name, purpose, changes, expected = row
    assert decide(release, name, purpose, changes).verdict is expected


@pytest.mark.parametrize("release", ["r4", "r5"])
def test_a_label_is_redacted_from_what_nobody_has_looked_at(release: str) -> None:
    consent = load(release, "deny-restricted-label")
    request = ask("TREAT", DataItem(category=True), msp_id="GoodHealthMSP")
    decision = evaluate([consent], request, NOW, ConsentPolicy())
    assert decision.verdict is P
    (redact,) = decision.obligations
    assert (redact.code, redact.matching[0].labels) == ("REDACT", ("R",))
