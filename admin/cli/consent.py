"""`medfabric consent`: what patients allow."""

from typing import TYPE_CHECKING, Any

import click

from admin.cli.context import Context
from admin.cli.frame import Group, channel_option, with_context, yes_option
from admin.cli.sessions import open_health
from admin.cli.watching import build_watch
from admin.output import Output, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from admin.procedures.care.consents import Draft
    from admin.procedures.networks.health import Committed
    from chaincode.consent.messages import ConsentReceipt
    from chaincode.consent.model import Consent, DataItem, Decision

group = Group(
    "consent",
    help="""Consents: grant, amend, revoke, check, explain.

    A consent is read from a FHIR R4 or R5 Consent. The ledger keeps its normalised rules under
    random handles; the file itself stays with whoever wrote it. The patient, a delegate in scope
    or the custodian may write one.
    """,
    examples=[
        "medfabric consent grant consent.json --patient 7c1f… --as PatientTrust/amelia",
        "medfabric consent check 7c1f… --purpose TREAT --as CityClinic/dr.lee",
        "medfabric consent revoke 3ab0… --patient 7c1f… --as PatientTrust/amelia",
    ],
)

_PATIENT = click.option(
    "--patient", required=True, metavar="HANDLE", help="The patient's handle in the directory."
)
_DIALECT = click.option(
    "--dialect",
    type=click.Choice(["strict", "leap", "pcf"]),
    default="strict",
    show_default=True,
    help="How nested provision.type is read.",
)
_HANDLES = click.option(
    "--handle",
    "handles",
    multiple=True,
    metavar="REFERENCE=HANDLE",
    help="What a reference in the file stands for, such as Organization/1=org:CityClinicMSP.",
)
_PURPOSE = click.option(
    "--purpose", required=True, metavar="CODE", help="v3-ActReason: TREAT, HPAYMT, HRESCH, …"
)
_ACTION = click.option(
    "--action",
    type=click.Choice(["access", "use", "disclose", "collect", "correct"]),
    default="access",
    show_default=True,
)


def _data_options(function: Any) -> Any:
    for option in (
        click.option(
            "--type", "resource_type", metavar="TYPE", help="Of the record, such as Claim."
        ),
        click.option(
            "--label", "labels", multiple=True, metavar="CODE", help="N, R, PSY …; repeat for more."
        ),
        click.option(
            "--code", "codes", multiple=True, metavar="SYSTEM|CODE", help="In it; repeat for more."
        ),
        click.option("--authored", metavar="DATE", help="When it was written."),
    ):
        function = option(function)
    return function


@group.command(
    examples="medfabric consent grant consent.json --patient 7c1f… --as PatientTrust/amelia"
)
@click.argument("file", metavar="FILE")
@_PATIENT
@_DIALECT
@_HANDLES
@channel_option
@with_context
def grant(
    context: Context,
    file: str,
    patient: str,
    dialect: str,
    handles: tuple[str, ...],
    channel: str | None,
) -> None:
    """Write the consent in FILE (- is standard input) for a patient.

    What the file says is normalised; an element that cannot be enforced is refused by its path.
    See first what becomes of it: medfabric consent read FILE.
    """
    from admin.procedures.care.consents import Consents

    draft = _read_draft(context, file, patient, dialect, handles)

    async def work() -> "Committed[ConsentReceipt]":
        async with open_health(context, channel) as session:
            return await Consents(session.surroundings, session.health).grant(patient, draft)

    _show_receipt(context, "granted", context.run(work()))


@group.command(
    examples="medfabric consent amend 3ab0… consent.json --patient 7c1f… --as PatientTrust/amelia"
)
@click.argument("consent", metavar="CONSENT")
@click.argument("file", metavar="FILE")
@_PATIENT
@_DIALECT
@_HANDLES
@channel_option
@with_context
def amend(
    context: Context,
    consent: str,
    file: str,
    patient: str,
    dialect: str,
    handles: tuple[str, ...],
    channel: str | None,
) -> None:
    """Replace CONSENT's directive by the one in FILE."""
    from admin.procedures.care.consents import Consents

    draft = _read_draft(context, file, patient, dialect, handles)

    async def work() -> "Committed[ConsentReceipt]":
        async with open_health(context, channel) as session:
            consents = Consents(session.surroundings, session.health)
            return await consents.amend(await consents.resolve(patient, consent), draft)

    _show_receipt(context, "amended", context.run(work()))


