"""`medfabric claim` for what a payer states: coverages, providers, authorisations, its table."""

from collections.abc import Callable, Coroutine
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from admin.cli.claiming.options import read_amount, read_day
from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.cli.sessions import HealthSession, open_health
from admin.errors import input_error, usage_error

if TYPE_CHECKING:
    from admin.procedures.claims.facts import PayerFacts
    from admin.procedures.networks.health import Committed
    from chaincode.claims.details import Span, VisitLimit
    from chaincode.claims.model import FactKind, Registration, TableVersion

_OUTPUT = click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the fact for the provider, who files with --facts FILE.",
)


@click.command(
    cls=Command,
    examples="medfabric claim coverage member.json --patient 7c1f… --coinsurance 20 "
    "--as UnitedPayer/intake",
)
@click.argument("file", metavar="FILE")
@click.option("--patient", required=True, metavar="HANDLE", help="The member's handle.")
@click.option("--id", "wanted", metavar="ID", help="Which Coverage, where a Bundle has several.")
@click.option(
    "--deductible",
    type=read_amount,
    metavar="AMOUNT",
    help="Of a benefit period, less what was met elsewhere.",
)
@click.option(
    "--out-of-pocket",
    type=read_amount,
    metavar="AMOUNT",
    help="The most that the member pays in a benefit period.",
)
@click.option(
    "--visits",
    multiple=True,
    metavar="CODE=N",
    help="So many units of a service in a benefit period; repeat.",
)
@click.option(
    "--period-start", metavar="MM-DD", help="The day on which a benefit period begins [01-01]."
)
@click.option("--copay", type=read_amount, metavar="AMOUNT")
@click.option("--coinsurance", type=click.FloatRange(0, 100), metavar="PERCENT")
@click.option("--exclude", multiple=True, metavar="CODE", help="A service not covered; repeat.")
@_OUTPUT
@channel_option
@with_context
def coverage(
    context: Context,
    file: str,
    patient: str,
    wanted: str | None,
    deductible: int | None,
    out_of_pocket: int | None,
    visits: tuple[str, ...],
    period_start: str | None,
    copay: int | None,
    coinsurance: float | None,
    exclude: tuple[str, ...],
    target: Path | None,
    channel: str | None,
) -> None:
    """State the FHIR R4 Coverage in FILE (or in a Bundle); prints its handle.

    The facts stay in the payer's own collection; the ledger gets a commitment. Tell the handle to
    who files claims on this coverage. Stating it again replaces what was stated.
    """
    from dataclasses import replace

    from admin.fhir.reading import read_source
    from chaincode.claims.accumulators import period_of
    from chaincode.claims.coverages import read_coverage
    from chaincode.claims.model import FactKind
    from chaincode.errors import InvalidArgument

    resource = _find_coverage(read_source(file), wanted)
    said = {
        "deductible": deductible,
        "out_of_pocket": out_of_pocket,
        "visits": tuple(_visits(text) for text in visits) or None,
        "period_start": period_start,
        "copay": copay,
        "coinsurance": None if coinsurance is None else round(coinsurance * 100),
        "excluded_codes": exclude or None,
    }
    changed: dict[str, Any] = {name: value for name, value in said.items() if value is not None}

    async def act(facts: "PayerFacts", session: HealthSession) -> "Committed[Registration]":
        handle = facts.coverage_handle(patient, _outside_name(resource))
        try:
            fact = replace(read_coverage(resource, handle, patient), **changed)
            period_of(fact, fact.start)
        except InvalidArgument as error:
            raise input_error(error.text, "correct the element", file) from None
        return await facts.state_coverage(fact)

    _state(context, channel, act, FactKind.COVERAGE, "coverage stated", target)


@click.command(
    cls=Command,
    examples="medfabric claim provider 1555001019 --from 2020-01-01 --as UnitedPayer/intake",
)
@click.argument("npi", metavar="NPI")
@click.option(
    "--from", "start", type=read_day, required=True, metavar="DATE", help="First day enrolled."
)
@click.option("--to", "end", type=read_day, metavar="DATE", help="Last day enrolled [open].")
@click.option(
    "--excluded",
    multiple=True,
    metavar="DATE[..DATE]",
    help="Days on which nothing may be paid, as the OIG's list has them; repeat.",
)
@_OUTPUT
@channel_option
@with_context
def provider(
    context: Context,
    npi: str,
    start: date,
    end: date | None,
    excluded: tuple[str, ...],
    target: Path | None,
    channel: str | None,
) -> None:
    """State when the provider with this NPI is enrolled, and when excluded."""
    from chaincode.claims.details import Enrolment, Span
    from chaincode.claims.model import FactKind

    _validate_npi(npi)
    fact = Enrolment(npi, (Span(start, end),), tuple(_span(text) for text in excluded))

    async def act(facts: "PayerFacts", session: HealthSession) -> "Committed[Registration]":
        return await facts.state_enrolment(fact)

    _state(context, channel, act, FactKind.ENROLMENT, f"provider {npi} stated", target)


