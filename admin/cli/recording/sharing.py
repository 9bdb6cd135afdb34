"""Between organisations: request, open, revoke, and who received what."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, timeout_option, with_context, yes_option
from admin.cli.recording.views import ground, open_requests, transfer
from admin.cli.sessions import open_health
from admin.errors import ExitCode, input_error, refused_error
from admin.output import Output, shorten

if TYPE_CHECKING:
    from admin.procedures.care.requests import OpenedRecord, Requests
    from admin.procedures.networks.health import Committed
    from chaincode.records.model import Access, AccessView, Membership, Revocation

RELEASE_WAIT = 20.0


@click.command(
    cls=Command,
    examples=[
        "medfabric record request 91ab… --purpose TREAT --as CityClinic/dr.kim",
        "medfabric record request --proof 91ab.json --purpose TREAT --as CityClinic/dr.kim",
    ],
)
@click.argument("records", metavar="[RECORD...]", nargs=-1)
@click.option("--purpose", required=True, metavar="CODE", help="v3-ActReason: TREAT, HPAYMT, …")
@click.option("--action", default="access", show_default=True, metavar="CODE")
@click.option(
    "--proof",
    "proofs",
    multiple=True,
    metavar="FILE",
    help="Where a record of a batch stands ('record place'), if no exchange can tell; repeat.",
)
@channel_option
@with_context
def request(
    context: Context,
    records: tuple[str, ...],
    purpose: str,
    action: str,
    proofs: tuple[str, ...],
    channel: str | None,
) -> None:
    """Ask for RECORDs; the decision on consent is recorded, permit or deny.

    Where the ledger has a record only by its batch, the exchanges are asked for its place in it.
    Prints the access's handle for 'record open'. A denial ends with exit code 4.
    """
    from chaincode import canonical

    memberships = _read_memberships(proofs)
    if not records and not memberships:
        raise click.UsageError("name a RECORD, or a --proof of one from a batch")

    async def work() -> "Committed[Access]":
        async with open_health(context, channel) as session:
            return await open_requests(session).request(records, purpose, action, memberships)

    done = context.run(work())
    access, decision = done.value, done.value.decision
    wire = {**canonical.to_wire(access), "blockNumber": done.block_number}
    if not decision.permitted:
        if context.json:
            # The decision is a result like any other: one document, and the exit code says denied.
            context.output.result(wire)
            click.get_current_context().exit(int(ExitCode.REFUSED))
        raise refused_error(
            f"access denied: {ground(access)} ({decision.verdict.value}); recorded as access "
            f"{shorten(access.id)} in {done.place}",
            f"see why: medfabric consent explain {access.patient} --purpose {purpose}",
        )
    context.output.note(
        f"✓ {decision.verdict.value} by {ground(access)}, recorded in {done.place}; the access:"
    )
    context.output.result(wire, access.id)


@click.command(
    "open", cls=Command, examples="medfabric record open 4f02… -o visit.json --as CityClinic/dr.kim"
)
@click.argument("access", metavar="ACCESS")
@click.option("--record", default="", metavar="HANDLE", help="Which, where it permits several.")
@click.option(
    "-o", "--output", "target", required=True, type=click.Path(dir_okay=False, path_type=Path)
)
@timeout_option
@channel_option
@with_context
def open_(
    context: Context,
    access: str,
    record: str,
    target: Path,
    timeout: float | None,
    channel: str | None,
) -> None:
    """Fetch what an ACCESS released, check it, decrypt it and acknowledge it.

    Waits for the custodian's release (20 seconds unless --timeout says). A transfer that broke is
    taken up where it broke. What is written is what the ledger anchors, or nothing is.
    """
    _validate_target(target)

    async def work() -> "OpenedRecord":
        async with open_health(context, channel) as session:
            requests = open_requests(session)
            await _wait_for_release(requests, access, timeout or RELEASE_WAIT)
            with transfer(context, "record") as progress:
                progress.step("fetching")
                return await requests.open(
                    access,
                    record,
                    target,
                    starting=progress.expect,
                    fetching=progress.reach,
                    opening=lambda done: None,
                )

    done = context.run(work())
    context.output.result(
        done,
        f"✓ record {shorten(done.record)} from {done.sender}: {done.size} bytes in {done.path}",
    )


@click.command(
    cls=Command,
    examples="medfabric record revoke 4f02… --reason mistake --as GeneralHospital/privacy",
)
@click.argument("access", metavar="ACCESS")
@click.option("--reason", required=True, metavar="CODE", help="Such as mistake or left-care.")
@yes_option
@channel_option
@with_context
def revoke(context: Context, access: str, reason: str, yes: bool, channel: str | None) -> None:
    """Take an ACCESS back: nothing is released or fetched on it any more.

    A transfer that is under way ends at its next stretch. The requester is told by an event, and
    keeps what was opened before; 'record rotate' puts the record under a new key. By the custodian
    or who acts for the patient.
    """
    from chaincode import canonical

    if not yes:
        click.confirm(f"Revoke access {shorten(access)}?", abort=True, err=True)

    async def work() -> "Committed[Revocation]":
        async with open_health(context, channel) as session:
            return await open_requests(session).revoke(access, reason)

    done = context.run(work())
    context.output.result(
        {**canonical.to_wire(done.value), "blockNumber": done.block_number},
        f"✓ access {shorten(access)} revoked in {done.place}",
    )


@click.command(
    cls=Command,
    examples=[
        "medfabric record accesses --patient 7c1f… --as PatientTrust/amelia",
        "medfabric record accesses --record 91ab… --as GeneralHospital/dr.lee",
    ],
)
@click.option("--patient", default="", metavar="HANDLE", help="Of all of a patient's records.")
@click.option("--record", default="", metavar="HANDLE", help="Of one record.")
@channel_option
@with_context
def accesses(context: Context, patient: str, record: str, channel: str | None) -> None:
    """Who asked for what, how it was decided, and what became of it."""
    found = _list(context, patient, record, channel)

    def human(output: Output) -> None:
        output.table(
            ("access", "who", "purpose", "decided", "on", "released", "received", "revoked"),
            [
                (
                    shorten(view.access.id, 12),
                    f"{view.access.msp_id}/{view.access.role}",
                    view.access.request.purpose,
                    view.access.decision.verdict.value,
                    view.access.requested_at,
                    view.release.released_at if view.release else None,
                    view.receipt.received_at if view.receipt else None,
                    view.revocation.revoked_at if view.revocation else None,
                )
                for view in found
            ],
            empty="Nobody asked.",
        )

    _show_views(context, found, human)


@click.command(
    cls=Command,
    examples="medfabric record receipts --record 91ab… --as GeneralHospital/dr.lee",
)
@click.option("--patient", default="", metavar="HANDLE", help="Of all of a patient's records.")
@click.option("--record", default="", metavar="HANDLE", help="Of one record.")
@channel_option
@with_context
def receipts(context: Context, patient: str, record: str, channel: str | None) -> None:
    """What was released, and whether its requester acknowledged it.

    A requester acknowledges with the commitment that it recomputed from what it opened.
    """
    found = [v for v in _list(context, patient, record, channel) if v.release is not None]

    def human(output: Output) -> None:
        output.table(
            ("access", "who", "records", "released", "received", "digest"),
            [
                (
                    shorten(view.access.id, 12),
                    f"{view.access.msp_id}/{view.access.role}",
                    " ".join(shorten(r.record) for r in view.access.permitted_records),
                    view.release.released_at if view.release else None,
                    view.receipt.received_at if view.receipt else None,
                    shorten(view.receipt.digest.hex(), 16) if view.receipt else None,
                )
                for view in found
            ],
            empty="Nothing was released.",
        )

    _show_views(context, found, human)


def _list(context: Context, patient: str, record: str, channel: str | None) -> "list[AccessView]":
    """All pages of accesses, the oldest first."""
    from chaincode.records.model import AccessPage
    from chaincode.table import PageRequest

    if bool(patient) == bool(record):
        raise input_error("name either --patient or --record", "")

    async def work() -> "list[AccessView]":
        found: list[AccessView] = []
        async with open_health(context, channel) as session:
            bookmark = ""
            while True:
                page: AccessPage = await session.health.evaluate(
                    "records:Accesses",
                    patient,
                    record,
                    PageRequest(1000, bookmark),
                    result=AccessPage,
                )
                found += page.accesses
                bookmark = page.bookmark
                if not bookmark:
                    return found

    return sorted(context.run(work()), key=lambda view: view.access.requested_at)


def _show_views(context: Context, found: "list[AccessView]", human: object) -> None:
    from chaincode import canonical

    wire = {"accesses": [canonical.to_wire(view) for view in found]}
    context.output.result(wire, human)  # type: ignore[arg-type]


def _read_memberships(proofs: tuple[str, ...]) -> "tuple[Membership, ...]":
    from admin.fhir.reading import read_source
    from admin.procedures.care.proving import read_membership

    found = []
    for file in proofs:
        membership = read_membership(read_source(file).raw, file)
        if membership is None:
            raise input_error(
                "the proof is of a record that was anchored singly",
                "name the record instead; it needs no proof",
                file,
            )
        found.append(membership)
    return tuple(found)


def _validate_target(target: Path) -> None:
    """Before anything is fetched: there is a place for it."""
    if not target.absolute().parent.is_dir():
        raise input_error("no such folder", "make it first", str(target.parent))


async def _wait_for_release(requests: "Requests", access: str, patience: float) -> None:
    """Return once the custodian has released the access, or there is nothing to wait for."""
    deadline = time.monotonic() + patience
    while True:
        view = await requests.find(access)
        waiting = view.release is None and view.revocation is None
        if not waiting or not view.access.decision.permitted or time.monotonic() > deadline:
            return
        await asyncio.sleep(0.1)
