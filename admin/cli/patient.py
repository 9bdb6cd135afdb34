"""`medfabric patient`: random handles for patients, and who may act for them."""

import secrets
from typing import TYPE_CHECKING

import click

from admin.cli.context import Context
from admin.cli.frame import Group, channel_option, with_context
from admin.cli.sessions import open_health
from admin.output import Output, shorten

if TYPE_CHECKING:
    from admin.procedures.networks.health import Committed
    from chaincode.directory.model import Delegation, DelegationList, EncryptionKey, Patient

HANDLE_BYTES = 16

group = Group(
    "patient",
    help="""Patients, their delegates and keys.

    The ledger knows a patient by a random handle and nothing else. Which person it stands for
    is kept by the custodian, the organisation that registers the patient, and never leaves it.
    """,
    examples=[
        "medfabric patient register --as PatientTrust/registrar",
        "medfabric patient show 7c1f… --as GeneralHospital/dr.lee",
    ],
)


@group.command(examples="medfabric patient register --as PatientTrust/registrar")
@click.option("--handle", metavar="HEX", help="Use this handle instead of a fresh random one.")
@click.option(
    "--majority-year",
    type=click.IntRange(1900, 2200),
    metavar="YEAR",
    help="The year in which a minor comes of age; their delegations end then.",
)
@channel_option
@with_context
def register(
    context: Context, handle: str | None, majority_year: int | None, channel: str | None
) -> None:
    """Enter a fresh random handle; the caller's organisation becomes the patient's custodian.

    Enrol the patient with the attribute patient=HANDLE afterwards, and note at the custodian
    whom the handle stands for. No name or number may be given here.
    """
    from chaincode import canonical
    from chaincode.directory.model import Patient, PatientRegistration

    async def work() -> "Committed[Patient]":
        async with open_health(context, channel) as session:
            registration = PatientRegistration(
                handle or secrets.token_hex(HANDLE_BYTES), majority_year=majority_year
            )
            return await session.health.submit(
                "directory:RegisterPatient", registration, result=Patient
            )

    done = context.run(work())
    context.output.note(f"✓ patient registered in {done.place}; the handle:")
    context.output.result(canonical.to_wire(done.value), done.value.handle)


@group.command(examples="medfabric patient show 7c1f… --as GeneralHospital/dr.lee")
@click.argument("patient", metavar="HANDLE")
@channel_option
@with_context
def show(context: Context, patient: str, channel: str | None) -> None:
    """A patient's custodian and who may act for them."""
    from chaincode import canonical
    from chaincode.directory.model import Patient

    async def work() -> "Patient":
        async with open_health(context, channel) as session:
            return await session.health.evaluate("directory:GetPatient", patient, result=Patient)

    found = context.run(work())
    context.output.result(
        canonical.to_wire(found),
        f"{found.handle}  custodian {found.custodian}, registered {found.registered_at:%Y-%m-%d}",
    )


@group.command(
    examples="medfabric patient delegate 7c1f… --to user:5d0e… --of PatientTrustMSP "
    "--basis parent --scope consent --scope access --as PatientTrust/registrar"
)
@click.argument("patient", metavar="HANDLE")
@click.option(
    "--to", "delegate_", required=True, metavar="PARTY", help="user:DIGEST or person:HANDLE."
)
@click.option("--of", "msp_id", required=True, metavar="MSPID", help="The delegate's organisation.")
@click.option("--basis", required=True, type=click.Choice(["parent", "power-of-attorney", "court"]))
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(["consent", "access", "audit", "delegate"]),
    help="What the delegate may do; repeat for more.",
)
@click.option("--from", "since", metavar="DATE", help="The first day [at once].")
@click.option("--until", metavar="DATE", help="The last day, such as 2027-06-30.")
@click.option(
    "--purpose", "purposes", multiple=True, metavar="CODE", help="Access for this alone; repeat."
)
@click.option(
    "--withhold",
    "withheld",
    multiple=True,
    metavar="CODE",
    help="Sensitivity kept from the delegate, such as ADOL or SEX; repeat for more.",
)
@click.option("--commitment", default="", metavar="HEX", help="SHA-256 that binds the document.")
@channel_option
@with_context
def delegate(
    context: Context,
    patient: str,
    delegate_: str,
    msp_id: str,
    basis: str,
    scopes: tuple[str, ...],
    since: str | None,
    until: str | None,
    purposes: tuple[str, ...],
    withheld: tuple[str, ...],
    commitment: str,
    channel: str | None,
) -> None:
    """Let somebody act for a patient.

    By the patient, by a delegate with scope delegate, or by the custodian on a document. How the
    ledger knows a person: medfabric patient whoami --as ORG/USER.
    """
    from chaincode import canonical
    from chaincode.consent.model import Period
    from chaincode.directory.model import Basis, Delegation, DelegationRequest, Scope

    async def work() -> "Committed[Delegation]":
        async with open_health(context, channel) as session:
            request = DelegationRequest(
                id=secrets.token_hex(HANDLE_BYTES),
                patient=patient,
                delegate=delegate_,
                delegate_msp_id=msp_id,
                basis=Basis(basis),
                scope=tuple(Scope(scope) for scope in scopes),
                period=Period(since, until),
                purposes=purposes,
                withheld=withheld,
                commitment=commitment,
            )
            return await session.health.submit("directory:Delegate", request, result=Delegation)

    done = context.run(work())
    context.output.result(
        canonical.to_wire(done.value), f"✓ delegation {done.value.id} granted in {done.place}"
    )


