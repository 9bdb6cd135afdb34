"""`medfabric claim` for who files: submit, replace, supply, appeal, void, reconcile."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from admin.cli.claiming.acknowledging import X12Desk
from admin.cli.claiming.options import CLAIM, filing_options, read_options
from admin.cli.claiming.reporting import Report
from admin.cli.claiming.submitting import (
    Submission,
    show_dry_run,
    show_submission,
    show_submitted,
)
from admin.cli.claiming.views import show_step
from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, dry_run_option, with_context, yes_option
from admin.cli.sessions import HealthSession, open_health
from admin.output import shorten

if TYPE_CHECKING:
    from admin.procedures.claims.claims import Claims, Submitted
    from admin.procedures.claims.preparation import FilingOptions
    from admin.procedures.claims.steps import ClaimSteps
    from admin.procedures.networks.health import Committed
    from chaincode.claims.model import Claim


@click.command(
    cls=Command,
    examples=[
        "medfabric claim submit claim.json --patient 7c1f… --coverage 55d2… --evidence 91ab… \\",
        "    --label N --as GeneralHospital/billing",
        "medfabric claim submit intake.ndjson --patient 7c1f… --coverage 55d2… --label N \\",
        "    --as UnitedPayer/intake",
        "medfabric claim submit 'today/*.json' --handles handles.json --as UnitedPayer/intake",
        "medfabric claim submit claim.json --payer SecondPayer --coordinates 7f3a --label N \\",
        "    --handles handles.json --as GeneralHospital/billing",
        "medfabric claim submit today.837 --handles handles.json --label N --ack today.999 \\",
        "    --claim-ack today.277ca --as UnitedPayer/intake",
    ],
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@filing_options
@click.option(
    "--no-ask",
    is_flag=True,
    help="Do not run the checks at one's own peer first; a claim that fails is recorded then.",
)
@click.option(
    "--chunk",
    type=click.IntRange(1, 1000),
    default=100,
    show_default=True,
    metavar="N",
    help="Claims in one transaction.",
)
@click.option(
    "--report",
    metavar="FILE",
    help="What became of each claim, as FILE.csv or FILE.json; also of an interrupted submission.",
)
@click.option(
    "--ack",
    metavar="FILE",
    help="Write an X12 999 for the 837s in FILEs: what of them is taken, and where they are wrong.",
)
@click.option(
    "--claim-ack",
    metavar="FILE",
    help="Write an X12 277CA for the 837s in FILEs: which claims are taken, and why others not.",
)
@click.option(
    "--skip-faulty",
    is_flag=True,
    help="Take what is good although other transaction sets of an 837 are faulty, or other claims "
    "name a member who has no handle [nothing of the file].",
)
@dry_run_option
@channel_option
@with_context
def submit(
    context: Context,
    files: tuple[str, ...],
    no_ask: bool,
    chunk: int,
    report: str | None,
    ack: str | None,
    claim_ack: str | None,
    skip_faulty: bool,
    dry_run: bool,
    channel: str | None,
    **said: Any,
) -> None:
    """Submit the claims in FILEs: FHIR R4 (JSON, Bundles, NDJSON) or X12 837P and 837I.

    - is standard input. In an 837, frequency 7 replaces and 8 voids the claim that REF F8 names
    by the payer's number (CLP07 of an 835).

    A provider files with a payer; a payer enters what reached it by another channel. Details go
    to the parties' private collection, and the ledger sees handles, codes and commitments. Every
    claim is checked: one that fails at the gate ends with exit code 4 and its reason. Sending a
    file again is safe: what is there already is answered with how it stands, so an interrupted
    submission goes on when the same files are sent again.
    """
    from admin.procedures.claims.files import read_claim_files

    log = Submission(Report(report), keep=context.json)
    desk = X12Desk(context, ack, claim_ack, whole=not skip_faulty)
    try:
        sources = read_claim_files(files, skip_faulty=skip_faulty, seen=desk.see)
    finally:
        desk.acknowledge()

    def told(done: "Sequence[Submitted]") -> None:
        log.add(done)
        desk.answer(done)

    async def work() -> None:
        async with open_health(context, channel) as session:
            options = await _options(
                session, said, ask_first=not no_ask, chunk=chunk, skip_faulty=skip_faulty
            )
            if dry_run:
                show_dry_run(context, await _claims(session).check(list(sources), options))
                return
            with _progress(context, len(sources)) as progress:
                await _claims(session).submit_all(
                    desk.pass_on(sources), options, progress=progress, told=told
                )

    try:
        context.run(work())
    finally:
        log.close()
        desk.finish()
        if 0 < log.count < len(sources):
            context.output.note(
                f"{log.count} of {len(sources)} claims were answered for; send the same files "
                "again to go on"
            )
    if not dry_run:
        show_submission(context, log)
    desk.refuse_skipped()


@contextmanager
def _progress(context: Context, count: int) -> "Iterator[Callable[[int], None]]":
    """Progress is shown of more than one claim."""
    if count == 1:
        yield lambda done: None
        return
    with context.output.progress("submitting claims", count) as progress:
        yield progress.advance


@click.command(
    cls=Command,
    examples="medfabric claim replace 7f3a corrected.json --patient 7c1f… --coverage 55d2… "
    "--label N --as GeneralHospital/billing",
)
@CLAIM
@click.argument("file", metavar="FILE")
@filing_options
@channel_option
@with_context
def replace(context: Context, claim: str, file: str, channel: str | None, **said: Any) -> None:
    """Put the corrected Claim in FILE in the place of CLAIM, which counts no longer."""
    from admin.errors import input_error
    from admin.procedures.claims.files import read_claim_files

    sources = list(read_claim_files([file]))
    if len(sources) != 1:
        raise input_error("a claim is replaced by one claim", "name a file that holds one", file)

    async def work() -> "Submitted":
        async with open_health(context, channel) as session:
            claims = _claims(session)
            held = await claims.resolve(claim)
            return await claims.replace(held, sources[0], await _options(session, said))

    show_submitted(context, context.run(work()), f" in place of {shorten(claim)}")


@click.command(
    cls=Command, examples="medfabric claim supply 7f3a --record 91ab… --as GeneralHospital/billing"
)
@CLAIM
@click.option("--text", default="", metavar="WORDS", help="For the payer only: kept private.")
@click.option("--record", "records", multiple=True, metavar="HANDLE", help="An anchored record.")
@channel_option
@with_context
def supply(
    context: Context, claim: str, text: str, records: tuple[str, ...], channel: str | None
) -> None:
    """Answer what the payer of a pended CLAIM asked for."""

    async def work() -> "Committed[Claim]":
        async with open_health(context, channel) as session:
            return await (await open_steps(session, claim)).supply(text, records)

    show_step(context, "supplied with information", context.run(work()))


@click.command(
    cls=Command,
    examples="medfabric claim appeal 7f3a --record 91ab… --as GeneralHospital/billing",
)
@CLAIM
@click.option("--text", default="", metavar="WORDS", help="For the payer only: kept private.")
@click.option("--record", "records", multiple=True, metavar="HANDLE", help="An anchored record.")
@channel_option
@with_context
def appeal(
    context: Context, claim: str, text: str, records: tuple[str, ...], channel: str | None
) -> None:
    """Contest the payer's refusal of CLAIM, before its deadline."""

    async def work() -> "Committed[Claim]":
        async with open_health(context, channel) as session:
            return await (await open_steps(session, claim)).appeal(text, records)

    show_step(context, "appealed", context.run(work()))


