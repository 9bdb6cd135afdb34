"""The `medfabric` command in a process of its own, forked where Python and the program are loaded.

A journey runs hundreds of commands, and most of what a command costs is to start Python and to
import the program. `run` gives each command what it has on a terminal – a process, its arguments,
folder, environment, standard streams, exit code and the interpreter's own end – and only spares it
the imports: they were done once, in a process that has no thread, no event loop and no gRPC object
(as `network.engines.supervisor` does for nodes). Where forking is not safe (macOS) each command is
started as a fresh interpreter, as the guides' and the README's commands always are.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

from admin.cli.root import GROUPS
from network.engines.supervisor import CAN_FORK

PROGRAM = "admin.cli"
PATIENCE = 300  # seconds that a command may take on a busy machine

# What commands import when they run, and not before.
PACKAGES = ("admin.exchange", "admin.fhir", "admin.procedures", "admin.x12")
LIBRARIES = (
    "fhir.resources.R4B",
    "fsspec.implementations.local",
    "grpc.aio",
    "rich.progress",
    "rich.table",
)
LIMIT = 1 << 20  # bytes of one order


def run(
    arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str], stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """The command has ended; raises TimeoutExpired, having ended it, after PATIENCE."""
    if not CAN_FORK:
        return subprocess.run(
            [sys.executable, "-m", PROGRAM, *arguments],
            cwd=folder,
            env=dict(environment),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(stdin.encode())
        given.seek(0)
        code = _order(arguments, folder, environment, [given, out, err])
        return subprocess.CompletedProcess(arguments, code, _read(out), _read(err))


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


def _order(
    arguments: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str],
    streams: list[IO[bytes]],
) -> int:
    order = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
    reading, writing = os.pipe()
    try:
        try:
            fds = [*(stream.fileno() for stream in streams), writing]
            socket.send_fds(_server(), [json.dumps(order).encode()], fds)
        finally:
            os.close(writing)
        return _wait(reading, arguments)
    finally:
        os.close(reading)


def _wait(reading: int, arguments: tuple[str, ...]) -> int:
    """The exit code that was told, once nobody holds the other end: the process is gone."""
    told = b""
    while select.select([reading], [], [], PATIENCE)[0]:
        more = os.read(reading, 64)
        if not more:
            process, _, code = told.decode().partition("\n")
            assert process, "the process that forks commands has ended"
            return int(code) if code else -signal.SIGKILL
        told += more
    os.kill(int(told.split(b"\n")[0]), signal.SIGKILL)
    raise subprocess.TimeoutExpired(arguments, PATIENCE)


@cache
def _server() -> socket.socket:
    """The other end is a process that ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LIMIT)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", "tests.journeys.forking", str(theirs.fileno())],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    return ours


# --- the process that forks -----------------------------------------------------------------------


def _serve(orders: socket.socket) -> None:
    """Forks a process for every order until there will be none; returns in every fork, too."""
    _preload()
    assert threading.active_count() == 1
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    gc.collect()
    gc.freeze()
    while True:
        order, fds, _, _ = socket.recv_fds(orders, LIMIT, 4)
        if not order:
            return
        if os.fork() == 0:
            orders.close()
            _become(json.loads(order), fds)
            return
        for fd in fds:
            os.close(fd)


def _preload() -> None:
    inside = [
        module.name
        for package in map(importlib.import_module, PACKAGES)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    for name in (*(module for _, module, _ in GROUPS), *inside, *LIBRARIES):
        with contextlib.suppress(ImportError):  # the command tells of it
            importlib.import_module(name)


def _become(order: dict[str, Any], fds: list[int]) -> None:
    """This process is the command, as `python -m admin.cli` in its folder would be."""
    *streams, telling = fds
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.set_inheritable(telling, False)
    os.write(telling, f"{os.getpid()}\n".encode())
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path[0] = order["folder"]
    sys.argv = [PROGRAM, *order["arguments"]]
    code = 1
    try:
        runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        raise
    finally:
        os.write(telling, str(code).encode())


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
