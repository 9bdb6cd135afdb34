"""`python -m chaincode`: serve the `health` chaincode (or another one) to Fabric peers."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from chaincode.errors import ConfigurationError
from chaincode.loading import load_chaincode
from chaincode.shim.dialer import ChaincodeDialer
from chaincode.shim.interface import Chaincode
from chaincode.shim.logs import configure_logging
from chaincode.shim.metrics import Metrics
from chaincode.shim.server import ChaincodeServer, validate_bindable
from chaincode.shim.session import DEFAULT_CAPACITY, Capacity, NoObserver, Observer
from chaincode.shim.settings import (
    ClientSettings,
    ServerSettings,
    load_client_tls,
    load_server_tls,
    read_chaincode_id,
    read_server_address,
    validate_address,
)

EXIT_USAGE = 2

_HELP = """Serve Python chaincode to Hyperledger Fabric peers (2.x and 3.x).

As a service (the default) it listens, and peers dial it: package the chaincode with type
"ccaas" and this address. With --peer-address it dials the peer instead, as a chaincode that the
peer launched.

\b
Environment (flags win):
  CHAINCODE_SERVER_ADDRESS     host:port to listen on
  CHAINCODE_ID                 the package id (also CORE_CHAINCODE_ID_NAME)
  CHAINCODE_TLS_DISABLED       true | false
  CHAINCODE_TLS_KEY            PEM file; with the certificate it switches TLS on
  CHAINCODE_TLS_CERT           PEM file
  CHAINCODE_CLIENT_CA_CERT     PEM file; peers must show a certificate of it (mutual TLS)
  CHAINCODE_METRICS_ADDRESS    host:port for GET /metrics (Prometheus)
  CORE_PEER_TLS_ENABLED, CORE_PEER_TLS_ROOTCERT_FILE,
  CORE_TLS_CLIENT_KEY_FILE, CORE_TLS_CLIENT_CERT_FILE
                               TLS when dialling a peer

With --reload each saved version of the code takes over on the same address and package id, once
it was loaded; a version with a mistake is told with its line, and the old one serves on. A peer
takes one registration of a package id at a time: with --peer-address the old version hangs up
before the new one dials.

SIGTERM and SIGINT let running transactions end (--grace) and then stop.
No argument, key, value or result is ever logged; -v adds sizes and digests.
"""


@dataclass(frozen=True, slots=True)
class _Options:
    """The command line as typed values."""

    address: str | None
    chaincode_id: str | None
    peer_address: str | None
    served: str
    metrics_address: str | None
    capacity: Capacity
    grace: float

    @property
    def dials(self) -> bool:
        """Whether it dials a peer: an address to listen on wins over the peer's."""
        listens = self.address or os.environ.get("CHAINCODE_SERVER_ADDRESS")
        return bool(self.peer_address) and not listens


@click.command(help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--address", metavar="HOST:PORT", help="Listen here.")
@click.option("--chaincode-id", "--chaincode.id", metavar="ID", help="Register as this package.")
@click.option("--peer-address", "--peer.address", metavar="HOST:PORT", help="Dial this peer.")
@click.option(
    "--chaincode",
    "served",
    metavar="MODULE:NAME",
    default="chaincode.health:chaincode",
    show_default=True,
    help="What to serve: a Chaincode, or a function that makes one.",
)
@click.option("--metrics-address", metavar="HOST:PORT", help="Serve Prometheus metrics here.")
@click.option(
    "--max-running",
    help="Transactions executed at once, a stream.",
    default=DEFAULT_CAPACITY.running,
    show_default=True,
    type=click.IntRange(1),
)
@click.option(
    "--max-waiting",
    help="Further ones that wait; beyond them: status 503.",
    default=DEFAULT_CAPACITY.waiting,
    show_default=True,
    type=click.IntRange(0),
)
@click.option(
    "--grace",
    help="How long a stop waits for running transactions.",
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0),
)
@click.option("--tracing", is_flag=True, help="An OpenTelemetry span a transaction, without data.")
@click.option("--reload", is_flag=True, help="For development: serve each saved version anew.")
@click.option(
    "--watch",
    multiple=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --reload: watch all files of this folder, too; can be repeated.",
)
@click.option("--log-format", type=click.Choice(["json", "text"]), default="json")
@click.option("-v", "--verbose", is_flag=True, help="Log each transaction with sizes and digests.")
@click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors only.")
def main(
    address: str | None,
    chaincode_id: str | None,
    peer_address: str | None,
    served: str,
    metrics_address: str | None,
    max_running: int,
    max_waiting: int,
    grace: float,
    tracing: bool,
    reload: bool,
    watch: tuple[Path, ...],
    log_format: str,
    verbose: bool,
    quiet: bool,
) -> None:
    """Parse, configure, run; a mistake in the configuration is one line and exit code 2."""
    # gRPC's own lines on stderr say nothing that ours do not.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    level = "debug" if verbose else "warning" if quiet else "info"
    configure_logging(level, log_format)
    options = _Options(
        address=address,
        chaincode_id=chaincode_id,
        peer_address=peer_address or os.environ.get("CORE_PEER_ADDRESS"),
        served=served,
        metrics_address=metrics_address or os.environ.get("CHAINCODE_METRICS_ADDRESS"),
        capacity=Capacity(max_running, max_waiting),
        grace=grace,
    )
    try:
        if reload:
            asyncio.run(_develop(options, watch))
        else:
            loaded = load_chaincode(served)
            _runner()(_serve(options, _trace(loaded) if tracing else loaded))
    except ConfigurationError as error:
        click.echo(f"chaincode: {error}", err=True)
        sys.exit(EXIT_USAGE)


