"""`medfabric org`: the organisations of a channel."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli.channelconfig import tell_submitted
from admin.cli.frame import (
    Context,
    Group,
    channel_option,
    dry_run_option,
    with_context,
    yes_option,
)
from admin.errors import usage_error
from admin.output import Output

if TYPE_CHECKING:
    from admin.procedures.networks.membership import MembershipView
    from network.rules.channel.config import ChannelConfig
    from network.rules.channel.configedit import Change

_OUT = click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write the proposal when signatures are missing [ORG_ACT.pb].",
)


@click.group(
    "org",
    cls=Group,
    examples=[
        "medfabric org list",
        "medfabric org add RuralClinic",
        "medfabric org add Lab --msp lab/msp --msp-id LabMSP --anchor peer0.lab.example:7051",
        "medfabric org remove RuralClinic --yes",
        "medfabric org profile CityClinic -o connection-clinic.json",
    ],
)
def group() -> None:
    """Organisations of a channel: add, remove, list, show, connect.

    Taking one in or letting one go changes the channel's configuration, which most members'
    administrators must sign (the Admins policy). Those whose keys are on this machine sign at
    once; where that is not enough the proposal is written to a file for the others.
    """


@group.command("list", examples=["medfabric org list", "medfabric org list --json"])
@channel_option
@with_context
def list_(context: Context, channel: str | None) -> None:
    """List the channel's organisations: members, and who orders."""
    from admin.procedures.networks.membership import list_memberships

    found = list_memberships(_read(context, channel))

    def display(output: Output) -> None:
        output.table(
            ["organization", "msp id", "part", "anchor peers", "orderers", "ca expires", "revoked"],
            [_row(one) for one in found],
        )

    context.output.result(found, display)


@group.command(examples=["medfabric org show CityClinic", "medfabric org show CityClinicMSP"])
@click.argument("organization", metavar="ORG")
@channel_option
@with_context
def show(context: Context, organization: str, channel: str | None) -> None:
    """Show what the channel says of ORG: its CAs, policies, anchor peers, revoked certificates."""
    from admin.procedures.networks.membership import show_membership

    found = show_membership(_read(context, channel), organization)

    def display(output: Output) -> None:
        summary = found.summary
        output.line(f"{summary.name} ({summary.msp_id}), {' and '.join(summary.parts)}")
        output.table(["setting", "value"], sorted(found.settings.items()))

    context.output.result(found, display)


@group.command(
    examples=[
        "medfabric org profile GeneralHospital > connection-hospital.json",
        "medfabric org profile GeneralHospital -o connection-hospital.json",
    ]
)
@click.argument("organization", metavar="ORG")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to [standard output].",
)
@with_context
def profile(context: Context, organization: str, target: Path | None) -> None:
    """Print ORG's connection profile (JSON) for Fabric's older SDKs and tools.

    It holds addresses and TLS certificates of ORG's peers and CA and of the orderers, and no key.
    """
    import json

    from admin.procedures.networks.connections import build_connection_profile

    member = context.topology.organization(context.wallet.member(organization).name)
    found = build_connection_profile(context.surroundings, member)
    text = json.dumps(found, indent=2)
    if target is None:
        context.output.result(found, text)
        return
    target.write_text(text + "\n")
    context.output.result({"path": target}, f"✓ {target} written")


@group.command(
    examples=[
        "medfabric org add RuralClinic",
        "medfabric org add RuralClinic --dry-run",
        "medfabric org add Lab --msp lab/msp --msp-id LabMSP --anchor peer0.lab.example:7051",
        "medfabric org add Lab --msp lab/msp --out lab.pb",
    ]
)
@click.argument("organization", metavar="ORG")
@channel_option
@click.option(
    "--msp",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Its verifying MSP folder; not needed for an organisation of the network file.",
)
@click.option("--msp-id", default="", metavar="ID", help="Its MSP id, with --msp [ORGMSP].")
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="HOST:PORT",
    help="An anchor peer; repeat for more [the first peer in the network file].",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME=RULE",
    help="One of its own policies, such as \"Admins=OR('LabMSP.admin')\" [by role].",
)
@_OUT
@dry_run_option
@with_context
def add(
    context: Context,
    organization: str,
    channel: str | None,
    msp: Path | None,
    msp_id: str,
    anchors: tuple[str, ...],
    policies: tuple[str, ...],
    out: Path | None,
    dry_run: bool,
) -> None:
    """Take ORG into a channel as a member.

    An organisation that the network file describes is brought up too: its nodes start, its peers
    join and catch up, its chaincodes are installed and approved. One given by its MSP folder
    joins its peers itself, with the block of: medfabric channel fetch 0.
    """
    from admin.procedures.networks.expansion import bring_up_member
    from admin.procedures.networks.membership import describe_joining, plan_addition
    from admin.procedures.networks.settings import parse_address
    from network.engines.choice import open_engine

    if msp_id and msp is None:
        raise usage_error("--msp-id goes with --msp", "the network file has the MSP id of the rest")
    try:
        places = [parse_address(text) for text in anchors]
    except ValueError as error:
        raise usage_error(f"--anchor: {error}") from None
    present = _read(context, channel)
    joining = describe_joining(
        context.surroundings,
        organization,
        msp=msp,
        msp_id=msp_id,
        anchors=places,
        policies=dict(_parse_policy(text) for text in policies),
    )
    changes = plan_addition(present, joining)
    target = out or Path(f"{organization}_add.pb")
    if not _change(context, present, changes, target, dry_run=dry_run) or not joining.in_topology:
        return
    with context.output.progress(organization) as progress:
        engine = open_engine(context.surroundings)
        joined = context.run(
            bring_up_member(engine, present.channel_id, organization, progress.step)
        )
    context.output.note(f"✓ {', '.join(joined)} joined and caught up" if joined else "")
    channels = {one.name: one for one in context.topology.channels}
    if organization not in channels[present.channel_id].members:
        context.output.note(
            f"add {organization} to the members of {present.channel_id} in "
            f"{context.surroundings.file.name}, so that plan and apply know it"
        )


