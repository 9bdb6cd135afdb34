"""What engines on this machine have in common: nodes as processes under one supervisor.

`up` can be called again at any time: it does what is missing and leaves the rest. Nothing is
written before it is known that every address is free. Which program a node is stands in
`embedded` and in `fabric`.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from network.client.profile import Surroundings
from network.engines import artefacts, processes, processplan
from network.engines.engine import (
    EngineError,
    NodeStatus,
    NotReadyError,
    PortsTakenError,
    Say,
    ServedChaincode,
)
from network.engines.nodefiles import (
    MATERIAL,
    Layout,
    build_settings,
    digest_material,
)
from network.engines.ports import (
    Listener,
    get_taken,
    list_exchange_listeners,
    list_listeners,
    list_service_listeners,
    wait_until_answered,
)
from network.engines.processplan import NodeProcess, NodeState, Order, Service
from network.engines.status import get_status
from network.topology.values import Node

TROUBLE = 3  # restarts after which a node that does not answer is given up
NODE_SETTINGS = ("CORE_", "ORDERER_", "FABRIC_CFG_PATH", "FABRIC_CA_", "CHAINCODE_")
GRACE = 1.0  # seconds for the other nodes once one is given up
LOG_LINES = 5  # of a failed node's log that an error shows


class LocalEngine(ABC):
    """Runs a topology's nodes as processes of this machine.

    Attributes:
        preload: modules that the supervisor imports once for all nodes that are ours.
    """

    preload: tuple[str, ...] = ()

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.topology = surroundings.topology
        self.layout = Layout(surroundings.folder)

    @abstractmethod
    def validate_programs(self) -> None:
        """What the nodes run is here and fits the network file; raises `EngineError`."""

    @abstractmethod
    def make_process(self, node: Node) -> NodeProcess:
        """The node's folder holds its settings; returns the process that runs on them."""

    def validate(self) -> None:
        """See `Engine`."""
        self._validate_ledgers()
        self.validate_programs()
        self._validate_free(list_listeners(self.topology) + list_exchange_listeners(self.topology))

    def _validate_ledgers(self) -> None:
        """No other engine's ledgers lie here: its nodes keep them in another form."""
        before, name = self.layout.engine, self.topology.engine.value
        if before is not None and before != name:
            raise EngineError(
                f"the ledgers in {self.layout.folder} are those of engine: {before}, "
                f"and {self.surroundings.file.name} says engine: {name}",
                f"set engine: {before}, name the network otherwise, or delete its ledgers and keys "
                "with: medfabric network reset",
            )

    def _validate_free(self, listeners: Iterable[Listener]) -> None:
        ours = {state.name for state in self._running()}
        taken = get_taken([one for one in listeners if one.node not in ours])
        if taken:
            raise PortsTakenError(
                f"{taken[0]} is in use by another program"
                + (f", and {len(taken) - 1} more" if len(taken) > 1 else ""),
                "stop that program, or choose other ports in the network file",
                tuple(str(one) for one in taken),
            )

    def plan(self) -> list[str]:
        """What `up` would do, a sentence each."""
        steps = [f"make {text}" for text in artefacts.get_missing(self.layout, self.topology)]
        running = {state.name for state in self._running()}
        steps += [f"start {name}" for name in self.names() if name not in running]
        ordered = processplan.load_order(self.layout.run).nodes
        material = {node.name: node.environment.get(MATERIAL) for node in ordered}
        for node in self.topology.nodes():
            if node.fqdn in running and material.get(node.fqdn) != self._digest(node):
                steps.append(f"restart {node.fqdn}: its settings or certificates have changed")
        known = {*self.names(), *(one.process.name for one in self._services())}
        return steps + [f"stop {name}" for name in sorted(running) if name not in known]

    def _digest(self, node: Node) -> str:
        """What `up` would start the node from; nothing is written."""
        name, settings = build_settings(self.layout, self.topology, node)
        return digest_material(self.layout, node, name, settings)

    async def up(self, say: Say, *, timeout: float, retire: bool = True) -> None:
        """See `Engine`."""
        self.validate()
        say("keys, certificates and settings")
        self._make_folders()
        self.layout.keep_engine(self.topology.engine.value)
        with _only_one(self.layout.run):
            artefacts.make(self.layout, self.topology, datetime.now(UTC))
            order, before = self._order(self._services()), processplan.load_order(self.layout.run)
            if not retire:
                known = {node.name for node in order.nodes}
                leaving = tuple(node for node in before.nodes if node.name not in known)
                order = replace(order, nodes=order.nodes + leaving)
            ending = self._list_ending(order)
            if before != order or not self._supervisor():
                say(f"starting {len(order.processes)} nodes")
                self._start(order)
        say("waiting for the nodes")
        # One that is still to end answers, too.
        await _wait_ended(ending, timeout)
        await self._wait(timeout)

    async def serve(self, services: Sequence[Service], *, timeout: float) -> None:
        """These services run beside the nodes; raises `PortsTakenError` or `NotReadyError`."""
        self._validate_free(list_service_listeners(services))
        for service in services:
            for folder in (Path(service.process.folder), Path(service.process.log).parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _only_one(self.layout.run):
            order = processplan.load_order(self.layout.run)
            if order.services != tuple(services):
                self._start(replace(order, services=tuple(services)))
        await self._wait(timeout, only={one.process.name for one in services})

    async def down(self, say: Say) -> bool:
        """No node runs; whether one did."""
        supervisor = self._supervisor()
        states = processplan.load_report(self.layout.run)
        left = [state.process for state in states if state.process and state.process.alive]
        if not supervisor and not left:
            return False
        say("stopping the nodes")
        if supervisor:
            await asyncio.to_thread(processes.end, [supervisor], patience=15.0)
        # Where the supervisor was killed its nodes may be left.
        await asyncio.to_thread(processes.end, left)
        for name in (processplan.REPORT, processplan.SUPERVISOR):
            (self.layout.run / name).unlink(missing_ok=True)
        return True

    def wipe(self) -> None:
        """The network's folder is gone."""
        if self._supervisor():
            raise EngineError("the network is up", "take it down first: medfabric network down")
        if self.layout.folder.exists():
            shutil.rmtree(self.layout.folder)

    async def restart(self, node: str) -> None:
        """One node was stopped; the supervisor starts it again."""
        name = self._name(node)
        state = next((one for one in self._running() if one.name == name), None)
        if state is None or state.process is None:
            raise EngineError(f"{name} does not run", "bring it up: medfabric network up")
        await asyncio.to_thread(processes.end, [state.process])
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if any(one.name == name and one.process != state.process for one in self._running()):
                break
            await asyncio.sleep(0.05)
        await self._wait(30, only={name})

    async def status(self) -> list[NodeStatus]:
        """Every node, asked now."""
        states = self._states()
        if not self._supervisor():  # nobody starts what has ended again
            states = {state.name: state for state in self._running()}
        return await get_status(self.surroundings, self.layout, states, self._services())

    def log(self, node: str) -> Path:
        """A node's log; its name may be shortened while it is the only such."""
        return self.layout.log(self._name(node))

    def genesis_block(self, channel_id: str) -> bytes:
        """A channel's first block, made by `up`."""
        return (self.layout.channels / f"{channel_id}.block").read_bytes()

    def chaincodes(self) -> list[ServedChaincode]:
        """What the organisations' chaincode servers run."""
        return artefacts.build_packages(self.layout, self.topology)

    def chaincode_environment(self, served: ServedChaincode) -> Mapping[str, str]:
        """What an organisation's chaincode server is told: address, package id, TLS files."""
        return artefacts.chaincode_process(self.layout, self.topology, served).environment

    @asynccontextmanager
    async def lend_chaincode(
        self, organizations: Collection[str], *, timeout: float
    ) -> AsyncIterator[None]:
        """See `Engine`."""
        wanted = {f"chaincode.{self.topology.organization(name).domain}" for name in organizations}
        with _only_one(self.layout.run):
            order = processplan.load_order(self.layout.run)
            lent = tuple(node for node in order.nodes if node.name in wanted)
            self._validate_lendable(wanted - {node.name for node in lent})
            kept = tuple(node for node in order.nodes if node.name not in wanted)
            ending = self._list_ending(replace(order, nodes=kept))
            self._start(replace(order, nodes=kept))
        try:
            await _wait_ended(ending, timeout)
            yield
        finally:
            await self._take_back(lent, timeout)

    def _validate_lendable(self, missing: Collection[str]) -> None:
        if not self._supervisor():
            raise EngineError("the network is down", "bring it up: medfabric network up")
        if missing:
            raise EngineError(
                f"{', '.join(sorted(missing))} is not run by this network just now",
                "end the other development loop, or bring it up: medfabric network up",
            )

    def _list_ending(self, order: Order) -> dict[str, processes.Process]:
        """What runs by the present order and not, or otherwise, by the next."""
        present = {one.name: one for one in processplan.load_order(self.layout.run).processes}
        following = {one.name: one for one in order.processes}
        return {
            state.name: state.process
            for state in self._running()
            if state.process and present.get(state.name) != following.get(state.name)
        }

    async def _take_back(self, lent: Iterable[NodeProcess], timeout: float) -> None:
        with _only_one(self.layout.run):
            order = processplan.load_order(self.layout.run)
            known = {node.name for node in order.nodes}
            back = tuple(node for node in lent if node.name not in known)
            order = replace(order, nodes=order.nodes + back)
            if not self._supervisor():  # taken down meanwhile
                processplan.save_order(self.layout.run, order)
                return
            self._start(order)
        await self._wait(timeout, only={node.name for node in back})

    # The supervisor

    def _services(self) -> tuple[Service, ...]:
        return processplan.load_order(self.layout.run).services

    def _listeners(self) -> list[Listener]:
        return list_listeners(self.topology) + list_service_listeners(self._services())

    def _order(self, services: tuple[Service, ...]) -> Order:
        nodes = [self.make_process(node) for node in self.topology.nodes()]
        served = self.chaincodes()
        nodes += [artefacts.chaincode_process(self.layout, self.topology, one) for one in served]
        return Order(tuple(nodes), self.preload, services)

    def _start(self, order: Order) -> None:
        processplan.save_order(self.layout.run, order)
        supervisor = self._supervisor()
        if supervisor:
            supervisor.signal(signal.SIGHUP)
            return
        # A supervisor that was killed has left its last report, which tells nothing of the next.
        (self.layout.run / processplan.REPORT).unlink(missing_ok=True)
        with (self.layout.run / processplan.LOG).open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "network.engines.supervisor", str(self.layout.run)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env=_without_node_settings(os.environ),
            )

    def _supervisor(self) -> processes.Process | None:
        return processes.load(self.layout.run / processplan.SUPERVISOR)

    def _states(self) -> dict[str, NodeState]:
        return {state.name: state for state in processplan.load_report(self.layout.run)}

    def _running(self) -> list[NodeState]:
        return [one for one in self._states().values() if one.process and one.process.alive]

    async def _wait(self, timeout: float, only: set[str] | None = None) -> None:
        waiting = {
            asyncio.create_task(self._wait_for(one, timeout))
            for one in self._listeners()
            if only is None or one.node in only
        }
        late = await _find_late(waiting)
        if late:
            names = sorted({one.node for one in late})
            words = self._last_words(names)
            why = f": {words[-1].partition(': ')[2]}" if words else ""
            raise NotReadyError(
                f"{', '.join(names)} did not come up{why}",
                f"see its log: medfabric network logs {names[-1]}",
                tuple(words),
            )

    async def _wait_for(self, listener: Listener, timeout: float) -> Listener | None:
        """None when it answers; the listener when it does not, or its node keeps ending."""
        deadline = time.monotonic() + timeout
        before: int | None = None
        while time.monotonic() < deadline:
            if await wait_until_answered(listener, timeout=0.5):
                return None
            state = self._states().get(listener.node)
            if state is None:
                continue
            # What it went through before, killed by hand perhaps, is no reason to give it up.
            before = state.restarts if before is None else before
            if state.restarts - before >= TROUBLE and state.exit_code:
                return listener
        return listener

    def _last_words(self, names: Iterable[str]) -> list[str]:
        words: list[str] = []
        for name in names:
            try:
                lines = self.layout.log(name).read_text(errors="replace").splitlines()
            except OSError:
                lines = []
            words += [f"{name}: {line}" for line in lines[-LOG_LINES:]]
        return words

    # Names and folders

    def names(self) -> list[str]:
        """Every node and service, nodes first."""
        return list(dict.fromkeys(one.node for one in self._listeners()))

    def _name(self, wanted: str) -> str:
        names = self.names()
        found = [name for name in names if name == wanted] or [
            name for name in names if wanted.lower() in name.lower()
        ]
        if len(found) == 1:
            return found[0]
        told = ", ".join(found or names)
        raise EngineError(
            f"{wanted!r} names {'several nodes' if found else 'no node'}", f"name one of: {told}"
        )

    def _make_folders(self) -> None:
        self.layout.folder.parent.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.layout.folder, self.layout.channels, self.layout.run):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


