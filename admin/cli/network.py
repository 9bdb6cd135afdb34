"""`medfabric network`: bring a network up, look after it, take it down."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli.frame import (
    Context,
    Group,
    dry_run_option,
    timeout_option,
    with_context,
    yes_option,
)
from admin.errors import ExitCode, FaultError, input_error
from admin.output import Output

if TYPE_CHECKING:
    from network.engines.engine import Engine

READY = 60.0  # seconds that nodes get to come up


@click.group(
    "network",
    cls=Group,
    examples=[
        "medfabric network init",
        "medfabric network up",
        "medfabric network status",
        "medfabric network logs peer0.hospital -f",
        "medfabric network down --wipe",
    ],
)
def group() -> None:
    """Bring a network up, look after it, take it down.

    A network is described by one file, network.yaml. Everything it makes is in .medfabric/NAME
    beside that file.
    """


@group.command(
    examples=[
        "medfabric network init",
        "medfabric network init hospital/network.yaml",
        "medfabric network init --schema > network.schema.json",
    ]
)
@click.argument("path", type=click.Path(path_type=Path), default=Path("network.yaml"))
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@click.option("--schema", is_flag=True, help="Print the file's JSON Schema instead.")
@with_context
def init(context: Context, path: Path, force: bool, schema: bool) -> None:
    """Write a network file with comments to start from.

    PATH is where to write it [network.yaml].
    """
    from admin.procedures.networks.starter import get_schema, write_starter

    if schema:
        told = get_schema()
        context.output.result(told, lambda output: output.line(_pretty(told)))
        return
    written = write_starter(path, force=force)
    context.output.result({"path": written}, f"{written} written; next: medfabric network up")


@group.command(
    examples=[
        "medfabric network up",
        "medfabric network up --network care.yaml --json",
        "medfabric network up --dry-run",
    ]
)
@timeout_option
@dry_run_option
@with_context
def up(context: Context, timeout: float | None, dry_run: bool) -> None:
    """Bring the network up: keys, nodes, channels, chaincodes.

    Can be run again at any time: it goes on where it stopped and does nothing where all is done.
    Channels that are there stay as they are: 'plan' tells what differs, 'apply' changes it.
    Addresses in use are found before anything is written.
    """
    from admin.procedures.networks.bootstrap import Bootstrapped, bootstrap
    from network.engines.choice import open_engine

    engine = open_engine(context.surroundings)
    if dry_run:
        engine.validate()
        steps = engine.plan()
        context.output.result({"steps": steps}, "\n".join(steps) or "nothing to do")
        return
    output = context.output
    with output.progress(f"network {context.topology.name}") as progress:
        done = context.run(bootstrap(engine, progress.step, timeout=timeout or READY))

    def show(output: Output, done: Bootstrapped = done) -> None:
        changed = bool(done.joined) or any(one.changed for one in done.deployed)
        output.line(
            f"✓ network {done.network} is up: {_count(done.nodes, 'node')}, "
            f"{_count(len(context.topology.channels), 'channel')} ({done.seconds:.1f} s)"
        )
        for one in done.deployed if changed else ():
            output.line(f"  chaincode {one.chaincode} {one.version}, sequence {one.sequence}")

    output.result(done, show)
    if not done.joined:
        _note_differences(context, engine)


def _note_differences(context: Context, engine: Engine) -> None:
    """`up` changes no channel that is there: say so where the network file asks for it."""
    from admin.procedures.networks.planning import plan_network
    from network.client.errors import ClientError

    try:
        found = context.run(plan_network(engine))
    except (ClientError, FaultError):  # what runs has just begun; `plan` will tell
        return
    if found.refusals or any(step.kind == "config" for step in found.steps):
        context.output.note(
            "channels differ from the network file; see what would change: medfabric network plan"
        )


@group.command(examples=["medfabric network down", "medfabric network down --wipe --yes"])
@click.option("--wipe", is_flag=True, help="Delete its ledgers, keys and records as well.")
@yes_option
@with_context
def down(context: Context, wipe: bool, yes: bool) -> None:
    """Stop every node. Ledgers and keys stay, and 'up' goes on with them."""
    _down(context, wipe=wipe, yes=yes)


@group.command(examples=["medfabric network reset --yes && medfabric network up"])
@yes_option
@with_context
def reset(context: Context, yes: bool) -> None:
    """Stop every node and delete everything the network has made: as 'down --wipe'."""
    _down(context, wipe=True, yes=yes)


def _down(context: Context, *, wipe: bool, yes: bool) -> None:
    from network.engines.choice import open_engine

    engine = open_engine(context.surroundings)
    if wipe and not yes and context.folder.exists():
        click.confirm(
            f"Delete {context.folder} with all ledgers, keys and records?", abort=True, err=True
        )
    name = context.topology.name
    with context.output.progress(f"network {name}") as progress:
        was_up = context.run(engine.down(progress.step))
        if wipe:
            progress.step("deleting")
            engine.wipe()
    text = f"✓ network {name} is down" if was_up else f"network {name} was not up"
    if wipe:
        text += f"; {context.folder} is deleted"
    context.output.result({"network": name, "wasUp": was_up, "wiped": wipe}, text)


@group.command(examples=["medfabric network status", "medfabric network status --json"])
@with_context
def status(context: Context) -> None:
    """Show every node: its state, ledger heights, health, certificate and process."""
    from network.engines.choice import open_engine

    nodes = context.run(open_engine(context.surroundings).status())

    def show(output: Output) -> None:
        output.table(
            ["node", "organization", "address", "state", "height", "health", "certificate", "pid"],
            [
                (
                    node.name,
                    node.organization,
                    node.address,
                    node.state,
                    " ".join(
                        f"{channel}:{height}" if len(context.topology.channels) > 1 else f"{height}"
                        for channel, height in sorted(node.heights.items())
                    ),
                    None if node.healthy is None else "ok" if node.healthy else "failing",
                    f"{node.certificate_expires:%Y-%m-%d}" if node.certificate_expires else None,
                    node.pid,
                )
                for node in nodes
            ],
        )
        for node in nodes:
            if node.note:
                output.line(f"! {node.name}: {node.note}")

    context.output.result(nodes, show)


@group.command(
    examples=[
        "medfabric network logs",
        "medfabric network logs peer0.hospital --lines 50",
        "medfabric network logs orderer -f",
    ]
)
@click.argument("node", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="Lines to show."
)
@with_context
def logs(context: Context, node: str | None, follow: bool, lines: int) -> None:
    """Show the end of a node's log.

    NODE is a node's name or a part of it; without one, the end of every node's log.
    """
    from admin.procedures.networks.logs import follow_log, read_logs
    from network.engines.choice import open_engine

    engine = open_engine(context.surroundings)
    found = read_logs(engine, node, lines)
    if follow:
        if node is None:
            raise click.UsageError("--follow needs a NODE")
        for line in follow_log(engine.log(node), lines):
            context.output.result({"line": line}, line)
        return

    def show(output: Output) -> None:
        for name, text in found.items():
            for line in text:
                output.line(line if node else f"{name}  {line}")

    context.output.result(found, show)


@group.command(examples=["medfabric network restart peer0.hospital"])
@click.argument("node")
@with_context
def restart(context: Context, node: str) -> None:
    """Stop one NODE and start it again; its ledger stays."""
    from network.engines.choice import open_engine

    engine = open_engine(context.surroundings)
    name = engine.log(node).parent.name
    with context.output.progress(name) as progress:
        progress.step("restarting")
        context.run(engine.restart(node))
    context.output.result({"node": name}, f"✓ {name} runs again")


@group.command(examples=["medfabric network plan", "medfabric network plan --json"])
@with_context
def plan(context: Context) -> None:
    """Say what 'apply' would do, and change nothing.

    Compares the network file with what runs: keys, nodes, channels with their organisations,
    orderers, batch, policies, capabilities and anchor peers, and chaincodes. Exits with 0 when
    nothing would change, with 10 when something would, with 4 when the file asks for what is not
    possible.
    """
    from admin.procedures.networks.planning import plan_network
    from network.engines.choice import open_engine

    found = context.run(plan_network(open_engine(context.surroundings)))

    def show(output: Output) -> None:
        for step in found.steps:
            output.line(f"{step.channel}: {step.text}" if step.channel else step.text)
            if step.missing:
                output.line(f"  needs the signature of {', '.join(step.missing)}, not here")
        for refusal in found.refusals:
            output.line(f"✗ {refusal}")
        if not found.steps and not found.refusals:
            output.line("nothing to do")
        for note in found.notes:
            output.note(note)

    context.output.result(found, show)
    if found.refusals:
        click.get_current_context().exit(ExitCode.REFUSED)
    if found.steps:
        click.get_current_context().exit(ExitCode.DIFFERENT)


@group.command(
    examples=[
        "medfabric network apply",
        "medfabric network apply --yes",
        "medfabric network apply --dry-run",
    ]
)
@timeout_option
@dry_run_option
@yes_option
@with_context
def apply(context: Context, timeout: float | None, dry_run: bool, yes: bool) -> None:
    """Make the running network as the network file says, step by step.

    Edit the file, look at 'plan', then apply: organisations, peers and orderers come and go,
    batch, policies, capabilities, anchor peers and chaincodes change. Can be interrupted and run
    again: it goes on where it stopped. Where an organisation's signature is missing that is not
    on this machine, it says which file to carry there, and exits with 4.
    """
    from admin.procedures.networks.applying import apply_network
    from admin.procedures.networks.planning import plan_network
    from network.engines.choice import open_engine

    if dry_run:
        click.get_current_context().invoke(plan)
        return
    engine = open_engine(context.surroundings)
    found = context.run(plan_network(engine))
    for note in found.notes:
        context.output.note(note)
    leaving = [step for step in found.steps if _takes_away(step.text)]
    if leaving and not found.refusals and not yes:
        for step in leaving:
            context.output.note(f"{step.channel}: {step.text}" if step.channel else step.text)
        click.confirm("Apply this, too?", abort=True, err=True)
    with context.output.progress(f"network {context.topology.name}") as progress:
        done = context.run(apply_network(engine, progress.step, timeout=timeout or READY))

    def show(output: Output) -> None:
        for text in done.done:
            output.line(f"✓ {text}")
        if not done.done:
            output.line("nothing to do")

    context.output.result(done, show)


def _takes_away(text: str) -> bool:
    return text.startswith(("remove ", "stop ")) or text.endswith(" order no more")


@group.command(examples=["medfabric network doctor", "medfabric network doctor --json"])
@with_context
def doctor(context: Context) -> None:
    """Check what a network needs: file, ports, clock, disk, certificates, versions.

    Exits with 3 when something is wrong.
    """
    from admin.procedures.networks.doctor import examine

    findings = context.run(examine(context.surroundings))

    def show(output: Output) -> None:
        for finding in findings:
            output.line(f"{'✓' if finding.ok else '✗'} {finding.subject}: {finding.text}")
            if finding.remedy:
                output.line(f"  → {finding.remedy}")

    context.output.result(findings, show)
    if not all(finding.ok for finding in findings):
        click.get_current_context().exit(3)


@group.command(examples=["medfabric network certs", "medfabric network certs --within 30"])
@click.option("--within", type=click.IntRange(0), metavar="DAYS", help="Only those that end soon.")
@with_context
def certs(context: Context, within: int | None) -> None:
    """List the network's certificates and when they end, the first to end first."""
    from admin.procedures.networks.certificates import list_certificates

    found = list_certificates(context.folder, within)
    context.output.result(
        found,
        lambda output: output.table(
            ["subject", "use", "expires", "days", "file"],
            [(one.subject, one.use, one.expires, one.days_left, one.file) for one in found],
            empty="no certificates" if within is None else "none ends so soon",
        ),
    )


