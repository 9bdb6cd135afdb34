"""Make a running network as its file says, step by step.

Every step looks at the network anew, so that an interrupted run goes on where it stopped and a
second run does nothing. The order, and why: new certificates enter the channels before a node
starts with them; new nodes run before they are named in a channel, since Raft waits for a new
consenter; who leaves goes last, when chaincodes need them no more, and its nodes stop after that.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from admin.errors import FaultError, refused_error
from admin.procedures.care.directory import bootstrap_directory
from admin.procedures.care.exchanges import prepare_exchanges
from admin.procedures.networks.bootstrap import HEALTH
from admin.procedures.networks.configuration import find_reader
from admin.procedures.networks.deployment import deploy_channel
from admin.procedures.networks.expansion import await_peers, fetch_genesis
from admin.procedures.networks.join import join_channel
from admin.procedures.networks.membership import change_channel
from admin.procedures.networks.planning import get_proposal_file, plan_network
from network.client import channel as channels
from network.client import participation
from network.client.errors import GatewayError, NodeError, ProfileError
from network.client.orderer import OrdererClient
from network.client.profile import Surroundings
from network.engines.engine import Engine
from network.engines.processplan import Service
from network.rules.channel.config import ChannelConfig
from network.rules.identity.identity import Signer
from network.topology.materials import generate_materials
from network.topology.plan import ChannelUpdate, Phase, plan_channel
from network.topology.values import Channel, Node, NodeKind

Say = Callable[[str], None]

CATCH_UP = 60.0  # seconds for a new orderer to fetch the chain
PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a network file did.

    Attributes:
        network: the network's name.
        done: what was done, a sentence each; empty when nothing was left to do.
        notes: what else to know.
    """

    network: str
    done: tuple[str, ...]
    notes: tuple[str, ...]


async def apply_network(engine: Engine, say: Say, *, timeout: float) -> Applied:
    """The network is as its file says; what was so already is left alone.

    Args:
        engine: the network's engine.
        say: told what is being done.
        timeout: seconds to wait for nodes to come up.

    Raises:
        FaultError: the file asks for what is not possible, or signatures are missing: the change
            then lies in a file to be carried to those who must sign. Steps before it stay done.
        ClientError: a node refused a step.
        EngineError: nodes could not be brought up.
    """
    plan = await plan_network(engine)
    if plan.refusals:
        more = f" (and {len(plan.refusals) - 1} more)" if len(plan.refusals) > 1 else ""
        raise refused_error(plan.refusals[0] + more, "see them all: medfabric network plan")
    work = _Application(engine, say, timeout)
    await work.run()
    return Applied(engine.surroundings.topology.name, tuple(work.done), plan.notes)


