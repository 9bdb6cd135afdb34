"""The supervisor: starts what it is told, starts again what ends, ends with everything."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from network.engines import processes, processplan
from network.engines.processes import Process
from network.engines.processplan import NodeProcess, NodeState, Order


class Supervised:
    """A supervisor over a folder, with nodes that are one-line modules."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.run.mkdir()
        self.modules = folder / "modules"
        self.modules.mkdir()
        self.folder = folder
        self.child: subprocess.Popen[bytes] | None = None

    def node(self, name: str, code: str, **environment: str) -> NodeProcess:
        (self.modules / f"{name}.py").write_text(code)
        return NodeProcess(
            name, name, ("argument",), str(self.folder), str(self.folder / f"{name}.log"),
            environment,
        )  # fmt: skip

    def program(self, name: str, script: str) -> NodeProcess:
        file = self.modules / f"{name}.sh"
        file.write_text(script)
        file.chmod(0o755)
        log = str(self.folder / f"{name}.log")
        return NodeProcess(
            name, "", ("argument",), str(self.folder), log, {"WORD": "given"}, program=str(file)
        )

    def order(self, *nodes: NodeProcess, preload: tuple[str, ...] = ()) -> None:
        processplan.save_order(self.run, Order(nodes, preload))
        if self.child:
            self.child.send_signal(signal.SIGHUP)

    def start(self) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "network.engines.supervisor", str(self.run)],
            env={**os.environ, "PYTHONPATH": str(self.modules)},
            stderr=subprocess.DEVNULL,
        )

    def states(self) -> dict[str, NodeState]:
        return {one.name: one for one in processplan.load_report(self.run)}

    def wait(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not happened():
            assert time.monotonic() < deadline, self.states()
            time.sleep(0.02)

    def started(self, name: str, restarts: int = 0) -> Process:
        """The node's process once the report tells it: a node may speak before that."""

        def is_told() -> bool:
            state = self.states().get(name)
            return state is not None and state.restarts == restarts and state.process is not None

        self.wait(is_told)
        process = self.states()[name].process
        assert process is not None
        return process

    def log(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def end(self) -> None:
        if self.child and self.child.poll() is None:
            self.child.terminate()
            self.child.wait(120)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    made = Supervised(tmp_path)
    yield made
    made.end()


FOREVER = "import os, sys, time\nprint(sys.argv[1:], os.environ.get('COLOUR'))\ntime.sleep(60)\n"


def test_nodes_run_with_their_arguments_and_end_with_the_supervisor(
    supervised: Supervised,
) -> None:
    supervised.order(
        supervised.node("one_node", FOREVER, COLOUR="red"), supervised.node("two_node", FOREVER)
    )
    supervised.start()
    supervised.wait(lambda: "['argument'] red" in supervised.log("one_node"))
    supervised.wait(lambda: "['argument'] None" in supervised.log("two_node"))
    running = [supervised.started(name) for name in ("one_node", "two_node")]
    assert len({process.pid for process in running}) == 2
    assert processes.load(supervised.run / processplan.SUPERVISOR) is not None
    supervised.end()
    assert not any(process.alive for process in running)
    assert not (supervised.run / processplan.SUPERVISOR).exists()
    assert supervised.states() == {}


def test_a_program_runs_as_a_node_does(supervised: Supervised) -> None:
    script = '#!/bin/sh\necho "$@" $WORD\nexec sleep 60\n'
    supervised.order(supervised.program("real", script))
    supervised.start()
    supervised.wait(lambda: supervised.log("real") == "argument given\n")
    os.kill(supervised.started("real").pid, signal.SIGKILL)
    supervised.wait(lambda: supervised.log("real").count("argument given") == 2)
    second = supervised.started("real", restarts=1)
    if sys.platform.startswith("linux"):  # tied to its supervisor, whatever it has become
        assert supervised.child is not None
        supervised.child.kill()
    else:
        supervised.end()
    supervised.wait(lambda: not second.alive)


def test_a_killed_node_is_started_again(supervised: Supervised) -> None:
    supervised.order(supervised.node("node", FOREVER))
    supervised.start()
    supervised.wait(lambda: supervised.log("node").count("argument") == 1)
    first = supervised.started("node")
    os.kill(first.pid, signal.SIGKILL)
    supervised.wait(lambda: supervised.log("node").count("argument") == 2)
    assert supervised.started("node", restarts=1) != first
    assert supervised.states()["node"].exit_code == -9


def test_a_node_that_keeps_ending_is_started_ever_later(supervised: Supervised) -> None:
    supervised.order(supervised.node("node", "raise SystemExit('no key here')"))
    supervised.start()
    supervised.wait(lambda: supervised.log("node").count("no key here") >= 3)
    # 0.2 s after the first, 0.4 s after the second: not a busy loop.
    time.sleep(0.3)
    assert supervised.log("node").count("no key here") <= 4
    supervised.wait(lambda: supervised.states()["node"].exit_code == 1)


def test_a_new_order_starts_changes_and_stops(supervised: Supervised) -> None:
    stays = supervised.node("stays", FOREVER)
    leaves = supervised.node("leaves", FOREVER)
    supervised.order(stays, leaves, supervised.node("changes", FOREVER, COLOUR="red"))
    supervised.start()
    supervised.wait(lambda: "red" in supervised.log("changes"))
    # The report comes after the last start, and a node may speak before that.
    supervised.wait(lambda: len(supervised.states()) == 3)
    before = supervised.states()
    changed = supervised.node("changes", FOREVER, COLOUR="blue")
    supervised.order(stays, changed, supervised.node("comes", FOREVER))
    supervised.wait(lambda: "blue" in supervised.log("changes"))
    supervised.wait(lambda: "argument" in supervised.log("comes"))
    supervised.wait(lambda: "comes" in supervised.states())
    after = supervised.states()
    assert set(after) == {"stays", "changes", "comes"}
    assert after["stays"].process == before["stays"].process
    gone = before["leaves"].process
    assert gone is not None
    assert not gone.alive


def test_nodes_end_when_the_supervisor_is_killed(supervised: Supervised) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux ties a process to its parent")
    supervised.order(supervised.node("node", FOREVER))
    supervised.start()
    supervised.wait(lambda: "argument" in supervised.log("node"))
    process = supervised.started("node")
    assert supervised.child is not None
    supervised.child.kill()
    supervised.child.wait(60)
    supervised.wait(lambda: not process.alive)


def test_what_nodes_have_in_common_is_imported_once(supervised: Supervised) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("nodes are forked on Linux only")
    (supervised.modules / "heavy.py").write_text("import os\nPID = os.getpid()\n")
    code = "import os, heavy, time\nprint(heavy.PID == os.getppid())\ntime.sleep(60)\n"
    supervised.order(supervised.node("node", code), preload=("heavy", "there_is_no_such"))
    supervised.start()
    supervised.wait(lambda: "True" in supervised.log("node"))


def test_one_supervisor_at_a_time(supervised: Supervised) -> None:
    supervised.order(supervised.node("node", FOREVER))
    supervised.start()
    supervised.wait(lambda: "argument" in supervised.log("node"))
    second = subprocess.run(
        [sys.executable, "-m", "network.engines.supervisor", str(supervised.run)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert second.returncode == 1
    assert "another supervisor" in second.stderr
    assert processes.load(supervised.run / processplan.SUPERVISOR) is not None
