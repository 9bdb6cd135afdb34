"""What chaincode is installed on this peer, and the living links to it.

Packages lie in `<fileSystemPath>/lifecycle/chaincodes/<label>.<hash>.tar.gz`, as Fabric keeps them.
A link is opened when a transaction first needs it and again after it was lost.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from network.node.endorsing.chaincode_link import ChaincodeLink, LaunchFailed
from network.rules.endorsement.chaincode_talk import Features
from network.rules.lifecycle.package import (
    BadPackage,
    ChaincodePackage,
    Connection,
    compute_package_id,
    get_indexes,
    open_connection,
    open_package,
)

log = logging.getLogger("lifecycle")

_SUFFIX = ".tar.gz"


class PackageNotFound(LookupError):
    """No package of that id is installed; the text is Fabric's."""

    def __init__(self, package_id: str) -> None:
        super().__init__(f"chaincode install package '{package_id}' not found")


class DuplicateChaincode(ValueError):
    """A chaincode of that name is connected already; the text is Fabric's."""

    def __init__(self, name: str) -> None:
        super().__init__(f"duplicate chaincodeID: {name}")


@dataclass(frozen=True, slots=True)
class Installed:
    """An installed package, without its code."""

    label: str
    package_id: str


class PackageStore:
    """The installed packages, on disk."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        """`variables` fill `{{.name}}` in connection.json."""
        self._folder = folder
        self._variables = variables
        self._installed: dict[str, Installed] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            label, _, digest = path.name.removesuffix(_SUFFIX).rpartition(".")
            package_id = f"{label}:{digest}"
            self._installed[package_id] = Installed(label, package_id)

    @property
    def installed(self) -> tuple[Installed, ...]:
        """Every installed package, by id."""
        return tuple(self._installed[name] for name in sorted(self._installed))

    def has(self, package_id: str) -> bool:
        """Whether the package is installed."""
        return package_id in self._installed

    def get(self, package_id: str) -> Installed:
        """The installed package; raises PackageNotFound."""
        try:
            return self._installed[package_id]
        except KeyError:
            raise PackageNotFound(package_id) from None

    def read(self, package_id: str) -> bytes:
        """The package file as installed; raises PackageNotFound."""
        self.get(package_id)
        return self._path(package_id).read_bytes()

    def install(self, raw: bytes) -> Installed:
        """The package is on disk and can be approved and called.

        Raises:
            BadPackage: it is no chaincode-as-a-service package, or is installed already.
        """
        try:
            package = open_package(raw)
        except BadPackage as error:
            raise BadPackage(f"could not parse as a chaincode install package: {error}") from None
        if package.package_id in self._installed:
            raise BadPackage(
                f"chaincode already successfully installed (package ID '{package.package_id}')"
            )
        try:
            open_connection(package, self._variables)
        except BadPackage as error:
            raise BadPackage(f"could not build chaincode: {error}") from None
        path = self._path(package.package_id)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        installed = Installed(package.label, package.package_id)
        self._installed[package.package_id] = installed
        log.info("Successfully installed chaincode with package ID '%s'", package.package_id)
        return installed

    def connection(self, package_id: str) -> Connection:
        """Where the package's chaincode listens.

        Raises:
            PackageNotFound: it is not installed.
            BadPackage: the file on disk is damaged, or its variables are no longer set.
        """
        return open_connection(self._open(package_id), self._variables)

    def indexes(self, package_id: str) -> dict[str, bytes]:
        """The package's index definitions; raises as `connection` does."""
        return get_indexes(self._open(package_id))

    def _open(self, package_id: str) -> ChaincodePackage:
        raw = self.read(package_id)
        package = open_package(raw)
        if compute_package_id(package.label, raw) != package_id:
            raise BadPackage(f"the file of package '{package_id}' is damaged; install it again")
        return package

    def _path(self, package_id: str) -> Path:
        label, _, digest = package_id.partition(":")
        return self._folder / f"{label}.{digest}{_SUFFIX}"


class ChaincodeRegistry:
    """The living links, at most one a package."""

    def __init__(self, packages: PackageStore, features: Features, startup_timeout: float) -> None:
        self.packages = packages
        self._features = features
        self._startup_timeout = startup_timeout
        self._links: dict[str, asyncio.Task[ChaincodeLink]] = {}

    async def link(self, package_id: str) -> ChaincodeLink:
        """The link to the package's chaincode, opened now if there is none.

        Raises:
            LaunchFailed: the chaincode cannot be reached; the next call tries again.
        """
        task = self._links.get(package_id)
        if task is None or _is_over(task):
            task = asyncio.create_task(self._open(package_id))
            self._links[package_id] = task
        try:
            # Shielded: other transactions wait for the same launch.
            return await asyncio.shield(task)
        except LaunchFailed as failure:
            raise LaunchFailed(f"could not launch chaincode {package_id}: {failure}") from None

    def accept(self, name: str, link: ChaincodeLink) -> None:
        """The link of a chaincode that has dialled in serves the package `name`.

        Raises:
            DuplicateChaincode: another one does.
        """
        task = self._links.get(name)
        # A launch under way has no chaincode yet; its callers see it fail, and the next ones this.
        if task is not None and task.done() and not _is_over(task):
            raise DuplicateChaincode(name)
        self._links[name] = asyncio.create_task(link.wait_ready())

    async def close(self) -> None:
        """Every link is closed."""
        tasks = list(self._links.values())
        self._links.clear()
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is None:
                await task.result().close()
            else:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _open(self, package_id: str) -> ChaincodeLink:
        try:
            connection = self.packages.connection(package_id)
        except (PackageNotFound, BadPackage, OSError) as error:
            raise LaunchFailed(f"error building chaincode: {error}") from error
        link = await ChaincodeLink.open(
            package_id, connection, self._features, self._startup_timeout
        )
        log.info("chaincode %s is ready", package_id)
        return link


def read_builder_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG defines for connection.json templates."""
    text = environment.get("CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG", "")
    try:
        values = json.loads(text) if text else {}
    except ValueError:
        log.warning("CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG is not JSON and is ignored")
        return {}
    return {str(k): str(v) for k, v in values.items()} if isinstance(values, dict) else {}


def _is_over(task: asyncio.Task[ChaincodeLink]) -> bool:
    if not task.done():
        return False
    return task.cancelled() or task.exception() is not None or task.result().closed.is_set()
