"""`medfabric channel snapshot`: snapshots of a channel's ledger."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli.frame import Context, Group, channel_option, with_context
from admin.output import Output

if TYPE_CHECKING:
    from network.topology.values import Node

_PEER = click.option(
    "--peer", metavar="PEER", help="A peer's name or a part of it [the first of who acts]."
)


@click.group(
    "snapshot",
    cls=Group,
    examples=[
        "medfabric channel snapshot request",
        "medfabric channel snapshot request --block 5000",
        "medfabric channel join --snapshot .medfabric/…/snapshots/completed/care/5000",
    ],
)
def group() -> None:
    """Snapshots of a channel's ledger, from which other peers can start.

    A snapshot holds the state as of one block, the ids of all transactions and the hashes of
    private data, in Fabric's own form: any peer of Fabric or of ours joins the channel by it,
    without the blocks before.
    """


@group.command(
    examples=[
        "medfabric channel snapshot request",
        "medfabric channel snapshot request --block 5000 --peer peer0.general",
    ]
)
@click.option(
    "--block",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="The block after which to make it [the last one].",
)
@_PEER
@channel_option
@with_context
def request(context: Context, block: int | None, peer: str | None, channel: str | None) -> None:
    """Ask a peer for a snapshot; one of the last block is there when this ends.

    Of a later block it is made as soon as that block comes; the request survives a restart of the
    peer. While a peer makes a snapshot it takes no blocks.
    """
    from admin.procedures.networks.snapshots import request_snapshot

    name = context.channel(channel)
    node = _find(context, name, peer)
    with context.output.progress(f"snapshot of {name}") as progress:
        progress.step(f"{node.fqdn}: " + (f"at block {block}" if block else "at its last block"))
        found = context.run(
            request_snapshot(context.surroundings, name, node, block, _find_root(context, node))
        )
    where = f" in {found.folder}" if found.folder else ""
    done = (
        f"✓ the snapshot at block {found.block} is made{where}"
        if found.made
        else f"✓ {node.fqdn} will make the snapshot at block {found.block}{where}"
    )
    context.output.result(found, done)


@group.command(examples=["medfabric channel snapshot cancel 5000"])
@click.argument("block", type=click.IntRange(min=0), metavar="BLOCK")
@_PEER
@channel_option
@with_context
def cancel(context: Context, block: int, peer: str | None, channel: str | None) -> None:
    """Take back a request for a snapshot that is not being made yet."""
    from admin.procedures.networks.snapshots import cancel_snapshot

    name = context.channel(channel)
    node = _find(context, name, peer)
    context.run(cancel_snapshot(context.surroundings, name, node, block))
    context.output.result(
        {"channel": name, "peer": node.fqdn, "block": block},
        f"✓ {node.fqdn} makes no snapshot at block {block}",
    )


@group.command("list", examples=["medfabric channel snapshot list"])
@channel_option
@with_context
def list_(context: Context, channel: str | None) -> None:
    """List the snapshots that the channel's peers were asked for and have not made."""
    from admin.procedures.networks.snapshots import list_pending, peers_of

    spec = context.topology.channel(context.channel(channel))
    nodes = peers_of(context.surroundings, spec)
    found = context.run(list_pending(context.surroundings, spec.name, nodes))
    rows = [(peer, block) for peer, blocks in found for block in blocks]
    context.output.result(
        [{"peer": peer, "blocks": blocks} for peer, blocks in found],
        lambda output: output.table(["peer", "block"], rows, empty="no snapshot is asked for"),
    )


@group.command(examples=["medfabric channel snapshot show snapshots/completed/care/5000"])
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@with_context
def show(context: Context, folder: Path) -> None:
    """Show what a snapshot is of, and whether its files are whole.

    Every file is compared with the hash that the snapshot's metadata has of it. The snapshot's own
    hash is the same at all peers that agree on the channel's state at that block.
    """
    from admin.procedures.networks.snapshots import open_snapshot

    found = open_snapshot(folder)

    def display(output: Output) -> None:
        output.line(f"channel {found.channel} after block {found.last_block}: whole")
        output.line(f"  snapshot hash {found.snapshot_hash.hex()}")
        output.line(f"  block hash    {found.last_block_hash.hex()}")
        output.line(f"  commit hash   {found.commit_hash.hex() or '–'}")

    context.output.result(found, display)


def _find(context: Context, channel: str, peer: str | None) -> "Node":
    from admin.procedures.ledgers.comparison import find_peer

    return find_peer(context.surroundings, channel, peer or context.operator().endpoint.address)


def _find_root(context: Context, node: "Node") -> Path | None:
    """Where the peer keeps its snapshots, if it runs here."""
    from network.engines.nodefiles import Layout

    folder = Layout(context.folder).node(node.fqdn)
    return folder / "snapshots" if folder.is_dir() else None
