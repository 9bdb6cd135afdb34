"""`medfabric bench claims`: what a claim with all its checks costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from admin.bench import process
from admin.cli.benching.stages import read_stages
from admin.cli.frame import Command, Context, channel_option, with_context
from admin.output import Output

if TYPE_CHECKING:
    from admin.bench.claims import Cost

BAR = 3.0
"""How many bare transactions a claim may cost."""
MAX_CLAIMS = 10_000_000


def _read_stages(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...]:
    return read_stages(value, MAX_CLAIMS) if value is not None else ()


@click.command(
    "claims",
    cls=Command,
    examples=[
        "medfabric bench claims --patient 7c1f… --coverage 55d2… --as UnitedPayer/intake",
        "medfabric bench claims --patient 7c1f… --coverage 55d2… --chunk 1 --claims 100 \\",
        "    --as UnitedPayer/intake",
        "medfabric bench claims --patient 7c1f… --coverage 55d2… --grow 1000,10000 \\",
        "    --as UnitedPayer/intake",
    ],
)
@click.option("--patient", required=True, metavar="HANDLE", help="Whose claims; who consents.")
@click.option("--coverage", required=True, metavar="HANDLE", help="As the payer stated it.")
@click.option("--npi", default="1555001019", show_default=True, help="The billing provider's.")
@click.option(
    "--provider", default="", metavar="ORG", help="File in the room shared with it [one's own]."
)
@click.option("--claims", type=click.IntRange(1), default=500, show_default=True, help="A round.")
@click.option(
    "--bare", type=click.IntRange(1), default=200, show_default=True,
    help="Bare transactions a round.",
)  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--chunk", type=click.IntRange(1, 1000), default=100, show_default=True,
    help="Claims in one transaction.",
)  # fmt: skip
@click.option(
    "--concurrency", type=click.IntRange(1), default=32, show_default=True,
    help="Bare transactions in flight.",
)  # fmt: skip
@click.option(
    "--grow", callback=_read_stages, metavar="N[,N…]",
    help="Measure again once so many claims are on the ledger, stage by stage.",
)  # fmt: skip
@channel_option
@with_context
def claims(
    context: Context,
    *,
    patient: str,
    coverage: str,
    npi: str,
    provider: str,
    claims: int,
    bare: int,
    rounds: int,
    chunk: int,
    concurrency: int,
    grow: tuple[int, ...],
    channel: str | None,
) -> None:
    """File synthetic claims as a payer, beside bare transactions of the same network.

    Every claim goes through all checks. It needs a running network of ours with a patient who
    consents to payment and a coverage that the payer stated. Claims and registrations stay on the
    ledger: bench on a network made for it. RATIO is what a claim takes of bare transactions, in
    time and in processor time of this process and all nodes; the median over the rounds. With
    --grow the rounds are measured on a ledger that fills up by real submissions: minutes for each
    ten thousand claims.
    """
    from admin.bench.claims import ClaimsBench, Course, Filed, by_stage, median_ratio, naming_of
    from admin.cli.sessions import open_health
    from admin.procedures.claims.claims import Claims
    from admin.procedures.claims.preparation import FilingOptions
    from admin.procedures.claims.sources import Naming
    from network.engines.choice import open_engine

    filed = Filed(patient, coverage, npi)
    options = naming_of(FilingOptions(Naming(), provider=provider, chunk=chunk), filed)
    course = Course(claims, bare, rounds, concurrency, grow)

    async def work() -> list[Cost]:
        nodes = await open_engine(context.surroundings).status()
        pids = [node.pid for node in nodes if node.pid is not None]
        async with open_health(context, channel) as session:
            filer = Claims(session.surroundings, session.profile, session.health)
            bench = ClaimsBench(filer, session.health, options, pids)
            return await bench.run(filed, course)

    costs = context.run(work())
    time_ratio, cpu_ratio = median_ratio(costs)
    stages = [_stage(before, found) for before, found in by_stage(costs, course)]
    told: dict[str, Any] = {
        "machine": process.describe_machine(),
        "rounds": costs,
        "timeRatio": time_ratio,
        "cpuRatio": cpu_ratio,
        "stages": stages,
        "bar": BAR,
    }
    context.output.result(told, lambda output: _display(output, costs, time_ratio, cpu_ratio))


def _stage(before: int, costs: list[Cost]) -> dict[str, float]:
    from admin.bench.claims import median_ratio

    time_ratio, cpu_ratio = median_ratio(costs)
    return {"claimsBefore": before, "timeRatio": time_ratio, "cpuRatio": cpu_ratio}


def _display(output: Output, costs: list[Cost], time_ratio: float, cpu_ratio: float) -> None:
    output.table(
        ("claims before", "what", "count", "a second", "client cpu ms", "nodes cpu ms", "failed"),
        [
            (
                f"{one.before:,}",
                one.what,
                one.count,
                f"{one.rate:.1f}",
                f"{one.client_cpu / one.count * 1000:.2f}",
                f"{one.nodes_cpu / one.count * 1000:.2f}",
                one.failed,
            )
            for one in costs
        ],
    )
    output.line(
        f"RATIO of a claim to a bare transaction: {time_ratio:.2f} in time, "
        f"{cpu_ratio:.2f} in processor time (bar: {BAR:.0f})"
    )
