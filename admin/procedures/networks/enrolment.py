"""Identities from an organisation's CA: registered, enrolled, renewed, revoked, kept on disk."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from admin.errors import input_error, usage_error
from network.client.ca import CaClient, Enrolled, Revoked
from network.client.errors import NodeError, ProfileError
from network.client.keystore import store_identity
from network.client.profile import Surroundings
from network.client.rest import RestEndpoint
from network.client.wallet import KnownIdentity, Member
from network.rules.identity.certificates import read_attributes
from network.rules.identity.enrollment import Attribute
from network.rules.identity.identity import Signer


@dataclass(frozen=True, slots=True)
class IdentityView:
    """What is shown of an identity."""

    name: str
    msp_id: str
    common_name: str
    units: tuple[str, ...]
    attributes: dict[str, str]
    valid_from: datetime
    valid_to: datetime
    serial: str
    path: str


@dataclass(frozen=True, slots=True)
class Registered:
    """A new registration; its secret is for its holder only."""

    name: str
    secret: str = field(default="")


def split_name(name: str) -> tuple[str, str]:
    """Return organisation and user of `Organization/user`."""
    organization, slash, user = name.partition("/")
    if not slash or not organization or not user or "/" in user or user.startswith("."):
        raise usage_error(
            f"{name!r} names no identity", "write ORG/USER, such as GeneralHospital/dr.lee"
        )
    return organization, user


def parse_attribute(text: str) -> Attribute:
    """Return the attribute in `name=value`; it goes into certificates."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise usage_error(f"{text!r} is no attribute", "write name=value, such as role=clinician")
    return Attribute(name, value, ecert=True)


def open_ca(surroundings: Surroundings, organization: str) -> tuple[CaClient, Member]:
    """Return the organisation's CA and where its identities are kept."""
    member = surroundings.wallet.member(organization)
    ca = next((o.ca for o in surroundings.topology.organizations if o.name == member.name), None)
    if ca is None:
        raise input_error(
            f"{member.name} has no CA in the network file",
            f"add `ca: {{port: …}}` to {member.name}, then: medfabric network up",
        )
    endpoint = RestEndpoint(
        f"{ca.host or surroundings.topology.host}:{ca.port}",
        tls_root=member.folder / "tlsca" / f"tlsca.{member.domain}-cert.pem",
    )
    return CaClient(endpoint), member


async def register(
    surroundings: Surroundings,
    registrar: Signer,
    name: str,
    *,
    kind: str,
    affiliation: str,
    attributes: Sequence[Attribute],
    secret: str,
    max_enrollments: int | None,
) -> Registered:
    """The CA knows the identity; whoever has the secret can enrol it."""
    organization, user = split_name(name)
    ca, member = open_ca(surroundings, organization)
    try:
        given = await ca.register(
            registrar,
            user,
            kind=kind,
            affiliation=affiliation,
            attributes=attributes,
            secret=secret,
            max_enrollments=max_enrollments,
        )
    except NodeError as failure:
        if failure.status != "ALREADY_EXISTS":
            raise
        raise input_error(
            f"{member.name}/{user} is already registered",
            f"renew its certificate: medfabric identity renew {member.name}/{user}; "
            "or enrol with its secret: --secret-file",
        ) from failure
    return Registered(f"{member.name}/{user}", given)


async def register_or_reset(
    surroundings: Surroundings, registrar: Signer, name: str, *, attributes: Sequence[Attribute]
) -> str:
    """The identity can be enrolled with the secret returned, whether it was registered before or
    not: whoever was interrupted between registering and enrolling goes on with this."""
    organization, user = split_name(name)
    ca, _ = open_ca(surroundings, organization)
    try:
        return await ca.register(registrar, user, attributes=attributes)
    except NodeError as failure:
        if failure.status != "ALREADY_EXISTS":
            raise
    secret = secrets.token_urlsafe(24)
    await ca.set_secret(registrar, user, secret)
    return secret


async def enroll(surroundings: Surroundings, name: str, secret: str) -> IdentityView:
    """The identity's first certificate and its key are in the network's folder."""
    organization, user = split_name(name)
    ca, member = open_ca(surroundings, organization)
    enrolled = await ca.enroll(user, secret)
    _keep(member, user, enrolled)
    return view(surroundings.wallet.find(f"{member.name}/{user}"))


async def renew(surroundings: Surroundings, name: str) -> IdentityView:
    """The identity signs with a new certificate over a new key."""
    known = surroundings.wallet.find(name)
    ca, member = open_ca(surroundings, known.organization)
    enrolled = await ca.renew(surroundings.wallet.open(known.name, allow_expired=True))
    _keep(member, known.user, enrolled)
    return view(surroundings.wallet.find(known.name))


async def revoke(surroundings: Surroundings, caller: Signer, name: str, *, reason: str) -> Revoked:
    """The identity and all of its certificates are revoked; returns the CA's new CRL."""
    organization, user = split_name(name)
    ca, _ = open_ca(surroundings, organization)
    return await ca.revoke(caller, name=user, reason=reason, crl=True)


def view(identity: KnownIdentity) -> IdentityView:
    """Return what is shown of an identity on this machine."""
    file = next(iter(sorted((identity.msp_folder / "signcerts").glob("*.pem"))), None)
    if file is None:
        raise ProfileError(f"{identity.name} has no certificate", "enrol it again")
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    subject = certificate.subject
    return IdentityView(
        name=identity.name,
        msp_id=identity.msp_id,
        common_name=str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value),
        units=tuple(
            str(unit.value)
            for unit in subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        ),
        attributes=read_attributes(certificate),
        valid_from=identity.valid_from,
        valid_to=identity.valid_to,
        serial=f"{certificate.serial_number:x}",
        path=str(identity.msp_folder),
    )


def _keep(member: Member, user: str, enrolled: Enrolled) -> None:
    users = member.folder / "users"
    like = next(iter(sorted(users.glob("Admin@*/msp"))), None)
    store_identity(
        users / f"{user}@{member.domain}" / "msp",
        enrolled.certificate_pem,
        enrolled.key_pem,
        like=like,
    )
