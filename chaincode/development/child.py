"""`python -m chaincode.development.child`: the process that holds one version of the code.

Its orders are the first line of its standard input. It loads the code and says so, or why it
cannot; on the line `serve` it listens. When its standard input ends, or at SIGTERM, running
transactions end and then it does. All it says are JSON lines on standard error.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import signal
import sys
import sysconfig
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path

import chaincode
from chaincode.errors import ConfigurationError
from chaincode.loading import load_chaincode
from chaincode.shim.dialer import ChaincodeDialer
from chaincode.shim.interface import Chaincode
from chaincode.shim.logs import configure_logging
from chaincode.shim.response import Response
from chaincode.shim.server import ChaincodeServer
from chaincode.shim.settings import (
    ClientSettings,
    ServerSettings,
    load_client_tls,
    load_server_tls,
    read_chaincode_id,
    read_server_address,
    validate_address,
)
from chaincode.shim.stub import Stub

logger = logging.getLogger("chaincode.development")

LOADED = "loaded"
NOT_LOADED = "not loaded"
LISTENING = "listening"
NOT_LISTENING = "not listening"
SERVE = "serve"

_INSTALLED = tuple(
    {sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "purelib", "platlib")}
)
_PACKAGE = Path(chaincode.__file__).parent
_OURS = (_PACKAGE, *(_PACKAGE / room for room in ("canonical", "development", "shim")))
"""Where what contracts stand on is written; the contracts' own folders are not among it."""

_label: ContextVar[str] = ContextVar("label", default="")


@dataclass(frozen=True, slots=True)
class Target:
    """One server to run.

    Attributes:
        label: whose it is, for the log; may be empty.
        environment: variables as `python -m chaincode` reads them: address, package id, TLS files.
        peer_address: `host:port` of the peer to dial; empty if peers dial the chaincode.
    """

    label: str
    environment: Mapping[str, str]
    peer_address: str = ""

    def client_settings(self, grace: float) -> ClientSettings:
        """For dialling `peer_address`, as the variables say. ConfigurationError."""
        return ClientSettings(
            chaincode_id=read_chaincode_id(self.environment),
            peer_address=validate_address(self.peer_address, "--peer-address"),
            tls=load_client_tls(self.environment),
            grace=grace,
        )

    def settings(self, grace: float) -> ServerSettings:
        """As the variables say, beside another server on the same port. ConfigurationError."""
        return ServerSettings(
            chaincode_id=read_chaincode_id(self.environment),
            address=read_server_address(self.environment),
            tls=load_server_tls(self.environment),
            grace=grace,
            share_port=True,
        )


@dataclass(frozen=True, slots=True)
class Orders:
    """What to load and where to serve it.

    Attributes:
        place: `module:name`.
        targets: the servers, all in this one process.
        grace: seconds that running transactions get at the end.
    """

    place: str
    targets: tuple[Target, ...]
    grace: float

    @property
    def one_at_a_time(self) -> bool:
        """Whether two versions cannot be at work at once: a peer takes one registration an id."""
        return any(target.peer_address for target in self.targets)

    def build(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def open_orders(line: str) -> Orders:
    """What `Orders.build` wrote."""
    raw = json.loads(line)
    targets = tuple(Target(**one) for one in raw["targets"])
    return Orders(raw["place"], targets, raw["grace"])


class _Labelled:
    """A chaincode whose log lines say which server ran it."""

    def __init__(self, label: str, inner: Chaincode) -> None:
        self._label, self._inner = label, inner

    async def init(self, stub: Stub) -> Response:
        _label.set(self._label)
        return await self._inner.init(stub)

    async def invoke(self, stub: Stub) -> Response:
        _label.set(self._label)
        return await self._inner.invoke(stub)


def list_own_files(place: str) -> list[str]:
    """The files of loaded modules that a developer may edit: not Python's and not installed ones,
    except those beside what is served."""
    served = sys.modules.get(place.partition(":")[0])
    beside = os.path.dirname(getattr(served, "__file__", None) or "") or None
    found = set()
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or not path.endswith(".py"):
            continue
        if not path.startswith(_INSTALLED) or os.path.dirname(path) == beside:
            found.add(os.path.abspath(path))
    return sorted(found)


def describe_problem(error: BaseException) -> str:
    """`assets.py:12: NameError: name 'x' is not defined`, the place being the developer's own."""
    name = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{_shorten(error.filename or '?')}:{error.lineno}: {name}: {error.msg}"
    if isinstance(error, ConfigurationError):
        return str(error)
    text = str(error).partition("\n")[0]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_code(frame)]
    own = [frame for frame in frames if not _is_foreign(frame.filename)] or frames
    place = f"{_shorten(own[-1].filename)}:{own[-1].lineno}: " if own else ""
    return f"{place}{name}: {text}"


