"""Log lines in Fabric's form, and the log specification that an operator may change at run time.

A specification (FABRIC_LOGGING_SPEC, /logspec) is `[logger[,logger]=]level[:…]`: the levels are
debug, info, warn or warning, error, panic, fatal; a segment without a logger sets the default, a
logger's name covers those below it ("orderer.common" → "orderer.common.broadcast").
Source: fabric-lib-go common/flogging/loggerlevels.go.
"""

import itertools
import logging
import os
import re
import sqlite3
import sys
import time
import traceback

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "dpanic": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
_NAMES = {logging.WARNING: "WARN", logging.CRITICAL: "FATAL"}
_LOGGER = re.compile(r"[A-Za-z0-9_#:.-]+")
DEFAULT_SPEC = "info"


class InvalidLogSpec(ValueError):
    """A log specification that cannot be read; the text is Fabric's."""


class LogSpec:
    """The active log specification of this process."""

    def __init__(self) -> None:
        self.text = DEFAULT_SPEC
        self._named: set[str] = set()

    def activate(self, text: str) -> None:
        """Let `text` decide from now on what is logged; empty text is "info".

        Raises:
            InvalidLogSpec: nothing has changed then.
        """
        default, levels = parse_spec(text)
        for name in self._named - set(levels):
            logging.getLogger(name).setLevel(logging.NOTSET)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        logging.getLogger().setLevel(default)
        self._named = set(levels)
        self.text = _format_spec(default, levels)


def parse_spec(text: str) -> tuple[int, dict[str, int]]:
    """The default level and each named logger's.

    Raises:
        InvalidLogSpec: naming the bad segment.
    """
    default, levels = logging.INFO, {}
    for segment in text.split(":") if text else []:
        names, separator, level = segment.rpartition("=")
        if level.lower() not in _LEVELS or (separator and not names) or "=" in names:
            raise InvalidLogSpec(f"invalid logging specification '{text}': bad segment '{segment}'")
        if not separator:
            default = _LEVELS[level.lower()]
        for name in names.split(",") if separator else []:
            if not _LOGGER.fullmatch(name.rstrip(".")):
                raise InvalidLogSpec(
                    f"invalid logging specification '{text}': bad logger name '{name}'"
                )
            levels[name.rstrip(".")] = _LEVELS[level.lower()]
    return default, levels


def start_logging(text: str = DEFAULT_SPEC) -> LogSpec:
    """Log to standard error in Fabric's form from now on; returns the specification in force.

    Raises:
        InvalidLogSpec: `text` cannot be read.
    """
    spec = LogSpec()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FabricFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    spec.activate(text)
    # They tell of each connection and each request.
    for noisy in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return spec


def one_line(text: object) -> str:
    """`text` for a log line, where a client had a say in it: no line break, not too long."""
    shown = str(text)[:500]
    return "".join(sign if sign.isprintable() else "?" for sign in shown)


class _FabricFormatter(logging.Formatter):
    """`2026-01-02 03:04:05.678 UTC 0001 INFO [logger] function -> text`."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count(1)

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        level = _NAMES.get(record.levelno, record.levelname)
        text = (
            f"{moment}.{int(record.msecs):03d} UTC {next(self._numbers):04x} {level} "
            f"[{record.name}] {record.funcName} -> {record.getMessage()}"
        )
        error = record.exc_info[1] if record.exc_info else None
        return text if error is None else f"{text}: {describe_error(error)}"


def describe_error(error: BaseException) -> str:
    """One line: an unexpected error's type and where it came from, and so with its causes.

    Its text is left out, since it may repeat a key or a value; but for what the system says
    (OSError, sqlite3.Error), which names files and states.
    """
    told, seen = [], set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        kind = type(at).__name__
        text = f": {one_line(at)}" if isinstance(at, OSError | sqlite3.Error) else ""
        told.append(f"{kind}{text} at {_describe_frames(at)}")
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return " after ".join(told)


def _describe_frames(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__, limit=-8)
    shown = (f"{os.path.basename(one.filename)}:{one.lineno} {one.name}" for one in frames)
    return " > ".join(shown) or "?"


def _format_spec(default: int, levels: dict[str, int]) -> str:
    named = [f"{name}={_level_name(level)}" for name, level in sorted(levels.items())]
    return ":".join([*named, _level_name(default)])


def _level_name(level: int) -> str:
    return _NAMES.get(level, logging.getLevelName(level)).lower()
