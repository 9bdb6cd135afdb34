"""Membership: which certificates are identities of an organisation, and in which roles.

A transcription of Fabric's X.509 MSP (`msp/mspimpl.go`, `mspimplsetup.go`, `mspimplvalidate.go`,
`mspmgrimpl.go`): the order of the checks, what is not checked, and the texts are Fabric's. Parsed
and judged identities are remembered, because the same few sign everything.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from fabric_protos.msp import msp_config_pb2, msp_principal_pb2
from google.protobuf.message import DecodeError

from network.rules.cache import BoundedCache
from network.rules.identity.authorities import (
    Authorities,
    InvalidMsp,
    Revoked,
    hash_chain,
    validate_tls_authorities,
)
from network.rules.identity.chains import InvalidChain
from network.rules.identity.identity import (
    Identity,
    IdentityError,
    MalformedIdentity,
    build_identity,
    load_certificate,
    open_serialized_identity,
)
from network.rules.identity.nodeous import NodeOUs, OrganizationalUnit
from network.rules.identity.principals import (
    PrincipalUnsatisfied,
    evaluate_principal,
    flatten_principal,
    role_principal,
)
from network.rules.identity.revocation import MalformedRevocationList

__all__ = [
    "InvalidIdentity",
    "InvalidMsp",
    "Msp",
    "MspManager",
    "MspVersion",
    "PrincipalUnsatisfied",
    "UnknownMsp",
    "open_msp_config",
]

_CACHED_IDENTITIES = 4096
_CACHED_VERDICTS = 16384
_CLIENT = msp_principal_pb2.MSPRole.CLIENT


class UnknownMsp(IdentityError):
    """The identity names an MSP that the channel does not define."""


class InvalidIdentity(IdentityError):
    """A well-formed identity that its MSP does not accept: foreign, revoked, wrong OUs."""


class MspVersion(IntEnum):
    """The rules in force, chosen by the channel's capabilities (`msp/factory.go`)."""

    V1_0 = 0
    V1_1 = 1
    V1_3 = 2
    V1_4_3 = 3
    V3_0 = 4


def open_msp_config(config: bytes) -> msp_config_pb2.FabricMSPConfig:
    """Return the FabricMSPConfig inside MSPConfig bytes; raises `InvalidMsp` for other types."""
    outer, inner = msp_config_pb2.MSPConfig(), msp_config_pb2.FabricMSPConfig()
    try:
        outer.ParseFromString(config)
        if outer.type != 0:
            raise InvalidMsp(f"Setup error: unsupported msp type {outer.type}")
        inner.ParseFromString(outer.config)
    except DecodeError as error:
        raise InvalidMsp(f"failed unmarshalling fabric msp config: {error}") from None
    return inner


