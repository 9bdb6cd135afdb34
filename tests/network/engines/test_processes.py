"""Processes are known by id and start, and only ours are ended."""

import os
import subprocess
import sys
import time
from pathlib import Path

from network.engines import processes
from network.engines.processes import Process

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('ready', flush=True); time.sleep(60)",
]


def test_this_process_is_alive_and_a_stranger_with_its_id_is_not() -> None:
    assert processes.this_process().alive
    stranger = Process(os.getpid(), "another moment")
    assert not stranger.alive
    assert not stranger.signal(0)


def test_a_process_that_ended_is_not_alive_though_nobody_reaped_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    process = processes.get_process(child.pid)
    deadline = time.monotonic() + 60
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not process.alive
    child.wait()


def test_processes_are_asked_and_then_killed() -> None:
    polite = subprocess.Popen(SLEEP)
    stubborn = subprocess.Popen(STUBBORN, stdout=subprocess.PIPE)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    both = [processes.get_process(polite.pid), processes.get_process(stubborn.pid)]
    processes.end(both, patience=0.3)
    assert (polite.wait(60), stubborn.wait(60)) == (-15, -9)
    stubborn.stdout.close()


def test_a_file_tells_a_process_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "pid.json"
    assert processes.load(file) is None
    processes.save(file, processes.this_process())
    assert processes.load(file) == processes.this_process()
    assert file.stat().st_mode & 0o777 == 0o600
    processes.save(file, Process(os.getpid(), "another moment"))
    assert processes.load(file) is None
    file.write_text("{")
    assert processes.load(file) is None
