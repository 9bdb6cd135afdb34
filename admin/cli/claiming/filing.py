"""`medfabric claim` for who files: submit, replace, supply, appeal, void, reconcile."""

from typing import TYPE_CHECKING, Any

import click

from admin.cli.claiming.exchanging import X12Desk
from admin.cli.claiming.options import CLAIM, filing_options, read_options
from admin.cli.claiming.reporting import Report
from admin.cli.claiming.views import loud_findings, show_step, tell_checks, tell_finding
from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, dry_run_option, with_context, yes_option
from admin.cli.sessions import HealthSession, open_health
from admin.errors import ExitCode, Fault, FaultError
from admin.output import Output, shorten

if TYPE_CHECKING:
    from admin.procedures.claims.claims import Claims, Submitted
    from admin.procedures.claims.files import ClaimSource
    from admin.procedures.claims.preparation import FilingOptions, Prepared
    from admin.procedures.claims.steps import ClaimSteps
    from admin.procedures.networks.health import Committed
    from chaincode.claims.model import CheckResult, Claim


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
        "    --as UnitedPayer/intake",
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
    "--skip-faulty",
    is_flag=True,
    help="Take an 837's good transaction sets although others are faulty [nothing of the file].",
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

    results: list[Submitted] = []
    written = Report(report)
    desk = X12Desk(context, ack, whole=not skip_faulty)
    try:
        sources = read_claim_files(files, skip_faulty=skip_faulty, seen=desk.see)
    finally:
        desk.acknowledge()

    async def work() -> "list[Submitted]":
        async with open_health(context, channel) as session:
            options = await _options(session, said, ask_first=not no_ask, chunk=chunk)
            if dry_run:
                _show_dry_run(context, await _claims(session).check(sources, options))
                return []
            return await _submit(context, session, sources, options, results)

    try:
        done = context.run(work())
    finally:
        written.write(results)
        if 0 < len(results) < len(sources):
            context.output.note(
                f"{len(results)} of {len(sources)} claims were answered for; send the same files "
                "again to go on"
            )
    if not dry_run:
        _show_submitted(context, done)
    desk.refuse_skipped()


async def _submit(
    context: Context,
    session: HealthSession,
    sources: "list[ClaimSource]",
    options: "FilingOptions",
    results: "list[Submitted]",
) -> "list[Submitted]":
    claims = _claims(session)
    if len(sources) == 1:
        return await claims.submit(sources, options, told=results.extend)
    with context.output.progress("submitting claims", len(sources)) as progress:
        return await claims.submit(sources, options, progress=progress.advance, told=results.extend)


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

    sources = read_claim_files([file])
    if len(sources) != 1:
        raise input_error("a claim is replaced by one claim", "name a file that holds one", file)

    async def work() -> "Submitted":
        async with open_health(context, channel) as session:
            claims = _claims(session)
            held = await claims.resolve(claim)
            return await claims.replace(held, sources[0], await _options(session, said))

    _show_one(context, context.run(work()), f" in place of {shorten(claim)}")


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


# Results


def _show_submitted(context: Context, done: "list[Submitted]") -> None:
    if len(done) == 1:
        _show_one(context, done[0])
        return
    refused = [one for one in done if one.refused]
    context.output.result(
        [_wire(one) for one in done], lambda output: _tell_many(context, output, done)
    )
    if refused:
        if not context.json:
            context.output.warn(
                f"{len(refused)} of {len(done)} claims were not taken; correct them and send the "
                "files again: what is there already stays"
            )
        raise click.exceptions.Exit(int(ExitCode.REFUSED))


def _show_one(context: Context, one: "Submitted", more: str = "") -> None:
    if one.refused:
        raise _refusal(context, one)
    payer = context.wallet.member(one.payer).name
    result = one.result
    status = result.status.value if result.status else ""
    place = f"in block {one.block_number} ({one.seconds * 1000:.0f} ms)"
    text = f"✓ claim {shorten(one.claim)} submitted to {payer}{more} {place}"
    if result.existing:
        text = f"✓ claim {shorten(one.claim)} is at {payer} already: {status}"
    lines = [text, *(f"  {line}" for line in tell_checks(result.checks, one.claim))]
    context.output.result(_wire(one), "\n".join(lines))


