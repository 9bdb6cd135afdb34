"""`medfabric audit`: who asked for what, what was disclosed, and reports of it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from admin.cli.auditlog import group as log_group
from admin.cli.context import Context
from admin.cli.frame import Group, channel_option, with_context
from admin.cli.sessions import HealthSession, open_health
from admin.cli.watching import build_watch
from admin.errors import usage_error
from admin.output import Output, shorten

if TYPE_CHECKING:
    from admin.procedures.audit.reading import Audit
    from admin.procedures.networks.health import Committed
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
        "medfabric audit export 7c1f… --format html -o report.html --as PatientTrust/amelia",
        "medfabric audit log anchor access.ndjson --log ehr --as GeneralHospital/siem",
    ],
)


_ORGANIZATION = click.option(
    "--org", "msp_id", default="", metavar="MSPID", help="Another's queue (auditors)."
)


def period_options(function: Any) -> Any:
    """`--since` and `--until`: days, the first included and the last too."""

    def day(_: click.Context, parameter: click.Parameter, value: datetime | None) -> Any:
        from datetime import timedelta

        if value is None:
            return None
        end = timedelta(days=1) if parameter.name == "until" else timedelta()
        return value.replace(tzinfo=UTC) + end

    form = click.DateTime(["%Y-%m-%d"])
    until = click.option("--until", type=form, callback=day, help="To this day [now].")
    since = click.option("--since", type=form, callback=day, help="From this day [all].")
    return since(until(function))


def open_audit(session: HealthSession) -> "Audit":
    """The audit's acts in the name of who acts."""
    from admin.procedures.audit.reading import Audit

    return Audit(session.surroundings.topology.name, session.profile, session.health)


@group.command(
    examples=[
        "medfabric audit trail 7c1f… --as PatientTrust/amelia",
        "medfabric audit trail 7c1f… --since 2026-01-01 --json --as GeneralHospital/privacy",
    ]
)
@click.argument("patient", metavar="PATIENT")
@period_options
@channel_option
@with_context
def trail(
    context: Context,
    patient: str,
    since: "datetime | None",
    until: "datetime | None",
    channel: str | None,
) -> None:
    """All that happened to a PATIENT's data, oldest first."""
    from chaincode import canonical

    async def work() -> "list[AuditEntry]":
        async with open_health(context, channel) as session:
            return await open_audit(session).trail(patient, since, until)

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
@period_options
@click.option("--all", "everything", is_flag=True, help="Also those that the rule excludes.")
@channel_option
@with_context
def disclosures(
    context: Context,
    patient: str,
    since: "datetime | None",
    until: "datetime | None",
    everything: bool,
    channel: str | None,
) -> None:
    """An accounting of disclosures of a PATIENT's data (45 CFR 164.528), six years back."""
    from chaincode import canonical

    async def work() -> "Accounting":
        async with open_health(context, channel) as session:
            return await open_audit(session).disclosures(patient, since, until)

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


@group.command(
    examples=[
        "medfabric audit review --as GeneralHospital/privacy",
        "medfabric audit review --org CityClinicMSP --as PatientTrust/auditor",
    ]
)
@_ORGANIZATION
@channel_option
@with_context
def review(context: Context, msp_id: str, channel: str | None) -> None:
    """What waits for the privacy officer: declared emergencies and denied accesses.

    A denied access is closed by 'audit close', an emergency by 'consent review'.
    """
    from chaincode import canonical

    async def work() -> "list[ReviewItem]":
        async with open_health(context, channel) as session:
            return await open_audit(session).reviews(msp_id)

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


@group.command(
    examples="medfabric audit close 38182a45… --outcome expected --as GeneralHospital/privacy"
)
@click.argument("review_id", metavar="REVIEW")
@click.option("--outcome", required=True, metavar="CODE", help="Such as expected, follow-up.")
@channel_option
@with_context
def close(context: Context, review_id: str, outcome: str, channel: str | None) -> None:
    """Close the REVIEW of a denied access; ids can be shortened while they are unique."""
    from chaincode import canonical

    async def work() -> "Committed[ReviewItem]":
        async with open_health(context, channel) as session:
            audit = open_audit(session)
            return await audit.close(await audit.resolve(review_id), outcome)

    done = context.run(work())
    context.output.result(
        canonical.to_wire(done.value),
        f"✓ review {shorten(done.value.id)} closed as {outcome} in {done.place}",
    )


@group.command(
    examples=[
        "medfabric audit export 7c1f… --format html -o report.html --as PatientTrust/amelia",
        "medfabric audit export 7c1f… --format fhir -o trail.json --since 2026-01-01",
        "medfabric audit export 7c1f… --format csv --what disclosures -o accounting.csv",
        "medfabric audit export --what review --format html -o queue.html "
        "--as GeneralHospital/privacy",
    ]
)
@click.argument("patient", metavar="[PATIENT]", required=False)
@click.option("--format", "form", type=click.Choice(["html", "csv", "fhir"]), required=True)
@click.option(
    "--what",
    type=click.Choice(["trail", "disclosures", "review"]),
    default="trail",
    show_default=True,
    help="html: trail has the disclosures too; fhir: the trail only.",
)
@click.option(
    "-o",
    "--output",
    "target",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Written with mode 0600.",
)
@period_options
@_ORGANIZATION
@channel_option
@with_context
def export(
    context: Context,
    patient: str | None,
    form: str,
    what: str,
    target: Path,
    since: "datetime | None",
    until: "datetime | None",
    msp_id: str,
    channel: str | None,
) -> None:
    """Write a PATIENT's trail, accounting of disclosures, or the review queue to a file.

    html is one page with charts that fetches nothing; print it for a PDF. csv is for spreadsheets,
    fhir a Bundle of R4 AuditEvents in the shapes of IHE BALP. Holds no more than who acts may read:
    handles and codes, no names.
    """
    from admin.procedures.audit.export import Form, What, write_export

    wanted = What(what)
    if (patient is None) != (wanted is What.REVIEW):
        raise usage_error(
            "name a PATIENT, or --what review for the queue",
            "such as: medfabric audit export 7c1f… --format html -o report.html",
        )
    if form == "fhir" and wanted is not What.TRAIL:
        raise usage_error("--format fhir writes the trail", "leave --what out, or choose csv")

    async def work() -> int:
        async with open_health(context, channel) as session:
            audit = open_audit(session)
            if patient is None:
                return write_export(await audit.queue(msp_id), wanted, Form(form), target)
            report = await audit.report(patient, since, until)
            return write_export(report, wanted, Form(form), target)

    count = context.run(work())
    context.output.result(
        {"file": target, "format": form, "what": what, "entries": count},
        f"✓ {target} written: {count} {'entry' if count == 1 else 'entries'}",
    )


group.add_command(log_group)
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
