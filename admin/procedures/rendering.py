"""A network file with its defaults, and the settings a node gets from it."""

from typing import Any

import yaml

from network.client.profile import Surroundings
from network.engines.nodefiles import Layout, ca_yaml, core_yaml, orderer_yaml
from network.topology.values import Node, NodeKind, Topology


def render_topology(topology: Topology) -> str:
    """The whole topology as YAML, every default written out."""
    values = topology.model_dump(mode="json", by_alias=True, exclude_none=True)
    return yaml.safe_dump(values, sort_keys=False, width=100)


def render_node(surroundings: Surroundings, name: str) -> str | None:
    """A node's settings in Fabric's own form; None when there is no such node."""
    wanted = name.lower()
    found = [one for one in surroundings.topology.nodes() if wanted in one.fqdn.lower()]
    exact = [one for one in found if one.fqdn.lower() == wanted]
    for node in exact or found:
        return yaml.safe_dump(_settings(surroundings, node), sort_keys=False)
    return None


def _settings(surroundings: Surroundings, node: Node) -> dict[str, Any]:
    layout = Layout(surroundings.folder)
    if node.kind is NodeKind.ORDERER:
        return orderer_yaml(layout, node)
    if node.kind is NodeKind.PEER:
        return core_yaml(layout, surroundings.topology, node)
    return ca_yaml(layout, node)
