"""Which engine runs a network: the one that its topology names."""

from network.client.profile import Surroundings
from network.engines.embedded import EmbeddedEngine
from network.engines.engine import Engine, EngineError
from network.engines.fabric import FabricEngine
from network.topology.values import Engine as EngineName
from network.topology.values import Runtime


def open_engine(surroundings: Surroundings) -> Engine:
    """The engine that the topology names.

    Raises:
        EngineError: there is no such engine here.
    """
    topology = surroundings.topology
    if topology.engine is EngineName.EMBEDDED:
        return EmbeddedEngine(surroundings)
    if topology.runtime is not Runtime.PROCESS:
        raise EngineError(
            f"runtime {topology.runtime.value!r} is not available yet",
            "set runtime: process in the network file: Fabric's programs then run on this machine",
        )
    return FabricEngine(surroundings)
