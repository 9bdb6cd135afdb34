"""`medfabric claim` for X12: remittances and statuses going out."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from admin.cli.claiming.answers import control_number, write_text
from admin.cli.claiming.options import read_day
from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.cli.sessions import HealthSession, open_health
from admin.errors import input_error

if TYPE_CHECKING:
    from datetime import date

    from admin.procedures.claims.claims import Claims
    from admin.x12.status import Standing
    from admin.x12.writer import Address, SetOut


@click.command(
    cls=Command,
    examples=[
        "medfabric claim remit --trace EFT-7 --profile partner.yaml -o EFT-7.835 \\",
        "    --as UnitedPayer/adjudicator",
        "medfabric claim remit 7f3a 91bc --profile partner.yaml --as UnitedPayer/adjudicator",
    ],
)
@click.argument("claims", metavar="[CLAIM]...", nargs=-1)
@click.option("--trace", metavar="TEXT", help="All claims paid under this trace number.")
@click.option(
    "--profile", required=True, metavar="FILE", help="Names and addresses that X12 needs."
)
@click.option(
    "--format", "form", type=click.Choice(["x12"]), default="x12", show_default=True,
    help="An 835, 005010X221A1.",
)  # fmt: skip
@click.option("-o", "--output", "target", metavar="FILE", help="Where to [standard output].")
@channel_option
@with_context
def remit(
    context: Context,
    claims: tuple[str, ...],
    trace: str | None,
    profile: str,
    form: str,
    target: str | None,
    channel: str | None,
) -> None:
    """Write the 835 remittance advice of CLAIMs, or of all claims paid under a trace.

    One transaction set for each payee and payment. A denied claim is told of with nothing paid; a
    claim that was paid and then voided or replaced comes back reversed, and what is then owed to
    the payer is carried forward (PLB). Nothing is written unless charge - adjustments = paid on
    every line, every claim and in total, and the guide is kept.

    \b
    FILE of --profile, YAML:
      sender: {id: UNITEDPAYER}
      receiver: {id: GENERALHOSP}
      payer: {name: United Payer, taxId: "371234567", street: 1 Plaza, city: Springfield,
              state: IL, zip: "62701", contact: EDI desk, phone: "2175550100"}
      payees: {"1555001019": {name: General Hospital, taxId: "379876543"}}
      members: {"<patient handle>": {id: UP-7731, last: Hart, first: Amelia}}
    """
    from admin.fhir.reading import read_source
    from admin.procedures.claims.remitting import collect_payments
    from admin.x12.partners import read_profile
    from admin.x12.remittance import UnbalancedError, build_remittance

    if not claims and not trace:
        raise input_error("nothing to remit", "name claims, or a trace with --trace")
    partner = read_profile(read_source(profile))

    async def work() -> "list[SetOut]":
        async with open_health(context, channel) as session:
            payments = await collect_payments(_claims(session), claims, trace or "")
            now = datetime.now(UTC)
            return [build_remittance(one, partner, now) for one in payments]

    try:
        sets = context.run(work())
    except UnbalancedError as error:
        raise input_error(
            f"the remittance would not balance: {error}",
            "nothing was written; look at the decision: medfabric claim show CLAIM --details",
        ) from None
    text = _interchange(sets, "HP", partner.sender, partner.receiver, partner.production)
    _give(context, text, target, f"✓ {_count(len(sets), 'remittance')} (835)")


@click.command(
    cls=Command,
    examples=[
        "medfabric claim status 7f3a --format x12 --profile partner.yaml -o 7f3a.277",
        "medfabric claim status --request asked.276 --profile partner.yaml -o answer.277",
        "medfabric claim status 7f3a",
    ],
)
@click.argument("claims", metavar="[CLAIM]...", nargs=-1)
@click.option("--request", metavar="FILE", help="An X12 276 that asks, by REF 1K or TRN.")
@click.option("--profile", metavar="FILE", help="Names that X12 needs; see claim remit --help.")
@click.option(
    "--format", "form", type=click.Choice(["text", "x12"]), default="text", show_default=True,
    help="x12: a 277, 005010X212.",
)  # fmt: skip
@click.option("--since", type=read_day, metavar="DATE", help="All claims changed since this day.")
@click.option("-o", "--output", "target", metavar="FILE", help="Where to [standard output].")
@channel_option
@with_context
def status(
    context: Context,
    claims: tuple[str, ...],
    request: str | None,
    profile: str | None,
    form: str,
    since: "date | None",
    target: str | None,
    channel: str | None,
) -> None:
    """Tell how CLAIMs stand, as a table or as X12 277 claim status."""
    from admin.fhir.reading import read_source
    from admin.procedures.claims.remitting import collect_standings
    from admin.x12.partners import read_profile
    from admin.x12.status import build_status, read_request, word_of

    asked = read_request(read_source(request)) if request else None
    if form == "x12" or request:
        if not profile:
            raise input_error("a 277 needs --profile", "see its form: medfabric claim remit --help")
        partner = read_profile(read_source(profile))
    named = (*claims, *(asked.claims if asked else ()))
    if not named and since is None:
        raise input_error("no claim is named", "name claims, or give --since or --request")

    async def work() -> "list[Standing]":
        async with open_health(context, channel) as session:
            return await collect_standings(_claims(session), named, since)

    found = context.run(work())
    if form == "x12" or request:
        now = datetime.now(UTC)
        answer = build_status(found, partner, now, asked)
        text = _interchange([answer], "HN", partner.sender, partner.receiver, partner.production)
        _give(context, text, target, f"✓ status of {_count(len(found), 'claim')} (277)")
        return
    context.output.result(
        [
            {"claim": one.claim.claim, "status": one.claim.status.value, "x12": word_of(one.claim)}
            for one in found
        ],
        lambda output: output.table(
            ("claim", "status", "outcome", "x12", "changed"),
            [
                (
                    one.claim.claim,
                    one.claim.status.value,
                    one.claim.outcome.value if one.claim.outcome else None,
                    word_of(one.claim),
                    one.claim.updated_at,
                )
                for one in found
            ],
        ),
    )


def _interchange(
    sets: "list[SetOut]",
    function: str,
    sender: "Address",
    receiver: "Address",
    production: bool,
) -> str:
    """The interchange, if its own guide finds nothing wrong with it."""
    from admin.x12.guides import find_faults
    from admin.x12.writer import build_interchange

    now = datetime.now(UTC)
    text = build_interchange(
        sets, function, sender, receiver, at=now, control=control_number(now), production=production
    )
    faults = find_faults(text)
    if faults:
        raise input_error(
            f"the guide would refuse what was to be written: {faults[0].tell()}",
            "complete the profile, or correct the claim; nothing was written",
            details=tuple(fault.tell() for fault in faults),
        )
    return text


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _give(context: Context, text: str, target: str | None, told: str) -> None:
    if target:
        write_text(target, text)
        context.output.result({"file": target}, f"{told} in {target}")
    else:
        context.output.result({"x12": text}, text.rstrip())


def _claims(session: HealthSession) -> "Claims":
    from admin.procedures.claims.claims import Claims

    return Claims(session.surroundings, session.profile, session.health)
