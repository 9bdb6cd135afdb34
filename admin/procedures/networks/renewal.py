"""New certificates for nodes and the servers beside them, over new keys, while the network runs.

A consenter's TLS certificate stands in the channels' configuration: there it is replaced first,
then in the node's folder, then the node is started again (Fabric's own order). A chaincode's
package holds the certificate by which its peers show themselves to their server: the package is
installed and approved anew, at the same sequence. Each is done before the next begins, and what an
interrupted run staged is used by the next one.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from admin.errors import input_error
from admin.procedures.networks.configuration import find_reader
from admin.procedures.networks.deployment import deploy_channel
from admin.procedures.networks.membership import change_channel
from network.client.profile import Surroundings
from network.engines.engine import Engine
from network.rules.channel.config import Consenter
from network.rules.channel.configedit import replace_consenter
from network.topology.materials import issue_node, issue_server
from network.topology.safefiles import write_file
from network.topology.servers import Server, ServerKind, list_servers
from network.topology.values import Node, NodeKind

Say = Callable[[str], None]

STAGED = "next"  # the folder beside `msp` and `tls` that holds what they are to become


@dataclass(frozen=True, slots=True)
class Renewed:
    """A node or server with new certificates.

    Attributes:
        node: its full name.
        expires: when its new TLS certificate ends.
        channels: those whose configuration names it, or that approved its package anew.
    """

    node: str
    expires: datetime
    channels: tuple[str, ...]


def choose_nodes(
    surroundings: Surroundings, names: Sequence[str], within: int, now: datetime
) -> list[Node | Server]:
    """The nodes and servers that are meant: by name, shortened while unique, or those one of whose
    certificates ends in so many days.

    Raises:
        FaultError: a name is no node's, or several's.
    """
    topology = surroundings.topology
    nodes: list[Node | Server] = [*topology.nodes(), *list_servers(topology)]
    if not names:
        end = now + timedelta(days=within)
        return [
            node
            for node in nodes
            if _is_staged(surroundings, node) or _ends(surroundings, node, end)
        ]
    return [_find_node(nodes, name) for name in names]


async def renew_nodes(
    engine: Engine, nodes: Sequence[Node | Server], say: Say, *, timeout: float
) -> list[Renewed]:
    """Each of them runs with new certificates over new keys, and the channels know it.

    Raises:
        MissingKey: an organisation's CA keys are not here.
        FaultError: a channel's administrators have to sign and are not here; says where the
            change lies. The node keeps its old certificates.
        EngineError: a node did not come up again.
    """
    return [
        await _renew(engine, node, say, timeout)
        if isinstance(node, Node)
        else await _renew_server(engine, node, say, timeout)
        for node in nodes
    ]


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
    return Renewed(node.fqdn, _read_end(certificate), tuple(channels))


async def _renew_server(engine: Engine, server: Server, say: Say, timeout: float) -> Renewed:
    surroundings = engine.surroundings
    say(f"{server.fqdn}: new keys and certificates")
    staged = _get_home(surroundings, server) / STAGED
    issue_server(surroundings.topology, surroundings.folder, server, datetime.now(UTC), staged)
    certificate = (staged / "server.crt").read_bytes()
    tls = surroundings.folders.server_tls(server)
    for key in sorted(staged.glob("*.key")):
        _put_pair(staged, tls, key.name, f"{key.stem}.crt")
    shutil.rmtree(staged)
    say(f"{server.fqdn}: starting again")
    channels = []
    if server.kind is ServerKind.CHAINCODE:
        await engine.up(lambda _: None, timeout=timeout, retire=False)
        channels = await _introduce_package(engine, server, say)
    elif any(one.name == server.fqdn and one.state == "running" for one in await engine.status()):
        await engine.restart(server.fqdn)
    return Renewed(server.fqdn, _read_end(certificate), tuple(channels))


async def _introduce_package(engine: Engine, server: Server, say: Say) -> list[str]:
    """The channels whose peers of this organisation have its package with the new certificate."""
    changed = []
    for channel in engine.surroundings.topology.channels:
        if server.organization.name in channel.members:
            done = await deploy_channel(engine, channel, say)
            if any(one.changed for one in done):
                changed.append(channel.name)
    return changed


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
        _put_pair(source, target, key, certificate)
    shutil.rmtree(staged)


def _put_pair(source: Path, target: Path, key: str, certificate: str) -> None:
    write_file(target / key, (source / key).read_bytes(), secret=True)
    write_file(target / certificate, (source / certificate).read_bytes())


def _get_tls(surroundings: Surroundings, node: Node | Server) -> Path:
    folders = surroundings.folders
    return folders.node_tls(node) if isinstance(node, Node) else folders.server_tls(node)


def _get_home(surroundings: Surroundings, node: Node | Server) -> Path:
    return _get_tls(surroundings, node).parent


def _is_staged(surroundings: Surroundings, node: Node | Server) -> bool:
    return (_get_home(surroundings, node) / STAGED).exists()


def _ends(surroundings: Surroundings, node: Node | Server, end: datetime) -> bool:
    tls = _get_tls(surroundings, node)
    files = [tls / "server.crt"]
    if isinstance(node, Server):
        files.append(tls / "client.crt")
    elif node.kind is not NodeKind.CA:
        files += sorted((surroundings.folders.node_msp(node) / "signcerts").glob("*.pem"))
    return any(_read_end(file.read_bytes()) < end for file in files if file.exists())


def _read_end(certificate: bytes) -> datetime:
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def _find_node(nodes: Sequence[Node | Server], wanted: str) -> Node | Server:
    found = [node for node in nodes if node.fqdn == wanted] or [
        node for node in nodes if wanted.lower() in node.fqdn
    ]
    if len(found) == 1:
        return found[0]
    told = ", ".join(node.fqdn for node in found or nodes)
    raise input_error(
        f"{wanted!r} names {'several nodes' if found else 'no node'}", f"name one of: {told}"
    )