def _is_code(frame: traceback.FrameSummary) -> bool:
    return not frame.filename.startswith("<")


def _is_foreign(filename: str) -> bool:
    """Whether the developer of a contract has not written this file."""
    return Path(filename).parent in _OURS or filename.startswith(_INSTALLED)


def _shorten(filename: str) -> str:
    relative = os.path.relpath(filename)
    return filename if relative.startswith("..") else relative


def _load(place: str) -> Chaincode | None:
    try:
        importlib.import_module(place.partition(":")[0])  # for the error's place
        loaded = load_chaincode(place)
    except (Exception, SystemExit) as error:
        files = list_own_files(place)
        if isinstance(error, SyntaxError) and error.filename:
            files.append(os.path.abspath(error.filename))
        problem = describe_problem(error)
        logger.error(NOT_LOADED, extra={"problem": problem, "files": files})
        return None
    logger.info(LOADED, extra={"files": list_own_files(place)})
    return loaded


class _Dialling:
    """A dialer with a server's start and stop."""

    def __init__(self, dialer: ChaincodeDialer) -> None:
        self._dialer = dialer

    async def start(self) -> None:
        self._running = asyncio.create_task(self._dialer.run())

    async def stop(self) -> None:
        await self._dialer.stop()
        await self._running


def _open(target: Target, grace: float, loaded: Chaincode) -> ChaincodeServer | _Dialling:
    served = _Labelled(target.label, loaded)
    if target.peer_address:
        return _Dialling(ChaincodeDialer(target.client_settings(grace), served))
    return ChaincodeServer(target.settings(grace), served)


async def _serve(orders: Orders, loaded: Chaincode) -> bool:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_reader(sys.stdin.fileno(), stopping.set)  # nothing more is said there, but its end
    servers: list[ChaincodeServer | _Dialling] = []
    try:
        for target in orders.targets:
            servers.append(_open(target, orders.grace, loaded))
            await servers[-1].start()
    except ConfigurationError as error:
        logger.error(NOT_LISTENING, extra={"problem": str(error)})
        return False
    logger.info(LISTENING)
    await stopping.wait()
    loop.remove_reader(sys.stdin.fileno())
    await asyncio.gather(*(server.stop() for server in servers))
    return True


def _mark(record: logging.LogRecord) -> bool:
    record.label = _label.get()
    return True


def main() -> int:
    """Follow the orders on standard input; 0 when it was asked to end."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.dup2(2, 1)  # what the code prints joins our own lines
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the reloader's, which then ends us
    # Python trusts a cached module whose source has the same second and size; a quick edit of one
    # character would be missed.
    sys.dont_write_bytecode = True
    configure_logging("debug", "json")  # every transaction is told
    logging.getLogger("chaincode").handlers[0].addFilter(_mark)
    orders = open_orders(sys.stdin.readline())
    loaded = _load(orders.place)
    if loaded is None or sys.stdin.readline().strip() != SERVE:
        return 1
    try:
        import uvloop
    except ImportError:  # not on Windows
        return 0 if asyncio.run(_serve(orders, loaded)) else 1
    return 0 if uvloop.run(_serve(orders, loaded)) else 1


if __name__ == "__main__":
    sys.exit(main())
