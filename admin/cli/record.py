"""`medfabric record`: sealed records, from a file to another organisation's screen."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli.context import Context
from admin.cli.frame import Group, channel_option, timeout_option, with_context
from admin.cli.sessions import HealthSession, open_health
from admin.cli.watching import build_watch
from admin.errors import ExitCode, input_error, refused_error
from admin.output import Output, shorten

if TYPE_CHECKING:
    from admin.procedures.care.proofs import RecordProof
    from admin.procedures.care.records import OpenedRecord, Records, SealedRecord
    from admin.procedures.networks.health import Committed
    from chaincode.records.model import Access, AccessPage, Record, RecordPage

RELEASE_WAIT = 20.0

group = Group(
    "record",
    help="""Records: seal, anchor, request, release, verify.

    A record is sealed for its organisation and lies in that organisation's store. The ledger
    carries a salted commitment to it under a random handle. Others request access; the decision
    on the patient's consent is recorded, and the custodian's exchange releases the key.
    """,
    examples=[
        "medfabric record seal visit.json --patient 7c1f… --as GeneralHospital/dr.lee",
        "medfabric record anchor 91ab… --as GeneralHospital/dr.lee",
        "medfabric record request 91ab… --purpose TREAT --as CityClinic/dr.kim",
        "medfabric record open 4f02… -o visit.json --as CityClinic/dr.kim",
        "medfabric record verify visit.json --proof p.json --block b.block --trust care.block",
    ],
)


@group.command(
    examples="medfabric record seal visit.json --patient 7c1f… --label N "
    "--as GeneralHospital/dr.lee"
)
@click.argument("file", metavar="FILE")
@click.option("--patient", required=True, metavar="HANDLE", help="Whose record it is.")
@click.option("--class", "classes", multiple=True, metavar="CODE", help="Document class; repeat.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="CODE",
    help="Security label (N, R, ETH, PSY, …); repeat. Without any it counts as restricted.",
)
@click.option("--record", metavar="HANDLE", help="An earlier record that this replaces.")
@click.option("--version", type=click.IntRange(min=1), default=1, show_default=True)
@channel_option
@with_context
def seal(
    context: Context,
    file: str,
    patient: str,
    classes: tuple[str, ...],
    labels: tuple[str, ...],
    record: str | None,
    version: int,
    channel: str | None,
) -> None:
    """Seal FILE (- is standard input) into the organisation's store.

    FHIR JSON is validated first; any other file is sealed as it is. Nothing is on the ledger
    until 'record anchor'.
    """
    from admin.fhir.reading import read_source
    from admin.procedures.care.records import SealOptions

    source = read_source(file)
    options = SealOptions(patient, record or "", version, classes, labels or None)

    async def work() -> "SealedRecord":
        async with open_health(context, channel) as session:
            return await _records(session).seal(source, options)

    done = context.run(work())
    context.output.note(f"✓ sealed for {len(done.recipients)} keys; the record's handle:")
    context.output.result(done, done.record)


@group.command(examples="medfabric record anchor 91ab… --as GeneralHospital/dr.lee")
@click.argument("record", metavar="RECORD")
@channel_option
@with_context
def anchor(context: Context, record: str, channel: str | None) -> None:
    """Put the commitment of a sealed RECORD on the ledger."""
    from chaincode import canonical

    async def work() -> "Committed[Record]":
        async with open_health(context, channel) as session:
            return await _records(session).anchor(record)

    done = context.run(work())
    context.output.result(
        {**canonical.to_wire(done.value), "blockNumber": done.block_number},
        f"✓ record {done.value.anchor.record} version {done.value.anchor.version} anchored "
        f"in {done.place}",
    )


@group.command(examples="medfabric record request 91ab… --purpose TREAT --as CityClinic/dr.kim")
@click.argument("records", metavar="RECORD...", nargs=-1, required=True)
@click.option("--purpose", required=True, metavar="CODE", help="v3-ActReason: TREAT, HPAYMT, …")
@click.option("--action", default="access", show_default=True, metavar="CODE")
@channel_option
@with_context
def request(
    context: Context, records: tuple[str, ...], purpose: str, action: str, channel: str | None
) -> None:
    """Ask for RECORDs; the decision on consent is recorded, permit or deny.

    Prints the access's handle for 'record open'. A denial ends with exit code 4.
    """
    from chaincode import canonical

    async def work() -> "Committed[Access]":
        async with open_health(context, channel) as session:
            return await _records(session).request(records, purpose, action)

    done = context.run(work())
    access, decision = done.value, done.value.decision
    wire = {**canonical.to_wire(access), "blockNumber": done.block_number}
    if not decision.permitted:
        if context.json:
            # The decision is a result like any other: one document, and the exit code says denied.
            context.output.result(wire)
            click.get_current_context().exit(int(ExitCode.REFUSED))
        raise refused_error(
            f"access denied: {_ground(access)} ({decision.verdict.value}); recorded as access "
            f"{shorten(access.id)} in {done.place}",
            f"see why: medfabric consent explain {access.patient} --purpose {purpose}",
        )
    context.output.note(
        f"✓ {decision.verdict.value} by {_ground(access)}, recorded in {done.place}; the access:"
    )
    context.output.result(wire, access.id)


@group.command("open", examples="medfabric record open 4f02… -o visit.json --as CityClinic/dr.kim")
@click.argument("access", metavar="ACCESS")
@click.option("--record", default="", metavar="HANDLE", help="Which, where it permits several.")
@click.option(
    "-o", "--output", "target", required=True, type=click.Path(dir_okay=False, path_type=Path)
)
@timeout_option
@channel_option
@with_context
def open_(
    context: Context,
    access: str,
    record: str,
    target: Path,
    timeout: float | None,
    channel: str | None,
) -> None:
    """Fetch what an ACCESS released, check it, decrypt it and acknowledge it.

    Waits for the custodian's release. A transfer that broke is taken up again.
    """
    output = context.output

    async def work() -> "OpenedRecord":
        async with open_health(context, channel) as session:
            records = _records(session)
            with output.progress("opening the record") as progress:
                await _wait_for_release(session, access, timeout or RELEASE_WAIT)
                progress.step("fetching")
                return await records.open_access(access, record, target)

    done = context.run(work())
    context.output.result(
        done,
        f"✓ record {shorten(done.record)} from {done.sender}: {done.size} bytes in {done.path}",
    )


@group.command(examples="medfabric record history 91ab… --as GeneralHospital/dr.lee")
@click.argument("record", metavar="RECORD")
@channel_option
@with_context
def history(context: Context, record: str, channel: str | None) -> None:
    """The versions of a RECORD, oldest first."""
    from chaincode.records.model import RecordPage

    async def work() -> "RecordPage":
        async with open_health(context, channel) as session:
            handle = _records(session).resolve(record)
            return await session.health.evaluate("records:History", handle, result=RecordPage)

    _show_records(context, context.run(work()))


@group.command("list", examples="medfabric record list 7c1f… --as GeneralHospital/dr.lee")
@click.argument("patient", metavar="PATIENT")
@channel_option
@with_context
def list_(context: Context, patient: str, channel: str | None) -> None:
    """The records of a PATIENT that the ledger knows."""
    from chaincode.records.model import RecordPage

    async def work() -> "RecordPage":
        async with open_health(context, channel) as session:
            return await session.health.evaluate("records:List", patient, result=RecordPage)

    _show_records(context, context.run(work()))


@group.command(examples="medfabric record accesses --patient 7c1f… --as PatientTrust/amelia")
@click.option(
    "--patient", default="", metavar="HANDLE", help="All accesses to a patient's records."
)
@click.option("--record", default="", metavar="HANDLE", help="All accesses to one record.")
@channel_option
@with_context
def accesses(context: Context, patient: str, record: str, channel: str | None) -> None:
    """Who asked for what, how it was decided, and what became of it."""
    from chaincode import canonical
    from chaincode.records.model import AccessPage

    if bool(patient) == bool(record):
        raise input_error("name either --patient or --record", "")

    async def work() -> "AccessPage":
        async with open_health(context, channel) as session:
            return await session.health.evaluate(
                "records:Accesses", patient, record, result=AccessPage
            )

    page = context.run(work())
    oldest_first = sorted(page.accesses, key=lambda view: view.access.requested_at)

    def human(output: Output) -> None:
        output.table(
            ("access", "who", "purpose", "decided", "on", "released", "received"),
            [
                (
                    shorten(view.access.id, 12),
                    f"{view.access.msp_id}/{view.access.role}",
                    view.access.request.purpose,
                    view.access.decision.verdict.value,
                    view.access.requested_at,
                    view.release.released_at if view.release else None,
                    view.receipt.received_at if view.receipt else None,
                )
                for view in oldest_first
            ],
            empty="Nobody asked.",
        )

    context.output.result(canonical.to_wire(page), human)


@group.command(
    examples="medfabric record withdraw 91ab… --reason error --as GeneralHospital/dr.lee"
)
@click.argument("record", metavar="RECORD")
@click.option("--reason", required=True, metavar="CODE")
@channel_option
@with_context
def withdraw(context: Context, record: str, reason: str, channel: str | None) -> None:
    """Release a RECORD no longer; what was released stays released."""
    from chaincode import canonical
    from chaincode.records.model import Record

    async def work() -> "Committed[Record]":
        async with open_health(context, channel) as session:
            handle = _records(session).resolve(record)
            known = await session.health.evaluate("records:Get", handle, result=Record)
            return await session.health.submit(
                "records:Withdraw", handle, str(known.anchor.version), reason, result=Record
            )

    done = context.run(work())
    context.output.result(canonical.to_wire(done.value), f"✓ withdrawn in {done.place}")


@group.command(
    examples="medfabric record prove 91ab… --proof p.json --block b.block "
    "--as GeneralHospital/dr.lee"
)
@click.argument("record", metavar="RECORD")
@click.option("--proof", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--block", required=True, type=click.Path(dir_okay=False, path_type=Path))
@channel_option
@with_context
def prove(context: Context, record: str, proof: Path, block: Path, channel: str | None) -> None:
    """Write the proof that RECORD was anchored, and the block that holds it.

    The proof holds the salt of the commitment: give it only to who may know the record.
    """
    from admin.procedures.care.records import encode_proof

    async def work() -> "tuple[RecordProof, bytes]":
        async with open_health(context, channel) as session:
            return await _records(session).prove(record)

    found, raw = context.run(work())
    proof.touch(mode=0o600)
    proof.write_text(encode_proof(found), encoding="utf-8")
    block.write_bytes(raw)
    context.output.result(
        {"record": found.record, "proof": proof, "block": block, "number": found.block_number},
        f"✓ {proof} and {block} (block {found.block_number}) written",
    )


@group.command(
    examples="medfabric record verify visit.json --proof p.json --block b.block --trust care.block"
)
@click.argument("file", metavar="FILE")
@click.option("--proof", required=True, metavar="FILE", help="As 'record prove' writes it.")
@click.option("--block", required=True, metavar="FILE", help="The block it names, from anywhere.")
@click.option(
    "--trust",
    required=True,
    metavar="FILE",
    help="The channel's genesis or configuration block, from a source you trust.",
)
@with_context
def verify(context: Context, file: str, proof: str, block: str, trust: str) -> None:
    """Show offline that FILE is the record that was anchored. Asks nobody anything.

    Exit code 5 if it is not shown.
    """
    from admin.errors import ExitCode, Fault, FaultError
    from admin.fhir.reading import read_source
    from admin.procedures.care.proofs import NotShown, read_proof, verify_record
    from network.rules.blocks.block import open_block
    from network.rules.channel.config import ChannelConfig, InvalidConfig
    from network.rules.envelope import MalformedMessage

    try:
        trusted = ChannelConfig.from_block(open_block(read_source(trust).raw))
        opened = open_block(read_source(block).raw)
    except (InvalidConfig, MalformedMessage) as error:
        raise input_error(f"a block cannot be read: {error}", "", f"{block} or {trust}") from error
    try:
        shown = verify_record(
            read_source(file).raw, read_proof(read_source(proof).raw), opened, trusted
        )
    except NotShown as error:
        raise FaultError(
            Fault(ExitCode.LEDGER, "not-shown", str(error), file, "get the file or proof again")
        ) from error

    def human(output: Output) -> None:
        output.line(f"✓ anchored by {shown.custodian} on {shown.anchored_at}")
        for line in shown.checks:
            output.line(f"  ✓ {line}")
        for line in shown.limits:
            output.line(f"  · {line}")

    context.output.result(shown, human)


group.add_command(
    build_watch(
        "records",
        ("records.",),
        own_only=True,
        example=[
            "medfabric record watch --as GeneralHospital/dr.lee",
            "medfabric record watch --event AccessDecided --checkpoint asked.json --json",
        ],
    )
)


def _records(session: HealthSession) -> "Records":
    from admin.procedures.care.records import Records

    return Records(session.surroundings, session.profile, session.health)


async def _wait_for_release(session: HealthSession, access: str, patience: float) -> None:
    """Return once the custodian has released the access, or there is nothing to wait for."""
    import asyncio

    from chaincode.records.model import AccessView

    deadline = time.monotonic() + patience
    while True:
        view = await session.health.evaluate("records:GetAccess", access, result=AccessView)
        if view.release is not None or not view.access.decision.permitted:
            return
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.1)


def _ground(access: "Access") -> str:
    match = access.decision.match
    if match.consent_id:
        return f"consent {shorten(match.consent_id)} version {match.version}"
    if match.path.startswith("implicit:") or not match.path:
        return "no consent permits it"
    return match.path


def _show_records(context: Context, page: "RecordPage") -> None:
    from chaincode import canonical

    def human(output: Output) -> None:
        output.table(
            ("record", "version", "status", "custodian", "types", "anchored"),
            [
                (
                    one.anchor.record,
                    one.anchor.version,
                    one.status.value,
                    one.custodian,
                    " ".join(one.anchor.resource_types),
                    one.anchored_at,
                )
                for one in page.records
            ],
            empty="There are no records.",
        )

    context.output.result(canonical.to_wire(page), human)
