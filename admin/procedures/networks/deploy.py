"""Deploy a chaincode by Fabric's lifecycle: install, approve, commit. Nothing is done twice."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from network.client import Gateway, lifecycle
from network.client.errors import CommitError, GatewayError
from network.client.lifecycle import Collection, Definition
from network.client.peer import PeerClient
from network.client.profile import OPERATOR, Surroundings
from network.client.retry import Retry
from network.rules.lifecycle.package import compute_package_id
from network.topology.values import Chaincode, Channel, Node, NodeKind

Say = Callable[[str], None]

CATCH_UP = 60.0  # seconds for peers to learn of each other and of what was committed


@dataclass(frozen=True, slots=True)
class Package:
    """What an organisation's peers install.

    Attributes:
        label: the package's label.
        content: its bytes.
    """

    label: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deployment did.

    Attributes:
        chaincode: the chaincode's name.
        version: its version.
        sequence: the definition's sequence.
        installed: peers that newly installed the package.
        approved: organisations that newly approved.
        committed: whether the definition was newly committed.
    """

    chaincode: str
    version: str
    sequence: int
    installed: tuple[str, ...]
    approved: tuple[str, ...]
    committed: bool

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.installed or self.approved or self.committed)


def build_definition(surroundings: Surroundings, chaincode: Chaincode) -> Definition:
    """The definition, at sequence 1, that the topology describes."""
    topology = surroundings.topology
    collections = []
    for spec in chaincode.collections:
        members = [topology.organization(name) for name in spec.members]
        others = sum(len(member.peers) for member in members) - 1
        maximum = spec.max_peer_count if spec.max_peer_count is not None else max(others, 0)
        collections.append(
            Collection(
                name=spec.name,
                members=tuple(member.msp_id for member in members),
                required_peers=spec.required_peer_count,
                maximum_peers=max(maximum, spec.required_peer_count),
                block_to_live=spec.block_to_live,
                member_only_read=spec.member_only_read,
                member_only_write=spec.member_only_write,
                endorsement=spec.endorsement or "",
            )
        )
    return Definition(
        name=chaincode.name,
        version=chaincode.version,
        sequence=1,
        endorsement=chaincode.endorsement or "",
        collections=tuple(collections),
        init_required=chaincode.init_required,
    )


async def deploy(
    surroundings: Surroundings,
    spec: Channel,
    definition: Definition,
    packages: Mapping[str, Package],
    say: Say,
) -> Deployed:
    """The definition is committed, and every member's peers have the package it approved.

    The sequence is the present one when nothing but packages differ, else the next.

    Args:
        surroundings: the network.
        spec: the channel.
        definition: what to deploy; its sequence does not matter.
        packages: what each organisation installs, by its name; one without only approves.
        say: told what is being done.

    Raises:
        ClientError: a step failed; those before it stay done and are not repeated.
    """
    members = [surroundings.topology.organization(name) for name in spec.members]
    async with AsyncExitStack() as stack:
        peers: dict[str, list[tuple[Node, PeerClient]]] = {}
        gateways: dict[str, Gateway] = {}
        for member in members:
            nodes = surroundings.nodes(NodeKind.PEER, member)
            if not nodes:
                continue
            signer = surroundings.signer(f"{member.name}/{OPERATOR}")
            peers[member.name] = [
                (
                    node,
                    await stack.enter_async_context(
                        PeerClient(surroundings.endpoint(node), signer)
                    ),
                )
                for node in nodes
            ]
            gateways[member.name] = await stack.enter_async_context(
                Gateway.connect(endpoint=surroundings.endpoint(nodes[0]), signer=signer)
            )
        return await _Deployment(spec.name, definition, packages, peers, gateways, say).run()


