"""The embedded engine: our own nodes, on this machine."""

from network.engines.local import LocalEngine
from network.engines.nodefiles import write_node
from network.engines.processplan import NodeProcess
from network.topology.values import Node


class EmbeddedEngine(LocalEngine):
    """Runs a topology's nodes as our own programs."""

    preload = (
        "grpc.aio",
        "uvloop",
        "sqlite3",
        "cryptography.x509",
        "network.node.ordering.orderer",
        "network.node.peer.peer",
        "network.node.ca.service",
        "chaincode.shim.server",
    )

    def validate_programs(self) -> None:
        """They are part of this distribution."""

    def make_process(self, node: Node) -> NodeProcess:
        """See `LocalEngine`."""
        return write_node(self.layout, self.topology, node)
