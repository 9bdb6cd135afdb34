"""The bar for pure decisions, with room for a busy machine (20,000 a second on a quiet core)."""

from __future__ import annotations

import time

from admin.bench.consent.samples import TEN_RULES, build_consents
from chaincode.consent.compiled import compile_consent
from chaincode.consent.model import ConsentPolicy, Rule, Verdict
from chaincode.consent.rules import evaluate
from tests.chaincode.consent.cases import NOW, PATIENT, ask


def measure(count: int) -> float:
    """Decisions a second of processor time."""
    (consent,) = build_consents(1, PATIENT)
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
