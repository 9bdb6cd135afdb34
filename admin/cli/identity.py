"""`medfabric identity`: who may act, from registration to revocation."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli.context import Context
from admin.cli.frame import Group, with_context, yes_option
from admin.errors import usage_error
from admin.output import Output

if TYPE_CHECKING:
    from network.rules.identity.identity import Signer

group = Group(
    "identity",
    help="""Identities: register, enrol, renew, revoke, use.

    An identity is ORG/USER: an X.509 certificate of the organisation's CA and its key, kept in
    the network's folder in Fabric's own layout. What its holder may do follows from the
    organisation, the kind (client, admin, peer) and the attributes in the certificate, such as
    role=clinician, role=claims, role=patient, role=privacy-officer, role=auditor, btg=true.
    """,
    examples=[
        "medfabric identity enroll GeneralHospital/dr.lee --attr role=clinician --as "
        "GeneralHospital/Admin",
        "medfabric identity use GeneralHospital/dr.lee",
        "medfabric identity list",
    ],
)

REASONS = (  # the CA's own; written out because importing its rules would slow every command
    *("unspecified", "keycompromise", "cacompromise", "affiliationchanged", "superseded"),
    *("cessationofoperation", "certificatehold", "removefromcrl", "privilegewithdrawn"),
    "aacompromise",
)

_KIND = click.option(
    "--type",
    "kind",
    type=click.Choice(["client", "admin", "peer", "orderer"]),
    default="client",
    show_default=True,
    help="The NodeOU role that the certificate carries.",
)
_AFFILIATION = click.option(
    "--affiliation", default="", metavar="A.B", help="Department, as the CA knows it."
)
_ATTRIBUTES = click.option(
    "--attr",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="An attribute for the certificate; repeat for more.",
)
_SECRET = click.option(
    "--secret-file",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Read the secret from here; - is standard input. Never give it as an argument.",
)


@group.command(
    examples="medfabric identity register UnitedPayer/kim --attr role=claims --as UnitedPayer/Admin"
)
@click.argument("name", metavar="ORG/USER")
@_KIND
@_AFFILIATION
@_ATTRIBUTES
@_SECRET
@click.option("--max-enrollments", type=click.IntRange(min=-1), help="How often; -1: no limit.")
@with_context
def register(
    context: Context,
    name: str,
    kind: str,
    affiliation: str,
    attributes: tuple[str, ...],
    secret_file: str | None,
    max_enrollments: int | None,
) -> None:
    """Make ORG/USER known to the CA and print its enrolment secret.

    Hand the secret to the identity's holder, who enrols with it and makes the key; the key
    never leaves their machine.
    """
    from admin.procedures.networks import enrolment

    registered = context.run(
        enrolment.register(
            context.surroundings,
            _registrar(context, name),
            name,
            kind=kind,
            affiliation=affiliation,
            attributes=[enrolment.parse_attribute(text) for text in attributes],
            secret=_read_secret(secret_file) if secret_file else "",
            max_enrollments=max_enrollments,
        )
    )
    context.output.note(f"✓ {registered.name} is registered; its enrolment secret:")
    context.output.result({"name": registered.name, "secret": registered.secret}, registered.secret)


@group.command(
    examples=[
        "medfabric identity enroll GeneralHospital/dr.lee --secret-file secret.txt",
        "medfabric identity enroll GeneralHospital/dr.lee --attr role=clinician --attr btg=true "
        "--as GeneralHospital/Admin",
    ]
)
@click.argument("name", metavar="ORG/USER")
@_KIND
@_AFFILIATION
@_ATTRIBUTES
@_SECRET
@with_context
def enroll(
    context: Context,
    name: str,
    kind: str,
    affiliation: str,
    attributes: tuple[str, ...],
    secret_file: str | None,
) -> None:
    """Fetch the certificate of ORG/USER and keep it with its new key.

    With --secret-file the identity is registered already. Without it, an administrator (--as,
    else ORG/Admin) registers it first with the given kind and attributes.
    """
    from admin.procedures.networks import enrolment

    surroundings = context.surroundings
    if secret_file and attributes:
        raise usage_error(
            "--attr registers, --secret-file enrols who is registered", "leave one of them out"
        )

    async def work() -> enrolment.IdentityView:
        if secret_file:
            return await enrolment.enroll(surroundings, name, _read_secret(secret_file))
        registered = await enrolment.register(
            surroundings,
            _registrar(context, name),
            name,
            kind=kind,
            affiliation=affiliation,
            attributes=[enrolment.parse_attribute(text) for text in attributes],
            secret="",
            max_enrollments=1,
        )
        return await enrolment.enroll(surroundings, name, registered.secret)

    view = context.run(work())
    context.output.result(view, f"✓ {view.name} enrolled, valid to {view.valid_to:%Y-%m-%d}")


@group.command(examples="medfabric identity renew GeneralHospital/dr.lee")
@click.argument("name", metavar="ORG/USER")
@with_context
def renew(context: Context, name: str) -> None:
    """Give ORG/USER a new certificate over a new key.

    The current certificate proves who asks, so it must not be revoked.
    """
    from admin.procedures.networks import enrolment

    view = context.run(enrolment.renew(context.surroundings, name))
    context.output.result(view, f"✓ {view.name} renewed, valid to {view.valid_to:%Y-%m-%d}")


@group.command(
    examples="medfabric identity revoke GeneralHospital/dr.lee --reason keycompromise "
    "--as GeneralHospital/Admin"
)
@click.argument("name", metavar="ORG/USER")
@click.option(
    "--reason",
    type=click.Choice(REASONS, case_sensitive=False),
    default="unspecified",
    show_default=True,
    help="Why, as RFC 5280 section 5.3.1 tells reasons apart.",
)
@click.option("--crl", "crl_file", type=click.Path(dir_okay=False), help="Write the new CRL here.")
@click.option("--publish", is_flag=True, help="Make the organisation's channels refuse it, too.")
@yes_option
@with_context
def revoke(
    context: Context, name: str, reason: str, crl_file: str | None, publish: bool, yes: bool
) -> None:
    """Revoke ORG/USER with all of its certificates.

    The CA refuses it from now on. Orderers and peers refuse it once the organisation's CRL is in
    the channels' configuration: --publish puts it there, signed by the organisation's
    administrator; later: medfabric identity crl ORG --publish.
    """
    from admin.procedures.networks import enrolment
    from admin.procedures.networks.revocation import validate_not_last_admin

    if publish:
        context.run(validate_not_last_admin(context.surroundings, name))
    if not yes:
        click.confirm(f"Revoke {name} and all of its certificates?", abort=True, err=True)
    revoked = context.run(
        enrolment.revoke(context.surroundings, _registrar(context, name), name, reason=reason)
    )
    if crl_file:
        Path(crl_file).write_bytes(revoked.crl_pem)
    serials = [serial for serial, _ in revoked.certificates]
    channels = _publish(context, name.partition("/")[0], revoked.crl_pem) if publish else ()
    where = f"; channels that refuse it: {', '.join(channels)}" if channels else ""
    context.output.result(
        {"name": name, "serials": serials, "channels": channels},
        f"✓ {name} revoked: {len(serials)} certificate(s){where}",
    )


@group.command("list", examples="medfabric identity list --json")
@click.option("--ca", "organization", metavar="ORG", help="Ask this organisation's CA instead.")
@with_context
def list_(context: Context, organization: str | None) -> None:
    """The identities on this machine, or those that a CA knows."""
    if organization:
        _list_registered(context, organization)
        return
    known = context.wallet.identities()

    def human(output: Output) -> None:
        output.table(
            ("identity", "msp", "valid to"),
            [(one.name, one.msp_id, one.valid_to) for one in known],
            empty="There are no identities here; bring the network up: medfabric network up",
        )

    context.output.result(
        [{"name": one.name, "mspId": one.msp_id, "validTo": one.valid_to} for one in known],
        human,
    )


@group.command(examples="medfabric identity show UnitedPayer/kim")
@click.argument("name", metavar="ORG/USER", required=False)
@with_context
def show(context: Context, name: str | None) -> None:
    """What the certificate of ORG/USER says; without a name, of who acts now."""
    from admin.procedures.networks import enrolment

    view = enrolment.view(context.wallet.find(name or context.identity_name()))

    def human(output: Output) -> None:
        output.table(
            ("", view.name),
            [
                ("MSP", view.msp_id),
                ("common name", view.common_name),
                ("units", ", ".join(view.units)),
                *((f"attribute {key}", value) for key, value in view.attributes.items()),
                ("valid", f"{view.valid_from:%Y-%m-%d} to {view.valid_to:%Y-%m-%d}"),
                ("serial", view.serial),
                ("kept in", view.path),
            ],
        )

    context.output.result(view, human)


@group.command(
    examples=[
        "medfabric identity crl GeneralHospital > hospital.crl",
        "medfabric identity crl GeneralHospital --publish",
    ]
)
@click.argument("organization", metavar="ORG")
@click.option("--publish", is_flag=True, help="Put it into the channels' configuration.")
@with_context
def crl(context: Context, organization: str, publish: bool) -> None:
    """Print the CA's list of revoked certificates (PEM), or make the channels heed it.

    Orderers and peers refuse whom the list in a channel's configuration names.
    """
    from admin.procedures.networks import enrolment

    ca, member = enrolment.open_ca(context.surroundings, organization)
    content = context.run(ca.crl(_registrar(context, f"{member.name}/x")))
    if not publish:
        pem = content.decode()
        context.output.result({"organization": member.name, "crl": pem}, pem.rstrip())
        return
    channels = _publish(context, member.name, content)
    context.output.result(
        {"organization": member.name, "channels": channels},
        f"✓ channels that heed it: {', '.join(channels) or 'none'}",
    )


def _publish(context: Context, organization: str, crl_pem: bytes) -> tuple[str, ...]:
    """The channels that heed the organisation's list now."""
    from admin.procedures.networks.revocation import publish_revocations

    member = context.wallet.member(organization)
    with context.output.progress(f"CRL of {member.name}") as progress:
        done = context.run(
            publish_revocations(context.surroundings, member.name, crl_pem, progress.step)
        )
    return (*done.channels, *done.already)


