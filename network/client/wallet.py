"""Whose keys are here: the identities in a network's folder, in Fabric's own MSP layout.

An identity is `Organization/user`. Its keys are where cryptogen puts them,
`organizations/peerOrganizations/<domain>/users/<user>@<domain>/msp`; what a CA enrols goes to the
same place. Nothing is cached: a renewed certificate counts from the next call on.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path

from cryptography import x509

from network.client.errors import IdentityExpiredError, ProfileError
from network.rules.identity.identity import Signer
from network.topology.mspfolder import load_signer

NETWORK_FOLDER = ".medfabric"


@dataclass(frozen=True, slots=True)
class Member:
    """An organisation whose identities may be here.

    Attributes:
        name: its name in the network file.
        msp_id: its MSP id.
        domain: its domain, which names its folder.
        folder: its folder, `organizations/peerOrganizations/<domain>`.
    """

    name: str
    msp_id: str
    domain: str
    folder: Path


@dataclass(frozen=True, slots=True)
class KnownIdentity:
    """An identity whose certificate is here.

    Attributes:
        organization: the organisation's name.
        msp_id: its MSP id.
        user: the user's name, without the domain.
        msp_folder: where the certificate and the key are.
        valid_from: when the certificate begins.
        valid_to: when it ends.
    """

    organization: str
    msp_id: str
    user: str
    msp_folder: Path
    valid_from: datetime
    valid_to: datetime

    @property
    def name(self) -> str:
        """`Organization/user`, as `--as` takes it."""
        return f"{self.organization}/{self.user}"


@dataclass(frozen=True, slots=True)
class Wallet:
    """The identities of a network on this machine."""

    members: tuple[Member, ...]

    def identities(self) -> list[KnownIdentity]:
        """Everything whose certificate can be read, by organisation and user."""
        return [
            identity
            for member in self.members
            for folder in sorted((member.folder / "users").glob("*/msp"))
            if (identity := _read(member, folder)) is not None
        ]

    def find(self, name: str) -> KnownIdentity:
        """The identity of this name.

        Args:
            name: `Organization/user`; the organisation by name, MSP id or domain, in any case.

        Raises:
            ProfileError: no such organisation or user; says which there are.
        """
        wanted, slash, user = name.partition("/")
        if not slash or not wanted or not user:
            raise ProfileError(
                f"{name!r} names no identity", "write Organization/user, such as UnitedPayer/Admin"
            )
        member = self.member(wanted)
        known = [one for one in self.identities() if one.organization == member.name]
        for identity in known:
            if identity.user.lower() == user.partition("@")[0].lower():
                return identity
        names = [one.user for one in known]
        near = get_close_matches(user, names, 1)
        hint = f"did you mean {member.name}/{near[0]}? " if near else ""
        there = ", ".join(names) or "nobody yet"
        raise ProfileError(
            f"{member.name} has no user {user!r} on this machine",
            f"{hint}here are: {there}; enrol with: "
            f"medfabric identity enroll {member.name}/{user} --as {member.name}/Admin",
        )

    def open(
        self, name: str, now: datetime | None = None, *, allow_expired: bool = False
    ) -> Signer:
        """The signer of this name, whose certificate is valid now.

        With `allow_expired` its validity is left to whoever is called: a CA may renew it.

        Raises:
            ProfileError: no such identity, or its key cannot be read.
            IdentityExpiredError: its certificate is not valid now.
        """
        identity = self.find(name)
        if not allow_expired:
            validate_period(identity, now or datetime.now(UTC))
        try:
            return load_signer(identity.msp_folder, identity.msp_id)
        except (OSError, ValueError) as failure:
            raise ProfileError(
                f"the key of {identity.name} cannot be read: {failure}",
                f"look into {identity.msp_folder}/keystore, or enrol the identity again",
            ) from failure

    def member(self, wanted: str) -> Member:
        """The organisation of this name, MSP id or domain, in any case.

        Raises:
            ProfileError: there is none; says which there are.
        """
        for member in self.members:
            if wanted.lower() in (
                member.name.lower(),
                member.msp_id.lower(),
                member.domain.lower(),
            ):
                return member
        names = [member.name for member in self.members]
        near = get_close_matches(wanted, names, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ProfileError(
            f"there is no organisation {wanted!r} in this network",
            f"{hint}the organisations are: {', '.join(names)}",
        )


def validate_period(identity: KnownIdentity, now: datetime) -> None:
    """The certificate is valid at `now`.

    Raises:
        IdentityExpiredError: it is not; every node would refuse it.
    """
    renew = f"renew it with: medfabric identity renew {identity.name}"
    if now > identity.valid_to:
        raise IdentityExpiredError(
            f"the certificate of {identity.name} expired on {identity.valid_to:%Y-%m-%d %H:%M} UTC",
            renew,
        )
    if now < identity.valid_from:
        raise IdentityExpiredError(
            f"the certificate of {identity.name} is not valid before "
            f"{identity.valid_from:%Y-%m-%d %H:%M} UTC",
            f"check this machine's clock, or {renew}",
        )


def _read(member: Member, folder: Path) -> KnownIdentity | None:
    certificates = sorted((folder / "signcerts").glob("*.pem"))
    if not certificates:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(certificates[0].read_bytes())
    except (OSError, ValueError):
        return None  # not ours to judge: whoever names this identity is told what is wrong
    return KnownIdentity(
        member.name,
        member.msp_id,
        folder.parent.name.removesuffix(f"@{member.domain}"),
        folder,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
