"""Durations and sizes as people write them: ``500ms``, ``3650d``, ``2MB``."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_DURATION_UNITS = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "y": 365 * 86_400.0,
}
_SIZE_UNITS = {"": 1, "b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|y)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?b)?", re.IGNORECASE)


def parse_duration(value: object) -> timedelta:
    """Return the time span; raises ValueError in plain words."""
    if isinstance(value, timedelta):
        return value
    text = value.strip() if isinstance(value, str) else ""
    span, position = timedelta(), 0
    while match := _DURATION.match(text, position):
        span += timedelta(seconds=float(match.group(1)) * _DURATION_UNITS[match.group(2)])
        position = match.end()
        if span > timedelta(days=36_500):
            raise ValueError("is longer than a hundred years")
    if not text or position != len(text):
        raise ValueError(
            f"should be a time span such as 500ms, 2s, 10m, 24h or 3650d, not {_show(value)}"
        )
    if span <= timedelta():
        raise ValueError("should be longer than nothing")
    return span


def parse_size(value: object) -> int:
    """Return bytes; K, M and G are powers of 1024 as in Fabric. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        text = str(value)
    else:
        text = value.strip() if isinstance(value, str) else ""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"should be a size such as 512KB, 2MB or 10MB, not {_show(value)}")
    size = int(float(match.group(1)) * _SIZE_UNITS[(match.group(2) or "").lower()])
    if not 0 < size < 2**32:
        raise ValueError("should be more than nothing and less than 4GB")
    return size


def format_duration(span: timedelta) -> str:
    """Return the span in the largest unit that gives a whole number."""
    milliseconds = round(span.total_seconds() * 1000)
    for unit in ("d", "h", "m", "s"):
        per_unit = round(_DURATION_UNITS[unit] * 1000)
        if milliseconds and milliseconds % per_unit == 0:
            return f"{milliseconds // per_unit}{unit}"
    return f"{milliseconds}ms"


def _show(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^(\d+(\.\d+)?\s*(ms|s|m|h|d|y))+$", "examples": ["500ms"]}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*([kKmMgG]?[bB])?$"},
                {"type": "integer", "minimum": 1},
            ],
            "examples": ["2MB"],
        }
    ),
]
