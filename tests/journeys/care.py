"""The example consortium `care` on free ports, driven by the `medfabric` command."""

import contextlib
import json
import os
import random
import re
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from network.engines.ports import get_taken, list_listeners
from network.topology.model import load_topology
from tests.journeys import forking
from tests.phi import search_bytes
from tests.ports import SHARES, get_share

DATA = Path(str(files("admin.demo"))) / "data"
FIRST_BASE, LAST_BASE = 11_000, 16_600  # below the ephemeral range, with 10,000 above each
SPAN = 200  # of one network's ports
EXAMPLE = Path(str(files("network.topology"))) / "examples" / "care.yaml"


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The result of a `--json` command."""
        document = json.loads(self.out)
        assert document["ok"], document
        return document["result"]

    def fault(self) -> dict[str, Any]:
        """The error of a `--json` command."""
        document = json.loads(self.out)
        assert not document["ok"], document
        error: dict[str, Any] = document["error"]
        return error


@dataclass(frozen=True)
class Care:
    """A folder with a network file; commands run in it."""

    folder: Path

    def run(self, *arguments: str, code: int | None = 0, stdin: str = "") -> Answer:
        """Run one command; with `code` it has to end so."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MEDFABRIC_")}
        done = forking.run(arguments, self.folder, environment, stdin)
        answer = Answer(done.returncode, done.stdout.strip(), done.stderr.strip())
        assert "Traceback" not in answer.err, answer.err
        assert not search_bytes(answer.err.encode()), "an error or note tells of a patient"
        assert code is None or answer.code == code, (arguments, answer)
        return answer

    def result(self, *arguments: str) -> Any:
        """The JSON result of a command that succeeds."""
        return self.run(*arguments, "--json").json()

    def result_of(self, *arguments: str, code: int) -> Any:
        """The JSON result of a command that says by its exit code what it found."""
        return self.run(*arguments, "--json", code=code).json()

    def enroll(self, name: str, **attributes: str) -> None:
        """Enrol an identity by its organisation's administrator."""
        given = [part for k, v in attributes.items() for part in ("--attr", f"{k}={v}")]
        self.run("identity", "enroll", name, *given)

    @property
    def network(self) -> Path:
        """The network's own folder."""
        return self.folder / ".medfabric" / "care"

    def port(self, organization: str) -> int:
        """The port of an organisation's peer."""
        topology = load_topology(self.folder / "network.yaml")
        return int(topology.organization(organization).peers[0].port)


@contextmanager
def running(care: Care) -> Iterator[None]:
    """The network is up within, and down afterwards whatever happened."""
    try:
        care.run("network", "up")
        yield
        keep_metrics(care)
    finally:
        care.run("network", "down", code=None)


def keep_metrics(care: Care) -> None:
    """What every node tells of itself lies beside its ledger, for the search after the tests."""
    topology = load_topology(care.folder / "network.yaml")
    for organization in topology.organizations:
        nodes: list[Any] = [*organization.peers, *organization.orderers]
        for node in nodes:
            address = f"http://127.0.0.1:{node.operations_port}/metrics"
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as page:
                (care.network / f"{organization.name}-{node.name}.metrics").write_bytes(page.read())


def write_network(folder: Path, engine: str = "") -> Care:
    """The folder holds the example with ports that are free now, and the demo's patients.

    Args:
        folder: an empty folder.
        engine: what runs the nodes; else what the environment variable JOURNEYS_ENGINE says, so
            that every journey can be taken on real Fabric as well.
    """
    engine = engine or os.environ.get("JOURNEYS_ENGINE", "embedded")
    text = EXAMPLE.read_text().replace("engine: embedded ", f"engine: {engine} ")
    (folder / "network.yaml").write_text(text)
    move_ports(folder / "network.yaml")
    for file in DATA.glob("*.*json"):
        shutil.copy(file, folder / file.name)
    return Care(folder)


def move_ports(file: Path) -> None:
    """The network file names ports that are free now, in the same order as before."""
    text = file.read_text()
    ports = sorted({int(port) for port in re.findall(r"port: (\d+)", text)})
    for base in islice(_bases(), 200):
        moved = text
        for index, port in enumerate(ports):
            moved = moved.replace(f"port: {port}}}", f"port: {base + 10 * index}}}")
        file.write_text(moved)
        if not get_taken(list_listeners(load_topology(file))):
            return
    raise AssertionError("no free ports for a network")


@cache
def _bases() -> Iterator[int]:
    """First ports of networks: another for each, and others than processes beside this one."""
    size = (LAST_BASE - FIRST_BASE) // SHARES
    first = FIRST_BASE + get_share() * size
    bases = [base + random.randrange(SPAN // 2) for base in range(first, first + size, SPAN)]
    random.shuffle(bases)
    return cycle(bases)