@click.command(
    cls=Command,
    examples=[
        "medfabric claim authorize --patient 7c1f… --npi 1555001019 --code G0108 --units 4 \\",
        "    --from 2026-10-01 --to 2026-12-31 --as UnitedPayer/intake",
        "medfabric claim authorize --claim 7f3a --as UnitedPayer/adjudicator",
    ],
)
@click.option("--claim", metavar="CLAIM", help="What a preauthorisation asked for and was granted.")
@click.option("--patient", metavar="HANDLE", help="For whom.")
@click.option("--npi", metavar="NPI", help="For which provider.")
@click.option("--code", "codes", multiple=True, metavar="CODE", help="A procedure; repeat.")
@click.option("--units", type=click.IntRange(min=1), help="How many.")
@click.option("--from", "start", type=read_day, metavar="DATE")
@click.option("--to", "end", type=read_day, metavar="DATE")
@_OUTPUT
@channel_option
@with_context
def authorize(
    context: Context,
    claim: str | None,
    patient: str | None,
    npi: str | None,
    codes: tuple[str, ...],
    units: int | None,
    start: date | None,
    end: date | None,
    target: Path | None,
    channel: str | None,
) -> None:
    """Authorise services in advance; prints the authorisation's handle.

    With --claim it is what a preauthorisation (Claim.use) asked for, as far as it was granted;
    --from, --to and --units then narrow or widen it. Tell the handle to the provider, who files
    with --authorization CODE=HANDLE.
    """
    import secrets

    from admin.procedures.claims.authorizing import grant_of
    from admin.procedures.claims.claims import Claims
    from chaincode.claims.details import Authorization
    from chaincode.claims.model import FactKind

    if claim is None:
        if patient is None or npi is None or not codes or None in (units, start, end):
            raise usage_error(
                "an authorisation says for whom, for which provider, what, how much and when",
                "give --claim, or --patient, --npi, --code, --units, --from and --to",
            )
        _validate_npi(npi)

    async def act(facts: "PayerFacts", session: HealthSession) -> "Committed[Registration]":
        if claim is not None:
            claims = Claims(session.surroundings, session.profile, session.health)
            fact = await grant_of(claims, claim, units=units, start=start, end=end)
        else:
            fact = Authorization(
                secrets.token_hex(16), patient or "", npi or "", codes,
                start or date.min, end or date.min, units or 0,
            )  # fmt: skip
        if fact.end < fact.start:
            raise input_error("the authorisation ends before it begins", "correct --from or --to")
        return await facts.state_authorization(fact)

    told = "authorised"
    _state(context, channel, act, FactKind.AUTHORIZATION, told, target)


@click.command(
    cls=Command,
    examples="medfabric claim table policy-table.json --publish --as UnitedPayer/intake",
)
@click.argument("file", metavar="FILE")
@click.option("--publish", is_flag=True, help="Put the content on the ledger, for all to apply.")
@channel_option
@with_context
def table(context: Context, file: str, publish: bool, channel: str | None) -> None:
    """Put the payer's table of rules in FILE in force: limits, fees, edits, what needs asking.

    The ledger gets its digest, so that licensed content stays here; with --publish the content.
    """
    from admin.fhir.reading import read_source
    from chaincode import canonical

    source = read_source(file)

    async def work() -> "Committed[TableVersion]":
        async with open_health(context, channel) as session:
            return await _facts(session).load_table(source, publish=publish)

    done = context.run(work())
    kept = "published" if publish else "by digest"
    context.output.result(
        {**canonical.to_wire(done.value), "blockNumber": done.block_number},
        f"✓ table {done.value.name} version {done.value.version} in force {kept}, in {done.place}",
    )


