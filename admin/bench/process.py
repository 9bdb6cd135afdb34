"""What a process has used, from Linux's /proc; elsewhere nothing is known."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from admin.bench.statistics import Usage

_PROC = Path("/proc")


def read_usage(pid: int) -> Usage | None:
    """Processor time and memory of a process, None where it cannot be read."""
    try:
        # proc_pid_stat(5): the name in parentheses may hold anything, so count from its end.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    return Usage(cpu=(int(fields[11]) + int(fields[12])) / ticks, memory=int(fields[21]) * page)


def describe_machine() -> dict[str, Any]:
    """What figures depend on: processors, system, machine, Python."""
    return {
        "processors": os.cpu_count(),
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def read_own_cpu() -> float:
    """Seconds of processor time that this process has used, with all its threads."""
    times = os.times()
    return times.user + times.system


def subtract(after: Usage | None, before: Usage | None) -> Usage | None:
    """What was used between two readings, and the memory at the later one."""
    if after is None or before is None:
        return None
    return Usage(cpu=after.cpu - before.cpu, memory=after.memory)
