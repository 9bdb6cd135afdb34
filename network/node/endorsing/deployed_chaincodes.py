"""Which chaincodes a channel has defined, and whether this peer may endorse for them.

A peer endorses for a chaincode when the channel has committed its definition, its own organisation
has approved exactly that, and the approved package is installed here. Source:
core/chaincode/lifecycle/{cache,endorsement_info}.go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from network.rules.lifecycle.definitions import (
    DEFINITION_TYPE,
    PARAMETERS_TYPE,
    ChaincodeDefinition,
    get_definition,
    private_name,
    read_package_id,
)
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.states import OrgState, PublicState
from network.rules.lifecycle.structures import NAMESPACES, find_mismatches, get_all_metadata
from network.rules.state.recorder import Recorder, SimulationError
from network.rules.state.snapshot import Snapshot

_KEPT = 256
"""Answers remembered per peer."""


class NotEndorsable(Exception):
    """This peer cannot endorse for the chaincode; the text is Fabric's."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A committed definition and what this peer has of it."""

    definition: ChaincodeDefinition
    approved: bool
    package_id: str
    """Of the package that this peer's organisation approved; "" if none is installed here."""


class DeployedChaincodes:
    """Looks definitions up in snapshots; answers are remembered until something changes them."""

    def __init__(
        self,
        msp_id: str,
        is_installed: Callable[[str], bool],
        get_lifecycle_height: Callable[[str], int],
        *,
        development: bool = False,
    ) -> None:
        """`get_lifecycle_height`: the height of a channel since which no block has touched
        definitions and approvals (`network.node.ledger.ledger.Ledger.lifecycle_height`). In
        `development`, `name:version` stands for a package that is not installed."""
        self._msp_id = msp_id
        self._is_installed = is_installed
        self._get_lifecycle_height = get_lifecycle_height
        self._development = development
        self._found: dict[tuple[str, int, str], Deployed | None] = {}

    def forget(self) -> None:
        """Answers are looked up anew: something was installed."""
        self._found.clear()

    def find(self, channel_id: str, snapshot: Snapshot, name: str) -> Deployed | None:
        """The chaincode as of the snapshot, or None if the channel has not defined it."""
        since = self._get_lifecycle_height(channel_id)
        key = (channel_id, since, name)
        if snapshot.height < since:
            return self._look_up(snapshot, name)
        if key in self._found:
            return self._found[key]
        found = self._look_up(snapshot, name)
        if found is None or found.package_id:
            # Without a package the answer changes as soon as missing private data comes.
            if len(self._found) >= _KEPT:
                self._found.clear()
            self._found[key] = found
        return found

    def get_endorsable(self, channel_id: str, snapshot: Snapshot, name: str) -> Deployed:
        """The chaincode, which this peer can run.

        Raises:
            NotEndorsable: it cannot.
        """
        deployed = self.find(channel_id, snapshot, name)
        if deployed is None:
            raise NotEndorsable(f"chaincode {name} not found")
        if not deployed.approved:
            raise NotEndorsable(
                f"chaincode definition for '{name}' at sequence {deployed.definition.sequence} "
                f"on channel '{channel_id}' has not yet been approved by this org"
            )
        if not deployed.package_id:
            raise NotEndorsable(
                f"chaincode definition for '{name}' exists, but chaincode is not installed"
            )
        return deployed

    def list(self, channel_id: str, snapshot: Snapshot) -> dict[str, Deployed]:
        """Every chaincode that the channel has defined, by name."""
        metadata = get_all_metadata(PublicState(Recorder(snapshot)))
        names = [name for name, entry in metadata.items() if entry.datatype == DEFINITION_TYPE]
        found = {name: self.find(channel_id, snapshot, name) for name in names}
        return {name: deployed for name, deployed in found.items() if deployed is not None}

    def _look_up(self, snapshot: Snapshot, name: str) -> Deployed | None:
        scratch = Recorder(snapshot)  # what it records is thrown away
        try:
            definition = get_definition(PublicState(scratch), name)
        except LifecycleError:
            return None
        if definition is None:
            return None
        own = OrgState(scratch, self._msp_id)
        approval = private_name(name, definition.sequence)
        differences = find_mismatches(
            own, NAMESPACES, approval, PARAMETERS_TYPE, definition.parameters()
        )
        try:
            package_id = read_package_id(own, approval)
        except (LifecycleError, SimulationError):
            package_id = ""  # another peer approved, and its private data has not come yet
        if not package_id or not self._is_installed(package_id):
            package_id = f"{name}:{definition.version}" if self._development else ""
        return Deployed(definition, not differences, package_id)
