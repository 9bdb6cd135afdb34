"""`medfabric chaincode`: deploy chaincodes, see what is deployed, call them (see `development`)."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from admin.cli.development import dev
from admin.cli.frame import Context, Group, channel_option, dry_run_option, with_context
from admin.errors import input_error
from admin.output import Output

if TYPE_CHECKING:
    from network.client import CommitStatus, Contract


@click.group(
    "chaincode",
    cls=Group,
    examples=[
        "medfabric chaincode list",
        "medfabric chaincode deploy",
        "medfabric chaincode dev assets:chaincode",
        "medfabric chaincode query audit:Trail HANDLE --as GeneralHospital/Admin",
    ],
)
def group() -> None:
    """Develop chaincodes, deploy them by Fabric's lifecycle, see what is deployed, call them."""


group.add_command(dev)


@group.command(
    examples=[
        "medfabric chaincode deploy",
        "medfabric chaincode deploy health -c care --json",
        "medfabric chaincode deploy --dry-run",
    ]
)
@click.argument("name", required=False)
@channel_option
@dry_run_option
@with_context
def deploy(context: Context, name: str | None, channel: str | None, dry_run: bool) -> None:
    """Deploy a chaincode as the network file describes it: install, approve, commit.

    NAME is a chaincode of the channel; without one, all of them. What is done already is left as
    it is; a changed version, policy or collection becomes the next sequence.
    """
    from admin.procedures.networks.deployment import deploy_channel, plan_deployment
    from network.engines.choice import open_engine

    engine = open_engine(context.surroundings)
    spec = context.topology.channel(context.channel(channel))
    names = [one.name for one in spec.chaincodes]
    if name is not None and name not in names:
        raise input_error(
            f"channel {spec.name} has no chaincode {name!r} in the network file",
            f"there are: {', '.join(names) or 'none'}",
        )
    if dry_run:
        steps = context.run(plan_deployment(engine, spec, name))
        context.output.result({"steps": steps}, "\n".join(steps) or "nothing to do")
        return
    with context.output.progress(f"channel {spec.name}") as progress:
        done = context.run(deploy_channel(engine, spec, progress.step, name))

    def display(output: Output) -> None:
        for one in done:
            state = "deployed" if one.changed else "is deployed already"
            output.line(f"✓ {one.chaincode} {one.version}, sequence {one.sequence}: {state}")
        if not done:
            output.line("nothing to deploy: no organisation's chaincode server runs it")

    context.output.result(done, display)


@group.command("list", examples=["medfabric chaincode list", "medfabric chaincode list --json"])
@channel_option
@with_context
def list_(context: Context, channel: str | None) -> None:
    """List the channel's chaincodes: version, sequence, endorsement policy, approvals."""
    from admin.procedures.networks.deployment import DeployedView, list_deployed

    profile, name = context.operator(), context.channel(channel)
    found: list[DeployedView] = context.run(list_deployed(profile, name))

    def display(output: Output) -> None:
        output.table(
            ["chaincode", "version", "sequence", "endorsement", "collections", "approved by"],
            [
                (
                    one.name,
                    one.version,
                    one.sequence,
                    one.endorsement,
                    ", ".join(one.collections),
                    ", ".join(one.approved_by),
                )
                for one in found
            ],
            empty=f"channel {name} has no chaincode",
        )

    context.output.result(found, display)


def _call_options(function: Any) -> Any:
    for option in (
        click.option(
            "--chaincode", "-n", metavar="NAME", help="The chaincode [the channel's first]."
        ),
        click.option(
            "--transient",
            "-t",
            multiple=True,
            metavar="KEY=VALUE",
            help="Private input that never enters a block; KEY=@FILE reads a file, @- stdin.",
        ),
        click.option(
            "--endorse-by",
            multiple=True,
            metavar="ORG",
            help="An organisation whose peer must answer; can be repeated.",
        ),
    ):
        function = option(function)
    return function


