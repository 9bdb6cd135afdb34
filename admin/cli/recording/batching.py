"""Many records at once: anchored in one transaction, each provable later."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.cli.recording.views import open_records, read_options, statement_options
from admin.cli.sessions import HealthSession, open_health
from admin.output import Output

if TYPE_CHECKING:
    from admin.procedures.care.batches import AnchoredRecords, Batches


@click.command(
    "anchor-batch",
    cls=Command,
    examples=[
        "medfabric record anchor-batch visits/ --patient 7c1f… --handles visits.csv",
        "medfabric record anchor-batch export.ndjson --patients handles.csv --handles out.csv",
        "find . -name '*.dcm' | medfabric record anchor-batch - --patient 7c1f… --handles o.csv",
    ],
)
@click.argument("source", metavar="SOURCE")
@click.option("--patient", default="", metavar="HANDLE", help="Whose they are, if all are one's.")
@click.option(
    "--patients",
    default="",
    metavar="FILE",
    help="CSV `reference,handle`: whose a FHIR resource is, by its own reference.",
)
@click.option(
    "--handles",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Written: which source became which record (CSV, for your eyes only).",
)
@click.option("--after", default="", metavar="BATCH", help="An earlier batch that this continues.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Seal in N processes [one a processor].",
)
@statement_options
@channel_option
@with_context
def anchor_batch(
    context: Context,
    source: str,
    patient: str,
    patients: str,
    handles: Path,
    after: str,
    jobs: int | None,
    channel: str | None,
    **said: Any,
) -> None:
    """Seal up to a million records of SOURCE and anchor them in one transaction.

    SOURCE is a folder (sub-folders named by a patient's handle hold that patient's records), an
    NDJSON file of FHIR resources or of {"file": …, "patient": …, "labels": […]}, or a list of
    paths (- is standard input). One Merkle root goes on the ledger; the proofs stay here, and
    'record prove' writes any of them. Interrupted, run it again: it goes on where it stopped.
    Run again later, it writes --handles anew and does nothing else.
    """
    from admin.procedures.care.batchsources import Defaults, read_entries, read_patients

    defaults = Defaults(read_options(said, patient), read_patients(patients) if patients else {})
    entries = read_entries(source, defaults)

    async def work() -> "AnchoredRecords":
        async with open_health(context, channel) as session:
            with context.output.progress("batch", len(entries)) as progress:
                return await _batches(session).anchor(
                    entries,
                    handles,
                    previous=after,
                    jobs=jobs or 0,
                    say=progress.step,
                    progress=progress.reach,
                )

    done = context.run(work())
    context.output.result(
        done,
        f"✓ batch {done.batch}: {done.size} records anchored in block {done.block_number}\n"
        + f"  handles in {done.handles}"
        + ("" if done.sealed else "; nothing was left to seal"),
    )


@click.command(cls=Command, examples="medfabric record batches --as GeneralHospital/dr.lee")
@channel_option
@with_context
def batches(context: Context, channel: str | None) -> None:
    """The batches of this organisation that are here, finished or not."""

    async def work() -> Any:
        async with open_health(context, channel) as session:
            return _batches(session).list()

    found = context.run(work())

    def human(output: Output) -> None:
        output.table(
            ("batch", "records", "root", "block", "continues"),
            [
                (
                    one.batch,
                    one.size or None,
                    one.root.hex()[:16] or None,
                    one.block_number if one.anchored else None,
                    one.previous,
                )
                for one in found
            ],
            empty="There are no batches.",
        )

    context.output.result(found, human)


def _batches(session: HealthSession) -> "Batches":
    from admin.procedures.care.batches import Batches

    return Batches(session.surroundings, session.profile, session.health, open_records(session))