@group.command(examples="medfabric consent revoke 3ab0… --patient 7c1f… --as PatientTrust/amelia")
@click.argument("consent", metavar="CONSENT")
@_PATIENT
@click.option(
    "--reason",
    type=click.Choice(
        ["patient-request", "superseded", "entered-in-error", "delegation-ended", "deceased"]
    ),
    default="patient-request",
    show_default=True,
)
@click.option(
    "--document", metavar="FILE", help="What the patient signed; a custodian must name it."
)
@yes_option
@channel_option
@with_context
def revoke(
    context: Context,
    consent: str,
    patient: str,
    reason: str,
    document: str | None,
    yes: bool,
    channel: str | None,
) -> None:
    """Make CONSENT inactive from now on; what was decided before stays as it is."""
    from admin.fhir.reading import read_source
    from admin.procedures.care.consents import Consents

    signed = read_source(document) if document else None
    if not yes:
        click.confirm(f"Revoke consent {shorten(consent)}?", abort=True, err=True)

    async def work() -> "Committed[ConsentReceipt]":
        async with open_health(context, channel) as session:
            consents = Consents(session.surroundings, session.health)
            handle = await consents.resolve(patient, consent)
            return await consents.revoke(handle, reason, signed)

    _show_receipt(context, "revoked", context.run(work()))


@group.command("list", examples="medfabric consent list 7c1f… --as PatientTrust/amelia")
@click.argument("patient", metavar="PATIENT")
@channel_option
@with_context
def list_(context: Context, patient: str, channel: str | None) -> None:
    """The consents of a patient in their current versions, revoked ones too."""
    from admin.procedures.care.consents import Consents

    async def work() -> "list[Consent]":
        async with open_health(context, channel) as session:
            return await Consents(session.surroundings, session.health).of_patient(patient)

    _show_table(context, context.run(work()), "The patient has written no consent.")


@group.command(
    examples="medfabric consent show 3ab0… --patient 7c1f… --history --as PatientTrust/amelia"
)
@click.argument("consent", metavar="CONSENT")
@_PATIENT
@click.option("--history", is_flag=True, help="All versions, oldest first.")
@click.option("--fhir", type=click.Choice(["R4", "R5"]), help="As a FHIR Consent of this release.")
@channel_option
@with_context
def show(
    context: Context,
    consent: str,
    patient: str,
    history: bool,
    fhir: str | None,
    channel: str | None,
) -> None:
    """CONSENT's rules as the ledger keeps them, or its versions."""
    import json

    from admin.procedures.care.consents import Consents, build_fhir
    from chaincode import canonical

    if history and fhir:
        raise click.UsageError("--history and --fhir exclude each other")

    async def work() -> "list[Consent]":
        async with open_health(context, channel) as session:
            consents = Consents(session.surroundings, session.health)
            handle = await consents.resolve(patient, consent)
            return await consents.history(handle) if history else [await consents.get(handle)]

    found = context.run(work())
    if history:
        _show_table(context, found, "")
        return
    plain = build_fhir(found[0], fhir) if fhir else canonical.to_wire(found[0])
    context.output.result(plain, json.dumps(plain, indent=2))


