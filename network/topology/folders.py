"""Where the files of a network lie: cryptogen's layout below ``organizations/``."""

from dataclasses import dataclass
from pathlib import Path

from network.topology.servers import Server, ServerKind
from network.topology.values import Node, NodeKind, Organization


@dataclass(frozen=True, slots=True)
class Folders:
    """Paths below one network's folder (``.medfabric/<network>``). Nothing is created here."""

    root: Path

    def organization(self, org: Organization) -> Path:
        """``organizations/peerOrganizations/<domain>`` or ``ordererOrganizations/<domain>``."""
        return self.root / "organizations" / org.kind_folder / org.domain

    def organization_msp(self, org: Organization) -> Path:
        """The verifying MSP: no keys, what a channel configuration needs."""
        return self.organization(org) / "msp"

    def ca(self, org: Organization) -> Path:
        """The CA: ``ca.<domain>-cert.pem``, ``priv_sk`` and, for the CA service, ``tls/``."""
        return self.organization(org) / "ca"

    def tls_ca(self, org: Organization) -> Path:
        """The TLS CA: ``tlsca.<domain>-cert.pem`` and ``priv_sk``."""
        return self.organization(org) / "tlsca"

    def tls_root(self, org: Organization) -> Path:
        """The TLS CA's certificate, which clients of the organisation's nodes trust."""
        return self.tls_ca(org) / f"tlsca.{org.domain}-cert.pem"

    def node(self, node: Node) -> Path:
        """``peers/<fqdn>``, ``orderers/<fqdn>`` or, for a CA, its own folder."""
        org = self.organization(node.organization)
        if node.kind is NodeKind.CA:
            return self.ca(node.organization)
        return org / f"{node.kind.value}s" / node.fqdn

    def node_msp(self, node: Node) -> Path:
        """The node's local MSP."""
        return self.node(node) / "msp"

    def node_tls(self, node: Node) -> Path:
        """The node's ``ca.crt``, ``server.crt`` and ``server.key``."""
        return self.node(node) / "tls"

    def user(self, org: Organization, user: str) -> Path:
        """``users/<user>@<domain>``."""
        return self.organization(org) / "users" / f"{user}@{org.domain}"

    def user_msp(self, org: Organization, user: str) -> Path:
        """The user's MSP folder."""
        return self.user(org, user) / "msp"

    def user_tls(self, org: Organization, user: str) -> Path:
        """The user's ``ca.crt``, ``client.crt`` and ``client.key``."""
        return self.user(org, user) / "tls"

    def chaincode_tls(self, org: Organization) -> Path:
        """TLS between the organisation's peers (``client.*``) and its chaincode server
        (``server.*``), with ``ca.crt`` for both."""
        return self.organization(org) / "chaincode" / "tls"

    def server_tls(self, server: Server) -> Path:
        """The TLS folder of a server beside the nodes."""
        if server.kind is ServerKind.CHAINCODE:
            return self.chaincode_tls(server.organization)
        return self.exchange_tls(server.organization)

    def exchange_tls(self, org: Organization) -> Path:
        """The record exchange's ``ca.crt``, ``server.crt`` and ``server.key``."""
        return self.organization(org) / "exchange" / "tls"
