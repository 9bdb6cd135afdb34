"""`medfabric bench`: how much a chaincode carries, and how it compares with another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from admin.cli.benching.claims import claims
from admin.cli.benching.consent import consent
from admin.cli.benching.network import network
from admin.cli.benching.records import anchors, seal
from admin.cli.frame import Context, Group, with_context
from admin.errors import input_error, usage_error
from admin.output import Output

if TYPE_CHECKING:
    from admin.bench.generators import Caller, Target
    from admin.bench.statistics import Summary
    from network.client import Endpoint

BUSY_CLIENT = 0.9
"""Processors that one load generator may keep busy before it hides what it measures."""


@click.group(
    "bench",
    cls=Group,
    examples=[
        "medfabric bench chaincode --chaincode bench --as GeneralHospital/Admin",
        "medfabric bench chaincode --chaincode bench --against gobench --rounds 5",
    ],
)
def group() -> None:
    """Measure throughput and latency, side by side in one run."""


for own in (network, seal, anchors, consent, claims):
    group.add_command(own)


def _load_options(function: Any) -> Any:
    for option in (
        click.option(
            "--mode",
            type=click.Choice(["submit", "evaluate", "endorse", "all"]),
            default="all",
            show_default=True,
            help="submit: until committed; evaluate: one peer; endorse: all needed endorsements.",
        ),
        click.option("--function", default="ReadWrite", show_default=True, help="What is called."),
        click.option(
            "--argument",
            "arguments",
            multiple=True,
            metavar="TEMPLATE",
            help="With {n}, {key}, {value} replaced; in order [{key} {value}]. '' alone: none.",
        ),
        click.option(
            "--size", type=click.IntRange(0), default=100, show_default=True, help="Of {value}."
        ),
        click.option(
            "--concurrency",
            type=click.IntRange(1),
            default=64,
            show_default=True,
            help="Transactions in flight.",
        ),
        click.option("--duration", type=click.FloatRange(0.1), help="Seconds a round lasts [10]."),
        click.option("--count", type=click.IntRange(1), help="Transactions a round, instead."),
        click.option("--rounds", type=click.IntRange(1), default=3, show_default=True),
        click.option(
            "--warm-up",
            type=click.FloatRange(0),
            default=2.0,
            show_default=True,
            help="Seconds of load before each counted window.",
        ),
        click.option(
            "--processes",
            type=click.IntRange(1, 64),
            default=1,
            show_default=True,
            help="Load generators that share the load.",
        ),
    ):
        function = option(function)
    return function


def _endpoint_options(function: Any) -> Any:
    for option in (
        click.option("--endpoint", metavar="HOST:PORT", help="Any Fabric gateway peer."),
        click.option("--tls-root", metavar="FILE", help="What its certificate chains to (PEM)."),
        click.option("--server-name", metavar="NAME", help="The name in its certificate."),
        click.option("--msp-id", metavar="ID", help="Who calls: the organisation."),
        click.option("--cert", metavar="FILE", help="Who calls: the certificate (PEM)."),
        click.option("--key", metavar="FILE", help="Who calls: its key (PEM)."),
    ):
        function = option(function)
    return function


@group.command(
    examples=[
        "medfabric bench chaincode --chaincode bench --mode submit --duration 30",
        "medfabric bench chaincode --chaincode bench --function Get --argument k1",
        "medfabric bench chaincode --chaincode pybench --against gobench --against nodebench",
        "medfabric bench chaincode --endpoint localhost:7051 --tls-root ca.crt --msp-id Org1MSP"
        " \\\n    --cert user.pem --key key.pem --channel mychannel --chaincode pybench",
    ]
)
@click.option("--chaincode", "-n", metavar="NAME", required=True, help="What is measured.")
@click.option(
    "--against",
    multiple=True,
    metavar="NAME[@HOST:PORT]",
    help="Another chaincode, in turn with the first; can be repeated.",
)
@click.option("--channel", "-c", metavar="NAME", help="The channel [the network's first].")
@_load_options
@click.option(
    "--pid",
    "pids",
    multiple=True,
    metavar="NAME=PID",
    help="A chaincode's process on this machine: its CPU and memory are measured too.",
)
@_endpoint_options
@with_context
def chaincode(
    context: Context,
    *,
    chaincode: str,
    against: tuple[str, ...],
    channel: str | None,
    pids: tuple[str, ...],
    **options: Any,
) -> None:
    """Measure a chaincode's throughput and latency through a gateway.

    Each round keeps --concurrency transactions in flight. With --against the chaincodes take
    turns, round by round, with the same workload; RATIO is the first one's rate over the other's,
    the median over the rounds. Absolute rates tell about the machine; ratios tell about the
    chaincodes.

    Any chaincode with a function that fits can be measured; chaincode.samples.bench is one to
    start with (functions Nothing, Get, Put, ReadWrite).
    """
    from admin.bench.comparison import Course, run_comparison
    from admin.bench.generators import Generators
    from admin.bench.process import describe_machine
    from admin.bench.workload import Mode

    workload = _workload(options)
    targets = _targets(context, [chaincode, *against], channel, pids, options)
    modes = tuple(Mode) if options["mode"] == "all" else (Mode(options["mode"]),)
    course = Course(modes, options["rounds"], options["warm_up"])
    with (
        context.output.progress("bench") as progress,
        Generators(options["processes"]) as generators,
    ):
        found = run_comparison(generators, targets, workload, course, progress.step)
    told = {
        "machine": describe_machine(),
        "workload": workload,
        "processes": options["processes"],
        "summaries": found,
    }
    context.output.result(told, lambda output: _display(output, found))
    _warn(context.output, found, options["processes"])


def _workload(options: dict[str, Any]) -> Any:
    from admin.bench.workload import Mode, Workload

    if options["duration"] is not None and options["count"] is not None:
        raise click.UsageError("--duration and --count exclude each other")
    if options["processes"] > options["concurrency"]:
        raise click.UsageError("--processes cannot exceed --concurrency")
    arguments = options["arguments"] or ("{key}", "{value}")
    return Workload(
        mode=Mode.EVALUATE,
        function=options["function"],
        arguments=() if arguments == ("",) else arguments,
        size=options["size"],
        concurrency=options["concurrency"],
        lead=options["warm_up"],
        seconds=None if options["count"] is not None else options["duration"] or 10.0,
        count=options["count"],
    )


def _targets(
    context: Context,
    names: list[str],
    channel: str | None,
    pids: tuple[str, ...],
    options: dict[str, Any],
) -> list[Target]:
    from dataclasses import replace

    from admin.bench.generators import Target

    endpoint, caller = _caller(context, options)
    if channel is None and options["endpoint"]:
        raise usage_error("no channel was named", "name it with --channel")
    where = channel if channel is not None and options["endpoint"] else context.channel(channel)
    watched = _read_pids(pids, names)
    targets = []
    for name in names:
        chaincode, _, address = name.partition("@")
        place = replace(endpoint, address=address) if address else endpoint
        targets.append(Target(name, place, where, chaincode, caller, watched.get(name)))
    return targets


def _caller(context: Context, options: dict[str, Any]) -> tuple[Endpoint, Caller]:
    """The gateway and who calls it: of the options, or of the network file."""
    from admin.bench.generators import Caller
    from network.client import Endpoint

    if options["endpoint"]:
        missing = [name for name in ("msp_id", "cert", "key") if not options[name]]
        if missing:
            raise usage_error(f"--endpoint needs --{missing[0].replace('_', '-')} too")
        root = options["tls_root"]
        endpoint = Endpoint(
            options["endpoint"], _read(root) if root else None, options["server_name"]
        )
        caller = Caller(
            options["msp_id"], certificate=Path(options["cert"]), key=Path(options["key"])
        )
        where = options["cert"]
    else:
        profile = context.operator()
        endpoint = profile.endpoint
        known = context.wallet.find(profile.identity)
        caller = Caller(known.msp_id, folder=known.msp_folder)
        where = str(known.msp_folder)
    try:
        caller.open()  # here, so that what is wrong with it is told before anything starts
    except (OSError, ValueError) as failure:
        raise input_error(f"the caller's identity cannot be read: {failure}", where=where) from None
    return endpoint, caller


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as failure:
        raise input_error(failure.strerror or "cannot be read", where=path) from None


def _read_pids(given: tuple[str, ...], names: list[str]) -> dict[str, int]:
    found = {}
    for entry in given:
        name, _, number = entry.rpartition("=")
        if name not in names or not number.isdigit():
            raise click.UsageError(f"--pid takes NAME=PID with a measured NAME, not {entry!r}")
        found[name] = int(number)
    return found


def _display(output: Output, found: list[Summary]) -> None:
    output.table(
        [
            *("mode", "chaincode", "tx/s", "ratio", "p50 ms", "p95 ms", "p99 ms", "max ms"),
            *("failed", "cpu µs/tx", "memory MB", "client cpu"),
        ],
        [
            (
                one.mode,
                one.target,
                f"{one.rate:.0f}",
                None if one.ratio is None else f"{one.ratio:.2f}",
                *(f"{value * 1000:.0f}" for value in _percentiles(one)),
                sum(one.errors.values()),
                None if one.chaincode_cpu is None else f"{one.chaincode_cpu * 1e6:.0f}",
                _memory(one),
                f"{one.client_load:.2f}",
            )
            for one in found
        ],
    )
    for one in found:
        for kind, count in one.errors.items():
            output.line(f"{one.mode} {one.target}: {count} × {kind}")


def _percentiles(one: Summary) -> tuple[float, ...]:
    latency = one.latency
    return latency.p50, latency.p95, latency.p99, latency.max


def _memory(one: Summary) -> str | None:
    memory = one.rounds[-1].chaincode_memory
    return None if memory is None else f"{memory / 1e6:.0f}"


def _warn(output: Output, found: list[Summary], processes: int) -> None:
    if any(one.client_load > BUSY_CLIENT * processes for one in found):
        output.warn(
            f"the load generator was busy all the time: raise --processes (now {processes}), "
            "or the chaincodes differ more than this says"
        )
