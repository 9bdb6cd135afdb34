"""Nodes' logs: their ends, and following one."""

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from network.engines.engine import Engine

PAUSE = 0.2  # seconds between two looks at a log


def read_logs(engine: Engine, node: str | None, lines: int) -> dict[str, list[str]]:
    """The last lines of a node's log, or of every node's, by node.

    Raises:
        EngineError: there is no such node.
    """
    logs = [engine.log(name) for name in ([node] if node else engine.names())]
    return {log.parent.name: read_end(log, lines) for log in logs}


def read_end(log: Path, lines: int) -> list[str]:
    """The log's last lines; none where it does not exist."""
    try:
        with log.open(errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, maxlen=lines)]
    except FileNotFoundError:
        return []


def follow_log(log: Path, lines: int) -> Iterator[str]:
    """The log's last lines and then each as it is written, for ever; a replaced log is followed."""
    yield from read_end(log, lines)
    position = log.stat().st_size if log.exists() else 0
    while True:
        size = log.stat().st_size if log.exists() else 0
        if size < position:
            position = 0
        if size > position:
            with log.open("rb") as file:
                file.seek(position)
                text = file.read()
            whole = text.rfind(b"\n") + 1
            position += whole
            yield from text[:whole].decode(errors="replace").splitlines()
        time.sleep(PAUSE)
