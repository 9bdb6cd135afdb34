"""Which engine runs a network: the one that its topology names."""

from network.client.profile import Surroundings
from network.engines.embedded import EmbeddedEngine
from network.engines.engine import Engine, EngineError
from network.topology.values import Engine as EngineName


def open_engine(surroundings: Surroundings) -> Engine:
    """The engine that the topology names.

    Raises:
        EngineError: there is no such engine here.
    """
    if surroundings.topology.engine is EngineName.EMBEDDED:
        return EmbeddedEngine(surroundings)
    raise EngineError(
        f"engine {surroundings.topology.engine.value!r} is not available yet",
        "set engine: embedded in the network file",
    )