@group.command(examples="medfabric identity use UnitedPayer/kim")
@click.argument("name", metavar="ORG/USER")
@with_context
def use(context: Context, name: str) -> None:
    """Act as ORG/USER from now on, where --as is not given."""
    found = context.wallet.find(name)
    context.choose_identity(found.name)
    context.output.result({"name": found.name}, f"✓ acting as {found.name} from now on")


@group.command(
    examples=[
        'eval "$(medfabric identity env GeneralHospital/Admin)" && peer channel list',
        "medfabric identity env --for samples",
        "medfabric identity env --dotenv > .env",
    ]
)
@click.argument("name", metavar="ORG/USER", required=False)
@click.option(
    "--for",
    "audience",
    type=click.Choice(["tools", "samples"]),
    default="tools",
    show_default=True,
    help="Fabric's command line, or the gateway applications of Fabric's samples.",
)
@click.option("--dotenv", is_flag=True, help="Lines NAME=value, for Compose and editors.")
@with_context
def env(context: Context, name: str | None, audience: str, dotenv: bool) -> None:
    """Print the shell variables by which Fabric's own programs act as ORG/USER.

    Without a name, as who acts now. FABRIC_CFG_PATH, CORE_PEER_* are what 'peer' reads;
    ORDERER_ADDRESS, ORDERER_CA and ORDERER_ADMIN_* go into the flags of 'peer' and 'osnadmin'.
    """
    import shlex

    from admin.procedures.networks import connections

    found = context.wallet.find(name or context.identity_name())
    build = {
        "tools": connections.build_tool_environment,
        "samples": connections.build_sample_environment,
    }[audience]
    variables = build(context.surroundings, found)
    prefix, quote = ("", str) if dotenv else ("export ", shlex.quote)
    lines = [f"{prefix}{variable}={quote(value)}" for variable, value in variables.items()]
    context.output.result(variables, "\n".join(lines))


def _list_registered(context: Context, organization: str) -> None:
    from admin.procedures.networks import enrolment

    ca, member = enrolment.open_ca(context.surroundings, organization)
    registered = context.run(ca.identities(_registrar(context, f"{member.name}/x")))

    def human(output: Output) -> None:
        output.table(
            ("identity", "type", "affiliation", "attributes"),
            [
                (
                    f"{member.name}/{one.id}",
                    one.type,
                    one.affiliation,
                    " ".join(
                        f"{key}={value}"
                        for key, value in one.attributes.items()
                        if not key.startswith("hf.")
                    ),
                )
                for one in registered
            ],
        )

    context.output.result(registered, human)


def _registrar(context: Context, name: str) -> "Signer":
    """Return who registers: `--as`, else the organisation's administrator."""
    organization = name.partition("/")[0]
    return context.wallet.open(context.identity or f"{organization}/Admin")


def _read_secret(file: str) -> str:
    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    secret = text.strip()
    if not secret:
        raise usage_error("the secret is empty", "", file)
    return secret