class Msp:
    """One organisation's membership rules, set up from its FabricMSPConfig.

    Raises `InvalidMsp` where Fabric's Setup fails. Immutable afterwards.
    """

    def __init__(
        self,
        config: msp_config_pb2.FabricMSPConfig,
        version: MspVersion = MspVersion.V3_0,
    ) -> None:
        self.config = config
        self.name: str = config.name
        self.version = version
        self._identities: BoundedCache[bytes, Identity] = BoundedCache(_CACHED_IDENTITIES)
        self._validity: BoundedCache[bytes, str | None] = BoundedCache(_CACHED_IDENTITIES)
        self._satisfied: BoundedCache[tuple[bytes, int, bytes], str | None]
        self._satisfied = BoundedCache(_CACHED_VERDICTS)
        try:
            self._set_up(config)
        except (IdentityError, InvalidChain, MalformedRevocationList) as error:
            raise InvalidMsp(str(error)) from None

    # Questions

    def identity(self, serialized: bytes) -> Identity:
        """Return the identity in SerializedIdentity bytes.

        The chain is built already here, because sanitising needs the issuer: a foreign CA's
        certificate is refused as malformed, not as invalid. Raises `MalformedIdentity`.
        """
        msp_id, pem = open_serialized_identity(serialized)
        if msp_id != self.name:
            raise MalformedIdentity(f"expected MSP ID {self.name}, received {msp_id}")
        return self.identity_from_pem(pem)

    def identity_from_pem(self, pem: bytes) -> Identity:
        """Return the identity of a PEM certificate; raises `MalformedIdentity`."""
        return self._identities.get(pem, lambda: self._build_identity(pem))

    def validate(self, identity: Identity) -> None:
        """Return when the identity is a valid member; raises `InvalidIdentity` with the reason.

        Expiry is not looked at: Fabric leaves that to the services at the edge.
        """
        doubt = self._validity.get(identity.digest, lambda: self._find_doubt(identity))
        if doubt is not None:
            raise InvalidIdentity(doubt)

    def satisfies(self, identity: Identity, principal: msp_principal_pb2.MSPPrincipal) -> None:
        """Return when the identity satisfies the principal; raises `PrincipalUnsatisfied`."""
        key = (identity.digest, principal.principal_classification, principal.principal)
        doubt = self._satisfied.get(key, lambda: self._find_unsatisfied(identity, principal))
        if doubt is not None:
            raise PrincipalUnsatisfied(doubt)

    def is_admin_certificate(self, identity: Identity) -> bool:
        """Tell whether the certificate is listed among the MSP's admins."""
        return identity.der in self._admins

    def certifiers_identifier(self, identity: Identity) -> bytes:
        """Return SHA-256 over the DER of the identity's CA chain, issuer first, root last.

        Raises `InvalidChain`.
        """
        return hash_chain(self._authorities.chain_of(identity.certificate)[1:])

    @property
    def node_ous(self) -> NodeOUs | None:
        """The role OUs in force, or None when the MSP does not tell roles apart."""
        return self._node_ous

    @property
    def tls_certificates(self) -> tuple[bytes, ...]:
        """PEM of the TLS roots, then the TLS intermediates."""
        return (*self.config.tls_root_certs, *self.config.tls_intermediate_certs)

    # Setting up, in Fabric's order (preSetupV142, postSetupV142)

    def _set_up(self, config: msp_config_pb2.FabricMSPConfig) -> None:
        self._authorities = Authorities(config)
        validate_tls_authorities(config)
        self._units = self._load_units(config)
        self._node_ous = self._load_node_ous(config)
        admins = [self.identity_from_pem(pem) for pem in config.admins]
        self._admins = frozenset(admin.der for admin in admins)
        self._validate_admins(admins)

    def _load_units(self, config: msp_config_pb2.FabricMSPConfig) -> frozenset[OrganizationalUnit]:
        return frozenset(
            OrganizationalUnit(
                unit.organizational_unit_identifier,
                self._authorities.certifiers_of(unit.certificate),
            )
            for unit in config.organizational_unit_identifiers
        )

    def _load_node_ous(self, config: msp_config_pb2.FabricMSPConfig) -> NodeOUs | None:
        if self.version < MspVersion.V1_1 or not config.HasField("fabric_node_ous"):
            return None
        return NodeOUs.from_config(
            config.fabric_node_ous,
            self._authorities.certifiers_of,
            client_and_peer_only=self.version < MspVersion.V1_4_3,
        )

    def _validate_admins(self, admins: list[Identity]) -> None:
        node_ous = self._node_ous
        unclassified = node_ous is None or node_ous.admin is None
        if self.version >= MspVersion.V1_4_3 and not admins and unclassified:
            raise InvalidMsp(
                "administrators must be declared when no admin ou classification is set"
            )
        for number, admin in enumerate(admins):
            try:
                if node_ous is None:
                    self.validate(admin)
                elif self.version < MspVersion.V1_4_3:
                    self.satisfies(admin, role_principal(self.name, _CLIENT))
                else:
                    # Since 1.4.3 the roles alone count: an admin need not be valid otherwise.
                    node_ous.validate_admin(admin.ous, self.name)
            except IdentityError as error:
                raise InvalidMsp(f"admin {number} is invalid: {error}") from None

    # Identities

    def _build_identity(self, pem: bytes) -> Identity:
        certificate = load_certificate(pem)
        try:
            return build_identity(self.name, self._authorities.sanitize(certificate))
        except InvalidChain as error:
            raise MalformedIdentity(str(error)) from None

    def _find_doubt(self, identity: Identity) -> str | None:
        """`msp/mspimplvalidate.go` fn validateIdentity, each step with its own prefix."""
        allowed = isinstance(identity.public_key, ec.EllipticCurvePublicKey) or (
            self.version >= MspVersion.V3_0
            and isinstance(identity.public_key, ed25519.Ed25519PublicKey)
        )
        if not allowed:
            kind = type(identity.public_key).__name__.removesuffix("PublicKey")
            return f"could not validate identity's public key algorithm: {kind} is not supported"
        try:
            chain = self._authorities.chain_of(identity.certificate)
        except InvalidChain as error:
            return f"could not obtain certification chain: {error}"
        try:
            self._authorities.validate_not_revoked(identity.certificate, chain)
        except Revoked as error:
            return f"could not validate identity against certification chain: {error}"
        try:
            self._validate_units(identity, hash_chain(chain[1:]))
        except InvalidIdentity as error:
            return f"could not validate identity's OUs: {error}"
        return None

    def _validate_units(self, identity: Identity, certifiers: bytes) -> None:
        if self._units and not any(
            OrganizationalUnit(name, certifiers) in self._units for name in identity.ous
        ):
            if not identity.ous:
                raise InvalidIdentity(
                    "the identity certificate does not contain an Organizational Unit (OU)"
                )
            raise InvalidIdentity(
                "none of the identity's organizational units "
                f"[{' '.join(identity.ous)}] are in MSP {self.name}"
            )
        if self._node_ous is not None:
            doubt = self._node_ous.find_doubt(identity.ous, certifiers, self.name)
            if doubt is not None:
                raise InvalidIdentity(doubt)

    def _find_unsatisfied(
        self, identity: Identity, principal: msp_principal_pb2.MSPPrincipal
    ) -> str | None:
        try:
            for part in flatten_principal(principal, combined=self.version >= MspVersion.V1_3):
                evaluate_principal(self, identity, part)
        except IdentityError as error:
            return str(error)
        return None


