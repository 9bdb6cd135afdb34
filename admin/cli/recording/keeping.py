"""The custodian's verbs: seal, anchor, supersede, rotate, rewrap, withdraw, escrow, release."""

from typing import TYPE_CHECKING, Any

import click

from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context, yes_option
from admin.cli.recording.views import (
    media_option,
    open_records,
    read_options,
    show_committed,
    statement_options,
    transfer,
)
from admin.cli.sessions import open_health
from admin.errors import usage_error

if TYPE_CHECKING:
    from admin.procedures.care.records import Rewrapped
    from admin.procedures.care.sealer import SealedRecord
    from admin.procedures.networks.health import Committed
    from chaincode.records.model import Record, Release


@click.command(
    cls=Command,
    examples=[
        "medfabric record seal visit.json --patient 7c1f… --label N --as GeneralHospital/dr.lee",
        "medfabric record seal ct.dcm --patient 7c1f… --retain-until 2036-12-31",
        "pg_dump ward | medfabric record seal - --patient 7c1f… --media-type application/sql",
    ],
)
@click.argument("file", metavar="FILE")
@click.option("--patient", required=True, metavar="HANDLE", help="Whose record it is.")
@statement_options
@media_option
@click.option("--record", default="", metavar="HANDLE", help="An earlier record, as a new version.")
@click.option("--version", type=click.IntRange(min=1), default=1, show_default=True)
@channel_option
@with_context
def seal(
    context: Context,
    file: str,
    patient: str,
    media_type: str,
    record: str,
    version: int,
    channel: str | None,
    **said: Any,
) -> None:
    """Seal FILE (- is standard input) into the organisation's store.

    A FHIR resource is validated first; anything else is sealed as it is, of any length, without
    being held in memory. Interrupted, nothing is left. Nothing is on the ledger until
    'record anchor'.
    """
    from admin.procedures.care.sources import open_source

    options = read_options(said, patient, record=record, version=version)

    async def work() -> "SealedRecord":
        with (
            open_source(file, media_type) as source,
            transfer(context, "sealing", source.size) as progress,
        ):
            async with open_health(context, channel) as session:
                return await open_records(session).seal(source, options, progress=progress.reach)

    done = context.run(work())
    context.output.note(f"✓ sealed for {len(done.recipients)} keys; the record's handle:")
    context.output.result(done, done.record)


@click.command(cls=Command, examples="medfabric record anchor 91ab… --as GeneralHospital/dr.lee")
@click.argument("record", metavar="RECORD")
@click.option(
    "--escrow",
    is_flag=True,
    help="Keep its wrapped key in the organisation's private collection too; 'erase' purges it.",
)
@channel_option
@with_context
def anchor(context: Context, record: str, escrow: bool, channel: str | None) -> None:
    """Put the commitment of a sealed RECORD on the ledger."""

    async def work() -> "Committed[Record]":
        async with open_health(context, channel) as session:
            records = open_records(session)
            done = await records.anchor(record)
            if escrow:
                await records.escrow(done.value.anchor.record)
            return done

    show_committed(context, context.run(work()), "anchored")


@click.command(
    cls=Command,
    examples="medfabric record supersede 91ab… corrected.json --as GeneralHospital/dr.lee",
)
@click.argument("record", metavar="RECORD")
@click.argument("file", metavar="FILE")
@statement_options
@media_option
@channel_option
@with_context
def supersede(
    context: Context, record: str, file: str, media_type: str, channel: str | None, **said: Any
) -> None:
    """Seal FILE as the next version of RECORD and anchor it.

    Labels, classes and contexts stay as they were unless given. Accesses to the earlier version
    end; refused, nothing has changed.
    """
    from admin.procedures.care.sources import open_source

    options = read_options(said)

    async def work() -> "Committed[Record]":
        with (
            open_source(file, media_type) as source,
            transfer(context, "sealing", source.size) as progress,
        ):
            async with open_health(context, channel) as session:
                return await open_records(session).supersede(
                    record, source, options, progress=progress.reach
                )

    show_committed(context, context.run(work()), "anchored")