class _Application:
    def __init__(self, engine: Engine, say: Say, timeout: float) -> None:
        self._engine = engine
        self._surroundings: Surroundings = engine.surroundings
        self._say = say
        self._timeout = timeout
        self.done: list[str] = []

    async def run(self) -> None:
        topology = self._surroundings.topology
        missing = [text for text in self._engine.plan() if text.startswith("make keys")]
        if missing:
            self._say("keys and certificates")
        # Also what follows from a CA certificate that was put beside an organisation's own.
        generate_materials(topology, self._surroundings.folder, datetime.now(UTC))
        self.done += missing
        known = [one for one in topology.channels if await self._is_known(one)]
        for channel in known:
            await self._update(channel, Phase.CERTIFY)
        await self._start_nodes(retire=False)
        for channel in topology.channels:
            if channel not in known and not await self._is_known(channel):
                self._say(f"creating channel {channel.name}")
                block = self._engine.genesis_block(channel.name)
                await join_channel(self._surroundings, channel, block, self._say)
                self.done.append(f"create channel {channel.name}")
            await self._update(channel, Phase.GROW)
            await self._join(channel)
        services = await self._deploy()
        for channel in topology.channels:
            await self._update(channel, Phase.SHRINK)
        await self._start_nodes(retire=True)
        await self._serve(services)

    async def _is_known(self, channel: Channel) -> bool:
        """Whether an orderer serves the channel now."""
        try:
            await find_reader(self._surroundings, channel.name)
        except (FaultError, GatewayError, ProfileError):
            return False
        return True

    async def _start_nodes(self, *, retire: bool) -> None:
        wanted = ("start ", "restart ") + (("stop ",) if retire else ())
        steps = [text for text in self._engine.plan() if text.startswith(wanted)]
        if steps or not retire:
            await self._engine.up(self._say, timeout=self._timeout, retire=retire)
        # Services are started by name afterwards; they are no nodes of the file.
        self.done += [text for text in steps if " exchange." not in text]

    async def _update(self, channel: Channel, phase: Phase) -> None:
        """Every update of the phase is in force, each planned on what the one before left."""
        while True:
            signer, config = await find_reader(self._surroundings, channel.name)
            update = self._find_update(channel, config, phase)
            if update is None:
                return
            self._say(f"channel {channel.name}: {update.text}")
            file = get_proposal_file(self._surroundings.folder, channel.name, config.sequence)
            await change_channel(
                self._surroundings, signer, channel.name, update.changes, file=file
            )
            self.done.append(f"{channel.name}: {update.text}")
            if phase is Phase.GROW:
                await self._join_consenters(channel, config, signer)

    def _find_update(
        self, channel: Channel, config: ChannelConfig, phase: Phase
    ) -> ChannelUpdate | None:
        topology, folder = self._surroundings.topology, self._surroundings.folder
        plan = plan_channel(topology, channel, folder, config)
        return next((one for one in plan.updates if one.phase is phase), None)

    async def _join_consenters(
        self, channel: Channel, before: ChannelConfig, signer: Signer
    ) -> None:
        """A new consenter joins at once: a Raft channel counts on it from its config block on."""
        present = {(one.host, one.port) for one in before.consenters}
        _, config = await find_reader(self._surroundings, channel.name)
        for one in config.consenters:
            if (one.host, one.port) in present:
                continue
            node = self._find_orderer(one.host, one.port)
            if node is not None:
                await self._join_orderer(channel, node, signer)

    async def _join_orderer(self, channel: Channel, node: Node, signer: Signer) -> None:
        admin = self._surroundings.admin_endpoint(node)
        if await participation.get_channel(admin, channel.name) is not None:
            return
        self._say(f"{node.fqdn} joins channel {channel.name}")
        block = await self._fetch_config_block(channel, node, signer)
        await participation.join(admin, block)
        height = await self._get_height(channel, node, signer)
        deadline = asyncio.get_running_loop().time() + CATCH_UP
        while True:
            found = await participation.get_channel(admin, channel.name)
            if found is not None and found.status == "active" and found.height >= height:
                break
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"{node.fqdn} did not catch up with channel {channel.name}")
            await asyncio.sleep(PAUSE)
        self.done.append(f"{channel.name}: join {node.fqdn} to it")

    async def _fetch_config_block(self, channel: Channel, but: Node, signer: Signer) -> bytes:
        block = await self._ask_orderers(channel, but, signer, "config")
        return bytes(block.SerializeToString(deterministic=True))

    async def _get_height(self, channel: Channel, but: Node, signer: Signer) -> int:
        return int((await self._ask_orderers(channel, but, signer, "newest")).header.number) + 1

    async def _ask_orderers(self, channel: Channel, but: Node, signer: Signer, which: str) -> Any:
        trouble: GatewayError | None = None
        for node in self._surroundings.nodes(NodeKind.ORDERER):
            if node == but:
                continue
            async with OrdererClient(self._surroundings.endpoint(node), signer) as orderer:
                try:
                    return await channels.fetch(orderer, channel.name, which)
                except GatewayError as failure:
                    trouble = failure
        raise trouble or NodeError("UNAVAILABLE", "there is no other orderer to ask")

    def _find_orderer(self, host: str, port: int) -> Node | None:
        orderers = self._surroundings.nodes(NodeKind.ORDERER)
        return next((node for node in orderers if (node.host, node.port) == (host, port)), None)

    async def _join(self, channel: Channel) -> None:
        genesis = await fetch_genesis(self._surroundings, channel.name)
        joined = await join_channel(self._surroundings, channel, genesis, self._say)
        if joined:
            self._say(f"{', '.join(joined)} catch up")
            await await_peers(self._surroundings, channel)
            self.done += [f"{channel.name}: join {name} to it" for name in joined]

    async def _deploy(self) -> Sequence[Service]:
        """Chaincodes as the file says, and the health chaincode's directory with them."""
        services: list[Service] = []
        surroundings = self._surroundings
        for channel in surroundings.topology.channels:
            for one in await deploy_channel(self._engine, channel, self._say):
                if one.changed:
                    text = f"chaincode {one.chaincode} {one.version}, sequence {one.sequence}"
                    self.done.append(f"{channel.name}: {text}")
            if any(chaincode.name == HEALTH for chaincode in channel.chaincodes):
                if await bootstrap_directory(surroundings, channel):
                    self.done.append(f"{channel.name}: the directory knows its organisations")
                if not services:
                    services = await prepare_exchanges(
                        surroundings, surroundings.file, channel, self._say
                    )
        return services

    async def _serve(self, services: Sequence[Service]) -> None:
        if services:
            await self._engine.serve(services, timeout=self._timeout)