@group.command(examples="medfabric patient undelegate 7c1f… 91ab… --as PatientTrust/amelia")
@click.argument("patient", metavar="HANDLE")
@click.argument("delegation", metavar="DELEGATION")
@channel_option
@with_context
def undelegate(context: Context, patient: str, delegation: str, channel: str | None) -> None:
    """End a delegation from now on, and with it what was passed on from it.

    By the patient, the custodian, or the delegate themself. DELEGATION is its id, as
    `patient delegates` shows it.
    """
    from chaincode import canonical
    from chaincode.directory.model import Delegation

    async def work() -> "Committed[Delegation]":
        async with open_health(context, channel) as session:
            return await session.health.submit(
                "directory:RevokeDelegation", patient, delegation, result=Delegation
            )

    done = context.run(work())
    context.output.result(
        canonical.to_wire(done.value), f"✓ delegation {done.value.id} ended in {done.place}"
    )


@group.command(examples="medfabric patient delegates 7c1f… --as PatientTrust/registrar")
@click.argument("patient", metavar="HANDLE")
@channel_option
@with_context
def delegates(context: Context, patient: str, channel: str | None) -> None:
    """Who acts or acted for a patient."""
    from chaincode import canonical
    from chaincode.directory.model import DelegationList

    async def work() -> "DelegationList":
        async with open_health(context, channel) as session:
            return await session.health.evaluate(
                "directory:ListDelegations", patient, result=DelegationList
            )

    found = context.run(work())

    def human(output: Output) -> None:
        output.table(
            ("delegation", "delegate", "basis", "scope", "until", "revoked"),
            [
                (
                    one.id,
                    shorten(one.delegate, 20),
                    one.basis.value,
                    " ".join(one.scope),
                    one.period.end,
                    one.revoked_at,
                )
                for one in found.delegations
            ],
            empty="Nobody acts for the patient.",
        )

    context.output.result(canonical.to_wire(found), human)


@group.command(examples="medfabric patient whoami --as PatientTrust/amelia")
@channel_option
@with_context
def whoami(context: Context, channel: str | None) -> None:
    """How the ledger knows who acts: MSP id, digest, role, patient handle."""

    async def work() -> dict[str, str]:
        async with open_health(context, channel) as session:
            return await session.health.evaluate("directory:WhoAmI", result=dict[str, str])

    found = context.run(work())

    def human(output: Output) -> None:
        output.table(("", ""), list(found.items()))

    context.output.result(found, human)


@group.command(examples="medfabric patient key --as CityClinic/dr.lee")
@click.option("--org", "subject", flag_value="org", help="The organisation's key, not one's own.")
@channel_option
@with_context
def key(context: Context, subject: str | None, channel: str | None) -> None:
    """Make and publish a fresh encryption key of who acts; an earlier one is retired."""
    from admin.procedures.care.keys import USER_SUBJECT, publish_key
    from chaincode import canonical

    async def work() -> "EncryptionKey":
        async with open_health(context, channel) as session:
            return await publish_key(
                session.surroundings,
                session.profile,
                session.health,
                subject=subject or USER_SUBJECT,
            )

    published = context.run(work())
    context.output.result(
        canonical.to_wire(published),
        f"✓ key {published.id} published, valid to {published.not_after:%Y-%m-%d}",
    )
