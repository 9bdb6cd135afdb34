"""What is called, how often and how: the same for every chaincode that is measured."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum


class Mode(Enum):
    """Which part of a transaction's journey is measured."""

    SUBMIT = "submit"  # endorse, order, wait until it is committed
    EVALUATE = "evaluate"  # one peer simulates; nothing is ordered
    ENDORSE = "endorse"  # every organisation that the policy needs simulates and signs


@dataclass(frozen=True, slots=True)
class Workload:
    """What every transaction calls.

    Attributes:
        mode: which part of the journey.
        function: the transaction's name.
        arguments: templates, see `fill`.
        size: bytes of `{value}`.
        concurrency: transactions in flight, over all processes.
        seconds: length of a round; None when `count` says it.
        count: transactions of a round; None when `seconds` says it.
        lead: with `seconds`, how long the load has run when the window opens.
    """

    mode: Mode
    function: str
    arguments: tuple[str, ...]
    size: int
    concurrency: int
    seconds: float | None = None
    count: int | None = None
    lead: float = 0.0


def fill(template: str, *, series: str, number: int, size: int) -> str:
    """An argument of one transaction.

    `{n}` is the transaction's number, `{key}` a key that no other transaction of this run has,
    `{value}` a text of `size` bytes that differs between transactions. Everything else, braces
    of JSON included, stays as it is.

    Args:
        template: the text.
        series: what tells this run and process from others.
        number: what tells the transaction within the series.
        size: bytes of `{value}`.
    """
    if template == "{key}":
        return f"{series}-{number}"
    if template == "{value}":
        return build_value(series, number, size)
    filled = template.replace("{n}", str(number)).replace("{key}", f"{series}-{number}")
    return filled.replace("{value}", build_value(series, number, size))


def build_value(series: str, number: int, size: int) -> str:
    """Hexadecimal digits, `size` of them: the same for the same transaction, and only for it."""
    digits = hashlib.sha256(f"{series}-{number}".encode()).hexdigest()
    return (digits * (size // len(digits) + 1))[:size]


def share(total: int, parts: int) -> list[int]:
    """A total in as equal parts as can be."""
    return [total // parts + (index < total % parts) for index in range(parts)]
