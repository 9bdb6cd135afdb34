"""Whether the addresses a network needs are free, and waiting until nodes answer on them."""

import asyncio
import errno
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from network.engines.artefacts import first_chaincode
from network.engines.processplan import Service
from network.topology.values import Node, Topology


@dataclass(frozen=True, slots=True)
class Listener:
    """An address that a node needs.

    Attributes:
        node: the node's name.
        purpose: what it serves there.
        host: the host.
        port: the port.
    """

    node: str
    purpose: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port} ({self.node}, {self.purpose})"


def list_listeners(topology: Topology) -> list[Listener]:
    """Every address that the topology's nodes listen on, their own service first.

    An organisation's chaincode server is among them where it has a chaincode to serve.
    """
    found: list[Listener] = []
    for node in topology.nodes():
        found += list_node_listeners(node)
    for organization in topology.organizations:
        if organization.chaincode is not None and first_chaincode(topology, organization):
            server = organization.chaincode
            host = server.host or topology.host
            name = f"chaincode.{organization.domain}"
            found.append(Listener(name, "chaincode", host, server.port))
    return found


def list_exchange_listeners(topology: Topology) -> list[Listener]:
    """The addresses of the organisations' record exchanges, which start after the nodes."""
    return [
        Listener(
            f"exchange.{organization.domain}",
            "record exchange",
            organization.exchange.host or topology.host,
            organization.exchange.port,
        )
        for organization in topology.organizations
        if organization.exchange is not None
    ]


def list_service_listeners(services: Iterable[Service]) -> list[Listener]:
    """The addresses of services."""
    return [Listener(one.process.name, one.kind, one.host, one.port) for one in services]


def list_node_listeners(node: Node) -> list[Listener]:
    """The addresses of one node."""
    found = [Listener(node.fqdn, "service", node.host, node.port)]
    if node.operations_port:
        found.append(Listener(node.fqdn, "operations", node.host, node.operations_port))
    if node.admin_port:
        found.append(Listener(node.fqdn, "channel participation", node.host, node.admin_port))
    return found


def get_taken(listeners: Iterable[Listener]) -> list[Listener]:
    """Those whose address somebody else listens on, or that this machine does not have."""
    return [listener for listener in listeners if not _is_free(listener)]


def _is_free(listener: Listener) -> bool:
    host = listener.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do, so that connections which only linger after an end do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, listener.port))
        except OSError as failure:
            return failure.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
    return True


async def answers(host: str, port: int, *, timeout: float = 1.0) -> bool:
    """Whether somebody accepts connections there."""
    try:
        opening = asyncio.open_connection(host.strip("[]"), port)
        _, writer = await asyncio.wait_for(opening, timeout)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def wait_until_answered(listener: Listener, *, timeout: float) -> bool:
    """Whether somebody accepts connections there within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if await answers(listener.host, listener.port):
            return True
        await asyncio.sleep(0.03)
    return False
