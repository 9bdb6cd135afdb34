"""Structured log lines that carry no data of a transaction.

A line has the transaction's id, channel, status and duration. Never an argument, key, value,
transient entry or result, at any level: `debug` adds sizes and SHA-256 digests only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaincode.shim.handler import Invocation

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for this record."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(_extra_fields(record))
        if record.exc_info:
            line["frames"] = describe_frames(record.exc_info[1])
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """One readable line: `12:00:00.000 info  chaincode.shim.session: message (txid=…)`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for this record."""
        moment = datetime.fromtimestamp(record.created, UTC)
        fields = " ".join(f"{name}={value}" for name, value in _extra_fields(record).items())
        line = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d} {record.levelname.lower():<7} "
        line += f"{record.name}: {record.getMessage()}" + (f" ({fields})" if fields else "")
        if record.exc_info:
            line += f" [{describe_frames(record.exc_info[1])}]"
        return line


def configure_logging(level: str, form: str) -> None:
    """Send the `chaincode` loggers to stderr, as `json` or `text`, from `level` on.

    Only those: the root logger and the libraries' loggers stay as they are.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logger = logging.getLogger("chaincode")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


def log_transaction(
    logger: logging.Logger, invocation: Invocation, status: int, seconds: float
) -> None:
    """One line that a transaction has ended; status 0 means that it was cancelled.

    Those that succeed are told at `debug` only: a line each would be a third of what a small
    transaction costs, and `metrics` counts them.
    """
    if 0 < status < 400:
        level = logging.DEBUG
    else:
        level = logging.WARNING if status >= 500 or status == 0 else logging.INFO
    if not logger.isEnabledFor(level):
        return
    fields = _invocation_fields(invocation)
    fields |= {"status": status, "ms": round(seconds * 1000, 1)}
    if logger.isEnabledFor(logging.DEBUG):
        fields["sizes"] = describe_sizes(invocation.args)
    logger.log(level, "transaction ended" if status else "transaction cancelled", extra=fields)


def describe_failure(logger: logging.Logger, invocation: Invocation, error: Exception) -> None:
    """One line on an exception that the contract did not mean: its type and frames, no text."""
    fields = _invocation_fields(invocation)
    fields |= {"error": type(error).__name__, "frames": describe_frames(error)}
    logger.error("the chaincode failed", extra=fields)


def describe_frames(error: BaseException | None) -> str:
    """Where an exception came from, `file.py:12 function`, innermost last; no source, no values."""
    if error is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__, limit=-8)
    return " > ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames
    )


def describe_sizes(values: tuple[bytes, ...]) -> str:
    """Size and first digest digits of each value: enough to compare, nothing to read."""
    return " ".join(f"{len(raw)}:{hashlib.sha256(raw).hexdigest()[:8]}" for raw in values)


def _invocation_fields(invocation: Invocation) -> dict[str, Any]:
    return {"txid": invocation.tx_id, "channel": invocation.channel_id}


def _extra_fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
