"""How the nodes of a network are: asked of themselves, over Fabric's own interfaces."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from network.client import channel, operations, participation
from network.client.errors import ClientError
from network.client.peer import PeerClient
from network.client.profile import OPERATOR, Surroundings
from network.engines.artefacts import first_chaincode
from network.engines.engine import NodeStatus
from network.engines.nodefiles import Layout
from network.engines.ports import answers
from network.engines.processplan import NodeState, Service
from network.topology.values import Node, NodeKind, Organization

FOREIGN = "foreign"  # somebody else's program listens there
PATIENCE = 5.0  # seconds for a node's answer


async def get_status(
    surroundings: Surroundings,
    layout: Layout,
    states: Mapping[str, NodeState],
    services: Sequence[Service] = (),
) -> list[NodeStatus]:
    """Every node's status, asked all at the same time, in the topology's order.

    Args:
        surroundings: the network.
        layout: where things are in its folder.
        states: what the supervisor tells, by node.
        services: what runs beside the nodes.
    """
    topology = surroundings.topology
    asked = [
        _node_status(surroundings, layout, node, states.get(node.fqdn)) for node in topology.nodes()
    ]
    asked += [
        _chaincode_status(organization, topology.host, states)
        for organization in topology.organizations
        if organization.chaincode is not None
        and first_chaincode(topology, organization) is not None
    ]
    asked += [_service_status(one, states) for one in services]
    return list(await asyncio.gather(*asked))


async def _node_status(
    surroundings: Surroundings, layout: Layout, node: Node, state: NodeState | None
) -> NodeStatus:
    heights: dict[str, int] = {}
    healthy: bool | None = None
    note = ""
    serving = await answers(node.host, node.port)
    if serving:
        try:
            if node.kind is not NodeKind.CA:
                health = await operations.get_health(surroundings.operations_endpoint(node))
                healthy, note = health.ok, "; ".join(health.failures)
            heights = await _heights(surroundings, node)
        except (ClientError, OSError, ValueError) as failure:
            note = next(iter(str(failure).splitlines()), type(failure).__name__)
            healthy = None if node.kind is NodeKind.CA else False
    place = _state(serving, state)
    if place == FOREIGN:
        heights, healthy, note = {}, None, "another program answers at its address"
    status = NodeStatus(
        name=node.fqdn,
        kind=node.kind.value,
        organization=node.organization.name,
        address=node.address,
        state=place,
        healthy=healthy,
        heights=heights,
        certificate_expires=get_expiry(_certificate(layout, node)),
        note=note or _trouble(state),
    )
    return _with_process(status, state)


async def _heights(surroundings: Surroundings, node: Node) -> dict[str, int]:
    if node.kind is NodeKind.ORDERER:
        orderer = surroundings.admin_endpoint(node)
        found: dict[str, int] = {}
        for name in await participation.get_channels(orderer):
            place = await participation.get_channel(orderer, name)
            if place is not None:
                found[name] = place.height
        return found
    if node.kind is not NodeKind.PEER:
        return {}
    signer = surroundings.signer(f"{node.organization.name}/{OPERATOR}")
    async with PeerClient(surroundings.endpoint(node), signer, timeout=PATIENCE) as peer:
        return {
            name: (await channel.get_chain_info(peer, name)).height
            for name in await channel.get_channels(peer)
        }


async def _chaincode_status(
    organization: Organization, host: str, states: Mapping[str, NodeState]
) -> NodeStatus:
    server = organization.chaincode
    assert server is not None
    return await _plain_status(
        f"chaincode.{organization.domain}",
        "chaincode",
        organization.name,
        (server.host or host, server.port),
        states,
    )


async def _service_status(service: Service, states: Mapping[str, NodeState]) -> NodeStatus:
    place = (service.host, service.port)
    return await _plain_status(
        service.process.name, service.kind, service.organization, place, states
    )


async def _plain_status(
    name: str,
    kind: str,
    organization: str,
    place: tuple[str, int],
    states: Mapping[str, NodeState],
) -> NodeStatus:
    """Of a program that tells no more than that it answers."""
    host, port = place
    state = states.get(name)
    status = NodeStatus(
        name=name,
        kind=kind,
        organization=organization,
        address=f"{host}:{port}",
        state=_state(await answers(host, port), state),
        note=_trouble(state),
    )
    return _with_process(status, state)


def _with_process(status: NodeStatus, state: NodeState | None) -> NodeStatus:
    if state is None:
        return status
    alive = state.process is not None and state.process.alive
    return replace(
        status,
        pid=state.process.pid if state.process and alive else None,
        restarts=state.restarts,
        since=datetime.fromtimestamp(state.since, UTC) if state.since else None,
    )


def _state(serving: bool, state: NodeState | None) -> str:
    if state is None or state.process is None or not state.process.alive:
        if serving:
            return FOREIGN
        return "stopped" if state is None else "waiting"
    return "running" if serving else "starting"


def _trouble(state: NodeState | None) -> str:
    if state is None or not state.restarts:
        return ""
    return f"started again {state.restarts} times; last ended with {state.exit_code}"


def _certificate(layout: Layout, node: Node) -> Path:
    return layout.keys.node_tls(node) / "server.crt"


def get_expiry(certificate: Path) -> datetime | None:
    """When the certificate in a PEM file ends; None when it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None