@click.command(cls=Command, examples="medfabric claim void 7f3a --as GeneralHospital/billing")
@CLAIM
@yes_option
@channel_option
@with_context
def void(context: Context, claim: str, yes: bool, channel: str | None) -> None:
    """Take CLAIM back. If it was paid, the payment is marked to be taken back too."""
    if not yes:
        click.confirm(f"Take claim {shorten(claim)} back?", abort=True, err=True)

    async def work() -> "Committed[Claim]":
        async with open_health(context, channel) as session:
            return await (await open_steps(session, claim)).void()

    done = context.run(work())
    show_step(context, "voided", done, "its payment is reversed" if done.value.reversal else "")


@click.command(cls=Command, examples="medfabric claim reconcile 7f3a --as GeneralHospital/billing")
@CLAIM
@channel_option
@with_context
def reconcile(context: Context, claim: str, channel: str | None) -> None:
    """Note that the payment of CLAIM has arrived and matches."""

    async def work() -> "Committed[Claim]":
        async with open_health(context, channel) as session:
            return await (await open_steps(session, claim)).reconcile()

    show_step(context, "reconciled", context.run(work()))


async def open_steps(session: HealthSession, claim: str) -> "ClaimSteps":
    """Return the steps of the claim whose handle begins so."""
    from admin.procedures.claims.steps import ClaimSteps

    held = await _claims(session).resolve(claim)
    return ClaimSteps(session.surroundings, session.profile, session.health, held)


def _claims(session: HealthSession) -> "Claims":
    from admin.procedures.claims.claims import Claims

    return Claims(session.surroundings, session.profile, session.health)


async def _options(session: HealthSession, said: dict[str, Any], **more: Any) -> "FilingOptions":
    from dataclasses import replace

    from admin.procedures.care.records import Records

    records = Records(session.surroundings, session.profile, session.health)
    options = read_options(**said, **more, resolve_record=records.resolve)
    if not said["coordinates"]:
        return options
    primary = await _claims(session).primary(said["coordinates"])
    return replace(options, coordinates=primary)