@group.command(
    examples=[
        "medfabric chaincode query directory:ListOrganizations --as GeneralHospital/Admin",
        "medfabric chaincode query records:Get 9be1 --json",
    ]
)
@click.argument("function")
@click.argument("arguments", nargs=-1)
@channel_option
@_call_options
@with_context
def query(
    context: Context,
    function: str,
    arguments: tuple[str, ...],
    channel: str | None,
    chaincode: str | None,
    transient: tuple[str, ...],
    endorse_by: tuple[str, ...],
) -> None:
    """Ask one peer for the result of FUNCTION; nothing is written.

    ARGUMENTS are passed as they are: text, or JSON where the function takes it. One that begins
    with @ names a file, @- is standard input.
    """
    name = context.channel(channel)

    async def call() -> bytes:
        async with context.gateway() as gateway:
            contract = _contract(context, gateway.network(name), chaincode)
            return await contract.evaluate(
                function,
                *[_read(argument) for argument in arguments],
                transient=_transient(transient),
                organizations=_msp_ids(context, endorse_by),
            )

    raw = context.run(call())
    context.output.result(_readable(raw), lambda output: output.line(_text(raw)))


@group.command(
    examples=[
        "medfabric chaincode invoke consent:Revoke c1 --as PatientTrust/alice",
        "medfabric chaincode invoke records:Anchor @anchor.json -t salt=@salt.bin",
    ]
)
@click.argument("function")
@click.argument("arguments", nargs=-1)
@channel_option
@_call_options
@click.option("--retry/--no-retry", default=True, show_default=True, help="Retry read conflicts.")
@with_context
def invoke(
    context: Context,
    function: str,
    arguments: tuple[str, ...],
    channel: str | None,
    chaincode: str | None,
    transient: tuple[str, ...],
    endorse_by: tuple[str, ...],
    retry: bool,
) -> None:
    """Submit a transaction that calls FUNCTION, and wait until it is committed.

    ARGUMENTS are passed as they are: text, or JSON where the function takes it. One that begins
    with @ names a file, @- is standard input.
    """
    from network.client import Retry

    name = context.channel(channel)

    async def call() -> "CommitStatus":
        async with context.gateway() as gateway:
            contract = _contract(context, gateway.network(name), chaincode)
            return await contract.submit(
                function,
                *[_read(argument) for argument in arguments],
                transient=_transient(transient),
                organizations=_msp_ids(context, endorse_by),
                retry=Retry() if retry else None,
            )

    status = context.run(call())
    told = {
        "transactionId": status.transaction_id,
        "blockNumber": status.block_number,
        "code": status.code_name,
        "result": _readable(status.result),
    }

    def display(output: Output) -> None:
        if status.result:
            output.line(_text(status.result))
        output.success(
            f"transaction {status.transaction_id[:12]} committed in block {status.block_number}"
        )

    context.output.result(told, display)


def _contract(context: Context, network: Any, chaincode: str | None) -> "Contract":
    if chaincode is None:
        known = context.topology.channel(network.channel_id).chaincodes
        if not known:
            raise input_error("the channel has no chaincode", "name one with --chaincode")
        chaincode = known[0].name
    found: Contract = network.contract(chaincode)
    return found


def _msp_ids(context: Context, names: tuple[str, ...]) -> list[str]:
    known = {one.name.lower(): one.msp_id for one in context.topology.organizations}
    known.update({one.msp_id.lower(): one.msp_id for one in context.topology.organizations})
    for name in names:
        if name.lower() not in known:
            raise input_error(
                f"there is no organisation {name!r}",
                f"there are: {', '.join(one.name for one in context.topology.organizations)}",
            )
    return [known[name.lower()] for name in names]


def _transient(given: tuple[str, ...]) -> dict[str, bytes]:
    values = {}
    for entry in given:
        key, equals, value = entry.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--transient takes KEY=VALUE, not {entry!r}")
        values[key] = _read(value)
    return values


def _read(argument: str) -> bytes:
    if not argument.startswith("@"):
        return argument.encode()
    if argument == "@-":
        return sys.stdin.buffer.read()
    return Path(argument[1:]).read_bytes()


def _readable(raw: bytes) -> Any:
    """JSON as JSON, text as text, other bytes as hexadecimal."""
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw.hex()


def _text(raw: bytes) -> str:
    value = _readable(raw)
    if isinstance(value, dict | list):
        return json.dumps(value, indent=2, ensure_ascii=False)
    return "" if value is None else str(value)
