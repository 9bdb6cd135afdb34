"""`medfabric block`: blocks of a channel."""

import click

from admin.cli.frame import Context, Group, channel_option, with_context
from admin.output import Output


@click.group("block", cls=Group, examples=["medfabric block list", "medfabric block show 7"])
def group() -> None:
    """Blocks of a channel: the newest ones, or one with what it holds."""


@group.command("list", examples=["medfabric block list", "medfabric block list -n 50 --json"])
@channel_option
@click.option(
    "-n", "--count", type=click.IntRange(0, 10_000), default=10, show_default=True, help="How many."
)
@with_context
def list_(context: Context, channel: str | None, count: int) -> None:
    """List the newest blocks, the newest first."""
    from admin.procedures.ledgers.blocks import BlockView
    from admin.procedures.ledgers.ledger import list_blocks, open_peer

    profile, name = context.operator(), context.channel(channel)

    async def read() -> list[BlockView]:
        async with open_peer(profile) as peer:
            return await list_blocks(peer, name, count)

    found = context.run(read())

    def display(output: Output) -> None:
        output.table(
            ["block", "time", "transactions", "invalid", "functions", "hash"],
            [
                (
                    block.number,
                    block.transactions[0].time if block.transactions else None,
                    len(block.transactions),
                    sum(not one.valid for one in block.transactions),
                    ", ".join(sorted({one.function or one.kind for one in block.transactions})),
                    block.hash.hex()[:12],
                )
                for block in found
            ],
            empty="no blocks",
        )

    context.output.result(found, display)


@group.command(examples=["medfabric block show 7", "medfabric block show newest --json"])
@click.argument("number", metavar="NUMBER|newest")
@channel_option
@with_context
def show(context: Context, number: str, channel: str | None) -> None:
    """Show one block and the transactions in it."""
    from admin.procedures.ledgers.blocks import BlockView
    from admin.procedures.ledgers.ledger import get_block_view, get_ledger, open_peer

    if number != "newest" and not number.isdigit():
        raise click.UsageError(f"{number!r} is no block number")
    profile, name = context.operator(), context.channel(channel)

    async def read() -> BlockView:
        async with open_peer(profile) as peer:
            if number == "newest":
                wanted = (await get_ledger(peer, name)).height - 1
            else:
                wanted = int(number)
            return await get_block_view(peer, name, wanted)

    found = context.run(read())

    def display(output: Output) -> None:
        state = "" if found.intact else "  DATA DOES NOT MATCH ITS HASH"
        output.line(f"block {found.number}{state}")
        output.line(f"  hash          {found.hash.hex()}")
        output.line(f"  previous hash {found.previous_hash.hex() or '–'}")
        output.line(f"  data hash     {found.data_hash.hex()}")
        output.table(
            ["tx", "code", "function", "submitter", "time"],
            [
                (
                    one.transaction_id[:12],
                    one.code_name,
                    one.function or one.kind,
                    one.submitter,
                    one.time,
                )
                for one in found.transactions
            ],
        )

    context.output.result(found, display)
