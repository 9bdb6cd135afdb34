"""What the command line knows of an engine, and the values it tells.

An engine runs nodes and shows them. What is done to nodes after that (join a channel, deploy a
chaincode) goes over Fabric's protocols and belongs to no engine.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from network.client.profile import Surroundings
from network.engines.processplan import Service

Say = Callable[[str], None]


class EngineError(Exception):
    """The engine cannot do it; `remedy` says what a person can do.

    Attributes:
        remedy: one sentence, may be empty.
        details: further lines, such as the end of a node's log.
    """

    def __init__(self, message: str, remedy: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.details = details


class PortsTakenError(EngineError):
    """Addresses that the network needs are in use; nothing was written."""


class NotReadyError(EngineError):
    """Nodes did not come up in time."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """How one node is.

    Attributes:
        name: its full name.
        kind: `orderer`, `peer`, `ca`, `chaincode` or a service's kind.
        organization: whose it is.
        address: where it serves.
        state: `running`, `starting`, `waiting` to be started again, `stopped`, or `foreign` where
            another program answers at its address.
        healthy: what it says of itself, False when it does not answer; None when it was not asked
            or has no such page.
        heights: number of blocks by channel.
        pid: its process, where the engine knows one.
        restarts: how often it was started again.
        since: when it was last started.
        certificate_expires: when its TLS certificate ends.
        note: what is the matter, empty when nothing is.
    """

    name: str
    kind: str
    organization: str
    address: str
    state: str
    healthy: bool | None = None
    heights: Mapping[str, int] = field(default_factory=dict)
    pid: int | None = None
    restarts: int = 0
    since: datetime | None = None
    certificate_expires: datetime | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ServedChaincode:
    """A chaincode that an organisation's server runs, and the package its peers install.

    Attributes:
        organization: the organisation's name.
        name: the chaincode's name.
        label: the package's label.
        package: the package's bytes.
        package_id: what peers call it.
    """

    organization: str
    name: str
    label: str
    package: bytes = field(repr=False)
    package_id: str


class Engine(Protocol):
    """Runs the nodes of one network."""

    surroundings: Surroundings

    def validate(self) -> None:
        """The network can be brought up here; nothing is written.

        Raises:
            EngineError: a program that nodes run is missing or does not fit, or the network's
                folder holds another engine's ledgers.
            PortsTakenError: addresses are in use; tells all of them and which node needs each.
        """
        ...

    def plan(self) -> list[str]:
        """What `up` would do, a sentence each; empty when everything is done."""
        ...

    async def up(self, say: Say, *, timeout: float, retire: bool = True) -> None:
        """Every node runs and answers; what was done before stays.

        A node whose settings or certificates have changed since it started is started again.

        Args:
            say: told what is being done.
            timeout: seconds to wait for the nodes.
            retire: whether nodes that the topology names no more are stopped.

        Raises:
            PortsTakenError: before anything is written.
            NotReadyError: nodes did not come up; tells which and why.
        """
        ...

    async def serve(self, services: Sequence[Service], *, timeout: float) -> None:
        """These services, and no others, run beside the nodes and answer.

        Args:
            services: what to run; `up` keeps them afterwards.
            timeout: seconds to wait for them.

        Raises:
            PortsTakenError: addresses are in use.
            NotReadyError: one did not come up.
        """
        ...

    async def down(self, say: Say) -> bool:
        """No node runs; whether one did. Ledgers and keys stay."""
        ...

    def wipe(self) -> None:
        """Nothing of the network is left on this machine; it must be down."""
        ...

    async def restart(self, node: str) -> None:
        """One node was stopped and is started again.

        Raises:
            EngineError: there is no such node, or it does not run.
        """
        ...

    async def status(self) -> list[NodeStatus]:
        """Every node, in the topology's order."""
        ...

    def names(self) -> list[str]:
        """Every node and service, nodes first."""
        ...

    def log(self, node: str) -> Path:
        """A node's log.

        Raises:
            EngineError: there is no such node.
        """
        ...

    def genesis_block(self, channel_id: str) -> bytes:
        """A channel's first block."""
        ...

    def chaincodes(self) -> list[ServedChaincode]:
        """What the organisations' chaincode servers run."""
        ...

    def chaincode_environment(self, served: ServedChaincode) -> Mapping[str, str]:
        """What an organisation's chaincode server is told: address, package id, TLS files."""
        ...

    def lend_chaincode(
        self, organizations: Collection[str], *, timeout: float
    ) -> AbstractAsyncContextManager[None]:
        """Inside of it the caller serves these organisations' chaincode on the same addresses.

        Afterwards the organisations' own servers run again, unless the network was taken down.

        Args:
            organizations: their names.
            timeout: seconds to wait for servers to end and to run again.

        Raises:
            EngineError: the network is down, or an organisation's server does not run here.
            NotReadyError: a server did not come back.
        """
        ...
