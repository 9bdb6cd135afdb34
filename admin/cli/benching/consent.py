"""`medfabric bench consent`: decisions a second, and evaluations through a network that grows."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from admin.cli.benching.stages import read_stages
from admin.cli.frame import Command, Context, with_context
from admin.errors import input_error
from admin.output import Output

if TYPE_CHECKING:
    from admin.bench.consent.decisions import Figure
    from admin.bench.consent.growth import Course, Stage

MAX_PATIENTS = 10_000_000
_NETWORK = "network.yaml"


def _read_stages(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    return None if value is None else read_stages(value, MAX_PATIENTS)


@click.command(
    "consent",
    cls=Command,
    examples=[
        "medfabric bench consent",
        "medfabric bench consent --patients 1000",
        "medfabric bench consent --patients 10000,100000,1000000 --lean --folder /tmp/growth",
    ],
)
@click.option(
    "--patients",
    callback=_read_stages,
    metavar="N[,N…]",
    help="Ask a network of its own with so many patients on its ledger, stage by stage.",
)
@click.option(
    "--consents", type=click.IntRange(1, 500), default=5, show_default=True, help="Of each patient."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="Length of each measured window.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Evaluations in flight.",
)
@click.option("--lean", is_flag=True, help="Write only what an evaluation reads: less disk.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Make the network here and leave it [a temporary folder, deleted afterwards].",
)
@with_context
def consent(
    context: Context,
    patients: tuple[int, ...] | None,
    consents: int,
    seconds: float,
    concurrency: int,
    lean: bool,
    folder: Path | None,
) -> None:
    """Measure decisions on consent: the pure function, or through a network of its own.

    Without --patients: decisions a second on one processor, for a patient with 1 to 50 consents of
    ten rules each; compiled, and read from their stored bytes for each decision. It needs no
    network.

    With --patients: an organisation with orderer, peer and chaincode server comes up on this
    machine. While its peer is down, its ledger is filled with signed blocks through the peer's own
    validation and commit; then clients ask consent:Evaluate about patients drawn at random, one at
    a time and many at once. A million patients take some 10 GB with --lean, ten times as much
    without.
    """
    from admin.bench.process import describe_machine

    if patients is None:
        from admin.bench.consent.decisions import measure_decisions

        figures = measure_decisions(seconds / 10)
        told: dict[str, Any] = {"machine": describe_machine(), "decisions": figures}
        context.output.result(told, lambda output: _display_figures(output, figures))
        return
    from admin.bench.consent.growth import Course

    course = Course(patients, consents, seconds, concurrency, lean)
    stages = _grow(context, folder, course)
    told = {"machine": describe_machine(), "course": course, "stages": stages}
    context.output.result(told, lambda output: _display_stages(output, stages))


def _grow(context: Context, folder: Path | None, course: Course) -> list[Stage]:
    from admin.bench.consent.growth import run_growth

    if folder is not None and (folder / _NETWORK).exists():
        raise input_error(
            "there is a network in this folder; its figures would not be those of a fresh one",
            "name another folder",
            str(folder),
        )
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="medfabric-")))
        progress = stack.enter_context(context.output.progress("bench"))
        return context.run(run_growth(folder, course, progress.step))


def _display_figures(output: Output, figures: list[Figure]) -> None:
    output.table(
        ("consents", "compiled/s", "cold/s"),
        [(one.consents, f"{one.compiled:,.0f}", f"{one.cold:,.0f}") for one in figures],
    )


def _display_stages(output: Output, stages: list[Stage]) -> None:
    output.table(
        [
            *("patients", "consents", "filled s", "ledger MB", "alone ms", "p95", "again ms"),
            *("eval/s", "p95 ms", "again/s", "peer µs", "chaincode µs", "failed"),
        ],
        [
            (
                f"{one.patients:,}",
                f"{one.consents:,}",
                f"{one.filled:,.0f}",
                f"{one.bytes / 1e6:,.0f}",
                *(f"{seconds * 1000:.1f}" for seconds in (*one.first, one.again[0])),
                f"{one.rate:,.0f}",
                f"{one.latency[1] * 1000:.0f}",
                f"{one.rate_again:,.0f}",
                f"{one.peer_cpu * 1e6:,.0f}",
                f"{one.chaincode_cpu * 1e6:,.0f}",
                one.failed,
            )
            for one in stages
        ],
    )
