"""Bring a whole network up: nodes, channels, chaincodes, and what the chaincode must know first."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from admin.procedures.care.directory import bootstrap_directory
from admin.procedures.care.exchanges import prepare_exchanges
from admin.procedures.networks.deploy import Deployed
from admin.procedures.networks.deployment import deploy_channel
from admin.procedures.networks.join import join_channel
from network.client.profile import Surroundings
from network.engines.engine import Engine
from network.engines.processplan import Service
from network.topology.values import Channel

Say = Callable[[str], None]

HEALTH = "health"


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """What bringing a network up did.

    Attributes:
        network: its name.
        seconds: how long it took.
        nodes: how many nodes run.
        joined: nodes that newly joined a channel, as `channel: node`.
        deployed: what was deployed, also where nothing was left to do.
    """

    network: str
    seconds: float
    nodes: int
    joined: tuple[str, ...]
    deployed: tuple[Deployed, ...]


async def bootstrap(engine: Engine, say: Say, *, timeout: float) -> Bootstrapped:
    """The network is up and its chaincodes answer; what was done before is left as it is.

    Args:
        engine: the network's engine.
        say: told what is being done.
        timeout: seconds to wait for the nodes to come up.

    Raises:
        EngineError: the nodes could not be brought up.
        ClientError: a node refused a step; those before it stay done.
    """
    begin = time.monotonic()
    surroundings = engine.surroundings
    await engine.up(say, timeout=timeout)
    joined: list[str] = []
    deployed: list[Deployed] = []
    services: list[Service] = []
    for channel in surroundings.topology.channels:
        block = engine.genesis_block(channel.name)
        names = await join_channel(surroundings, channel, block, say)
        joined += [f"{channel.name}: {name}" for name in names]
        deployed += await deploy_channel(engine, channel, say)
        if any(chaincode.name == HEALTH for chaincode in channel.chaincodes):
            await _bootstrap_health(surroundings, channel, say)
            if not services:  # an exchange serves one channel, the first that has the chaincode
                services = await prepare_exchanges(surroundings, surroundings.file, channel, say)
    if services:
        say("starting the record exchanges")
        await engine.serve(services, timeout=timeout)
    return Bootstrapped(
        surroundings.topology.name,
        time.monotonic() - begin,
        len(engine.names()),
        tuple(joined),
        tuple(deployed),
    )


async def _bootstrap_health(surroundings: Surroundings, channel: Channel, say: Say) -> None:
    """The health chaincode knows the channel's organisations and their roles."""
    say("telling the directory its organisations")
    await bootstrap_directory(surroundings, channel)
