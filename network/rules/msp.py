"""Membership: which certificates are identities of an organisation, and in which roles.

A transcription of Fabric's X.509 MSP (`msp/mspimpl.go`, `mspimplsetup.go`, `mspimplvalidate.go`,
`mspmgrimpl.go`): the order of the checks, what is not checked, and the texts are Fabric's. Parsed
and judged identities are remembered, because the same few sign everything.
"""

import hashlib
from collections.abc import Iterable, Mapping
from enum import IntEnum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtensionOID
from fabric_protos.msp import msp_config_pb2, msp_principal_pb2
from google.protobuf.message import DecodeError

from network.rules.cache import BoundedCache
from network.rules.chains import (
    Chain,
    InvalidChain,
    TrustAnchors,
    check_signed_by,
    get_extension,
    is_ca,
    to_der,
)
from network.rules.identity import (
    Identity,
    IdentityError,
    MalformedIdentity,
    build_identity,
    load_certificate,
    open_serialized_identity,
)
from network.rules.nodeous import NodeOUs, OrganizationalUnit
from network.rules.principals import (
    PrincipalUnsatisfied,
    evaluate_principal,
    flatten_principal,
    role_principal,
)
from network.rules.revocation import (
    MalformedRevocationList,
    RevocationList,
    open_revocation_list,
)
from network.rules.sanitize import is_ecdsa_signed, sanitize_certificate

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


