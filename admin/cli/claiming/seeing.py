"""`medfabric claim` for who looks: list, show, watch."""

import json
from typing import TYPE_CHECKING, Any

import click

from admin.cli.claiming.options import CLAIM
from admin.cli.claiming.views import code_of, loud_findings, show_claim, show_file
from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.cli.sessions import HealthSession, open_health
from admin.errors import usage_error
from admin.output import Output, shorten

if TYPE_CHECKING:
    from admin.procedures.claims.claims import Claims
    from chaincode.claims.details import ClaimFile
    from chaincode.claims.model import Claim, ClaimHistory
    from network.client import ChaincodeEvent

_STATUSES = (
    *("accepted", "rejected", "pended", "supplied", "adjudicated", "remitted", "reconciled"),
    *("appealed", "voided", "replaced"),
)
PREFIX = "claims."


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
    ],
)
@CLAIM
@click.option("--details", is_flag=True, help="Lines and amounts too, for the parties.")
@click.option("--history", is_flag=True, help="Every change, oldest first.")
@click.option("--fhir", is_flag=True, help="The decision as a FHIR R4 ClaimResponse.")
@channel_option
@with_context
def show(
    context: Context,
    claim: str,
    details: bool,
    history: bool,
    fhir: bool,
    channel: str | None,
) -> None:
    """How CLAIM stands: its parties, status, checks and reasons."""
    if details + history + fhir > 1:
        raise usage_error("give one of --details, --history and --fhir")
    if history:
        _show_history(context, claim, channel)
        return

    async def work() -> "tuple[Claim, ClaimFile | None]":
        async with open_health(context, channel) as session:
            claims = _claims(session)
            held = await claims.resolve(claim)
            return held, await claims.details(held.claim) if details or fhir else None

    held, file = context.run(work())
    if fhir and file is not None:
        _show_response(context, held, file)
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


def _show_response(context: Context, held: "Claim", file: "ClaimFile") -> None:
    from admin.errors import input_error
    from admin.fhir.writing import format_json
    from chaincode.claims.responses import build_claim_response

    if file.details is None or not file.decisions:
        raise input_error(
            f"claim {shorten(held.claim)} is {held.status.value}: no decision is at this peer",
            "a ClaimResponse is there once the payer has decided",
        )
    text = format_json(build_claim_response(held, file))
    context.output.result(json.loads(text), text)


@click.command(
    cls=Command,
    examples=[
        "medfabric claim watch --as UnitedPayer/intake",
        "medfabric claim watch --checkpoint claims.json --json --as UnitedPayer/intake",
    ],
)
@click.option(
    "--checkpoint", metavar="FILE", help="Remembers how far it came, and goes on there next time."
)
@click.option("--from-block", type=click.IntRange(min=0), metavar="N", help="Begin here [now].")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option("--all", "everybody", is_flag=True, help="Other organisations' claims too.")
@channel_option
@with_context
def watch(
    context: Context,
    checkpoint: str | None,
    from_block: int | None,
    count: int | None,
    everybody: bool,
    channel: str | None,
) -> None:
    """Follow what happens to claims, as it is committed. Ends with Ctrl-C."""

    from network.client.checkpoint import Checkpoint

    kept = Checkpoint(checkpoint) if checkpoint else None

    async def work() -> None:
        async with open_health(context, channel) as session:
            network = session.health.gateway.network(session.health.channel_id)
            events = network.chaincode_events(
                session.health.chaincode,
                start_block=from_block,
                checkpoint=kept,
                reconnect=True,
            )
            seen = 0
            own = session.profile.signer.msp_id
            async for event in events:
                if event.name.startswith(PREFIX) and (everybody or _concerns(event, own)):
                    _show_event(context, event)
                    seen += 1
                if count and seen >= count:
                    if kept:  # the stream would only do so when asked for the next one
                        kept.record_transaction(event.block_number, event.transaction_id)
                    return

    context.run(work())


def _concerns(event: "ChaincodeEvent", msp_id: str) -> bool:
    payload = event.json() or {}
    return msp_id in (payload.get("payer"), payload.get("provider"), payload.get("submitter"))


def _show_event(context: Context, event: "ChaincodeEvent") -> None:
    payload: dict[str, Any] = event.json() or {}
    name = event.name.removeprefix(PREFIX)
    wire = {
        "event": name,
        "blockNumber": event.block_number,
        "transactionId": event.transaction_id,
        "payload": payload,
    }
    told = [f"block {event.block_number:<5} {name:<15}", _tell_payload(payload)]
    context.output.result(wire, "  ".join(told).rstrip())


def _tell_payload(payload: dict[str, Any]) -> str:
    if "accepted" in payload:
        return f"{len(payload['accepted'])} accepted, {len(payload['rejected'])} rejected"
    subject = shorten(str(payload.get("claim") or payload.get("handle") or payload.get("name", "")))
    words = [
        subject,
        str(payload.get("outcome") or payload.get("status") or payload.get("kind") or ""),
    ]
    words += payload.get("codes", [])
    return "  ".join(word for word in words if word)


def _claims(session: HealthSession) -> "Claims":
    from admin.procedures.claims.claims import Claims

    return Claims(session.surroundings, session.profile, session.health)
