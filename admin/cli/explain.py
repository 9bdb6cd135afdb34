"""`medfabric explain`: what a code means and what to do."""

import click

from admin.cli.frame import Command, Context, with_context
from admin.errors import input_error
from admin.explain import MEANINGS, Meaning, explain_term, get_near_terms
from admin.output import Output


@click.command(
    "explain",
    cls=Command,
    examples=[
        "medfabric explain ENDORSEMENT_POLICY_FAILURE",
        "medfabric explain 11",
        "medfabric explain conflict",
        "medfabric explain --all --json",
    ],
)
@click.argument("term", required=False)
@click.option("--all", "everything", is_flag=True, help="Every code there is.")
@with_context
def command(context: Context, term: str | None, everything: bool) -> None:
    """Say what a code means and what to do about it.

    TERM is a validation code, a gateway status or an exit code: its name, a part of the name, or
    its number. For one transaction on the ledger, see 'medfabric tx explain'.
    """
    if not term and not everything:
        raise click.UsageError("name a code, or --all")
    found = list(MEANINGS) if everything else explain_term(term or "")
    if not found:
        near = get_near_terms(term or "")
        hint = f"did you mean {', '.join(near)}?" if near else "see: medfabric explain --all"
        raise input_error(f"nothing is called {term!r}", hint)
    context.output.result(found, lambda output: _show(output, found))


def _show(output: Output, found: list[Meaning]) -> None:
    for number, one in enumerate(found):
        if number:
            output.line()
        code = "" if one.number is None else f" {one.number}"
        output.line(f"{one.name}  ({one.kind}{code})")
        output.line(f"  {one.meaning}")
        output.line(f"  → {one.remedy}")