@click.command(cls=Command, examples="medfabric record rotate 91ab… --as GeneralHospital/dr.lee")
@click.argument("record", metavar="RECORD")
@channel_option
@with_context
def rotate(context: Context, record: str, channel: str | None) -> None:
    """Encrypt RECORD anew, as its next version, under a fresh key and salt.

    After a revocation: a key that was handed out before opens nothing that is fetched later.
    """

    async def work() -> "Committed[Record]":
        with transfer(context, "sealing anew") as progress:
            async with open_health(context, channel) as session:
                return await open_records(session).rotate(record, progress=progress.reach)

    show_committed(context, context.run(work()), "anchored under a new key")


@click.command(cls=Command, examples="medfabric record rewrap 91ab… --as GeneralHospital/exchange")
@click.argument("records", metavar="RECORD...", nargs=-1, required=True)
@channel_option
@with_context
def rewrap(context: Context, records: tuple[str, ...], channel: str | None) -> None:
    """Wrap the keys of stored RECORDs for the keys in force, and for no other.

    After 'patient key' published a new key: what is stored opens without the retired one. Nothing
    is encrypted anew and nothing changes on the ledger.
    """

    async def work() -> "list[Rewrapped]":
        with transfer(context, "re-wrapping") as progress:
            async with open_health(context, channel) as session:
                keeper = open_records(session)
                return [
                    one
                    for record in records
                    for one in await keeper.rewrap(record, progress=progress.reach)
                ]

    done = context.run(work())
    lines = [
        f"✓ record {one.record} version {one.version} wrapped for {len(one.recipients)} keys"
        + (f", {len(one.dropped)} dropped" if one.dropped else "")
        for one in done
    ]
    context.output.result(done, "\n".join(lines))


@click.command(
    cls=Command,
    examples="medfabric record withdraw 91ab… --reason error --as GeneralHospital/dr.lee",
)
@click.argument("record", metavar="RECORD")
@click.option("--reason", required=True, metavar="CODE")
@channel_option
@with_context
def withdraw(context: Context, record: str, reason: str, channel: str | None) -> None:
    """Release a RECORD no longer; what was opened before stays opened.

    A later version ('record supersede') stands again.
    """

    async def work() -> "Committed[Record]":
        async with open_health(context, channel) as session:
            return await open_records(session).withdraw(record, reason)

    show_committed(context, context.run(work()), "withdrawn")


@click.command(cls=Command, examples="medfabric record release 4f02… --as GeneralHospital/exchange")
@click.argument("access", metavar="ACCESS")
@channel_option
@with_context
def release(context: Context, access: str, channel: str | None) -> None:
    """Release a permitted ACCESS by hand, where no exchange does it.

    Consent is decided again. As the organisation's exchange identity, whose key opens the records.
    """
    from chaincode import canonical

    async def work() -> "Release | None":
        async with open_health(context, channel) as session:
            return await open_records(session).release(access)

    done = context.run(work())
    if done is None:
        raise usage_error(
            "there is nothing to release",
            "it is denied, released already, or another organisation's: medfabric record accesses",
            access,
        )
    context.output.result(canonical.to_wire(done), f"✓ access {done.access} released")


@click.command(cls=Command, examples="medfabric record tidy --as GeneralHospital/exchange")
@yes_option
@channel_option
@with_context
def tidy(context: Context, yes: bool, channel: str | None) -> None:
    """Destroy released keys whose access ended: revoked, run out, or no longer consented to.

    The organisation's exchange does so by itself; this is for one that does not run.
    """

    async def work() -> list[str]:
        async with open_health(context, channel) as session:
            return await open_records(session).take_back()

    if not yes:
        click.confirm("Destroy the keys of accesses that ended?", abort=True, err=True)
    done = context.run(work())
    context.output.result({"takenBack": done}, f"✓ {len(done)} accesses taken back")
