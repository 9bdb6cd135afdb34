"""Proofs: written by who keeps a record, verified by anyone, offline."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.cli.recording.views import open_records
from admin.cli.sessions import open_health
from admin.cli.verifying import read_blocks, show_grounds, verification_options
from admin.errors import ExitCode, Fault, FaultError, input_error
from admin.output import Output

if TYPE_CHECKING:
    from admin.procedures.care.proofs import RecordProof, Shown
    from chaincode.records.model import Membership


@click.command(
    cls=Command,
    examples="medfabric record prove 91ab… --proof p.json --block b.block "
    "--as GeneralHospital/dr.lee",
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
    from admin.procedures.care.proving import encode_proof
    from admin.procedures.care.proving import prove as build
    from network.topology.safefiles import write_file

    async def work() -> "tuple[RecordProof, bytes]":
        async with open_health(context, channel) as session:
            return await build(session.surroundings, session.profile, session.health, record)

    found, raw = context.run(work())
    write_file(proof, encode_proof(found).encode(), secret=True)
    write_file(block, raw)
    context.output.result(
        {"record": found.record, "proof": proof, "block": block, "number": found.block_number},
        f"✓ {proof} and {block} (block {found.block_number}) written",
    )


@click.command(
    cls=Command,
    examples="medfabric record place 91ab… -o 91ab.json --as GeneralHospital/dr.lee",
)
@click.argument("record", metavar="RECORD")
@click.option(
    "-o", "--output", "target", required=True, type=click.Path(dir_okay=False, path_type=Path)
)
@channel_option
@with_context
def place(context: Context, record: str, target: Path, channel: str | None) -> None:
    """Write where RECORD stands in its batch: what others need to request it.

    It says no more than the ledger says of a record that was anchored singly, and holds no salt.
    """
    from admin.procedures.care.proving import encode_proof
    from network.topology.safefiles import write_file

    async def work() -> "Membership | None":
        async with open_health(context, channel) as session:
            records = open_records(session)
            return records.membership(records.resolve(record))

    found = context.run(work())
    if found is None:
        raise input_error(
            "the record is in no batch that is here",
            "one that was anchored singly is requested by its handle alone",
            record,
        )
    write_file(target, encode_proof(found).encode())
    context.output.result(
        {"record": found.anchor.record, "batch": found.batch, "index": found.index, "file": target},
        f"✓ {target}: record {found.anchor.record} is number {found.index} of batch {found.batch}",
    )


@click.command(
    cls=Command,
    examples="medfabric record verify visit.json --proof p.json --block b.block --trust care.block",
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@verification_options("record prove")
@with_context
def verify(context: Context, file: Path, proof: str, block: str, trust: str) -> None:
    """Show offline that FILE is the record that was anchored. Asks nobody anything.

    A FHIR resource that another server wrote anew (other order, white space, meta, text) is shown
    by its canonical form. Exit code 5 if it is not shown.
    """
    shown = _verify(file, proof, block, trust)

    def human(output: Output) -> None:
        output.line(f"✓ anchored by {shown.custodian} on {shown.anchored_at}")
        show_grounds(output, shown.checks, shown.limits)

    context.output.result(shown, human)


@click.command(cls=Command, examples="medfabric record canonical visit.json > visit.canonical.json")
@click.argument("file", metavar="FILE")
@with_context
def canonical(context: Context, file: str) -> None:
    """Print a FHIR resource's canonical form: what its second, semantic digest is taken of.

    FHIR's canonical JSON, static form: properties in alphabetical order, no white space between
    tokens, text and meta left out of every resource, decimals with the digits they were written
    with. The same wherever the resource is stored.
    """
    import hashlib

    from admin.fhir.canonical import canonical_static
    from admin.fhir.reading import parse_resource, read_source

    static = canonical_static(parse_resource(read_source(file)))
    context.output.result(
        {"sha256": hashlib.sha256(static).hexdigest(), "canonical": static.decode()},
        static.decode(),
    )


def _verify(file: Path, proof: str, block: str, trust: str) -> "Shown":
    from admin.fhir.reading import read_source
    from admin.procedures.care.proofs import NotShown, read_proof, verify_record

    opened, trusted = read_blocks(block, trust)
    try:
        with file.open("rb") as content:
            return verify_record(content, read_proof(read_source(proof).raw), opened, trusted)
    except NotShown as error:
        raise FaultError(
            Fault(
                ExitCode.LEDGER, "not-shown", str(error), str(file), "get the file or proof again"
            )
        ) from error
