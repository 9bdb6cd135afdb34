"""`medfabric channel`: channels of a network, their configuration and its changes."""

from pathlib import Path

import click

from admin.cli.channelconfig import COMMANDS
from admin.cli.frame import Context, Group, channel_option, with_context
from admin.cli.snapshot import group as snapshot_group
from admin.output import Output


@click.group(
    "channel",
    cls=Group,
    examples=[
        "medfabric channel list",
        "medfabric channel show",
        "medfabric channel propose --set batch.timeout=1s --out update.pb",
        "medfabric channel sign update.pb --as CityClinic/Admin",
        "medfabric channel submit update.pb",
    ],
)
def group() -> None:
    """Channels: list, join, fetch blocks; show and change their configuration.

    A change is a file that goes from administrator to administrator: propose writes it, diff
    shows what it changes and whose signatures it lacks, sign adds one, submit sends it. The file
    is a CONFIG_UPDATE envelope of Fabric's: 'peer channel signconfigtx' and 'peer channel update'
    take it too, and what they write is taken here.
    """


for command in COMMANDS:
    group.add_command(command)
group.add_command(snapshot_group)


@group.command("list", examples=["medfabric channel list", "medfabric channel list --json"])
@with_context
def list_(context: Context) -> None:
    """List the channels that the peer of who acts has joined, with their heights."""
    from admin.procedures.networks.channels import list_channels

    profile = context.operator()
    found = context.run(list_channels(profile))
    context.output.result(
        found,
        lambda output: output.table(
            ["channel", "height"],
            [(one.channel, one.height) for one in found],
            empty=f"{profile.endpoint.address} has joined no channel",
        ),
    )


@group.command(examples=["medfabric channel create research"])
@click.argument("name")
@with_context
def create(context: Context, name: str) -> None:
    """Make the channel NAME as the network file describes it, with all its orderers and peers.

    Its chaincodes are deployed by: medfabric network apply.
    """
    from admin.procedures.networks.join import join_channel, make_genesis

    spec = context.topology.channel(context.channel(name))
    with context.output.progress(f"channel {spec.name}") as progress:
        progress.step("its first block")
        block = make_genesis(context.surroundings, spec)
        joined = context.run(join_channel(context.surroundings, spec, block, progress.step))
    text = f"✓ channel {spec.name} has {', '.join(joined)}" if joined else "it is there already"
    context.output.result({"channel": spec.name, "joined": joined}, text)


@group.command(
    examples=[
        "medfabric channel join",
        "medfabric channel join -c care",
        "medfabric channel join --snapshot snapshots/completed/care/5000 --peer peer1.general",
    ]
)
@channel_option
@click.option(
    "--snapshot",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Start the peers from this snapshot; they must find it under the same path.",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="PEER",
    help="With --snapshot: only this peer (repeatable) [all that are not in it].",
)
@with_context
def join(
    context: Context, channel: str | None, snapshot: Path | None, peers: tuple[str, ...]
) -> None:
    """Bring a channel of the network file to all its orderers and peers.

    Those that are in it already are left alone. From a snapshot, peers start with its state and
    have none of the blocks before; see 'medfabric channel snapshot'.
    """
    from admin.procedures.networks.join import join_channel
    from network.engines.choice import open_engine

    if snapshot is not None:
        _join_by_snapshot(context, channel, snapshot, peers)
        return
    if peers:
        raise click.UsageError("--peer needs --snapshot")
    engine = open_engine(context.surroundings)
    spec = context.topology.channel(context.channel(channel))
    with context.output.progress(f"channel {spec.name}") as progress:
        block = engine.genesis_block(spec.name)
        joined = context.run(join_channel(context.surroundings, spec, block, progress.step))
    text = f"✓ joined: {', '.join(joined)}" if joined else "all are in it already"
    context.output.result({"channel": spec.name, "joined": joined}, text)


def _join_by_snapshot(
    context: Context, channel: str | None, snapshot: Path, peers: tuple[str, ...]
) -> None:
    from admin.errors import input_error
    from admin.procedures.networks.snapshots import join_by_snapshot, open_snapshot

    folder = snapshot.absolute()
    found = open_snapshot(folder)
    if channel is not None and channel != found.channel:
        raise input_error(
            f"this is a snapshot of channel {found.channel}, not of {channel}", where=str(folder)
        )
    spec = context.topology.channel(found.channel)
    with context.output.progress(f"channel {spec.name}") as progress:
        joined = context.run(
            join_by_snapshot(context.surroundings, spec, folder, peers, progress.step)
        )
    text = f"✓ joined: {', '.join(joined)}" if joined else "all are in it already"
    context.output.result(
        {"channel": spec.name, "joined": joined, "last_block": found.last_block}, text
    )


@group.command(examples=["medfabric channel show", "medfabric channel show -c care --json"])
@channel_option
@with_context
def show(context: Context, channel: str | None) -> None:
    """Show a channel's configuration: organisations, orderers, policies, batch."""
    from admin.procedures.networks.channels import get_channel_view

    found = context.run(get_channel_view(context.operator(), context.channel(channel)))

    def display(output: Output) -> None:
        output.line(f"channel {found.channel}, configuration {found.sequence}")
        output.line(f"  orderers     {', '.join(found.orderers)} ({found.consensus})")
        output.line(
            f"  batch        {found.max_messages} transactions, {found.preferred_bytes} bytes, "
            f"{found.timeout_seconds:g} s"
        )
        output.line(f"  capabilities {', '.join(found.capabilities)}")
        output.table(
            ["organization", "msp id", "anchor peers"],
            [(one.name, one.msp_id, ", ".join(one.anchor_peers)) for one in found.organizations],
        )
        output.table(["policy", "rule"], sorted(found.policies.items()))

    context.output.result(found, display)


@group.command(
    examples=[
        "medfabric channel fetch config",
        "medfabric channel fetch 0 --out genesis.block",
        "medfabric channel fetch newest --from-orderer",
    ]
)
@click.argument("which", metavar="NUMBER|newest|oldest|config")
@channel_option
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Where to [CHANNEL_WHICH.block]."
)
@click.option("--from-orderer", is_flag=True, help="Ask an orderer instead of the peer.")
@with_context
def fetch(
    context: Context, which: str, channel: str | None, out: Path | None, from_orderer: bool
) -> None:
    """Write one block to a file, as 'peer channel fetch' does."""
    from admin.procedures.networks.channels import fetch_block

    if which not in ("newest", "oldest", "config") and not which.isdigit():
        raise click.UsageError(f"{which!r} is none of NUMBER, newest, oldest, config")
    name = context.channel(channel)
    profile = context.operator()
    block = context.run(fetch_block(context.surroundings, profile, name, which, from_orderer))
    file = out or Path(f"{name}_{which}.block")
    file.write_bytes(block.SerializeToString(deterministic=True))
    number = int(block.header.number)
    context.output.result(
        {"channel": name, "number": number, "file": file}, f"✓ block {number} is in {file}"
    )
