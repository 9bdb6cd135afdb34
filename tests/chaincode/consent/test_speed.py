"""The bar for pure decisions, with room for a busy machine (20,000 a second on a quiet core)."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from chaincode.consent.compiled import compile_consent
from chaincode.consent.model import (
    Author,
    Capacity,
    Consent,
    ConsentPolicy,
    DataReference,
    Party,
    Period,
    Rule,
    Status,
    Verdict,
)
from chaincode.consent.rules import evaluate
from tests.chaincode.consent.cases import NOW, PATIENT, ask, permit, rule

# Ten rules, every one of which the request makes the evaluator look at.
TEN_RULES = permit(
    rule(rule(actors=(Party("user:" + "9" * 64),)), labels=("R",)),
    rule(purposes=("HMARKT",)),
    rule(rule(resource_types=("Claim", "ClaimResponse", "Account")), resource_types=("Claim",)),
    rule(codes=("http://loinc.org|1234-5",)),
    rule(data_period=Period("2000", "2005")),
    rule(labels=("PSY", "HIV")),
    rule(data=(DataReference("ab" * 16),)),
    actors=(Party("org:ClinicMSP"),),
    period=Period("2020", "2030"),
    purposes=("TREAT", "HPAYMT"),
)


def measure(count: int) -> float:
    """Decisions a second of processor time."""
    at = datetime(2025, 1, 1, tzinfo=UTC)
    author = Author("HospitalMSP", "00" * 32, Capacity.PATIENT)
    consent = Consent("c0" * 16, 1, PATIENT, Status.ACTIVE, TEN_RULES, author, at, at)
    compiled, request, policy = [compile_consent(consent)], ask(), ConsentPolicy()
    assert evaluate(compiled, request, NOW, policy).verdict is Verdict.PERMIT
    start = time.process_time()
    for _ in range(count):
        evaluate(compiled, request, NOW, policy)
    return count / (time.process_time() - start)


def _rules(root: Rule) -> int:
    return 1 + sum(map(_rules, root.exceptions))


def test_ten_rules() -> None:
    assert _rules(TEN_RULES.rule) == 10


def test_decisions_a_second() -> None:
    best = max(measure(2_000) for _ in range(3))
    assert best > 8_000, f"{best:,.0f} decisions a second"


if __name__ == "__main__":
    print(f"{measure(50_000):,.0f} decisions a second a core")  # noqa: T201
