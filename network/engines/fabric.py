"""The engine of real Hyperledger Fabric: Fabric's own peers and orderers, on this machine.

The same network file, keys, channels and chaincode servers as with the embedded engine; peers and
orderers are Fabric's programs and order by Raft. CAs are ours with both: Fabric CA's REST face.
"""

from dataclasses import replace
from pathlib import Path

from network.engines import processplan
from network.engines.engine import EngineError
from network.engines.fabricprograms import (
    FabricPrograms,
    find_programs,
    validate_version,
    write_builder,
)
from network.engines.local import LocalEngine
from network.engines.nodefiles import write_node
from network.engines.processplan import NodeProcess
from network.topology.values import Node, NodeKind

ARGUMENTS = {NodeKind.PEER: ("node", "start"), NodeKind.ORDERER: ()}


class FabricEngine(LocalEngine):
    """Runs a topology's nodes as Fabric's own programs."""

    preload = ("uvloop", "cryptography.x509", "network.node.ca.service", "chaincode.shim.server")

    def validate_programs(self) -> None:
        """Fabric's programs are here, and new enough for the channels' capabilities."""
        self._validate_hosts()
        programs = self._programs()
        for program in (programs.peer, programs.orderer):
            validate_version(program, self.topology.fabric_version)

    def _validate_hosts(self) -> None:
        """Fabric reads `[…]` in its settings as a list (viperutil): no node can be there."""
        for node in self.topology.nodes():
            if node.host.startswith("[") and node.kind is not NodeKind.CA:
                raise EngineError(
                    f"{node.fqdn}: Fabric's programs cannot serve at an IPv6 address, {node.host}",
                    "give it a host name that stands for the address in the network file",
                )

    def make_process(self, node: Node) -> NodeProcess:
        """See `LocalEngine`; the node's settings and the peers' builder lie beside each other."""
        process = write_node(self.layout, self.topology, node)
        if node.kind is NodeKind.CA:
            return process
        write_builder(self.layout.builder)
        program = self._programs().of(node.kind)
        return replace(process, program=str(program), arguments=ARGUMENTS[node.kind])

    def _programs(self) -> FabricPrograms:
        ordered = processplan.load_order(self.layout.run).nodes
        last = next((Path(node.program).parent for node in ordered if node.program), None)
        return find_programs(last)
