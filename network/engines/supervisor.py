"""The daemon that keeps a network's nodes running: `python -m network.engines.supervisor RUN`.

It imports what the nodes have in common once and forks them, so that ten nodes are up in about
the time of one and share that memory. No gRPC object, thread or event loop may exist here before
a fork: this module and everything it preloads only import. Where forking is not safe (macOS) each
node is started as a fresh interpreter instead.

A node that ends without being asked to is started again, at once at first and then ever later.
"""

import contextlib
import ctypes
import fcntl
import gc
import importlib
import os
import runpy
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from network.engines import processplan
from network.engines.processes import Process, end, get_process, save, this_process
from network.engines.processplan import NodeProcess, NodeState
from network.node.serving.logs import describe_error

FIRST_DELAY = 0.2  # seconds before a node that ended is started again
LONGEST_DELAY = 10.0
SETTLED = 20.0  # seconds after which a node counts as healthy again
LOG_LIMIT = 32 * 1024 * 1024  # bytes; a longer log is put aside when the node starts
CAN_FORK = sys.platform.startswith("linux")


@dataclass(slots=True)
class _Watched:
    """A node under supervision."""

    node: NodeProcess
    process: Process | None = None
    since: float = 0.0
    restarts: int = 0
    failures: int = 0
    exit_code: int | None = None
    due: float = 0.0

    @property
    def report(self) -> NodeState:
        state = "running" if self.process else "waiting"
        return NodeState(
            self.node.name, state, self.process, self.restarts, self.exit_code, self.since
        )


class Supervisor:
    """Keeps the processes of one order running, in one thread."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._watched: dict[str, _Watched] = {}
        self._signals: set[int] = set()
        self._ending = False

    def serve(self) -> None:
        """Runs until SIGTERM; then every node has ended."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda received, _: self._signals.add(received))
        self._reload()
        while not self._signals & {signal.SIGTERM, signal.SIGINT}:
            if select.select([reading], [], [], self._pause())[0]:
                os.read(reading, 4096)
            if signal.SIGHUP in self._signals:
                self._signals.discard(signal.SIGHUP)
                self._reload()
            self._reap()
            self._start_due()
        self._end_all()

    def _reload(self) -> None:
        order = processplan.load_order(self._run)
        for module in order.preload if CAN_FORK else ():
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        wanted = {node.name: node for node in order.processes}
        leaving = [one for one in self._watched.values() if wanted.get(one.node.name) != one.node]
        end([one.process for one in leaving if one.process])
        self._reap()
        for one in leaving:
            del self._watched[one.node.name]
        for name, node in wanted.items():
            self._watched.setdefault(name, _Watched(node))
        # What exists now is shared with the children for good; the collector need not touch it.
        gc.collect()
        gc.freeze()
        self._start_due()

    def _pause(self) -> float | None:
        due = [one.due for one in self._watched.values() if one.process is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _start_due(self) -> None:
        changed = False
        for one in self._watched.values():
            if one.process is None and one.due <= time.monotonic():
                pid = _fork(one.node) if CAN_FORK else _spawn(one.node)
                one.process, one.since = get_process(pid), time.time()
                one.restarts += one.exit_code is not None
                changed = True
        if changed:
            self._report()

    def _reap(self) -> None:
        changed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            for one in self._watched.values():
                if one.process and one.process.pid == pid:
                    self._ended(one, os.waitstatus_to_exitcode(status))
                    changed = True
        if changed:
            self._report()

    def _ended(self, one: _Watched, exit_code: int) -> None:
        lived = time.time() - one.since
        one.failures = 1 if lived > SETTLED else one.failures + 1
        delay = min(FIRST_DELAY * 2 ** (one.failures - 1), LONGEST_DELAY)
        one.process, one.exit_code, one.due = None, exit_code, time.monotonic() + delay
        again = "" if self._ending else f"; again in {delay:.1f} s"
        _say(f"{one.node.name} ended with {exit_code} after {lived:.1f} s{again}")

    def _end_all(self) -> None:
        self._ending = True
        running = [one for one in self._watched.values() if one.process]
        for one in running:
            assert one.process is not None
            one.process.signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while running and time.monotonic() < deadline:
            self._reap()
            running = [one for one in running if one.process]
            time.sleep(0.01)
        end([one.process for one in running if one.process], patience=0)
        self._reap()

    def _report(self) -> None:
        processplan.save_report(self._run, [one.report for one in self._watched.values()])


def _fork(node: NodeProcess) -> int:
    """Starts the node as a copy of this process; its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(node, parent)
    return pid


def _become(node: NodeProcess, parent: int) -> NoReturn:
    """This process is the node and ends as it; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _tie_to_parent(node.name, parent)
        log = _open_log(node)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 256)  # the lock and the pipe are the supervisor's alone
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        os.chdir(node.folder)
        os.environ.update(node.environment)
        if node.program:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it; others need not
            os.execv(node.program, [node.program, *node.arguments])  # noqa: S606 no shell wanted
        sys.argv = [node.module, *node.arguments]
        runpy.run_module(node.module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ending:
        code = _exit_code(ending)
    except BaseException as error:
        sys.stderr.write(f"{describe_error(error)}\n")
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _exit_code(ending: SystemExit) -> int:
    if ending.code is None or isinstance(ending.code, int):
        return ending.code or 0
    sys.stderr.write(f"{ending.code}\n")
    return 1


def _spawn(node: NodeProcess) -> int:
    """Starts the node as a fresh interpreter; its process id."""
    command = [node.program] if node.program else [sys.executable, "-m", node.module]
    log = _open_log(node)
    try:
        return subprocess.Popen(
            [*command, *node.arguments],
            cwd=node.folder,
            env={**os.environ, **node.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ).pid
    finally:
        os.close(log)


def _open_log(node: NodeProcess) -> int:
    path = Path(node.log)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _tie_to_parent(name: str, parent: int) -> None:
    """The node ends when the supervisor does, however that ends, and `ps` shows its name."""
    libc = ctypes.CDLL(None, use_errno=True)
    set_death_signal, set_name = 1, 15  # PR_SET_PDEATHSIG, PR_SET_NAME: linux/prctl.h
    libc.prctl(set_death_signal, signal.SIGTERM, 0, 0, 0)
    libc.prctl(set_name, name.encode()[:15], 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked to be told
        os._exit(1)


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")
    sys.stderr.flush()


def main(arguments: list[str]) -> int:
    """Supervises the network whose `run` folder is given; one at a time."""
    run = Path(arguments[0]).resolve()
    lock = os.open(run / processplan.LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("another supervisor runs this network")
        return 1
    supervisor = Supervisor(run)
    save(run / processplan.SUPERVISOR, this_process())
    _say("supervisor started")
    try:
        supervisor.serve()
    finally:
        (run / processplan.SUPERVISOR).unlink(missing_ok=True)
        (run / processplan.REPORT).unlink(missing_ok=True)
        _say("supervisor ended")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
