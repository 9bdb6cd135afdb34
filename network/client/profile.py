"""From a network file and `Organization/user` to an endpoint and a signer.

Everything is found by the topology and Fabric's own folder layout under `.medfabric/<network>`,
whichever engine runs the nodes.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from network.client.endpoint import Endpoint
from network.client.errors import ProfileError
from network.client.rest import RestEndpoint
from network.client.wallet import NETWORK_FOLDER, Member, Wallet
from network.rules.identity.identity import Signer
from network.topology.folders import Folders
from network.topology.model import load_topology
from network.topology.values import Node, NodeKind, Organization, Topology

OPERATOR = "Admin"


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything a client needs to act as somebody on a network.

    Attributes:
        identity: `Organization/user`, as found.
        organization: the organisation.
        signer: who signs.
        endpoint: the gateway peer: the organisation's first, or for an organisation without
            peers the first of the network.
    """

    identity: str
    organization: Organization
    signer: Signer
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A network as seen from this machine.

    Attributes:
        topology: the network file's values.
        folder: the network's folder, `.medfabric/<network>` beside the file.
        file: the network file.
    """

    topology: Topology
    folder: Path
    file: Path

    @property
    def wallet(self) -> Wallet:
        """The identities whose keys are here."""
        return Wallet(
            tuple(
                Member(one.name, one.msp_id, one.domain, self.folders.organization(one))
                for one in self.topology.organizations
            )
        )

    @property
    def operator_name(self) -> str:
        """The administrator of the first organisation with a peer: who looks after the network."""
        owner = next(
            (one for one in self.topology.organizations if one.peers),
            self.topology.organizations[0],
        )
        return f"{owner.name}/{OPERATOR}"

    @property
    def folders(self) -> Folders:
        """Where keys and certificates lie."""
        return Folders(self.folder)

    def signer(self, identity: str) -> Signer:
        """Who signs as `Organization/user`.

        Raises:
            ProfileError: no such identity, or its key cannot be read.
            IdentityExpiredError: its certificate is not valid now.
        """
        return self.wallet.open(identity)

    def profile(self, identity: str) -> Profile:
        """Everything to act as `Organization/user`; raises as `signer`."""
        found = self.wallet.find(identity)
        organization = self.topology.organization(found.organization)
        peers = self.nodes(NodeKind.PEER, organization) or self.nodes(NodeKind.PEER)
        if not peers:
            raise ProfileError("the network has no peer to talk to", "add one to the network file")
        return Profile(
            found.name, organization, self.wallet.open(found.name), self.endpoint(peers[0])
        )

    def nodes(self, kind: NodeKind, organization: Organization | None = None) -> list[Node]:
        """The nodes of a kind, of all organisations or of one."""
        return [
            node
            for node in self.topology.nodes()
            if node.kind is kind
            and (organization is None or node.organization.name == organization.name)
        ]

    def endpoint(self, node: Node) -> Endpoint:
        """Where a peer or orderer serves gRPC.

        Raises:
            ProfileError: its organisation's TLS root is not here; the network was never up.
        """
        try:
            root = self.folders.tls_root(node.organization).read_bytes()
        except FileNotFoundError as failure:
            raise ProfileError(
                f"network {self.topology.name} has no certificates yet",
                "bring it up with: medfabric network up",
            ) from failure
        return Endpoint(node.address, root, node.fqdn)

    def admin_endpoint(self, orderer: Node) -> RestEndpoint:
        """An orderer's channel participation interface, called as its organisation's admin."""
        organization = orderer.organization
        tls = self.folders.user_tls(organization, OPERATOR)
        return RestEndpoint(
            f"{orderer.host}:{orderer.admin_port}",
            self.folders.tls_root(organization),
            tls / "client.crt",
            tls / "client.key",
        )

    def operations_endpoint(self, node: Node) -> RestEndpoint:
        """A node's health and metrics interface."""
        return RestEndpoint(f"{node.host}:{node.operations_port}", timeout=5.0)


def load_surroundings(network: str | os.PathLike[str]) -> Surroundings:
    """A network file and its folder.

    Raises:
        ProfileError: there is no such file.
        TopologyError: it is not valid; tells every mistake.
    """
    path = Path(network)
    if not path.is_file():
        raise ProfileError(f"{path}: no such network file", "write one: medfabric network init")
    topology = load_topology(path, os.environ.get("MEDFABRIC_ENVIRONMENT"))
    file = path.resolve()
    return Surroundings(topology, file.parent / NETWORK_FOLDER / topology.name, file)


def load_profile(network: str | os.PathLike[str], identity: str) -> Profile:
    """Everything to act as `Organization/user` on the network of a file.

    Raises:
        ProfileError: no such file, organisation, identity or key.
        IdentityExpiredError: the certificate is not valid now.
    """
    return load_surroundings(network).profile(identity)
