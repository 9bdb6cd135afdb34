"""New certificates for nodes, over new keys, while the network runs.

A consenter's TLS certificate stands in the channels' configuration: there it is replaced first,
then in the node's folder, then the node is started again (Fabric's own order). Each node is done
before the next begins, and what an interrupted run staged is used by the next one.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from admin.errors import input_error
from admin.procedures.networks.configuration import find_reader
from admin.procedures.networks.membership import change_channel
from network.client.profile import Surroundings
from network.engines.engine import Engine
from network.rules.channel.config import Consenter
from network.rules.channel.configedit import replace_consenter
from network.topology.materials import issue_node
from network.topology.safefiles import write_file
from network.topology.values import Node, NodeKind

Say = Callable[[str], None]

STAGED = "next"  # the folder beside `msp` and `tls` that holds what they are to become


@dataclass(frozen=True, slots=True)
class Renewed:
    """A node with new certificates.

    Attributes:
        node: its full name.
        expires: when its new TLS certificate ends.
        channels: those whose configuration names it.
    """

    node: str
    expires: datetime
    channels: tuple[str, ...]


def choose_nodes(
    surroundings: Surroundings, names: Sequence[str], within: int, now: datetime
) -> list[Node]:
    """The nodes that are meant: by name, shortened while unique, or those one of whose
    certificates ends in so many days.

    Raises:
        FaultError: a name is no node's, or several's.
    """
    nodes = list(surroundings.topology.nodes())
    if not names:
        end = now + timedelta(days=within)
        return [
            node
            for node in nodes
            if _is_staged(surroundings, node) or _ends(surroundings, node, end)
        ]
    return [_find_node(nodes, name) for name in names]


async def renew_nodes(
    engine: Engine, nodes: Sequence[Node], say: Say, *, timeout: float
) -> list[Renewed]:
    """Each node runs with new certificates over new keys, and the channels know it.

    Raises:
        MissingKey: an organisation's CA keys are not here.
        FaultError: a channel's administrators have to sign and are not here; says where the
            change lies. The node keeps its old certificates.
        EngineError: a node did not come up again.
    """
    return [await _renew(engine, node, say, timeout) for node in nodes]


async def _renew(engine: Engine, node: Node, say: Say, timeout: float) -> Renewed:
    surroundings = engine.surroundings
    say(f"{node.fqdn}: new keys and certificates")
    staged = _get_home(surroundings, node) / STAGED
    now = datetime.now(UTC)
    issue_node(surroundings.topology, surroundings.folder, node, now, staged)
    certificate = (staged / "tls" / "server.crt").read_bytes()
    channels = []
    if node.kind is NodeKind.ORDERER:
        channels = await _introduce(surroundings, node, certificate, say)
    _take_over(surroundings, node, staged)
    say(f"{node.fqdn}: starting again")
    await engine.up(lambda _: None, timeout=timeout, retire=False)
    expires = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    return Renewed(node.fqdn, expires, tuple(channels))


async def _introduce(
    surroundings: Surroundings, node: Node, certificate: bytes, say: Say
) -> list[str]:
    """The channels that the orderer is a consenter of know its new certificate."""
    present = (surroundings.folders.node_tls(node) / "server.crt").read_bytes()
    changed = []
    for channel in surroundings.topology.channels:
        if node.organization.name not in channel.orderers:
            continue
        signer, config = await find_reader(surroundings, channel.name)
        for one in config.consenters:
            if one.server_tls_certificate != present and (one.host, one.port) != (
                node.host,
                node.port,
            ):
                continue
            changed.append(channel.name)
            if one.server_tls_certificate == certificate:
                continue  # a run before this one got so far
            say(f"channel {channel.name}: the new certificate of {node.fqdn}")
            successor = Consenter(one.host, one.port, certificate, certificate)
            await change_channel(
                surroundings,
                signer,
                channel.name,
                [replace_consenter((one.host, one.port), successor)],
                file=Path(f"{channel.name}_{node.name}_renew.pb"),
            )
    return changed


def _take_over(surroundings: Surroundings, node: Node, staged: Path) -> None:
    """What is staged is the node's own: each key before its certificate."""
    tls = surroundings.folders.node_tls(node)
    pairs = [(staged / "tls", tls, "server.key", "server.crt")]
    if node.kind is not NodeKind.CA:
        msp = surroundings.folders.node_msp(node)
        name = f"{node.fqdn}-cert.pem"
        pairs.append((staged / "msp", msp, "keystore/priv_sk", f"signcerts/{name}"))
    for source, target, key, certificate in pairs:
        write_file(target / key, (source / key).read_bytes(), secret=True)
        write_file(target / certificate, (source / certificate).read_bytes())
    shutil.rmtree(staged)


def _get_home(surroundings: Surroundings, node: Node) -> Path:
    return surroundings.folders.node_tls(node).parent


def _is_staged(surroundings: Surroundings, node: Node) -> bool:
    return (_get_home(surroundings, node) / STAGED).exists()


def _ends(surroundings: Surroundings, node: Node, end: datetime) -> bool:
    files = [surroundings.folders.node_tls(node) / "server.crt"]
    if node.kind is not NodeKind.CA:
        files += sorted((surroundings.folders.node_msp(node) / "signcerts").glob("*.pem"))
    return any(
        x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc < end
        for file in files
        if file.exists()
    )


def _find_node(nodes: Sequence[Node], wanted: str) -> Node:
    found = [node for node in nodes if node.fqdn == wanted] or [
        node for node in nodes if wanted.lower() in node.fqdn
    ]
    if len(found) == 1:
        return found[0]
    told = ", ".join(node.fqdn for node in found or nodes)
    raise input_error(
        f"{wanted!r} names {'several nodes' if found else 'no node'}", f"name one of: {told}"
    )