def _refusal(context: Context, one: "Submitted") -> FaultError:
    """The fault of a claim that stopped at the gate, with its gravest reason."""
    if one.result.error:
        code, _, text = one.result.error.partition(": ")
        return FaultError(Fault(ExitCode.REFUSED, code, f"not taken: {text}", one.where))
    findings = [f for f in loud_findings(one.result.checks) if f.verdict.value == "rejected"]
    first = findings[0]
    code = "-".join(part for part in (first.group, first.carc, first.rarc) if part)
    more = f" (and {len(findings) - 1} more, see -v)" if len(findings) > 1 else ""
    place = (
        f"; recorded as claim {shorten(one.claim)} in block {one.block_number}"
        if one.sent
        else "; stopped at your own peer, nothing was sent"
    )
    return FaultError(
        Fault(
            ExitCode.REFUSED,
            code,
            f"claim rejected at the gate: {tell_finding(first)}{more}{place}",
            one.where,
            _REMEDIES.get(_check_of(one, first), "correct the claim and send it again"),
            tuple(tell_finding(finding) for finding in findings),
        )
    )


_REMEDIES = {
    "consent": "see why: medfabric consent explain PATIENT --purpose HPAYMT; without --label a "
    "claim counts as restricted",
    "evidence": "anchor it first: medfabric record anchor RECORD",
    "authority": "act as who may file this claim, with --as",
}


def _check_of(one: "Submitted", finding: object) -> str:
    return next((c.check for c in one.result.checks if finding in c.findings), "")


def _tell_many(context: Context, output: Output, done: "list[Submitted]") -> None:
    taken = [one for one in done if not one.refused]
    fresh = [one for one in taken if not one.result.existing]
    payers = sorted({context.wallet.member(one.payer).name for one in done})
    blocks = sorted({one.block_number for one in fresh})
    seconds = sum({one.transaction_id: one.seconds for one in fresh}.values())
    where = ""
    if blocks:
        span = f"block {blocks[0]}" if len(blocks) == 1 else f"blocks {blocks[0]} to {blocks[-1]}"
        where = f" in {span} ({seconds * 1000:.0f} ms)"
    names = ", ".join(payers)
    if taken and not fresh and len(taken) == len(done):
        output.line(f"✓ all {len(done)} claims are at {names} already")
    else:
        mark = "✓" if len(taken) == len(done) else "✗"
        output.line(f"{mark} {len(fresh)} of {len(done)} claims submitted to {names}{where}")
        told = [f"{len(fresh)} new", f"{len(taken) - len(fresh)} there already"]
        if len(taken) < len(done):
            told.append(f"{len(done) - len(taken)} refused")
        output.line(f"  {' · '.join(told)}")
    rows = []
    for one in done:
        findings = loud_findings(one.result.checks)
        said = one.result.error or (tell_finding(findings[0]) if findings else "")
        status = one.result.status.value if one.result.status else "not taken"
        rows.append((one.where, shorten(one.claim), status, said))
    loud = [row for row in rows if row[3]]
    output.table(("file", "claim", "status", "finding"), loud if len(rows) > 20 else rows)


def _show_dry_run(
    context: Context, found: "list[tuple[Prepared, tuple[CheckResult, ...]]]"
) -> None:
    from chaincode import canonical

    def human(output: Output) -> None:
        for one, results in found:
            output.line(f"{one.where}: nothing was sent")
            for line in tell_checks(results, ""):
                output.line(f"  {line.partition(' → ')[0]}")

    wire = [
        {"where": one.where, "checks": [canonical.to_wire(result) for result in results]}
        for one, results in found
    ]
    context.output.result(wire, human)


def _wire(one: "Submitted") -> dict[str, Any]:
    from chaincode import canonical

    wire: dict[str, Any] = {
        "where": one.where,
        "payer": one.payer,
        "room": one.room.value,
        "sent": one.sent,
    }
    if one.transaction_id:
        wire |= {"transactionId": one.transaction_id, "blockNumber": one.block_number}
    return {**canonical.to_wire(one.result), **wire}