@group.command(examples="medfabric consent check 7c1f… --purpose TREAT --as CityClinic/dr.lee")
@click.argument("patient", metavar="PATIENT")
@_PURPOSE
@_ACTION
@_data_options
@channel_option
@with_context
def check(
    context: Context, patient: str, purpose: str, action: str, channel: str | None, **data: Any
) -> None:
    """Would who acts be let have the patient's record for a purpose? Nothing is recorded.

    Without --type, --label, --code and --authored the question is about the whole record, of which
    parts may have to be left out; with them about one record of which that is known, and nothing
    else.
    """
    from chaincode import canonical
    from chaincode.consent.messages import EvaluationRequest
    from chaincode.consent.model import Decision

    async def work() -> "Decision":
        async with open_health(context, channel) as session:
            request = EvaluationRequest(patient, purpose, action, _items(data))
            return await session.health.evaluate("consent:Evaluate", request, result=Decision)

    decision = context.run(work())
    duties = ", ".join(obligation.code for obligation in decision.obligations)
    context.output.result(
        canonical.to_wire(decision),
        f"{decision.verdict.value}  by {_ground(decision)}"
        + (f"\n  obligations: {duties}" if duties else "")
        + "".join(f"\n  problem: {problem}" for problem in decision.problems),
    )


@group.command(examples="medfabric consent explain 7c1f… --purpose HPAYMT --as UnitedPayer/kim")
@click.argument("patient", metavar="PATIENT")
@_PURPOSE
@_ACTION
@_data_options
@channel_option
@with_context
def explain(
    context: Context, patient: str, purpose: str, action: str, channel: str | None, **data: Any
) -> None:
    """As check, and why, in words."""
    from chaincode import canonical
    from chaincode.consent.messages import EvaluationRequest, Explanation

    async def work() -> "Explanation":
        async with open_health(context, channel) as session:
            request = EvaluationRequest(patient, purpose, action, _items(data))
            return await session.health.evaluate("consent:Explain", request, result=Explanation)

    explanation = context.run(work())
    context.output.result(
        canonical.to_wire(explanation),
        "\n".join((explanation.decision.verdict.value, *(f"  {x}" for x in explanation.lines))),
    )


@group.command(
    "break-glass",
    examples="medfabric consent break-glass 7c1f… --reason unconscious --as CityClinic/dr.lee",
)
@click.argument("patient", metavar="PATIENT")
@click.option(
    "--reason",
    required=True,
    type=click.Choice(
        [
            *("life-threatening", "unconscious", "incapacitated", "unable-to-consent"),
            *("patient-unreachable", "disaster", "threat-to-others", "newborn-emergency"),
        ]
    ),
    help="Why, as a code.",
)
@click.option("--purpose", type=click.Choice(["BTG", "ETREAT"]), default="BTG", show_default=True)
@click.option("--minutes", type=click.IntRange(min=1), help="How long [the consortium's limit].")
@yes_option
@channel_option
@with_context
def break_glass(
    context: Context,
    patient: str,
    reason: str,
    purpose: str,
    minutes: int | None,
    yes: bool,
    channel: str | None,
) -> None:
    """Declare an emergency: open a patient's record for a short time. It will be reviewed."""
    import secrets

    from chaincode import canonical
    from chaincode.consent.messages import BreakGlassRequest
    from chaincode.consent.model import BreakGlassGrant

    if not yes:
        click.confirm(
            "A privacy officer will review this. Declare the emergency?", abort=True, err=True
        )

    async def work() -> "Committed[BreakGlassGrant]":
        async with open_health(context, channel) as session:
            request = BreakGlassRequest(
                id=secrets.token_hex(16),
                patient=patient,
                reason=reason,
                purpose=purpose,
                minutes=minutes or 0,
            )
            return await session.health.submit(
                "consent:BreakGlass", request, result=BreakGlassGrant
            )

    done = context.run(work())
    context.output.result(
        canonical.to_wire(done.value),
        f"✓ emergency {shorten(done.value.id)} declared until "
        f"{done.value.expires_at:%H:%M:%S} UTC in {done.place}",
    )


@group.command(
    examples="medfabric consent review 91c4… --outcome justified --as CityClinic/privacy"
)
@click.argument("grant_id", metavar="EMERGENCY")
@click.option(
    "--outcome", required=True, type=click.Choice(["justified", "unjustified", "escalated"])
)
@channel_option
@with_context
def review(context: Context, grant_id: str, outcome: str, channel: str | None) -> None:
    """Close the review of a declared emergency; ends it at once unless it was justified."""
    from chaincode import canonical
    from chaincode.consent.messages import ReviewRequest
    from chaincode.consent.model import BreakGlassGrant, ReviewOutcome

    async def work() -> "Committed[BreakGlassGrant]":
        async with open_health(context, channel) as session:
            request = ReviewRequest(id=grant_id, outcome=ReviewOutcome(outcome))
            return await session.health.submit(
                "consent:ReviewBreakGlass", request, result=BreakGlassGrant
            )

    done = context.run(work())
    context.output.result(canonical.to_wire(done.value), f"✓ reviewed as {outcome} in {done.place}")


