"""FHIR dates, possibly partial, as half-open intervals of UTC time.

FHIR R4 datatypes, `Period`: "If the end of the period is 2012-02-03, any time on that day is
included." A date without a zone is read as UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_DATE = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d{2})(-(?P<day>\d{2})"
    r"(T(?P<hour>\d{2}):(?P<minute>\d{2})(:(?P<second>\d{2})(?P<fraction>\.\d{1,9})?)?"
    r"(?P<zone>Z|[+-]\d{2}:\d{2})?)?)?)?"
)
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


@lru_cache(maxsize=4096)
def open_date(text: str) -> tuple[datetime, datetime]:
    """Return the first moment that a FHIR date covers, and the first moment after it.

    Raises:
        ValueError: not a FHIR date, dateTime or instant.
    """
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError("not a FHIR date (expected YYYY, YYYY-MM, YYYY-MM-DD or a full instant)")
    part = found.groupdict()
    year, month, day = int(part["year"]), part["month"], part["day"]
    start = datetime(year, int(month or 1), int(day or 1), tzinfo=UTC)
    if month is None:
        return start, _bounded(lambda: start.replace(year=year + 1))
    if day is None:
        return start, _bounded(lambda: (start + timedelta(days=31)).replace(day=1))
    if part["hour"] is None:
        return start, _bounded(lambda: start + timedelta(days=1))
    start += timedelta(hours=_below(part["hour"], 24), minutes=_below(part["minute"], 60))
    start += timedelta(seconds=_below(part["second"] or "0", 61))
    fraction = part["fraction"]
    unit = timedelta(minutes=1) if part["second"] is None else timedelta(seconds=1)
    if fraction is not None:
        start += timedelta(microseconds=int(fraction[1:7].ljust(6, "0")))
        unit = timedelta(microseconds=10 ** max(0, 6 - len(fraction[1:])))
    try:
        start -= _offset(part["zone"])
    except OverflowError:
        raise ValueError("not a FHIR date: before the year 1 or after 9999") from None
    return start, _bounded(lambda: start + unit)


def open_period(start: str | None, end: str | None) -> tuple[datetime, datetime]:
    """Return the half-open interval of a FHIR Period; both of its ends are inclusive there.

    Raises:
        ValueError: a bound is not a FHIR date, or the period ends before it starts.
    """
    first = EARLIEST if start is None else open_date(start)[0]
    after = LATEST if end is None else open_date(end)[1]
    if first >= after:
        raise ValueError("the period ends before it starts")
    return first, after


def _below(digits: str, limit: int) -> int:
    value = int(digits)
    if value >= limit:
        raise ValueError("not a FHIR date: a part of the time is out of range")
    return value


def _offset(zone: str | None) -> timedelta:
    if zone in (None, "Z"):
        return timedelta()
    assert zone is not None
    offset = timedelta(hours=_below(zone[1:3], 15), minutes=_below(zone[4:6], 60))
    return -offset if zone[0] == "-" else offset


def _bounded(moment: Callable[[], datetime]) -> datetime:
    try:
        return moment()
    except (OverflowError, ValueError):
        return LATEST
