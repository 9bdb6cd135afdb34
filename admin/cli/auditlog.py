"""`medfabric audit log`: an organisation's access log, anchored in batches and provable."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli.context import Context
from admin.cli.frame import Group, channel_option, with_context
from admin.cli.sessions import HealthSession, open_health
from admin.cli.verifying import read_blocks, show_grounds, verification_options
from admin.errors import ExitCode, Fault, FaultError, input_error
from admin.output import Output

if TYPE_CHECKING:
    from admin.procedures.audit.logproofs import LogEventProof
    from admin.procedures.audit.logs import AnchoredLog, Logs
    from chaincode.audit.model import LogState

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OUT = click.Path(dir_okay=False, path_type=Path)
_LOG = click.option("--log", "log", required=True, metavar="NAME", help="The log's name, a code.")

group = Group(
    "log",
    help="""Access logs: anchor in batches, list, prove an event, verify offline.

    A log is a file with one event a line (an EHR's access log, AuditEvents as NDJSON). The ledger
    gets one Merkle root for thousands of events: it shows later that an event stood there, then,
    unchanged, and that none was taken out. The events themselves never leave their file.
    """,
    examples=[
        "medfabric audit log anchor access.ndjson --log ehr --as GeneralHospital/siem",
        "medfabric audit log anchor access.ndjson --log ehr --follow --as GeneralHospital/siem",
        "medfabric audit log prove access.ndjson --line 17 --log ehr --event e.json \\",
        "    --proof e.proof.json --block e.block --as GeneralHospital/siem",
        "medfabric audit log verify e.json --proof e.proof.json --block e.block --trust care.block",
    ],
)


@group.command(
    examples=[
        "medfabric audit log anchor access.ndjson --log ehr --as GeneralHospital/siem",
        "medfabric audit log anchor access.ndjson --log ehr --follow --every 2",
    ]
)
@click.argument("file", metavar="FILE", type=_FILE)
@_LOG
@click.option(
    "--batch",
    "size",
    type=click.IntRange(1, 1_000_000),
    default=10_000,
    show_default=True,
    help="Events in one batch, and so in one transaction.",
)
@click.option("--follow", is_flag=True, help="Go on as lines are added; ends with Ctrl-C.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.5),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="With --follow: anchor at least so often.",
)
@channel_option
@with_context
def anchor(
    context: Context,
    file: Path,
    log: str,
    size: int,
    follow: bool,
    every: float,
    channel: str | None,
) -> None:
    """Anchor the lines of FILE that are not anchored yet.

    Lines that were anchored before must still be what they were. A file that begins anew after a
    rotation goes on in the same log. A last line without a line feed waits until it is finished.
    Keep the folder .medfabric/NETWORK/logs: without its secrets no event can be proved.
    """
    import asyncio

    def tell(done: "AnchoredLog") -> None:
        context.output.result(
            done,
            f"✓ {done.log}: events {done.first} to {done.last} anchored in block "
            f"{done.block_number}",
        )

    async def work() -> int:
        async with open_health(context, channel) as session:
            logs = _logs(session)
            if not follow:
                return await logs.anchor(file, log, size=size, tell=tell)
            await logs.follow(file, log, size=size, every=every, tell=tell, sleep=asyncio.sleep)
            return 0

    if not context.run(work()):
        context.output.note("nothing new: all finished lines are anchored")


@group.command(
    "list",
    examples=[
        "medfabric audit log list --as GeneralHospital/siem",
        "medfabric audit log list --org CityClinicMSP --as PatientTrust/auditor",
    ],
)
@click.option("--org", "msp_id", default="", metavar="MSPID", help="Another organisation's.")
@channel_option
@with_context
def list_(context: Context, msp_id: str, channel: str | None) -> None:
    """The logs of an organisation, and how many events of each are anchored."""

    async def work() -> "list[LogState]":
        async with open_health(context, channel) as session:
            return await _logs(session).states(msp_id)

    found = context.run(work())

    def human(output: Output) -> None:
        output.table(
            ("organisation", "log", "events"),
            [(one.msp_id, one.log, one.last) for one in found],
            empty="No log is anchored.",
        )

    context.output.result(found, human)


@group.command(
    examples="medfabric audit log prove access.ndjson --line 17 --log ehr --event e.json "
    "--proof e.proof.json --block e.block --as GeneralHospital/siem"
)
@click.argument("file", metavar="FILE", type=_FILE)
@click.option("--line", type=click.IntRange(min=1), required=True, metavar="N", help="Which line.")
@_LOG
@click.option(
    "--sequence",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Its number in the log, where several lines are alike.",
)
@click.option("--event", required=True, type=_OUT, help="Written: the line, byte for byte.")
@click.option("--proof", required=True, type=_OUT, help="Written: its salt, path and place.")
@click.option("--block", required=True, type=_OUT, help="Written: the block that anchors it.")
@channel_option
@with_context
def prove(
    context: Context,
    file: Path,
    line: int,
    log: str,
    sequence: int | None,
    event: Path,
    proof: Path,
    block: Path,
    channel: str | None,
) -> None:
    """Write one line of FILE with its proof and its block, for 'audit log verify'.

    Proof and event tell what happened: give them only to who may know it. Both have mode 0600.
    """
    from admin.procedures.audit.logarchive import format_proof
    from admin.procedures.audit.logs import read_lines
    from network.topology.safefiles import write_file

    found = next((one for one in read_lines(file, line - 1)), None)
    if found is None or found.number != line:
        raise input_error(f"there is no finished line {line}", "lines count from 1", str(file))
    content = found.event

    async def work() -> "tuple[LogEventProof, bytes]":
        async with open_health(context, channel) as session:
            return await _logs(session).prove(content, log, sequence or 0)

    made, raw = context.run(work())
    write_file(event, content, secret=True)
    write_file(proof, format_proof(made).encode(), secret=True)
    write_file(block, raw)
    context.output.result(
        {
            "log": log,
            "sequence": made.sequence,
            "event": event,
            "proof": proof,
            "block": block,
            "blockNumber": made.block_number,
        },
        f"✓ event {made.sequence} of {log}: {event}, {proof} and {block} "
        f"(block {made.block_number}) written",
    )


@group.command(
    examples="medfabric audit log verify e.json --proof e.proof.json --block e.block "
    "--trust care.block"
)
@click.argument("event", metavar="EVENT")
@verification_options("audit log prove")
@with_context
def verify(context: Context, event: str, proof: str, block: str, trust: str) -> None:
    """Show offline that EVENT stood in an anchored log. Asks nobody anything.

    Exit code 5 if it is not shown.
    """
    from admin.fhir.reading import read_source
    from admin.procedures.audit.logproofs import read_log_proof, verify_event
    from admin.procedures.ledgers.evidence import NotShown

    opened, trusted = read_blocks(block, trust)
    try:
        shown = verify_event(
            read_source(event).raw, read_log_proof(read_source(proof).raw), opened, trusted
        )
    except NotShown as error:
        raise FaultError(
            Fault(ExitCode.LEDGER, "not-shown", str(error), event, "get event and proof again")
        ) from error

    def human(output: Output) -> None:
        output.line(
            f"✓ event {shown.sequence} of log {shown.log} of {shown.msp_id}, anchored on "
            f"{shown.anchored_at:%Y-%m-%dT%H:%M:%SZ}"
        )
        show_grounds(output, shown.checks, shown.limits)

    context.output.result(shown, human)


def _logs(session: HealthSession) -> "Logs":
    from admin.procedures.audit.logs import Logs

    return Logs(session.surroundings, session.profile, session.health)
