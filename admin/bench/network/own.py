"""A network of ours for measuring: two organisations with a peer each, AND policy, TLS throughout.

It is made in a folder, timed from nothing to a chaincode that answers, and runs the small chaincode
of `chaincode.samples.bench` in place of the one that its servers have by themselves.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import Any, Self

from admin.bench.generators import Caller, Target
from admin.bench.network.course import Side
from admin.bench.ports import find_free_ports
from admin.procedures.networks.bootstrap import bootstrap
from network.client.profile import Surroundings, load_surroundings
from network.engines.choice import open_engine
from network.engines.engine import Engine

LABEL = "medfabric"
CHAINCODE = "chaincode.samples.bench:chaincode"
UP_SECONDS = 180.0
LEND_SECONDS = 30.0
PORTS = 9
_NETWORK = """\
version: 1
name: bench
engine: embedded
host: 127.0.0.1
organizations:
  - {{name: Orderer, mspId: OrdererMSP, domain: orderer.example, role: orderer,
     orderers: [{{name: orderer0, port: {0}, adminPort: {1}, operationsPort: {2}}}]}}
  - {{name: Org1, mspId: Org1MSP, domain: org1.example, role: provider,
     chaincode: {{port: {3}}}, peers: [{{name: peer0, port: {4}, operationsPort: {5}}}]}}
  - {{name: Org2, mspId: Org2MSP, domain: org2.example, role: provider,
     chaincode: {{port: {6}}}, peers: [{{name: peer0, port: {7}, operationsPort: {8}}}]}}
channels:
  - name: care
    orderers: [Orderer]
    members: [Org1, Org2]
    batch: {{timeout: 500ms, maxMessages: 500, preferredBytes: 2MB}}
    chaincodes:
      - {{name: bench, endorsement: "AND('Org1MSP.peer','Org2MSP.peer')"}}
"""


class OwnNetwork:
    """Up inside `with`; `side` is how to measure it, `ready` the seconds that it took."""

    def __init__(self, folder: Path) -> None:
        """`folder`: where it is made; it must not have a network yet."""
        self._folder = folder
        self._runner = asyncio.Runner()
        self._closing = ExitStack()
        self._lent: AbstractAsyncContextManager[None] | None = None
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self.ready = 0.0
        self.side: Side

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / "network.yaml"
        file.write_text(_NETWORK.format(*find_free_ports(PORTS)))
        surroundings = load_surroundings(file)
        engine = open_engine(surroundings)
        self._closing.callback(self._runner.close)
        self._closing.callback(self._end_lending)
        self._closing.callback(lambda: self._run(engine.down(lambda text: None)))
        try:
            began = time.perf_counter()
            self._run(bootstrap(engine, lambda text: None, timeout=UP_SECONDS))
            self.ready = time.perf_counter() - began
            self._lend(engine)
            self.side = self._describe(engine, surroundings)
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _run(self, work: Any) -> Any:
        return self._runner.run(work)

    def _lend(self, engine: Engine) -> None:
        """The chaincode servers are ours now."""
        served = engine.chaincodes()
        lent = engine.lend_chaincode([one.organization for one in served], timeout=LEND_SECONDS)
        self._run(lent.__aenter__())
        self._lent = lent
        for one in served:
            environment = engine.chaincode_environment(one)
            log = self._closing.enter_context((self._folder / "chaincode.log").open("ab"))
            process = subprocess.Popen(
                [sys.executable, "-m", "chaincode", "--chaincode", CHAINCODE],
                env=os.environ | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            self._closing.callback(process.wait)
            self._closing.callback(process.terminate)
            self._servers[f"chaincode.{one.organization}"] = process
            _await_port(environment["CHAINCODE_SERVER_ADDRESS"])

    def _end_lending(self) -> None:
        # After the network is down: nothing is started again.
        if self._lent is not None:
            self._run(self._lent.__aexit__(None, None, None))

    def _describe(self, engine: Engine, surroundings: Surroundings) -> Side:
        nodes = self._run(engine.status())
        processes = {one.name: one.pid for one in nodes if one.pid is not None}
        peers = tuple(one.name for one in nodes if one.kind == "peer")
        processes |= {name: process.pid for name, process in self._servers.items()}
        profile = surroundings.profile("Org1/Admin")
        known = surroundings.wallet.find(profile.identity)
        caller = Caller(known.msp_id, folder=known.msp_folder)
        return Side(Target(LABEL, profile.endpoint, "care", "bench", caller), processes, peers)


def _await_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    end = time.monotonic() + LEND_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), 1.0).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
