"""Topologies for tests, and one network's material made once for all tests that only read it."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from network.topology import values
from network.topology.materials import generate_materials
from network.topology.model import load_topology, parse_topology

CARE = Path(values.__file__).parent / "examples" / "care.yaml"
NOW = datetime(2026, 3, 1, 12, 0, 10, tzinfo=UTC)

SMALL = """
version: 1
name: small
organizations:
  - {name: Ord, domain: ord.example, role: orderer, orderers: [{name: orderer0, port: 7050}]}
  - {name: Alpha, domain: alpha.example, role: provider, peers: [{name: peer0, port: 7151}]}
  - {name: Beta, domain: beta.example, role: payer, peers: [{name: peer0, port: 7251}]}
channels:
  - {name: small, orderers: [Ord], members: [Alpha, Beta]}
"""


def care() -> values.Topology:
    return load_topology(CARE)


def small() -> values.Topology:
    return parse_topology(SMALL, "small.yaml")


@cache
def small_materials() -> Path:
    """The folder of the small network's material. Read only."""
    folder = Path(mkdtemp(prefix="medfabric-small-"))
    generate_materials(small(), folder, NOW)
    return folder
