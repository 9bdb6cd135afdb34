"""Creates the indexes of a chaincode's package in the ledgers of the channels that run it.

As in Fabric: once a channel has committed the chaincode's definition and this peer's organisation
has approved it with a package that is installed here, whichever comes last. Files lie in
`META-INF/statedb/couchdb/indexes/` for public state and in `collections/<name>/indexes/` beside it.
Source: core/ledger/kvledger/txmgmt/privacyenabledstate/db.go fn HandleChaincodeDeploy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from network.node.endorsing.chaincode_registry import PackageNotFound, PackageStore
from network.node.endorsing.deployed_chaincodes import DeployedChaincodes
from network.node.ledger.channel import PeerChannel
from network.node.ledger.store import StoreError
from network.rules.lifecycle.package import BadPackage

log = logging.getLogger("statedb")

_PUBLIC = ("couchdb", "indexes")


class StateIndexes:
    """Follows deployments; the work is done in the background, one package after another."""

    def __init__(self, packages: PackageStore, deployed: DeployedChaincodes) -> None:
        self._packages = packages
        self._deployed = deployed
        self._done: set[tuple[str, str, str]] = set()
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, channels: Iterable[PeerChannel]) -> None:
        """The indexes of every chaincode deployed on the channels exist soon."""
        task = asyncio.create_task(self._follow(list(channels)), name="indexes")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """What is being built is finished; nothing more is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, channels: list[PeerChannel]) -> None:
        async with self._lock:
            for channel in channels:
                for name, package_id in self._list(channel):
                    place = (channel.channel_id, name, package_id)
                    if place not in self._done and await self._create(channel, name, package_id):
                        self._done.add(place)

    def _list(self, channel: PeerChannel) -> list[tuple[str, str]]:
        with channel.snapshot() as snapshot:
            found = self._deployed.list(channel.channel_id, snapshot)
        return [
            (name, deployed.package_id)
            for name, deployed in found.items()
            if deployed.approved and self._packages.has(deployed.package_id)
        ]

    async def _create(self, channel: PeerChannel, name: str, package_id: str) -> bool:
        try:
            files = await asyncio.to_thread(self._packages.indexes, package_id)
            for collection, indexes in group_index_files(files).items():
                if collection and channel.find_collection(name, collection) is None:
                    log.error(
                        "Error processing index for chaincode [%s]: cannot create an index for an"
                        " undefined collection=[%s]", name, collection,
                    )  # fmt: skip
                    continue
                await channel.ledger.define_indexes(name, collection, indexes)
        except (BadPackage, PackageNotFound, StoreError, OSError) as error:
            log.error("indexes of chaincode %s could not be created: %s", name, error)
            return False
        return True


def group_index_files(files: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """Collection ("" for public state) → file name → JSON; files elsewhere are left out."""
    grouped: dict[str, dict[str, bytes]] = {}
    for path, raw in files.items():
        *folder, name = path.split("/")
        if tuple(folder) == _PUBLIC:
            grouped.setdefault("", {})[name] = raw
        elif folder[:2] == ["couchdb", "collections"] and folder[3:] == ["indexes"]:
            grouped.setdefault(folder[2], {})[name] = raw
    return grouped
