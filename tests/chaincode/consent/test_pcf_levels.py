"""IHE Privacy Consent on FHIR: a set of tests for each of its options, on IHE's own examples.

Each row is what the example's description says, asked of the engine. Beyond PCF: `cases.py`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from chaincode.consent import lifecycle
from chaincode.consent.export import build_r4
from chaincode.consent.fhir import NormalisedConsent, normalise
from chaincode.consent.levels import Level, find_level
from chaincode.consent.model import (
    Author,
    Capacity,
    Consent,
    ConsentPolicy,
    Directive,
    Effect,
    Rule,
    Status,
    Verdict,
)
from chaincode.consent.provisions import Dialect
from chaincode.consent.rules import evaluate
from tests.chaincode.consent.cases import (
    GLASS,
    NOW,
    OTHER,
    PATIENT,
    RECORD,
    TEAM,
    USER,
    VISIT,
    ask,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "consent"
LEVELS: dict[str, str] = json.loads((VECTORS / "levels.json").read_text())
ALCOHOL, WEIGHT = "d1" * 16, "d2" * 16
HANDLES = {
    "Patient/ex-patient": f"patient:{PATIENT}",
    "Practitioner/ex-practitioner": f"user:{USER}",
    "Group/ex-privilegedUsers": f"group:{TEAM}",
    "Organization/ex-org-researcher": "org:ResearchMSP",
    "Encounter/ex-encounter": VISIT,
    "Observation/ex-alcoholUse": ALCOHOL,
    "Observation/ex-weight": WEIGHT,
    **{f"Observation/ex-{n}": f"d{i}" * 16 for i, n in enumerate(("bloodSugar", "weight-2"), 3)},
    "Observation/ex-bloodPressure": "d5" * 16,
}
P, D, N = Verdict.PERMIT, Verdict.DENY, Verdict.NOT_APPLICABLE
DOCTOR = (f"user:{USER}",)
Row = tuple[str, str, dict[str, Any], Verdict]

BASIC: list[Row] = [
    *(("basic-treat", purpose, {}, P) for purpose in ("TREAT", "HPAYMT", "HOPERAT")),
    ("basic-treat", "HRESCH", {}, N),
    ("basic-treat", "HMARKT", {}, N),
    ("basic-treat", "BTG", {"break_glass": GLASS}, P),
    ("basic-treat", "BTG", {}, D),
    # Given by the mother: who may give it is the ledger's business, what it says is the same.
    ("basic-treat-infant", "TREAT", {}, P),
    ("basic-treat-infant", "HRESCH", {}, N),
    ("basic-ink", "HPAYMT", {}, P),
    ("expired-treat", "TREAT", {}, N),
    ("basic-reject", "TREAT", {}, D),
    ("basic-reject", "HPAYMT", {}, D),
    ("basic-reject", "HRESCH", {}, N),
    ("basic-research", "HRESCH", {}, P),
    # "a Permit on this top level concept is a Permit on all sub concepts"
    ("basic-research", "CLINTRCH", {}, P),
    ("basic-research", "TREAT", {}, N),
]
INTERMEDIATE: list[Row] = [
    ("intermediate-timeframe", "TREAT", {"authored": "2022-03-01"}, P),
    ("intermediate-timeframe", "TREAT", {"authored": "2021-12-31"}, N),
    ("intermediate-timeframe", "TREAT", {"authored": "2023-01-01"}, N),
    # ITI-108: authored or last updated within the window.
    ("intermediate-timeframe", "TREAT", {"authored": "2020", "updated": "2022-12-31"}, P),
    ("intermediate-not-timeframe", "TREAT", {"authored": "2022-03-01"}, D),
    ("intermediate-not-timeframe", "TREAT", {"authored": "2021-12-31"}, P),
    ("intermediate-not-timeframe", "TREAT", {"authored": None}, D),
    ("intermediate-authoredby", "TREAT", {"authors": DOCTOR}, P),
    ("intermediate-authoredby", "TREAT", {"authors": ("user:" + OTHER,)}, N),
    ("intermediate-not-authoredby", "TREAT", {"authors": DOCTOR}, D),
    ("intermediate-not-authoredby", "TREAT", {"authors": ("user:" + OTHER,)}, P),
    ("intermediate-encounter", "TREAT", {"contexts": (VISIT,)}, P),
    ("intermediate-encounter", "TREAT", {"contexts": ()}, N),
    ("intermediate-encounter", "TREAT", {"id": VISIT, "resource_type": "Encounter"}, P),
    ("intermediate-not-encounter", "TREAT", {"contexts": (VISIT,)}, D),
    ("intermediate-not-encounter", "TREAT", {"contexts": ()}, P),
    ("intermediate-data", "TREAT", {"id": WEIGHT}, P),
    ("intermediate-data", "TREAT", {"id": ALCOHOL}, P),
    ("intermediate-data", "TREAT", {"id": RECORD}, N),
    ("intermediate-not-data", "TREAT", {"id": ALCOHOL}, D),
    ("intermediate-not-data", "TREAT", {"id": WEIGHT}, P),
    ("intermediate-purpose", "http://example.org/policies/purposeOfUse|FooBar",
     {"msp_id": "ResearchMSP"}, P),
    ("intermediate-purpose", "http://example.org/policies/purposeOfUse|FooBar", {}, N),
    ("intermediate-purpose", "HRESCH", {"msp_id": "ResearchMSP"}, N),
    ("dissent-break-glass", "BTG", {"groups": (TEAM,), "break_glass": GLASS}, P),
    ("dissent-break-glass", "BTG", {"groups": (TEAM,)}, D),
    ("dissent-break-glass", "TREAT", {"groups": (TEAM,)}, D),
]  # fmt: skip
ADVANCED: list[Row] = [
    ("advanced-normal", "TREAT", {"labels": ("N",)}, P),
    ("advanced-normal", "TREAT", {"labels": ()}, P),
    ("advanced-normal", "TREAT", {"labels": ("R",)}, N),
    ("advanced-normal", "TREAT", {"labels": None}, N),
    *(
        ("advanced-normal", "TREAT", {"labels": (code,)}, N)
        for code in ("ETH", "ETHUD", "OPIOIDUD", "PSY", "SDV", "HIV")
    ),
    ("advanced-normal-restricted", "TREAT", {"labels": ("N",)}, P),
    ("advanced-normal-restricted", "TREAT", {"labels": ("R",)}, P),
    ("advanced-normal-restricted", "TREAT", {"labels": ("V",)}, N),
    ("advanced-normal-not-restricted", "TREAT", {"labels": ("N",)}, P),
    ("advanced-normal-not-restricted", "TREAT", {"labels": ("R",)}, N),
    ("advanced-normal-focused-restricted", "TREAT", {"labels": ("R",), "user": USER}, P),
    ("advanced-normal-focused-restricted", "TREAT", {"labels": ("R",), "user": OTHER}, D),
    ("advanced-normal-focused-restricted", "TREAT", {"labels": ("N",), "user": OTHER}, P),
    ("advanced-normal-focused-restricted", "HRESCH", {"labels": ("R",), "user": USER}, D),
    ("advanced-normal-focused-psy", "TREAT", {"labels": ("R", "PSY"), "user": USER}, P),
    ("advanced-normal-focused-psy", "TREAT", {"labels": ("R", "PSY"), "user": OTHER}, D),
    ("advanced-normal-focused-psy", "TREAT", {"labels": ("R", "HIV"), "user": USER}, D),
    ("advanced-normal-focused-psy-or-sdv", "TREAT", {"labels": ("R", "SDV"), "user": USER}, P),
    ("advanced-normal-focused-psy-or-sdv", "TREAT", {"labels": ("R", "HIV"), "user": USER}, D),
    ("advanced-normal-break-glass-restricted", "BTG",
     {"labels": ("R",), "groups": (TEAM,), "break_glass": GLASS}, P),
    ("advanced-normal-break-glass-restricted", "BTG", {"labels": ("R",), "groups": (TEAM,)}, D),
    ("advanced-normal-break-glass-restricted", "TREAT", {"labels": ("R",), "groups": (TEAM,)}, D),
    ("advanced-normal-break-glass-restricted", "TREAT", {"labels": ("N",)}, P),
]  # fmt: skip


@cache
def load(name: str) -> NormalisedConsent:
    resource = json.loads((VECTORS / "pcf" / f"{name}.json").read_text())
    return normalise(resource, HANDLES, dialect=Dialect.PCF)


def file_of(short: str) -> str:
    special = {"dissent-break-glass": "ex-dissent-intermediate-break-glass"}
    return special.get(short, f"ex-consent-{short}")


def decide(directive: Directive, purpose: str, changes: dict[str, Any]) -> Verdict:
    author = Author("HospitalMSP", OTHER, Capacity.PATIENT)
    consent = Consent("c0" * 16, 1, PATIENT, Status.ACTIVE, directive, author, NOW, NOW)
    return evaluate([consent], ask(purpose, **changes), NOW, ConsentPolicy()).verdict


def hold(row: Row, level: Level) -> None:
    name, purpose, changes, expected = row
    found = load(file_of(name))
    assert Level[LEVELS[file_of(name)]] == level
    assert decide(found.directive, purpose, dict(changes)) is expected


def describe(row: Row) -> str:
    return f"{row[0]} {row[1].rpartition('|')[2]} {row[2] or ''} {row[3]}"


@pytest.mark.parametrize("row", BASIC, ids=describe)
def test_pcf_basic(row: Row) -> None:
    hold(row, Level.BASIC)


@pytest.mark.parametrize("row", INTERMEDIATE, ids=describe)
def test_pcf_intermediate(row: Row) -> None:
    hold(row, Level.INTERMEDIATE)


@pytest.mark.parametrize("row", ADVANCED, ids=describe)
def test_pcf_advanced(row: Row) -> None:
    hold(row, Level.ADVANCED)


def test_every_example_is_asked_about() -> None:
    asked = {file_of(row[0]) for row in (*BASIC, *INTERMEDIATE, *ADVANCED)}
    assert asked == LEVELS.keys() == {file.stem for file in (VECTORS / "pcf").iterdir()}


@pytest.mark.parametrize("name", LEVELS)
def test_an_example_can_be_written_and_comes_back(name: str) -> None:
    found = load(name)
    lifecycle.validate_directive(found.directive)
    author = Author("HospitalMSP", OTHER, Capacity.PATIENT)
    consent = Consent("c0" * 16, 1, PATIENT, Status.ACTIVE, found.directive, author, NOW, NOW)
    back = normalise(json.loads(json.dumps(build_r4(consent))))
    assert (back.directive, back.patient) == (found.directive, PATIENT)
    assert "Consent.performer" in found.left_behind


@pytest.mark.parametrize("name", LEVELS)
def test_an_example_needs_no_more_than_its_level(name: str) -> None:
    """Read as PCF reads it, a rule beside the base is a rule inside of a deny: one level deeper."""
    found = find_level(load(name).directive)
    widened = load(name).directive.decision is Effect.DENY and "dissent" not in name
    assert found <= Level[LEVELS[name]] or widened


@pytest.mark.parametrize(
    ("rule", "level"),
    [
        (Rule(purposes=("TREAT",)), Level.BASIC),
        (Rule(exceptions=(Rule(purposes=("BTG",)),)), Level.INTERMEDIATE),
        (Rule(exceptions=(Rule(labels=("R",)),)), Level.ADVANCED),
        (Rule(codes=("http://loinc.org|1-8",)), Level.BEYOND),
        (Rule(exceptions=(Rule(exceptions=(Rule(purposes=("BTG",)),)),)), Level.BEYOND),
    ],
)
def test_levels(rule: Rule, level: Level) -> None:
    assert find_level(Directive(Effect.PERMIT, rule)) is level
