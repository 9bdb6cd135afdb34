"""Servers of ours that an organisation runs beside its nodes, each with TLS of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from network.topology.values import Organization, Topology


class ServerKind(StrEnum):
    """What a server serves."""

    CHAINCODE = "chaincode"
    EXCHANGE = "exchange"


@dataclass(frozen=True, slots=True)
class Server:
    """An organisation's chaincode server or record exchange."""

    organization: Organization
    kind: ServerKind

    @property
    def fqdn(self) -> str:
        """Its name in status, logs and certificates, such as `chaincode.clinic.example`."""
        return f"{self.kind}.{self.organization.domain}"


def list_servers(topology: Topology) -> Iterator[Server]:
    """Every server of the topology, by organisation."""
    for organization in topology.organizations:
        if organization.chaincode is not None:
            yield Server(organization, ServerKind.CHAINCODE)
        if organization.exchange is not None:
            yield Server(organization, ServerKind.EXCHANGE)
