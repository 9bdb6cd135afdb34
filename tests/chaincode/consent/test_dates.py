"""FHIR dates as intervals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.consent.dates import LATEST, open_date, open_period
from tests.chaincode.consent import naive


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "start", "after"),
    [
        ("2024", utc(2024, 1, 1), utc(2025, 1, 1)),
        ("2024-02", utc(2024, 2, 1), utc(2024, 3, 1)),
        ("2024-12", utc(2024, 12, 1), utc(2025, 1, 1)),
        ("2024-02-29", utc(2024, 2, 29), utc(2024, 3, 1)),
        ("2024-01-02T03:04Z", utc(2024, 1, 2, 3, 4), utc(2024, 1, 2, 3, 5)),
        ("2024-01-02T03:04:05Z", utc(2024, 1, 2, 3, 4, 5), utc(2024, 1, 2, 3, 4, 6)),
        ("2024-01-02T00:30:00+01:00", utc(2024, 1, 1, 23, 30), utc(2024, 1, 1, 23, 30, 1)),
        ("2024-01-01T23:30:00-01:00", utc(2024, 1, 2, 0, 30), utc(2024, 1, 2, 0, 30, 1)),
        (
            "2024-01-02T03:04:05.678Z",
            utc(2024, 1, 2, 3, 4, 5, 678000),
            utc(2024, 1, 2, 3, 4, 5, 679000),
        ),
        (
            "2024-01-02T03:04:05.1234567Z",
            utc(2024, 1, 2, 3, 4, 5, 123456),
            utc(2024, 1, 2, 3, 4, 5, 123457),
        ),
        ("9999", utc(9999, 1, 1), LATEST),
    ],
)
def test_partial_dates(text: str, start: datetime, after: datetime) -> None:
    assert open_date(text) == (start, after)


@pytest.mark.parametrize(
    "text",
    [
        *("", "24", "2024-1", "2024-13", "2024-02-30", "0000", "2024-01-02T25:00Z", "yesterday"),
        *("2024-01-02T03:60Z", "2024-01-02 03:04", "2024-01-02T03:04:05+99:00", " 2024"),
        *("0001-01-01T00:00:00+14:00", "2024-01-02T03:04:05Z\n"),
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(ValueError, match=r"FHIR date|month|day|year"):
        open_date(text)


def test_a_period_ends_after_it_starts() -> None:
    assert open_period("2024", "2024") == (utc(2024, 1, 1), utc(2025, 1, 1))
    with pytest.raises(ValueError, match="ends before"):
        open_period("2025", "2024")


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    st.sampled_from(["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]),
)
def test_a_moment_lies_in_each_of_its_truncations(moment: datetime, form: str) -> None:
    start, after = open_date(moment.strftime(form))
    assert start <= moment.replace(tzinfo=UTC) < after
    assert after - start <= timedelta(days=366)
    assert (start, after) == (
        naive.first_moment(moment.strftime(form)),
        naive.after(moment.strftime(form)),
    )
