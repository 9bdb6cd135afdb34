"""`medfabric claim` for who looks: list, show, watch."""

import json
from typing import TYPE_CHECKING

import click

from admin.cli.claiming.options import CLAIM
from admin.cli.claiming.views import code_of, loud_findings, show_claim, show_file
from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.cli.sessions import HealthSession, open_health
from admin.cli.watching import build_watch
from admin.errors import usage_error
from admin.output import Output, shorten

if TYPE_CHECKING:
    from admin.procedures.claims.claims import Claims
    from chaincode.claims.details import ClaimFile
    from chaincode.claims.model import Claim, ClaimHistory

_STATUSES = (
    *("accepted", "rejected", "pended", "supplied", "adjudicated", "remitted", "reconciled"),
    *("appealed", "voided", "replaced"),
)


@click.command(
    "list", cls=Command, examples="medfabric claim list --status accepted --as UnitedPayer/intake"
)
@click.option("--status", type=click.Choice(_STATUSES), help="Only those that stand so.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N [all].")
@channel_option
@with_context
def list_(context: Context, status: str | None, limit: int | None, channel: str | None) -> None:
    """The claims of who acts' organisation, oldest first."""
    from chaincode import canonical
    from chaincode.claims.states import Status

    async def work() -> "list[Claim]":
        async with open_health(context, channel) as session:
            found: list[Claim] = []
            async for one in _claims(session).listed(Status(status) if status else None):
                found.append(one)
                if limit and len(found) >= limit:
                    break
            return found

    claims = context.run(work())

    def human(output: Output) -> None:
        output.table(
            ("claim", "status", "outcome", "provider", "payer", "findings", "submitted"),
            [
                (
                    one.claim,
                    one.status.value,
                    one.outcome.value if one.outcome else None,
                    one.provider,
                    one.payer,
                    " ".join(dict.fromkeys(code_of(f) for f in loud_findings(one.checks))),
                    one.submitted_at,
                )
                for one in claims
            ],
            empty="There are no such claims.",
        )

    context.output.result([canonical.to_wire(one) for one in claims], human)


@click.command(
    cls=Command,
    examples=[
        "medfabric claim show 7f3a --as UnitedPayer/adjudicator",
        "medfabric claim show 7f3a --details --as UnitedPayer/adjudicator",
        "medfabric claim show 7f3a --fhir > response.json",
        "medfabric claim show 7f3a --eob > explanation.json",
    ],
)
@CLAIM
@click.option("--details", is_flag=True, help="Lines and amounts too, for the parties.")
@click.option("--history", is_flag=True, help="Every change, oldest first.")
@click.option("--fhir", is_flag=True, help="The decision as a FHIR R4 ClaimResponse.")
@click.option("--eob", is_flag=True, help="As a FHIR R4 ExplanationOfBenefit, for the patient.")
@channel_option
@with_context
def show(
    context: Context,
    claim: str,
    details: bool,
    history: bool,
    fhir: bool,
    eob: bool,
    channel: str | None,
) -> None:
    """How CLAIM stands: its parties, status, checks and reasons."""
    if details + history + fhir + eob > 1:
        raise usage_error("give one of --details, --history, --fhir and --eob")
    if history:
        _show_history(context, claim, channel)
        return

    async def work() -> "tuple[Claim, ClaimFile | None]":
        async with open_health(context, channel) as session:
            claims = _claims(session)
            held = await claims.resolve(claim)
            return held, await claims.details(held.claim) if details or fhir or eob else None

    held, file = context.run(work())
    if (fhir or eob) and file is not None:
        _show_response(context, held, file, eob=eob)
        return
    from chaincode import canonical

    def human(output: Output) -> None:
        show_claim(output, held)
        if file is not None:
            show_file(output, file)

    wire = canonical.to_wire(held)
    if file is not None:
        wire = {"claim": wire, "file": canonical.to_wire(file)}
    context.output.result(wire, human)


def _show_history(context: Context, claim: str, channel: str | None) -> None:
    from chaincode import canonical

    async def work() -> "ClaimHistory":
        async with open_health(context, channel) as session:
            claims = _claims(session)
            return await claims.history((await claims.resolve(claim)).claim)

    found = context.run(work())

    def human(output: Output) -> None:
        output.table(
            ("version", "action", "status", "outcome", "reasons", "by", "at"),
            [
                (
                    step.version,
                    step.action,
                    step.status.value,
                    step.outcome.value if step.outcome else None,
                    " ".join(code_of(reason) for reason in step.reasons),
                    step.msp_id,
                    step.at,
                )
                for step in found.steps
            ],
        )

    context.output.result(canonical.to_wire(found), human)


def _show_response(context: Context, held: "Claim", file: "ClaimFile", *, eob: bool) -> None:
    from admin.errors import input_error
    from admin.fhir.writing import format_json
    from chaincode.claims.explanations import build_explanation
    from chaincode.claims.responses import build_claim_response

    if file.details is None or not file.decisions:
        raise input_error(
            f"claim {shorten(held.claim)} is {held.status.value}: no decision is at this peer",
            "there is an answer once the payer has decided",
        )
    build = build_explanation if eob else build_claim_response
    text = format_json(build(held, file))
    context.output.result(json.loads(text), text)


watch = build_watch(
    "claims",
    ("claims.",),
    own_only=True,
    example=[
        "medfabric claim watch --as UnitedPayer/intake",
        "medfabric claim watch --checkpoint claims.json --json --as UnitedPayer/intake",
        "medfabric claim watch --event Adjudicated --event Paid --as GeneralHospital/billing",
    ],
)


def _claims(session: HealthSession) -> "Claims":
    from admin.procedures.claims.claims import Claims

    return Claims(session.surroundings, session.profile, session.health)
