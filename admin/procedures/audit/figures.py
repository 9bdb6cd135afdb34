"""What a report counts: totals, a time line, and bars by organisation, purpose and hour. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from chaincode.audit.model import AuditEntry, Kind

MOST_COLUMNS = 62
"""Columns that a time line has at most: two months of days."""
MOST_BARS = 8

PURPOSES = {
    "TREAT": "Treatment",
    "ETREAT": "Emergency treatment",
    "BTG": "Break the glass",
    "HPAYMT": "Payment",
    "CLMATTCH": "Claim attachment",
    "COVERAGE": "Coverage",
    "ELIGVER": "Eligibility",
    "HOPERAT": "Operations",
    "CAREMGT": "Care management",
    "HQUALIMP": "Quality",
    "FRAUD": "Fraud detection",
    "HRESCH": "Research",
    "CLINTRCH": "Clinical trial",
    "HMARKT": "Marketing",
    "PUBHLTH": "Public health",
    "PATRQT": "At the patient's request",
    "FAMRQT": "At the family's request",
    "PWATRNY": "Power of attorney",
}
"""v3-ActReason codes in a patient's words; a code that is not here stands for itself."""


class Verdict(StrEnum):
    """How an access was decided, as a report colours it."""

    PERMITTED = "permitted"
    EMERGENCY = "emergency"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Column:
    """One step of a time line: its first moment, its label, and counts by verdict."""

    start: datetime
    label: str
    counts: dict[Verdict, int]


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart."""

    label: str
    counts: dict[Verdict, int]

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that a report draws. `hours[weekday][hour]` counts accesses, Monday first, UTC."""

    asked: int
    verdicts: dict[Verdict, int]
    released: int
    recipients: int
    emergencies: int
    open_emergencies: int
    columns: tuple[Column, ...]
    organizations: tuple[Bar, ...]
    purposes: tuple[Bar, ...]
    hours: tuple[tuple[int, ...], ...]


def count_figures(entries: Iterable[AuditEntry]) -> Figures:
    """Return the figures of a trail."""
    trail = list(entries)
    decided = [entry for entry in trail if entry.kind is Kind.ACCESS_DECIDED and entry.at]
    disclosed = [e for e in trail if e.kind in (Kind.ACCESS_RELEASED, Kind.CLAIM_SUBMITTED)]
    opened = {entry.subject for entry in trail if entry.kind is Kind.BREAK_GLASS}
    reviewed = {entry.subject for entry in trail if entry.kind is Kind.BREAK_GLASS_REVIEWED}
    return Figures(
        asked=len(decided),
        verdicts=_counts(decided),
        released=len(disclosed),
        recipients=len({(entry.recipient_msp_id, entry.recipient) for entry in disclosed}),
        emergencies=len(opened),
        open_emergencies=len(opened - reviewed),
        columns=_columns(decided),
        organizations=_bars(decided, lambda entry: entry.msp_id),
        purposes=_bars(decided, lambda entry: PURPOSES.get(entry.purpose, entry.purpose)),
        hours=_hours(decided),
    )


def judge(entry: AuditEntry) -> Verdict:
    """Return how an access was decided, in a report's terms."""
    if entry.verdict != "PERMIT":
        return Verdict.DENIED
    return Verdict.EMERGENCY if entry.purpose in ("BTG", "ETREAT") else Verdict.PERMITTED


def _counts(entries: Iterable[AuditEntry]) -> dict[Verdict, int]:
    counted = Counter(judge(entry) for entry in entries)
    return {verdict: counted[verdict] for verdict in Verdict}


def _bars(entries: list[AuditEntry], name: Callable[[AuditEntry], str]) -> tuple[Bar, ...]:
    groups: dict[str, list[AuditEntry]] = {}
    for entry in entries:
        groups.setdefault(name(entry) or "not said", []).append(entry)
    bars = [Bar(label, _counts(group)) for label, group in groups.items()]
    bars.sort(key=lambda bar: (-bar.total, bar.label))
    if len(bars) > MOST_BARS:
        rest = [entry for bar in bars[MOST_BARS - 1 :] for entry in groups[bar.label]]
        bars = [*bars[: MOST_BARS - 1], Bar("others", _counts(rest))]
    return tuple(bars)


def _hours(entries: list[AuditEntry]) -> tuple[tuple[int, ...], ...]:
    counted = Counter((e.at.weekday(), e.at.hour) for e in entries if e.at)
    return tuple(tuple(counted[day, hour] for hour in range(24)) for day in range(7))


def _columns(entries: list[AuditEntry]) -> tuple[Column, ...]:
    """A time line from the first access to the last, in the finest steps that fit."""
    times = [entry.at.astimezone(UTC) for entry in entries if entry.at]
    if not times:
        return ()
    starts, step = _choose_step(min(times), max(times))
    groups: dict[datetime, list[AuditEntry]] = {start: [] for start in starts}
    for entry in entries:
        if entry.at:
            groups[step.floor(entry.at.astimezone(UTC))].append(entry)
    return tuple(Column(s, s.strftime(step.label), _counts(group)) for s, group in groups.items())


@dataclass(frozen=True, slots=True)
class _Step:
    floor: Callable[[datetime], datetime]
    following: Callable[[datetime], datetime]
    label: str


def _choose_step(first: datetime, last: datetime) -> tuple[list[datetime], _Step]:
    for step in _STEPS:
        starts = _list_starts(step.floor(first), step.following, last)
        if starts is not None:
            return starts, step
    raise AssertionError("an accounting's six years always fit")


def _list_starts(
    start: datetime, following: Callable[[datetime], datetime], last: datetime
) -> list[datetime] | None:
    starts = []
    while start <= last:
        starts.append(start)
        if len(starts) > MOST_COLUMNS:
            return None
        start = following(start)
    return starts


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _day(moment: datetime) -> datetime:
    return _hour(moment).replace(hour=0)


def _week(moment: datetime) -> datetime:
    return _day(moment) - timedelta(days=moment.weekday())


def _month(moment: datetime) -> datetime:
    return _day(moment).replace(day=1)


def _year(moment: datetime) -> datetime:
    return _month(moment).replace(month=1)


_STEPS = (
    _Step(_hour, lambda start: start + timedelta(hours=1), "%d %b %H:00"),
    _Step(_day, lambda start: start + timedelta(days=1), "%d %b"),
    _Step(_week, lambda start: start + timedelta(days=7), "%d %b"),
    _Step(_month, lambda start: _month(start + timedelta(days=32)), "%b %Y"),
    _Step(_year, lambda start: start.replace(year=start.year + 1), "%Y"),
)