@group.command(
    examples=["medfabric org remove RuralClinic", "medfabric org remove RuralClinic --yes"]
)
@click.argument("organization", metavar="ORG")
@channel_option
@_OUT
@yes_option
@dry_run_option
@with_context
def remove(
    context: Context,
    organization: str,
    channel: str | None,
    out: Path | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Let ORG go from a channel.

    From the next block on its identities are refused by orderers and peers, and its peers get no
    more blocks. What it has stays with it. Its chaincodes' policies and collections that name it
    are told, since it can satisfy them no more.
    """
    from admin.procedures.networks.membership import (
        find_organization,
        list_dependents,
        name_msps,
        plan_removal,
    )

    present = _read(context, channel)
    name = find_organization(present, organization)
    changes = plan_removal(present, name)
    profile = context.operator()
    for text in context.run(list_dependents(profile, present.channel_id, name_msps(present)[name])):
        context.output.warn(text)
    if not yes and not dry_run:
        click.confirm(f"Remove {name} from channel {present.channel_id}?", abort=True, err=True)
    target = out or Path(f"{name}_remove.pb")
    done = _change(context, present, changes, target, dry_run=dry_run)
    if done and name in context.topology.channel(present.channel_id).members:
        context.output.note(
            f"take {name} out of the members of {present.channel_id} in "
            f"{context.surroundings.file.name} too, else apply takes it in again"
        )


def _change(
    context: Context,
    config: "ChannelConfig",
    changes: list["Change"],
    target: Path,
    *,
    dry_run: bool,
) -> bool:
    """Whether the change was made; with --dry-run it is only told."""
    from admin.procedures.networks.configuration import (
        list_local_admins,
        make_proposal,
        review,
        sign_as_needed,
    )
    from admin.procedures.networks.membership import change_channel
    from admin.procedures.networks.settings import edit

    if dry_run:
        proposal = make_proposal(config, edit(config, changes))
        admins = list_local_admins(context.surroundings, config)
        view = review(config, sign_as_needed(config, proposal, admins))
        lines = [str(change) for change in view.changes]
        lines += [f"… {one}" for one in view.requirements if not one.satisfied]
        context.output.result(view, "\n".join(lines))
        return False
    sender = context.operator().signer
    with context.output.progress(f"channel {config.channel_id}") as progress:
        progress.step("changing the configuration")
        done = context.run(
            change_channel(context.surroundings, sender, config.channel_id, changes, file=target)
        )
    tell_submitted(context, done)
    return True


def _read(context: Context, channel: str | None) -> "ChannelConfig":
    from admin.procedures.networks.configuration import read_config

    name = context.channel(channel)
    return context.run(read_config(context.surroundings, context.operator().signer, name))


def _parse_policy(text: str) -> tuple[str, str]:
    name, equals, rule = text.partition("=")
    if not equals or not name or not rule:
        raise usage_error(f"--policy: {text!r} is no policy", "write NAME=RULE")
    return name, rule


def _row(one: "MembershipView") -> tuple[str | int | None, ...]:
    return (
        one.name,
        one.msp_id,
        " and ".join(one.parts),
        ", ".join(one.anchor_peers) or None,
        ", ".join(one.endpoints) or None,
        f"{one.ca_expires:%Y-%m-%d}" if one.ca_expires else None,
        one.revoked,
    )
