"""`medfabric channel`: a channel's configuration, and a change of it from proposal to block."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli.frame import Command, Context, channel_option, timeout_option, with_context
from admin.errors import ExitCode, input_error, usage_error
from admin.output import Output

if TYPE_CHECKING:
    from admin.procedures.networks.configuration import ProposalView, Submitted

command = partial(click.command, cls=Command)


@command(
    examples=[
        "medfabric channel config > care.json",
        "medfabric channel config --from care_config.block --out care.json",
    ]
)
@channel_option
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A block, configuration or proposal to show instead.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it there.")
@with_context
def config(context: Context, channel: str | None, source: Path | None, out: Path | None) -> None:
    """Print the channel's configuration as JSON, as configtxlator writes it.

    Edit it and propose the change: medfabric channel propose --config FILE.
    """
    import json

    from admin.procedures.networks.configfiles import read_config_file
    from admin.procedures.networks.configuration import read_config
    from network.rules.channel.configjson import format_config_json

    if source is not None:
        message = read_config_file(source).message
    else:
        name = context.channel(channel)
        found = context.run(read_config(context.surroundings, context.operator().signer, name))
        message = found.config
    text = format_config_json(message)
    if out is not None:
        out.write_text(text, encoding="utf-8")
        context.output.result({"file": out}, f"✓ the configuration is in {out}")
        return
    context.output.result(json.loads(text), lambda output: output.line(text.rstrip()))


@command(
    examples=[
        "medfabric channel propose --set batch.timeout=1s --set batch.maxMessages=100",
        "medfabric channel propose --config edited.json --out update.pb",
        "medfabric channel propose --set 'policies.Endorsement=ANY Endorsement' --out update.pb",
        "medfabric channel propose --set acls.event/Block=/Channel/Application/Admins",
    ]
)
@channel_option
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The configuration as it shall be: JSON or protobuf.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting to change; repeat for more. Keys: batch.timeout, batch.maxMessages, "
    "batch.preferredBytes, batch.absoluteBytes, policies.NAME, /Channel/…/NAME (any policy), "
    "acls.RESOURCE, capabilities.channel|orderer|application, anchorPeers.ORG, endpoints.ORG, "
    "msp.ORG (a folder), crl.ORG (files).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write the proposal [CHANNEL_update.pb].",
)
@click.option("--sign", is_flag=True, help="Sign it as who acts.")
@with_context
def propose(
    context: Context,
    channel: str | None,
    file: Path | None,
    settings: tuple[str, ...],
    out: Path | None,
    sign: bool,
) -> None:
    """Write the change from the present configuration to another into a file; sends nothing."""
    from admin.procedures.networks.configfiles import read_config_file
    from admin.procedures.networks.configuration import make_proposal, read_config, review
    from admin.procedures.networks.settings import edit, parse_settings
    from network.topology.safefiles import write_file

    if (file is None) == (not settings):
        raise usage_error("say what shall change", "give either --config FILE or --set KEY=VALUE")
    name = context.channel(channel)
    signer = context.operator().signer
    present = context.run(read_config(context.surroundings, signer, name))
    if file is not None:
        found = read_config_file(file)
        if found.config is None:
            raise input_error(
                "this file holds a change, not a whole configuration",
                f"sign and submit it as it is: medfabric channel sign {file}",
                str(file),
            )
        if found.channel and found.channel != name:
            raise input_error(f"this is the configuration of {found.channel}", "", str(file))
        updated = found.config
    else:
        updated = edit(present, parse_settings(present, settings))
    proposal = make_proposal(present, updated)
    if sign:
        proposal = proposal.sign(signer)
    target = out or Path(f"{name}_update.pb")
    write_file(target, proposal.to_bytes())
    _tell(context, review(present, proposal), target)


@command(
    examples=[
        "medfabric channel diff update.pb",
        "medfabric channel diff edited.json",
        "medfabric channel diff before.block after.block",
    ]
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("other", type=click.Path(path_type=Path, dir_okay=False), required=False)
@channel_option
@with_context
def diff(context: Context, file: Path, other: Path | None, channel: str | None) -> None:
    """Show what a proposal or a configuration in FILE would change, and whose signatures it lacks.

    With OTHER both are configurations, and the network is not asked. Exits with 0 when nothing
    is different, with 10 when something is.
    """
    from admin.procedures.networks.configfiles import read_config_file
    from admin.procedures.networks.configuration import make_proposal, read_config, review
    from network.rules.channel.configdiff import describe_changes

    found = read_config_file(file)
    if other is not None:
        second = read_config_file(other)
        if found.config is None or second.config is None:
            raise usage_error("both files have to be configurations", "", str(file))
        changes = describe_changes(found.config, second.config)
        text = "\n".join(map(str, changes)) or "nothing is different"
        context.output.result({"changes": changes}, text)
    else:
        name = context.channel(channel or found.channel or None)
        present = context.run(read_config(context.surroundings, context.operator().signer, name))
        if found.config is not None:
            changes = describe_changes(present.config, found.config)
            if changes:
                _tell(context, review(present, make_proposal(present, found.config)), None)
            else:
                context.output.result({"changes": []}, "nothing is different")
        else:
            assert found.proposal is not None
            view = review(present, found.proposal)
            changes = list(view.changes)
            _tell(context, view, file)
    if changes:
        click.get_current_context().exit(ExitCode.DIFFERENT)


@command(
    examples=[
        "medfabric channel sign update.pb --as CityClinic/Admin",
        "medfabric channel sign update.pb --offline --as CityClinic/Admin",
    ]
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--offline", is_flag=True, help="Do not ask the network who is still missing.")
@with_context
def sign(context: Context, file: Path, offline: bool) -> None:
    """Add the signature of who acts to a proposal, and say who is still missing.

    Look at what it changes first: medfabric channel diff FILE. 'peer channel signconfigtx' does
    the same to the same file.
    """
    from admin.procedures.networks.configfiles import read_proposal
    from admin.procedures.networks.configuration import read_config, review
    from network.topology.safefiles import write_file

    proposal = read_proposal(file)
    profile = context.surroundings.wallet.find(
        context.identity_name(default=context.surroundings.operator_name)
    )
    signer = context.surroundings.signer(profile.name)
    signed = proposal.sign(signer)
    if signed is proposal:
        context.output.note(f"{profile.name} has signed it already")
    if offline:
        write_file(file, signed.to_bytes())
        context.output.result(
            {"file": file, "signatures": len(signed.signatures)},
            f"✓ {file} is signed by {profile.name}",
        )
        return
    present = context.run(read_config(context.surroundings, signer, proposal.channel_id))
    view = review(present, signed)
    write_file(file, signed.to_bytes())
    _tell(context, view, file)


@command(examples=["medfabric channel submit update.pb --as GeneralHospital/Admin"])
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@timeout_option
@with_context
def submit(context: Context, file: Path, timeout: float | None) -> None:
    """Send a proposal to the orderer, and wait until the orderer and the peers have it.

    Who acts signs it as well, as 'peer channel update' does. Without enough signatures nothing is
    sent: it says whose are missing and exits with 4.
    """
    from admin.procedures.networks.configfiles import read_proposal
    from admin.procedures.networks.configuration import ARRIVAL, submit_proposal

    proposal = read_proposal(file)
    with context.output.progress(f"channel {proposal.channel_id}") as progress:
        progress.step("submitting")
        done = context.run(
            submit_proposal(
                context.surroundings,
                proposal,
                context.operator().signer,
                file=file,
                timeout=timeout or ARRIVAL,
            )
        )
    tell_submitted(context, done)


def tell_submitted(context: Context, done: "Submitted") -> None:
    """Print what is in force now."""

    def display(output: Output) -> None:
        output.line(f"✓ channel {done.channel} is at configuration {done.sequence}")
        for change in done.changes:
            output.line(f"  {change}")

    context.output.result(done, display)


def _tell(context: Context, view: "ProposalView", file: Path | None) -> None:
    def display(output: Output) -> None:
        for change in view.changes:
            output.line(str(change))
        for signature in view.signatures:
            name = f"{signature.msp_id}/{signature.name}"
            mark = "✓ signed by" if signature.valid else "✗ does not count:"
            output.line(f"{mark} {name}")
        for requirement in view.requirements:
            if not requirement.satisfied:
                output.line(f"… {requirement}")
        for doubt in view.doubts:
            output.line(f"! {doubt}")
        if view.refusal:
            output.line(f"✗ {view.refusal}")
        elif view.ready:
            where = f": medfabric channel submit {file}" if file else ""
            output.line(f"✓ signed by enough{where}")
        if file is not None:
            context.output.note(f"the proposal is in {file}")

    context.output.result({"file": file, **_plain(view)} if file else view, display)


def _plain(view: "ProposalView") -> dict[str, object]:
    from dataclasses import fields

    return {field.name: getattr(view, field.name) for field in fields(view)}


COMMANDS: tuple[click.Command, ...] = (config, propose, diff, sign, submit)