def _trace(chaincode: Chaincode) -> Chaincode:
    from chaincode.shim.tracing import Traced

    return Traced(chaincode)


async def _serve(options: _Options, chaincode: Chaincode) -> None:
    observer: Observer = NoObserver()
    if options.metrics_address:
        metrics = Metrics()
        metrics.serve(validate_address(options.metrics_address, "CHAINCODE_METRICS_ADDRESS"))
        observer = metrics
    stopping = stop_on_signals()
    # What is loaded by now stays for good: the garbage collector need not look at it again.
    gc.collect()
    gc.freeze()
    if options.dials:
        await _dial(options, chaincode, observer, stopping)
    else:
        await _listen(options, chaincode, observer, stopping)


async def _develop(options: _Options, trees: Sequence[Path]) -> None:
    from chaincode.development.child import Orders, Target
    from chaincode.development.news import describe
    from chaincode.development.reloader import Reloader

    if options.metrics_address:
        raise ConfigurationError("--reload serves no metrics: leave --metrics-address out")
    environment = dict(os.environ)
    environment["CHAINCODE_ID"] = read_chaincode_id(os.environ, options.chaincode_id)
    if options.dials:
        target = Target("", environment, options.peer_address or "")
        target.client_settings(options.grace)
    else:
        environment["CHAINCODE_SERVER_ADDRESS"] = read_server_address(os.environ, options.address)
        target = Target("", environment)
        validate_bindable(target.settings(options.grace).address)
    orders = Orders(options.served, (target,), options.grace)
    reloader = Reloader(orders, tell=lambda news: click.echo(describe(news), err=True), trees=trees)
    await reloader.run(stop_on_signals())


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


async def _listen(
    options: _Options, chaincode: Chaincode, observer: Observer, stopping: asyncio.Event
) -> None:
    settings = ServerSettings(
        chaincode_id=read_chaincode_id(os.environ, options.chaincode_id),
        address=read_server_address(os.environ, options.address),
        tls=load_server_tls(os.environ),
        renew_tls=lambda: load_server_tls(os.environ),
        capacity=options.capacity,
        grace=options.grace,
    )
    server = ChaincodeServer(settings, chaincode, observer)
    await server.start()
    await stopping.wait()
    await server.stop()


async def _dial(
    options: _Options, chaincode: Chaincode, observer: Observer, stopping: asyncio.Event
) -> None:
    settings = ClientSettings(
        chaincode_id=read_chaincode_id(os.environ, options.chaincode_id),
        peer_address=validate_address(options.peer_address or "", "--peer-address"),
        tls=load_client_tls(os.environ),
        capacity=options.capacity,
        grace=options.grace,
    )
    dialer = ChaincodeDialer(settings, chaincode, observer)
    running = asyncio.create_task(dialer.run())
    await stopping.wait()
    await dialer.stop()
    await running


def _runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return asyncio.run
    run: Callable[[Coroutine[Any, Any, None]], None] = uvloop.run
    return run


if __name__ == "__main__":
    main(prog_name="python -m chaincode")
