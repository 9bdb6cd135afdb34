"""`medfabric claim` between payers: forward what one decided, look again when it changes."""

from typing import TYPE_CHECKING, Any

import click

from admin.cli.claiming.filing import open_steps
from admin.cli.claiming.options import CLAIM, read_options
from admin.cli.claiming.submitting import show_submitted
from admin.cli.claiming.views import show_step
from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.cli.sessions import HealthSession, open_health
from admin.output import Output, shorten

if TYPE_CHECKING:
    from admin.procedures.claims.claims import Claims, Submitted
    from admin.procedures.networks.health import Committed
    from chaincode.claims.model import Claim, Reexamination


@click.command(
    cls=Command,
    examples=[
        "medfabric claim forward 7f3a --payer SecondPayer --coverage 1fc9… --label N \\",
        "    --as UnitedPayer/adjudicator",
        "medfabric claim forward 7f3a --payer SecondPayer --coverage 1fc9… --label N \\",
        "    --facts second-card.json --as GeneralHospital/billing",
    ],
)
@CLAIM
@click.option("--payer", required=True, metavar="ORG", help="The next payer.")
@click.option(
    "--coverage", required=True, metavar="HANDLE", help="The member's, as that payer stated it."
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="CODE",
    help="Security label (N, R, PSY, …); repeat. Without any a claim counts as restricted.",
)
@click.option(
    "--facts", metavar="FILE", help="What the next payer stated: 'claim coverage -o' writes it."
)
@channel_option
@with_context
def forward(
    context: Context,
    claim: str,
    payer: str,
    coverage: str,
    labels: tuple[str, ...],
    facts: str | None,
    channel: str | None,
) -> None:
    """File CLAIM with the next payer, with what its payer decided: no file is needed.

    Services come from CLAIM, amounts from its payer's decision, which the next payer compares with
    what that payer committed to. It is for the provider or the payer that decided; the one who
    forwards and the next payer need a private collection that they share. Forwarding again after
    the decision changed (an appeal, a replaced claim) replaces what was forwarded before; without a
    change it is answered with how that stands.
    """

    async def work() -> "Submitted":
        async with open_health(context, channel) as session:
            said: dict[str, Any] = {
                "patient": "", "coverages": (), "records": (), "authorizations": (),
                "handles": None, "provider": "",
            }  # fmt: skip
            options = read_options(**said, labels=labels, payer=payer, facts=facts)
            return await _claims(session).forward(claim, coverage, options)

    show_submitted(context, context.run(work()), f", forwarded from {shorten(claim)},")


@click.command(cls=Command, examples="medfabric claim confirm 91bc --as SecondPayer/adjudicator")
@CLAIM
@channel_option
@with_context
def confirm(context: Context, claim: str, channel: str | None) -> None:
    """Stay with CLAIM as it is, although what the payer before decided has changed."""

    async def work() -> "Committed[Claim]":
        async with open_health(context, channel) as session:
            return await (await open_steps(session, claim)).confirm()

    show_step(context, "confirmed", context.run(work()))


@click.command(cls=Command, examples="medfabric claim reexamine --as SecondPayer/adjudicator")
@channel_option
@with_context
def reexamine(context: Context, channel: str | None) -> None:
    """The claims that wait to be looked at again: what the payer before decided has changed.

    A claim leaves the queue when its filer replaces it ('claim forward' does) or voids it, or when
    'claim confirm' says that it stays as it is.
    """
    from chaincode import canonical

    async def work() -> "list[Reexamination]":
        async with open_health(context, channel) as session:
            return [one async for one in _claims(session).reexaminations()]

    found = context.run(work())

    def human(output: Output) -> None:
        output.table(
            ("claim", "rests on", "which was", "now", "since"),
            [
                (
                    one.claim,
                    shorten(one.primary),
                    _DONE[one.action],
                    shorten(one.instead) if one.instead else None,
                    one.since,
                )
                for one in found
            ],
            empty="No claim waits to be looked at again.",
        )

    context.output.result([canonical.to_wire(one) for one in found], human)


_DONE = {"overturn": "decided anew", "void": "voided", "replace": "replaced"}


def _claims(session: HealthSession) -> "Claims":
    from admin.procedures.claims.claims import Claims

    return Claims(session.surroundings, session.profile, session.health)
