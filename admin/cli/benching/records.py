"""`medfabric bench seal` and `bench anchors`: records off the chain, and on it in batches."""

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.output import Output

if TYPE_CHECKING:
    from admin.bench.anchoring import Anchoring, Submit
    from admin.bench.sealing import Bandwidth

folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="FOLDER",
    help="Where to write, on the disk to measure [the system's temporary folder].",
)


@click.command(
    cls=Command,
    examples=["medfabric bench seal", "medfabric bench seal --size 4096 --rounds 5 --json"],
)
@click.option(
    "--size", type=click.IntRange(1), default=512, show_default=True, metavar="MIB", help="Content."
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@folder_option
@with_context
def seal(context: Context, size: int, rounds: int, folder: Path | None) -> None:
    """Measure sealing and opening a file beside plain AES-256-GCM on the same file.

    All take turns, round by round. RATIO is the median over the rounds of the contender's speed
    over plain encryption's (or decryption's) in the same round.
    """
    from admin.bench.sealing import run_sealing

    with (
        context.output.progress("bench") as progress,
        tempfile.TemporaryDirectory(dir=folder) as place,
    ):
        found = run_sealing(Path(place), size << 20, rounds, progress.step)

    def human(output: Output) -> None:
        output.table(
            ("contender", "MB/s", "ratio", "MB/s of cpu", "slowest", "fastest"),
            [_row(one) for one in found.contenders],
        )
        output.line(f"peak memory {found.peak_memory / 1e6:.0f} MB")

    context.output.result(found, human)


@click.command(
    cls=Command,
    examples=[
        "medfabric bench anchors --as GeneralHospital/dr.lee",
        "medfabric bench anchors --offline --count 10000 --count 1000000 --count 10000000",
    ],
)
@click.option(
    "--count",
    "counts",
    type=click.IntRange(1, 2**32),
    multiple=True,
    help="Records in a batch; repeat for a curve [10000, 100000, 1000000].",
)
@click.option("--offline", is_flag=True, help="Leave the transaction out.")
@folder_option
@channel_option
@with_context
def anchors(
    context: Context,
    counts: tuple[int, ...],
    offline: bool,
    folder: Path | None,
    channel: str | None,
) -> None:
    """Measure anchoring prepared records in batches, and their proofs.

    Leaves are built and written, hashed into a tree, and the root is committed in one transaction
    in the name of who acts. Sealing is not part of it: see 'bench seal'.
    """
    from admin.bench.anchoring import run_anchoring

    found: list[Anchoring] = []
    submit = None if offline else _submitter(context, channel)
    with context.output.progress("bench") as progress:
        for count in counts or (10_000, 100_000, 1_000_000):
            progress.step(f"{count} records")
            with tempfile.TemporaryDirectory(dir=folder) as place:
                found.append(run_anchoring(Path(place), count, submit))

    def human(output: Output) -> None:
        output.table(
            (
                *("records", "records/s", "per cpu s", "leaves s", "tree s", "commit s"),
                "MB on disk",
                *("find ms", "prove ms", "verify ms"),
            ),
            [
                (
                    one.records,
                    f"{one.rate:.0f}",
                    f"{one.cpu_rate:.0f}",
                    f"{one.leaves:.2f}",
                    f"{one.tree:.2f}",
                    None if one.submitted is None else f"{one.submitted:.3f}",
                    f"{one.disk / 1e6:.1f}",
                    f"{one.find * 1e3:.2f}",
                    f"{one.prove * 1e3:.2f}",
                    f"{one.verify * 1e3:.3f}",
                )
                for one in found
            ],
        )

    context.output.result(found, human)


def _submitter(context: Context, channel: str | None) -> "Submit":
    """A function that commits a batch in the name of who acts."""
    from admin.cli.sessions import open_health
    from chaincode.records.model import AnchoredBatch, Batch

    context.profile()  # who acts is told before anything is measured

    async def work(batch: Batch) -> AnchoredBatch:
        async with open_health(context, channel) as session:
            done = await session.health.submit("records:AnchorBatch", batch, result=AnchoredBatch)
            return done.value

    return lambda batch: asyncio.run(work(batch))


def _row(one: "Bandwidth") -> tuple[str, str, str | None, str, str, str]:
    return (
        one.what,
        f"{one.rate / 1e6:.0f}",
        None if one.ratio is None else f"{one.ratio:.2f}",
        f"{one.cpu_rate / 1e6:.0f}",
        f"{min(one.rates) / 1e6:.0f}",
        f"{max(one.rates) / 1e6:.0f}",
    )
