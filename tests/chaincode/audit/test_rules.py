"""What 45 CFR 164.528 leaves out, and how far back it reaches."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chaincode.audit import rules
from chaincode.audit.model import AuditEntry, Kind

MOMENT = datetime(2026, 2, 3, tzinfo=UTC)
ENTRY = AuditEntry(
    "patient",
    Kind.ACCESS_RELEASED,
    "access",
    purpose="PUBHLTH",
    custodian="HospitalMSP",
    recipient_msp_id="AgencyMSP",
    at=MOMENT,
)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, None),
        ({"purpose": "TREAT"}, "treatment"),
        ({"purpose": "BTG"}, "treatment"),
        ({"purpose": "CLMATTCH"}, "payment"),
        ({"purpose": "HQUALIMP"}, "operations"),
        ({"purpose": "FAMRQT"}, "to the individual"),
        ({"purpose": "HMARKT"}, None),
        ({"purpose": "HMARKT", "consent_id": "c"}, "by authorization"),
        ({"recipient_role": "patient"}, "to the individual"),
        ({"recipient_msp_id": "HospitalMSP"}, "within the custodian"),
    ],
)
def test_exclusions(changed: dict[str, str], expected: str | None) -> None:
    assert rules.evaluate_exclusion(replace(ENTRY, **changed)) == expected  # type: ignore[arg-type]


def test_six_years_back_also_from_a_leap_day() -> None:
    assert rules.earliest_accounting(MOMENT) == datetime(2020, 2, 3, tzinfo=UTC)
    leap = datetime(2028, 2, 29, tzinfo=UTC)
    assert rules.earliest_accounting(leap) == datetime(2022, 2, 28, tzinfo=UTC)


def test_the_period_includes_its_start_and_not_its_end() -> None:
    later = datetime(2026, 2, 4, tzinfo=UTC)
    for since, until, count in [(MOMENT, later, 1), (later, MOMENT, 0)]:
        accounting = rules.build_accounting("patient", [ENTRY], since, until)
        assert len(accounting.disclosures) == count
    before = datetime(2026, 2, 2, tzinfo=UTC)
    assert not rules.build_accounting("patient", [ENTRY], before, MOMENT).disclosures
