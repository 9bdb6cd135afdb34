"""Fingerprints meet where a service is the same, and only under the same key."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.claims.fingerprints import compute_fingerprints
from tests.chaincode.claims.samples import SERVICE, details, line
from tests.chaincode.consortium import FINGERPRINT_KEY, handle


def test_another_claim_of_the_same_services_has_the_same() -> None:
    first = compute_fingerprints(FINGERPRINT_KEY, details())
    again = compute_fingerprints(FINGERPRINT_KEY, details("another", diagnoses=()))
    assert first == again


@given(st.permutations([1, 2, 3]))
def test_the_order_of_lines_makes_no_difference(order: list[int]) -> None:
    lines = {n: line(n, serviced_from=SERVICE - timedelta(days=n)) for n in (1, 2, 3)}
    sorted_one = compute_fingerprints(FINGERPRINT_KEY, details(lines=tuple(lines.values())))
    other = compute_fingerprints(FINGERPRINT_KEY, details(lines=tuple(lines[n] for n in order)))
    assert other.claim == sorted_one.claim
    assert set(other.lines) == set(sorted_one.lines)


@pytest.mark.parametrize(
    ("changed", "line_too"),
    [
        ({"code": "S0009"}, True),
        ({"modifiers": ("76",)}, True),
        ({"serviced_from": SERVICE - timedelta(days=1)}, True),
        ({"serviced_to": SERVICE + timedelta(days=1)}, False),
        ({"place": "22"}, False),
        ({"quantity": Decimal(2)}, False),
        ({"net": 1}, False),
    ],
)
def test_what_makes_an_exact_and_what_a_possible_duplicate(
    changed: dict[str, Any], line_too: bool
) -> None:
    good = compute_fingerprints(FINGERPRINT_KEY, details())
    other = compute_fingerprints(FINGERPRINT_KEY, details(lines=(line(**changed),)))
    assert other.claim != good.claim
    assert (other.lines != good.lines) is line_too


@pytest.mark.parametrize("changed", [{"patient": handle("x")}, {"provider_npi": "1245319599"}])
def test_patient_and_provider_count(changed: dict[str, str]) -> None:
    good = compute_fingerprints(FINGERPRINT_KEY, details())
    other = compute_fingerprints(FINGERPRINT_KEY, details(**changed))
    assert {other.claim, *other.lines}.isdisjoint({good.claim, *good.lines})


def test_one_quantity_however_written() -> None:
    whole, written = (
        compute_fingerprints(FINGERPRINT_KEY, details(lines=(line(quantity=Decimal(text)),)))
        for text in ("10", "10.00")
    )
    assert whole == written


def test_the_key_counts_and_has_its_length() -> None:
    other_key = bytes(reversed(FINGERPRINT_KEY))
    assert compute_fingerprints(other_key, details()) != compute_fingerprints(
        FINGERPRINT_KEY, details()
    )
    with pytest.raises(ValueError, match="at least 32 bytes"):
        compute_fingerprints(b"", details())
