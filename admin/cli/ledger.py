"""`medfabric ledger`: a channel's ledger as a peer has it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli.frame import Context, Group, channel_option, with_context
from admin.output import Output, Progress

if TYPE_CHECKING:
    from admin.procedures.ledgers.ledgercheck import LedgerVerdict, Step

SHOWN = 20  # differences that people are shown


@click.group("ledger", cls=Group, examples=["medfabric ledger show", "medfabric ledger verify"])
def group() -> None:
    """A channel's ledger: its height and hashes, whether the peers agree, whether it is right."""


@group.command(examples=["medfabric ledger show", "medfabric ledger show -c care --json"])
@channel_option
@with_context
def show(context: Context, channel: str | None) -> None:
    """Show the ledger's height and newest hashes, as the peer of who acts has it."""
    from admin.procedures.ledgers.ledger import LedgerView, get_ledger, open_peer

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


@group.command(
    examples=["medfabric ledger compare", "medfabric ledger compare peer0.general peer0.united"]
)
@click.argument("peers", metavar="[PEER PEER...]", nargs=-1)
@channel_option
@with_context
def compare(context: Context, peers: tuple[str, ...], channel: str | None) -> None:
    """Compare the blocks and the state of the channel's peers, and say where they part.

    PEER is a peer's name or a part of it; without any, all are compared. Equal commit hashes mean
    equal validation codes and equal state. Exits with 5 when two peers differ.
    """
    from admin.procedures.ledgers.comparison import Comparison, compare_peers

    name = context.channel(channel)
    found = context.run(compare_peers(context.surroundings, name, peers))

    def display(output: Output, found: Comparison = found) -> None:
        output.table(
            ["peer", "height", "hash at common height", "commit hash", "note"],
            [
                (one.peer, one.height, one.hash.hex()[:16], one.commit_hash.hex()[:16], one.note)
                for one in found.peers
            ],
        )
        verdict = "agree" if found.agree else "DIFFER"
        output.line(f"the peers {verdict} up to block {found.common_height - 1}")
        if found.first_difference is not None:
            what = "codes or state" if found.blocks_agree else "blocks"
            output.line(f"their {what} differ first at block {found.first_difference}")

    context.output.result(found, display)
    if not found.agree:
        click.get_current_context().exit(5)


@group.command(
    examples=[
        "medfabric ledger verify",
        "medfabric ledger verify --peer peer0.united --trust care.block",
        "medfabric ledger verify --folder blocks/ --json",
    ]
)
@click.option(
    "--folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder of block files, as 'peer channel fetch' writes them; needs no network.",
)
@click.option("--peer", metavar="NODE", help="A peer's name or a part of it [that of who acts].")
@click.option(
    "--trust",
    metavar="FILE",
    help="The channel's genesis (or another) block, from a source you trust.",
)
@channel_option
@with_context
def verify(
    context: Context, folder: Path | None, peer: str | None, trust: str | None, channel: str | None
) -> None:
    """Recompute a whole chain from its blocks, trusting neither peer nor orderer.

    Header and data hashes, orderers' signatures under the configuration of that height, every
    configuration update, creators' and endorsers' signatures, every validation code and the commit
    hashes; the state is rebuilt from the blocks. Says where the peer recorded something else, and
    why. Exits with 5 when something differs.

    Fabric judges the chaincodes that a transaction writes to in no fixed order: where two refuse
    it for different reasons, peers may record one code or the other, and either is refused.
    """
    if folder is not None and peer is not None:
        raise click.UsageError("--folder and --peer exclude each other")
    verdict = context.run(_verify(context, folder, peer, trust, channel))
    context.output.result(verdict, lambda output: _show_verdict(output, verdict))
    if not verdict.intact:
        click.get_current_context().exit(5)