@click.command(
    cls=Command,
    examples=[
        "medfabric claim key",
        "medfabric claim key --import consortium.key",
    ],
)
@click.option("--import", "source", metavar="FILE", help="Put the key in FILE in place.")
@with_context
def key(context: Context, source: str | None) -> None:
    """The digest of the fingerprint key by which the consortium sees duplicates.

    Every payer and provider holds the same key, and it never reaches the ledger. An embedded
    network makes one at first use; elsewhere the consortium hands it out, and --import takes it.
    """
    from admin.fhir.reading import read_source
    from admin.procedures.claims.keys import import_key, key_file, open_key
    from chaincode import commitment

    if source:
        given = read_source(source)
        found = import_key(context.surroundings, given.raw, given.name)
    else:
        found = open_key(context.surroundings)
    digest = commitment.key_digest(found).hex()
    context.output.result({"digest": digest, "file": key_file(context.surroundings)}, digest)


def _state(
    context: Context,
    channel: str | None,
    act: "Callable[[PayerFacts, HealthSession], Coroutine[Any, Any, Committed[Registration]]]",
    kind: "FactKind",
    told: str,
    target: Path | None,
) -> None:
    from chaincode import canonical

    async def work() -> "tuple[Committed[Registration], bytes]":
        async with open_health(context, channel) as session:
            facts = _facts(session)
            done = await act(facts, session)
            return done, await facts.fact(kind, done.value.handle) if target else b""

    done, fact = context.run(work())
    if target:
        _write_facts(target, kind, fact)
    again = f", version {done.value.version}" if done.value.version > 1 else ""
    context.output.note(f"✓ {told}{again} in {done.place}; the handle:")
    context.output.result(
        {**canonical.to_wire(done.value), "blockNumber": done.block_number}, done.value.handle
    )


def _write_facts(target: Path, kind: "FactKind", fact: bytes) -> None:
    """The fact stands in the file, beside those that were there."""
    import json

    names = {"coverage": "coverages", "authorization": "authorizations", "enrolment": "enrolments"}
    held: dict[str, Any] = {}
    if target.exists():
        from admin.fhir.reading import read_source
        from admin.procedures.claims.facts import read_facts

        source = read_source(str(target))
        read_facts(source)  # only a file of facts is added to
        held = json.loads(source.raw)
    fresh = json.loads(fact)
    listed = [one for one in held.get(names[kind.value], []) if _name(one) != _name(fresh)]
    held[names[kind.value]] = [*listed, fresh]
    target.touch(mode=0o600)
    target.write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")


def _name(opened: dict[str, Any]) -> str:
    fact = opened["fact"]
    found = fact.get("coverage") or fact.get("authorization") or fact.get("providerNpi")
    return str(found)


def _find_coverage(source: Any, wanted: str | None) -> dict[str, Any]:
    from admin.fhir.reading import parse_resource

    resource = parse_resource(source, "Coverage", "Bundle")
    entries = [entry.get("resource") or {} for entry in resource.get("entry") or ()]
    found = [one for one in (resource, *entries) if one.get("resourceType") == "Coverage"]
    if wanted:
        found = [one for one in found if one.get("id") == wanted]
    if len(found) != 1:
        raise input_error(
            f"the file holds {len(found)} such Coverages",
            "name one with --id" if found else "name a file that holds one",
            source.name,
        )
    return found[0]


def _outside_name(resource: dict[str, Any]) -> str:
    """What the coverage is called outside: its identifier, subscriber id or resource id."""
    for item in resource.get("identifier") or ():
        if item.get("value"):
            return f"{item.get('system', '')}|{item['value']}"
    return str(resource.get("subscriberId") or resource.get("id") or "")


def _validate_npi(npi: str) -> None:
    from chaincode.claims.checks.structure import is_npi

    if not is_npi(npi):
        raise input_error("not an NPI: ten digits with a valid check digit", "check the number")


def _visits(text: str) -> "VisitLimit":
    from chaincode.claims.details import VisitLimit

    code, _, limit = text.partition("=")
    if not code or not limit.isdecimal():
        raise input_error(f"{text!r} is no limit of visits", "write it as G0108=12")
    return VisitLimit(code, int(limit))


def _span(text: str) -> "Span":
    from chaincode.claims.details import Span

    first, _, last = text.partition("..")
    try:
        return Span(date.fromisoformat(first), date.fromisoformat(last) if last else None)
    except ValueError:
        raise input_error(
            f"{text!r} is no span of days", "write it as 2026-01-01..2026-12-31"
        ) from None


def _facts(session: HealthSession) -> "PayerFacts":
    from admin.procedures.claims.facts import PayerFacts
    from admin.procedures.claims.keys import open_key

    return PayerFacts(
        session.surroundings, session.profile, session.health, open_key(session.surroundings)
    )
