"""`medfabric tx`: transactions on the ledger."""

from typing import TYPE_CHECKING

import click

from admin.cli.frame import Context, Group, channel_option, with_context
from admin.output import Output

if TYPE_CHECKING:
    from admin.procedures.ledgers.blocks import TransactionView
    from admin.procedures.ledgers.explanation import Explanation


@click.group("tx", cls=Group, examples=["medfabric tx show 9be1", "medfabric tx explain 9be1"])
def group() -> None:
    """Transactions: what they did, and why one is invalid.

    An id can be shortened while it is the only one that begins so.
    """


@group.command(examples=["medfabric tx show 9be1", "medfabric tx show 9be1 --json"])
@click.argument("identifier", metavar="ID")
@channel_option
@with_context
def show(context: Context, identifier: str, channel: str | None) -> None:
    """Show one transaction: who, when, what was called, what it read and wrote."""
    from admin.procedures.ledgers.ledger import find_transaction, open_peer

    profile, name = context.operator(), context.channel(channel)

    async def read() -> "TransactionView":
        async with open_peer(profile) as peer:
            return (await find_transaction(peer, name, identifier))[0]

    found = context.run(read())
    context.output.result(found, lambda output: _show(output, found))


@group.command(examples=["medfabric tx explain 9be1"])
@click.argument("identifier", metavar="ID")
@channel_option
@with_context
def explain(context: Context, identifier: str, channel: str | None) -> None:
    """Say why a transaction is valid or not, and what to do."""
    from admin.procedures.ledgers.explanation import explain_transaction
    from admin.procedures.ledgers.ledger import find_transaction, open_peer

    profile, name = context.operator(), context.channel(channel)

    async def read() -> "Explanation":
        async with open_peer(profile) as peer:
            transaction, block = await find_transaction(peer, name, identifier)
            return await explain_transaction(peer, name, transaction, block)

    found = context.run(read())

    def display(output: Output) -> None:
        one = found.transaction
        verdict = "VALID" if one.valid else f"INVALID  {one.code_name}"
        output.line(f"{verdict}  block {one.block_number}, transaction {one.position}")
        output.line(f"  {found.meaning}")
        for finding in found.findings:
            output.line(f"  {finding}")
        if not one.valid:
            output.line(f"  → {found.remedy}")

    context.output.result(found, display)


def _show(output: Output, one: "TransactionView") -> None:
    output.line(f"transaction {one.transaction_id}")
    output.line(f"  verdict    {one.code_name}, block {one.block_number}, place {one.position}")
    output.line(f"  time       {one.time:%Y-%m-%d %H:%M:%S} UTC" if one.time else "  time       –")
    output.line(f"  submitter  {one.submitter}")
    if one.kind != "endorser":
        output.line(f"  kind       {one.kind}")
        return
    output.line(f"  called     {one.chaincode} {one.function} → {one.status}")
    output.line(f"  endorsers  {', '.join(one.endorsers)}")
    if one.event:
        output.line(f"  event      {one.event}")
    for namespace in one.namespaces:
        for read in namespace.reads:
            output.line(f"  read       {namespace.namespace} {read.key} @ {read.version or 'none'}")
        for key in namespace.writes:
            output.line(f"  wrote      {namespace.namespace} {key}")
        for collection in namespace.collections:
            output.line(f"  private    {namespace.namespace} {collection}")
