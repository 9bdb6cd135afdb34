"""Processes of ours: which they are, whether they still run, and ending them.

A process id alone may belong to a stranger after a restart of the machine, so that a process is
always kept together with the moment it started, and nothing is signalled whose moment differs.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process and when it started, as the system tells it (opaque text)."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        return get_start(self.pid) == self.started

    def signal(self, number: int) -> bool:
        """Whether the signal was sent; it is not when the process is gone."""
        if not self.alive:
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True


def this_process() -> Process:
    """The process that asks."""
    return get_process(os.getpid())


def get_process(pid: int) -> Process:
    """The process that has this id now."""
    return Process(pid, get_start(pid) or "gone")


def get_start(pid: int) -> str | None:
    """When a process started; None when there is none, or it has ended and waits to be reaped."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # Fields after the command, which stands in parentheses and may hold anything.
            fields = stat.read_text().rpartition(")")[2].split()
        except (OSError, IndexError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    found = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return None if not found or found.startswith("Z") else found.partition(" ")[2].strip()


def end(processes: Iterable[Process], *, patience: float = 10.0) -> None:
    """All the processes have ended: asked to first, killed when they do not within `patience` s."""
    left = [process for process in processes if process.signal(signal.SIGTERM)]
    deadline = time.monotonic() + patience
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [process for process in left if process.alive]
    for process in left:
        process.signal(signal.SIGKILL)
    while any(process.alive for process in left):
        time.sleep(0.02)


def save(path: Path, process: Process) -> None:
    """The file tells the process."""
    write_whole(path, json.dumps({"pid": process.pid, "started": process.started}))


def load(path: Path) -> Process | None:
    """The process that the file tells, if it still runs."""
    try:
        kept = json.loads(path.read_text())
        process = Process(int(kept["pid"]), str(kept["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return process if process.alive else None


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """The file holds the text, or what it held before: never a part."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    aside.replace(path)
