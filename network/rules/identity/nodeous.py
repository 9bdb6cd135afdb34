"""NodeOUs: the organisational units that tell clients, peers, admins and orderers apart.

Source: Fabric `msp/mspimplsetup.go` fn setupNodeOUs, setupNodeOUsV142 and `mspimplvalidate.go`
fn validateIdentityOUsV11, validateIdentityOUsV142.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fabric_protos.msp import msp_config_pb2, msp_principal_pb2

from network.rules.identity.identity import IdentityError


@dataclass(frozen=True, slots=True)
class OrganizationalUnit:
    """An OU name and the hash of the CA chain that must have certified it (b"" = any chain)."""

    name: str
    certifiers: bytes = b""


@dataclass(frozen=True, slots=True)
class NodeOUs:
    """The configured role OUs; a role that is None cannot be told apart."""

    client: OrganizationalUnit | None = None
    peer: OrganizationalUnit | None = None
    admin: OrganizationalUnit | None = None
    orderer: OrganizationalUnit | None = None
    client_and_peer_only: bool = False

    @classmethod
    def from_config(
        cls,
        config: msp_config_pb2.FabricNodeOUs,
        certifiers_of: Callable[[bytes], bytes],
        *,
        client_and_peer_only: bool,
    ) -> "NodeOUs | None":
        """Return the role OUs, or None when they are off (or none is configured).

        Raises `IdentityError` for a configuration that Fabric refuses.
        """

        def unit(name: str) -> OrganizationalUnit | None:
            if not config.HasField(name):
                return None
            identifier = getattr(config, name)
            certificate = identifier.certificate
            return OrganizationalUnit(
                identifier.organizational_unit_identifier,
                certifiers_of(certificate) if certificate else b"",
            )

        client, peer = unit("client_ou_identifier"), unit("peer_ou_identifier")
        if client_and_peer_only:
            if client is None or not client.name:
                raise IdentityError(
                    "Failed setting up NodeOUs. ClientOU must be different from nil."
                )
            if peer is None or not peer.name:
                raise IdentityError("Failed setting up NodeOUs. PeerOU must be different from nil.")
            ous = cls(client, peer, client_and_peer_only=True)
        else:
            ous = cls(client, peer, unit("admin_ou_identifier"), unit("orderer_ou_identifier"))
        return ous if config.enable and any(ous.units) else None

    @property
    def units(self) -> tuple[OrganizationalUnit, ...]:
        """The configured OUs: client, peer, admin, orderer."""
        roles = (self.client, self.peer, self.admin, self.orderer)
        return tuple(unit for unit in roles if unit is not None)

    def find_doubt(self, ous: tuple[str, ...], certifiers: bytes, msp_id: str) -> str | None:
        """Return None when exactly one of ``ous`` is a role OU, else Fabric's complaint."""
        # Later roles win where two share a name, as in Fabric's map.
        roles = {unit.name: unit for unit in self.units}
        shown = "[" + " ".join(f"{name}({certifiers[:8].hex().upper()})" for name in ous) + "]"
        count = 0
        for name in ous:
            role = roles.get(name)
            if role is None:
                continue
            if role.certifiers and role.certifiers != certifiers:
                return f"certifiersIdentifier does not match: {shown}, MSP: [{msp_id}]"
            count += 1
        known = (
            "client or peer"
            if self.client_and_peer_only
            else ("client, peer, orderer, or admin role")
        )
        if count == 0:
            return (
                f"the identity does not have an OU that resolves to {known}. "
                f"OUs: {shown}, MSP: [{msp_id}]"
            )
        if count > 1:
            one = (
                "must be a client or a peer identity"
                if self.client_and_peer_only
                else ("must have a client, a peer, an orderer, or an admin OU role")
            )
            return (
                f"the identity {one} to be valid, not a combination of them. "
                f"OUs: {shown}, MSP: [{msp_id}]"
            )
        return None

    def find_missing_role(self, ous: tuple[str, ...], role: int, msp_id: str) -> str | None:
        """Return None when ``ous`` carry the role's OU, else the complaint of hasOURoleInternal."""
        roles = msp_principal_pb2.MSPRole
        name = roles.MSPRoleType.Name(role)
        unit = {
            roles.CLIENT: self.client,
            roles.PEER: self.peer,
            roles.ADMIN: self.admin,
            roles.ORDERER: self.orderer,
        }[role]
        if unit is None:
            return (
                f"cannot test for classification, node ou for type [{name}], "
                f"not defined, msp: [{msp_id}]"
            )
        if unit.name in ous:
            return None
        return f"The identity does not contain OU [{name}], MSP: [{msp_id}]"

    def validate_admin(self, ous: tuple[str, ...], msp_id: str) -> None:
        """Return when a listed admin certificate carries the client or the admin OU.

        Raises `IdentityError`, naming what either lacks.
        """
        roles = msp_principal_pb2.MSPRole
        client = self.find_missing_role(ous, roles.CLIENT, msp_id)
        admin = self.find_missing_role(ous, roles.ADMIN, msp_id)
        if client is not None and admin is not None:
            raise IdentityError(f"[{client},{admin}]")
