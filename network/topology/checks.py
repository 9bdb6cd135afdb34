"""What must hold between the parts of a topology: unique names and ports, references that exist.

These checks look at plain YAML values, so that they run even where single fields are wrong:
whatever has the wrong shape is passed over here, because it is reported already.
"""

from collections.abc import Iterator
from typing import Any

from fabric_protos.msp import msp_principal_pb2

from network.rules.channel.capabilities import KNOWN_APPLICATION, KNOWN_CHANNEL, KNOWN_ORDERER
from network.rules.policy.dsl import InvalidPolicyText, parse_policy
from network.topology.errors import Path, format_path
from network.topology.quantities import parse_size
from network.topology.wording import suggest
from network.topology.yamllines import Document


def check_document(document: Document) -> None:
    """Add a mistake for everything in the document that contradicts something else in it."""
    topology = document.value
    orgs = list(_entries(topology.get("organizations"), ("organizations",)))
    _check_unique(document, orgs, "name", "the name")
    _check_unique(document, orgs, "mspId", "the MSP id")
    _check_unique(document, orgs, "domain", "the domain")
    for path, org in orgs:
        _check_organization(document, path, org)
    _check_ports(document, topology, orgs)
    channels = list(_entries(topology.get("channels"), ("channels",)))
    _check_unique(document, channels, "name", "the name")
    by_name = {org["name"]: org for _, org in orgs if isinstance(org.get("name"), str)}
    for path, channel in channels:
        _check_channel(document, path, channel, by_name)


def _check_organization(document: Document, path: Path, org: dict[str, Any]) -> None:
    for key in ("peers", "orderers", "users"):
        nodes = list(_entries(org.get(key), (*path, key)))
        _check_unique(document, nodes, "name", "the name")
    if org.get("peers") and org.get("orderers"):
        document.add(
            (*path, "orderers"),
            "an organisation has either peers or orderers; make a second organisation for these",
        )
    if org.get("role") == "orderer" and org.get("peers"):
        document.add((*path, "role"), "is orderer, but the organisation has peers")
    if org.get("orderers") and org.get("role") not in ("orderer", None):
        document.add((*path, "role"), "should be orderer for an organisation that has orderers")


def _check_ports(
    document: Document, topology: dict[str, Any], orgs: list[tuple[Path, dict[str, Any]]]
) -> None:
    """Two services at one address cannot use one port, derived ports included."""
    common = topology.get("host", "127.0.0.1")
    taken: dict[tuple[object, int], Path] = {}
    clashing: set[Path] = set()
    listed = [entry for path, org in orgs for entry in _ports(path, org, common)]
    # Written ports first, so that a clash is shown at the derived one, which is easier to change.
    listed.sort(key=lambda entry: entry[0] not in document.lines)
    for path, host, port in listed:
        if (host, port) not in taken:
            taken[(host, port)] = path
        elif path in document.lines:
            clashing.add(path)
            owner = _owner(document, taken[(host, port)])
            document.add(path, f"{port} is already used by {owner}")
        elif _base(path) not in clashing:
            # Where the port it derives from clashes itself, correcting that corrects this.
            owner = _owner(document, taken[(host, port)])
            document.add(
                path, f"its default {port} is already used by {owner}; set {path[-1]} here"
            )


def _base(path: Path) -> Path:
    """Return the path of the port that a derived port counts from."""
    if path[-2:] == ("chaincode", "port"):
        return (*path[:-2], "peers", 0, "port")
    return (*path[:-1], "port")


def _owner(document: Document, path: Path) -> str:
    """Name a node for a port it wrote as its own, else the exact field."""
    if path[-1] == "port" and path in document.lines:
        return format_path(path[:-1])
    return format_path(path)


def _ports(path: Path, org: dict[str, Any], common: object) -> Iterator[tuple[Path, object, int]]:
    places: list[tuple[Path, Any]] = []
    for key in ("orderers", "peers"):
        places += _entries(org.get(key), (*path, key))
    places += [((*path, key), org.get(key)) for key in ("ca", "exchange", "chaincode")]
    for place, service in places:
        if not isinstance(service, dict):
            continue
        host = service.get("host") or common
        for key in ("port", "adminPort", "operationsPort"):
            port = service.get(key)
            if isinstance(port, int) and not isinstance(port, bool):
                yield (*place, key), host, port


def _check_channel(
    document: Document, path: Path, channel: dict[str, Any], orgs: dict[str, dict[str, Any]]
) -> None:
    _check_references(document, (*path, "orderers"), channel.get("orderers"), orgs, "orderers")
    _check_references(document, (*path, "members"), channel.get("members"), orgs, "peers")
    _check_batch(document, (*path, "batch"), channel.get("batch"))
    _check_capabilities(document, (*path, "capabilities"), channel.get("capabilities"))
    chaincodes = list(_entries(channel.get("chaincodes"), (*path, "chaincodes")))
    _check_unique(document, chaincodes, "name", "the name")
    listed = channel.get("members")
    names = (
        [name for name in listed if isinstance(name, str) and name in orgs]
        if isinstance(listed, list)
        else []
    )
    members = {name: orgs[name] for name in names}
    for place, text in _policies(channel, path):
        _check_msp_ids(document, place, text, members)
    for place, chaincode in chaincodes:
        _check_msp_ids(document, (*place, "endorsement"), chaincode.get("endorsement"), members)
        collections = list(_entries(chaincode.get("collections"), (*place, "collections")))
        _check_unique(document, collections, "name", "the name")
        for where, collection in collections:
            _check_collection(document, where, collection, members)


