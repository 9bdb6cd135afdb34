"""`medfabric ledger`: a channel's ledger as a peer has it."""

import click

from admin.cli.frame import Context, Group, channel_option, with_context
from admin.output import Output


@click.group("ledger", cls=Group, examples=["medfabric ledger show", "medfabric ledger compare"])
def group() -> None:
    """A channel's ledger: its height and hashes, and whether the peers agree."""


@group.command(examples=["medfabric ledger show", "medfabric ledger show -c care --json"])
@channel_option
@with_context
def show(context: Context, channel: str | None) -> None:
    """Show the ledger's height and newest hashes, as the peer of who acts has it."""
    from admin.procedures.ledger import LedgerView, get_ledger, open_peer

    profile, name = context.operator(), context.channel(channel)

    async def read() -> LedgerView:
        async with open_peer(profile) as peer:
            return await get_ledger(peer, name)

    found = context.run(read())

    def display(output: Output) -> None:
        output.line(f"channel {found.channel} at {found.peer}: {found.height} blocks")
        output.line(f"  newest block hash   {found.newest_hash.hex()}")
        output.line(f"  previous block hash {found.previous_hash.hex() or '–'}")

    context.output.result(found, display)


@group.command(examples=["medfabric ledger compare", "medfabric ledger compare --json"])
@channel_option
@with_context
def compare(context: Context, channel: str | None) -> None:
    """Ask every peer of the channel for its height and the hash at the height all have.

    Exits with 5 when two peers differ.
    """
    from admin.procedures.comparison import Comparison, compare_peers

    name = context.channel(channel)
    found = context.run(compare_peers(context.surroundings, name))

    def display(output: Output, found: Comparison = found) -> None:
        output.table(
            ["peer", "height", "hash at common height", "note"],
            [(one.peer, one.height, one.hash.hex()[:16], one.note) for one in found.peers],
        )
        verdict = "agree" if found.agree else "DIFFER"
        output.line(f"the peers {verdict} up to block {found.common_height - 1}")

    context.output.result(found, display)
    if not found.agree:
        click.get_current_context().exit(5)
