"""The ends of a record: erasure with its certificate, and retention."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, dry_run_option, with_context, yes_option
from admin.cli.recording.views import open_records, read_day
from admin.cli.sessions import HealthSession, open_health
from admin.errors import usage_error
from admin.output import Output

if TYPE_CHECKING:
    from admin.procedures.care.erasure import Erased, Erasure


@click.command(
    cls=Command, examples="medfabric record erase 91ab… --yes --as GeneralHospital/privacy"
)
@click.argument("record", metavar="RECORD")
@yes_option
@channel_option
@with_context
def erase(context: Context, record: str, yes: bool, channel: str | None) -> None:
    """Destroy a RECORD: sealed files, wrapped keys, salts; this cannot be undone.

    What its private collection held is purged from every peer. A signed certificate says what was
    destroyed; its digest goes on the ledger, where commitments remain that open nothing. By a
    privacy officer or service of the custodian.
    """
    if not yes:
        click.confirm(f"Destroy record {record} for good?", abort=True, err=True)

    async def work() -> "Erased":
        async with open_health(context, channel) as session:
            return await _erasure(session).erase(record)

    _show([context.run(work())], context, single=True)


@click.command(
    cls=Command,
    examples=[
        "medfabric record expire --dry-run --as GeneralHospital/privacy",
        "medfabric record expire --yes --as GeneralHospital/privacy",
    ],
)
@click.option("--on", "today", type=read_day, metavar="DATE", help="As of this day [today].")
@dry_run_option
@yes_option
@channel_option
@with_context
def expire(
    context: Context, today: date | None, dry_run: bool, yes: bool, channel: str | None
) -> None:
    """Erase every record whose retention is over (see 'seal --retain-until').

    A record without a last day is never touched.
    """
    day = today or datetime.now(UTC).date()

    async def look() -> list[tuple[str, date]]:
        async with open_health(context, channel) as session:
            return open_records(session).retention.expired(day)

    due = context.run(look())
    if dry_run or not due:
        context.output.result(
            [{"record": record, "retainUntil": until} for record, until in due],
            lambda output: output.table(
                ("record", "kept until"),
                [(r, u.isoformat()) for r, u in due],
                empty="No record's retention is over.",
            ),
        )
        return
    if not yes:
        click.confirm(f"Destroy {len(due)} records for good?", abort=True, err=True)

    async def work() -> "list[Erased]":
        async with open_health(context, channel) as session:
            return await _erasure(session).expire(day)

    _show(context.run(work()), context)


@click.command(
    cls=Command,
    examples="medfabric record retain 91ab… --until 2036-12-31 --as GeneralHospital/dr.lee",
)
@click.argument("record", metavar="RECORD")
@click.option("--until", type=read_day, metavar="DATE", help="The last day it has to be kept.")
@click.option("--forever", is_flag=True, help="It has no last day.")
@channel_option
@with_context
def retain(
    context: Context, record: str, until: date | None, forever: bool, channel: str | None
) -> None:
    """Say until when a RECORD is kept. The custodian's own note; it is not on the ledger."""
    if (until is None) != forever:
        raise usage_error("say --until DATE or --forever", "")

    async def work() -> str:
        async with open_health(context, channel) as session:
            records = open_records(session)
            handle = (await records.current(record)).anchor.record
            if until is None:
                records.retention.forget(handle)
            else:
                records.retention.keep(handle, until)
            return handle

    handle = context.run(work())
    context.output.result(
        {"record": handle, "retainUntil": until},
        f"✓ record {handle} is kept {f'until {until}' if until else 'without an end'}",
    )


def _erasure(session: HealthSession) -> "Erasure":
    from admin.procedures.care.erasure import Erasure

    return Erasure(open_records(session), session.profile, session.health)


def _show(done: "list[Erased]", context: Context, *, single: bool = False) -> None:
    def human(output: Output) -> None:
        for one in done:
            gone = f"{len(one.versions)} sealed files, {one.releases} released keys"
            if one.block_number is None:
                output.line(f"✓ record {one.record}, never anchored, is destroyed: {gone}")
                continue
            output.line(f"✓ record {one.record} erased in block {one.block_number}: {gone}")
            output.line(f"  certificate {one.certificate}")

    context.output.result(done[0] if single else done, human)