group.add_command(
    build_watch(
        "consents",
        ("consent.",),
        example=[
            "medfabric consent watch --checkpoint consents.json --as GeneralHospital/privacy",
            "medfabric consent watch --event Revoked --about 7c1f2a90 --json",
        ],
    )
)


@group.command(
    examples=[
        "medfabric consent read consent.json",
        "medfabric consent read consent.json --handle Organization/1=org:CityClinicMSP",
    ]
)
@click.argument("file", metavar="FILE")
@_DIALECT
@_HANDLES
@with_context
def read(context: Context, file: str, dialect: str, handles: tuple[str, ...]) -> None:
    """What would become of the consent in FILE: its rules, and what only the file keeps.

    Nothing is sent and no network is needed. FILE is checked as `consent grant` checks it.
    """
    import json

    from chaincode import canonical
    from chaincode.consent.levels import find_level

    draft = _read_draft(context, file, "", dialect, handles)
    found = {
        "directive": canonical.to_wire(draft.directive),
        "level": find_level(draft.directive).name.lower(),
        "leftBehind": list(draft.left_behind),
    }

    def human(output: Output) -> None:
        output.line(json.dumps(found["directive"], indent=2))
        output.line(f"IHE PCF level: {found['level']}")
        output.line(f"in the file alone: {', '.join(draft.left_behind) or 'nothing'}")

    context.output.result(found, human)


def _read_draft(
    context: Context, file: str, patient: str, dialect: str, handles: tuple[str, ...]
) -> "Draft":
    from admin.fhir.reading import read_source
    from admin.procedures.care.consents import read_draft, read_handles
    from chaincode.consent.provisions import Dialect

    known = read_handles(handles)
    draft = read_draft(read_source(file), patient, Dialect(dialect), known)
    if draft.left_behind:
        context.output.detail(f"stays in the file alone: {', '.join(draft.left_behind)}")
    return draft


def _items(data: "Mapping[str, Any]") -> "tuple[DataItem, ...]":
    """One record of which so much is known; nothing where nothing was said."""
    from chaincode.consent.model import DataItem

    if not any(data.values()):
        return ()
    return (
        DataItem(
            resource_type=data["resource_type"] or "",
            labels=data["labels"] or None,
            codes=data["codes"] or None,
            authored=data["authored"],
        ),
    )


def _show_receipt(context: Context, verb: str, done: "Committed[ConsentReceipt]") -> None:
    receipt = done.value
    context.output.result(
        {
            "id": receipt.id,
            "version": receipt.version,
            "patient": receipt.patient,
            "status": receipt.status,
            "digest": receipt.digest,
            "transactionId": done.transaction_id,
            "blockNumber": done.block_number,
        },
        f"✓ consent {receipt.id} version {receipt.version} {verb} in {done.place}",
    )


def _show_table(context: Context, consents: "list[Consent]", empty: str) -> None:
    from chaincode import canonical

    def human(output: Output) -> None:
        output.table(
            ("consent", "version", "status", "decision", "written by", "recorded"),
            [
                (
                    one.id,
                    one.version,
                    one.status.value,
                    one.directive.decision.value if one.directive.decision else "?",
                    f"{one.author.capacity.value} ({one.author.msp_id})",
                    one.recorded_at,
                )
                for one in consents
            ],
            empty=empty,
        )

    context.output.result([canonical.to_wire(one) for one in consents], human)


def _ground(decision: "Decision") -> str:
    match = decision.match
    if match.consent_id:
        return f"consent {shorten(match.consent_id)} version {match.version}, {match.path}"
    return match.path or decision.algorithm.value