async def _wait_ended(ending: Mapping[str, processes.Process], timeout: float) -> None:
    """None of the processes runs; raises `EngineError`."""
    deadline = time.monotonic() + timeout
    while left := [name for name, process in ending.items() if process.alive]:
        if time.monotonic() > deadline:
            raise EngineError(f"{', '.join(left)} does not end", "see: medfabric network logs")
        await asyncio.sleep(0.05)


def _without_node_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What nodes may inherit: not the variables by which Fabric's `peer` finds a peer to talk to.

    A node takes them for its own settings, and every node would get the same.
    """
    return {
        name: value for name, value in environment.items() if not name.startswith(NODE_SETTINGS)
    }


async def _find_late(waiting: set[asyncio.Task[Listener | None]]) -> list[Listener]:
    """Listeners that do not answer. Once one is given up, others may only be waiting for it."""
    late: list[Listener] = []
    while waiting:
        done, waiting = await asyncio.wait(
            waiting,
            timeout=GRACE if late else None,
            return_when=asyncio.FIRST_COMPLETED,
        )
        late += [found for task in done if (found := task.result()) is not None]
        if late and not done:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            break
    return late


class _only_one:  # noqa: N801 reads as what it does
    """Two `up` at the same time would write the same files: the second one waits."""

    def __init__(self, run: Path) -> None:
        self._path = run / "up.lock"
        self._file = -1

    def __enter__(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