@group.command(
    examples=[
        "medfabric network renew --within 60",
        "medfabric network renew peer0.hospital orderer0",
        "medfabric network renew chaincode.clinic exchange.clinic",
    ]
)
@click.argument("nodes", metavar="[NODE]...", nargs=-1)
@click.option(
    "--within",
    type=click.IntRange(0),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="Where no NODE is named: those with a certificate that ends so soon.",
)
@timeout_option
@dry_run_option
@with_context
def renew(
    context: Context, nodes: tuple[str, ...], within: int, timeout: float | None, dry_run: bool
) -> None:
    """Give nodes new keys and certificates, one after the other, while the network runs.

    Chaincode servers and record exchanges are named as status shows them. An orderer's TLS
    certificate stands in the channels' configuration: it is replaced there first, signed by the
    orderer organisations' administrators. A chaincode's package holds its peers' certificate: it
    is installed and approved anew. People's certificates are renewed with: medfabric identity
    renew.
    """
    from datetime import UTC, datetime

    from admin.procedures.networks.renewal import choose_nodes, renew_nodes
    from network.engines.choice import open_engine

    chosen = choose_nodes(context.surroundings, nodes, within, datetime.now(UTC))
    if dry_run or not chosen:
        names = [node.fqdn for node in chosen]
        text = "\n".join(f"renew {name}" for name in names) or f"none ends within {within} days"
        context.output.result({"nodes": names}, text)
        return
    with context.output.progress(f"network {context.topology.name}") as progress:
        done = context.run(
            renew_nodes(
                open_engine(context.surroundings), chosen, progress.step, timeout=timeout or READY
            )
        )

    def show(output: Output) -> None:
        for one in done:
            known = f", known to {', '.join(one.channels)}" if one.channels else ""
            output.line(f"✓ {one.node} renewed, valid to {one.expires:%Y-%m-%d}{known}")

    context.output.result(done, show)


@group.command(
    examples=["medfabric network render", "medfabric network render peer0.hospital.example"]
)
@click.argument("node", required=False)
@with_context
def render(context: Context, node: str | None) -> None:
    """Print the network file with every default filled in, or one NODE's own settings."""
    from admin.procedures.rendering import render_node, render_topology

    text = render_node(context.surroundings, node) if node else render_topology(context.topology)
    if text is None:
        names = ", ".join(one.fqdn for one in context.topology.nodes())
        raise input_error(f"there is no node {node!r}", f"name one of: {names}")
    context.output.result({"text": text}, text.rstrip("\n"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _pretty(value: object) -> str:
    import json

    return json.dumps(value, indent=2)
