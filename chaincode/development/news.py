"""What the development loop has to tell. No argument, key, value or result is among it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Serving:
    """A version of the code is at work.

    Attributes:
        version: 1 for the first.
        seconds: from the change until its first transaction could come.
    """

    version: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Broken:
    """A version cannot be loaded: `problem` is `file:line: Error: text`; the old one works on."""

    problem: str
    still_serving: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction was answered; status 0 means that it was cancelled."""

    label: str
    tx_id: str
    status: int
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A contract raised what it did not mean to: the error's type and where, no text."""

    label: str
    tx_id: str
    error: str
    frames: str


@dataclass(frozen=True, slots=True)
class Printed:
    """A line that the code or a library printed."""

    text: str


News = Serving | Broken | Ended | Failed | Printed
Tell = Callable[[News], None]


def describe(news: News) -> str:
    """One line for people."""
    match news:
        case Serving(version, seconds):
            again = "serving" if version == 1 else f"serving the new code (version {version})"
            return f"✓ {again}, {seconds:.1f} s after the change" if version > 1 else f"✓ {again}"
        case Broken(problem, still_serving):
            rest = "the old code serves on" if still_serving else "waiting for a change"
            return f"✗ {problem}; {rest}"
        case Ended(label, tx_id, status, milliseconds):
            told = str(status) if status else "cancelled"
            return f"{told:>5} {milliseconds:8.1f} ms  {tx_id}  {label}".rstrip()
        case Failed(label, tx_id, error, frames):
            return f"      {error} at {frames}  {tx_id}  {label}".rstrip()
        case Printed(text):
            return text


def read_news(line: Mapping[str, Any]) -> News | None:
    """The news in a line of the server's log (`shim.logs.JsonFormatter`), if there is any."""
    message, label = line.get("message"), line.get("label", "")
    if message in ("transaction ended", "transaction cancelled"):
        return Ended(label, line["txid"], line["status"], line["ms"])
    if message == "the chaincode failed":
        return Failed(label, line["txid"], line["error"], line["frames"])
    if line.get("level") in ("warning", "error"):
        return Printed(f"{line['level']}: {message}")
    return None
