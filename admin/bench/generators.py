"""One or several processes that make the load of a round together.

One Python process can become the bottleneck before the chaincode does; then several share the
load. They are started anew (not forked: gRPC and forks do not mix), wait for each other before
each round, and keep their connections between rounds.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from admin.bench.load import Supply, run_load
from admin.bench.statistics import Measured
from admin.bench.workload import Workload, share
from network.client import Endpoint, Gateway
from network.rules.identity.identity import Signer, signer_from_pem
from network.topology.mspfolder import load_signer

READY_SECONDS = 120.0
"""How long a generator may take to start, or to sign its proposals."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, by the place of certificate and key: each generator reads them for itself.

    Attributes:
        msp_id: the organisation.
        folder: an MSP folder with both.
        certificate: else the certificate's PEM file.
        key: and the key's.
    """

    msp_id: str
    folder: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def open(self) -> Signer:
        """The signer. Raises OSError or ValueError: a file is missing or not what it should be."""
        if self.folder is not None:
            return load_signer(self.folder, self.msp_id)
        if self.certificate is None or self.key is None:
            raise ValueError("a caller needs an MSP folder, or a certificate and its key")
        return signer_from_pem(self.msp_id, self.certificate.read_bytes(), self.key.read_bytes())


@dataclass(frozen=True, slots=True)
class Target:
    """A chaincode behind a gateway.

    Attributes:
        label: what reports call it.
        endpoint: the gateway peer.
        channel: the channel.
        chaincode: the chaincode's name.
        caller: who calls.
        pid: the chaincode's process where it runs on this machine and is to be watched.
    """

    label: str
    endpoint: Endpoint
    channel: str
    chaincode: str
    caller: Caller
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    """A generator's part in one round."""

    target: Target
    workload: Workload
    series: str
    prepared: int


class GeneratorError(Exception):
    """A load generator died or did not answer in time."""


class _Worker:
    """The load of one process, with one connection a target."""

    def __init__(self) -> None:
        self._gateways: dict[Endpoint, Gateway] = {}

    def open(self, order: _Order) -> Supply:
        """The order's proposals, prepared."""
        target = order.target
        gateway = self._gateways.get(target.endpoint)
        if gateway is None:
            gateway = Gateway.connect(endpoint=target.endpoint, signer=target.caller.open())
            self._gateways[target.endpoint] = gateway
        contract = gateway.network(target.channel).contract(target.chaincode)
        supply = Supply(contract, order.workload, order.series)
        supply.prepare(order.prepared)
        return supply

    async def close(self) -> None:
        for gateway in self._gateways.values():
            await gateway.close()


class Generators:
    """Processes that make load together; use it with `with`."""

    def __init__(self, processes: int) -> None:
        """Raises GeneratorError: one did not start."""
        context = multiprocessing.get_context("spawn")
        self._ends: list[Connection] = []
        self._processes: list[Any] = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._ends.append(ours)
            self._processes.append(process)
        for end in self._ends:
            _receive(end, READY_SECONDS)

    def run(self, target: Target, workload: Workload, prepared: int = 0) -> list[Measured]:
        """One round; what each process measured.

        Args:
            target: what is called.
            workload: with what; its concurrency and count are shared out.
            prepared: proposals to sign ahead, over all processes.

        Raises:
            GeneratorError: a process died or did not answer in time.
        """
        run = secrets.token_hex(4)
        for index, (end, part, ahead) in enumerate(
            zip(self._ends, self._split(workload), share(prepared, len(self._ends)), strict=True)
        ):
            end.send(_Order(target, part, f"{run}-{index}", ahead))
        for end in self._ends:
            _receive(end, READY_SECONDS + prepared / 1000)
        for end in self._ends:
            end.send("go")
        return [_receive(end, None) for end in self._ends]

    def close(self) -> None:
        """The processes have ended."""
        with ExitStack() as stack:
            for end, process in zip(self._ends, self._processes, strict=True):
                stack.callback(process.join, 5)
                stack.callback(process.terminate)
                stack.callback(end.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _split(self, workload: Workload) -> Sequence[Workload]:
        parts = len(self._ends)
        counts: Sequence[int | None] = [None] * parts
        if workload.count is not None:
            counts = share(workload.count, parts)
        return [
            replace(workload, concurrency=concurrency, count=count)
            for concurrency, count in zip(share(workload.concurrency, parts), counts, strict=True)
        ]


def _receive(end: Connection, seconds: float | None) -> Any:
    try:
        if seconds is not None and not end.poll(seconds):
            raise GeneratorError(f"a load generator did not answer within {seconds:.0f} s")
        answer = end.recv()
    except (EOFError, OSError):
        raise GeneratorError("a load generator ended unexpectedly") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _serve(end: Connection) -> None:
    """A generator's process: orders in, measurements out, until the pipe closes."""
    try:
        from uvloop import run
    except ImportError:  # not on Windows
        run = asyncio.run
    try:
        run(_serve_orders(end))
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return


async def _serve_orders(end: Connection) -> None:
    worker = _Worker()
    end.send("ready")
    try:
        while True:
            order: _Order = await asyncio.to_thread(end.recv)
            try:
                supply = worker.open(order)
            except Exception as failure:
                end.send(failure)
                continue
            end.send("ready")
            await asyncio.to_thread(end.recv)
            end.send(await run_load(supply))
    finally:
        await worker.close()
