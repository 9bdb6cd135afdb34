"""From a network file and `Organization/user` to an endpoint and a signer."""

import os
from dataclasses import dataclass
from pathlib import Path

from network.client.endpoint import Endpoint
from network.client.errors import ProfileError
from network.client.wallet import NETWORK_FOLDER, Member, Wallet
from network.rules.identity import Signer
from network.topology.model import Topology, TopologyError, load_topology


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything a client needs to act as somebody on a network.

    Attributes:
        topology: the network file's values.
        folder: the network's folder, `.medfabric/<network>`.
        identity: `Organization/user`, as found.
        signer: who signs.
        endpoint: the gateway peer: the organisation's first.
    """

    topology: Topology
    folder: Path
    identity: str
    signer: Signer
    endpoint: Endpoint
