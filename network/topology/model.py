"""`network.yaml` read into typed values, every mistake reported at once.

The values themselves, with their defaults, are in `network.topology.values`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from network.topology.checks import check_document
from network.topology.defaults import fill_organizations
from network.topology.errors import Mistake, TopologyError, format_path
from network.topology.values import (
    Batch,
    Chaincode,
    Channel,
    Collection,
    Engine,
    Node,
    NodeKind,
    Orderer,
    Organization,
    Peer,
    Role,
    Runtime,
    Topology,
    User,
    UserKind,
)
from network.topology.wording import describe
from network.topology.yamllines import Document, overlay, read_document

__all__ = [
    "Batch",
    "Chaincode",
    "Channel",
    "Collection",
    "Engine",
    "Mistake",
    "Node",
    "NodeKind",
    "Orderer",
    "Organization",
    "Peer",
    "Role",
    "Runtime",
    "Topology",
    "TopologyError",
    "User",
    "UserKind",
    "format_path",
    "load_topology",
    "parse_topology",
]

_MAX_FILE_SIZE = 4 * 1024 * 1024


def load_topology(path: Path, environment: str | None = None) -> Topology:
    """Return the topology in a YAML file, with one environment's changes laid over it.

    Raises `TopologyError` with every mistake of the file, or with the one reason why it cannot be
    read.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_FILE_SIZE:
            raise TopologyError([Mistake(path.name, 1, (), "the file is larger than 4 MB")])
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise TopologyError([Mistake(path.name, 1, (), "the file is not UTF-8 text")]) from None
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise TopologyError(
            [Mistake(str(path), 1, (), f"the file cannot be read: {reason}")]
        ) from None
    return parse_topology(text, path.name, environment)


def parse_topology(
    text: str, file: str = "network.yaml", environment: str | None = None
) -> Topology:
    """Return the topology in YAML text; raises `TopologyError` with every mistake."""
    document = read_document(text, file)
    if not isinstance(document.value, dict):
        document.add((), "should be a mapping that starts with 'version: 1'")
        raise TopologyError(document.mistakes)
    _apply_environment(document, environment)
    if "organizations" in document.value:
        document.value["organizations"] = fill_organizations(document.value["organizations"])
    topology = _validate(document)
    check_document(document)
    if document.mistakes or topology is None:
        raise TopologyError(_in_order(document.mistakes))
    return topology


def _apply_environment(document: Document, environment: str | None) -> None:
    environments = document.value.get("environments", {})
    if not isinstance(environments, Mapping):
        return  # judged with the other fields
    if environment is None:
        return
    if environment not in environments:
        known = ", ".join(sorted(map(str, environments))) or "none"
        document.add(
            ("environments",),
            f"has no environment {environment!r}; there are: {known}",
        )
        return
    if isinstance(environments[environment], dict):
        overlay(document, ("environments", environment))
    else:
        document.add(("environments", environment), "should be a mapping of fields to change")


def _validate(document: Document) -> Topology | None:
    value: dict[str, Any] = document.value
    try:
        return Topology.model_validate(value)
    except ValidationError as error:
        for entry in error.errors(include_url=False):
            path = tuple(entry["loc"])
            document.add(path, describe(entry, Topology, path))
        return None


def _in_order(mistakes: list[Mistake]) -> list[Mistake]:
    unique = {(mistake.path, mistake.text): mistake for mistake in mistakes}
    return sorted(unique.values(), key=lambda mistake: mistake.line)
