"""`medfabric claim` for who pays: adjudicate, pend, pay, decide-appeal."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from admin.cli.claiming.filing import open_steps
from admin.cli.claiming.options import CLAIM, read_day
from admin.cli.claiming.views import code_of, show_step, tell_decision
from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.cli.sessions import open_health
from admin.errors import usage_error

if TYPE_CHECKING:
    from admin.procedures.claims.steps import ClaimSteps, Deciding
    from admin.procedures.networks.health import Committed
    from chaincode.claims.details import Adjudication
    from chaincode.claims.model import Claim

_DECISION = click.option(
    "--decision",
    metavar="FILE",
    help="Decide by hand: the lines in FILE instead of the rules.",
)
_DENY = click.option(
    "--deny", metavar="REASON", help="Deny every line: group, CARC, RARC, such as CO-50-N130."
)


@click.command(
    cls=Command,
    examples=[
        "medfabric claim adjudicate 7f3a --as UnitedPayer/adjudicator",
        "medfabric claim adjudicate 7f3a --deny CO-50-N130 --as UnitedPayer/adjudicator",
        "medfabric claim adjudicate 7f3a --decision lines.json --as UnitedPayer/adjudicator",
    ],
)
@CLAIM
@_DECISION
@_DENY
@click.option(
    "--accept-deferred",
    is_flag=True,
    help="Let the rules decide although facts are missing that a check would need.",
)
@channel_option
@with_context
def adjudicate(
    context: Context,
    claim: str,
    decision: str | None,
    deny: str | None,
    accept_deferred: bool,
    channel: str | None,
) -> None:
    """Decide CLAIM: by the rules, from its checks, facts and table, or by hand.

    By hand, FILE says for every line what is paid and why not more, in units of the currency:
    {"lines": [{"sequence": 1, "paid": 120.00,
    "adjustments": [{"group": "CO", "carc": "45", "amount": 65.00}]}]}.
    Charge - adjustments = paid on every line. A denial carries group code and CARC.
    """

    async def work() -> "tuple[Committed[Claim], Adjudication]":
        async with open_health(context, channel) as session:
            steps = await open_steps(session, claim)
            wanted = await _deciding(steps, decision, deny, accept_deferred=accept_deferred)
            return await steps.adjudicate(wanted), await steps.decision()

    _show_decision(context, "adjudicated", *context.run(work()))


@click.command(
    "decide-appeal",
    cls=Command,
    examples=[
        "medfabric claim decide-appeal 7f3a --uphold --as UnitedPayer/adjudicator",
        "medfabric claim decide-appeal 7f3a --decision lines.json --as UnitedPayer/adjudicator",
    ],
)
@CLAIM
@click.option("--uphold", is_flag=True, help="Stay with the refusal.")
@click.option("--text", default="", metavar="WORDS", help="For the filer only: kept private.")
@_DECISION
@channel_option
@with_context
def decide_appeal(
    context: Context,
    claim: str,
    uphold: bool,
    text: str,
    decision: str | None,
    channel: str | None,
) -> None:
    """Decide the appeal of CLAIM: the refusal is upheld, or there is a new decision."""
    if uphold == bool(decision):
        raise usage_error("give either --uphold or --decision FILE")

    async def work() -> "tuple[Committed[Claim], Adjudication]":
        async with open_health(context, channel) as session:
            steps = await open_steps(session, claim)
            if uphold:
                return await steps.uphold(text), await steps.decision()
            wanted = await _deciding(steps, decision, None)
            return await steps.overturn(wanted), await steps.decision()

    verb = "upheld on appeal" if uphold else "decided anew on appeal"
    _show_decision(context, verb, *context.run(work()))


@click.command(
    cls=Command,
    examples="medfabric claim pend 7f3a --reason CO-16-N706 --as UnitedPayer/adjudicator",
)
@CLAIM
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    required=True,
    metavar="REASON",
    help="What is missing: group, CARC, RARC; repeat.",
)
@click.option("--text", default="", metavar="WORDS", help="For the filer only: kept private.")
@channel_option
@with_context
def pend(
    context: Context, claim: str, reasons: tuple[str, ...], text: str, channel: str | None
) -> None:
    """Wait with CLAIM until its filer supplies what is missing."""
    from admin.procedures.claims.decisions import read_reason

    wanted = tuple(read_reason(reason) for reason in reasons)

    async def work() -> "Committed[Claim]":
        async with open_health(context, channel) as session:
            return await (await open_steps(session, claim)).pend(wanted, text)

    named = ", ".join(code_of(reason) for reason in wanted)
    show_step(context, f"pended ({named})", context.run(work()))


@click.command(
    cls=Command,
    examples="medfabric claim pay 7f3a --trace EFT-20261122-7 --as UnitedPayer/adjudicator",
)
@CLAIM
@click.option("--trace", required=True, metavar="TEXT", help="The payment's trace number.")
@click.option("--on", "paid_on", type=read_day, metavar="DATE", help="The day of payment [today].")
@channel_option
@with_context
def pay(
    context: Context, claim: str, trace: str, paid_on: date | None, channel: str | None
) -> None:
    """Note that CLAIM is paid, exactly as it was decided."""

    async def work() -> "tuple[Committed[Claim], Adjudication]":
        async with open_health(context, channel) as session:
            steps = await open_steps(session, claim)
            done = await steps.pay(trace, paid_on or datetime.now(UTC).date())
            return done, await steps.decision()

    done, made = context.run(work())
    show_step(context, "paid", done, tell_decision(made))


async def _deciding(
    steps: "ClaimSteps", decision: str | None, deny: str | None, *, accept_deferred: bool = False
) -> "Deciding":
    """How the options say that the claim is decided. Raises FaultError."""
    from admin.fhir.reading import read_source
    from admin.procedures.claims.decisions import deny_all, read_lines, read_reason
    from admin.procedures.claims.steps import Deciding

    if decision and deny:
        raise usage_error("give either --decision or --deny")
    if deny:
        reason = read_reason(deny)
        return Deciding(deny_all(await steps.details(), reason))
    if decision:
        source = read_source(decision)
        return Deciding(read_lines(source, await steps.details()))
    return Deciding(accept_deferred=accept_deferred)


def _show_decision(
    context: Context, verb: str, done: "Committed[Claim]", made: "Adjudication"
) -> None:
    claim = done.value
    outcome = claim.outcome.value if claim.outcome else ""
    reasons = ", ".join(code_of(reason) for reason in claim.reasons)
    until = f", can be appealed until {claim.appeal_deadline:%Y-%m-%d}" if reasons else ""
    show_step(
        context,
        f"{verb}: {outcome}",
        done,
        tell_decision(made),
        f"reasons: {reasons}{until}" if reasons else "",
    )
