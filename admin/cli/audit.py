"""`medfabric audit`: who asked for what, and what was disclosed."""

from typing import TYPE_CHECKING

import click

from admin.cli.context import Context
from admin.cli.frame import Group, channel_option, with_context
from admin.cli.sessions import open_health
from admin.cli.watching import build_watch
from admin.output import Output, shorten

if TYPE_CHECKING:
    from chaincode.audit.model import Accounting, AuditEntry, ReviewItem

group = Group(
    "audit",
    help="""The audit trail, disclosures and reviews.

    Every decision on access is on the ledger, permit or deny, with the consent version that it
    rests on. The patient, a delegate, the custodian's privacy officer and auditors may read it.
    """,
    examples=[
        "medfabric audit trail 7c1f… --as PatientTrust/amelia",
        "medfabric audit disclosures 7c1f… --as Regulator/auditor",
        "medfabric audit review --as GeneralHospital/privacy",
    ],
)


@group.command(examples="medfabric audit trail 7c1f… --as PatientTrust/amelia --json")
@click.argument("patient", metavar="PATIENT")
@channel_option
@with_context
def trail(context: Context, patient: str, channel: str | None) -> None:
    """All that happened to a PATIENT's data, oldest first."""
    from chaincode import canonical
    from chaincode.audit.model import TrailPage
    from chaincode.table import PageRequest

    async def work() -> "list[AuditEntry]":
        entries: list[AuditEntry] = []
        bookmark = ""
        async with open_health(context, channel) as session:
            while True:
                page = await session.health.evaluate(
                    "audit:Trail", patient, PageRequest(bookmark=bookmark), result=TrailPage
                )
                entries += page.entries
                bookmark = page.bookmark
                if not bookmark:
                    return entries

    found = context.run(work())

    def human(output: Output) -> None:
        output.table(
            ("when", "what", "who", "purpose", "verdict", "on consent", "subject"),
            [
                (
                    one.at,
                    one.kind.value,
                    f"{one.msp_id}/{one.role}" if one.role else one.msp_id,
                    one.purpose,
                    one.verdict,
                    f"{shorten(one.consent_id)} v{one.consent_version}" if one.consent_id else "",
                    shorten(one.subject, 12),
                )
                for one in found
            ],
            empty="Nothing has happened yet.",
        )

    context.output.result([canonical.to_wire(one) for one in found], human)


@group.command(
    examples="medfabric audit disclosures 7c1f… --since 2026-01-01 --as PatientTrust/amelia"
)
@click.argument("patient", metavar="PATIENT")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="From this day [six years ago].")
@click.option("--all", "everything", is_flag=True, help="Also those that the rule excludes.")
@channel_option
@with_context
def disclosures(
    context: Context, patient: str, since: object, everything: bool, channel: str | None
) -> None:
    """An accounting of disclosures of a PATIENT's data (45 CFR 164.528)."""
    from datetime import UTC, datetime

    from chaincode import canonical
    from chaincode.audit.model import Accounting

    begin = since.replace(tzinfo=UTC) if isinstance(since, datetime) else None

    async def work() -> "Accounting":
        async with open_health(context, channel) as session:
            given = [patient] if begin is None else [patient, begin]
            return await session.health.evaluate("audit:Disclosures", *given, result=Accounting)

    accounting = context.run(work())
    shown = [one for one in accounting.disclosures if everything or one.exclusion is None]

    def human(output: Output) -> None:
        output.table(
            ("recipient", "purpose", "first", "last", "count", "excluded because"),
            [
                (
                    f"{one.recipient_msp_id}/{shorten(one.recipient)}",
                    one.purpose,
                    one.first,
                    one.last,
                    one.count,
                    one.exclusion,
                )
                for one in shown
            ],
            empty="No disclosure has to be accounted for; --all shows the excluded ones.",
        )

    context.output.result(canonical.to_wire(accounting), human)


@group.command(examples="medfabric audit review --as GeneralHospital/privacy")
@click.option("--org", "msp_id", default="", metavar="MSPID", help="Another's queue (auditors).")
@channel_option
@with_context
def review(context: Context, msp_id: str, channel: str | None) -> None:
    """What waits for the privacy officer: declared emergencies and denied accesses."""
    from chaincode import canonical
    from chaincode.audit.model import ReviewPage
    from chaincode.table import PageRequest

    async def work() -> "tuple[ReviewItem, ...]":
        async with open_health(context, channel) as session:
            page = await session.health.evaluate(
                "audit:ReviewQueue", PageRequest(), msp_id, result=ReviewPage
            )
            return page.items

    items = context.run(work())

    def human(output: Output) -> None:
        output.table(
            ("review", "kind", "patient", "who", "purpose", "reason", "since"),
            [
                (
                    one.id,
                    one.kind.value,
                    shorten(one.patient),
                    shorten(one.user),
                    one.purpose,
                    one.reason,
                    one.opened_at,
                )
                for one in items
            ],
            empty="Nothing waits.",
        )

    context.output.result([canonical.to_wire(one) for one in items], human)


group.add_command(
    build_watch(
        "patients' data, accesses and reviews",
        ("audit.", "consent.", "records."),
        example=[
            "medfabric audit watch --about 7c1f2a90 --as PatientTrust/amelia",
            "medfabric audit watch --event consent.BreakGlassDeclared --checkpoint btg.json",
        ],
    )
)
