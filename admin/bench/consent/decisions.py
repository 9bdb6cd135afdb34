"""How many decisions one processor makes: the pure function, without any ledger.

Seconds are seconds of this process's processor time, so that other work on the machine falsifies
the figures less than it would by the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from admin.bench.consent.samples import build_consents
from chaincode import canonical
from chaincode.consent.compiled import compile_consent
from chaincode.consent.model import AccessRequest, Actor, Consent, ConsentPolicy, DataItem, Verdict
from chaincode.consent.rules import evaluate

COUNTS = (1, 2, 5, 10, 20, 50)
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
PATIENT = "5f" * 16
ITEM = DataItem(
    id="a1" * 16,
    resource_type="Observation",
    classes=(),
    codes=(),
    labels=("N",),
    authors=("org:HospitalMSP",),
    references=(),
    referenced_by=(),
    contexts=(),
    authored="2025-03-01",
    custodian="HospitalMSP",
)
REQUEST = AccessRequest(PATIENT, Actor("ClinicMSP", "clinician", "11" * 32), "TREAT", data=(ITEM,))


@dataclass(frozen=True, slots=True)
class Figure:
    """Decisions a second on one processor for a patient with so many ten-rule consents.

    Attributes:
        consents: how many.
        compiled: the consents were met before: they are kept, ready for requests.
        cold: they are read from their stored bytes for every decision.
    """

    consents: int
    compiled: float
    cold: float


def measure_decisions(seconds: float, counts: Sequence[int] = COUNTS) -> list[Figure]:
    """One figure for each number of consents.

    Args:
        seconds: of processor time that each measurement takes, at least.
        counts: numbers of consents.
    """
    return [_measure(count, seconds) for count in counts]


def _measure(count: int, seconds: float) -> Figure:
    consents, policy = build_consents(count, PATIENT), ConsentPolicy()
    stored = [canonical.encode(consent) for consent in consents]
    ready = [compile_consent(consent) for consent in consents]

    def warm() -> None:
        evaluate(ready, REQUEST, NOW, policy)

    def cold() -> None:
        opened = [compile_consent(canonical.decode(Consent, raw)) for raw in stored]
        evaluate(opened, REQUEST, NOW, policy)

    if evaluate(ready, REQUEST, NOW, policy).verdict is not Verdict.PERMIT:
        raise AssertionError("the sample consent does not permit what the sample request asks")
    return Figure(count, _rate(warm, seconds), _rate(cold, seconds))


def _rate(work: Callable[[], None], seconds: float) -> float:
    """Calls a second: the best of five stretches, the others having been disturbed."""
    best = 0.0
    for _ in range(5):
        calls, begun = 0, time.process_time()
        while (used := time.process_time() - begun) < seconds / 5:
            for _ in range(20):
                work()
            calls += 20
        best = max(best, calls / used)
    return best
