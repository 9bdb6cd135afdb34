"""What the record verbs share: options, sessions, progress, and how records look."""

from collections.abc import Callable
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

import click

from admin.cli.sessions import HealthSession
from admin.output import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from admin.cli.context import Context
    from admin.output import Progress
    from admin.procedures.care.records import Records
    from admin.procedures.care.requests import Requests
    from admin.procedures.care.sealer import SealOptions
    from admin.procedures.networks.health import Committed
    from chaincode.records.model import Access, Record, RecordPage

Function = TypeVar("Function", bound=Callable[..., Any])


def read_day(text: str) -> date:
    """Return a day in ISO form; for `type=`. Raises BadParameter."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no day; write it as 2033-01-31") from None


def statement_options(function: Function) -> Function:
    """What is said of a record's content when it is sealed."""
    for option in reversed(
        (
            click.option(
                "--class", "classes", multiple=True, metavar="CODE", help="Document class; repeat."
            ),
            click.option(
                "--label",
                "labels",
                multiple=True,
                metavar="CODE",
                help="Security label (N, R, ETH, PSY, …); repeat. "
                "Without any it counts as restricted.",
            ),
            click.option(
                "--context",
                "contexts",
                multiple=True,
                metavar="HANDLE",
                help="The encounter or episode it was made in; repeat.",
            ),
            click.option(
                "--retain-until",
                type=read_day,
                metavar="DATE",
                help="The last day it has to be kept; later 'record expire' erases it.",
            ),
        )
    ):
        function = option(function)
    return function


media_option = click.option(
    "--media-type",
    default="",
    metavar="TYPE",
    help="What it is [FHIR JSON if it is JSON, else by the file's ending].",
)


def read_options(said: dict[str, Any], patient: str = "", **more: Any) -> "SealOptions":
    """Return what `statement_options` were given."""
    from admin.procedures.care.sealer import SealOptions

    return SealOptions(
        patient,
        classes=said["classes"],
        labels=said["labels"] or None,
        contexts=said["contexts"],
        retain_until=said["retain_until"],
        **more,
    )


def open_records(session: HealthSession) -> "Records":
    """Return the records of who acts."""
    from admin.procedures.care.records import Records

    return Records(session.surroundings, session.profile, session.health)


def open_requests(session: HealthSession) -> "Requests":
    """Return what who acts asks of others."""
    from admin.procedures.care.requests import Requests

    return Requests(session.surroundings, session.profile, session.health)


@contextmanager
def transfer(context: "Context", title: str, size: int | None = None) -> "Iterator[Progress]":
    """Progress of bytes on standard error."""
    with context.output.progress(title, size, in_bytes=True) as progress:
        yield progress


def ground(access: "Access") -> str:
    """Return in words what an access was decided on."""
    match = access.decision.match
    if match.consent_id:
        return f"consent {match.consent_id[:8]} version {match.version}"
    if match.path.startswith("implicit:") or not match.path:
        return "no consent permits it"
    return match.path


def show_committed(context: "Context", done: "Committed[Record]", said: str) -> None:
    """A record after a transaction: `said` gets its handle and version."""
    from chaincode import canonical

    anchor = done.value.anchor
    context.output.result(
        {**canonical.to_wire(done.value), "blockNumber": done.block_number},
        f"✓ record {anchor.record} version {anchor.version} {said} in {done.place}",
    )


def show_records(context: "Context", page: "RecordPage", *, versions: bool = False) -> None:
    """A page of records; with `versions` of one record's versions, of which the last one counts."""
    from chaincode import canonical

    def human(output: Output) -> None:
        output.table(
            ("record", "version", "status", "custodian", "types", "anchored"),
            [
                (
                    one.anchor.record,
                    one.anchor.version,
                    "superseded" if versions and one is not page.records[-1] else one.status.value,
                    one.custodian,
                    " ".join(one.anchor.resource_types),
                    one.anchored_at,
                )
                for one in page.records
            ],
            empty="There are no records.",
        )

    context.output.result(canonical.to_wire(page), human)
