"""What a command knows about its surroundings: which network, who acts, how to print.

Nothing is read before it is asked for, so that `--help` works anywhere and at once.
"""

import asyncio
import os
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from admin.errors import input_error, usage_error
from admin.output import Output

if TYPE_CHECKING:
    from network.client import Gateway
    from network.client.profile import Profile, Surroundings
    from network.client.wallet import Wallet
    from network.topology.values import Topology

Result = TypeVar("Result")

NETWORK_FILE = "network.yaml"
NETWORK_VARIABLE = "MEDFABRIC_NETWORK"
IDENTITY_VARIABLE = "MEDFABRIC_IDENTITY"
CHOSEN = "identity"  # the file in the network's folder that `identity use` writes


@dataclass
class Context:
    """One run of the program.

    Attributes:
        network: what `--network` said.
        identity: what `--as` said.
        json: whether `--json` was given.
        quiet: whether `-q` was given.
        verbose: whether `-v` was given.
    """

    network: str | None = None
    identity: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    _told: set[str] = field(default_factory=set)

    @property
    def output(self) -> Output:
        """Where results, notes and progress go."""
        return Output(json=self.json, quiet=self.quiet, verbose=self.verbose)

    @cached_property
    def network_path(self) -> Path:
        """The network file: `--network`, MEDFABRIC_NETWORK, or network.yaml here or above.

        Raises:
            FaultError: there is none.
        """
        named = self.network or os.environ.get(NETWORK_VARIABLE)
        if named:
            path = Path(named)
            if path.is_dir():
                path = path / NETWORK_FILE
            if not path.is_file():
                raise input_error(
                    "no such network file", "write one with: medfabric network init", str(path)
                )
            return path
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / NETWORK_FILE).is_file():
                return folder / NETWORK_FILE
        raise usage_error(
            f"there is no {NETWORK_FILE} here or above",
            "name one with --network PATH, or write one with: medfabric network init",
        )

    @cached_property
    def surroundings(self) -> "Surroundings":
        """The network's topology, folder and identities.

        Raises:
            FaultError: there is no network file.
            TopologyError: it is not valid.
        """
        from network.client.profile import load_surroundings

        found = load_surroundings(self.network_path)
        self._tell("network", f"network {found.topology.name} ({self.network_path})")
        return found

    @property
    def topology(self) -> "Topology":
        """The network file's values."""
        return self.surroundings.topology

    @property
    def folder(self) -> Path:
        """The network's folder, `.medfabric/<network>` beside the file."""
        return self.surroundings.folder

    @property
    def wallet(self) -> "Wallet":
        """The identities on this machine."""
        return self.surroundings.wallet

    def identity_name(self, *, default: str | None = None) -> str:
        """Who acts: `--as`, MEDFABRIC_IDENTITY, what `identity use` chose, else the default.

        Raises:
            FaultError: nobody was named and there is no default.
        """
        named = self.identity or os.environ.get(IDENTITY_VARIABLE) or self._chosen() or default
        if named:
            return named
        names = ", ".join(one.name for one in self.wallet.identities()[:6])
        raise usage_error(
            "nobody was named to act as",
            f"name one with --as ORG/USER{f'; here are: {names}' if names else ''}",
        )

    def profile(self, *, default: str | None = None) -> "Profile":
        """Who acts, with signer and gateway.

        Raises:
            FaultError: nobody was named.
            ProfileError: no such identity, or its key cannot be read.
            IdentityExpiredError: its certificate is not valid now.
        """
        found = self.surroundings.profile(self.identity_name(default=default))
        self._tell("identity", f"identity {found.identity} at {found.endpoint.address}")
        return found

    def operator(self) -> "Profile":
        """As `profile`; where nobody was named, the administrator of the first peer's
        organisation, who may read what an operator looks at.
        """
        return self.profile(default=self.surroundings.operator_name)

    def gateway(self, *, default: str | None = None) -> "Gateway":
        """A client in the name of who acts; close it, or use it with `async with`."""
        from network.client import Gateway

        profile = self.profile(default=default)
        return Gateway.connect(endpoint=profile.endpoint, signer=profile.signer)

    def channel(self, named: str | None) -> str:
        """The channel that was named, or the network's first.

        Raises:
            FaultError: the network has no such channel.
        """
        names = [channel.name for channel in self.topology.channels]
        if named is None and names:
            return names[0]
        if named in names and named is not None:
            return named
        raise input_error(
            f"the network has no channel {named!r}", f"its channels are: {', '.join(names)}"
        )

    def choose_identity(self, name: str) -> None:
        """From now on this identity acts where none is named (`identity use`)."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / CHOSEN).write_text(name + "\n")

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The coroutine's result, on a fresh event loop; Ctrl-C cancels it and is raised."""
        return asyncio.run(work)

    def _chosen(self) -> str | None:
        try:
            return (self.folder / CHOSEN).read_text().strip() or None
        except OSError:
            return None

    def _tell(self, subject: str, text: str) -> None:
        if subject not in self._told:
            self._told.add(subject)
            self.output.detail(text)
