"""What the ledger knows of records."""

from typing import TYPE_CHECKING

import click

from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.cli.recording.views import open_records, show_records
from admin.cli.sessions import open_health

if TYPE_CHECKING:
    from chaincode.records.model import RecordPage


@click.command(cls=Command, examples="medfabric record history 91ab… --as GeneralHospital/dr.lee")
@click.argument("record", metavar="RECORD")
@channel_option
@with_context
def history(context: Context, record: str, channel: str | None) -> None:
    """The versions of a RECORD, oldest first, and how it stands."""

    async def work() -> "RecordPage":
        async with open_health(context, channel) as session:
            return await open_records(session).history(record)

    show_records(context, context.run(work()), versions=True)


@click.command(
    "list", cls=Command, examples="medfabric record list 7c1f… --as GeneralHospital/dr.lee"
)
@click.argument("patient", metavar="PATIENT")
@channel_option
@with_context
def list_(context: Context, patient: str, channel: str | None) -> None:
    """The records of a PATIENT that were anchored singly, or changed since their batch."""
    from chaincode.records.model import Record, RecordPage
    from chaincode.table import PageRequest

    async def work() -> "RecordPage":
        found: list[Record] = []
        async with open_health(context, channel) as session:
            bookmark = ""
            while True:
                page: RecordPage = await session.health.evaluate(
                    "records:List", patient, PageRequest(1000, bookmark), result=RecordPage
                )
                found += page.records
                bookmark = page.bookmark
                if not bookmark:
                    return RecordPage(tuple(found))

    show_records(context, context.run(work()))