@dataclass(slots=True)
class _Deployment:
    channel_id: str
    definition: Definition
    packages: Mapping[str, Package]
    peers: Mapping[str, Sequence[tuple[Node, PeerClient]]]
    gateways: Mapping[str, Gateway]
    say: Say

    async def run(self) -> Deployed:
        name = self.definition.name
        packages, installed = await self._install()
        definition, is_committed = await self._place()
        approved = await self._approve(definition, packages, is_committed)
        if not is_committed:
            self.say(f"{name}: committing sequence {definition.sequence}")
            await self._commit(definition)
        return Deployed(
            name,
            definition.version,
            definition.sequence,
            tuple(installed),
            tuple(approved),
            not is_committed,
        )

    async def _install(self) -> tuple[dict[str, str], list[str]]:
        """Package ids by organisation, and the peers that did not have theirs."""

        async def install(organization: str, node: Node, peer: PeerClient) -> str:
            package = self.packages[organization]
            wanted = compute_package_id(package.label, package.content)
            ids[organization] = wanted
            if wanted in {one.package_id for one in await lifecycle.get_installed(peer)}:
                return ""
            self.say(f"{self.definition.name}: installing at {node.fqdn}")
            await lifecycle.install(peer, package.content, package.label)
            return node.fqdn

        ids: dict[str, str] = {}
        done = await asyncio.gather(
            *(
                install(organization, node, peer)
                for organization, known in self.peers.items()
                if organization in self.packages
                for node, peer in known
            )
        )
        return ids, [name for name in done if name]

    async def _place(self) -> tuple[Definition, bool]:
        """The definition with its sequence, and whether it is committed as it is."""
        peer = next(iter(self.peers.values()))[0][1]
        found = await lifecycle.get_committed(peer, self.channel_id, self.definition.name)
        if not found:
            return replace(self.definition, sequence=1), False
        present = found[0]
        if lifecycle.is_same(self.definition, present):
            return replace(self.definition, sequence=present.sequence), True
        return replace(self.definition, sequence=present.sequence + 1), False

    async def _approve(
        self, definition: Definition, packages: Mapping[str, str], is_committed: bool
    ) -> list[str]:
        """The organisations that had not approved this, or with another package."""
        approvals: dict[str, bool] = {}
        peer = next(iter(self.peers.values()))[0][1]
        if not is_committed:
            readiness = await lifecycle.get_readiness(peer, self.channel_id, definition)
            approvals.update(readiness.approvals)
        approved = []
        for organization, gateway in self.gateways.items():
            own = self.peers[organization][0]
            wanted = packages.get(organization)
            known = await lifecycle.get_approved_package(
                own[1], self.channel_id, definition.name, definition.sequence
            )
            is_approved = is_committed or approvals.get(own[0].organization.msp_id, False)
            if is_approved and known == wanted:
                continue
            self.say(f"{definition.name}: {organization} approves sequence {definition.sequence}")
            # One after the other: each is committed before the next, so that none conflicts.
            await lifecycle.approve(gateway, self.channel_id, definition, wanted)
            approved.append(organization)
        return approved

    async def _commit(self, definition: Definition) -> None:
        """The definition is committed, endorsed by every organisation that approved."""
        organization, gateway = next(iter(self.gateways.items()))
        peer = self.peers[organization][0][1]
        wanted = {self.peers[name][0][0].organization.msp_id for name in self.gateways}
        waits = Retry(attempts=100, first_delay=0.05, longest_delay=1.0)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CATCH_UP
        attempt = 1
        while True:
            # The last approval may not have reached every peer yet, nor every peer the gateway.
            readiness = await lifecycle.get_readiness(peer, self.channel_id, definition)
            if not wanted <= set(readiness.approved_by) and loop.time() < deadline:
                # With the endorsements of those alone that it knows of, the ledger would refuse.
                await asyncio.sleep(waits.delay(attempt, 0.5))
                attempt += 1
                continue
            try:
                await lifecycle.commit(gateway, self.channel_id, definition, readiness.approved_by)
                return
            except GatewayError as failure:
                if failure.stage != "endorse" or loop.time() > deadline:
                    raise
            except CommitError as failure:
                # A peer that endorsed was a block behind: it had read approvals as they were.
                if failure.code_name != "MVCC_READ_CONFLICT" or loop.time() > deadline:
                    raise
            await asyncio.sleep(waits.delay(attempt, 0.5))
            attempt += 1
