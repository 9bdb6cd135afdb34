"""Durations in Go's notation ("500ms", "1m30s"), in whole nanoseconds.

Source: Go `time` package, fn ParseDuration and Duration.String.
"""

import re
from decimal import Decimal

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_MAX = 2**63 - 1


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a Go duration; raises ValueError with Go's text."""
    body = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if body == "0":
        return 0
    total, position = 0, 0
    while position < len(body):
        match = _PART.match(body, position)
        if match is None:
            raise ValueError(f'time: invalid duration "{text}"')
        total += int(Decimal(match.group(1)) * _UNITS[match.group(2)])
        position = match.end()
    if not body or total > _MAX:
        raise ValueError(f'time: invalid duration "{text}"')
    return -total if text.startswith("-") else total


def format_duration(nanoseconds: int) -> str:
    """Return the text Go's Duration.String gives: "500ms", "2s", "1m30s", "1h0m0s"."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest < _UNITS["s"]:
        unit = next(name for name in ("ms", "us", "ns") if rest >= _UNITS[name])
        return f"{sign}{_number(Decimal(rest) / _UNITS[unit])}{'µs' if unit == 'us' else unit}"
    minutes, rest = divmod(rest, _UNITS["m"])
    seconds = f"{_number(Decimal(rest) / _UNITS['s'])}s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else sign + seconds


def _number(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
