"""`_lifecycle`: authorises, finds the facts, and lets `rules.lifecycle.calls` decide and write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from fabric_protos.peer import proposal_response_pb2

from network.node.endorsing.acl import AccessControl, AccessDenied
from network.node.endorsing.chaincode_registry import Installed, PackageNotFound, PackageStore
from network.node.endorsing.deployed_chaincodes import DeployedChaincodes
from network.node.endorsing.execution import Transaction
from network.node.endorsing.system_chaincodes import build_failure, build_success, get_signed_data
from network.node.ledger.channel import PeerChannel
from network.rules.lifecycle import calls as lifecycle
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.invocation import ChannelFacts, InstalledChaincode, Invocation
from network.rules.lifecycle.package import BadPackage
from network.rules.policy.manager import ENDORSEMENT
from network.rules.state.recorder import SimulationError

References = dict[str, dict[str, list[tuple[str, str]]]]
"""Package id → channel → (chaincode, version) of the definitions that run the package."""


class JoinedChannels(Protocol):
    """The peer's channels."""

    @property
    def joined(self) -> Iterable[PeerChannel]:
        """Every channel."""
        ...


class InstalledPackages:
    """The package store as `rules.lifecycle.calls` sees it, with where each package is used."""

    def __init__(
        self, packages: PackageStore, deployed: DeployedChaincodes, channels: JoinedChannels
    ) -> None:
        self._packages = packages
        self._deployed = deployed
        self._channels = channels

    def install(self, package: bytes) -> InstalledChaincode:
        """The package is stored; raises LifecycleError."""
        try:
            installed = self._packages.install(package)
        except BadPackage as error:
            raise LifecycleError(str(error)) from None
        except OSError as error:
            raise LifecycleError(f"could not save cc install package: {error.strerror}") from error
        return self._describe(installed, {})

    def get(self, package_id: str) -> InstalledChaincode | None:
        """What is installed under the id, or None."""
        try:
            installed = self._packages.get(package_id)
        except PackageNotFound:
            return None
        return self._describe(installed, self._list_references())

    def load(self, package_id: str) -> bytes | None:
        """The package's bytes, or None."""
        try:
            return self._packages.read(package_id)
        except (PackageNotFound, OSError):
            return None

    def list(self) -> Sequence[InstalledChaincode]:
        """Everything installed."""
        references = self._list_references()
        return [self._describe(installed, references) for installed in self._packages.installed]

    def _describe(
        self,
        installed: Installed,
        references: References,
    ) -> InstalledChaincode:
        used = references.get(installed.package_id, {})
        return InstalledChaincode(installed.package_id, installed.label, used)

    def _list_references(self) -> References:
        references: References = {}
        for channel in self._channels.joined:
            with channel.snapshot() as snapshot:
                deployed = self._deployed.list(channel.channel_id, snapshot)
            for name, found in deployed.items():
                if found.package_id and found.approved:
                    used = references.setdefault(found.package_id, {})
                    used.setdefault(channel.channel_id, []).append((name, found.definition.version))
        return references


class LifecycleChaincode:
    """`_lifecycle`."""

    def __init__(
        self,
        msp_id: str,
        access: AccessControl,
        store: InstalledPackages,
        when_installed: Callable[[], None] = lambda: None,
    ) -> None:
        self._msp_id = msp_id
        self._access = access
        self._store = store
        self._when_installed = when_installed

    async def invoke(
        self, args: tuple[bytes, ...], transaction: Transaction
    ) -> proposal_response_pb2.Response:
        """The result of one lifecycle function, marshalled."""
        if not args:
            return build_failure("lifecycle scc must be invoked with arguments")
        if len(args) != 2:
            return build_failure(
                f"lifecycle scc operations require exactly two arguments but received {len(args)}"
            )
        channel, function = transaction.channel, args[0].decode(errors="replace")
        if channel is not None and not channel.config.capabilities.lifecycle_v20:
            return build_failure(
                f"cannot use new lifecycle for channel '{channel.channel_id}' as it does not "
                "have the required capabilities enabled"
            )
        try:
            self._access.validate(
                f"_lifecycle/{function}", transaction.channel_id, get_signed_data(transaction)
            )
        except AccessDenied as denied:
            return build_failure(
                f"Failed to authorize invocation due to failed ACL check: {denied}"
            )
        call = Invocation(
            msp_id=self._msp_id,
            store=self._store,
            recorder=transaction.recorder,
            channel=_build_facts(channel) if channel is not None else None,
        )
        try:
            result = lifecycle.invoke(function, args[1], call)
        except LifecycleError as error:
            return build_failure(error.text, error.status)
        except SimulationError as error:
            return build_failure(
                f"failed to invoke backing implementation of '{function}': {error}"
            )
        if function == "InstallChaincode":
            self._when_installed()
        return build_success(result)


def _build_facts(channel: PeerChannel) -> ChannelFacts:
    config = channel.config
    return ChannelFacts(
        channel_id=channel.channel_id,
        msp_ids=tuple(org.msp_id for org in config.application_orgs.values()),
        msps=config.msps,
        has_default_endorsement=config.find_policy(ENDORSEMENT) is not None,
    )