async def _verify(
    context: Context, folder: Path | None, peer: str | None, trust: str | None, channel: str | None
) -> "LedgerVerdict":
    from admin.procedures.ledgers.blockfiles import open_folder, read_block_file
    from admin.procedures.ledgers.blocksources import BlockSource, FolderSource, PeerSource
    from admin.procedures.ledgers.comparison import find_peer, open_peer_of
    from admin.procedures.ledgers.ledger import open_peer
    from admin.procedures.ledgers.ledgercheck import verify_ledger

    trusted = read_block_file(Path(trust)) if trust else None

    async def judge(source: BlockSource, channel_id: str | None) -> "LedgerVerdict":
        output = context.output
        with output.progress("verify", total=source.height) as progress:
            watch = _Pace(output, progress)
            return await verify_ledger(source, channel_id=channel_id, trusted=trusted, watch=watch)

    if folder is not None:
        return await judge(FolderSource(open_folder(folder, channel)), channel)
    name = context.channel(channel)
    if peer is None:
        profile = context.operator()
        async with open_peer(profile) as client:
            address = client.endpoint.address
            return await judge(await PeerSource.open(client, name, address), name)
    node = find_peer(context.surroundings, name, peer)
    async with open_peer_of(context.surroundings, node) as client:
        return await judge(await PeerSource.open(client, name, node.fqdn), name)


class _Pace:
    """Tells how far the verification is: blocks, transactions a second, time left."""

    EVERY = 1.0  # seconds between two lines

    def __init__(self, output: Output, progress: Progress) -> None:
        self._output = output
        self._progress = progress
        self._began = self._told = time.monotonic()
        self._transactions = 0

    def __call__(self, step: "Step") -> None:
        self._transactions += step.transactions
        self._progress.advance()
        state = f"{len(step.differences)} differences" if step.differences else "right"
        self._output.detail(f"block {step.number}: {step.transactions} transactions, {state}")
        for one in step.differences[:SHOWN]:
            self._output.detail(f"  {one.check}: {one.text}")
        now = time.monotonic()
        if now - self._told >= self.EVERY:
            self._told = now
            self._progress.step(self._describe(step, now - self._began))

    def _describe(self, step: "Step", seconds: float) -> str:
        done = step.number + 1
        left = round((step.height - done) * seconds / done)
        return (
            f"block {step.number} of {step.height - 1}, {self._transactions / seconds:.0f}"
            f" transactions/s, {left // 60} min {left % 60} s left"
        )


def _show_verdict(output: Output, found: "LedgerVerdict") -> None:
    last = f"blocks 0 to {found.blocks - 1}"
    if found.intact:
        output.line(f"VERIFIED  channel {found.channel}, {last}, of {found.source}")
    else:
        first = found.differences[0].block
        many = (
            "1 difference"
            if found.difference_count == 1
            else (f"{found.difference_count} differences, the first")
        )
        output.line(
            f"DIFFERS  channel {found.channel}, {last}, of {found.source}: {many} at block {first}"
        )
    for one in found.differences[:SHOWN]:
        at = f"block {one.block}" + (f" ({one.file})" if one.file else "")
        if one.position is not None:
            at += f", transaction {one.position} {one.transaction_id[:12]}"
        codes = f"recorded {one.recorded}, recomputed {one.recomputed}" if one.recomputed else ""
        output.line(f"  {at}: {codes or one.check}")
        output.line(f"    {one.text}")
    if found.difference_count > SHOWN:
        output.line(f"  … and {found.difference_count - SHOWN} more (--json lists them)")
    codes = ", ".join(f"{count} {name}" for name, count in found.codes.items())
    output.line(f"  transactions  {found.transactions}: {codes}")
    output.line(
        f"  compared      {found.codes_compared} validation codes,"
        f" {found.commit_hashes_compared} commit hashes"
    )
    output.line(
        f"  signatures    of {found.orderer_signatures} blocks, {found.creator_signatures} creators"
        f" and {found.endorsements} endorsements hold"
    )
    output.line(f"  genesis hash  {found.genesis_hash.hex()}{'  trusted' * found.trusted}")
    output.line(f"  newest hash   {found.newest_hash.hex()}")
    output.line(f"  commit hash   {found.commit_hash.hex() or '–'}")
    for note in found.notes:
        output.line(f"  note: {note}")
