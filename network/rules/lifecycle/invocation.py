"""What an invocation of `_lifecycle` stands on: the peer's packages, and a channel's state.

Source: core/chaincode/lifecycle/scc.go (Invocation).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.states import OrgState, PublicState
from network.rules.state.recorder import Recorder


@dataclass(frozen=True, slots=True)
class InstalledChaincode:
    """A package in the peer's store; `references` maps channel → (chaincode, version) using it."""

    package_id: str
    label: str
    references: Mapping[str, Sequence[tuple[str, str]]]


class ChaincodeStore(Protocol):
    """The peer's installed packages."""

    def install(self, package: bytes) -> InstalledChaincode:
        """Store a package. Raises LifecycleError, also when it is installed already."""
        ...

    def get(self, package_id: str) -> InstalledChaincode | None:
        """Return what is installed under the id, or None."""
        ...

    def load(self, package_id: str) -> bytes | None:
        """Return the package's bytes, or None."""
        ...

    def list(self) -> Sequence[InstalledChaincode]:
        """Return everything installed."""
        ...


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What lifecycle must know of a channel's configuration.

    `msp_ids` are the application organisations, `msps` the channel's MspManager.
    """

    channel_id: str
    msp_ids: tuple[str, ...]
    msps: Any
    has_default_endorsement: bool = True


@dataclass(frozen=True, slots=True)
class Invocation:
    """One invocation: the peer's organisation, its packages and, on a channel, a recorder."""

    msp_id: str
    store: ChaincodeStore | None = None
    recorder: Recorder | None = None
    channel: ChannelFacts | None = None

    def public(self) -> PublicState:
        """Return the public lifecycle state. Raises LifecycleError without a channel."""
        return PublicState(self._recorder())

    def own(self) -> OrgState:
        """Return the state of the peer's own organisation."""
        return OrgState(self._recorder(), self.msp_id)

    def orgs(self) -> list[OrgState]:
        """Return the state of every organisation of the channel; only hashes can be read."""
        return [OrgState(self._recorder(), msp_id) for msp_id in self.facts().msp_ids]

    def facts(self) -> ChannelFacts:
        """Return the channel's facts. Raises LifecycleError without a channel."""
        if self.channel is None:
            raise LifecycleError("no application config for channel ''")
        return self.channel

    def packages(self) -> ChaincodeStore:
        """Return the store of packages. Raises LifecycleError where there is none."""
        if self.store is None:
            raise LifecycleError("no chaincode packages are kept here")
        return self.store

    def _recorder(self) -> Recorder:
        if self.recorder is None:
            raise LifecycleError("invalid channel-less operation")
        return self.recorder