class MspManager:
    """All MSPs of a channel: finds the one an identity belongs to and asks it."""

    def __init__(self, msps: Iterable[Msp]) -> None:
        self._msps: dict[str, Msp] = {msp.name: msp for msp in msps}
        self._identities: BoundedCache[bytes, Identity] = BoundedCache(_CACHED_IDENTITIES)

    @property
    def msps(self) -> Mapping[str, Msp]:
        """The MSPs by MSP id."""
        return self._msps

    def identity(self, serialized: bytes) -> Identity:
        """Return the identity in SerializedIdentity bytes.

        Raises `UnknownMsp` or `MalformedIdentity`, both `IdentityError`, with Fabric's text.
        """
        return self._identities.get(serialized, lambda: self._deserialize(serialized))

    def validate(self, identity: Identity) -> None:
        """Return when the identity is a valid member of its MSP; raises `IdentityError`."""
        self.msp(identity.msp_id).validate(identity)

    def satisfies(self, identity: Identity, principal: msp_principal_pb2.MSPPrincipal) -> None:
        """Return when the identity's own MSP finds the principal satisfied; else raises."""
        self.msp(identity.msp_id).satisfies(identity, principal)

    def msp(self, msp_id: str) -> Msp:
        """Return the MSP of that id; raises `UnknownMsp`."""
        try:
            return self._msps[msp_id]
        except KeyError:
            raise UnknownMsp(f"MSP {msp_id} is not defined on channel") from None

    def _deserialize(self, serialized: bytes) -> Identity:
        msp_id, pem = open_serialized_identity(serialized)
        return self.msp(msp_id).identity_from_pem(pem)