class InvalidMsp(ValueError):
    """An MSP configuration that Fabric would not set up; the text is Fabric's."""


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
        self._revoked: list[RevocationList] = []
        self._inner_nodes: frozenset[bytes] = frozenset()
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
        return _hash_chain(self._identity_chain(identity)[1:])

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
        self._anchors = self._load_authorities(config)
        self._revoked = [open_revocation_list(crl) for crl in config.revocation_list]
        self._validate_authorities()
        _validate_tls_authorities(config)
        self._units = self._load_units(config)
        self._node_ous = self._load_node_ous(config)
        admins = [self.identity_from_pem(pem) for pem in config.admins]
        self._admins = frozenset(admin.der for admin in admins)
        self._validate_admins(admins)

    def _load_authorities(self, config: msp_config_pb2.FabricMSPConfig) -> TrustAnchors:
        if not config.root_certs:
            raise InvalidMsp("expected at least one CA certificate")
        # First as they come, so that chains can be built to sanitise them; then sanitised.
        self._anchors = TrustAnchors(
            [load_certificate(pem) for pem in config.root_certs],
            [load_certificate(pem) for pem in config.intermediate_certs],
        )
        return TrustAnchors(
            [self._sanitize(certificate) for certificate in self._anchors.roots],
            [self._sanitize(certificate) for certificate in self._anchors.intermediates],
        )

    def _validate_authorities(self) -> None:
        anchors = self._anchors
        for certificate in (*anchors.roots, *anchors.intermediates):
            _validate_authority(certificate)
            try:
                chain = anchors.unique_chain(certificate)
                if len(chain) > 1:
                    self._validate_not_revoked(certificate, chain)
            except (InvalidChain, InvalidIdentity) as error:
                raise InvalidMsp(
                    f"CA Certificate is not valid, (SN: {certificate.serial_number}): {error}"
                ) from None
        self._inner_nodes = frozenset(
            to_der(parent)
            for certificate in anchors.intermediates
            for parent in anchors.unique_chain(certificate)[1:]
        )

    def _load_units(self, config: msp_config_pb2.FabricMSPConfig) -> frozenset[OrganizationalUnit]:
        return frozenset(
            OrganizationalUnit(
                unit.organizational_unit_identifier, self._certifiers_of_authority(unit.certificate)
            )
            for unit in config.organizational_unit_identifiers
        )

    def _load_node_ous(self, config: msp_config_pb2.FabricMSPConfig) -> NodeOUs | None:
        if self.version < MspVersion.V1_1 or not config.HasField("fabric_node_ous"):
            return None
        return NodeOUs.from_config(
            config.fabric_node_ous,
            self._certifiers_of_authority,
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

    def _certifiers_of_authority(self, pem: bytes) -> bytes:
        certificate = self._sanitize(load_certificate(pem))
        if certificate in self._anchors.roots:
            return _hash_chain([certificate])
        if certificate in self._anchors.intermediates:
            chain = self._anchors.unique_chain(certificate)
            self._validate_leaf_authority(chain[0])
            return _hash_chain(chain)
        raise InvalidMsp(
            "Failed adding OU. Certificate "
            f"[{certificate.subject.rfc4514_string()}] not in root or intermediate certs."
        )

    # Identities

    def _build_identity(self, pem: bytes) -> Identity:
        certificate = load_certificate(pem)
        try:
            return build_identity(self.name, self._sanitize(certificate))
        except InvalidChain as error:
            raise MalformedIdentity(str(error)) from None

    def _sanitize(self, certificate: x509.Certificate) -> x509.Certificate:
        """`msp/mspimpl.go` fn sanitizeCert: low S, by the curve of the issuer found by chain."""
        if not is_ecdsa_signed(certificate):
            return certificate
        if is_ca(certificate) and check_signed_by(certificate, certificate) is None:
            certificate = sanitize_certificate(certificate, certificate)
            TrustAnchors([certificate], self._anchors.intermediates).unique_chain(certificate)
            return certificate
        chain = self._anchors.unique_chain(certificate)
        if len(chain) <= 1:
            raise InvalidChain(
                "failed to traverse certificate verification chain for leaf or intermediate "
                f"certificate, with subject {certificate.subject.rfc4514_string()}"
            )
        return sanitize_certificate(certificate, chain[1])

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
            chain = self._identity_chain(identity)
        except InvalidChain as error:
            return f"could not obtain certification chain: {error}"
        try:
            self._validate_not_revoked(identity.certificate, chain)
        except InvalidIdentity as error:
            return f"could not validate identity against certification chain: {error}"
        try:
            self._validate_units(identity, _hash_chain(chain[1:]))
        except InvalidIdentity as error:
            return f"could not validate identity's OUs: {error}"
        return None

    def _identity_chain(self, identity: Identity) -> Chain:
        if is_ca(identity.certificate):
            raise InvalidChain(
                "An X509 certificate with Basic Constraint: "
                "Certificate Authority equals true cannot be used as an identity"
            )
        try:
            chain = self._anchors.unique_chain(identity.certificate)
        except InvalidChain as error:
            raise InvalidChain(f"failed getting validation chain: {error}") from None
        if len(chain) < 2:
            raise InvalidChain(f"expected a chain of length at least 2, got {len(chain)}")
        self._validate_leaf_authority(chain[1])
        return chain

    def _validate_leaf_authority(self, authority: x509.Certificate) -> None:
        """A CA that has certified another configured CA may not certify identities."""
        if to_der(authority) in self._inner_nodes:
            raise InvalidChain(
                "invalid validation chain. Parent certificate should be a leaf of the "
                f"certification tree [{authority.subject.rfc4514_string()}]"
            )

    def _validate_not_revoked(self, certificate: x509.Certificate, chain: Chain) -> None:
        # Only the direct issuer's lists count; CAs were checked when the MSP was set up.
        identifier = get_extension(chain[1], ExtensionOID.SUBJECT_KEY_IDENTIFIER)
        if not isinstance(identifier, x509.SubjectKeyIdentifier):
            raise InvalidIdentity(
                "could not obtain Subject Key Identifier for signer cert: "
                "subjectKeyIdentifier not found in certificate"
            )
        for revocations in self._revoked:
            if revocations.authority_key_id is None:
                raise InvalidIdentity(
                    "could not obtain Authority Key Identifier for crl: "
                    "authorityKeyIdentifier not found in certificate"
                )
            concerned = revocations.authority_key_id == identifier.digest
            if concerned and revocations.revokes(certificate, chain[1]):
                raise InvalidIdentity("The certificate has been revoked")

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


def _validate_authority(certificate: x509.Certificate) -> None:
    serial = f"{certificate.serial_number:x}"
    if not is_ca(certificate):
        raise InvalidMsp(f"CA Certificate did not have the CA attribute, (SN: {serial})")
    if get_extension(certificate, ExtensionOID.SUBJECT_KEY_IDENTIFIER) is None:
        raise InvalidMsp(
            f"CA Certificate problem with Subject Key Identifier extension, (SN: {serial}): "
            "subjectKeyIdentifier not found in certificate"
        )


def _validate_tls_authorities(config: msp_config_pb2.FabricMSPConfig) -> None:
    anchors = TrustAnchors(
        [load_certificate(pem) for pem in config.tls_root_certs],
        [load_certificate(pem) for pem in config.tls_intermediate_certs],
    )
    for certificate in (*anchors.roots, *anchors.intermediates):
        _validate_authority(certificate)
        try:
            anchors.unique_chain(certificate)
        except InvalidChain as error:
            raise InvalidMsp(
                f"CA Certificate is not valid, (SN: {certificate.serial_number}): "
                f"could not obtain certification chain: {error}"
            ) from None


def _hash_chain(chain: Iterable[x509.Certificate]) -> bytes:
    digest = hashlib.sha256()
    for certificate in chain:
        digest.update(to_der(certificate))
    return digest.digest()
