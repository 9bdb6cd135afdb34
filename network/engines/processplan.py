"""What the supervisor is to run and what it tells about it: two small JSON files in `run/`.

`nodes.json` is the order (written by the engine), `state.json` the report (written by the
supervisor). SIGHUP makes the supervisor read the order again, SIGTERM ends it with all its nodes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from network.engines.processes import Process, write_whole

ORDER = "nodes.json"
REPORT = "state.json"
SUPERVISOR = "supervisor.json"
LOCK = "supervisor.lock"
LOG = "supervisor.log"


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """One process to keep running.

    Attributes:
        name: the node's name.
        module: the Python module to run, as `python -m` would.
        arguments: its arguments.
        folder: its working directory.
        log: the file that takes what it prints.
        environment: what is added to the supervisor's own environment.
        program: the executable file to run instead of a module; empty where there is none.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    folder: str
    log: str
    environment: Mapping[str, str] = field(default_factory=dict)
    program: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A program of ours that runs beside the nodes, such as an organisation's record exchange.

    Attributes:
        process: how it runs.
        kind: what it is, such as `exchange`.
        organization: whose it is.
        host: where it listens.
        port: its port.
    """

    process: NodeProcess
    kind: str
    organization: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Order:
    """All processes to keep running, and the modules they have in common."""

    nodes: tuple[NodeProcess, ...]
    preload: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()

    @property
    def processes(self) -> tuple[NodeProcess, ...]:
        """The nodes', then the services'."""
        return self.nodes + tuple(one.process for one in self.services)


@dataclass(frozen=True, slots=True)
class NodeState:
    """How a process is.

    Attributes:
        name: the node's name.
        state: `running`, or `waiting` for its next start after it ended.
        process: the process, when it runs.
        restarts: how often it was started again.
        exit_code: how it last ended; negative is the signal that ended it; None when it never did.
        since: when it was last started, in seconds since 1970.
    """

    name: str
    state: str
    process: Process | None
    restarts: int
    exit_code: int | None
    since: float


def save_order(run: Path, order: Order) -> None:
    """The order stands in the folder, private: an environment may name key files."""
    write_whole(run / ORDER, json.dumps(asdict(order), indent=1))


def load_order(run: Path) -> Order:
    """The order in the folder; empty when there is none."""
    try:
        kept = json.loads((run / ORDER).read_text())
    except FileNotFoundError:
        return Order(())
    services = (
        Service(**{**service, "process": _node(service["process"])}) for service in kept["services"]
    )
    return Order(
        tuple(_node(node) for node in kept["nodes"]), tuple(kept["preload"]), tuple(services)
    )


def _node(kept: dict[str, Any]) -> NodeProcess:
    return NodeProcess(**{**kept, "arguments": tuple(kept["arguments"])})


def save_report(run: Path, states: Sequence[NodeState]) -> None:
    """The report stands in the folder."""
    write_whole(run / REPORT, json.dumps([asdict(state) for state in states], indent=1))


def load_report(run: Path) -> list[NodeState]:
    """The last report; empty when there is none. A dead supervisor's may be out of date."""
    try:
        kept = json.loads((run / REPORT).read_text())
    except (FileNotFoundError, ValueError):
        return []
    return [
        NodeState(**{**one, "process": Process(**one["process"]) if one["process"] else None})
        for one in kept
    ]
