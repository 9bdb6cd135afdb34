"""`network.yaml` as typed values, and the files and channel settings it implies.

Start with `model.load_topology`; `materials.generate_materials` writes keys and certificates,
`channelspec` turns a channel of the topology into a genesis block. No node is started and nobody is
called from here; a node itself never reads the topology.
"""
