"""`medfabric claim eligibility`: what a coverage has left, as its payer answers it."""

import json
from typing import Any

import click

from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.cli.sessions import open_health
from admin.errors import input_error


@click.command(
    cls=Command,
    examples="medfabric claim eligibility asked.json --coverage 55d2… --as UnitedPayer/intake",
)
@click.argument("file", metavar="FILE")
@click.option("--coverage", default="", metavar="HANDLE", help="The handle of the coverage.")
@click.option("--handles", metavar="FILE", help="References and their handles, as for submit.")
@channel_option
@with_context
def eligibility(
    context: Context, file: str, coverage: str, handles: str | None, channel: str | None
) -> None:
    """Answer the FHIR R4 CoverageEligibilityRequest in FILE, as the coverage's payer.

    Prints a CoverageEligibilityResponse: whether the coverage is in force on the day, what is left
    of deductible, out-of-pocket and limited services in the benefit period, and which services
    need prior authorisation.
    """
    from admin.fhir.reading import parse_resource, read_source
    from admin.fhir.writing import format_json
    from admin.procedures.claims.eligibility import answer
    from admin.procedures.claims.sources import read_handles
    from chaincode.claims.eligibility import read_request
    from chaincode.errors import InvalidArgument

    resource = parse_resource(read_source(file), "CoverageEligibilityRequest")
    try:
        asked = read_request(resource)
    except InvalidArgument as error:
        raise input_error(error.text, "correct the element", file) from None
    named = read_handles(read_source(handles)) if handles else {}
    handle = coverage or named.get(asked.coverages[0], "")
    if not handle:
        raise input_error(
            "nobody said which handle stands for the coverage",
            "give --coverage HANDLE, or --handles FILE",
            file,
        )

    async def work() -> dict[str, Any]:
        async with open_health(context, channel) as session:
            return await answer(
                session.surroundings, session.profile, session.health, asked, handle
            )

    text = format_json(context.run(work()))
    context.output.result(json.loads(text), text)
