"""Capabilities: which rules a channel's members have agreed to run.

Source: Fabric `common/capabilities/{channel,orderer,application}.go`. A capability does not imply
the ones before it being listed, but its rules include theirs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from network.rules.identity.msp import MspVersion

KNOWN_CHANNEL = frozenset({"V1_1", "V1_3", "V1_4_2", "V1_4_3", "V2_0", "V3_0"})
KNOWN_ORDERER = frozenset({"V1_1", "V1_4_2", "V2_0"})
KNOWN_APPLICATION = frozenset(
    {"V1_1", "V1_2", "V1_3", "V1_4_2", "V2_0", "V2_5", "V1_1_PVTDATA_EXPERIMENTAL"}
)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The capability names listed in the three groups of a channel configuration."""

    channel: frozenset[str] = frozenset()
    orderer: frozenset[str] = frozenset()
    application: frozenset[str] = frozenset()

    @property
    def msp_version(self) -> MspVersion:
        """The MSP rules in force."""
        for names, version in (
            (("V3_0",), MspVersion.V3_0),
            (("V2_0", "V1_4_3"), MspVersion.V1_4_3),
            (("V1_4_2", "V1_3"), MspVersion.V1_3),
            (("V1_1",), MspVersion.V1_1),
        ):
            if self.channel.intersection(names):
                return version
        return MspVersion.V1_0

    @property
    def bft(self) -> bool:
        """Channel V3_0: BFT and Ed25519 allowed, orderer endpoints per organisation only."""
        return "V3_0" in self.channel

    @property
    def org_orderer_endpoints(self) -> bool:
        """Whether orderer organisations may carry an Endpoints value."""
        return bool(self.channel & {"V1_4_2", "V1_4_3", "V2_0", "V3_0"})

    @property
    def consensus_type_migration(self) -> bool:
        """Whether the consensus type may change (in maintenance mode)."""
        return self.org_orderer_endpoints

    @property
    def acls(self) -> bool:
        """Whether the Application group may carry ACLs."""
        return bool(self.application & {"V1_2", "V1_3", "V1_4_2", "V2_0", "V2_5"})

    @property
    def lifecycle_v20(self) -> bool:
        """Whether chaincodes are defined by `_lifecycle` and validated by the v2.0 rules."""
        return bool(self.application & {"V2_0", "V2_5"})

    @property
    def purge_private_data(self) -> bool:
        """Whether PurgePrivateData is allowed."""
        return "V2_5" in self.application

    def unsupported(self) -> tuple[str, ...]:
        """Return the names that no Fabric up to 3.1 knows; a real peer stops at one."""
        unknown = [
            *_unknown("Channel", self.channel, KNOWN_CHANNEL),
            *_unknown("Orderer", self.orderer, KNOWN_ORDERER),
            *_unknown("Application", self.application, KNOWN_APPLICATION),
        ]
        return tuple(unknown)


def _unknown(kind: str, names: Iterable[str], known: frozenset[str]) -> list[str]:
    return [
        f"{kind} capability {name} is required but not supported"
        for name in sorted(names)
        if name not in known
    ]
