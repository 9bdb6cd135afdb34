"""Defaults that follow from other fields, filled in before anything is checked.

Each function takes and returns plain YAML values and leaves alone what has another shape than it
expects: judging is done elsewhere.
"""

from typing import Any

_OPERATIONS_OFFSET = 10_000
_ADMIN_OFFSET = 3
_CHAINCODE_OFFSET = 1
_LAST_PORT = 65_535


def fill_organizations(data: Any) -> Any:
    """Return the list of organisations with every derived default."""
    return [fill_organization(org) for org in data] if isinstance(data, list) else data


def fill_organization(data: Any) -> Any:
    """MSP id and domain from the name, ports of the nodes, the chaincode server's port."""
    if not isinstance(data, dict):
        return data
    filled = dict(data)
    name = data.get("name")
    if isinstance(name, str):
        filled.setdefault("mspId", f"{name}MSP")
        filled.setdefault("domain", f"{name.lower()}.example")
    for key, fill in (("peers", fill_peer), ("orderers", fill_orderer)):
        if isinstance(data.get(key), list):
            filled[key] = [fill(node) for node in data[key]]
    if "ca" in data:
        filled["ca"] = fill_ca(data["ca"])
    peers = filled.get("peers")
    if "chaincode" not in data and isinstance(peers, list) and peers:
        port = _port(peers[0])
        if port is not None:
            filled["chaincode"] = {"port": _near(port, _CHAINCODE_OFFSET)}
    return filled


def fill_peer(data: Any) -> Any:
    """The operations port of a peer."""
    return _fill_ports(data, {"operationsPort": _OPERATIONS_OFFSET})


def fill_orderer(data: Any) -> Any:
    """The admin and operations ports of an orderer."""
    return _fill_ports(data, {"adminPort": _ADMIN_OFFSET, "operationsPort": _OPERATIONS_OFFSET})


def fill_ca(data: Any) -> Any:
    """The operations port of a CA."""
    return _fill_ports(data, {"operationsPort": _OPERATIONS_OFFSET})


def _fill_ports(data: Any, offsets: dict[str, int]) -> Any:
    port = _port(data)
    if port is None:
        return data
    return {**{name: _near(port, offset) for name, offset in offsets.items()}, **data}


def _port(data: Any) -> int | None:
    port = data.get("port") if isinstance(data, dict) else None
    return port if isinstance(port, int) and not isinstance(port, bool) else None


def _near(port: int, offset: int) -> int:
    return port + offset if port + offset <= _LAST_PORT else port - offset