def _check_references(
    document: Document, path: Path, names: Any, orgs: dict[str, dict[str, Any]], what: str
) -> None:
    if not isinstance(names, list):
        return
    for index, name in enumerate(names):
        if not isinstance(name, str):
            continue
        place = (*path, index)
        if name not in orgs:
            document.add(
                place, f"{name!r} is no organisation of this network{suggest(name, list(orgs))}"
            )
        elif not orgs[name].get(what):
            document.add(place, f"{name} has no {what}; add some or leave it out")
        if name in names[:index]:
            document.add(place, f"{name} is listed twice")


def _check_collection(
    document: Document, path: Path, collection: dict[str, Any], members: dict[str, dict[str, Any]]
) -> None:
    listed = collection.get("members")
    names = listed if isinstance(listed, list) else []
    for index, name in enumerate(names):
        place = (*path, "members", index)
        if isinstance(name, str) and name not in members:
            document.add(
                place, f"{name!r} is no member of the channel{suggest(name, list(members))}"
            )
        elif name in names[:index]:
            document.add(place, f"{name} is listed twice")
    _check_msp_ids(document, (*path, "endorsement"), collection.get("endorsement"), members)
    required, most = collection.get("requiredPeerCount", 0), collection.get("maxPeerCount")
    if isinstance(required, int) and isinstance(most, int) and most < required:
        document.add(
            (*path, "maxPeerCount"), f"{most} is less than requiredPeerCount, which is {required}"
        )
    others = sum(len(members[name].get("peers") or ()) for name in names if name in members) - 1
    if isinstance(required, int) and required > max(others, 0) and names:
        document.add(
            (*path, "requiredPeerCount"),
            f"{required} other peers must receive the data, but the members have only {others} "
            "besides the endorsing one; every transaction would fail",
        )


def _check_msp_ids(
    document: Document, path: Path, text: Any, members: dict[str, dict[str, Any]]
) -> None:
    """A policy that mentions somebody outside the channel can never count on them."""
    if not isinstance(text, str) or not members:
        return
    try:
        policy = parse_policy(text)
    except InvalidPolicyText:
        return  # a path or an implicit policy, or reported already
    known = [org.get("mspId") for org in members.values()]
    seen = set()
    for principal in policy.identities:
        msp_id = msp_principal_pb2.MSPRole.FromString(principal.principal).msp_identifier
        if msp_id not in known and msp_id not in seen:
            seen.add(msp_id)
            near = suggest(msp_id, [str(name) for name in known])
            document.add(path, f"{msp_id} is the MSP id of no member of the channel{near}")


def _policies(channel: dict[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    policies = channel.get("policies")
    if isinstance(policies, dict):
        for name, text in policies.items():
            yield (*path, "policies", name), text


def _check_batch(document: Document, path: Path, batch: Any) -> None:
    if not isinstance(batch, dict):
        return
    try:
        preferred = parse_size(batch.get("preferredBytes", "2MB"))
        absolute = parse_size(batch.get("absoluteBytes", "10MB"))
    except ValueError:
        return
    if preferred > absolute:
        place = "preferredBytes" if "preferredBytes" in batch else "absoluteBytes"
        document.add((*path, place), "preferredBytes should not be more than absoluteBytes (10MB)")


def _check_capabilities(document: Document, path: Path, capabilities: Any) -> None:
    known = {
        "channel": KNOWN_CHANNEL,
        "orderer": KNOWN_ORDERER,
        "application": KNOWN_APPLICATION,
    }
    for group, names in known.items():
        listed = capabilities.get(group) if isinstance(capabilities, dict) else None
        for index, name in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(name, str) and name not in names:
                document.add(
                    (*path, group, index),
                    f"{name!r} is no {group} capability of Fabric; a peer would stop at it. "
                    f"Known: {', '.join(sorted(names))}",
                )


def _check_unique(
    document: Document, entries: list[tuple[Path, dict[str, Any]]], key: str, what: str
) -> None:
    first: dict[object, Path] = {}
    for path, entry in entries:
        value = entry.get(key)
        if not isinstance(value, str):
            continue
        if value in first:
            document.add(
                (*path, key), f"{what} {value!r} is already used by {format_path(first[value])}"
            )
        first.setdefault(value, path)


def _entries(value: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if isinstance(value, list):
        for index, entry in enumerate(value):
            if isinstance(entry, dict):
                yield (*path, index), entry
