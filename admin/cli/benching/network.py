"""`medfabric bench network`: a network of ours, alone or beside others, from one call to many."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from admin.bench import process
from admin.cli.frame import Command, Context, with_context
from admin.errors import input_error
from admin.output import Output

if TYPE_CHECKING:
    from admin.bench.network.course import Point, Side


def _read_levels(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not numbers with commas between, such as 1,10,100"
        ) from None
    if list(found) != sorted(set(found)) or not 0 < found[0] <= found[-1] <= 10_000:
        raise click.BadParameter(f"{value!r} is not ascending, from 1 to 10000")
    return found


@click.command(
    "network",
    cls=Command,
    examples=[
        "medfabric bench network",
        "medfabric bench network --levels 1,50,200 --rounds 5 --plot network.svg",
        "medfabric bench network --against fabric.yaml --plot network.svg",
    ],
)
@click.option(
    "--against",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Another network, in turns with ours; can be repeated. See below.",
)
@click.option(
    "--levels",
    callback=_read_levels,
    default="1,10,50,100,200",
    show_default=True,
    help="Transactions in flight, one step after another.",
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--duration",
    type=click.FloatRange(0.1),
    default=8.0,
    show_default=True,
    help="Seconds a round lasts.",
)
@click.option(
    "--warm-up",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    help="Seconds of load before each counted window.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.svg",
    help="Draw throughput against latency here.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Make our network here and leave it [a temporary folder, deleted afterwards].",
)
@with_context
def network(
    context: Context,
    against: tuple[Path, ...],
    levels: tuple[int, ...],
    rounds: int,
    duration: float,
    warm_up: float,
    plot: Path | None,
    folder: Path | None,
) -> None:
    """Measure throughput, latency, processor time, memory and readiness of a whole network.

    Two organisations with a peer each, an orderer and a chaincode server for each organisation come
    up on this machine, with TLS throughout, both organisations needed for an endorsement, and
    blocks of up to 500 transactions. READY is the time from an empty folder to a chaincode that
    answers, MEMORY a peer's before the first transaction. Then --levels transactions are kept in
    flight, submitted until committed (one in flight is a lone transaction), and at the last level
    endorsed and evaluated. Each reads a key and writes it. CPU is the processor time of all the
    network's processes for a transaction; where others use the machine it says more than the rate.

    A network of --against is described in YAML: label, endpoint, serverName, tlsRoot, mspId, cert,
    key, channel, chaincode; processes (name: process id) and peers (names of processes) where they
    run on this machine. Its chaincode needs the function ReadWrite(key, value). It takes turns with
    ours, round by round.
    """
    from admin.bench.generators import Generators
    from admin.bench.network.course import Step, read_memory, run_course
    from admin.bench.network.own import OwnNetwork
    from admin.bench.workload import Mode, Workload

    others = [_load(file) for file in against]
    if folder is not None and (folder / "network.yaml").exists():
        raise input_error(
            "there is a network in this folder; a fresh one is timed from nothing",
            "name another folder",
            str(folder),
        )
    workload = Workload(
        Mode.SUBMIT, "ReadWrite", ("{key}", "{value}"), 100, 1, seconds=duration, lead=warm_up
    )
    steps = [
        *(Step(Mode.SUBMIT, level) for level in levels),
        *(Step(mode, levels[-1]) for mode in (Mode.ENDORSE, Mode.EVALUATE)),
    ]
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="medfabric-")))
        progress = stack.enter_context(context.output.progress("bench"))
        progress.step("bringing the network up")
        own = stack.enter_context(OwnNetwork(folder))
        sides = [own.side, *others]
        memory = {side.target.label: read_memory(side) for side in sides}
        generators = stack.enter_context(Generators(1))
        points = run_course(generators, sides, steps, workload, rounds, progress.step)
    if plot is not None:
        _draw(plot, points)
    told: dict[str, Any] = {
        "machine": process.describe_machine(),
        "ready": own.ready,
        "memory": memory,
        "points": points,
    }
    context.output.result(told, lambda output: _display(output, own.ready, memory, points))


def _load(file: Path) -> Side:
    from admin.bench.network.sides import BadSide, load_side

    try:
        return load_side(file)
    except BadSide as failure:
        raise input_error(str(failure), where=str(file)) from None
    except OSError as failure:
        where = str(failure.filename or file)
        raise input_error(failure.strerror or "cannot be read", where=where) from None


def _draw(file: Path, points: list[Point]) -> None:
    from admin.bench.network.plot import build_plot

    submitted = [one for one in points if one.mode == "submit"]
    try:
        file.write_text(build_plot(submitted, "Submitted transactions, by number in flight"))
    except OSError as failure:
        raise input_error(failure.strerror or "cannot be written", where=str(file)) from None


def _display(
    output: Output, ready: float, memory: dict[str, dict[str, int]], points: list[Point]
) -> None:
    output.line(f"ready in {ready:.1f} s")
    for label, peers in memory.items():
        for name, size in peers.items():
            output.line(f"memory of {name} ({label}) at rest: {size / 1e6:.0f} MB")
    output.table(
        [
            "mode",
            "in flight",
            "network",
            "tx/s",
            "p50 ms",
            "p95 ms",
            "cpu ms/tx",
            "client",
            "failed",
        ],
        [
            (
                one.mode,
                one.in_flight,
                one.network,
                f"{one.rate:.0f}",
                f"{one.p50 * 1000:.0f}",
                f"{one.p95 * 1000:.0f}",
                None if one.cpu is None else f"{one.cpu * 1000:.2f}",
                f"{one.client_cpu * 1000:.2f}",
                one.failed,
            )
            for one in points
        ],
    )
    for one in points:
        for kind, count in one.errors.items():
            output.line(f"{one.mode} {one.in_flight} {one.network}: {count} × {kind}")
